"""The Keras DCGAN: losses by independent formulas, whose statistics normalise what, and the three ways in which noise enters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.batches import PROGRESS, WIDTH, make_batch, make_text

from limner.core.errors import SettingsError
from limner.core.trainable import Conditions
from limner.methods.keras_text_to_image import KerasBatchNorm, KerasSettings, KerasTextToImage
from limner.training.players import PlayerTraining, Statistics

SMALL = KerasSettings(noise_width=6, hidden_width=8, inner_channels=4, outer_channels=4)


def build(resolution: int = 16, **values: object) -> KerasTextToImage:
    torch.manual_seed(0)
    return KerasTextToImage(dataclasses.replace(SMALL, **values), Conditions(resolution=resolution, sentence_width=WIDTH))  # type: ignore[arg-type]


def trained_statistics(method: KerasTextToImage) -> KerasTextToImage:
    with torch.no_grad():
        method.generator.normalization.running_mean.add_(0.3)
    return method.train()


def test_the_discriminator_refuses_pictures_of_the_moving_statistics() -> None:
    method, batch = trained_statistics(build()), make_batch()
    before = [value.clone() for value in method.generator.buffers()]
    update = next(method.training_step(batch, PROGRESS))
    assert all(torch.equal(a, b) for a, b in zip(before, method.generator.buffers(), strict=True))
    sentence = batch.text.sentence
    fake = method.eval().paint(batch.text, method.noise(batch, "discriminator")).images  # as when training is over
    real, generated = method.discriminator(batch.pictures, sentence), method.discriminator(fake, sentence)
    assert update.player == "discriminator"
    torch.testing.assert_close(update.loss, torch.cat([F.softplus(-real), F.softplus(generated)]).mean())


def test_the_generator_learns_under_the_statistics_of_the_batch() -> None:
    method, batch = trained_statistics(build()), make_batch()
    _, update = method.training_step(batch, PROGRESS)
    sentence, z = batch.text.sentence, method.noise(batch, "generator").z
    generator = method.generator
    joint = generator.joint(torch.cat([generator.noise(z), generator.text(sentence)], 1).tanh())  # type: ignore[misc]
    flat = (joint - joint.mean(0)) / (joint.var(0, unbiased=False) + 1e-3).sqrt()
    fake = generator.layers(flat * generator.normalization.weight + generator.normalization.bias)
    assert update.player == "generator"
    torch.testing.assert_close(update.loss, F.softplus(-method.discriminator(fake, sentence)).mean(), rtol=1e-4, atol=1e-5)


def test_moving_statistics_are_those_of_the_batch_by_a_hundredth() -> None:
    layer, x = KerasBatchNorm(3).train(), torch.randn(5, 3, generator=torch.Generator().manual_seed(1)) * 2 + 1
    layer(x)
    torch.testing.assert_close(layer.running_mean, 0.01 * x.mean(0))
    torch.testing.assert_close(layer.running_var, 0.99 + 0.01 * (x - x.mean(0)).square().mean(0))


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_noise_enters_as_the_version_says(version: str) -> None:
    method, text = build(version=version).eval(), make_text(["a", "b"], torch.Generator().manual_seed(3), width=WIDTH)
    noises = [method.draw_noise(seed, np.arange(2)) for seed in (1, 2)]
    one, other = (method.paint(text, noise).images for noise in noises)
    assert torch.equal(one, other) == (version == "v2") and not torch.allclose(one[0], one[1])
    assert noises[0].z.shape == (2, 0 if version == "v2" else 6)
    width = 0 if method.generator.noise is None else method.generator.noise.out_features
    assert width == {"v1": 8, "v2": 0, "v3": 6}[version]
    z = build(noise_width=1000).draw_noise(1, np.arange(9)).z
    assert -1 <= z.min() < -0.99 and 0.99 < z.max() <= 1 and z.mean().abs() < 0.05
    assert len(noises[0].between(noises[1], 0.5)) == 2


def test_both_players_step_by_nesterov_s_rule() -> None:
    """The code's rule: v = m v - lr g, then the weights move by m v - lr g."""
    method, batch = build(learning_rate=0.1, momentum=0.9).train(), make_batch()
    statistics = Statistics(method)
    turns = {name: PlayerTraining(player, statistics) for name, player in method.players().items()}
    speed = {name: [torch.zeros_like(value) for value in turn.parameters] for name, turn in turns.items()}
    for _ in range(3):
        for update in method.training_step(batch, PROGRESS):
            turn = turns[update.player]
            gradients = torch.autograd.grad(update.loss, turn.parameters, retain_graph=True)
            speed[update.player] = [0.9 * v - 0.1 * g for v, g in zip(speed[update.player], gradients, strict=True)]
            moved = zip(turn.parameters, speed[update.player], gradients, strict=True)
            expected = [value.detach() + 0.9 * v - 0.1 * g for value, v, g in moved]
            turn.take(update.loss, PROGRESS, len(batch))
            torch.testing.assert_close(turn.parameters, expected)
    assert [turn.updates for turn in turns.values()] == [3, 3]


@pytest.mark.parametrize("resolution", [8, 30, 10])
def test_sides_that_cannot_be_painted(resolution: int) -> None:
    with pytest.raises(SettingsError, match=f"cannot paint at {resolution} px: choose a multiple of 4 from 12"):
        build(resolution)


@pytest.mark.parametrize("resolution", [12, 20])
def test_any_multiple_of_four_is_painted(resolution: int) -> None:
    method, text = build(resolution), make_text(["a"], torch.Generator().manual_seed(3), width=WIDTH)
    images = method.eval().paint(text, method.draw_noise(1, [0])).images
    assert images.shape == (1, 3, resolution, resolution) and method.discriminator(images, text.sentence).shape == (1,)
    assert method.look(images).shape[0] == 1


@pytest.mark.parametrize(("name", "value"), [("momentum", 1.0), ("learning_rate", 0.0), ("hidden_width", 0), ("noise_width", 0)])
def test_settings_that_cannot_work(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"method.{name.replace('_', '-')} is {value}"):
        dataclasses.replace(SMALL, **{name: value})  # type: ignore[arg-type]
