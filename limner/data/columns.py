"""What the columns of a table, or the fields of a JSON object, are called: one list for folders, tables and shards."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from limner.core.json_text import Twice, once, parse_json
from limner.data.layouts import things_of_field
from limner.data.sources import SPLIT_NAMES, Labels, clean_captions, is_text, quoted

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "file_name": (
        *("file_name", "file", "file_path", "path", "image", "image_name", "image_file", "image_file_name", "image_path"),
        *("img", "img_name", "img_path", "picture"),
    ),
    "text": (
        *("text", "captions", "caption", "texts", "prompt", "prompts", "description", "descriptions", "sentence", "sentences", "txt"),
    ),
    "class_id": ("class_id",),
    "class_name": ("class_name",),
    "class": ("class",),
    "split": ("split",),
    "layout": ("layout",),
    "story": ("story", "story_id"),
    "frame": ("frame", "frame_number"),
    "attributes": ("attributes",),
    "categories": ("categories",),
}
"""What is read, and the names under which it is met, the first of those present counting. Capitals, blanks, _ and - do not matter."""

_ROLE = {re.sub(r"[\W_]", "", name): role for role, names in COLUMNS.items() for name in names}
_ORDER = {re.sub(r"[\W_]", "", name): place for names in COLUMNS.values() for place, name in enumerate(names)}
_LOOSE = ("story", "frame", "attributes", "categories")
"""What a column is only called by its exact name: others are too near to what tables call something else."""
CLASSES = ("class_id", "class_name", "class")
LABELS = (*CLASSES, "split")


@dataclass(frozen=True)
class Columns:
    """The columns of a table by what they hold."""

    names: Mapping[str, tuple[str, ...]]
    """For each of `COLUMNS`, the table's own names for it, the one that counts first."""
    unread: tuple[str, ...]
    """Names that say nothing to Limner."""
    problem: str | None
    """What is wrong with the names, and the fix."""

    def has(self, column: str) -> bool:
        """Whether the table has a column of this kind."""
        return column in self.names

    def value(self, fields: Mapping[str, Any], column: str) -> Any:
        """The first value under the names of a column that is not empty; else an empty one that is given; else None."""
        given = [fields[name] for name in self.names.get(column, ()) if fields.get(name) is not None]
        return next((value for value in given if value not in ("", [])), given[0] if given else None)

    def surplus(self, fields: Mapping[str, Any]) -> list[str]:
        """Names of fields that are not empty, and not read."""
        others = (name for names in self.names.values() for name in names[1:])
        return [name for name in (*self.unread, *others) if fields.get(name) not in (None, "", [])]


@lru_cache(1024)
def columns_of(names: tuple[str, ...], chosen: tuple[str, str] | None = None) -> Columns:
    """Sort the names of a table's columns, or of a JSON object's fields. chosen: the user's own for the file and the captions."""
    if chosen is not None:
        return _as_chosen(names, chosen)
    found: dict[str, list[tuple[int, str]]] = {}
    plain_names: dict[str, str] = {}
    unread, problem = [], None
    for name in names:
        plain = re.sub(r"[\W_]", "", name).casefold()
        if plain in _ROLE:
            if plain in plain_names:
                problem = problem or f"has two columns '{plain_names[plain]}' and '{name}': remove or rename one"
            plain_names[plain] = name
            found.setdefault(_ROLE[plain], []).append((_ORDER[plain], name))
        else:
            unread.append(name)
    if ("story" in found) != ("frame" in found):  # one without the other says something else
        unread += [name for role in ("story", "frame") for _, name in found.pop(role, [])]
    for name in unread:
        plain = re.sub(r"[\W_]", "", name).casefold()
        near = next((known for known in _ROLE if _one_slip_apart(plain, known) and _ROLE[known] not in (*found, *_LOOSE)), None)
        if near:
            problem = problem or f"has a column '{name}', which is nearly '{COLUMNS[_ROLE[near]][_ORDER[near]]}': rename or remove it"
    ordered = {role: tuple(name for _, name in sorted(places)) for role, places in found.items()}
    return Columns(ordered, tuple(name for name in unread if name.strip()), problem)


def _as_chosen(names: tuple[str, ...], chosen: tuple[str, str]) -> Columns:
    """The columns of a table whose user has named those of the file and the captions: other names for these mean nothing."""
    own = {"file_name": chosen[0], "text": chosen[1]}
    others = columns_of(tuple(name for name in names if name not in chosen))
    found = {role: (name,) for role, name in own.items() if name in names}
    labels = {role: given for role, given in others.names.items() if role not in own}
    unread = tuple(name for name in names if name not in chosen and not any(name in given for given in labels.values()))
    return Columns({**found, **labels}, unread, None)


_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_LIST = re.compile(rf"\s*\[\s*(?:{_QUOTED})(?:(?:\s*,\s*|\s+)(?:{_QUOTED}))*\s*,?\s*\]\s*", re.DOTALL)


def _written_list(text: str) -> list[str] | None:
    """The strings of a list that a cell holds as text, as JSON, Python or NumPy write it; None of any other text."""
    if not _LIST.fullmatch(text):
        return None
    try:
        return list(map(str, parse_json(text)))
    except ValueError:  # single quotes, or no commas
        return [re.sub(r"\\(.)", lambda escape: " " if escape[1] in "nrt" else escape[1], each[1:-1]) for each in re.findall(_QUOTED, text)]


_CLASS = columns_of(("class",))


def _one_slip_apart(one: str, other: str) -> bool:
    """Whether one letter is missing, surplus, wrong, or has changed places with its neighbour."""
    if min(len(one), len(other)) < 4 or abs(len(one) - len(other)) > 1 or one in SPLIT_NAMES or one[-1:].isdigit():
        return False
    shorter = [{word[:place] + word[place + 1 :] for place in range(len(word))} for word in (one, other)]
    return one in shorter[1] or other in shorter[0] or (len(one) == len(other) and not shorter[0].isdisjoint(shorter[1]))


def captions_of_field(value: Any) -> tuple[tuple[str, ...], str | None]:
    """The captions of a value: a string, a list of strings, or nothing; and what is wrong with them, if anything."""
    if value is None:
        return (), None
    lines = (_written_list(value) or [value]) if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        return (), "text is neither a string nor a list of strings"
    return clean_captions(lines)


def read_labels(fields: Mapping[str, Any], columns: Columns, split: str | None = None) -> Labels:
    """Split and class among the fields of a JSON object or a table's row; `split` holds where they name none."""
    problems = []
    given = columns.value(fields, "split")
    if given not in (None, ""):
        split = SPLIT_NAMES.get(str(given).strip().lower())
        if not split and str(given).strip():
            problems.append(f"unknown split {quoted(str(given).strip())} (known: train, val, test)")
    class_id, bad_id = _whole_number(columns.value(fields, "class_id"))
    class_name, bad_name = _name(columns.value(fields, "class_name"))
    other = columns.value(fields, "class")
    number, bad_number = _whole_number(other)
    name, bad_other = _name(other)
    if class_id is None and number is not None:
        class_id = number
    elif class_name is None and isinstance(other, str):
        class_name = name
    if bad_id:
        problems.append(f"class_id is {quoted(str(columns.value(fields, 'class_id')))}, not a whole number")
    if bad_name:
        problems.append(f"class_name is {quoted(str(columns.value(fields, 'class_name')))}, not a name")
    if bad_number and bad_other:
        problems.append(f"class is {quoted(str(other))}, neither a name nor a whole number")
    things, misplaced = things_of_field(columns.value(fields, "layout"))
    if misplaced:
        problems.append(misplaced)
    story, frame, wrong = _frame(columns.value(fields, "story"), columns.value(fields, "frame"))
    categories, bad_categories = _names(columns.value(fields, "categories"))
    problems += [problem for problem in (wrong, bad_categories) if problem]
    for what, names in {"class": [class_name or "", name or ""], "story": [story or ""], "categories": categories or ()}.items():
        if not is_text("".join(names)):
            problems.append(f"{what} is not UTF-8 text")
    return Labels(
        split=split,
        class_id=class_id,
        class_name=class_name,
        story=story,
        frame=frame,
        attributes=_numbers(columns.value(fields, "attributes")),
        categories=categories,
        things=things,
        problem="; ".join(problems) or None,
    )


def _frame(story: Any, frame: Any) -> tuple[str | None, int | None, str | None]:
    """The story and the number of a frame, and what is wrong with them; none of both where neither is given."""
    name, bad_name = _name(story)
    number, bad_number = _whole_number(frame)
    if bad_name:
        return None, None, f"story is {quoted(str(story))}, not a name"
    if bad_number:
        return None, None, f"frame is {quoted(str(frame))}, not a whole number"
    if number is not None and number < 0:
        return None, None, f"frame is {number}: frames count from 0 or 1"
    if (name is None) != (number is None):
        return None, None, "a story without a frame" if number is None else "a frame without a story"
    return name, number, None


def _names(value: Any) -> tuple[tuple[str, ...] | None, str | None]:
    """Names of a list, or of a text that parts them by semicolons, and what is wrong with it; none of what holds no name at all."""
    names = (_written_list(value) or value.split(";")) if isinstance(value, str) else value
    if not isinstance(names, list) or not any(isinstance(name, str) for name in names):
        return None, None
    if not all(isinstance(name, str) for name in names):
        return None, "categories is a list with names and other things"
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip())), None


def _numbers(value: Any) -> tuple[float, ...] | None:
    """The numbers of a list, or of a text with blanks or commas between them; None of anything else."""
    values = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(values, list) or not values or any(isinstance(each, bool) for each in values):
        return None
    try:
        numbers = tuple(float(each) for each in values)
    except (TypeError, ValueError):
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def read_object(content: bytes, split: str | None, captioned: bool) -> tuple[tuple[str, ...], Labels, str | None]:
    """Captions and labels of the JSON that goes with one picture, and what is wrong with it.

    split: of the picture, where the JSON names none. captioned: whether its captions stand elsewhere: those in the JSON do not count then.
    """
    try:
        fields = parse_json(content, object_pairs_hook=once)
    except Twice as error:
        return (), Labels(split=split), f"JSON that cannot be read ({error})"
    except ValueError:
        return (), Labels(split=split), "JSON that cannot be read"
    if not isinstance(fields, dict):
        return (), Labels(split=split), "JSON that is not an object"
    columns = columns_of(tuple(fields))
    captions, problem = ((), None) if captioned else captions_of_field(columns.value(fields, "text"))
    labels = read_labels(fields, columns, split)
    if columns.problem:
        problem = f"JSON that {columns.problem}".replace("a column", "a field").replace("columns", "fields")
    return () if problem else captions, labels, problem or labels.problem


def read_class(content: bytes, labels: Labels) -> Labels:
    """Labels, with the class of a `.cls` file: a number or a name. What is wrong with it, or differs from the labels, is their problem."""
    text = content.decode(errors="replace").strip()
    found = read_labels({"class": text}, _CLASS)
    problem = None if text else "empty .cls file"
    for name in ("class_id", "class_name"):
        mine, theirs = getattr(labels, name), getattr(found, name)
        if theirs is not None and mine not in (None, theirs):
            problem = "another class in its .cls file than in its JSON"
        labels = replace(labels, **{name: theirs if mine is None else mine})
    return replace(labels, problem=labels.problem or problem)


def _whole_number(value: Any) -> tuple[int | None, bool]:
    """The number, if there is one, and whether there is a value that is none. Table programs write 1 as 1.0 once a cell is empty."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, False
    if isinstance(value, str):
        if value.strip().isdecimal():
            return int(value), False
        try:
            value = math.nan if "_" in value else float(value)
        except ValueError:
            return None, True
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value != int(value):
        return None, True
    return int(value), False


def _name(value: Any) -> tuple[str | None, bool]:
    """The name, if there is one, and whether there is a value that is none."""
    if value is None:
        return None, False
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value), False
    return (value.strip() or None, False) if isinstance(value, str) else (None, True)
