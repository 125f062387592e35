"""A study's runs: what each is trained with, where it lies, and whether what lies there already is the same."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner import methods
from limner.core.errors import DataError, SettingsError, unknown_name
from limner.core.owner import LOCK
from limner.core.recipes import GROUPS, flat_settings, from_preset, laid_over, load_recipe, save_recipe, settings_with
from limner.core.settings import LEFT_OPEN, Recipe
from limner.data.catalog import BUILT_IN
from limner.study.settings import Study, StudyEntry, read_study

RECORD = "study.yaml"


@dataclass(frozen=True)
class Planned:
    """One run of a study.

    name: what its progress line calls it; folder: its run folder; log: what its process says.
    """

    name: str
    entry: StudyEntry
    recipe: Recipe
    folder: Path
    log: Path

    @property
    def seed(self) -> int:
        """What the run is trained from."""
        return self.recipe.training.seed

    def begin(self) -> None:
        """Leave its recipe where `limner train --resume` finds it."""
        if not (self.folder / "recipe.yaml").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            save_recipe(self.recipe, self.folder / "recipe.yaml")


def plan(study: Study, out: Path) -> list[Planned]:
    """All runs, in the order in which they are made: every entry from the first seed, then from the next.

    Raises LimnerError for methods, settings and data that do not exist, before anything is written.
    """
    for data in study.data:
        _check_data(data)
    runs = []
    for seed in study.seeds:
        for data in study.data:
            for entry in study.entries:
                name = f"{entry.title}, seed {seed}" + (f", {data}" if len(study.data) > 1 else "")
                place = Path(slug(data)) / f"{slug(entry.title)}-seed{seed}"
                log = out / "logs" / place.with_name(f"{place.name}.log")
                runs.append(Planned(name, entry, recipe(study, entry, data, seed), out / "runs" / place, log))
    for run in runs:
        twins = [other.name for other in runs if str(other.folder).lower() == str(run.folder).lower()]
        if len(twins) > 1:
            raise SettingsError(f"{' and '.join(twins)} would lie in one folder, {run.folder}: give one of the two another name")
    return runs


def recipe(study: Study, entry: StudyEntry, data: str, seed: int) -> Recipe:
    """Every setting of a run. Raises SettingsError for a method or a setting that does not exist."""
    if entry.method not in methods.names():
        raise unknown_name("method", entry.method, methods.names())
    base = from_preset(entry.method, entry.preset or study.preset, data, study.resolution)
    values: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in {**_dashed(study.settings), **_dashed(entry.settings)}.items():
        group, _, setting = name.partition(".")
        if group not in GROUPS.values() or not setting:
            raise unknown_name(f"group of settings (in '{name}' of {entry.title}) called", group, GROUPS.values())
        values[group][setting.replace("-", "_")] = value
    if model := values["start"].get("model"):
        from limner.training.starting import starting_recipe

        base = starting_recipe(base, str(model))
    values["training"] |= {**dataclasses.asdict(study.budget), "seed": seed, "device": study.device}
    groups = {field: laid_over(getattr(base, field), values[name], f"{name} of entry '{entry.title}'") for field, name in GROUPS.items()}
    return Recipe(method=entry.method, data=data, preset=base.preset, resolution=study.resolution, **groups)


def check_folder(study: Study, runs: Sequence[Planned], out: Path) -> list[str]:
    """What is to be said of a folder that holds something already: entries that are not asked for any more.

    Raises SettingsError where going on would put unlike runs side by side, and where the folder holds something else.
    """
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file: give a folder for the study")
    if not out.is_dir() or not any(path.name != LOCK for path in out.iterdir()):
        return []
    if not (out / RECORD).is_file():
        raise SettingsError(f"{out} holds something that is not a study: choose another --out")
    before = read_study(out / RECORD)
    begun = sorted(path.parent for path in (out / "runs").glob("*/*/recipe.yaml"))
    for run in runs:
        if run.folder in begun:
            _refuse_another(run)
    for name in ("together", "threads"):
        then, now = getattr(before, name), getattr(study, name)
        if begun and study.budget.minutes is not None and now not in ("auto", then):
            raise SettingsError(
                f"{out} was begun with {name}: {then}, not {now}, and runs would not get the same done in their minutes: "
                f"put {then} or auto, or choose another --out"
            )
    said = []
    strangers = [path for path in begun if path not in {run.folder for run in runs}]
    if strangers:
        names = ", ".join(path.name for path in strangers)
        said.append(f"no longer in the study, and left as they are: {names}")
    if before.evaluation != study.evaluation and begun:
        said.append("the evaluation has changed: runs that are trained are scored anew")
    return said


def _refuse_another(run: Planned) -> None:
    """Raise SettingsError where a run folder was begun with other settings or another budget than the study now asks for."""
    before, now = flat_settings(load_recipe(run.folder / "recipe.yaml")), flat_settings(run.recipe)
    ignored = settings_with("shown")  # neither a step nor its time depends on them
    if now["text.steps"] is None:
        ignored.add("text.steps")  # runs that were begun before it could be left open have a number there, and keep it
    ignored |= {name for name in LEFT_OPEN if now[name] == "auto"}  # which the run has settled
    changed = [name for name in now if before.get(name) != now[name] and name not in ignored]
    if changed:
        name = changed[0]
        more = f" (and {len(changed) - 1} more that differ)" if len(changed) > 1 else ""
        raise SettingsError(
            f"{run.folder} was begun with {name} {before.get(name)}, not {now[name]}{more}: runs of one study have the same; "
            "put it back, give the entry another name, or choose another --out"
        )


def _check_data(data: str) -> None:
    if data in BUILT_IN or Path(data).is_dir():
        return
    if Path(data).parent == Path("."):
        raise unknown_name("data set or folder", data, BUILT_IN)
    raise DataError(f"there is no folder {data}: give one that `limner data prepare` wrote, or {' or '.join(BUILT_IN)}")


def _dashed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in settings.items()}


def slug(text: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^\w.=+-]+", "-", text).strip("-") or "-"
