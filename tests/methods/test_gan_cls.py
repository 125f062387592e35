"""GAN-CLS: the authors' sizes, the published losses, and learning."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.batches import PROGRESS, WIDTH, make_batch
from torch import nn

from limner.core.errors import SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.methods.gan_cls import GANCLS, GANCLSSettings, with_midpoints

SMALL = GANCLSSettings(noise_width=6, text_width=8, generator_channels=4, discriminator_channels=4, captions=2)


def parameters_with_biases(network: nn.Module) -> int:
    """Weights as the authors' files count them: their convolutions carry biases, which are set to zero before every use."""
    convolutions = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d))]
    return sum(value.numel() for value in network.parameters()) + sum(module.out_channels for module in convolutions)


def build(resolution: int = 16, **values: object) -> GANCLS:
    torch.manual_seed(0)
    return GANCLS(dataclasses.replace(SMALL, **values), Conditions(resolution=resolution, sentence_width=WIDTH))  # type: ignore[arg-type]


def test_published_sizes() -> None:
    """Parameters of the authors' birds and flowers models, conv biases included: 18,909,699 and 4,032,321."""
    method = GANCLS(GANCLSSettings(), Conditions(resolution=64, sentence_width=1024))
    assert parameters_with_biases(method.generator) == 18_909_699
    assert parameters_with_biases(method.discriminator) == 4_032_321


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("mismatch", ["picture", "caption"])
def test_discriminator_loss(weight: float, mismatch: str) -> None:
    """BCE(real, 1) + w BCE(mismatched, 0) + (1 - w) BCE(fake, 0), the mismatched pair being of the kind that is asked for."""
    method, batch = build(mismatch_weight=weight, mismatch=mismatch).eval(), make_batch(captions=2)
    update = next(method.training_step(batch, PROGRESS))
    condition = (batch.texts[0].sentence + batch.texts[1].sentence) / 2
    other = (batch.mismatched.texts[0].sentence + batch.mismatched.texts[1].sentence) / 2
    fake = method.generator(method.noise(batch, "discriminator").z, condition)
    judge = method.discriminator
    wrong = judge(batch.mismatched.pictures, condition) if mismatch == "picture" else judge(batch.pictures, other)
    loss = (
        F.softplus(-judge(batch.pictures, condition)).mean()
        + (1 - weight) * F.softplus(judge(fake, condition)).mean()
        + weight * F.softplus(wrong).mean()
    )
    assert update.player == "discriminator"
    torch.testing.assert_close(update.loss, loss)


def test_counterfactual_captions_take_their_share() -> None:
    method, batch = build(mismatch="caption", counterfactual=0.5).eval(), make_batch(captions=2)
    features = method.discriminator.look(batch.pictures)
    logits = method._mismatched(batch, features, batch.text.sentence)
    assert batch.counterfactual is not None
    torch.testing.assert_close(logits[:3], method.discriminator(batch.pictures, batch.counterfactual.sentence)[:3])
    other = (batch.mismatched.texts[0].sentence + batch.mismatched.texts[1].sentence) / 2
    torch.testing.assert_close(logits[3:], method.discriminator(batch.pictures, other)[3:])


def test_interpolated_conditions_train_the_generator_alone() -> None:
    """GAN-INT: half a batch of midpoints more, weighted by beta within a mean over 1.5 B; the discriminator never sees them."""
    method, batch = build(interpolation=0.7).eval(), make_batch(captions=2)
    steps = method.training_step(batch, PROGRESS)
    first = next(steps)
    torch.testing.assert_close(first.loss, next(build().eval().training_step(batch, PROGRESS)).loss)
    update = next(steps)
    condition = with_midpoints((batch.texts[0].sentence + batch.texts[1].sentence) / 2)
    assert condition.shape == (9, WIDTH)
    torch.testing.assert_close(condition[6], (condition[0] + condition[3]) / 2)
    z = torch.cat([method.noise(batch, "generator").z, method.noise(batch, "midpoints").z[:3]])
    errors = F.softplus(-method.discriminator(method.generator(z, condition), condition))
    torch.testing.assert_close(update.loss, (errors[:6].sum() + 0.7 * errors[6:].sum()) / 9)


def test_gradient_penalty_comes_every_few_steps() -> None:
    """R1 by an independent formula: half the squared norm of d logit / d picture, at real pictures, times weight and interval."""
    method, batch = build(gradient_penalty=2.0, penalty_every=3, discriminator_normalization=False), make_batch(captions=2)
    without = next(build(discriminator_normalization=False).training_step(batch, PROGRESS)).loss
    torch.testing.assert_close(next(method.training_step(batch, dataclasses.replace(PROGRESS, step=1))).loss, without)
    condition = (batch.texts[0].sentence + batch.texts[1].sentence) / 2
    rows = [
        torch.autograd.functional.jacobian(lambda x, t=text: method.discriminator(x[None], t[None]).squeeze(), picture)
        for picture, text in zip(batch.pictures, condition, strict=True)
    ]
    expected = 0.5 * torch.stack([row.square().sum() for row in rows]).mean()
    torch.testing.assert_close(next(method.training_step(batch, PROGRESS)).loss, without + 2.0 * 3 * expected)


@pytest.mark.parametrize("resolution", [16, 32, 128])
def test_other_resolutions(resolution: int) -> None:
    method = build(resolution)
    images = method.paint(TextFeatures(torch.zeros(2, WIDTH)), method.draw_noise(0, np.arange(2))).images
    assert images.shape == (2, 3, resolution, resolution)
    assert method.discriminator(images, torch.zeros(2, WIDTH)).shape == (2,)


@pytest.mark.parametrize("resolution", [8, 48])
def test_resolutions_it_cannot_make(resolution: int) -> None:
    with pytest.raises(SettingsError, match=f"cannot paint at {resolution} px.*power of two"):
        build(resolution)


def test_learning_rate_halves_every_100_epochs() -> None:
    factor = build().players()["generator"].learning_rate_factor
    assert factor is not None
    factors = [factor(dataclasses.replace(PROGRESS, epoch=epoch)) for epoch in (0.0, 99.9, 100.0, 250.0)]
    assert factors == [1.0, 1.0, 0.5, 0.25]
