"""What a run says about its health: gradient norms, how much its pictures differ, and a warning where they do not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.core.trainable import Player, Progress
from limner.methods.gan_cls import GANCLS
from limner.report.page import write_report
from limner.training import health
from limner.training.health import CAPTIONS, NOISES, CollapseWatch, OutburstWatch, diversity, mean_distance
from limner.training.players import PlayerTraining, Statistics
from limner.training.run import train

PROGRESS = Progress(phase="gan", step=0, steps=10, images=0, epoch=0.0)


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_the_gradient_norm_is_the_whole_one_before_clipping(clip: float | None) -> None:
    torch.manual_seed(0)
    network, inputs = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1)), torch.randn(4, 5)
    network(inputs).square().sum().backward()
    wanted = torch.nn.utils.get_total_norm([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
    turn = PlayerTraining(Player(module=network, gradient_clip=clip), Statistics(network))
    turn.take(network(inputs).square().sum(), PROGRESS, 4)
    torch.testing.assert_close(turn.gradient_norm, wanted)


def test_a_step_left_out_has_no_gradient_norm() -> None:
    network = nn.Linear(2, 1)
    turn = PlayerTraining(Player(module=network), Statistics(network))
    assert turn.take(network(torch.full((1, 2), torch.nan)).sum(), PROGRESS, 1) == 1
    assert turn.gradient_norm == 0


def grid(value: Callable[[int, int], int]) -> Any:
    """Pictures of one value each, three captions by two noises."""
    return np.array([[np.full((4, 4, 3), value(caption, noise), np.uint8) for noise in range(2)] for caption in range(3)])


def test_diversity_of_pictures_known_by_hand() -> None:
    pictures = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (0, 51, 255)])  # 0, 0.2, 1
    assert mean_distance(pictures) == pytest.approx((0.2 + 0.8 + 1.0) / 3)
    half = pictures[:2].copy()
    half[1, :2] = 0  # half of the pixels differ by 0.2: the root of the mean of squares
    assert mean_distance(half) == pytest.approx(0.2 * 0.5**0.5)
    assert mean_distance(pictures[:1]) == 0

    figures = diversity(grid(lambda caption, noise: 51 * caption + 25 * noise), 0.5)
    assert figures[NOISES] == pytest.approx(25 / 255 / 0.5)
    assert figures[CAPTIONS] == pytest.approx((0.2 + 0.2 + 0.4) / 3 / 0.5)
    assert diversity(grid(lambda caption, noise: 0), 0.0) == {}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda caption, noise: 100 + noise, "all pictures are nearly the same"),
        (lambda caption, noise: 100 * caption, "the noise changes nothing"),
        (lambda caption, noise: 100 * noise, "the captions change nothing"),
        (lambda caption, noise: 60 * caption + 10 * noise, None),
    ],
)
def test_each_collapse_is_told_once_and_not_at_the_beginning(value: Callable[[int, int], int], said: str | None) -> None:
    watch, figures = CollapseWatch(), diversity(grid(value), 0.35)
    assert watch.judge(figures, health.FIRST_UPDATES - 1) is None
    warning = watch.judge(figures, health.FIRST_UPDATES)
    assert warning is None if said is None else warning is not None and warning.startswith(said)
    assert warning is None or "\n" not in warning
    assert watch.judge(figures, 2 * health.FIRST_UPDATES) is None


def test_a_gradient_that_bursts_out_is_told_once() -> None:
    watch, usual = OutburstWatch(), [4.0, 9.0, 6.0, 5.0, 7.0, 6.0, 30.0, 6.0, 60.0]
    assert not any(watch.judge("gan", {"reader/gradient_norm": norm, "painter/gradient_norm": 1.0}) for norm in usual)
    assert watch.judge("other", {"reader/gradient_norm": 6000.0}) is None, "another phase has norms of its own"
    warning = watch.judge("gan", {"reader/loss": 9e9, "reader/gradient_norm": 6000.0, "painter/gradient_norm": None})
    assert warning == "the gradient of the reader is 1,000 times what it usually was: training may have broken down"
    assert watch.judge("gan", {"reader/gradient_norm": 90_000.0}) is None


def test_the_checkpoint_before_an_outburst_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = GANCLS.training_step

    def bursting(self: GANCLS, batch: Any, progress: Any) -> Any:
        for update in honest(self, batch, progress):
            yield dataclasses.replace(update, loss=update.loss * (1e6 if progress.step == 37 else 1.0))

    made = recipe(44)
    monkeypatch.setattr(GANCLS, "training_step", bursting)
    train(dataclasses.replace(made, training=dataclasses.replace(made.training, log_every=2, checkpoint_every=5)), tmp_path / "run")
    checkpoints = tmp_path / "run" / "checkpoints"
    assert {path.name for path in checkpoints.iterdir()} == {"00000035", "00000040", "00000044"}
    told = [line for line in capsys.readouterr().err.splitlines() if "times what it usually was" in line]
    assert (
        told
        and "warning: step 38: the gradient of the " in told[0]
        and f"{checkpoints / '00000035'}, which is kept, and --resume" in told[0]
    )
    assert ": begin anew with a lower --method.learning-rate, or remove the checkpoints after " in told[0]
    assert "training may have broken down." in write_report(tmp_path / "run").read_text(encoding="utf-8")


def recipe(steps: int) -> Recipe:
    made = from_preset("gan-cls", "cpu", "garden", 16)
    return dataclasses.replace(
        made,
        method_settings=dataclasses.replace(made.method_settings, generator_channels=4, discriminator_channels=4, batch_size=16),
        training=dataclasses.replace(made.training, steps=steps, log_every=20, sample_every=20, checkpoint_every=1000, device="cpu"),
        data_settings=dataclasses.replace(made.data_settings, garden_pictures=200),
    )


def test_a_run_tells_its_health_and_a_collapsed_painter_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(health, "FIRST_UPDATES", 100)
    train(recipe(110), tmp_path / "healthy")
    assert "warning" not in capsys.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "healthy" / "log.jsonl").read_text().splitlines()]
    grids, losses = ([line for line in lines if name in line] for name in (NOISES, "generator/loss"))
    assert [line["step"] for line in grids] == [line["step"] for line in losses] == [20, 40, 60, 80, 100, 110]
    assert grids[0][CAPTIONS] < 0.05 < grids[-1][CAPTIONS] < 2 and 0 < grids[-1][NOISES] < 2
    assert all(line[f"{player}/gradient_norm"] > 0 for line in losses for player in ("generator", "discriminator"))

    honest = GANCLS.paint

    def paint(self: GANCLS, *args: Any) -> Any:
        painting = honest(self, *args)
        return dataclasses.replace(painting, images=painting.images[:1].expand_as(painting.images))

    monkeypatch.setattr(GANCLS, "paint", paint)
    monkeypatch.setattr(health, "FIRST_UPDATES", 20)
    train(recipe(60), tmp_path / "collapsed")
    assert capsys.readouterr().err.count("warning: all pictures are nearly the same") == 1


def test_the_painters_updates_count_over_resumed_runs_and_without_steps_left_out() -> None:
    network = nn.Linear(2, 1)
    turn = PlayerTraining(Player(module=network), Statistics(network))
    assert turn.updates == 0
    for value in (1.0, torch.nan, 1.0):
        turn.take(network(torch.full((1, 2), value)).sum(), PROGRESS, 1)
    assert turn.updates == 2
    resumed = PlayerTraining(Player(module=network), Statistics(network))
    resumed.load_state_dict(turn.state_dict())
    assert resumed.updates == 2
