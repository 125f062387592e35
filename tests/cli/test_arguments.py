"""Command lines from dataclasses: values, and mistakes in one line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.core.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Words:
    first: Annotated[Positional[str], arg(metavar="FIRST")]
    """The first word."""
    rest: Annotated[Positional[tuple[str, ...]], arg(metavar="REST")] = ()
    """More words."""
    count: Annotated[int, arg(aliases=("-n",))] = 1
    """How many."""
    pair: tuple[str, str] | None = None
    """Two words."""
    share: float = 0.5
    """A share."""
    limit: float | None = None
    """The most."""
    kind: Literal["round", "square"] = "round"
    """Which kind."""
    out_file: str
    """Where to."""


def read(*argv: str) -> Words:
    return parse(Words, argv, prog="limner words", description="Words.")


def test_values_arrive_typed() -> None:
    words = read("a", "b c", "-n", "3", "--out-file", "x", "--pair", "one two", "three", "--share=1e-3", "--kind", "square")
    assert words == Words(first="a", rest=("b c",), count=3, out_file="x", pair=("one two", "three"), share=0.001, kind="square")
    assert read("a", "--out_file", "x").out_file == "x"
    for nothing in ("none", "None"):
        assert read("a", "--out-file", "x", "--limit", nothing).limit is None
    assert read("a", "--out-file", "x", "--limit", "2").limit == 2.0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("a", "--outfile", "x"), "there is no option '--outfile': did you mean '--out-file'? see limner words --help"),
        (("a", "--out-file", "x", "--zzz"), "there is no option '--zzz': see limner words --help"),
        (("a", "--out-file", "x", "-z"), "there is no option '-z': see limner words --help"),
        (("a",), "missing: --out-file; see limner words --help"),
        ((), "missing: FIRST, --out-file; see limner words --help"),
        (("a", "--out-file", "x", "-n", "many"), "-n/--count takes a whole number, not 'many'; see limner words --help"),
        (("a", "--out-file", "x", "--share", "half"), "--share takes a number, not 'half'; see limner words --help"),
        (("a", "--out-file", "x", "--limit", "half"), "--limit takes a number, not 'half'; see limner words --help"),
        (("a", "--out-file", "x", "--kind", "oval"), "--kind cannot be 'oval': choose round or square; see limner words --help"),
        (("a", "--out-file", "x", "--pair", "one"), "--pair needs 2 values; see limner words --help"),
        (("a", "--out-file"), "--out-file needs a value; see limner words --help"),
    ],
)
def test_a_mistake_gets_one_line(argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(*argv)
    assert str(caught.value) == message


@dataclass(frozen=True, kw_only=True)
class Paths:
    sources: Annotated[Positional[tuple[Path, ...]], arg(metavar="SOURCE")] = ()
    """What to read."""
    out: Path | None = None
    """Where to."""


@pytest.mark.parametrize("argv", [("",), ("a", ""), ("--out", ""), ("--out=",)])
def test_an_empty_path_is_not_the_current_folder(argv: tuple[str, ...]) -> None:
    assert parse(Paths, ["a", ".", "--out", "b"], prog="limner", description="") == Paths(sources=(Path("a"), Path(".")), out=Path("b"))
    with pytest.raises(SettingsError, match=r"a path is empty \(''\): give a name, or \. for the current folder"):
        parse(Paths, argv, prog="limner", description="")


@dataclass(frozen=True, kw_only=True)
class Captions:
    captions: tuple[str, ...] = ()
    """What to paint."""


@pytest.mark.parametrize(
    ("word", "hint"), [("a red bird", "give captions after --captions"), ("red", "put quotes around text with spaces")]
)
def test_a_word_without_a_place_is_named(word: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(Captions, [word], prog="limner paint", description="Paint.")
    assert str(caught.value) == f"limner paint: unexpected argument '{word}': {hint}; see limner paint --help"


def test_help_shows_the_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        read("--help")
    assert not stop.value.code
    shown = capsys.readouterr().out
    assert "Which kind. (default: round)" in shown and "--limit none|FLOAT" in shown and "The most. (default: none)" in shown
    assert "None" not in shown
