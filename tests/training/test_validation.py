"""Small sets: held-out pairs choose the state that is kept and end a phase early, whatever stops the run meanwhile."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from shared.pictures import Captioned, prepared
from shared.tiny_runs import same, state_of

from limner.core import folder
from limner.core.batch import Batch
from limner.core.errors import CheckpointError
from limner.core.recipes import from_preset, load_recipe, save_recipe
from limner.core.settings import Recipe
from limner.methods.limner_gan import LimnerGAN
from limner.model import load
from limner.parts.text import CaptionMatching
from limner.report.page import _passes
from limner.training import plan, validation
from limner.training.checkpoints import Checkpoints
from limner.training.plan import make_plan, training_pictures
from limner.training.run import train
from limner.training.text import text_settings
from limner.training.trainer import Trainer

COLOURS = ("red", "blue", "green", "yellow", "white", "pink", "black", "grey", "purple", "orange")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    captions = [
        (split, f"a {colour} {thing}") for split, thing in (("train", "bird"), ("train", "tree"), ("val", "fish")) for colour in COLOURS
    ]
    return prepared(tmp_path_factory.mktemp("sets") / "mine", captions)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations every second step, and a text phase of at most 20 steps."""
    monkeypatch.setattr(plan, "FEWEST_STEPS", 2)
    monkeypatch.setattr("limner.training.text.FEWEST_STEPS", 20)
    monkeypatch.setattr("limner.training.text.EPOCHS", 4)
    monkeypatch.setattr("limner.training.outset.SHORTEST", 1_000_000)
    monkeypatch.setattr("limner.families.likeness.FEWEST_PAINTED", 10)


def recipe(data: Path | str, steps: int = 16, **training: Any) -> Recipe:
    made = from_preset("limner-gan", "small-set", str(data), 16)
    small = {"generator_channels": 2, "discriminator_channels": 2, "text_width": 4, "noise_width": 4, "batch_size": 4, "patience": 3}
    values = {"steps": steps, "log_every": 2, "checkpoint_every": 4, "sample_every": 1000, "device": "cpu"} | training
    return dataclasses.replace(
        made,
        method_settings=dataclasses.replace(made.method_settings, **small),
        text=dataclasses.replace(made.text, batch_size=4, width=8),
        training=dataclasses.replace(made.training, **values),
    )


def scripted(monkeypatch: pytest.MonkeyPatch, of: type, scores: Sequence[float]) -> list[dict[str, torch.Tensor]]:
    """Let validations of a class give these scores in turn; returns the states that they saw."""
    seen: list[dict[str, torch.Tensor]] = []

    def validate(self: torch.nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        assert not self.training and not torch.is_grad_enabled()
        assert sorted({own[0] for batch in batches for own in batch.captions}) == sorted(f"a {colour} fish" for colour in COLOURS)
        seen.append({name: value.clone() for name, value in self.state_dict().items()})
        return {"score": scores[len(seen) - 1]}

    monkeypatch.setattr(of, "validate_batches", validate)
    return seen


def test_phases_end_early_and_the_best_states_go_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    read = scripted(monkeypatch, CaptionMatching, [1.0, 3.0, 2.0, 3.0, 2.0])
    painted = scripted(monkeypatch, LimnerGAN, [0.9, 0.5, 0.1, float("nan"), 0.4])  # the first comes too early to be chosen
    result = train(recipe(data), tmp_path / "run")
    assert result.steps == 10 + 10 and len(read) == len(painted) == 5
    model = load(tmp_path / "run")
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, read[1][f"encoder.{name}"])
        if value.is_floating_point() and value.ndim > 1:
            assert not torch.equal(value, read[4][f"encoder.{name}"])
    for name, value in model.method.state_dict().items():
        if name.startswith("generator."):
            assert torch.equal(value, painted[1][name])
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["evaluation/score"] for line in lines if "evaluation/score" in line and line["act"] == "text"] == [1.0, 3.0, 2.0, 3.0, 2.0]
    said = " ".join(capsys.readouterr().err.split())
    assert "text stopped at step 10 of 16" in said
    assert "no better score on the val split in 3 evaluations; the state of step 4 is kept" in said
    assert "Chosen as the best of the run on the val split: score 0.5000" in (tmp_path / "run" / "model" / "README.md").read_text()
    assert train(recipe(data), tmp_path / "run", resume=True).steps == 20
    assert "is finished after 20 steps: nothing to do" in " ".join(capsys.readouterr().err.split()) and len(painted) == 5
    assert train(recipe(data, steps=40), tmp_path / "run", resume=True).steps == 20
    said = " ".join(capsys.readouterr().err.split())
    assert "nothing to do: validation ended it (no better score in 3 evaluations)" in said and "with --method.patience 0" in said


def test_a_phase_that_ends_early_logs_its_last_steps_as_its_own(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, CaptionMatching, [1.0, 3.0, 2.0, 3.0, 2.0])
    scripted(monkeypatch, LimnerGAN, [0.9, 0.5, 0.1, float("nan"), 0.4])
    train(recipe(data, log_every=4), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    for act, player in (("text", "matching"), ("method", "generator")):
        told = [line["step"] for line in lines if line["act"] == act and f"{player}/loss" in line]
        assert told == [4, 8, 10]
    assert not any(name.startswith("matching/") for line in lines if line["act"] == "method" for name in line)


def test_resumed_runs_are_the_same_bit_for_bit(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in either phase, between a checkpoint and the evaluation at its step too. The scores are the real ones."""
    settings = recipe(data, checkpoint_every=2)
    train(settings, tmp_path / "straight")
    expected = state_of(tmp_path / "straight")

    class Killed(BaseException):
        pass

    honest = {"evaluate": Trainer._evaluate, "play": Trainer.play}
    for number, (what, at) in enumerate([("evaluate", 2), ("evaluate", 9), ("play", 20)]):
        calls = iter(range(1000))

        def killing(self: Trainer, *given: Any, what: str = what, at: int = at, calls: Any = calls, **named: Any) -> Any:
            if next(calls) == at:
                raise Killed
            return honest[what](self, *given, **named)

        out = tmp_path / f"run{number}"
        monkeypatch.setattr(Trainer, "_evaluate" if what == "evaluate" else "play", killing)
        with pytest.raises(Killed):
            train(settings, out)
        monkeypatch.setattr(Trainer, "_evaluate", honest["evaluate"])
        monkeypatch.setattr(Trainer, "play", honest["play"])
        train(settings, out, resume=True)
        found = state_of(out)
        assert same(found, expected), (what, at)
        first, other = load(tmp_path / "straight").method.state_dict(), load(out).method.state_dict()
        assert all(torch.equal(value, other[name]) for name, value in first.items() if not name.startswith("discriminator."))
        assert first["strength"].ndim == 0 and Checkpoints(out).position()["finished"]


def test_an_evaluation_between_the_last_step_and_the_end_is_made_up_for(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is stopped while it paints its last grid, whose step is not one at which it evaluates anyway."""
    made = recipe(data, steps=5)
    made = dataclasses.replace(made, text=dataclasses.replace(made.text, steps=2))
    scripted(monkeypatch, LimnerGAN, [0.1, 0.2, 0.3, 0.1, 0.2, 0.3])
    train(made, tmp_path / "straight")
    honest = Trainer._sample

    def stopping(self: Trainer, planned: plan.PlannedPhase, *given: Any) -> None:
        if planned.paints:
            os.kill(os.getpid(), signal.SIGTERM)
        honest(self, planned, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_sample", stopping)
        assert train(made, tmp_path / "run").signal == signal.SIGTERM
    train(made, tmp_path / "run", resume=True)
    assert same(state_of(tmp_path / "run"), state_of(tmp_path / "straight"))
    first, other = (load(tmp_path / name) for name in ("straight", "run"))
    assert first.about["steps"] == other.about["steps"] == 5 and first.about["score"] == other.about["score"] == 0.3
    assert same(*(folder.read(tmp_path / name / "model").tensors for name in ("straight", "run")))


def with_style(made: Recipe) -> Recipe:
    return dataclasses.replace(made, style=dataclasses.replace(made.style, steps=3, batch_size=4, channels=2))


def test_a_style_encoder_added_later_goes_with_the_chosen_model(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with one from the start: the best state goes on, and its card says of which step it is."""
    made = recipe(data)
    made = dataclasses.replace(made, text=dataclasses.replace(made.text, steps=2))
    scripted(monkeypatch, LimnerGAN, [0.9, 0.5, 0.1, 0.2, 0.4] * 2)
    train(made, tmp_path / "later")
    chosen, painter = load(tmp_path / "later"), folder.read(tmp_path / "later" / "model").part("method")
    assert (chosen.about["steps"], chosen.about["score"]) == (4, 0.5)
    shutil.copytree(tmp_path / "later", tmp_path / "earlier")
    kept = Checkpoints(tmp_path / "earlier")
    kept.save(12, {name: value for name, value in state_of(tmp_path / "earlier").items() if not name.startswith("best")})
    train(with_style(made), tmp_path / "straight")
    for name in ("later", "earlier"):  # earlier: begun when the checkpoint of the end did not hold the best state
        train(with_style(made), tmp_path / name, resume=True)
    assert same(state_of(tmp_path / "later"), state_of(tmp_path / "straight"))
    for name in ("straight", "later", "earlier"):
        model = load(tmp_path / name)
        assert same(folder.read(tmp_path / name / "model").part("method"), painter) and model.style is not None
        assert (model.about["steps"], model.about["style_steps"], model.about["score"]) == (4, 3, 0.5)
        assert " 4 steps, 16 pictures" in (tmp_path / name / "model" / "README.md").read_text()


def test_a_best_state_that_could_not_be_written_is_written_later(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full when it is found, and has room at the next checkpoint."""
    made = recipe(data)
    made = dataclasses.replace(made, text=dataclasses.replace(made.text, steps=2))
    seen = scripted(monkeypatch, LimnerGAN, [0.9, 0.5, 0.1, 0.2, 0.4])
    honest, failed = folder.save, list[str]()

    def full(*given: Any) -> None:
        if len(seen) == 2 and not failed:
            failed.append("full")
            raise CheckpointError("cannot write a model: free some space")
        honest(*given)

    monkeypatch.setattr(folder, "save", full)
    train(made, tmp_path / "run")
    assert failed and "the best state so far is not in" in " ".join(capsys.readouterr().err.split())
    model = load(tmp_path / "run")
    assert (model.about["steps"], model.about["score"]) == (4, 0.5)
    assert all(torch.equal(value, seen[1][name]) for name, value in model.method.state_dict().items() if name.startswith("generator."))
    assert any(not torch.equal(value, seen[1][name]) for name, value in state_of(tmp_path / "run")["modules"]["method"].items())


def test_without_a_split_that_tells_it_is_said(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = prepared(tmp_path / "few", [*(("train", f"a {colour} bird") for colour in COLOURS), ("val", "a red fish")])
    made = recipe(few, steps=4)
    assert train(made, tmp_path / "run").steps == 8
    said = " ".join(capsys.readouterr().err.split())
    assert "no validation, so text and gan will not end early, and the newest state is kept: the val split has 1 captioned pictures" in said
    newest = state_of(tmp_path / "run")["players"]["generator"]["average"]
    method = load(tmp_path / "run").method
    assert any(torch.equal(newest[0], value) for value in method.state_dict().values())
    switched_off = dataclasses.replace(made, data=str(data), evaluation=dataclasses.replace(made.evaluation, every=0.0))
    assert not make_plan(switched_off, training_pictures(switched_off)).phases[-1].evaluate_every


def test_held_out_pictures_come_once_each_and_unmirrored(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sequence[Batch]] = []
    monkeypatch.setattr(CaptionMatching, "validate_batches", lambda self, batches: seen.append(batches))
    train(recipe(data, steps=2), tmp_path / "run")
    (batches,) = seen
    assert [len(batch) for batch in batches] == [4, 4, 4] and len({index for batch in batches for index in batch.indices.tolist()}) == 10
    assert not batches[0].texts and batches[0].counterfactual_captions is not None
    assert validation.FEWEST <= 10


@pytest.mark.parametrize(
    ("pictures", "asked", "steps", "patience"),
    [(120, None, 200, 3), (1000, None, 1563, 3), (3116, None, 3000, 0), (120, 3000, 3000, 0), (120, 7, 7, 0)],
)
def test_a_text_phase_follows_the_number_of_pictures(
    monkeypatch: pytest.MonkeyPatch, pictures: int, asked: int | None, steps: int, patience: int
) -> None:
    monkeypatch.setattr("limner.training.text.FEWEST_STEPS", 200)
    monkeypatch.setattr("limner.training.text.EPOCHS", 100)
    made = from_preset("gan-cls", "cpu", "mine")
    found = text_settings(dataclasses.replace(made, text=dataclasses.replace(made.text, steps=asked)), Captioned(["a"] * pictures))
    assert (found.steps, found.patience) == (steps, patience)


def test_a_painter_on_a_small_set_trains_as_on_a_larger_one(data: Path) -> None:
    made = from_preset("gan-cls", "cpu", str(data), 16)

    def last(**training: Any) -> plan.PlannedPhase:
        recipe = dataclasses.replace(made, training=dataclasses.replace(made.training, **training))
        return make_plan(recipe, training_pictures(recipe)).phases[-1]

    epochs, size = made.method_settings.epochs, made.method_settings.batch_size
    assert (last().steps, last().steps_per_epoch) == (epochs * 2000 / size, 2000 / size)
    assert last(epoch_pictures=0).steps == epochs * 20 / size and last(epochs=8.0).steps == 8 * 20 / size  # 20 training pictures
    assert last(steps=30).steps == 30
    # Schedules do not depend on a budget, which a resumed run may change.
    assert last(epochs=8.0).steps_per_epoch == 2000 / size and last(epoch_pictures=0).steps_per_epoch == 20 / size


def test_a_whole_recipe_of_earlier_versions_trains_as_it_did(data: Path, tmp_path: Path) -> None:
    save_recipe(from_preset("gan-cls", "cpu", str(data), 16), tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml").training.epoch_pictures == 2000
    text = (tmp_path / "recipe.yaml").read_text()
    (tmp_path / "recipe.yaml").write_text("".join(line for line in text.splitlines(keepends=True) if "epoch_pictures" not in line))
    assert load_recipe(tmp_path / "recipe.yaml").training.epoch_pictures == 0
    (tmp_path / "recipe.yaml").write_text(f"method: gan-cls\ndata: {data}\ntraining: {{steps: 5}}\n")
    assert load_recipe(tmp_path / "recipe.yaml").training.epoch_pictures == 2000


def test_a_report_advises_more_than_there_was(data: Path) -> None:
    made = from_preset("gan-cls", "cpu", str(data), 16)
    assert _passes(made) == 100 * 2000 / 20 and _passes(dataclasses.replace(made, data="garden")) == 100


def test_progress_counts_the_same_epochs(data: Path, tmp_path: Path) -> None:
    told: list[float] = []
    made = recipe(data, steps=2)
    honest = LimnerGAN.cooling

    def cooling(self: LimnerGAN, progress: Any) -> float:
        told.append(progress.epoch)
        return honest(self, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LimnerGAN, "cooling", cooling)
        train(made, tmp_path / "run")
    assert told == [0.0, 0.0, 4 / 2000, 4 / 2000]
