"""The house has floors: a package imports only from those below it, so that each can be read, and replaced, without what stands above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import limner

HOUSE = Path(limner.__file__).parent
FLOORS = [
    {"core"},
    {"nn"},
    {"text", "features"},
    {"data"},
    {"matching"},
    {"families"},
    {"methods", "parts"},
    {"model"},
    {"metrics"},
    {"training"},
    {"explore", "report", "interop", "export"},
    {"studio", "study"},
    {"cli"},
]
HEIGHT = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
PACKAGES = sorted(path.name for path in HOUSE.iterdir() if (path / "__init__.py").exists())


def imported(path: Path) -> Iterator[str]:
    """The packages of Limner that a file imports, wherever in it; what only type checkers read counts too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"limner.{alias.name}" for alias in node.names] if node.module == "limner" else [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("limner."))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down(package: str) -> None:
    wrong = {
        f"{path.relative_to(HOUSE).as_posix()} imports limner.{other}"
        for path in (HOUSE / package).rglob("*.py")
        for other in imported(path)
        if other in PACKAGES and other != package and HEIGHT[other] >= HEIGHT[package]
    }
    assert not wrong


def test_a_method_never_imports_another() -> None:
    for path in (HOUSE / "methods").glob("*.py"):
        assert path.name == "__init__.py" or "methods" not in imported(path), path


@pytest.mark.parametrize("path", sorted(HOUSE.rglob("*.py")), ids=lambda path: str(path.relative_to(HOUSE)))
def test_a_file_holds_one_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
