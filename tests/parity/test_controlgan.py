"""ControlGAN's networks and losses against stored results of the authors' code: its own checkpoints, through the importer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from shared.attentive_golden import (
    guided,
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
from shared.attentive_sets import Golden
from shared.rounding import Results, results
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


def test_every_array(golden: Golden, method: ControlGAN) -> None:
    right, _ = read_controlgan(golden.files(r"netG.*"))  # which hides padding rightly, from places and channels
    assert not right.settings.padded_channels
    for layer in right.generator.channel:
        layer.sees_padding = True  # as the single captions, padded to one length, were painted
    same_family_arrays(golden, method, right, results(matching_arrays, golden))


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
    """A network of one stage, which stands for the perceptual one in the stored losses: means of squares of `side` pixels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def taps(self, pictures: Tensor, names: list[str]) -> dict[str, Tensor]:
        return {name: F.avg_pool2d(pictures, self.side) for name in names}


def playing(golden: Golden, method: ControlGAN, side: int) -> Batch:
    """The stored batch, with the method under the stored stand-ins of its matching model and its perceptual network, and with the authors'
    inert word-level loss."""
    batch = make_batch(golden, side)
    batch.image = lambda side: golden[f"real{side}"]  # type: ignore[method-assign]
    guided(golden, method, Reader(batch), word_discriminator="inert")
    perceptual = PerceptualLoss("garden", "layer2", plain=not method.settings.perceptual_share)
    perceptual.network = Pooled(int(golden.number(r"(\d+)x\1 average pooling", 4)))  # type: ignore[assignment]
    method.guide(PERCEPTUAL, perceptual)
    return batch


def test_discriminators_learn_alike(golden: Golden, method: ControlGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""
    same_discriminator_turns(golden, method, playing)


@torch.no_grad()
def word_losses(golden: Golden) -> dict[str, Tensor]:
    """The word-level losses of the stored regions with the batch's captions and with the wrong ones, by their stored names."""
    regions = golden["img_features"].flatten(2)
    own, wrong = word_verdicts(partial(paired_word_scores, gammas=golden.gammas), regions, make_batch(golden, min(golden.sides)))
    return {"word_level_correlation_matched": bce(own, 1.0), "word_level_correlation_mismatched": bce(wrong, 0.0)}


def same_word_losses(golden: Golden) -> None:
    same_losses(golden, word_losses, pattern="word_level_correlation_.*")


def test_losses_by_words_and_sentences(golden: Golden) -> None:
    same_matching_losses(golden)
    same_word_losses(golden)


def generator_turn(golden: Golden, method: ControlGAN) -> Results:
    return same_generator_turn(golden, method, playing)


def test_the_generator_learns_alike(golden: Golden, method: ControlGAN) -> None:
    """The last turn of a whole training step, with stored noise and a matching model that gives the stored regions."""
    found = generator_turn(golden, method)
    # The authors' log has two digits, which are cut or rounded.
    assert float(found.double["perceptual"]) == pytest.approx(golden.logged("perceptual_loss"), abs=0.01)


def test_published_width(golden: Golden, tmp_path: Path) -> None:
    shapes = golden.whole().facts["G_state_dict"]["keys_and_shapes"]
    uncalled = sum(math.prod(shape) for key, shape in shapes if re.search(UNCALLED, key))
    assert uncalled > 0
    read = partial(read_controlgan, mixed_padding=True)  # of one caption, so that nothing is mixed
    same_at_published_width(golden, tmp_path, read, uncalled)


WEIGHTS = ("generator.first", "generator.spatial", "generator.channel", "generator.later", "generator.pictures", "slope")


@pytest.mark.parametrize("coefficient", [*WEIGHTS, "discriminators.0.matching", "LAMBDA"])
def test_a_broken_coefficient_is_noticed(golden: Golden, method: ControlGAN, coefficient: str) -> None:
    notices(golden, method, coefficient, turn=generator_turn)


@pytest.mark.parametrize(
    ("gamma", "losses"), [("GAMMA1", same_matching_losses), ("GAMMA3", same_matching_losses), ("GAMMA2", same_word_losses)]
)
def test_a_broken_gamma_is_noticed(golden: Golden, method: ControlGAN, gamma: str, losses: Callable[[Golden], None]) -> None:
    notices(golden, method, gamma, losses)
