"""Ids of byte pairs: learned alike each time, kept in a folder, spelling whatever is written; CLIP's vocabulary in their place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.core.errors import DataError, SettingsError
from limner.text.byte_pair_ids import PADDING, BytePairIds
from limner.text.byte_pairs import BytePairTokenizer
from limner.text.saving import load_encoder, save_encoder

CAPTIONS = ["a red flower with five petals", "a blue flower  with six round petals", "the red flower at night", "ein kühler Morgen"] * 2


def test_learned_pairs(tmp_path: Path) -> None:
    encoder = BytePairIds.learn(CAPTIONS, 290, 6)
    assert encoder.config() == BytePairIds.learn(reversed(CAPTIONS), 290, 6).config() and 257 < len(encoder) <= 290
    assert encoder.words("a red FLOWER") == ["a", "red", "flower"]
    text = encoder(["a red flower", "Ünknown ☃ words, spelled in bytes", ""])
    assert text.tokens is not None and text.mask is not None and text.sentence.shape == (3, 0)
    assert text.tokens.shape == (3, 6) and not text.mask[2].any() and text.mask[1].all() and (text.tokens[text.mask] > 0).all()
    assert not text.tokens[0, 3:].any() and torch.equal(encoder(["a  red flower "]).tokens[0], text.tokens[0, :3])
    assert encoder.was_cut("a red flower with five petals and more") and not encoder.was_cut("a red flower")
    assert 0 not in encoder.encode(f"a {PADDING} flower"), "the padding's name is text like any other"
    save_encoder(encoder, tmp_path / "text")
    again = load_encoder(tmp_path / "text")
    assert torch.equal(again(CAPTIONS).tokens, encoder(CAPTIONS).tokens)


def test_a_vocabulary_of_clip_s_form(tmp_path: Path) -> None:
    clip = BytePairTokenizer.train(CAPTIONS, 40)
    lines = ["#version", *(" ".join(pair) for pair in clip.merges)]
    (tmp_path / "bpe.txt").write_text("\n".join(lines), encoding="utf-8")
    encoder = BytePairIds.from_file(tmp_path / "bpe.txt", 5, len(clip))
    assert encoder.encode("a red flower") == clip.encode("a red flower") and len(encoder) == len(clip)
    assert BytePairIds.from_config(encoder.config()).encode("six petals") == clip.encode("six petals")


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text("{}")
    for make, error in (
        (lambda: BytePairIds.from_file(tmp_path / "odd.json", 5), DataError),
        (lambda: BytePairIds.from_file(tmp_path / "none.json", 5), DataError),
        (lambda: BytePairIds.learn([], 300, 5), DataError),
        (lambda: BytePairIds.learn(CAPTIONS, 100, 5), SettingsError),
    ):
        with pytest.raises(error):
            make()
