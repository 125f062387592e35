"""What a study.yaml says: checked down to the last key before anything is trained."""

from __future__ import annotations

import dataclasses
import math
import shlex
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from limner.core.errors import SettingsError, unknown_name
from limner.core.files import write_whole
from limner.core.recipes import plain, read_mapping, readable
from limner.core.settings import TrainingSettings, above_zero, at_least, roles
from limner.metrics.scoring.registry import METRICS, chosen

EXAMPLE = """\
# A study: every entry on every data set, from every seed, under one budget and one protocol. As it stands it takes about half an hour of
# two CPU cores.    limner study study.yaml --dry-run    limner study study.yaml --out runs/study

data: [garden]                      # built-in names, or folders that `limner data prepare` wrote

entries:                            # methods, as `limner methods` lists them ...
  - gan-cls
  - df-gan
  - method: gan-cls                 # ... or one under settings of its own, as flags of `limner train` call them: an ablation
    name: GAN-CLS without counterfactual captions
    settings: {method.counterfactual: 0}

seeds: [0, 1]                       # each entry is trained once from each

budget:                             # of each run; with several, whichever is spent first
  minutes: 5                        # of training; grids, checkpoints and scores are not counted
  # core_minutes: 5                 # of processor time, for machines that do other work, too
  # images: 100000                  # training pictures seen

resolution: 64                      # side of the pictures in pixels
preset: cpu                         # what settings start from: cpu or as-published
device: auto                        # auto, cpu or cuda

# settings:                         # for every entry
#   text.encoder: runs/words

evaluation:                         # one protocol for all, as `limner evaluate` takes it
  metrics: [faithfulness, fid]      # faithfulness is for the garden alone
  split: test
  count: 2000                       # pictures painted by each run
  seed: 0
  # features: fid-inception         # the network that looks at pictures, for fid and its like; by default the garden's
  # matching: runs/words            # a matching model, for r-precision and its like

comparison:                         # pictures of the page: the same captions and noises by all
  count: 6                          # captions of the data set ...
  # captions: [a pink flower with five round petals, a small blue flower at night]    # ... or these
  seed: 0

together: auto                      # runs at once; auto: as many as there are cores, and 2 GB of memory for each
threads: auto                       # CPU threads of each; auto: its share of the cores
"""


@dataclass(frozen=True, kw_only=True)
class StudyEntry:
    """A method, as it is trained in a study."""

    method: str
    name: str = ""
    """What tables and pages call it; by default its method with its settings."""
    preset: str | None = None
    """What its settings start from, in place of the study's."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values laid over the preset and the study's settings, by their names on the command line."""

    @property
    def title(self) -> str:
        """Its name, or the method and what differs from its preset."""
        if self.name:
            return self.name
        changed = [self.preset] if self.preset else []
        changed += [f"{key.partition('.')[2]} {_shown(value)}" for key, value in self.settings.items()]
        return ", ".join([self.method, *changed])


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What each run may spend: whichever is spent first ends it."""

    minutes: float | None = None
    """Minutes of training, without grids, checkpoints and scores."""
    core_minutes: float | None = None
    """Minutes of processor time: minutes times the cores at work. What else runs on the machine then changes little."""
    images: int | None = None
    """Training pictures seen; a picture seen twice counts twice."""

    def __post_init__(self) -> None:
        above_zero(self, "budget", "minutes")
        if self.core_minutes is not None and not 0 < self.core_minutes < math.inf:  # by the name that it has in the file
            raise SettingsError(f"budget.core_minutes is {self.core_minutes}, but must be above 0")
        at_least(self, "budget", 1, "images")
        if self.minutes is None and self.core_minutes is None and self.images is None:
            raise SettingsError("budget is empty: give minutes, core_minutes, images or several of them")

    def __str__(self) -> str:
        parts = [f"{self.minutes:g} min"] if self.minutes is not None else []
        parts += [f"{self.core_minutes:g} core minutes"] if self.core_minutes is not None else []
        return " or ".join(parts + ([f"{self.images:,} images"] if self.images is not None else []))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The protocol that every run is scored under, as `limner evaluate` takes it."""

    metrics: tuple[str, ...] = ("fid",)
    split: str = "test"
    """Splits with commas between."""
    count: int = 2000
    """Pictures that each run paints for each split."""
    seed: int = 0
    features: str | None = None
    matching: str | None = None

    def __post_init__(self) -> None:
        at_least(self, "evaluation", 2, "count")
        if "all" in self.metrics or not self.metrics:
            raise SettingsError(
                f"evaluation.metrics must name each metric, so that all runs have the same: choose among {', '.join(METRICS)}"
            )
        chosen(self.metrics)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The pictures of the page: the same captions and noises by every entry."""

    captions: tuple[str, ...] | None = None
    """By default some of the data set's own."""
    count: int = 6
    """How many captions are taken from the data set."""
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self, "comparison", 1, "count")
        if self.captions is not None and not all(caption.strip() for caption in self.captions or [""]):
            raise SettingsError("comparison.captions has no caption, or an empty one: give some, or leave it out for those of the data set")


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that a study.yaml says."""

    entries: tuple[StudyEntry, ...]
    budget: Budget
    data: tuple[str, ...] = ("garden",)
    seeds: tuple[int, ...] = (0, 1)
    resolution: int = 64
    preset: str = "cpu"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of every entry, by their names on the command line."""
    evaluation: Evaluation = Evaluation()
    comparison: Comparison = Comparison()
    together: int | Literal["auto"] = "auto"
    """Runs at once."""
    threads: int | Literal["auto"] = "auto"
    """CPU threads of each run."""

    def __post_init__(self) -> None:
        for name, values in (("entries", self.entries), ("data", self.data), ("seeds", self.seeds)):
            if not values:
                raise SettingsError(f"{name} is empty: give at least one")
        titles = [entry.title for entry in self.entries]
        for name, words in (("entries", titles), ("data", list(self.data)), ("seeds", [str(seed) for seed in self.seeds])):
            twice = next((word for word in words if words.count(word) > 1), None)
            if twice is not None:
                fix = "give one of the two a name of its own" if name == "entries" else "leave one out"
                raise SettingsError(f"{name} has '{twice}' twice: {fix}")
        for settings in (self.settings, *(entry.settings for entry in self.entries)):
            named = {name.replace("_", "-") for name in settings}
            own = next((key for key in given() if key in named), None)
            if own:
                raise SettingsError(f"settings may not have {own}: the study says it for all, by budget, seeds or device")
        for name in ("together", "threads"):
            if getattr(self, name) != "auto":
                at_least(self, "study", 1, name)


def given() -> list[str]:
    """The settings that a study has its own words for: its budget, its seeds, its device."""
    words = {"budget": Budget, "machine": Study}  # whose fields have the names of those settings
    own = [name for name, role in roles(TrainingSettings) if role == "seed" or (role in words and name in get_type_hints(words[role]))]
    return [f"training.{name}".replace("_", "-") for name in own]


def read_study(path: Path) -> Study:
    """Read a study.yaml. Raises SettingsError, in one line, for a wrong key (with the nearest), or a value that cannot be."""
    values = read_mapping(path, "study", "entries: [gan-cls, df-gan]")
    values = {key: _listed(key, value) for key, value in values.items()}
    if isinstance(values.get("entries"), list):
        values["entries"] = [{"method": entry} if isinstance(entry, str) else entry for entry in values["entries"]]
    if isinstance(values.get("evaluation"), dict):
        values["evaluation"] = {key: _listed(key, value) for key, value in values["evaluation"].items()}
    try:
        _check_names(values, Study, str(path))
        return msgspec.convert(values, Study)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{path}: {readable(str(error))}") from None
    except SettingsError as error:
        raise SettingsError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def write_study(study: Study, path: Path) -> None:
    """Write everything that a study says, resolved, for `limner study` to read."""
    import yaml

    text = yaml.safe_dump(plain(dataclasses.asdict(study)), sort_keys=False, allow_unicode=True)
    again = shlex.join(["limner", "study", str(path), "--out", str(path.parent)])
    write_whole(path, f"# What this study was asked, and how many runs it makes at once. Go on with: {again}\n{text}")


def _check_names(values: Mapping[Any, Any], shape: type, where: str) -> None:
    """Refuse the first key that a dataclass does not have, and name the first that is missing; so within, all the way down."""
    hints = get_type_hints(shape)
    for name in values:
        if name not in hints:
            raise unknown_name(f"entry in {where} called", str(name), hints)
    for item in dataclasses.fields(shape):
        if item.default is item.default_factory is dataclasses.MISSING and item.name not in values:
            raise SettingsError(f"{where} does not say its {item.name}: add '{item.name}:'")
        inside, value = _dataclass_in(hints[item.name]), values.get(item.name)
        if inside is None or value is None:
            continue
        for number, part in enumerate(value if isinstance(value, list) else [value]):
            place = f"{item.name}[{number}]" if isinstance(value, list) else item.name
            if isinstance(part, dict):
                _check_names(part, inside, f"{place} of {where}")


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass that a field holds, alone or in a tuple."""
    if get_origin(hint) in (tuple, Union, types.UnionType):
        return next((found for found in map(_dataclass_in, get_args(hint)) if found), None)
    return hint if isinstance(hint, type) and dataclasses.is_dataclass(hint) else None


def _listed(key: str, value: Any) -> Any:
    """A single name or number where a list is asked for."""
    if key in ("data", "entries", "seeds", "metrics") and isinstance(value, (str, int)):
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else [value]
    return value


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
