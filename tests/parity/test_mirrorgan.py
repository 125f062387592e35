"""MirrorGAN's generator, discriminators, caption decoder and losses against stored results of the authors' code and its checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from shared.attentive_golden import (
    BREAK,
    compare,
    imported,
    matching_arrays,
    notices,
    same_at_published_width,
    same_discriminator_turns,
    same_family_arrays,
    same_generator_turn,
    same_losses,
    same_matching_losses,
)
from shared.attentive_sets import MATCHING, Golden
from shared.rounding import Comparison, Disagreement, Results, results
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from limner.core.batch import Batch
from limner.interop.mirrorgan import import_mirrorgan, read_decoder, read_mirrorgan
from limner.methods.mirrorgan import CaptionDecoder, Captioner, MirrorGAN, caption_loss


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("mirrorgan", elsewhere=(*MATCHING, "caption_rnn_"))


@pytest.fixture
def method(golden: Golden, tmp_path: Path) -> MirrorGAN:
    found = imported(golden, import_mirrorgan, tmp_path / "networks")
    assert isinstance(found, MirrorGAN)
    return found


def test_every_array(golden: Golden, method: MirrorGAN) -> None:
    right, _ = read_mirrorgan(golden.files(r"netG.*"))  # which hides padding rightly
    same_family_arrays(golden, method, right)


def test_discriminators_learn_alike(golden: Golden, method: MirrorGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""
    same_discriminator_turns(golden, method, lambda golden, method, side: golden.batch(side))


@torch.no_grad()
def decoded(golden: Golden, decoder: CaptionDecoder) -> dict[str, Tensor]:
    """What the decoder thinks of each word of the stored captions, and what it says by itself."""
    features = golden["caption_cnn_features"]
    logits = decoder(features, golden["captions"])
    found = {"caption_rnn_logits": pack_padded_sequence(logits, golden["cap_lens"], batch_first=True, enforce_sorted=False).data}
    if "caption_rnn_sample" in golden.arrays:
        found["caption_rnn_sample"] = decoder.say(features, golden["caption_rnn_sample"].shape[1])
    return {name: value for name, value in found.items() if name in golden.arrays}


@torch.no_grad()
def caption_losses(golden: Golden, decoder: CaptionDecoder) -> dict[str, Tensor]:
    return {"caption_ce": caption_loss(decoder(golden["caption_cnn_features"], golden["captions"]), golden["captions"], ~golden["mask"])}


def same_decoding(golden: Golden, decoder: CaptionDecoder) -> None:
    comparison, stored = Comparison(), golden.outputs("caption_rnn_")
    assert compare(comparison, golden, results(decoded, golden, decoder)) == stored
    comparison.finish(len(stored))


def test_the_decoder(golden: Golden) -> None:
    (file,) = golden.files(r"rnn_decoder.*")
    same_decoding(golden, read_decoder(file))
    same_losses(golden, caption_losses, read_decoder(file), pattern="caption_ce")


def test_the_matching_term(golden: Golden) -> None:
    """DAMSM's arrays and losses, which the authors' code has and does not use."""
    comparison, stored = Comparison(), golden.outputs(*MATCHING)
    assert compare(comparison, golden, results(matching_arrays, golden)) == stored
    comparison.finish(len(stored))
    same_matching_losses(golden)


def seen(golden: Golden, method: MirrorGAN, side: int) -> Batch:
    """The stored batch, whose pictures and captions the captioner sees as the stored features and ids."""
    method.captioner.see = lambda pictures: golden["caption_cnn_features"]
    method._ids = lambda batch: (golden["captions"], ~golden["mask"])
    return golden.batch(side)


def generator_turn(golden: Golden, method: MirrorGAN) -> Results:
    (file,) = golden.files(r"rnn_decoder.*")
    method.captioner = Captioner(golden["caption_cnn_features"].shape[1], 1, 1)
    method.captioner.decoder = read_decoder(file)
    method.settings = dataclasses.replace(method.settings, caption_weight=golden.facts["config"]["LAMBDA1"], caption_features=None)
    return same_generator_turn(golden, method, seen, phase="game")


def test_the_generator_learns_alike(golden: Golden, method: MirrorGAN) -> None:
    """The last turn of a whole training step, with stored noise and a captioner whose picture side gives the stored features."""
    generator_turn(golden, method)


def test_published_width(golden: Golden, tmp_path: Path) -> None:
    same_at_published_width(golden, tmp_path, read_mirrorgan)


WEIGHTS = ("generator.first", "generator.attention", "generator.later", "generator.pictures", "discriminators.0.matching", "slope")


@pytest.mark.parametrize("coefficient", [*WEIGHTS, "LAMBDA1"])
def test_a_broken_coefficient_is_noticed(golden: Golden, method: MirrorGAN, coefficient: str) -> None:
    notices(golden, method, coefficient, turn=generator_turn)


@pytest.mark.parametrize("name", [name for name, _ in CaptionDecoder(3, 2, 4).named_parameters()])
def test_a_broken_decoder_is_noticed(golden: Golden, name: str) -> None:
    (file,) = golden.files(r"rnn_decoder.*")
    decoder = read_decoder(file)
    decoder.get_parameter(name).data *= BREAK
    with pytest.raises(Disagreement):
        same_decoding(golden, decoder)
