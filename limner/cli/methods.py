"""`limner methods`: what can be trained, and what it can do. Read from source files alone: a listing must not take torch's seconds."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from limner.cli.arguments import parse
from limner.core import registry

DESCRIPTION = """List what can be trained: methods that paint, models that match captions with pictures, and parts of runs, each with its
paper and with what it can do.

example:
  limner methods"""

SECTIONS = {
    "method": "paint what captions say",
    "matching": "match captions with pictures; others take their text encoder by --text.encoder RUN",
    "part": "parts that methods and scores rely on",
}
"""The sorts of the registry, each with its heading."""
PROTOCOLS = registry.HOUSE / "core" / "abilities.py"


@dataclass(frozen=True, kw_only=True)
class MethodsArguments:
    """`limner methods` takes no arguments."""


def main(argv: Sequence[str]) -> int:
    parse(MethodsArguments, argv, prog="limner methods", description=DESCRIPTION)
    built_in = {sort: registry.built_in(sort) for sort in SECTIONS}
    outside = sorted({*registry.names()} - {*registry.built_in()})
    width = max(len(name) for name in (*outside, *registry.built_in()))
    met: set[str] = set()
    for sort, heading in SECTIONS.items():
        print(f"{heading}:")
        for name in built_in[sort]:
            file = registry.file_of(name)
            able = [word for word in abilities(file) if word != "paints"]
            met.update(able)
            print(f"  {name:<{width}}  {sentence(file)}" + (f" [{', '.join(able)}]" if able else ""))
        print()
    if outside:
        print("from outside Limner:")
        for name in outside:
            print(f"  {name:<{width}}  {registry.source(name)}")
        print()
    print("in brackets, what a model can do besides:")
    for word, (said, _) in known_abilities().items():
        if word in met:
            print(f"  {word:<{width}}  {said}")
    print(f"\nsettings of one: limner train {built_in['method'][0]} --help")
    return 0


def sentence(path: Path) -> str:
    """The first line of a file's docstring."""
    return _first_line(_tree(path))


def abilities(path: Path) -> list[str]:
    """The abilities, as `limner.core.abilities` lists them, of what a built-in file defines: those whose functions it has or inherits."""
    classes = [node.name for node in _tree(path).body if isinstance(node, ast.ClassDef)]
    trained = next(name for name in classes if "Trainable" in _ancestry(path, name))
    members = {member for names in _ancestry(path, trained).values() for member in names}
    return [word for word, (_, needed) in known_abilities().items() if needed <= members]


@lru_cache
def known_abilities() -> dict[str, tuple[str, frozenset[str]]]:
    """Each ability by the word that lists it: its sentence, and the names that it asks for."""
    body = _tree(PROTOCOLS).body
    protocols = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    listed = next(node.value for node in body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "ABILITIES")
    assert isinstance(listed, ast.Dict)
    found = {}
    for word, protocol in zip(listed.keys, listed.values, strict=True):
        assert isinstance(word, ast.Constant) and isinstance(protocol, ast.Name)
        node = protocols[protocol.id]
        found[str(word.value)] = (_first_line(node), frozenset(_members(node)))
    return found


def _ancestry(path: Path, name: str) -> dict[str, list[str]]:
    """The members of a class and of all that it derives from within Limner, by class."""
    tree = _tree(path)
    node = next((node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), None)
    if node is None:
        origin = next((_home(line) for line in tree.body if isinstance(line, ast.ImportFrom) and _imports(line, name)), None)
        return _ancestry(origin, name) if origin is not None else {}
    found = {name: _members(node)}
    for base in node.bases:
        base = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(base, ast.Name):
            found |= _ancestry(path, base.id)
    return found


def _members(node: ast.ClassDef) -> list[str]:
    """The public functions and annotated attributes that a class itself has."""
    functions = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
    attributes = [ast.unparse(item.target) for item in node.body if isinstance(item, ast.AnnAssign)]
    return [name for name in (*functions, *attributes) if not name.startswith("_")]


def _imports(line: ast.ImportFrom, name: str) -> bool:
    return (line.module or "").startswith("limner.") and any(alias.name == name for alias in line.names)


def _home(line: ast.ImportFrom) -> Path:
    return registry.HOUSE.joinpath(*str(line.module).split(".")[1:]).with_suffix(".py")


@lru_cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _first_line(node: ast.Module | ast.ClassDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]
