"""Who takes part in a comparison: what a run or model folder tells of itself, and which runs differ in their seed alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from limner import methods
from limner.core.errors import SettingsError
from limner.core.folder import describe, located
from limner.core.recipes import flat_settings, from_preset, load_recipe, settings_with
from limner.core.settings import Recipe
from limner.metrics.scoring.protocol import Score, read_scores
from limner.report.curves import read_log
from limner.report.phases import of_the_method, passed

MOST_NAMED = 3
"""An entry of more runs is named after the first of them."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One run or model folder."""

    path: Path
    method: str
    title: str
    """The method's name in print."""
    seed: int | None
    """None where nobody wrote it down."""
    resolution: int
    """Side of its pictures in pixels."""
    settings: Mapping[str, Any]
    """What decides how it was trained, flat, by the names of the command line; no seed."""
    changed: Mapping[str, Any]
    """Those of the settings that its preset does not have."""
    about: Mapping[str, Any]
    """What its config.json knows of its making."""
    log: Sequence[Mapping[str, Any]]
    scores: Sequence[Score]

    @property
    def keeps_scores(self) -> bool:
        """Whether `limner evaluate` can leave scores with it: a shipped model stays as it was shipped."""
        return self.path.is_dir()

    @property
    def seconds(self) -> float | None:
        """Training time of the method's own phases: that of a text or style encoder is not in it."""
        return self._sum("seconds")

    @property
    def images(self) -> float | None:
        """Pictures that the method's own phases have seen."""
        return self._sum("images")

    @property
    def identity(self) -> dict[str, Any]:
        """What decides how it was trained, with the fingerprint of its data, where it is known, in place of the path: a path may be
        prepared anew, and one set has several spellings."""
        fingerprint = self.about.get("fingerprint")
        return {**self.settings} if fingerprint is None else {**self.settings, "data": None, "fingerprint": fingerprint}

    def _sum(self, name: str) -> float | None:
        """A figure of the log, over the method's phases; without a log, what config.json says of the last phase."""
        if not self.log:
            return self.about.get(name)
        return float(sum(getattr(phase, name) for phase in passed(of_the_method(self.log))))


@dataclass(frozen=True)
class ComparedEntry:
    """Runs that differ in their seed alone, the lowest first; the first paints."""

    name: str
    runs: Sequence[Contender]


def read_entries(paths: Sequence[Path], names: Mapping[Path, str] | None = None) -> list[ComparedEntry]:
    """The entries of these runs and models, in the order in which the first of each is given.

    names: each run's entry, where somebody knows better than their recipes. Raises SettingsError for a run that cannot be compared, and
    CheckpointError for one that cannot be read.
    """
    if len(paths) < 2:
        raise SettingsError(f"{len(paths)} run{'' if len(paths) == 1 else 's'} to compare: give at least two")
    contenders: list[Contender] = []
    for path in paths:
        if path in [other.path for other in contenders]:
            raise SettingsError(f"{path} is given twice: leave one out")
        contenders.append(read_contender(path))
    groups: dict[str, list[Contender]] = defaultdict(list)
    for contender in contenders:
        groups[names[contender.path] if names else repr(sorted(contender.identity.items()))].append(contender)
    for runs in groups.values():
        _refuse_repeated_seeds(runs)
        runs.sort(key=lambda run: -1 if run.seed is None else run.seed)
    titles = list(groups) if names else _called(list(groups.values()))
    return [ComparedEntry(name, runs) for name, runs in zip(titles, groups.values(), strict=True)]


def _refuse_repeated_seeds(runs: Sequence[Contender]) -> None:
    seen: dict[int | None, Contender] = {}
    for run in runs:
        if run.seed in seen:
            raise SettingsError(f"{seen[run.seed].path} and {run.path} have the same settings and seed {run.seed}: leave one out")
        seen[run.seed] = run


def _called(groups: Sequence[Sequence[Contender]]) -> list[str]:
    """Each entry by the folders that its runs were given, then its method and settings: `garden-fast (gan-cls, learning-rate 0.0004)`."""
    folders = folder_names([run.path for runs in groups for run in runs])
    names = []
    for runs, settings in zip(groups, entry_names([runs[0] for runs in groups]), strict=True):
        own = [folders[run.path] for run in runs]
        called = ", ".join(own) if len(own) <= MOST_NAMED else f"{own[0]} and {len(own) - 1} others"
        names.append(called if called == settings else f"{called} ({settings})")
    return names


def folder_names(paths: Sequence[Path]) -> dict[Path, str]:
    """The end of each path, as long as it must be to be no other's: `runs/fast` is `fast`; the model of a run is `fast/model`."""
    tails = {path: path.resolve().parts if path.exists() else path.parts for path in paths}
    lengths = {path: 2 if path.name == "model" else 1 for path in paths}

    def name(path: Path) -> str:
        return "/".join(tails[path][-lengths[path] :])

    while True:
        shared = [path for path in paths if [name(other) for other in paths].count(name(path)) > 1]
        longer = [path for path in shared if lengths[path] < len(tails[path])]
        if not longer:
            return {path: name(path) for path in paths}
        for path in longer:
            lengths[path] += 1


def entry_names(firsts: Sequence[Contender]) -> list[str]:
    """A name for each entry: its method with what differs from its preset; where two would bear one name, with what they differ in."""
    names = [_name(run.method, run.changed) for run in firsts]
    for name in {name for name in names if names.count(name) > 1}:
        places = [place for place, other in enumerate(names) if other == name]
        settings = [firsts[place].settings for place in places]
        sets = {repr((own.get("data"), firsts[place].identity.get("fingerprint"))) for place, own in zip(places, settings, strict=True)}
        if len(sets) > len({repr(own.get("data")) for own in settings}):  # one path, prepared anew in between
            settings = [{**own, "fingerprint": firsts[place].about.get("fingerprint")} for place, own in zip(places, settings, strict=True)]
        differing = [
            key for key in dict.fromkeys(key for own in settings for key in own) if len({repr(own.get(key)) for own in settings}) > 1
        ]
        for place, own in zip(places, settings, strict=True):
            kept = dict(firsts[place].changed) | {key: own.get(key) for key in differing}
            names[place] = _name(firsts[place].method, kept)
    return names


def _name(method: str, settings: Mapping[str, Any]) -> str:
    return ", ".join([method, *(f"{key.removeprefix('method.')} {_shown(value)}" for key, value in settings.items())])


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-".join(map(str, value)) if isinstance(value, (list, tuple)) else "none" if value is None else str(value)


def read_contender(path: Path) -> Contender:
    """What a run folder, model folder or shipped model tells of itself, without its weights."""
    with located(path, "method") as folder:
        config = describe(folder, "method")
    recipe = load_recipe(path / "recipe.yaml") if (path / "recipe.yaml").is_file() else None
    made = methods.get(config["name"])
    settings = recipe.method_settings if recipe else msgspec.convert(config["settings"], made.Settings)
    if not made.reads_text(settings):
        raise SettingsError(f"{path} reads no text, and a comparison paints the same captions by all: leave it out")
    about = config["about"]
    recipe = recipe or _as_recipe(config, settings)
    own, usual = flat(recipe), flat(_preset(recipe))
    budget = settings_with("budget")  # part of what a run is, and not of its name unless two entries differ in nothing else
    return Contender(
        path=path,
        method=recipe.method,
        title=made.title,
        seed=about.get("seed"),
        resolution=config["conditions"]["resolution"],
        settings=own,
        changed={key: value for key, value in own.items() if key in usual and value != usual[key] and key not in budget},
        about=about,
        log=read_log(path / "log.jsonl"),
        scores=read_scores(path / "scores.json"),
    )


def _as_recipe(config: Mapping[str, Any], settings: Any) -> Recipe:
    """As much of its recipe as a model folder tells."""
    about = config["about"]
    return Recipe(
        method=config["name"],
        data=str(about.get("data", "unknown")),
        preset=str(about.get("preset", "as-published")),
        resolution=config["conditions"]["resolution"],
        method_settings=settings,
    )


def _preset(recipe: Recipe) -> Recipe:
    try:
        return from_preset(recipe.method, recipe.preset, recipe.data, recipe.resolution)
    except SettingsError:  # an imported model names none of ours
        return recipe


def flat(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide what a run learns, by their names on the command line."""
    values = {"preset": recipe.preset, **flat_settings(recipe)}
    others = settings_with("machine", "shown", "seed")
    return {key: value for key, value in values.items() if key not in others}
