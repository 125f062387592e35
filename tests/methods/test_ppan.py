"""PPAN: every size's losses, the pyramid, the frozen network that nobody trains or stores, and classes or none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from shared.batches import CLASSES, PROGRESS, WIDTH, make_batch
from torch import nn

from limner.core.errors import DataError, SettingsError
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.features.garden_judge import load_judge
from limner.methods.ppan import PPAN, PPANSettings
from limner.training.players import PlayerTraining, Statistics
from limner.training.run import train

SMALL = PPANSettings(
    noise_width=6,
    text_width=8,
    scales=2,
    generator_channels=4,
    pyramid_channels=8,
    discriminator_channels=4,
    perceptual_network="garden",
    perceptual_stage="layer2",
)


def build(resolution: int = 32, class_count: int = CLASSES, **values: Any) -> PPAN:
    torch.manual_seed(0)
    method = PPAN(dataclasses.replace(SMALL, **values), Conditions(resolution=resolution, sentence_width=WIDTH, class_count=class_count))
    method.begin(method.phases()[0])
    return method


def smaller(pictures: torch.Tensor) -> torch.Tensor:
    return F.interpolate(pictures, size=(16, 16), mode="bilinear", antialias=True, align_corners=False)


@pytest.mark.parametrize("mismatch", ["picture", "caption"])
def test_losses(mismatch: str) -> None:
    """The sum over sizes of pairs and places, classes at the largest, the perceptual term and the divergence, by formulas of their own."""
    weights = {"local_weight": 0.5, "class_weight": 0.25, "perceptual": 2.0, "divergence_weight": 1.5, "mismatch_weight": 0.3}
    method, batch = build(mismatch=mismatch, **weights).eval(), make_batch(32, classes=CLASSES)
    sentence, other = batch.text.sentence, batch.mismatched.text.sentence
    fakes, gaussian = method.generator(method.noise(batch, "train"), sentence)
    assert [fake.shape[-1] for fake in fakes] == [16, 32]
    first, second = method.training_step(batch, PROGRESS)
    discriminator, generator = torch.zeros(()), 1.5 * gaussian.divergence()
    for judge, fake, size in zip(method.discriminators, fakes, (smaller, lambda pictures: pictures), strict=True):
        real, generated = judge(size(batch.pictures), sentence), judge(fake, sentence)
        wrong = judge(size(batch.mismatched.pictures), sentence) if mismatch == "picture" else judge(size(batch.pictures), other)
        assert real.places.shape == (6, 5, 5)
        discriminator = discriminator + F.softplus(-real.pair).mean() + 0.7 * F.softplus(generated.pair).mean()
        discriminator = discriminator + 0.3 * F.softplus(wrong.pair).mean()
        discriminator = discriminator + 0.5 * (F.softplus(-real.places).mean() + F.softplus(generated.places).mean())
        generator = generator + F.softplus(-generated.pair).mean() + 0.5 * F.softplus(-generated.places).mean()
    assert batch.classes is not None
    told = [-verdict.classes.log_softmax(1).gather(1, batch.classes[:, None]).mean() for verdict in (real, generated)]
    trunk = load_judge().trunk[:6]
    seen = [
        (trunk(fake) - trunk(target)).square().sum() / trunk(target).square().sum()
        for fake, target in zip(fakes, (smaller(batch.pictures), batch.pictures), strict=True)
    ]
    torch.testing.assert_close(first.loss, discriminator + 0.25 * sum(told))
    torch.testing.assert_close(second.loss, generator + 0.25 * told[1] + 2.0 * (seen[0] + seen[1]) / 2)
    largest = build(mismatch=mismatch, perceptual_sizes="largest", **weights).eval()
    torch.testing.assert_close([*largest.training_step(batch, PROGRESS)][1].loss, second.loss + (seen[1] - seen[0]))


def test_coarse_levels_reach_fine_pictures_by_lateral_connections() -> None:
    """The finest picture still follows the noise where the finest trunk's map is cut off; without lateral connections it cannot."""
    text = TextFeatures(torch.zeros(2, WIDTH))
    for lateral in (True, False):
        method = build(lateral=lateral).eval()
        noise = method.draw_noise(0, np.arange(2))
        nn.init.zeros_(method.generator.trunk[-1][0].weight)
        pictures = method.paint(text, noise).images
        assert torch.allclose(pictures[0], pictures[1]) != lateral
        assert len(method.generator.lateral) == (4 if lateral else 0)


@pytest.mark.parametrize(
    "values",
    [
        {"mismatch": "caption", "counterfactual": 0.5, "gradient_penalty": 1.0, "discriminator_normalization": False},
        {"perceptual": 0.0, "local_weight": 0.0, "class_weight": 0.0, "mismatch_weight": 0.0},
        {"scales": 1, "lateral": False, "perceptual_sizes": "largest", "halve_every": 0.0},
    ],
)
def test_every_setting_takes_steps(values: dict[str, Any]) -> None:
    """Through the trainer's turns: losses are finite, a turn moves nobody else, and every part of a player is moved."""
    method, batch = build(**values).train(), make_batch(32, classes=CLASSES)
    statistics = Statistics(method)
    turns = {name: PlayerTraining(player, statistics, ema_half_life=100.0) for name, player in method.players().items()}
    for step in range(2):
        for update in method.training_step(batch, dataclasses.replace(PROGRESS, step=step)):
            before = {name: [value.clone() for value in turn.parameters] for name, turn in turns.items()}
            assert float(turns[update.player].take(update.loss, PROGRESS, 6)) == 0.0 and torch.isfinite(update.loss)
            for name, turn in turns.items():
                assert all(map(torch.equal, turn.parameters, before[name])) == (name != update.player)
    stepped = {id(value) for turn in turns.values() for value in turn.optimizer.state}
    unused = {name for name, value in method.named_parameters() if id(value) not in stepped}
    assert unused == {name for name in dict(method.named_parameters()) if ".places." in name and not method.settings.local_weight}


def test_the_frozen_network_is_no_part_of_the_method() -> None:
    method, batch = build(), make_batch(32, classes=CLASSES)
    loss = method.guides["perceptual"]
    inside = {id(value) for value in loss.network.parameters()}
    assert not inside & {id(value) for value in method.parameters()} and not any("perceptual" in name for name in method.state_dict())
    for update in method.training_step(batch, PROGRESS):
        update.loss.backward(retain_graph=True)
    assert all(value.grad is None for value in loss.network.parameters()) and not loss.network.training
    painter = PPAN(method.settings, method.conditions)  # as a saved model is loaded: nothing but painting
    assert painter.guides == {}


def test_pictures_without_classes() -> None:
    with pytest.raises(DataError, match="the training pictures have none: .*--method.class-weight 0"):
        build(class_count=0)
    method = build(class_count=0, class_weight=0.0)
    assert all(torch.isfinite(update.loss) for update in method.training_step(make_batch(32), PROGRESS))


@pytest.mark.parametrize(("resolution", "scales", "sides"), [(16, 1, [16]), (64, 3, [16, 32, 64])])
def test_shapes(resolution: int, scales: int, sides: list[int]) -> None:
    method = build(resolution, scales=scales).eval()
    text = TextFeatures(torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1)))
    painting = method.paint(text, method.draw_noise(0, np.arange(3)))
    assert [stage.shape for stage in (*painting.stages, painting.images)] == [(3, 3, side, side) for side in sides]
    assert method.look(painting.images).shape[0] == 3


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ppan cannot paint at 48 px"):
        build(48)
    with pytest.raises(SettingsError, match="scales is 3, but the smallest picture at 32 px would have a side of 8: it must have 16"):
        build(32, scales=3)
    recipe = tiny(1)
    settings = dataclasses.replace(recipe.method_settings, perceptual_network="vgg19=/nowhere/vgg19.pth", perceptual_stage="relu5_4")
    with pytest.raises(SettingsError, match="no weights of the feature network 'vgg19' at /nowhere/vgg19.pth"):
        train(dataclasses.replace(recipe, method_settings=settings), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "refused before anything is written"


def tiny(steps: int) -> Recipe:
    recipe = from_preset("ppan", "cpu", "garden", 32)
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(
            recipe.method_settings, generator_channels=4, pyramid_channels=8, discriminator_channels=4, batch_size=8
        ),
        training=dataclasses.replace(
            recipe.training, steps=steps, log_every=2, checkpoint_every=1000, sample_every=1000, device="cpu", seed=3
        ),
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=40),
    )


def test_what_a_run_tells_and_leaves(tmp_path: Path) -> None:
    train(tiny(2), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert any("generator/perceptual" in line and "discriminator/classes" in line for line in lines)
    with safe_open(tmp_path / "run" / "model" / "model.safetensors", framework="pt") as saved:
        assert {name.split(".")[1] for name in sorted(saved.keys()) if name.startswith("method.")} == {"generator"}
