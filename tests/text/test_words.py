import numpy as np
import pytest

from limner.text.words import UNKNOWN_WORD, drop_words, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A heart-shaped flower, isn't it?", ["a", "heart", "shaped", "flower", "isn't", "it"]),
        ("the 'five' petals' edge_line", ["the", "five", "petals", "edge", "line"]),
        ("Eine GROSSE Blüte, l\u2019été", ["eine", "grosse", "blüte", "l'été"]),
        ("हिन्दी फूल", ["हिन्दी", "फूल"]),
        ("ｐｉｎｋ cafe\u0301", ["pink", "café"]),
        (" ... !! \n\t", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_dropped_words_depend_on_the_sample_alone() -> None:
    captions = [f"a pink flower with {number} round petals in the meadow" for number in range(200)]
    samples = np.arange(200) + 1000
    dropped = drop_words(captions, 0.25, 3, samples)
    assert dropped[60:80] == drop_words(captions[60:80], 0.25, 3, samples[60:80])
    assert dropped != drop_words(captions, 0.25, 4, samples)
    words = [split_words(caption) for caption in dropped]
    assert {len(row) for row in words} == {10}
    assert 0.2 < np.mean([word == UNKNOWN_WORD for row in words for word in row]) < 0.3
    assert drop_words(captions, 0.0, 3, samples) == captions
