"""DF-GAN: the authors' sizes, another order of computing with the same numbers, its losses and their switches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.batches import PROGRESS, WIDTH, make_batch, turns_of_a_step

from limner.core.errors import SettingsError
from limner.core.noise import squeezed
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.methods.df_gan import DFGAN, ConditionalAffine, DFGANSettings, HalvingBlock
from limner.nn.fast.upsampling import DoublingConvolution, doubled

SMALL = DFGANSettings(noise_width=5, generator_channels=3, discriminator_channels=3)


def build(resolution: int = 16, **values: object) -> DFGAN:
    """With weights that are no longer at their special beginnings, where affines and residuals do nothing."""
    torch.manual_seed(0)
    method = DFGAN(dataclasses.replace(SMALL, **values), Conditions(resolution=resolution, sentence_width=WIDTH))  # type: ignore[arg-type]
    for parameter in method.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    return method


def test_published_sizes() -> None:
    """The authors' birds model: 9,744,131 and 295,936, and 6,619,206 without the three 1x1 convolutions that are never called."""
    method = DFGAN(DFGANSettings(), Conditions(resolution=256, sentence_width=256))
    parts = method.generator, method.discriminator.picture, method.discriminator.joint
    assert [sum(value.numel() for value in part.parameters()) for part in parts] == [9_744_131, 6_619_206 - 3 * (256 * 256 + 256), 295_936]


@torch.no_grad()
def test_fusion_says_nothing_at_first() -> None:
    x, condition = torch.randn(2, 4, 3, 3), torch.randn(2, 7)
    torch.testing.assert_close(ConditionalAffine(7, 4)(x, condition), x)
    block = HalvingBlock(4, 4)
    torch.testing.assert_close(block(torch.ones(1, 4, 4, 4)), torch.ones(1, 4, 2, 2))


@torch.no_grad()
def test_blocks_in_the_published_order() -> None:
    """A block that doubles first, as the paper has it, gives what ours does, whose convolution never sees a doubled map."""
    block = build(64).generator.blocks[2]  # the widths differ from here on
    assert isinstance(block.first, DoublingConvolution) and block.first.in_channels != block.first.out_channels
    x, condition = torch.randn(2, block.first.in_channels, 5, 7), torch.randn(2, WIDTH + SMALL.noise_width)
    wide = doubled(x)
    inner = F.conv2d(block.first_fusion(wide, condition), block.first.weight, block.first.bias, padding=1)
    expected = block.shortcut(wide) + block.second(block.second_fusion(inner, condition))
    torch.testing.assert_close(block(x, condition), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("resolution", [16, 64])
def test_what_it_paints_is_seen_by_its_discriminator(resolution: int) -> None:
    method = build(resolution).eval()
    text = TextFeatures(torch.randn(3, WIDTH))
    with torch.no_grad():
        images = method.paint(text, method.draw_noise(3, np.arange(3))).images
        assert images.shape == (3, 3, resolution, resolution) and method.look(images).shape == (3, 3 * min(resolution // 4, 8) * 16)


def test_noise_is_truncated_in_painting_alone() -> None:
    method, plain, samples = build(noise_width=64), build(noise_width=64, truncation=0.0), np.arange(400)
    batch = dataclasses.replace(make_batch(size=4), samples=samples)
    drawn, trained = method.draw_noise(0, samples).z, method.noise(batch, "generator").z
    assert 1.6 < drawn.abs().max() <= 0.88 * 2.0 and trained.abs().max() > 3.0
    assert float(drawn.std()) == pytest.approx(0.88 * 0.8796, rel=0.02)  # 0.8796: the deviation of a normal distribution cut at 2
    original = plain.draw_noise(0, samples).z.flatten().sort().values
    assert (squeezed(original, 2.0).diff() >= 0).all() and original.abs().max() > 3.0


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"gradient_penalty": 0.0, "mismatch_weight": 0.0},
        {"mismatch": "picture", "counterfactual": 0.5},
        {"mismatch": "caption", "counterfactual": 0.75, "captions": 1},
        {"counterfactual": 0.5, "affines": 1, "two_way": True},
    ],
)
def test_the_discriminator_s_loss(values: dict[str, object]) -> None:
    """By the definition: every pair judged by itself, the gradient of each logit taken alone."""
    method, batch = build(**values), make_batch(size=4)
    settings, judge, text = method.settings, method.discriminator, batch.text.sentence
    fake = method.generator(method.noise(batch, "generator").z, text).detach()
    update = next(method.training_step(batch, PROGRESS))
    pictures, wrong, count = batch.pictures, text, round(settings.counterfactual * len(batch))
    if settings.mismatch == "caption":
        wrong = batch.mismatched.text.sentence
    else:
        pictures = torch.cat([pictures[1:], pictures[:1]]) if settings.mismatch == "neighbour" else batch.mismatched.pictures
    pictures = torch.cat([batch.pictures[:count], pictures[count:]])
    assert batch.counterfactual is not None
    wrong = torch.cat([batch.counterfactual.sentence[:count], wrong[count:]])
    weight = settings.mismatch_weight
    loss = F.relu(1 - judge(batch.pictures, text)).mean() + (1 - weight) * F.relu(1 + judge(fake, text)).mean()
    loss = loss + weight * F.relu(1 + judge(pictures, wrong)).mean()
    if settings.two_way:
        loss = loss + F.relu(1 - judge.alone(judge.look(batch.pictures))).mean() + F.relu(1 + judge.alone(judge.look(fake))).mean()
    for picture, sentence in zip(batch.pictures, text, strict=True):
        rows = torch.autograd.functional.jacobian(lambda x, t: judge(x[None], t[None]).squeeze(), (picture, sentence))
        norm = torch.cat([row.flatten() for row in rows]).norm()
        loss = loss + settings.gradient_penalty * norm**6 / len(batch)
    torch.testing.assert_close(update.loss, loss, rtol=1e-4, atol=1e-5)
    assert ("mismatched" in update.metrics, "penalty" in update.metrics) == (weight > 0, settings.gradient_penalty > 0)


@pytest.mark.parametrize("values", [{}, {"two_way": True, "affines": 1}])
def test_the_generator_s_turn_has_the_pictures_that_the_discriminator_judged(values: dict[str, object]) -> None:
    first, second = turns_of_a_step(build(**values), make_batch(size=4), rate=0.0)
    assert (first.player, second.player) == ("discriminator", "generator")
    if not values:
        torch.testing.assert_close(second.loss.detach(), -first.metrics["fake"])


def test_penalty_every_few_steps() -> None:
    """Off its turn the loss has none; at it, one that many times as heavy."""
    batch, losses = make_batch(size=4), {}
    for every, step in ((1, 0), (3, 0), (3, 1)):
        losses[every, step] = next(build(penalty_every=every).training_step(batch, dataclasses.replace(PROGRESS, step=step))).loss
    assert losses[1, 0] > losses[3, 1]
    torch.testing.assert_close(losses[3, 0] - losses[3, 1], 3 * (losses[1, 0] - losses[3, 1]))


def test_what_is_refused() -> None:
    cases = [
        ({"affines": 0}, "method.affines is 0"),
        ({"penalty_power": 1.0}, "method.penalty-power is 1.0"),
        ({"beta2": 1.0}, "method.beta2 is 1.0"),
        ({"mismatch_weight": 1.5}, "method.mismatch-weight is 1.5"),
        ({"mismatch_weight": 0.0, "counterfactual": 0.5}, "needs mismatched pairs"),
    ]
    for values, words in cases:
        with pytest.raises(SettingsError, match=words):
            dataclasses.replace(SMALL, **values)  # type: ignore[arg-type]
    for resolution in (8, 48):
        with pytest.raises(SettingsError, match=f"df-gan cannot paint at {resolution} px.*power of two"):
            build(resolution)
