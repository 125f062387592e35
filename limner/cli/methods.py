"""`limner methods`: what can be trained."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limner import methods
from limner.cli.arguments import parse

DESCRIPTION = """List the methods that can be trained, each with its paper.

example:
  limner methods"""


@dataclass(frozen=True, kw_only=True)
class MethodsArguments:
    """`limner methods` takes no arguments."""


def main(argv: Sequence[str]) -> int:
    parse(MethodsArguments, argv, prog="limner methods", description=DESCRIPTION)
    names = methods.names()
    width = max(len(name) for name in names)
    for name in names:
        print(f"{name:<{width}}  {sentence(name)}")
    print(f"\nsettings of one: limner train {names[0]} --help")
    return 0


def sentence(name: str) -> str:
    """The first line of a method's file, read without importing it: listing methods must not take torch's seconds."""
    source = (Path(methods.__file__).parent / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
