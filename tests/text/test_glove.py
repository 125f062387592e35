"""Word vectors as a text encoder: sums and means, words without a vector, what is cut, and what is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limner.core.errors import DataError, SettingsError
from limner.text.encoder import Limit
from limner.text.glove import Glove, GloveSettings
from limner.text.saving import load_encoder, save_encoder
from limner.text.word_vectors import WordVectors
from limner.text.words import UNKNOWN_WORD

WORDS = ["a", "red", "bird", "wings."]
VECTORS = np.array([[1, 0, 0], [0, 2, 0], [0, 0, 4], [8, 8, 8]], dtype=np.float32)


def build(**settings: object) -> Glove:
    return Glove(WordVectors(WORDS, VECTORS), GloveSettings(**settings)).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(("pooling", "expected"), [("sum", [1, 2, 8]), ("mean", [0.25, 0.5, 2])])
def test_a_sentence_is_the_sum_or_mean_of_its_known_words(pooling: str, expected: list[float]) -> None:
    sentence = build(pooling=pooling)(["A red bird, bird unheard!", "nothing known"]).sentence
    assert sentence.tolist() == [expected, [0, 0, 0]]


def test_words_without_a_vector_are_left_out() -> None:
    encoder, captions = build(), ["a bird unheard red", "nothing known", "red"]
    features = encoder(captions)
    assert features.words is not None and features.mask is not None and features.tokens is not None
    assert features.mask.sum(1).tolist() == [len(encoder.read_words(caption)) for caption in captions] == [3, 1, 1]
    assert features.words[0].tolist() == VECTORS[[0, 2, 1]].tolist() and not features.words[1:, 1:].any()
    assert features.tokens.tolist() == [[1, 3, 2], [0, 0, 0], [2, 0, 0]]
    assert encoder.unknown_words(captions[0]) == ["unheard"] and encoder.read_words(captions[1]) == [UNKNOWN_WORD]
    alone = encoder(captions[2:])
    assert torch.equal(alone.sentence[0], features.sentence[2])


def test_captions_are_cut_as_published_where_that_is_asked_for() -> None:
    encoder = build(cutting="spaces", maximum_words=3)
    assert encoder.words("A  red bird's wings.") == ["a", "red", "bird's", "wings."]
    assert encoder(["a wings."]).sentence.tolist() == [[9, 8, 8]]
    assert encoder(["a  red bird"]).sentence.tolist() == [[1, 2, 0]], "the empty word between two spaces counts"
    assert encoder.was_cut("a  red bird") and not encoder.was_cut("a red bird") and encoder.limit == Limit(3, "words")
    encoder.read_at_most(4)
    assert encoder(["a  red bird"]).sentence.tolist() == [[1, 2, 4]]


def test_a_saved_encoder_comes_back_equal(tmp_path: Path) -> None:
    encoder = build(pooling="mean", maximum_words=7)
    encoder.read_at_most(2)
    save_encoder(encoder, tmp_path / "glove")
    again = load_encoder(tmp_path / "glove")
    assert isinstance(again, Glove) and again.config() == encoder.config() and again.limit == Limit(2, "words")
    assert torch.equal(again(["a red bird"]).sentence, encoder(["a red bird"]).sentence)


@pytest.mark.parametrize("cutting", ["words", "spaces"])
def test_a_caption_without_a_word_is_refused(cutting: str) -> None:
    with pytest.raises(DataError, match="caption number 2 is empty: write at least one word"):
        build(cutting=cutting)(["a", " "])


def test_what_cannot_be_built() -> None:
    with pytest.raises(SettingsError, match="'a' twice"):
        WordVectors(["a", "a"], np.zeros((2, 3), np.float32))
    with pytest.raises(SettingsError, match="2 words and 1 vectors"):
        WordVectors(["a", "b"], np.zeros((1, 3), np.float32))
    with pytest.raises(SettingsError, match="glove.pooling is 'max': choose sum or mean"):
        build(pooling="max")
    with pytest.raises(SettingsError, match="glove.maximum-words is 0"):
        build(maximum_words=0)
