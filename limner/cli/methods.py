"""`limner methods`: what can be trained."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limner import methods
from limner.cli.arguments import parse
from limner.matching import registry

DESCRIPTION = """List what can be trained: methods that paint, and models that match captions with pictures, each with its paper.

example:
  limner methods"""


@dataclass(frozen=True, kw_only=True)
class MethodsArguments:
    """`limner methods` takes no arguments."""


def main(argv: Sequence[str]) -> int:
    parse(MethodsArguments, argv, prog="limner methods", description=DESCRIPTION)
    names, others = methods.built_in(), sorted({*methods.names()} - {*methods.built_in()})
    width = max(len(name) for name in (*names, *others, *registry.names()))
    print("paint what captions say:")
    for name in names:
        file = Path(methods.__file__).parent / f"{name.replace('-', '_')}.py"
        print(f"  {name:<{width}}  {sentence(file)}")
    print("\nmatch captions with pictures; others take their text encoder by --text.encoder RUN:")
    for name in registry.names():
        print(f"  {name:<{width}}  {sentence(registry.source(name))}")
    if others:
        print("\nfrom outside Limner:")
    for name in others:
        print(f"  {name:<{width}}  {methods.source(name)}")
    print(f"\nsettings of one: limner train {names[0]} --help")
    return 0


def sentence(path: Path) -> str:
    """The first line of a file's docstring, read without importing it: listing methods must not take torch's seconds."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
