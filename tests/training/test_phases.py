"""A method of two phases: who plays on, who stands still, what is painted, and exact resume on both sides of the border."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core import registry
from limner.core.batch import Batch
from limner.core.method import Method, Painting
from limner.core.noise import Noise, gaussian
from limner.core.optimizers import Adam
from limner.core.settings import DataSettings, Preset, Recipe, TrainingSettings
from limner.core.text import TextFeatures
from limner.core.trainable import Phase, Player, Progress, Update
from limner.model import load
from limner.training.checkpoints import Checkpoints
from limner.training.plan import make_plan, training_pictures
from limner.training.run import Run, train
from limner.training.trainer import Position


class Killed(Exception):
    """What ends a run in the middle of a step."""


@dataclass(frozen=True, kw_only=True)
class GrownSettings:
    batch_size: int = 8


@dataclass(frozen=True)
class GrownNoise(Noise):
    z: Tensor


class Grown(Method):
    """Paints 8 px from noise and sentence, then 16 px from those pictures; a critic plays in both phases."""

    Settings = GrownSettings
    title = paper = "grown"
    presets = {"cpu": Preset(sentence="The only one.", resolution=16)}
    kill_at: tuple[str, int] | None = None
    stood_still: list[bool] = []

    def __init__(self, settings: Any, conditions: Any) -> None:
        super().__init__(settings, conditions)
        width = conditions.sentence_width
        self.small = nn.Sequential(nn.Linear(4 + width, 3 * 64), nn.BatchNorm1d(192), nn.Tanh(), nn.Unflatten(1, (3, 8, 8)))
        self.large = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 3, padding=1), nn.Tanh())
        self.critic = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 8, 8))
        self.register_state("grown", False)

    @property
    def resolution(self) -> int:
        return 16 if self.grown else 8

    def players(self) -> dict[str, Player]:
        optimizer = Adam(learning_rate=1e-2)
        return {
            "critic": Player(module=self.critic, optimizer=optimizer),
            "small": Player(module=self.small, optimizer=optimizer, averaged=True),
            "large": Player(module=self.large, optimizer=optimizer, averaged=True),
        }

    def phases(self) -> list[Phase]:
        size = self.settings.batch_size
        return [
            Phase(name="first", resolution=8, batch_size=size, steps=20, players=("critic", "small")),
            Phase(name="second", resolution=16, batch_size=size, steps=20, players=("critic", "large"), share=3.0),
        ]

    def begin(self, phase: Phase) -> None:
        self.grown = phase.name == "second"
        self.small.requires_grad_(phase.name == "first")

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        if (progress.phase, progress.step) == self.kill_at:
            raise Killed
        self.stood_still.append(not any(value.requires_grad for value in self.small.parameters()))
        fake = self.paint(batch.text, self.noise(batch, "train")).images
        assert fake.shape == batch.pictures.shape
        yield Update("critic", (self.critic(batch.pictures) - 1).square().mean() + self.critic(fake.detach()).square().mean())
        yield Update("large" if self.grown else "small", (self.critic(fake) - 1).square().mean())

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> GrownNoise:
        return GrownNoise(gaussian((4,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        assert isinstance(noise, GrownNoise)
        rough = self.small(torch.cat([noise.z, text.sentence], dim=1))
        return Painting(self.large(rough), stages=(rough,)) if self.grown else Painting(rough)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    get, names = registry.get, registry.names
    monkeypatch.setattr(registry, "get", lambda name, *sorts: Grown if name == "grown" else get(name, *sorts))
    monkeypatch.setattr(registry, "names", lambda *sorts: [*names(*sorts), "grown"])
    monkeypatch.setattr(Grown, "stood_still", [])


def recipe(**training: Any) -> Recipe:
    values = {"log_every": 5, "checkpoint_every": 8, "sample_every": 1000, "device": "cpu", "ema_half_life": 100.0} | training
    return Recipe(
        method="grown",
        data="garden",
        preset="cpu",
        resolution=16,
        method_settings=GrownSettings(),
        training=TrainingSettings(**values),
        data_settings=DataSettings(garden_pictures=40),
    )


def state_of(run: Path) -> dict[str, Any]:
    state = Checkpoints(run).load()
    assert state is not None
    return state


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a if key not in ("seconds", "core_seconds"))
    return all(map(equal, a, b)) and len(a) == len(b) if isinstance(a, list) else bool(a == b)


@pytest.mark.parametrize("place", [("first", 13), ("first", 19), ("second", 0), ("second", 3), ("second", 15)])
def test_resume_is_exact_on_both_sides_of_the_border(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[str, int]) -> None:
    train(recipe(), tmp_path / "straight")
    monkeypatch.setattr(Grown, "kill_at", place)
    with pytest.raises(Killed):
        train(recipe(), tmp_path / "run")
    monkeypatch.setattr(Grown, "kill_at", None)
    train(recipe(), tmp_path / "run", resume=True)
    assert equal(state_of(tmp_path / "run"), state_of(tmp_path / "straight"))


def test_who_plays_on_goes_on_and_who_does_not_keeps_its_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grown, "kill_at", ("first", 19))
    with pytest.raises(Killed):
        train(recipe(checkpoint_every=19), tmp_path / "run")
    before = state_of(tmp_path / "run")  # after 19 steps of the first phase
    assert set(before["players"]) == {"critic", "small"} and load(tmp_path / "run").resolution == 8

    monkeypatch.setattr(Grown, "kill_at", ("second", 0))
    with pytest.raises(Killed):
        train(recipe(checkpoint_every=19), tmp_path / "run", resume=True)
    border = state_of(tmp_path / "run")
    assert border["position"]["phase"] == 1 and border["position"]["step"] == 0 and set(border["players"]) == {"critic"}
    assert {int(value["step"]) for value in border["players"]["critic"]["optimizer"]["state"].values()} == {20}
    assert load(tmp_path / "run").generate("a red flower")[0].size == (8, 8)

    monkeypatch.setattr(Grown, "kill_at", None)
    train(recipe(), tmp_path / "run", resume=True)
    after = state_of(tmp_path / "run")["modules"]["method"]
    frozen = [name for name in after if name.startswith("small") and not name.endswith(("mean", "var", "tracked"))]
    assert frozen and all(torch.equal(after[name], border["modules"]["method"][name]) for name in frozen)
    assert Grown.stood_still == [False] * 20 + [True] * 20
    painted = load(tmp_path / "run")
    assert painted.resolution == 16 and painted.generate("a red flower")[0].size == (16, 16)


def test_a_painter_whose_phases_are_over_keeps_its_average(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Tensor]] = {}
    go_on = Run._next_phase

    def watched(self: Run) -> None:
        method = self.now.trained
        assert isinstance(method, Grown)
        seen["average"] = [value.clone() for value in self.players["small"].average]
        seen["last"] = [value.clone() for value in method.small.parameters()]
        go_on(self)

    monkeypatch.setattr(Run, "_next_phase", watched)
    monkeypatch.setattr(Grown, "kill_at", ("second", 0))
    with pytest.raises(Killed):
        train(recipe(), tmp_path / "run")
    kept = state_of(tmp_path / "run")["modules"]["method"]
    weights = [kept[f"small.0.{name}"] for name in ("weight", "bias")]
    assert all(map(torch.equal, weights, seen["average"])) and not any(map(torch.equal, weights, seen["last"]))


def test_the_best_of_a_phase_is_not_held_against_the_next() -> None:
    """Or no model of a phase would be written that nothing chooses among."""
    position = Position(step=20, total_step=20, seconds=3.0, best=0.7)
    position.next_phase()
    assert position == Position(phase=1, total_step=20)


def test_a_larger_budget_reaches_the_last_phase_alone_and_the_card_counts_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(recipe(steps=4), tmp_path / "run")
    about = load(tmp_path / "run").about
    assert (about["steps"], about["images"]) == (8, 64) and "is over" not in capsys.readouterr().err
    train(recipe(steps=8), tmp_path / "run", resume=True)
    assert "first is over and not made longer or shorter: only second can go on" in " ".join(capsys.readouterr().err.split())
    about = load(tmp_path / "run").about
    assert (about["steps"], about["images"]) == (12, 96)
    assert " 12 steps, 96 pictures" in (tmp_path / "run" / "model" / "README.md").read_text()


def test_a_checkpoint_that_does_not_count_ended_phases_is_read(tmp_path: Path) -> None:
    train(recipe(steps=4), tmp_path / "run")
    state = state_of(tmp_path / "run")
    assert state["position"].pop("earlier")["steps"] == 4
    Checkpoints(tmp_path / "run", keep=1).save(8, state)
    assert train(recipe(steps=5), tmp_path / "run", resume=True).steps == 9


def test_minutes_and_images_are_shared_out() -> None:
    phases = make_plan(recipe(minutes=8.0), training_pictures(recipe())).phases
    assert [(planned.phase.name, planned.minutes) for planned in phases] == [("first", 2.0), ("second", 6.0)]
    phases = make_plan(recipe(core_minutes=8.0), training_pictures(recipe())).phases
    assert [(planned.minutes, planned.core_minutes) for planned in phases] == [(None, 2.0), (None, 6.0)]
    phases = make_plan(recipe(images=96), training_pictures(recipe())).phases  # 12 batches of 8
    assert [(planned.phase.name, planned.steps) for planned in phases] == [("first", 3), ("second", 9)]
    phases = make_plan(recipe(images=4000), training_pictures(recipe())).phases
    assert [planned.steps for planned in phases] == [20, 20]  # its own budget is less
