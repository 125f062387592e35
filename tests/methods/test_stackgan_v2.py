"""StackGAN++: its scales, the losses of every mode, and life without captions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from shared.batches import PROGRESS, WIDTH, make_batch, turns_of_a_step

from limner.cli.main import main
from limner.core.errors import LimnerError, SettingsError
from limner.core.noise import ConditionedNoise
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.families.tree import NextStage
from limner.methods.stackgan_v2 import StackGANv2, StackGANv2Settings, colour_difference
from limner.metrics.scoring.protocol import read_scores
from limner.model import load
from limner.training.run import train

TINY: dict[str, Any] = {
    "branches": 2,
    "noise_width": 6,
    "condition_width": 5,
    "generator_channels": 4,
    "discriminator_channels": 2,
    "residual_blocks": 1,
}


def build(resolution: int = 16, **values: Any) -> StackGANv2:
    torch.manual_seed(0)
    return StackGANv2(StackGANv2Settings(**(TINY | values)), Conditions(resolution=resolution, sentence_width=WIDTH))


@pytest.mark.parametrize(
    ("resolution", "branches", "sides"), [(16, 1, (16,)), (16, 2, (8, 16)), (64, 3, (16, 32, 64)), (64, 4, (8, 16, 32, 64))]
)
def test_every_branch_paints_its_scale(resolution: int, branches: int, sides: tuple[int, ...]) -> None:
    method = build(resolution, branches=branches, generator_channels=8).eval()
    assert method.sides == sides and list(method.players()) == [*(f"discriminator-{side}" for side in sides), "generator"]
    text, numbers = TextFeatures(torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1))), np.arange(3)
    painting = method.paint(text, method.draw_noise(3, numbers))
    assert [picture.shape for picture in (*painting.stages, painting.images)] == [(3, 3, side, side) for side in sides]


def test_a_sentence_stands_for_many_conditions() -> None:
    """z and epsilon are two inputs: either held, the other still changes the picture."""
    method = build().eval()
    text, first, second = TextFeatures(torch.ones(1, WIDTH)), *(method.draw_noise(seed, [0]) for seed in (1, 2))
    assert isinstance(first, ConditionedNoise) and isinstance(second, ConditionedNoise)
    pictures = [
        method.paint(text, ConditionedNoise(z, epsilon)).images for z in (first.z, second.z) for epsilon in (first.epsilon, second.epsilon)
    ]
    assert not any(torch.allclose(pictures[i], pictures[j], atol=1e-4) for i in range(4) for j in range(i))


def test_the_condition_stands_at_every_place() -> None:
    """What is saved of the joining convolution's arithmetic changes nothing: the plain way is to tile the vector and concatenate."""
    torch.manual_seed(0)
    stage = NextStage(4, 2, 1, condition=3).eval()
    maps, vectors = torch.randn(2, 4, 8, 8), torch.randn(2, 3)
    assert stage.join is not None
    tiled = torch.cat([vectors[:, :, None, None].expand(-1, -1, 8, 8), maps], dim=1)
    torch.testing.assert_close(stage(maps, vectors), stage.upsampling(stage.residuals(stage.join(tiled))), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mismatch", ["picture", "caption"])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_discriminators_losses(mismatch: str, weight: float) -> None:
    """By the formula of the authors' code, with half of the mismatched pairs counterfactual, at the lower scale and the final one."""
    method, batch = build(mismatch=mismatch, counterfactual=0.5, unconditional_weight=weight).eval(), make_batch()

    def mean(text: TextFeatures | None) -> torch.Tensor:
        assert text is not None
        return method.generator.condition(text.sentence).mean

    condition = mean(batch.text)
    own, changed, others = batch.pictures, mean(batch.counterfactual), batch.mismatched
    wrong_pictures = torch.cat([own[:3], others.pictures[3:]]) if mismatch == "picture" else own
    wrong_condition = torch.cat([changed[:3], condition[3:] if mismatch == "picture" else mean(others.text)[3:]])
    fakes = method.generator(method.noise(batch, "generator"), method.generator.condition(batch.text.sentence))
    for update, judge, fake in zip(method.training_step(batch, PROGRESS), method.discriminators, fakes, strict=False):
        side = fake.shape[-1]
        lower = lambda pictures, side=side: F.interpolate(pictures, (side, side), mode="bilinear", antialias=True)  # noqa: E731
        real, wrong, made = (judge.look(lower(pictures)) for pictures in (own, wrong_pictures, fake))
        pairs = [judge.match(real, condition), judge.match(wrong, wrong_condition), judge.match(made, condition)]
        terms = [F.softplus(-pairs[0]).mean(), F.softplus(pairs[1]).mean(), F.softplus(pairs[2]).mean()]
        loss = terms[0] + (terms[1] + terms[2]) * (1.0 if weight else 0.5)
        if weight:
            loss = loss + weight * (F.softplus(-judge.realism(real)).mean() + F.softplus(judge.realism(made)).mean())
            if mismatch == "picture":  # a real picture, whatever its pair
                loss = loss + weight * F.softplus(-judge.realism(wrong)).mean()
        assert update.player == f"discriminator-{side}" and not update.loss.isnan()
        torch.testing.assert_close(update.loss, loss, rtol=1e-4, atol=1e-5)


def test_the_generator_s_loss_reaches_the_augmentation_by_the_judges_too() -> None:
    method, batch = build(divergence_weight=0.0).eval(), make_batch()
    *_, update = method.training_step(batch, PROGRESS)
    condition = method.generator.condition(batch.text.sentence)
    fixed = dataclasses.replace(condition, mean=condition.mean.detach(), log_variance=condition.log_variance.detach())
    fakes = method.generator(method.noise(batch, "generator"), fixed)
    terms = [
        F.softplus(-judge.match(judge.look(fake), condition.mean)).mean() for judge, fake in zip(method.discriminators, fakes, strict=True)
    ]
    assert method.generator.augmentation is not None
    (alone,) = torch.autograd.grad(sum(terms), method.generator.augmentation.linear.weight, retain_graph=True)  # type: ignore[arg-type]
    assert alone.abs().max() > 0 and update.player == "generator"


def test_colours_of_consecutive_scales() -> None:
    """Means and covariances over a picture's pixels, by numpy; the coarser picture is only followed, never moved."""
    small, large = (torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side)).requires_grad_() for side in (4, 8))
    found = colour_difference([small, large])
    statistics = [
        [(pixels.mean(1), np.cov(pixels, bias=True)) for pixels in picture.detach().double().flatten(2).numpy()]
        for picture in (small, large)
    ]
    expected = sum(
        np.mean([np.square(a[part] - b[part]).mean() for a, b in zip(*statistics, strict=True)]) * weight
        for part, weight in ((0, 1.0), (1, 5.0))
    )
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)
    found.backward()
    assert small.grad is None and large.grad is not None


VARIANTS: list[dict[str, Any]] = [
    {},
    {"branches": 1},
    {"mismatch": "caption", "counterfactual": 0.5, "gradient_penalty": 1.0, "discriminator_normalization": False},
    {"unconditional_weight": 0.0, "colour_weight": 3.0, "gradient_penalty": 1.0, "discriminator_normalization": False},
    {"unconditional": True},
    {"unconditional": True, "gradient_penalty": 1.0, "discriminator_normalization": False, "counterfactual": 0.5},
]


@pytest.mark.parametrize("values", VARIANTS, ids=lambda values: ",".join(values) or "as published")
def test_every_mode_takes_a_step(values: dict[str, Any]) -> None:
    method = build(**values)
    turns = turns_of_a_step(method, make_batch(captions=0 if values.get("unconditional") else 1))
    assert [turn.player for turn in turns] == list(method.players())
    assert all(torch.isfinite(value) and not value.requires_grad for turn in turns for value in turn.metrics.values())


def test_settings_that_cannot_work() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"resolution": 24}, "stackgan-v2 cannot paint at 24 px: choose a power of two"),
        ({"branches": 3}, "cannot paint 16 px with 3 branches: the first would be below 8 px, give 2 or fewer"),
        ({"branches": 0}, "method.branches is 0"),
        ({"branches": 4, "generator_channels": 4}, "method.generator-channels is 4, but must be at least 8"),
        ({"counterfactual": 1.5}, "between 0 and 1"),
        ({"colour_weight": -1.0}, "method.colour-weight"),
        ({"unconditional": True, "unconditional_weight": 0.0}, "method.unconditional-weight is 0.0, but .* leave it at 1"),
        ({"unconditional": True, "unconditional_weight": 2.0}, "method.unconditional-weight is 2.0, but .* leave it at 1"),
    ]
    for values, words in cases:
        with pytest.raises(SettingsError, match=words):
            build(**values)


def tiny(steps: int, data: str = "garden", **values: Any) -> Recipe:
    recipe = from_preset("stackgan-v2", "cpu", data, 16)
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, **(TINY | {"batch_size": 8} | values)),
        training=dataclasses.replace(recipe.training, steps=steps, log_every=2, checkpoint_every=4, sample_every=1000, device="cpu"),
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=60),
    )


def test_pictures_without_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of pictures alone: prepared, trained on, painted from, scored where no caption is needed and refused in a line elsewhere."""
    folder, prepared, run = tmp_path / "pictures", tmp_path / "prepared", tmp_path / "run"
    folder.mkdir()
    colours = np.random.RandomState(0).randint(0, 255, (40, 3))
    for number, colour in enumerate(colours):
        Image.new("RGB", (20, 20), tuple(colour.tolist())).save(folder / f"{number}.png")
    assert main(["data", "prepare", str(folder), "--out", str(prepared), "--resolution", "16"]) == 2
    assert "pictures alone are kept with --uncaptioned" in capsys.readouterr().err
    assert main(["data", "prepare", str(folder), "--out", str(prepared), "--resolution", "16", "--uncaptioned"]) == 0
    assert json.loads((prepared / "dataset.json").read_text())["splits"] == {"train": 32, "val": 4, "test": 4}
    train(tiny(2, str(prepared), unconditional=True), run)
    model = load(run)
    assert not model.reads_text and len(model.generate(n=3, seed=1)) == 3
    capsys.readouterr()
    assert main(["generate", str(run), "-n", "5", "--out", str(tmp_path / "painted")]) == 0
    assert len(list((tmp_path / "painted").iterdir())) == 5
    assert main(["evaluate", str(run), "--metrics", "fid,kid", "--count", "4"]) == 0
    assert {score.name for score in read_scores(run / "scores.json")} == {"fid", "kid"}
    for argv, words in (
        (["generate", str(run), "a red flower", "--out", str(tmp_path / "more")], "reads no text, and cannot paint 'a red flower'"),
        (
            ["evaluate", str(run), "--metrics", "ms-ssim", "--count", "4"],
            "ms-ssim looks at what captions ask for, and the model reads no text",
        ),
    ):
        assert main(argv) == 2
        assert words in capsys.readouterr().err
    captioned = tiny(2, str(prepared))
    with pytest.raises(LimnerError, match="has no captions to train a text encoder on.*--method.unconditional"):
        train(captioned, tmp_path / "other")
    with pytest.raises(LimnerError, match="reads no text under these settings: leave text.encoder out"):
        recipe = tiny(2, unconditional=True)
        train(dataclasses.replace(recipe, text=dataclasses.replace(recipe.text, encoder="garden")), tmp_path / "other")
    assert not (tmp_path / "other").exists()
