"""StyleGAN2: lazy regularisation, style mixing, truncation, augmentation, captions as labels, and every command on pictures alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from shared.batches import PROGRESS, make_batch, make_conditions, turns_of_a_step

from limner.cli.main import main
from limner.core.errors import SettingsError
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.core.text import TextFeatures
from limner.core.trainable import Update
from limner.families.style.discriminator import Discriminator
from limner.families.style.generator import Generator, map_widths
from limner.methods.stylegan2 import StyleGAN2, StyleGAN2Settings
from limner.model import load
from limner.training.run import train

TINY: dict[str, Any] = {
    "noise_width": 6, "style_width": 8, "mapping_layers": 2, "discriminator_layers": 2, "channel_base": 128, "channel_limit": 12,
}  # fmt: skip


def build(resolution: int = 16, **values: Any) -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2(StyleGAN2Settings(**{**TINY, "batch_size": 8, **values}), make_conditions(resolution))


def turns(method: StyleGAN2, step: int) -> list[Update]:
    """The turns of a step, none of which is taken."""
    return list(method.training_step(make_batch(size=8), dataclasses.replace(PROGRESS, step=step)))


def test_published_sizes() -> None:
    with torch.device("meta"):
        widths = map_widths(256, 32_768, 512)
        generator, discriminator = Generator(widths, 512, 512, 8), Discriminator(widths)
    assert sum(value.numel() for value in generator.parameters()) == 30_034_338
    assert sum(value.numel() for value in discriminator.parameters()) == 28_864_129


def test_regularisation_comes_every_few_steps_as_steps_of_its_own() -> None:
    method = build(penalty_every=4, path_every=2, gradient_penalty=3.0, path_weight=2.0)
    players = [[turn.player for turn in turns(method, step)] for step in (1, 2, 4)]
    assert players == [
        ["discriminator", "generator"],
        ["discriminator", "generator", "generator"],
        ["discriminator", "discriminator", "generator", "generator"],
    ]
    _, penalised, _, paths = turns(method, 0)
    torch.testing.assert_close(penalised.loss.detach(), 3.0 * 4 * penalised.metrics["penalty"])
    torch.testing.assert_close(paths.loss.detach(), 2.0 * 2 * paths.metrics["path_penalty"])


def test_adam_is_adjusted_for_the_steps_of_regularisation() -> None:
    optimizers = {name: player.optimizer for name, player in build().players().items()}
    assert optimizers["discriminator"].learning_rate == pytest.approx(2e-3 * 16 / 17)
    assert optimizers["discriminator"].betas == (0.0, pytest.approx(0.99 ** (16 / 17)))  # type: ignore[attr-defined]
    assert optimizers["generator"].learning_rate == pytest.approx(2e-3 * 4 / 5)
    assert build(path_weight=0.0).players()["generator"].optimizer.learning_rate == 2e-3


def test_learning_rates_fall_over_the_end_of_the_budget_where_asked_for() -> None:
    assert all(player.learning_rate_factor is None for player in build().players().values())
    for player in build(cool_from=0.5).players().values():
        assert player.learning_rate_factor is not None
        at = {step: player.learning_rate_factor(dataclasses.replace(PROGRESS, step=step, steps=100)) for step in (0, 50, 75, 100)}
        assert at == {0: 1.0, 50: 1.0, 75: pytest.approx(0.5), 100: pytest.approx(0.0)}


def test_the_mean_path_length_is_state_and_moves_with_paths_alone() -> None:
    method = build()
    turns(method, 1)
    assert method.path_mean == 0.0
    path = turns(method, 0)[-1]
    assert method.path_mean == pytest.approx(0.01 * float(path.metrics["path_length"]), rel=1e-5)
    other = build()
    other.load_state_dict(method.state_dict())
    assert other.path_mean == method.path_mean > 0


def test_styles_are_mixed_at_one_place_for_all_rows() -> None:
    for share in (0.0, 1.0):
        method, batch = build(mixing=share), make_batch(size=8)
        torch.manual_seed(1)
        styles = method._painted(batch, "generator", 8, None)[1]
        changes = (styles[:, 1:] != styles[:, :-1]).any(2)  # [B, places - 1]
        assert changes.sum(1).tolist() == [round(share)] * 8 and changes.all(0).sum() == round(share)


def test_truncation_brings_styles_to_the_mean_and_is_laid_over_a_model() -> None:
    method = build().eval()
    assert set(method.sampling) == {"truncation", "truncation_layers", "map_noise"}
    method.generator.mapping.mean.normal_()
    noise, text = method.draw_noise(0, np.arange(3)), TextFeatures(torch.zeros(3, 0))
    plain = method.find_styles(text, noise)
    method.settings = dataclasses.replace(method.settings, truncation=0.25, truncation_layers=2)
    found, mean = method.find_styles(text, noise), method.generator.mapping.mean
    torch.testing.assert_close(found[:, :2], mean + 0.25 * (plain[:, :2] - mean))
    assert torch.equal(found[:, 2:], plain[:, 2:])
    method.settings = dataclasses.replace(method.settings, truncation=0.0, truncation_layers=None)
    torch.testing.assert_close(method.find_styles(text, noise), mean.expand_as(plain))


def test_the_noise_of_maps_may_be_weaker_or_left_out() -> None:
    method = build().eval()
    for layer in method.generator.synthesis.convolutions:
        torch.nn.init.constant_(layer.noise_strength, 0.5)
    styles = method.generator.repeated(method.generator.mapping(method.draw_noise(0, [0]).z))
    noises = [method.draw_noise(seed, [0]) for seed in (0, 1)]

    def painted(share: float) -> list[torch.Tensor]:
        method.settings = dataclasses.replace(method.settings, map_noise=share)
        return [method.paint_styles(styles, noise).images for noise in noises]

    strong, weak, none = ((one - other).abs().mean() for one, other in map(painted, (1.0, 0.3, 0.0)))
    assert strong > weak > none == 0
    assert "map_noise" in method.sampling


def test_the_augmentation_adapts_and_is_state() -> None:
    method = build(augmentation=("translation", "cutout"), augmentation_images=80, augmentation_target=-0.999)
    turns(method, 3)
    assert method.strength == 0.0
    with torch.no_grad():
        method.discriminator.score.bias.fill_(50.0)  # sure of everything
    turns(method, 4)
    assert method.strength == pytest.approx(32 / 80)
    other = build(augmentation=("translation", "cutout"))
    other.load_state_dict(method.state_dict())
    assert other.strength == method.strength
    fixed = build(augmentation=("flip",), augmentation_strength=0.3, augmentation_target=None)
    turns(fixed, 4)
    assert fixed.strength == 0.3


def test_captions_take_the_place_of_labels() -> None:
    method = build(unconditional=False)
    assert method.phases()[0].captions == 1 and build().phases()[0].captions == 0
    assert len(turns(method, 0)) == 4
    turns_of_a_step(method, make_batch(size=8), dataclasses.replace(PROGRESS, step=1))
    noise = method.draw_noise(0, [0, 0])
    with torch.no_grad():
        one, other = method.paint(TextFeatures(torch.randn(2, 12)), noise).images
        first, second = method.discriminator(one[None].expand(2, -1, -1, -1), torch.randn(2, 12))
    assert not torch.equal(one, other) and first != second


def test_settings_that_cannot_work() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"resolution": 24}, "stylegan2 cannot paint at 24 px: choose a power of two from 8"),
        ({"batch_size": 6}, "method.batch-size is 6, but must be a multiple of method.deviation-group, 4"),
        ({"mixing": 1.5}, "between 0 and 1"),
        ({"path_every": 0}, "method.path-every is 0"),
        ({"augmentation_strength": 0.5}, "method.augmentation-strength is for method.augmentation"),
        ({"augmentation": ("flip",), "augmentation_strength": 0.9}, "must lie between 0 and 0.8"),
        ({"augmentation": ("flip",), "augmentation_target": None}, "method.augmentation would never happen"),
        ({"augmentation_target": 1.0}, "a mean sign lies between -1 and 1"),
    ]
    for values, words in cases:
        with pytest.raises(SettingsError, match=words):
            build(**values)


def tiny(data: str) -> Recipe:
    recipe = from_preset("stylegan2", "cpu", data, 16)
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, **TINY, batch_size=8),
        training=dataclasses.replace(recipe.training, steps=2, sample_every=1000, device="cpu"),
    )


def test_without_captions_every_command_has_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of pictures alone: trained on, painted from and explored by plain commands; what cannot be is refused in a line."""
    folder, prepared, run, out = tmp_path / "pictures", tmp_path / "prepared", tmp_path / "run", tmp_path / "out"
    folder.mkdir()
    for number, colour in enumerate(np.random.RandomState(0).randint(0, 255, (40, 3))):
        Image.new("RGB", (20, 20), tuple(colour.tolist())).save(folder / f"{number}.png")
    assert main(["data", "prepare", str(folder), "--out", str(prepared), "--resolution", "16", "--uncaptioned"]) == 0
    train(tiny(str(prepared)), run)
    model = str(run)
    assert not load(run).reads_text
    for argv in (
        ["generate", model, "-n", "3"],
        ["generate", model, "-n", "2", "--truncation", "0.5", "--truncation-layers", "3"],
        ["generate", model, "-n", "2", "--map-noise", "0"],
        ["explore", "interpolate", model, "--seeds", "1", "2", "--steps", "3"],
        ["explore", "vary", model, "--count", "3"],
        ["explore", "vary", model, "--redraw", "z", "--walk", "--count", "3"],
        ["explore", "nearest", model, "--sample", "8"],
        ["explore", "mix", model, "--rows", "2", "--columns", "3", "--at", "2", "--truncation", "0.7"],
        ["explore", "directions", model, "--count", "2", "--steps", "3", "--judge", "garden"],
        ["explore", "directions", model, "--count", "1", "--steps", "2", "--layers", "0", "1", "--distance", "2"],
    ):
        page = out / f"{len(list(out.glob('*')))}.png"
        assert main([*argv, "--out", str(page)]) == 0, capsys.readouterr().err
        assert page.is_file()
    sizes = []
    for count in (8, 19):  # rows of eight
        assert main(["generate", model, "-n", str(count), "--out", str(tmp_path / "rows.png")]) == 0
        with Image.open(tmp_path / "rows.png") as page_of_rows:
            sizes.append(page_of_rows.size)
    assert sizes[0][0] == sizes[1][0] and sizes[1][1] > 2 * sizes[0][1]
    capsys.readouterr()
    new = str(tmp_path / "new.png")
    for argv, words in (
        (["generate", model, "a flower"], "reads no text, and cannot paint 'a flower'"),
        (["generate", model, "--top-k", "3"], "StyleGAN2 has no --top-k: leave it out"),
        (["generate", "garden", "a red flower", "--truncation", "0.5"], "--truncation is for models with styles, such as stylegan2"),
        (["generate", model, "--truncation", "-1"], "limner: --truncation is -1"),
        (["explore", "mix", model, "--at", "6"], "--at is 6, but this model has 6 places for styles: choose from 1 to 5"),
        (["explore", "mix", model, "--rows", "0"], "--rows is 0: give 1 to 100,000"),
        (["explore", "mix", "garden", "--caption", "a red flower"], "does not paint from styles: give a run or model folder"),
        (["explore", "directions", model, "--layers", "3", "9"], "--layers is 3 9, but this model has places 0 to 5"),
        (["explore", "directions", model, "--count", "9"], "styles have 8 numbers"),
        (["explore", "directions", model, "--judge", "nobody"], "nobody"),
        (["explore", "directions", model, "--labels", "a", "b"], "--labels are for a matching model"),
    ):
        assert main([*argv, "--out", new]) == 2, argv
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and not Path(new).exists(), error
