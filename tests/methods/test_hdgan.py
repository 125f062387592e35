"""HDGAN: the authors' sizes, its losses against an independent formula, and its switches."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from shared.batches import PROGRESS, WIDTH, make_batch, turns_of_a_step
from torch import Tensor

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.noise import ConditionedNoise
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.methods.hdgan import HDGAN, HDGANSettings

SMALL = HDGANSettings(
    noise_width=6,
    condition_width=5,
    text_width=8,
    generator_channels=16,
    nested=(16,),
    discriminator_channels=4,
    code_channels=6,
    patch_from=32,
    captions=2,
)


def build(resolution: int = 32, **values: Any) -> HDGAN:
    torch.manual_seed(0)
    return HDGAN(dataclasses.replace(SMALL, **values), Conditions(resolution=resolution, sentence_width=WIDTH))


def mean_condition(batch: Batch) -> Tensor:
    return (batch.texts[0].sentence + batch.texts[1].sentence) / 2


def test_published_sizes() -> None:
    """Parameters of the authors' networks, counted by running their code, and the widths that it hard-codes."""
    with torch.device("meta"):
        method = HDGAN(HDGANSettings(), Conditions(resolution=256, sentence_width=1024))
    counts = [sum(value.numel() for value in network.parameters()) for network in (method.generator, method.discriminator)]
    assert counts == [41_378_496, 25_693_606]
    firsts = {side: method.discriminator_of(side).picture[0][0].out_channels for side in method.sides}
    assert firsts == {64: 128, 128: 64, 256: 32}


@pytest.mark.parametrize("mismatch", ["picture", "caption"])
@pytest.mark.parametrize("local", [True, False])
def test_discriminators_loss(mismatch: str, local: bool) -> None:
    """LSGAN at each side: pair 1, 1/2 and 1/2; local 1 for generated and 1 for real ones, mismatched pictures being real too."""
    method, batch = build(mismatch=mismatch, local_weight=float(local)).eval(), make_batch(32, captions=2)
    update = next(method.training_step(batch, PROGRESS))
    condition, other = mean_condition(batch), batch.mismatched
    noise = method.noise(batch, "generator")
    fakes, _ = method.generator(condition, noise.z, noise.epsilon)
    expected = torch.zeros(())
    for side, fake in zip((16, 32), fakes, strict=True):
        judge, real = method.discriminator_of(side), batch.image(side)
        wrong = (other.image(side), condition) if mismatch == "picture" else (real, mean_condition(other))
        pairs = [judge.match(judge.look(pictures), text) for pictures, text in ((real, condition), (fake, condition), wrong)]
        expected += ((pairs[0] - 1) ** 2).mean() + ((pairs[1] ** 2).mean() + (pairs[2] ** 2).mean()) / 2
        if local:
            maps = [judge.local(judge.look(pictures).code) for pictures in (real, fake, wrong[0])]
            assert maps[0].shape == (6, 1, *((5, 5) if side == 32 else (1, 1)))  # patches at 32 px, as SMALL asks
            expected += (maps[1] ** 2).mean() + (((maps[0] - 1) ** 2).mean() + ((maps[2] - 1) ** 2).mean()) / 2
    assert update.player == "discriminator"
    torch.testing.assert_close(update.loss, expected)


def test_generator_s_loss() -> None:
    """Distance of every verdict from 1, and 4 times the divergence, by Kullback and Leibler's own formula."""
    method, batch = build().eval(), make_batch(32, captions=2)
    *_, update = method.training_step(batch, PROGRESS)
    condition, noise = mean_condition(batch), method.noise(batch, "generator")
    fakes, _ = method.generator(condition, noise.z, noise.epsilon)
    out = torch.nn.functional.leaky_relu(method.generator.augmentation.linear(condition), 0.2)
    found = torch.distributions.Normal(out[:, :5], out[:, 5:].exp())
    expected = 4 * torch.distributions.kl_divergence(found, torch.distributions.Normal(torch.zeros(5), torch.ones(5))).mean()
    for side, fake in zip((16, 32), fakes, strict=True):
        seen = method.discriminator_of(side).look(fake)
        expected = expected + ((method.discriminator_of(side).match(seen, condition) - 1) ** 2).mean()
        expected = expected + ((method.discriminator_of(side).local(seen.code) - 1) ** 2).mean()
    torch.testing.assert_close(update.loss, expected)


@pytest.mark.parametrize("mismatch", ["picture", "caption"])
def test_counterfactual_captions_take_their_share(mismatch: str) -> None:
    """Two thirds of the mismatched pairs keep their picture and have a caption that is nearly right."""
    method, batch = build(nested=(), local_weight=0.0, mismatch=mismatch, counterfactual=2 / 3).eval(), make_batch(32, captions=2)
    judge, condition, other = method.discriminator_of(32), mean_condition(batch), batch.mismatched
    assert batch.counterfactual is not None
    texts = torch.cat([batch.counterfactual.sentence[:4], (condition if mismatch == "picture" else mean_condition(other))[4:]])
    pictures = torch.cat([batch.pictures[:4], (other if mismatch == "picture" else batch).pictures[4:]])
    update = next(method.training_step(batch, PROGRESS))
    torch.testing.assert_close(update.metrics["mismatched"], judge.match(judge.look(pictures), texts).mean())


def test_gradient_penalty_comes_every_few_steps_at_every_side() -> None:
    method, batch = build(gradient_penalty=2.0, penalty_every=3, discriminator_normalization=False), make_batch(32, 2, captions=2)
    without = next(build(discriminator_normalization=False).training_step(batch, PROGRESS)).loss
    torch.testing.assert_close(next(method.training_step(batch, dataclasses.replace(PROGRESS, step=1))).loss, without)
    expected = torch.zeros(())
    for side in (16, 32):
        judge = method.discriminator_of(side)

        def verdict(picture: Tensor, text: Tensor, judge: Any = judge) -> Tensor:
            seen = judge.look(picture[None])
            return judge.match(seen, text[None]).squeeze() + judge.local(seen.code).mean()

        pairs = zip(batch.image(side), mean_condition(batch), strict=True)
        rows = [torch.autograd.functional.jacobian(lambda x, t=text: verdict(x, t), picture) for picture, text in pairs]
        expected += 0.5 * torch.stack([row.square().sum() for row in rows]).mean()
    torch.testing.assert_close(next(method.training_step(batch, PROGRESS)).loss, without + 2.0 * 3 * expected)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"nested": ()},
        {"local_weight": 0.0, "residual_blocks": 2, "halved_at": (16,)},
        {"mismatch_weight": 0.0, "patch_from": 16},
        {"mismatch": "caption", "counterfactual": 0.5, "discriminator_normalization": False, "gradient_penalty": 1.0},
    ],
)
def test_every_switch_takes_a_step(values: dict[str, Any]) -> None:
    turns = turns_of_a_step(build(**values), make_batch(32, captions=2))
    assert [turn.player for turn in turns] == ["discriminator", "generator"]


def test_pictures_of_every_side() -> None:
    """Stages from rough to fine; z and epsilon change the picture each alone."""
    method = build(64, nested=(16, 32, 256)).eval()
    text = TextFeatures(torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1)))
    noise = method.draw_noise(3, np.arange(5))
    painting = method.paint(text, noise)
    assert [stage.shape for stage in (*painting.stages, painting.images)] == [(5, 3, side, side) for side in (16, 32, 64)]
    for other in (ConditionedNoise(-noise.z, noise.epsilon), ConditionedNoise(noise.z, -noise.epsilon)):
        assert not torch.allclose(painting.images, method.paint(text, other).images)
    assert method.look(painting.images).shape == (5, 16 * 6)


def test_layouts_differ_in_rounding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64 losses and gradients are the same with channels last and without."""
    found = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr("limner.methods.hdgan.for_convolutions", lambda maps: maps)
        method, batch = build().double(), make_batch(32, captions=2)
        noise = method.noise(batch, "generator")
        fakes, condition = method.generator(mean_condition(batch).double(), noise.z.double(), noise.epsilon.double())
        assert fakes[-1].is_contiguous(memory_format=torch.channels_last) is not plain
        update = method._generator_update(fakes, mean_condition(batch).double(), condition)
        update.loss.backward()
        found.append([update.loss.detach(), *(value.grad for value in method.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_512_px() -> None:
    """The published switches go a step further: a fourth picture, and a discriminator with 5x5 verdicts."""
    published = HDGANSettings()
    values = {"nested": published.nested, "halved_at": published.halved_at, "patch_from": published.patch_from}
    method = build(512, generator_channels=32, discriminator_channels=16, **values).eval()
    painting = method.paint(TextFeatures(torch.zeros(1, WIDTH)), method.draw_noise(0, np.arange(1)))
    maps = {}
    for picture in (*painting.stages, painting.images):
        judge = method.discriminator_of(picture.shape[-1])
        seen = judge.look(picture)
        assert judge.match(seen, torch.zeros(1, WIDTH)).shape == (1,)
        maps[picture.shape[-1]] = judge.local(seen.code).shape[-1]
    assert maps == {64: 1, 128: 1, 256: 5, 512: 5}


def test_what_is_refused() -> None:
    cases = [
        ({"nested": (32, 16)}, 32, "method.nested .* rising powers of two"),
        ({"nested": (24,)}, 32, "method.nested"),
        ({"generator_channels": 6}, 32, "cannot be halved"),
        ({}, 8, "cannot paint at 8 px"),
        ({}, 48, "cannot paint at 48 px"),
        ({"mismatch_weight": 0.0, "counterfactual": 0.5}, 32, "needs mismatched pairs"),
        ({"mismatch_weight": 1.5}, 32, "method.mismatch-weight is 1.5"),
    ]
    for values, resolution, words in cases:
        with pytest.raises(SettingsError, match=words):
            build(resolution, **values)
