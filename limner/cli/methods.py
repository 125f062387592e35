"""`limner methods`: what can be trained."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.cli.arguments import parse
from limner.core import registry

DESCRIPTION = """List what can be trained: methods that paint, models that match captions with pictures, and parts, each with its paper.

example:
  limner methods"""

HEADINGS = {
    "method": "paint what captions say",
    "matching": "match captions with pictures; others take their text encoder by --text.encoder RUN",
    "part": "are parts of others, trained by themselves",
}
"""What the built-in ones of each sort do."""


@dataclass(frozen=True, kw_only=True)
class MethodsArguments:
    """`limner methods` takes no arguments."""


def main(argv: Sequence[str]) -> int:
    parse(MethodsArguments, argv, prog="limner methods", description=DESCRIPTION)
    names, others = registry.names(), sorted({*registry.names()} - {*registry.built_in()})
    width = max(map(len, names))
    for sort, heading in HEADINGS.items():
        print(f"{heading}:")
        for name in registry.built_in(sort):
            print(f"  {name:<{width}}  {sentence(registry.file_of(name))}")
        print()
    if others:
        print("from outside Limner:")
        for name in others:
            print(f"  {name:<{width}}  {registry.source(name)}")
        print()
    print(f"settings of one: limner train {registry.built_in('method')[0]} --help")
    return 0


def sentence(path: Path) -> str:
    """The first line of a file's docstring, read without importing it: listing methods must not take torch's seconds."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
