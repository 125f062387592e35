"""StackGAN: the authors' sizes, its two phases, the settings' branches, and what the second stage stands on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from shared.batches import WIDTH, make_batch

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Progress
from limner.methods.stackgan import STAGE_2, StackGAN, StackGANSettings
from limner.model import load
from limner.training.run import train

SMALL = StackGANSettings(
    factor=2, noise_width=6, condition_width=8, generator_channels=4, discriminator_channels=4, batch_size=6, stage_2_batch_size=6
)


def build(resolution: int = 16, **values: object) -> StackGAN:
    torch.manual_seed(0)
    return StackGAN(dataclasses.replace(SMALL, **values), Conditions(resolution=resolution, sentence_width=WIDTH))  # type: ignore[arg-type]


def at(phase: Phase, step: int = 0) -> Progress:
    return Progress(phase=phase.name, step=step, steps=10, images=0, epoch=0.0)


def begun(method: StackGAN, number: int) -> Phase:
    phase = method.phases()[number]
    method.begin(phase)
    return phase


def test_published_sizes() -> None:
    """The COCO networks of the PyTorch program: Stage-I, the part of Stage-II that is trained, and both discriminators."""
    with torch.device("meta"):
        method = StackGAN(StackGANSettings(), Conditions(resolution=256, sentence_width=1024))
    assert {name: sum(value.numel() for value in network.parameters()) for name, network in method.named_children()} == {
        "generator_1": 20_020_832,
        "discriminator_1": 12_407_425,
        "generator_2": 37_130_480,
        "discriminator_2": 159_889_538,
    }


VARIANTS: list[dict[str, Any]] = [
    {},
    {"mismatch": "caption", "counterfactual": 0.5, "discriminator_text": "sentence"},
    {"mismatch": "picture", "counterfactual": 0.5, "unconditional": "both"},
    {"mismatch": "picture", "unconditional": "none", "activation": "leaky-relu", "spread": "log-deviation"},
    {"augmentation": False, "residual_blocks": 0},
    {"text_twice": False, "moving_statistics": False},
    {"gradient_penalty": 1.0, "discriminator_normalization": False, "mismatch": "caption"},
]


@pytest.mark.parametrize("values", VARIANTS, ids=str)
@pytest.mark.parametrize("number", [0, 1])
def test_a_turn_moves_its_player_alone(number: int, values: dict[str, Any]) -> None:
    """Every branch of a step has finite losses, whose gradients stay with those of the phase: frozen Stage-I has none at all."""
    method = build(**values)
    phase = begun(method, number)
    players, updates = method.players(), []
    for update in method.training_step(make_batch(phase.resolution), at(phase)):
        own = [value for value in players[update.player].module.parameters() if value.requires_grad]
        assert torch.isfinite(update.loss) and all(torch.isfinite(value) and not value.requires_grad for value in update.metrics.values())
        update.loss.backward(inputs=own)
        moved = {name for name, value in method.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
        assert moved and all(name.startswith(update.player.replace("-", "_") + ".") for name in moved)
        method.zero_grad()
        updates.append(update.player)
        assert {"real", "fake", "mismatched"} <= update.metrics.keys() or update.player.startswith("generator")
    assert tuple(updates) == phase.players == (f"discriminator-{number + 1}", f"generator-{number + 1}")
    assert all(value.requires_grad == (number == 0) for value in method.generator_1.parameters())


@pytest.mark.parametrize("mismatch", ["neighbour", "caption", "picture"])
def test_discriminator_loss(mismatch: str) -> None:
    """Stage-II: half of each error on real pictures, a third of each on what is wrong; conditions are detached means."""
    method = build(mismatch=mismatch).eval()
    phase = begun(method, 1)
    batch = make_batch(phase.resolution)
    update = next(method.training_step(batch, at(phase)))
    noise, sentence, net = method.noise(batch, phase.name), batch.text.sentence, method.discriminator_2
    assert method.generator_1.training  # it goes on normalising by the batch
    rough, _ = method.generator_1(noise.z, noise.epsilon_1, sentence)
    fake, found = method.generator_2(rough, noise.epsilon_2, sentence)
    assert found is not None
    mean, real, made = found.mean, net.look(batch.pictures), net.look(fake)
    other = method.generator_2.text(batch.mismatched.text.sentence).mean  # type: ignore[misc]
    assert net.alone is not None
    wrong = {
        "neighbour": lambda: net.matching(real[:-1], mean[1:]),
        "caption": lambda: net.matching(real, other),
        "picture": lambda: net.matching(net.look(batch.mismatched.pictures), mean),
    }[mismatch]()
    accepted = F.softplus(-net.matching(real, mean)).mean() + F.softplus(-net.alone(real)).mean()
    refused = F.softplus(net.matching(made, mean)).mean() + F.softplus(net.alone(made)).mean() + F.softplus(wrong).mean()
    torch.testing.assert_close(update.loss, accepted / 2 + refused / 3)


def test_counterfactual_captions_and_penalty_take_their_part() -> None:
    method = build(mismatch="caption", counterfactual=0.5, gradient_penalty=2.0, penalty_every=3, discriminator_normalization=False)
    phase = begun(method, 0)
    batch = make_batch(phase.resolution)
    first, later = (next(method.training_step(batch, at(phase, step))) for step in (0, 1))
    torch.testing.assert_close(first.loss, later.loss + 2.0 * 3 * first.metrics["penalty"])
    judge = method.stage_discriminator(1)
    features, captions = judge.look(batch.pictures), batch.mismatched.text.sentence
    assert batch.counterfactual is not None
    wrong = torch.cat([batch.counterfactual.sentence[:3], captions[3:]])
    torch.testing.assert_close(later.metrics["mismatched"], judge.match(features, wrong).detach().sigmoid().mean())


@pytest.mark.parametrize("moving", [True, False])
def test_the_frozen_stage_moves_its_statistics_or_not(moving: bool) -> None:
    method = build(moving_statistics=moving)
    phase = begun(method, 1)
    method.train()
    before = {name: value.clone() for name, value in method.generator_1.state_dict().items()}
    list(method.training_step(make_batch(phase.resolution), at(phase)))
    changed = {name for name, value in method.generator_1.state_dict().items() if not torch.equal(value, before[name])}
    assert all("running_" in name or "num_batches" in name for name in changed) and bool(changed) == moving


@pytest.mark.parametrize(("resolution", "factor"), [(16, 2), (32, 4), (64, 2)])
def test_paints_either_stage(resolution: int, factor: int) -> None:
    """Before Stage-II its rough pictures; then the fine ones, the rough ones with them."""
    method = build(resolution, factor=factor).eval()
    text = TextFeatures(torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1)))
    noise = method.draw_noise(3, np.arange(5))
    painting = method.paint(text, noise)
    assert painting.images.shape == (5, 3, resolution, resolution) and method.resolution == resolution
    begun(method, 0)
    rough = method.paint(text, noise)
    assert not rough.stages and method.resolution == resolution // factor == rough.images.shape[-1]
    torch.testing.assert_close(painting.stages[0], rough.images, rtol=0, atol=0)


@pytest.mark.parametrize("field", ["z", "epsilon_1", "epsilon_2"])
def test_each_random_input_matters(field: str) -> None:
    """At fixed z, other draws of either condition give other pictures: the augmentation's variety. By batch statistics, which make
    fresh weights' pictures differ visibly."""
    method = build().train()
    text = TextFeatures(torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1)))
    noise, other = method.draw_noise(0, np.arange(3)), method.draw_noise(1, np.arange(3))
    mixed = dataclasses.replace(noise, **{field: getattr(other, field)})
    first, second = method.paint(text, noise), method.paint(text, mixed)
    assert (first.images - second.images).abs().max() > 1e-3
    assert torch.equal(first.stages[0], second.stages[0]) == (field == "epsilon_2")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"factor": 3}, "method.factor is 3.*power of two"),
    ({"counterfactual": 0.5}, "cannot go with method.mismatch neighbour"),
    ({"stage_1_share": 1.0}, "method.stage-1-share is 1.0"),
    ({"factor": 4}, "stackgan cannot paint at 16 px: choose a power of two from 32"),
]


@pytest.mark.parametrize(("values", "words"), BAD)
def test_what_cannot_work(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        build(**values)


STEPS = 6


def tiny() -> Recipe:
    recipe = from_preset("stackgan", "cpu", "garden", 16)
    small = {"noise_width": 6, "condition_width": 8, "generator_channels": 2, "discriminator_channels": 4}
    return dataclasses.replace(
        recipe,
        # With statistics that move: the frozen stage has a state that changes.
        method_settings=dataclasses.replace(recipe.method_settings, **small, batch_size=8, stage_2_batch_size=8, moving_statistics=True),
        training=dataclasses.replace(recipe.training, steps=STEPS, log_every=2, checkpoint_every=4, sample_every=1000, device="cpu"),
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=40),
    )


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight") / "run"
    train(tiny(), out)
    return out


class Killed(Exception):
    """The process ends here, without a word."""


def test_the_second_stage_stands_on_the_average_of_the_first(straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage-I's weights are, to the last, those with which it painted at its end; its model has nothing of Stage-II yet."""
    honest = StackGAN.training_step

    def cut(self: StackGAN, batch: Batch, progress: Progress) -> Any:
        if progress.phase == STAGE_2:
            raise Killed
        yield from honest(self, batch, progress)

    monkeypatch.setattr(StackGAN, "training_step", cut)
    with pytest.raises(Killed):
        train(tiny(), tmp_path / "run")
    first, final = load(tmp_path / "run"), load(straight)
    assert (first.resolution, final.resolution) == (8, 16)
    assert first.generate("a red flower")[0].size == (8, 8) and final.generate("a red flower")[0].size == (16, 16)
    weights = dict(final.method.generator_1.named_parameters())  # type: ignore[union-attr]
    assert all(torch.equal(value, weights[name]) for name, value in first.method.generator_1.named_parameters())  # type: ignore[union-attr]
    assert not any("generator_2" in name for name in load_file(tmp_path / "run" / "model" / "model.safetensors"))
