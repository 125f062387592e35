"""What a run reads from outside, known by its content: where it lies may change between a run's beginning and its continuation.

`RUN/inputs.json` says of every setting that names a file or folder where that lay and what it held.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.core.errors import DataError, SettingsError
from limner.core.files import write_whole
from limner.core.recipes import GROUPS
from limner.core.settings import Recipe, placed
from limner.data.cache import read_card
from limner.data.catalog import BUILT_IN
from limner.text.saving import shipped_encoders

RECORD, FORMAT = "inputs.json", 1


@dataclass(frozen=True)
class Input:
    """Where something lay, as an absolute path, and a hash of what it held, as far as that is known."""

    place: Path
    content: str | None


@dataclass(frozen=True)
class Named:
    """What a setting says of a file or folder: the whole text, what stands before the path, such as "vgg16=", and the path."""

    text: str
    prefix: str
    path: Path


@dataclass(frozen=True)
class Found:
    """A recipe whose inputs are here.

    same: settings that hold the same as when the run began, whatever they are called now; moved: the new places of those that lie
    elsewhere. Both by the setting's name on the command line.
    """

    recipe: Recipe
    same: frozenset[str]
    moved: dict[str, str]


def write_inputs(recipe: Recipe, run: Path) -> None:
    """Keep where everything lies that a recipe names, and what it holds."""
    inputs = {}
    for name, value in _named(recipe).items():
        if value.path.exists():
            inputs[name] = {"place": str(value.path.resolve()), "content": content(name, value.path)}
    write_whole(run / RECORD, json.dumps({"format": FORMAT, "inputs": inputs}, indent=1) + "\n")


def find_inputs(recipe: Recipe, stored: Recipe, run: Path) -> Found:
    """The recipe of a run to go on with, with everything that it names where it is now.

    What the command names anew may lie anywhere if it holds the same. What it does not is looked for where the run's recipe says, where it
    lay when the run began, and next to the folders that the run lies in. Raises SettingsError for what is not there, or is something else.
    """
    known = _read(run)
    now, before = _named(recipe, known), _named(stored, known)
    same, moved = set[str](), dict[str, str]()
    for name in now.keys() & before.keys():
        value, then = now[name], before[name]
        asked = value.text != then.text
        if asked and (name.startswith("evaluation.") or value.prefix != then.prefix):
            continue  # the first may be anything, the second is another thing
        was = known.get(name) or _as_it_lies(name, then.path, hashed=asked)
        places = [place for place in ([value.path] if asked else _places(value.path, was, run)) if place.exists()]
        if not places:
            if name.startswith(("from.", "start.")) and not asked and (run / "checkpoints").is_dir():
                continue  # what was taken from there is in the run's checkpoints
            if name in known or name in ("data", "text.encoder"):
                raise _missing(name, value, run, asked=asked)
            continue  # a word, perhaps, and no path
        place = _chosen(name, places, was, run)
        new = value.text if place == value.path else f"{value.prefix}{place}"
        recipe = with_places(recipe, {name: new})
        same.add(name)
        if (place.resolve() != was.place) if was else (new != then.text):
            moved[name] = new
    return Found(recipe, frozenset(same), moved)


def with_places(recipe: Recipe, places: Mapping[str, str]) -> Recipe:
    """The recipe with other places, by the settings' names on the command line."""
    for name, value in places.items():
        group, _, setting = name.partition(".")
        if not setting:
            recipe = dataclasses.replace(recipe, data=value)
            continue
        if group == "from":
            recipe = dataclasses.replace(recipe, adopted={**recipe.adopted, setting: value})
            continue
        field = next(field for field, known in GROUPS.items() if known == group)
        settings = dataclasses.replace(getattr(recipe, field), **{setting.replace("-", "_"): value})
        recipe = dataclasses.replace(recipe, **{field: settings})
    return recipe


def data_of(run: Path, recipe: Recipe) -> str:
    """The data of a run, where they are now; as its recipe has them where they are not to be found."""
    if recipe.data in BUILT_IN:
        return recipe.data
    was = _read(run).get("data")
    places = [place for place in _places(Path(recipe.data), was, run) if place.exists()]
    same = [place for place in places if was is None or was.content in (None, content("data", place))]
    return str((same or places or [Path(recipe.data)])[0])


def content(name: str, place: Path) -> str | None:
    """A hash of what a setting's file or folder holds; None where a data set cannot be read.

    Of a data set it is the fingerprint, of a run the model in it, of another folder all files but its card.
    """
    if name == "data":
        try:
            return read_card(place).fingerprint[:16]
        except DataError:
            return None
    if (place / "recipe.yaml").is_file() and (place / "model").is_dir():
        place = place / "model"
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file() and path.name != "README.md")
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(place).as_posix().encode() if path != place else b"")
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _named(recipe: Recipe, known: Mapping[str, Input] | None = None) -> dict[str, Named]:
    """Settings that name a file or folder, or may do so: by a word, a path is meant where there is one. known: those that are known to."""
    found = {f"from.{phase}": Named(text, "", Path(text)) for phase, text in recipe.adopted.items()}
    if recipe.data not in BUILT_IN:
        found["data"] = Named(recipe.data, "", Path(recipe.data))
    for field, group in GROUPS.items():
        settings = getattr(recipe, field)
        for setting, place in placed(settings):
            name, text = f"{group}.{setting.replace('_', '-')}", getattr(settings, setting)
            if not text or (parts := place.split(text)) is None:
                continue
            value = Named(text, parts[0], Path(parts[1]))
            lost = name == "text.encoder" and text not in shipped_encoders()
            if value.path.exists() or name in (known or ()) or "/" in text or lost:
                found[name] = value
    return found


def _places(path: Path, was: Input | None, run: Path) -> Iterator[Path]:
    yield path
    if was is not None:
        yield was.place
    if not path.is_absolute():  # the whole project may have moved, or another folder is the current one
        yield from (parent / path for parent in run.resolve().parents)


def _missing(name: str, value: Named, run: Path, *, asked: bool) -> SettingsError:
    if asked:
        given = _flag(name, value.text, "is ")
        return SettingsError(f"{given}, and there is no such file or folder: give the place of what {run} was begun with")
    what = "its data is" if name == "data" else f"its {name} is"
    return SettingsError(f"{run} cannot go on: {what} not at {value.path}: give its new place by {_flag(name, 'DIR')}")


def _flag(name: str, value: str, middle: str = "") -> str:
    """A setting as the command line has it: `--text.encoder DIR`, `--from PHASE=DIR`."""
    group, _, phase = name.partition(".")
    return f"--from {phase}={value}" if group == "from" else f"--{name} {middle}{value}"


def _chosen(name: str, places: Sequence[Path], was: Input | None, run: Path) -> Path:
    """The first of the places that holds what the run was begun with."""
    if was is None or was.content is None:
        return places[0]
    held = {}
    for place in places:
        if name != "data" and place.resolve() == was.place:
            return place  # a run whose encoder is used may have been trained on since
        held[place] = content(name, place)
        if held[place] == was.content:
            return place
    if name == "data" and held[places[0]] is None:
        read_card(places[0])  # says what is wrong with it
    raise SettingsError(
        f"{places[0]} is not what {run} was begun with: its fingerprint is {held[places[0]]}, and that of {was.place} was {was.content}: "
        f"give what it was begun with by {_flag(name, 'DIR')}, or choose another --out"
    )


def _as_it_lies(name: str, place: Path, *, hashed: bool) -> Input | None:
    """An input of a run that kept no record, as far as it is still where the run had it."""
    if not place.exists():
        return None
    return Input(place.resolve(), content(name, place) if hashed else None)


def _read(run: Path) -> dict[str, Input]:
    try:
        found: dict[str, Any] = json.loads((run / RECORD).read_text(encoding="utf-8"))["inputs"]
        return {name: Input(Path(one["place"]), one["content"]) for name, one in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
