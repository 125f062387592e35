"""Every command in README and docs is one that Limner understands: its verb, its options and their values. It is read, and not run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any, NoReturn

import pytest

from limner.cli import arguments, train
from limner.cli.main import main
from limner.training import starting

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(?:bash|sh|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"""^(\w+)=(".*?"|'.*?'|\S+)$""", re.MULTILINE)


class Understood(Exception):
    """The command line was read to its end."""


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command of a page, without the program's name; lines go on after a backslash, and $variables have their values."""
    known: dict[str, str] = {}
    for block in BLOCK.findall(page.read_text(encoding="utf-8")):
        text = re.sub(r"\\\n\s*", " ", block)
        text = re.sub(r'^(\w+)="([^"]*)\n\s*([^"]*)"$', r'\1="\2 \3"', text, flags=re.MULTILINE)
        known |= {name: value.strip("\"'") for name, value in ASSIGNMENT.findall(text)}
        for line in text.splitlines():
            if found := re.match(r"(?:\$ )?limner (.*)", line.strip()):
                said = Template(found[1]).safe_substitute(known)
                words = shlex.split(said, comments=True)
                yield words[: next((place for place, word in enumerate(words) if word in ("|", "&&", ">", "2>", "&", ";")), None)]


def completed(words: list[str]) -> list[str]:
    """The words with what a reader has: the dots that stand for more of the same, and what a run that goes on knows already."""
    if "..." in words and words[0] == "train":
        words = [*words, "--data", "garden", "--out", "RUN"]
    if "--resume" in words and "--data" not in words:
        words = [*words, "--data", "garden"]
    stands_for = {"METHOD": "gan-cls"}
    return [stands_for.get(word, word) for word in words if word != "..."]


@pytest.fixture
def understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let command lines be read and nothing be done."""

    def read(*given: Any, **options: Any) -> NoReturn:
        cli(*given, **options)
        raise Understood

    cli = arguments.tyro.cli
    monkeypatch.setattr(arguments.tyro, "cli", read)
    monkeypatch.setattr(train, "check_name", lambda name: None)  # of prepared sets that are not here
    monkeypatch.setattr(starting, "starting_recipe", lambda recipe, model: recipe)


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))], ids=lambda page: page.stem)
def test_every_command_of_the_docs_is_understood(page: Path, understood: None, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for words in commands(page):
        if any(word.endswith("recipe.yaml") for word in words):
            continue  # whose settings are in a file that is not here
        try:
            code = main(completed(words))
            wrong.append(f"{shlex.join(words)}: {capsys.readouterr().err.strip() or f'ended with {code} unread'}")
        except Understood:
            pass
    assert not wrong, "\n".join(wrong)
