"""Phases that come from elsewhere: from a run, a model folder or an import; their weights stay, and the rest trains."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from shared import two_parts as toy
from shared.tiny_runs import same, state_of
from shared.two_parts import Killed, TwoParts, two_parts  # noqa: F401  # a fixture

from limner.core.errors import LimnerError, SettingsError
from limner.core.recipes import load_recipe, save_recipe
from limner.interop.networks import save_networks
from limner.model import load
from limner.training.plan import make_plan, training_pictures
from limner.training.run import train


@pytest.fixture
def source(two_parts: type[TwoParts], tmp_path: Path) -> Path:  # noqa: F811
    """A finished run."""
    train(toy.recipe(seed=5), tmp_path / "source")
    two_parts.trained_on.clear()
    two_parts.prepared.clear()
    return tmp_path / "source"


def reader_of(run: Path) -> list[torch.Tensor]:
    return [value for name, value in state_of(run)["modules"]["method"].items() if name.startswith("reader.")]


def test_a_run_takes_a_phase_from_another(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(toy.recipe({"reading": str(source)}), tmp_path / "run")
    assert set(TwoParts.trained_on) == {"painting"} and TwoParts.prepared == ["painting"]
    assert f"phase 'reading' comes from {source} and is not trained" in capsys.readouterr().err
    assert all(map(torch.equal, reader_of(tmp_path / "run"), reader_of(source)))
    state = state_of(tmp_path / "run")
    assert set(state["players"]) == {"painter"} and state["position"]["phase"] == 0
    weights = [run["modules"]["method"]["painter.weight"] for run in (state, state_of(source))]
    assert not torch.equal(*weights)
    model = load(tmp_path / "run").method
    assert isinstance(model, TwoParts) and torch.equal(model.reader["back"].weight, reader_of(source)[2])


def test_a_model_folder_an_import_and_a_run_give_the_same(source: Path, tmp_path: Path) -> None:
    method = load(source).method
    save_networks(tmp_path / "networks", toy.NAME, method, ["reader"])
    shutil.copytree(source / "model", tmp_path / "model")
    places = {"run": source, "model folder": tmp_path / "model", "import": tmp_path / "networks"}
    for number, place in enumerate(places.values()):
        train(toy.recipe({"reading": str(place)}), tmp_path / str(number))
    assert all(same(state_of(tmp_path / "0"), state_of(tmp_path / str(number))) for number in (1, 2))


def test_the_averaged_weights_are_taken_of_what_paints(source: Path, tmp_path: Path) -> None:
    train(toy.recipe({"painting": str(source)}), tmp_path / "run")
    assert set(TwoParts.trained_on) == {"reading"}
    taken = state_of(tmp_path / "run")["modules"]["method"]["painter.weight"]
    saved = load(source).method.state_dict()["painter.weight"]
    assert torch.equal(taken, saved)
    assert not torch.equal(taken, state_of(source)["modules"]["method"]["painter.weight"])  # the last ones of its training
    model = load(tmp_path / "run").method  # nothing is left to train, so that the run writes a model and paints
    assert isinstance(model, TwoParts) and torch.equal(model.painter.weight, saved)
    assert torch.equal(model.reader["back"].weight, reader_of(tmp_path / "run")[2])
    assert not torch.equal(model.reader["back"].weight, reader_of(source)[2])


def test_it_goes_on_where_it_was_killed_wherever_the_source_is_now(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = toy.recipe({"reading": str(source)})
    train(recipe, tmp_path / "straight")
    monkeypatch.setattr(TwoParts, "kill_at", ("painting", 3))
    for place in ("there", "gone"):
        with pytest.raises(Killed):
            train(recipe, tmp_path / place)
    monkeypatch.setattr(TwoParts, "kill_at", None)
    train(load_recipe(tmp_path / "there" / "recipe.yaml"), tmp_path / "there", resume=True)
    shutil.rmtree(source)
    train(load_recipe(tmp_path / "gone" / "recipe.yaml"), tmp_path / "gone", resume=True)
    assert all(same(state_of(tmp_path / place), state_of(tmp_path / "straight")) for place in ("there", "gone"))
    assert load_recipe(tmp_path / "gone" / "recipe.yaml").adopted == {"reading": str(source)}


def test_a_run_that_has_saved_nothing_needs_its_source(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TwoParts, "kill_at", ("painting", 0))
    with pytest.raises(Killed):
        train(toy.recipe({"reading": str(source)}), tmp_path / "run")
    monkeypatch.setattr(TwoParts, "kill_at", None)
    source.rename(tmp_path / "moved")
    recipe = load_recipe(tmp_path / "run" / "recipe.yaml")
    with pytest.raises(SettingsError, match=f"its from.reading is not at {source}: give its new place by --from reading=DIR"):
        train(recipe, tmp_path / "run", resume=True)
    other = toy.recipe({"reading": str(tmp_path / "moved")})
    train(other, tmp_path / "run", resume=True)
    assert all(map(torch.equal, reader_of(tmp_path / "run"), reader_of(tmp_path / "moved")))


def test_a_recipe_holds_it(tmp_path: Path, two_parts: type[TwoParts]) -> None:  # noqa: F811
    recipe = toy.recipe({"reading": "runs/first"})
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml").adopted == {"reading": "runs/first"}


@pytest.mark.parametrize(
    ("adopted", "message"),
    [
        ({"raeding": "SOURCE"}, "there is no phase of two-parts 'raeding': did you mean 'reading'?"),
        ({"reading": "nowhere/at/all"}, "--from reading=nowhere/at/all: there is no folder nowhere/at/all"),
        ({"reading": "SOURCE", "painting": "SOURCE"}, "every phase comes from another run by --from: nothing is left to train"),
        ({"reading": "EMPTY"}, "--from reading=EMPTY: the run has no whole checkpoint yet"),
        ({"reading": "garden"}, "--from reading=garden: it holds no weights of the reader, which phase 'reading' trains"),
        ({"reading": "garden-judge"}, "holds a judge of garden attributes, not a model that paints captions or networks alone"),
    ],
)
def test_refusals_come_before_anything_is_written(source: Path, tmp_path: Path, adopted: dict[str, str], message: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(source / "recipe.yaml", empty)
    adopted = {phase: place.replace("SOURCE", str(source)).replace("EMPTY", str(empty)) for phase, place in adopted.items()}
    with pytest.raises(LimnerError) as refused:
        train(toy.recipe(adopted), tmp_path / "run")
    assert message.replace("EMPTY", str(empty)) in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_names_the_player(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="its reader does not fit this recipe's .*: give the settings that it was trained with"):
        train(toy.recipe({"reading": str(source)}, width=6), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_budgets_are_those_of_the_phases_that_are_left(source: Path) -> None:
    recipe = toy.recipe({"reading": str(source)}, minutes=8.0)
    planned = make_plan(recipe, training_pictures(recipe)).phases
    assert [(one.phase.name, one.minutes) for one in planned] == [("painting", 8.0)]
