"""What a run shows, scores and saves of its phases: one that does not paint shows previews, is not scored, and leaves no model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from shared import two_parts as toy
from shared.tiny_runs import same, state_of, tiny
from shared.two_parts import Killed, TwoParts, two_parts  # noqa: F401  # a fixture

from limner.core.batch import Batch
from limner.core.method import Painting
from limner.model import load
from limner.training.run import train


def log_of(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_phase_that_does_not_paint(two_parts: type[TwoParts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    scored: list[str] = []
    monkeypatch.setattr("limner.training.evaluation.Evaluator.painting", lambda *_: scored.append(two_parts.trained_on[-1]) or {"fid": 1.0})
    monkeypatch.setattr(two_parts, "kill_at", ("painting", 0))
    recipe = toy.recipe(evaluation={"every": 0.1, "count": 2})
    with pytest.raises(Killed):
        train(recipe, tmp_path / "run")
    # The border between the phases is saved, without a model of an untrained painter, and nothing was scored.
    assert state_of(tmp_path / "run")["position"]["phase"] == 1 and not (tmp_path / "run" / "model").exists()
    assert not scored
    assert sorted(path.name for path in (tmp_path / "run" / "samples").iterdir()) == [
        "1-reading-00000002.png",
        "1-reading-00000004.png",
    ]
    monkeypatch.setattr(two_parts, "kill_at", None)
    train(recipe, tmp_path / "run", resume=True)
    assert scored and set(scored) == {"painting"}
    assert len(list((tmp_path / "run" / "samples").glob("2-painting-*.png"))) == 2
    assert load(tmp_path / "run").generate("a red flower")[0].size == (16, 16)
    train(recipe, tmp_path / "straight")
    assert same(state_of(tmp_path / "run"), state_of(tmp_path / "straight"))


def test_a_preview_shows_what_it_was_asked_of_and_changes_nothing(
    two_parts: type[TwoParts],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(toy.recipe(), tmp_path / "quiet")
    asked: list[bool] = []

    def bright(self: TwoParts, batch: Batch) -> Painting:
        assert not self.training
        asked.append(torch.is_grad_enabled())
        torch.rand(3)  # what it draws is its own
        return Painting(torch.ones_like(batch.pictures), stages=(-torch.ones_like(batch.pictures),))

    monkeypatch.setattr(two_parts, "preview", bright)
    train(toy.recipe(), tmp_path / "run")
    assert asked == [False, False]
    shown = np.asarray(Image.open(tmp_path / "run" / "samples" / "1-reading-00000002.png").convert("RGB"))
    assert (shown == 255).all(2).any() and (shown == 0).all(2).any()
    assert same(state_of(tmp_path / "run"), state_of(tmp_path / "quiet"))


def test_a_phase_with_nothing_to_show_and_one_that_fails_to(
    two_parts: type[TwoParts],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(two_parts, "preview", lambda self, batch: None)
    train(toy.recipe(), tmp_path / "run")
    assert not list((tmp_path / "run" / "samples").glob("1-*"))
    monkeypatch.setattr(two_parts, "preview", lambda self, batch: 1 / 0)
    train(toy.recipe(), tmp_path / "other")
    assert "the sample grid after step 2 failed (ZeroDivisionError: division by zero): training goes on" in capsys.readouterr().err
    assert same(state_of(tmp_path / "run"), state_of(tmp_path / "other"))


def test_mirrorgans_captioner_paints_no_grid_and_saves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from limner.methods.mirrorgan import MirrorGAN

    step = MirrorGAN.training_step

    def killed(self: MirrorGAN, batch: Batch, progress):  # type: ignore[no-untyped-def]
        if progress.phase == "game":
            raise Killed
        return step(self, batch, progress)

    monkeypatch.setattr(MirrorGAN, "training_step", killed)
    with pytest.raises(Killed):
        train(tiny("mirrorgan", 2, 16, sample_every=1), tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists() and not list((tmp_path / "run").glob("samples/*"))


def test_the_log_has_seconds_of_each_player_and_memory(two_parts: type[TwoParts], tmp_path: Path) -> None:  # noqa: F811
    train(toy.recipe(log_every=2), tmp_path / "run")
    lines = [line for line in log_of(tmp_path / "run") if "images_per_second" in line]
    assert [(line["phase"], line["step"]) for line in lines] == [("reading", 2), ("reading", 4), ("painting", 2), ("painting", 4)]
    before = {"reading": 0.0, "painting": 0.0}
    for line in lines:
        player = {"reading": "reader", "painting": "painter"}[str(line["phase"])]
        other = ({"reader", "painter"} - {player}).pop()
        assert f"{other}/seconds" not in line
        took = float(line[f"{player}/seconds"])  # type: ignore[arg-type]
        spent = float(line["seconds"]) - before[str(line["phase"])]  # type: ignore[arg-type]  # rounded to hundredths
        assert 0 < took * 2 <= spent + 0.02
        before[str(line["phase"])] = float(line["seconds"])  # type: ignore[arg-type]
        assert 50 < int(line["memory_mib"]) < 100_000  # type: ignore[call-overload]
    memory = [int(line["memory_mib"]) for line in lines]  # type: ignore[call-overload]
    assert memory == sorted(memory)  # the most so far
