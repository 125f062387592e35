"""ControlGAN's networks and losses against stored results of the authors' code: its own checkpoints, through the importer."""

from __future__ import annotations

import math
import re
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from shared.attentive_golden import (
    LOSS,
    Golden,
    all_arrays,
    guided,
    imported,
    matching_arrays,
    same_arrays,
    same_at_published_width,
    same_discriminator_turns,
    same_generator_turn,
    same_matching_losses,
)
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.text import TextFeatures
from limner.families.attentive.word_discriminator import word_verdicts
from limner.families.matching_aware import bce
from limner.features.perceptual import PerceptualLoss
from limner.interop.controlgan import import_controlgan, read_controlgan
from limner.matching.losses.words import paired_word_scores
from limner.methods.controlgan import PERCEPTUAL, ControlGAN

UNCALLED = r"\d\.att\.conv_context[23]|h_net2\.channel_att\.conv_context3|h_net3\.channel_att\.conv_context2"
"""Weights of the authors' generator that it never calls."""


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("controlgan")


@pytest.fixture
def method(golden: Golden, tmp_path: Path) -> ControlGAN:
    found = imported(golden, import_controlgan, tmp_path / "networks")
    assert isinstance(found, ControlGAN)
    return found


@torch.no_grad()
def test_every_array(golden: Golden, method: ControlGAN) -> None:
    right, _ = read_controlgan(golden.files(r"netG.*"))  # which hides padding rightly, from places and channels
    assert not right.settings.padded_channels
    for layer in right.generator.channel:
        layer.sees_padding = True  # as the single captions, padded to one length, were painted
    same_arrays(golden, matching_arrays(golden) | all_arrays(golden, method, right))


def make_batch(golden: Golden, side: int) -> Batch:
    """With other captions' words as the mismatched ones."""
    words = golden["wrong_words"].transpose(1, 2)
    wrong = TextFeatures(golden.text.sentence, words, torch.arange(words.shape[1]) < golden["wrong_caps_len"][:, None])
    batch, other = golden.batch(side), golden.batch(side)
    batch.captions, other.captions = [["right"]] * len(batch), [["wrong"]] * len(batch)
    other.texts = (wrong,)
    batch.draw_batch = {"mismatched": other}.__getitem__
    return batch


class Reader(nn.Module):
    """A text encoder that has read the batch's captions already."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.read = {"right": batch.text, "wrong": batch.mismatched.text}

    def forward(self, captions: list[str]) -> TextFeatures:
        return self.read[captions[0]]


class Pooled(nn.Module):
    """A network of one stage, which stands for the perceptual one in the stored losses."""

    def taps(self, pictures: Tensor, names: list[str]) -> dict[str, Tensor]:
        return {name: F.avg_pool2d(pictures, 4) for name in names}


def playing(golden: Golden, method: ControlGAN, batch: Batch) -> ControlGAN:
    """The method under the stored stand-ins of its matching model and its perceptual network, with the authors' inert word-level loss."""
    guided(golden, method, Reader(batch), word_discriminator="inert")
    perceptual = PerceptualLoss("garden", "layer2", plain=not method.settings.perceptual_share)
    perceptual.network = Pooled()  # type: ignore[assignment]
    method.guide(PERCEPTUAL, perceptual)
    return method.train()


def test_discriminators_learn_alike(golden: Golden, method: ControlGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""

    def turn(side: int, judge: nn.Module) -> object:
        batch = make_batch(golden, side)
        return playing(golden, method, batch).discriminator_update(judge, batch, golden.pictures("fake", side))

    same_discriminator_turns(golden, turn, method)


def test_losses_by_words_and_sentences(golden: Golden) -> None:
    same_matching_losses(golden)
    regions, batch = golden["img_features"].flatten(2), make_batch(golden, 64)
    own, wrong = word_verdicts(partial(paired_word_scores, gammas=golden.gammas), regions, batch)
    assert bce(own, 1.0).item() == pytest.approx(golden.losses["word_level_correlation_matched"], rel=LOSS)
    assert bce(wrong, 0.0).item() == pytest.approx(golden.losses["word_level_correlation_mismatched"], rel=LOSS)


def test_the_generator_learns_alike(golden: Golden, method: ControlGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last turn of a whole training step, with stored noise and a matching model that gives the stored regions."""
    batch = make_batch(golden, max(golden.sides))
    batch.image = lambda side: golden.pictures("real", side)  # type: ignore[method-assign]
    update = same_generator_turn(golden, playing(golden, method, batch), batch, monkeypatch)
    logged = dict(re.findall(r"(\w+): ([\d.]+)", golden.losses["generator_loss_logs"]))
    assert float(update.metrics["perceptual"]) == pytest.approx(float(logged["perceptual_loss"]), abs=0.006)


@torch.no_grad()
def test_published_width(golden: Golden, tmp_path: Path, authors_order: None, authors_upsampling: None) -> None:
    shapes = golden.whole().facts["G_state_dict"]["keys_and_shapes"]
    uncalled = sum(math.prod(shape) for key, shape in shapes if re.search(UNCALLED, key))
    assert uncalled > 0
    read = partial(read_controlgan, mixed_padding=True)  # of one caption, so that nothing is mixed
    same_at_published_width(golden, tmp_path, read, uncalled)
