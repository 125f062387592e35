"""AttnGAN's text encoder and DAMSM's losses against stored results of the authors' code; its other arrays are the generator's."""

from __future__ import annotations

import pytest
import torch
from shared.attentive_golden import BREAK, compare, matching_arrays, matching_losses, same_matching_losses
from shared.attentive_sets import MATCHING, Golden
from shared.rounding import Comparison, Disagreement, results
from torch import Tensor

from limner.interop.damsm import read_text_encoder
from limner.text.encoder import TextEncoder
from limner.text.lstm import LSTMEncoder


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("attngan")


@pytest.fixture
def encoder(golden: Golden) -> TextEncoder:
    (file,) = golden.files(r"text_encoder.*")
    return read_text_encoder(file)


@torch.no_grad()
def read(golden: Golden, encoder: TextEncoder, order: slice | Tensor = slice(None)) -> dict[str, Tensor]:
    """Features of the stored captions, read in this order of rows and given back in their own."""
    captions, lengths = golden["captions"], golden["cap_lens"]
    text = encoder.read(captions[order], (lengths[:, None] > torch.arange(captions.shape[1]))[order])
    assert text.words is not None
    longest = int(lengths.max())
    assert not text.words[:, longest:].any()
    words, width = text.words.transpose(1, 2), golden["text_encoder_words"].shape[2]
    return {"text_encoder_words": words[order][..., :width], "text_encoder_sent": text.sentence[order]}


def same_text(golden: Golden, encoder: TextEncoder) -> None:
    comparison, stored = Comparison(), golden.outputs("text_encoder_")
    found = results(read, golden, encoder)
    assert compare(comparison, golden, found) == stored
    backwards = torch.arange(len(golden["captions"])).flip(0)  # the authors' needs captions sorted by length
    compare(comparison, golden, found._replace(single=read(golden, encoder, backwards)))
    comparison.finish(2 * len(stored))


def test_text_encoder(golden: Golden, encoder: TextEncoder) -> None:
    assert isinstance(encoder, LSTMEncoder) and not encoder.training
    same_text(golden, encoder)


@pytest.mark.parametrize("weight", ["embedding.weight", "reader.weight_ih_l0", "reader.weight_hh_l0_reverse", "reader.bias_ih_l0"])
def test_a_broken_weight_is_noticed(golden: Golden, encoder: TextEncoder, weight: str) -> None:
    encoder.get_parameter(weight).data *= BREAK
    with pytest.raises(Disagreement):
        same_text(golden, encoder)


def same_attention(golden: Golden) -> None:
    comparison, stored = Comparison(), golden.outputs(*MATCHING)
    assert compare(comparison, golden, results(matching_arrays, golden)) == stored
    comparison.finish(len(stored))


def test_attention(golden: Golden) -> None:
    same_attention(golden)


def test_losses(golden: Golden) -> None:
    same_matching_losses(golden)


@pytest.mark.parametrize(
    ("gamma", "check"),
    [("GAMMA1", same_attention), ("GAMMA1", same_matching_losses), ("GAMMA2", same_matching_losses), ("GAMMA3", same_matching_losses)],
)
def test_a_broken_gamma_is_noticed(golden: Golden, gamma: str, check: object) -> None:
    with pytest.raises(Disagreement):
        check(golden.with_config(**{gamma: BREAK * golden.facts["config"][gamma]}))


def test_generator_terms(golden: Golden) -> None:
    """The two terms that the generator's log states, to the two digits it has, which are cut or rounded."""
    losses, weight = matching_losses(golden), golden.facts["config"]["LAMBDA"]
    for name, kind in (("w_loss", "words"), ("s_loss", "sent")):
        assert weight * float(losses[f"{kind}_loss_with_class_ids"].sum()) == pytest.approx(golden.logged(name), abs=0.01)
