"""InferSent's encoder: what a caption's features depend on, and what is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limner.core.errors import DataError, SettingsError
from limner.text.infersent import MARKS, InferSent, InferSentSettings
from limner.text.saving import load_encoder, save_encoder
from limner.text.word_vectors import WordVectors

WORDS = ["a", "red", "bird", "with", "wings"]
CAPTIONS = ["a red bird", "a red bird with unheard wings", "wings"]


def build(**settings: object) -> InferSent:
    torch.manual_seed(0)
    chosen = InferSentSettings(hidden=5, **settings)  # type: ignore[arg-type]
    words = [*WORDS, *MARKS[chosen.version]]
    return InferSent(WordVectors(words, np.random.default_rng(0).standard_normal((len(words), 4), np.float32)), chosen).eval()


@pytest.mark.parametrize("pooling", ["max", "mean"])
def test_a_caption_does_not_depend_on_its_neighbours(pooling: str) -> None:
    encoder = build(pooling=pooling)
    together = encoder(CAPTIONS)
    assert together.words is not None and together.mask is not None
    for row, caption in enumerate(CAPTIONS):
        alone, length = encoder([caption]), len(caption.split())
        assert alone.words is not None
        torch.testing.assert_close(alone.sentence[0], together.sentence[row])
        torch.testing.assert_close(alone.words[0], together.words[row, :length])
        assert not together.words[row, length:].any() and int(together.mask[row].sum()) == length == len(encoder.read_words(caption))


def test_padding_in_the_maximum_is_the_released_form() -> None:
    plain, released = build(), build(padding="in the maximum")
    expected = plain(CAPTIONS).sentence
    assert (expected[0] < 0).any()
    expected[[0, 2]] = expected[[0, 2]].clamp_min(0)  # zeros stand after all but the longest
    torch.testing.assert_close(released(CAPTIONS).sentence, expected)
    torch.testing.assert_close(released(CAPTIONS[:1]).sentence, plain(CAPTIONS[:1]).sentence)


def test_an_unknown_word_keeps_its_place_and_marks_count() -> None:
    encoder = build(pooling="mean")
    sentences = encoder(["a unheard bird", "a bird", "unheard a bird"]).sentence
    assert all((sentences[a] - sentences[b]).abs().max() > 1e-3 for a, b in ((0, 1), (0, 2), (1, 2)))
    assert encoder.unknown_words("a unheard bird") == ["unheard"] and list(encoder.known_words()) == WORDS
    other = build(pooling="mean", version=2)
    other.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(other(CAPTIONS).sentence, encoder(CAPTIONS).sentence, msg="the marks' rows are the same here")


def test_case_is_kept_at_spaces_and_not_among_words() -> None:
    assert build(cutting="spaces").words("A Bird's wings.") == ["A", "Bird's", "wings."]
    assert build().words("A Bird's wings.") == ["a", "bird's", "wings"]


def test_a_saved_encoder_comes_back_equal(tmp_path: Path) -> None:
    encoder = build(version=2, pooling="mean")
    encoder.read_at_most(3)
    save_encoder(encoder, tmp_path / "infersent")
    again = load_encoder(tmp_path / "infersent")
    assert isinstance(again, InferSent) and again.config() == encoder.config()
    assert torch.equal(again(CAPTIONS).sentence, encoder(CAPTIONS).sentence)
    assert encoder.was_cut(CAPTIONS[1]) and torch.equal(encoder([CAPTIONS[1]]).sentence, encoder([CAPTIONS[0]]).sentence)


def test_what_cannot_be_read_or_built() -> None:
    with pytest.raises(DataError, match="caption number 2 is '...' and holds no word"):
        build()(["a", "..."])
    with pytest.raises(SettingsError, match="infersent.version is '3': choose 1 or 2"):
        InferSentSettings(version=3)  # type: ignore[arg-type]
