"""StyleGAN, the first version: phases that grow, a mapping network that learns slowly, mixing by blocks, losses, settings."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import numpy as np
import pytest
import torch
from shared.batches import PROGRESS, make_batch, make_conditions, turns_of_a_step
from shared.tiny_runs import tiny

from limner.core.errors import SettingsError
from limner.core.text import TextFeatures
from limner.families.progressive.losses import Loss
from limner.families.style.adaptive import AdaptiveDiscriminator, AdaptiveGenerator
from limner.methods.stylegan import StyleGAN, StyleGANSettings
from limner.training.plan import make_plan, training_pictures

TINY: dict[str, Any] = {"noise_width": 6, "mapping_layers": 2, "channels": (12, 8, 6), "batch_sizes": (4,), "images": (40, 80)}


def build(resolution: int = 16, **values: Any) -> StyleGAN:
    torch.manual_seed(0)
    return StyleGAN(StyleGANSettings(**{**TINY, **values}), make_conditions(resolution))


def test_published_sizes() -> None:
    widths = StyleGANSettings().channels
    with torch.device("meta"):
        networks = AdaptiveGenerator(widths, 512, 8), AdaptiveDiscriminator(widths)
    assert [sum(value.numel() for value in network.parameters()) for network in networks] == [26_219_115, 25_444_737]


def test_phases_grow_from_8_px_and_fade_in() -> None:
    method = build()
    phases = method.phases()
    assert [(phase.name, phase.resolution, phase.images, phase.captions) for phase in phases] == [("8px", 8, 40, 0), ("16px", 16, 80, 0)]
    for phase, (alpha, later) in zip(phases, ((1.0, 1.0), (0.15, 1.0)), strict=True):
        method.begin(phase)
        assert method.resolution == phase.resolution
        for step, expected in ((1, alpha), (15, later)):
            progress = dataclasses.replace(PROGRESS, phase=phase.name, step=step, steps=20)
            batch = make_batch(phase.resolution, 4, captions=0)
            update = next(method.training_step(batch, progress))
            assert method.alpha == pytest.approx(expected) and update.loss.isfinite()
        trained = {name.split(".")[1] for name, value in method.generator.named_parameters() if value.requires_grad and "blocks." in name}
        assert trained == {str(level) for level in range(phase.resolution.bit_length() - 2)}
    method.begin(phases[0])
    other = build()
    other.load_state_dict(method.state_dict())
    assert other.resolution == 8


@pytest.mark.parametrize(("size", "steps"), [(None, [10, 20]), (2, [20, 40]), (64, [1, 1])])
def test_pictures_are_counted_whatever_a_batch_holds(size: int | None, steps: list[int]) -> None:
    """A recipe's batch size changes how many steps a phase takes, and not how many pictures it sees; one step is the least."""
    recipe = tiny("stylegan", 1000, resolution=16, batch_size=size)
    settings = dataclasses.replace(recipe.method_settings, images=(40, 80))
    recipe = dataclasses.replace(recipe, method_settings=settings)
    recipe = dataclasses.replace(recipe, data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=100))
    assert [planned.steps for planned in make_plan(recipe, training_pictures(recipe)).phases] == steps


def test_the_mapping_network_learns_a_hundredth_as_fast() -> None:
    """Adam moves every weight by its rate, whatever the gradient: what is computed with moves by a hundredth of that."""
    layer = build().generator.mapping.layers[0]
    assert isinstance(layer, torch.nn.Linear)
    before = layer(torch.ones(1, 6))
    with torch.no_grad():
        layer.weight += 1e-3
    change = (layer(torch.ones(1, 6)) - before).abs().max().detach()
    assert float(change) <= 0.01 * 1e-3 * 6 * (2 / 6) ** 0.5 * (1 + 1e-3)


def test_truncation_and_styles_by_blocks() -> None:
    method = build().eval()
    method.generator.mapping.mean.normal_()
    noise, text = method.draw_noise(0, np.arange(2)), TextFeatures(torch.zeros(2, 0))
    plain = method.find_styles(text, noise)
    assert plain.shape == (2, 3, 6) and [len(weight) for weight in method.style_weights()] == [48, 32, 24]
    method.settings = dataclasses.replace(method.settings, truncation=0.25)
    mean = method.generator.mapping.mean
    torch.testing.assert_close(method.find_styles(text, noise), mean + 0.25 * (plain - mean))


@pytest.mark.parametrize("loss", get_args(Loss))
def test_every_loss_takes_a_step(loss: Loss) -> None:
    method = build(loss=loss, mixing=1.0)
    method.begin(method.phases()[-1])
    turns = turns_of_a_step(method, make_batch(16, 4, captions=0), PROGRESS)
    assert [turn.player for turn in turns] == ["discriminator", "generator"] and "penalty" in turns[0].metrics


def test_settings_that_cannot_work() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"resolution": 24}, "stylegan cannot paint at 24 px: choose a power of two from 8"),
        ({"resolution": 32}, "method.channels has 3 numbers, but 32 px need 4"),
        ({"batch_sizes": (1,)}, "method.batch-sizes is .* 2 or more"),
        ({"images": ()}, "method.images is"),
        ({"fade": 2.0}, "between 0 and 1"),
    ]
    for values, words in cases:
        with pytest.raises(SettingsError, match=words):
            build(**values)
