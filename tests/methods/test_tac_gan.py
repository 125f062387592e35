"""TAC-GAN: the authors' sizes, the terms of their losses and whose class each has, and the order of play."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.batches import CLASSES, PROGRESS, WIDTH, make_batch, turns_of_a_step

from limner.core.errors import DataError, SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.methods.tac_gan import TACGAN, ShiftedBatchNorm, TACGANSettings

SMALL = TACGANSettings(noise_width=6, text_width=8, generator_channels=2, discriminator_channels=2)


def build(resolution: int = 32, **values: Any) -> TACGAN:
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL, **values)
    return TACGAN(settings, Conditions(resolution=resolution, sentence_width=WIDTH, class_count=CLASSES))


def test_published_sizes() -> None:
    """Parameters of the authors' script with its defaults (text 256 wide, skip-thought sentences): 17,234,243 and 9,305,959."""
    method = TACGAN(TACGANSettings(text_width=256), Conditions(resolution=128, sentence_width=4800, class_count=102))
    assert sum(value.numel() for value in method.generator.parameters()) == 17_234_243
    assert sum(value.numel() for value in method.discriminator.parameters()) == 9_305_959


def sigmoid_loss(logits: torch.Tensor, classes: list[int]) -> torch.Tensor:
    """By its definition: - log of each answer's probability, over batch and classes."""
    right = torch.eye(logits.shape[1], dtype=torch.bool)[classes]
    return -torch.where(right, logits.sigmoid(), 1 - logits.sigmoid()).log().mean()


OWN = [0, 1, 2, 3, 4, 0]
"""The classes of a batch; those of its mismatched rows are one further."""


@pytest.mark.parametrize("mismatch, classes", [("picture", [0, 1, 2, 4, 0, 1]), ("caption", OWN)])
def test_losses(mismatch: str, classes: list[int]) -> None:
    """Six terms without weights; the mismatched pair has its picture's class, whatever the caption, and the fake that of its caption."""
    of_generated = mismatch == "picture"
    method, batch = build(mismatch=mismatch, counterfactual=0.5, class_of_generated=of_generated).eval(), make_batch(32, classes=CLASSES)
    steps = method.training_step(batch, PROGRESS)
    update = next(steps)
    own, other = batch.text.sentence, batch.mismatched
    assert batch.counterfactual is not None
    changed = batch.counterfactual.sentence[:3]
    if mismatch == "picture":
        pictures, sentences = torch.cat([batch.pictures[:3], other.pictures[3:]]), torch.cat([changed, own[3:]])
    else:
        pictures, sentences = batch.pictures, torch.cat([changed, other.text.sentence[3:]])
    judge, fake = method.discriminator, method.generator(method.noise(batch, "train").z, own)
    real, wrong, generated = judge(batch.pictures, own), judge(pictures, sentences), judge(fake, own)
    loss = F.softplus(-real.source).mean() + F.softplus(wrong.source).mean() + F.softplus(generated.source).mean()
    loss = loss + sigmoid_loss(real.classes, OWN) + sigmoid_loss(wrong.classes, classes)
    torch.testing.assert_close(update.loss, loss + of_generated * sigmoid_loss(generated.classes, OWN))
    torch.testing.assert_close(next(steps).loss, F.softplus(-generated.source).mean() + sigmoid_loss(generated.classes, OWN))


def test_the_generator_steps_twice_on_the_same_noise() -> None:
    turns = turns_of_a_step(build(), make_batch(32, classes=CLASSES), rate=0.0)
    assert [turn.player for turn in turns] == ["discriminator", "generator", "generator"]
    first, second = (float(turn.loss.detach()) for turn in turns[1:])
    assert first == pytest.approx(second, rel=1e-5)  # no weight moves: the same captions and noise


@pytest.mark.parametrize(
    "values",
    [
        {"class_loss": "softmax", "noise": "normal"},
        {"class_weight": 0.0},
        {"gradient_penalty": 1.0, "discriminator_normalization": False, "generator_steps": 1},
    ],
    ids=lambda values: next(iter(values)),
)
def test_every_setting_takes_a_step(values: dict[str, Any]) -> None:
    method, batch = build(**values), make_batch(32, classes=CLASSES)
    updates = list(method.training_step(batch, PROGRESS))
    assert all(torch.isfinite(update.loss) for update in updates)
    metrics = updates[0].metrics
    assert ("class_accuracy" in metrics) == (values.get("class_weight") is None)
    assert ("penalty" in metrics) == ("gradient_penalty" in values)


def test_normalisation_has_a_shift_and_no_scale() -> None:
    layer = ShiftedBatchNorm(3, 0.999)
    x = torch.randn(8, 3, 5, 5) * 3 + 1
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    expected = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.running_mean, 0.001 * x.mean((0, 2, 3)))


def test_noise_is_uniform_unless_normal_is_asked_for() -> None:
    z = build(noise_width=50).draw_noise(0, np.arange(400)).z
    assert z.dtype == torch.float32 and z.min() >= -1 and z.max() < 1
    assert abs(float(z.mean())) < 0.02 and float(z.var()) == pytest.approx(1 / 3, abs=0.01)
    assert float(build(noise_width=50, noise="normal").draw_noise(0, np.arange(400)).z.var()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("resolution", [16, 64])
def test_other_resolutions(resolution: int) -> None:
    method = build(resolution)
    images = method.paint(TextFeatures(torch.zeros(2, WIDTH)), method.draw_noise(0, np.arange(2))).images
    assert images.shape == (2, 3, resolution, resolution)
    verdict = method.discriminator(images, torch.zeros(2, WIDTH))
    assert verdict.source.shape == (2,) and verdict.classes.shape == (2, CLASSES)


def test_what_is_refused() -> None:
    with pytest.raises(SettingsError, match="cannot paint at 48 px.*power of two"):
        build(48)
    with pytest.raises(SettingsError, match="method.counterfactual is 2"):
        build(counterfactual=2.0)
    with pytest.raises(SettingsError, match="method.statistics-decay is 1.0, but must be at least 0 and below 1"):
        build(statistics_decay=1.0)  # the statistics that it paints by would never move
    without = Conditions(resolution=32, sentence_width=WIDTH)
    with pytest.raises(DataError, match="have none.*train gan-cls"):
        TACGAN(SMALL, without)
    TACGAN(dataclasses.replace(SMALL, class_weight=0.0), without)
