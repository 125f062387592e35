"""Plans: acts and their phases, whose budgets are resolved, and which are prepared once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from shared import two_parts as toy
from shared.two_parts import TwoParts, two_parts  # noqa: F401  # a fixture

from limner.core.errors import DataError, SettingsError
from limner.core.recipes import from_preset
from limner.core.trainable import Phase, Trainable
from limner.training.plan import make_plan, training_pictures


def test_what_paints_and_what_is_worth_a_folder(two_parts: type[TwoParts]) -> None:  # noqa: F811
    recipe = toy.recipe()
    plan = make_plan(recipe, training_pictures(recipe))
    assert [act.name for act in plan.acts] == ["method"] and plan.asked_for is plan.acts[0]
    assert [(one.phase.name, one.paints, one.writes) for one in plan.phases] == [("reading", False, False), ("painting", True, True)]
    assert [sorted(one.players()) for one in plan.phases] == [["reader"], ["painter"]]
    assert two_parts.prepared == ["reading"]


def test_style_is_an_act_after_it(two_parts: type[TwoParts]) -> None:  # noqa: F811
    recipe = toy.recipe(minutes=4.0)
    recipe = dataclasses.replace(recipe, style=dataclasses.replace(recipe.style, steps=7, batch_size=3))
    plan = make_plan(recipe, training_pictures(recipe))
    assert [(one.act.name, one.phase.name, one.steps, one.minutes) for one in plan.phases] == [
        ("method", "reading", 4, 1.0),
        ("method", "painting", 4, 3.0),
        ("style", "style", 7, None),
    ]
    assert set(plan.modules()) == {"method", "style", "encoder"} and not plan.phases[2].paints and plan.phases[2].writes
    assert plan.trains_encoder is False


@pytest.mark.parametrize("name", ["text", "style", "garden-judge", "sje", "clip", "damsm", "vs-similarity", "gan-cls"])
def test_everything_is_planned_the_same_way(name: str) -> None:
    """One kind of thing: no act is known by its name."""
    recipe = from_preset(name, "cpu", "garden", None)
    recipe = dataclasses.replace(recipe, data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=40))
    if name == "style":
        recipe = dataclasses.replace(recipe, method_settings=dataclasses.replace(recipe.method_settings, model="garden-fast"))
    if name == "garden-judge":
        recipe = dataclasses.replace(recipe, method_settings=dataclasses.replace(recipe.method_settings, pictures=16))
    if name == "damsm":  # whose pictures are read by a network that is not here
        pytest.skip("needs the weights of Inception")
    plan = make_plan(recipe, training_pictures(recipe))
    assert [act.registered for act in plan.acts] == [name] and isinstance(plan.asked_for.trained, Trainable)
    assert all(planned.steps > 0 for planned in plan.phases)


def test_stories_are_counted_by_their_pictures(two_parts: type[TwoParts], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    recipe = toy.recipe()
    pictures = training_pictures(recipe)
    pictures.stories = stories = np.arange(12).reshape(4, 3)

    def phases(self: TwoParts) -> list[Phase]:
        return [Phase(name="told", resolution=toy.SIDE, batch_size=6, epochs=5, frames=3)]

    monkeypatch.setattr(two_parts, "phases", phases)
    assert [one.steps for one in make_plan(recipe, pictures).phases] == [10]
    both: NDArray[np.int64] = stories[:, :2]
    pictures.stories = both
    with pytest.raises(Exception, match="have 2 pictures, and 3 are wanted"):
        make_plan(recipe, pictures)


@pytest.mark.parametrize("method", ["keras-text-to-image", "stackgan"])
def test_a_process_needs_two_pictures_where_vectors_are_normalised(method: str) -> None:
    recipe = from_preset(method, "cpu", "garden", 64)
    recipe = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, batch_size=4))
    recipe = dataclasses.replace(recipe, data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=8))
    pictures = training_pictures(recipe)
    assert make_plan(recipe, pictures, processes=2).phases
    with pytest.raises(DataError, match="normalises over a process's pictures, and a batch of 4 gives each of 4 processes 1: raise"):
        make_plan(recipe, pictures, processes=4)


def test_what_paints_nothing_has_no_style() -> None:
    recipe = from_preset("clip", "cpu", "garden", None)
    recipe = dataclasses.replace(recipe, style=dataclasses.replace(recipe.style, steps=5))
    with pytest.raises(SettingsError, match="clip paints nothing, so there is no style to find: leave style.steps out"):
        make_plan(recipe, training_pictures(recipe))


def test_what_paints_single_pictures_is_told_all_that_was_said_so_far() -> None:
    few = {"garden_pictures": 8}
    told = {}
    for method in ("gan-cls", "storygan"):
        recipe = from_preset(method, "cpu", "garden-stories", 32)
        told[method] = training_pictures(dataclasses.replace(recipe, data_settings=dataclasses.replace(recipe.data_settings, **few)))
    alone, stories = told["gan-cls"], told["storygan"]
    assert len(alone) == len(stories) == 8 and stories.stories is not None
    for first, *others in stories.stories.tolist():
        assert alone.captions(first) == stories.captions(first)
        assert alone.captions(others[0])[1] == f"{stories.captions(first)[1]}. {stories.captions(others[0])[1]}"
        assert [len(alone.captions(index)[0].split(". ")) for index in others] == [2, 3, 4]


def test_what_a_later_phase_looks_through_is_missed_at_once(two_parts: type[TwoParts], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A network that losses need after hours of training is loaded before anything is trained; until its phase it takes no memory."""
    recipe, asked = toy.recipe(), list[str]()

    def load(self: Trainable, phase: Phase) -> None:
        asked.append(phase.name)
        if phase.name not in self.guides:
            self.guide(phase.name, torch.nn.Linear(1, 1))

    monkeypatch.setattr(two_parts, "load_guides", load)
    plan = make_plan(recipe, training_pictures(recipe))
    assert asked == ["painting", "reading"] and set(plan.asked_for.trained.guides) == {"reading"}

    def fail(self: Trainable, phase: Phase) -> None:
        if phase.name == "painting":
            raise SettingsError("no weights for painting")

    monkeypatch.setattr(two_parts, "load_guides", fail)
    with pytest.raises(SettingsError, match="for painting"):
        make_plan(recipe, training_pictures(recipe))
