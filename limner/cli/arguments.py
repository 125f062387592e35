"""Command lines from dataclasses: tyro does the parsing and the help; mistakes become one line."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import tyro
from tyro.conf import FlagCreatePairsOff, Positional
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from limner.core.errors import SettingsError

Arguments = TypeVar("Arguments")
NOTHING = ("none", "None")
"""How a user writes that an option has no value; the first is what help shows."""
REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _none(type_info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[None] | None:
    if type_info.type is not type(None):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=NOTHING[0],
        choices=NOTHING,
        instance_from_str=lambda args: None,
        is_instance=lambda value: value is None,
        str_from_instance=lambda value: [NOTHING[0]],
    )


@REGISTRY.primitive_rule
def _path(type_info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    if type_info.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=_path_of,
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


def _path_of(given: list[str]) -> Path:
    """A path; an empty text, such as a variable of the shell that is not set, would silently be the current folder."""
    if not given[0]:
        raise SettingsError("a path is empty (''): give a name, or . for the current folder")
    return Path(given[0])


def parse(shape: type[Arguments], argv: Sequence[str], *, prog: str, description: str, default: Arguments | None = None) -> Arguments:
    """Read a command line into an instance of the dataclass `shape`.

    prog: the command as the user types it; description: the sentence and the example that `--help` shows;
    default: an instance whose values stand where the user gives none (tyro.MISSING for what must be given).
    Raises SettingsError in one line for an unknown option (with the nearest), a bad value or a missing argument.
    """
    argv = dashed(argv)
    if not {"-h", "--help"}.intersection(argv):
        _refuse_unknown_options(shape, argv, prog, default)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            arguments, left = tyro.cli(
                shape,
                args=list(argv),
                prog=prog,
                description=description,
                default=default,
                return_unknown_args=True,
                registry=REGISTRY,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise SettingsError(f"{one_line(box.getvalue())}; see {prog} --help") from None
    if left and left[0].startswith("-"):
        raise SettingsError(f"there is no option '{left[0]}': see {prog} --help")
    if left:
        quoted = any(character.isspace() for character in left[0])  # then it is a caption, where other verbs take one
        takes_captions = quoted and "--captions" in options(shape, default)
        hint = "give captions after --captions" if takes_captions else "put quotes around text with spaces"
        raise SettingsError(f"{prog}: unexpected argument '{left[0]}': {hint}; see {prog} --help")
    assert arguments is not None
    return arguments


def dashed(argv: Sequence[str]) -> list[str]:
    """A command line whose options are spelled as help shows them: `--dry_run` is `--dry-run`. Values stay as they are."""

    def spelled(word: str) -> str:
        name, equals, value = word.partition("=")
        return name.replace("_", "-") + equals + value

    return [spelled(word) if word.startswith("--") else word for word in argv]


def options(shape: type, default: Any = None, prefix: str = "--") -> Iterator[str]:
    """Every option that a dataclass of arguments takes, nested ones included: "--training.steps"."""
    plain = get_origin(shape) or shape
    hints = get_type_hints(plain, include_extras=True)
    for field in dataclasses.fields(plain):
        notes = getattr(hints[field.name], "__metadata__", ())
        value = getattr(default, field.name, None)
        name = next((note.name for note in notes if getattr(note, "name", None)), field.name).replace("_", "-")
        if Positional in notes:
            continue
        if dataclasses.is_dataclass(value):
            yield from options(type(value), value, f"{prefix}{name}.")
            continue
        yield prefix + name
        yield from (alias for note in notes for alias in getattr(note, "aliases", None) or ())
        if isinstance(value, bool) and FlagCreatePairsOff not in notes:
            yield f"{prefix}no-{name}"


def first_positional(argv: Sequence[str]) -> str | None:
    """The first word that is neither an option nor an option's value, of a command whose options, but for --help, take one value each."""
    words = iter(argv)
    for word in words:
        if not word.startswith("-"):
            return word
        if "=" not in word and word not in ("-h", "--help"):
            next(words, None)
    return None


def _refuse_unknown_options(shape: type, argv: Sequence[str], prog: str, default: Any) -> None:
    """Name the first option that does not exist, before tyro complains of what is missing because of it."""
    known = {"--help", *options(shape, default)}
    for word in argv:
        flag = word.partition("=")[0]
        if not flag.startswith("--") or flag in known:
            continue
        nearest = difflib.get_close_matches(flag, known, n=1, cutoff=0.6) or _same_ending(flag, known)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise SettingsError(f"there is no option '{flag}': {hint}see {prog} --help")


def _same_ending(flag: str, known: set[str]) -> list[str]:
    """The grouped options that a bare name may stand for: --checkpoint-every for --training.checkpoint-every."""
    return [name for name in sorted(known) if name.partition(".")[2] == flag.removeprefix("--")]


def one_line(box: str) -> str:
    """The sentence inside one of tyro's boxed, many-line errors."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    title = lines[0].strip("╭╮─ ") if lines else ""
    inside: list[str] = []
    for line in (line.strip("│| ") for line in lines[1:]):
        if not re.fullmatch(r"[╰╯─-]{4,}", line):
            inside.append(line)
        elif inside:  # below a rule tyro repeats the help
            break
    sentence = " ".join(" ".join(inside).split())
    if title == "Required options":
        wanted = [line.split()[0] for line in inside if re.match(r"--[\w.-]+( |$)|[A-Z]+$", line)]
        return f"missing: {', '.join(wanted)}"
    match = re.match(r"Error parsing (\S+): (.*)", sentence)
    if match:
        return _bad_value(match[1], match[2])
    match = re.match(r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of \((.*?),?\)", sentence)
    if match:
        choices = [choice for choice in match[3].replace("'", "").split(", ") if choice not in NOTHING]
        return f"{match[2]} cannot be '{match[1]}': choose {' or '.join(sorted(choices))}"
    match = re.match(r"Missing value for argument '(\S+)'\. Expected (\d+)", sentence)
    if match:
        return f"{match[1]} needs {'a value' if match[2] == '1' else match[2] + ' values'}"
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def _bad_value(flag: str, reason: str) -> str:
    counts = re.search(r"input length \d+ did not match expected argument count (\d+)", reason)
    if counts:
        return f"{flag} needs {counts[1]} values"
    given = re.search(r"from \['(.*?)'\]", reason) or re.search(r": '(.*?)'", reason)
    kind = re.search(r"no type matching (\S+) could|invalid literal for (int)|could not convert string to (float)", reason)
    if not given or not kind:
        return f"{flag}: {reason}"
    words = {"INT": "a whole number", "int": "a whole number", "FLOAT": "a number", "float": "a number"}
    wanted = [words.get(part, part) for part in re.sub(r"[{}]", "", next(filter(None, kind.groups()))).split("|") if part not in NOTHING]
    return f"{flag} takes {' or '.join(wanted)}, not '{given[1]}'"
