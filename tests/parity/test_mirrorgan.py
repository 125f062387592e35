"""MirrorGAN's generator, discriminators, caption decoder and losses against stored results of the authors' code and its checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from shared.attentive_golden import (
    LOSS,
    MATCHING,
    Golden,
    all_arrays,
    imported,
    matching_arrays,
    same_arrays,
    same_at_published_width,
    same_discriminator_turns,
    same_generator_turn,
    same_matching_losses,
)
from torch.nn.utils.rnn import pack_padded_sequence

from limner.interop.mirrorgan import import_mirrorgan, read_decoder, read_mirrorgan
from limner.methods.mirrorgan import Captioner, MirrorGAN, caption_loss


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("mirrorgan", elsewhere=(*MATCHING, "caption_rnn_"))


@pytest.fixture
def method(golden: Golden, tmp_path: Path) -> MirrorGAN:
    found = imported(golden, import_mirrorgan, tmp_path / "networks")
    assert isinstance(found, MirrorGAN)
    return found


@torch.no_grad()
def test_every_array(golden: Golden, method: MirrorGAN) -> None:
    right, _ = read_mirrorgan(golden.files(r"netG.*"))  # which hides padding rightly
    same_arrays(golden, all_arrays(golden, method, right))


def test_discriminators_learn_alike(golden: Golden, method: MirrorGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""
    method.train()
    same_discriminator_turns(
        golden, lambda side, judge: method.discriminator_update(judge, golden.batch(side), golden.pictures("fake", side)), method
    )


@torch.no_grad()
def test_the_decoder(golden: Golden) -> None:
    """What it thinks of each word of the stored captions, and what it says by itself."""
    (file,) = golden.files(r"rnn_decoder.*")
    decoder, features = read_decoder(file), golden["caption_cnn_features"]
    logits = decoder(features, golden["captions"])
    said = decoder.say(features, golden["caption_rnn_sample"].shape[1])
    packed = pack_padded_sequence(logits, golden["cap_lens"], batch_first=True).data
    computed = {"caption_rnn_logits": packed, "caption_rnn_sample": said}
    assert set(computed) == {name for name in golden.facts["arrays"] if name.startswith("caption_rnn_")}
    assert golden.compare(computed) == len(computed)
    loss = caption_loss(logits, golden["captions"], ~golden["mask"])
    assert loss.item() == pytest.approx(golden.losses["caption_ce"], rel=LOSS)


@torch.no_grad()
def test_the_matching_term(golden: Golden) -> None:
    """DAMSM's arrays and losses, which the authors' code has and does not use."""
    computed = matching_arrays(golden)
    assert golden.compare(computed) == len(computed) > 0
    same_matching_losses(golden)


def test_the_generator_learns_alike(golden: Golden, method: MirrorGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last turn of a whole training step, with stored noise and a captioner whose picture side gives the stored features."""
    (file,) = golden.files(r"rnn_decoder.*")
    method.captioner = Captioner(golden["caption_cnn_features"].shape[1], 1, 1)
    method.captioner.decoder = read_decoder(file)
    monkeypatch.setattr(method.captioner, "see", lambda pictures: golden["caption_cnn_features"])
    monkeypatch.setattr(method, "_ids", lambda batch: (golden["captions"], ~golden["mask"]))
    method.settings = dataclasses.replace(method.settings, caption_weight=golden.facts["config"]["LAMBDA1"], caption_features=None)
    same_generator_turn(golden, method, golden.batch(max(golden.sides)), monkeypatch, phase="game")


@torch.no_grad()
def test_published_width(golden: Golden, tmp_path: Path) -> None:
    same_at_published_width(golden, tmp_path, read_mirrorgan)
