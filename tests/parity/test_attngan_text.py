"""AttnGAN's text encoder and DAMSM's losses against stored results of the authors' code; its other arrays are the generator's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.interop.damsm import read_text_encoder
from limner.matching.losses.words import Gammas, attend, sentence_loss, words_loss
from limner.text.lstm import LSTMEncoder

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "attngan"
EVALUATION, LOSS = 2e-5, 1e-5
"""Absolute tolerance of arrays; relative of losses."""


class Golden:
    def __init__(self) -> None:
        self.facts = json.loads((FOLDER / "golden.json").read_text())
        with np.load(FOLDER / self.facts["arrays_file"], allow_pickle=False) as arrays:
            self.arrays = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        config = self.facts["config"]
        self.gammas = Gammas(attention=config["GAMMA1"], words=config["GAMMA2"], pairs=config["GAMMA3"])
        self.words = self.arrays["word_embs"].transpose(1, 2)  # [B, T, D]
        self.mask = ~self.arrays["mask"]
        self.regions = self.arrays["img_features"].flatten(2)  # [B, D, R]

    def compare(self, computed: dict[str, torch.Tensor]) -> None:
        for name, value in computed.items():
            assert list(value.shape) == self.facts["arrays"][name]["shape"], name
            torch.testing.assert_close(value, self.arrays[name], rtol=0, atol=EVALUATION, msg=lambda text, name=name: f"{name}: {text}")
        largest = max(float((value - self.arrays[name]).abs().max()) for name, value in computed.items())
        print(f"\n{len(computed)} arrays, largest difference {largest:.1e}")


@pytest.fixture(scope="module")
def golden() -> Golden:
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    return Golden()


@torch.no_grad()
def test_text_encoder(golden: Golden) -> None:
    (file,) = (name for name in golden.facts["checkpoints"] if name.startswith("text_encoder"))
    captions, mask = golden.arrays["captions"], golden.arrays["cap_lens"][:, None] > torch.arange(golden.arrays["captions"].shape[1])
    encoder = read_text_encoder(FOLDER / file)
    assert isinstance(encoder, LSTMEncoder) and not encoder.training
    expected = {name for name in golden.arrays if name.startswith("text_encoder_")}
    assert expected == {"text_encoder_words", "text_encoder_sent"}
    text = encoder.read(captions, mask)
    assert text.words is not None
    golden.compare({"text_encoder_words": text.words.transpose(1, 2), "text_encoder_sent": text.sentence})
    backwards = encoder.read(captions.flip(0), mask.flip(0))  # the authors' needs captions sorted by length
    assert backwards.words is not None
    golden.compare({"text_encoder_words": backwards.words.flip(0).transpose(1, 2), "text_encoder_sent": backwards.sentence.flip(0)})


def test_attention(golden: Golden) -> None:
    side = golden.facts["arrays"]["func_attention_map"]["shape"][-2:]
    length = golden.facts["arrays"]["func_attention_ctx"]["shape"][-1]
    seen, attention = attend(golden.regions, golden.words[:, :length], torch.ones(len(golden.words), length, dtype=torch.bool), 4.0)
    computed = {"func_attention_ctx": seen.transpose(1, 2), "func_attention_map": attention.unflatten(2, side)}
    attention = attend(golden.regions, golden.words, golden.mask, golden.gammas.attention)[1].unflatten(2, side)
    pairs = sorted(name for name in golden.arrays if name.startswith("damsm_att"))
    assert len(pairs) == len(golden.words)
    for name in pairs:
        row = int(name.removeprefix("damsm_att"))
        computed[name] = attention[row : row + 1, golden.mask[row]]
    golden.compare(computed)


def test_losses(golden: Golden) -> None:
    stored = {name: value for name, value in golden.facts["loss_values"].items() if name.startswith(("words_loss", "sent_loss"))}
    assert len(stored) == 4
    picture, sentence = golden.arrays["cnn_code"], golden.arrays["sent_emb"]
    for name, expected in stored.items():
        classes = golden.arrays["class_ids"] if name.endswith("with_class_ids") else None
        if name.startswith("words"):
            losses = words_loss(golden.regions, golden.words, golden.mask, golden.gammas, classes)
        else:
            losses = sentence_loss(picture, sentence, golden.gammas, classes)
        assert [value.item() for value in losses] == pytest.approx(expected, rel=LOSS), name


def test_generator_terms(golden: Golden) -> None:
    """The two terms that the generator's log states, to the digits it has."""
    config, stated = golden.facts["config"], golden.facts["loss_values"]["generator_loss_logs"].split()
    classes, weight = golden.arrays["class_ids"], config["LAMBDA"]
    by_words = weight * sum(words_loss(golden.regions, golden.words, golden.mask, golden.gammas, classes))
    by_sentence = weight * sum(sentence_loss(golden.arrays["cnn_code"], golden.arrays["sent_emb"], golden.gammas, classes))
    for name, value in (("w_loss:", by_words), ("s_loss:", by_sentence)):
        assert float(value) == pytest.approx(float(stated[stated.index(name) + 1]), abs=0.006)
