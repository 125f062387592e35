"""MSG-GAN: its scales, the three ways to join pictures, penalties over all scales, captions, and life without them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from shared.batches import PROGRESS, WIDTH, make_batch, make_conditions, turns_of_a_step

from limner.cli.main import main
from limner.core.errors import SettingsError
from limner.core.noise import VectorNoise
from limner.core.optimizers import Adam, RMSprop
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.core.text import TextFeatures
from limner.methods.msg_gan import MSGGAN, Loss, MSGGANSettings, discriminator_loss, mixtures, multi_scale_penalty, on_sphere, pyramid
from limner.model import load
from limner.training.run import train

TINY: dict[str, Any] = {
    "noise_width": 8,
    "condition_width": 6,
    "text_width": 5,
    "generator_channels": 8,
    "discriminator_channels": 8,
    "full_scales": 2,
}


def build(resolution: int = 16, **values: Any) -> MSGGAN:
    torch.manual_seed(0)
    settings = MSGGANSettings(**{**TINY, "unconditional": False, **values})
    return MSGGAN(settings, make_conditions(resolution, sentence_width=0 if settings.unconditional else WIDTH))


def test_every_scale_is_painted_and_latents_lie_on_a_sphere() -> None:
    method, text = build(), TextFeatures(torch.randn(2, WIDTH))
    noise = method.draw_noise(3, [0, 1])
    painting = method.paint(text, noise)
    assert [picture.shape[-1] for picture in (*painting.stages, painting.images)] == [4, 8, 16]
    longer = method.paint(text, VectorNoise(3.0 * noise.z))
    torch.testing.assert_close(longer.images, painting.images, rtol=0, atol=1e-5)
    torch.testing.assert_close(on_sphere(noise.z).square().mean(1), torch.ones(2))
    with torch.no_grad():
        for layer in method.generator.pictures:
            layer.weight.mul_(100.0)
    far = method.paint(text, noise)
    assert all(picture.abs().max() == 1.0 for picture in (*far.stages, far.images)), "what is beyond the range is cut off"


@pytest.mark.parametrize("combine", ["lin-cat", "cat-lin", "simple"])
@pytest.mark.parametrize("unconditional", [True, False])
def test_every_scale_reaches_the_score_and_gives_a_gradient(combine: str, unconditional: bool) -> None:
    method, sentence = build(combine=combine, unconditional=unconditional), torch.randn(3, WIDTH)
    pictures = [torch.randn(3, 3, side, side).requires_grad_() for side in (4, 8, 16)]
    scores = method.discriminator(pictures, None if unconditional else sentence)
    assert scores.shape == (3,)
    assert all(slope.abs().max() > 0 for slope in torch.autograd.grad(scores.sum(), pictures))
    if not unconditional:
        changed = method.discriminator(pictures, sentence.flip(0))
        assert (changed - scores)[[0, 2]].abs().min() > 0


def test_the_pyramid_is_of_means() -> None:
    pictures = torch.randn(2, 3, 16, 16)
    scales = pyramid(pictures, 3)
    assert [scale.shape[-1] for scale in scales] == [4, 8, 16] and scales[-1] is pictures
    torch.testing.assert_close(scales[0], F.avg_pool2d(pictures, 4))


def test_penalties_are_means_over_scales() -> None:
    """Of a function whose gradients are known: the score is the sum of the pixels, each scale's times its own weight."""
    pictures, weights = [torch.randn(2, 3, side, side) for side in (4, 8)], (0.1, 0.25)

    def score(scales: Any) -> torch.Tensor:
        return sum(weight * scale.sum((1, 2, 3)) for weight, scale in zip(weights, scales, strict=True))

    squares = [weight**2 * 3 * side**2 for weight, side in zip(weights, (4, 8), strict=True)]
    assert float(multi_scale_penalty(score, pictures, target=0.0)) == pytest.approx(0.5 * np.mean(squares), rel=1e-5)
    assert float(multi_scale_penalty(score, pictures, target=1.0)) == pytest.approx(
        np.mean([(square**0.5 - 1) ** 2 for square in squares]), rel=1e-5
    )


def test_a_row_is_mixed_alike_at_every_scale() -> None:
    batch = make_batch()
    zeros, ones = ([torch.full((6, 3, side, side), value) for side in (4, 8)] for value in (0.0, 1.0))
    coarse, fine = mixtures(ones, zeros, batch)
    places = coarse[:, 0, 0, 0]
    assert (coarse == places[:, None, None, None]).all() and (fine == places[:, None, None, None]).all()
    assert ((places >= 0) & (places < 1)).all() and len(places.unique()) == 6
    assert torch.equal(mixtures(ones, zeros, batch)[0], coarse), "drawn from the batch's seed and samples alone"


@pytest.mark.parametrize("mismatch", ["caption", "picture"])
def test_mismatched_pairs_count_as_generated_ones(mismatch: str) -> None:
    method, batch = build(mismatch=mismatch, counterfactual=0.5, mismatch_weight=0.3, loss="wgan-gp", gradient_penalty=0.0), make_batch()
    update = next(method.training_step(batch, PROGRESS))
    assert batch.counterfactual is not None
    judge, reals = method.discriminator, pyramid(batch.pictures, method.depth)
    fakes = method.generator(method.noise(batch, "generator").z, batch.text.sentence)
    others = torch.cat([batch.pictures[:3], batch.mismatched.pictures[3:]]) if mismatch == "picture" else batch.pictures
    kept = batch.text.sentence if mismatch == "picture" else batch.mismatched.text.sentence
    wrong = torch.cat([batch.counterfactual.sentence[:3], kept[3:]])
    scores = [
        judge(pictures, sentence)
        for pictures, sentence in ((reals, batch.text.sentence), (fakes, batch.text.sentence), (pyramid(others, method.depth), wrong))
    ]
    expected = 0.7 * discriminator_loss("wgan-gp", *scores[:2]) + 0.3 * discriminator_loss("wgan-gp", scores[0], scores[2])
    torch.testing.assert_close(update.loss, expected, rtol=1e-4, atol=1e-5)


VARIANTS: list[dict[str, Any]] = [
    *({"loss": loss} for loss in get_args(Loss)),
    {"unconditional": True},
    {"unconditional": True, "loss": "wgan-gp", "combine": "simple"},
    {"combine": "cat-lin", "gradient_penalty": 1.0, "counterfactual": 0.5, "mismatch": "neighbour"},
    {"mismatch_weight": 0.0, "optimizer": "rmsprop", "halve_every": 1.0},
]


@pytest.mark.parametrize("values", VARIANTS, ids=lambda values: ",".join(f"{name}={value}" for name, value in values.items()))
def test_every_mode_takes_a_step(values: dict[str, Any]) -> None:
    method = build(**values)
    turns = turns_of_a_step(method, make_batch(captions=0 if values.get("unconditional") else 1))
    assert [turn.player for turn in turns] == ["discriminator", "generator"]
    penalised = method.settings.loss in ("wgan-gp", "non-saturating") or bool(method.settings.gradient_penalty)
    assert ("penalty" in turns[0].metrics) == penalised
    optimizer = method.players()["generator"].optimizer
    assert isinstance(optimizer, RMSprop if values.get("optimizer") == "rmsprop" else Adam)


def test_penalties_come_every_few_steps_and_as_many_times_as_heavy() -> None:
    plain, batch = build(gradient_penalty=0.0), make_batch()
    lazy = build(gradient_penalty=2.0, penalty_every=4)
    losses = {
        name: [next(method.training_step(batch, dataclasses.replace(PROGRESS, step=step))) for step in (0, 1)]
        for name, method in {"plain": plain, "lazy": lazy}.items()
    }
    first, second = losses["lazy"]
    torch.testing.assert_close(first.loss, losses["plain"][0].loss + 8.0 * first.metrics["penalty"])
    assert torch.equal(second.loss, losses["plain"][1].loss) and "penalty" not in second.metrics


def test_settings_that_cannot_work() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"resolution": 24}, "msg-gan cannot paint at 24 px: choose a power of two from 8"),
        ({"resolution": 4}, "msg-gan cannot paint at 4 px"),
        ({"batch_size": 1}, "method.batch-size is 1, but must be at least 2"),
        ({"resolution": 128, "generator_channels": 4, "full_scales": 1}, "4 channels cannot be halved 5 times"),
        ({"gradient_penalty": -1.0}, "method.gradient-penalty is -1"),
        ({"mismatch_weight": 1.5}, "between 0 and 1"),
        ({"mismatch_weight": 0.0, "counterfactual": 0.5}, "method.counterfactual needs mismatched pairs"),
    ]
    for values, words in cases:
        with pytest.raises(SettingsError, match=words):
            build(**values)


def tiny(data: str = "garden", **training: Any) -> Recipe:
    recipe = from_preset("msg-gan", "cpu-unconditional", data, 16)
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, **TINY, batch_size=8),
        training=dataclasses.replace(recipe.training, **{"steps": 4, "sample_every": 1, "log_every": 2, "device": "cpu"} | training),
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=60),
    )


def test_parts_of_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="micro-batch would change MSG-GAN: minibatch deviation compares all pictures of a batch"):
        train(tiny(micro_batch=4), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_captions_every_command_has_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of pictures alone: trained on, painted from and explored by plain commands; words are refused in a line."""
    folder, prepared, run, out = tmp_path / "pictures", tmp_path / "prepared", tmp_path / "run", tmp_path / "out"
    folder.mkdir()
    for number, colour in enumerate(np.random.RandomState(0).randint(0, 255, (40, 3))):
        Image.new("RGB", (20, 20), tuple(colour.tolist())).save(folder / f"{number}.png")
    assert main(["data", "prepare", str(folder), "--out", str(prepared), "--resolution", "16", "--uncaptioned"]) == 0
    train(tiny(str(prepared)), run)
    assert not load(run).reads_text
    model = str(run)
    for argv in (
        ["generate", model, "-n", "3"],
        ["generate", model, "-n", "2", "--stages"],
        ["explore", "interpolate", model, "--seeds", "1", "2", "--steps", "3"],
        ["explore", "vary", model, "--walk", "--count", "3"],
        ["explore", "nearest", model, "--sample", "8"],
        ["explore", "nearest", model, "--sample", "8", "--features", "pixels", "--pictures", "2"],
        ["explore", "stages", model, "-n", "2"],
        ["explore", "stages", model, "--over-training"],
    ):
        page = out / f"{len(list(out.glob('*')))}.png"
        assert main([*argv, "--out", str(page)]) == 0, capsys.readouterr().err
        assert page.is_file()
    capsys.readouterr()
    new, refusal = str(tmp_path / "new.png"), "reads no text, and cannot paint 'a flower'"
    for argv in (
        ["generate", model, "a flower"],
        ["explore", "interpolate", model, "--caption", "a flower"],
        ["explore", "interpolate", model, "--captions", "a flower", "a bird"],
        ["explore", "vary", model, "--captions", "a flower"],
        ["explore", "nearest", model, "a flower"],
        ["explore", "stages", model, "a flower"],
    ):
        assert main([*argv, "--out", new]) == 2
        error = capsys.readouterr().err
        assert refusal in error and error.count("\n") == 1 and not Path(new).exists()
