"""The documentation site: nothing is missing from its navigation, links lead somewhere, and what the reference shows is documented.

`make docs` builds the site itself, and fails where Sphinx finds anything amiss; here is what can be seen without it.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from limner import methods
from limner.matching import registry

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if DOCS / "models" not in path.parents)
PAGE_OF = {"sje": "char-cnn-rnn"}
"""Matching models whose page bears another name: that of the paper's system."""


def load_conf() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_conf", DOCS / "site" / "conf.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CONF = load_conf()
NAVIGATION = CONF.navigation((DOCS / "index.md").read_text(encoding="utf-8"))
LISTED = [page for _, pages in NAVIGATION for _, page in pages]
PACKAGES = sorted(
    package
    for path in (DOCS / "reference").glob("*.md")
    for package in re.findall(r"<!-- modules of ([\w.]+) -->", path.read_text(encoding="utf-8"))
)
MODULES = sorted({"limner", *(module for package in PACKAGES for module in CONF.modules(package))})


def test_every_page_is_in_the_navigation_once() -> None:
    pages = [path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES]
    assert sorted(LISTED) == sorted(set(pages) - {"index"}), "docs/index.md lists the pages of the site in its tables"


def test_every_method_and_matching_model_has_its_page_there() -> None:
    names = [*methods.built_in(), *registry.names()]
    assert not [name for name in names if PAGE_OF.get(name, name) not in LISTED]
    told = {words.split(":")[0] for _, pages in NAVIGATION for words, _ in pages}
    assert not set(names) - told, "a method is listed under its name"


def test_every_package_is_in_the_reference() -> None:
    packages = {f"limner.{path.parent.name}" for path in (ROOT / "limner").glob("*/__init__.py")}
    assert packages - {"limner.cli"} == set(PACKAGES)  # the command line explains itself: limner VERB --help


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text) if not re.match(r"\w+:", target)]
    assert not [target for target in targets if not (path.parent / target).exists()]


def test_sections_of_the_readme_are_found() -> None:
    start = (DOCS / "start.md").read_text(encoding="utf-8")
    (names,) = re.findall(r"<!-- README: (.+?) -->", start)
    text = CONF.readme_sections(names)
    assert text.count("\n## ") + 1 == len(names.split(","))
    assert "](docs/" not in text and "](data.md)" in text


@pytest.mark.parametrize("name", MODULES)
def test_what_the_reference_shows_is_documented(name: str) -> None:
    module = import_module(name)
    assert inspect.getdoc(module), f"{name} has no docstring"
    assert not [what for what, told in shown(module) if not told], f"public names of {name} without a docstring"


def shown(module: ModuleType) -> Iterator[tuple[str, bool]]:
    """The public names that a module defines, and whether each has a docstring, be it that of what it overrides."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(value):
            yield name, bool(value.__doc__)
        elif inspect.isclass(value):
            told = value.__doc__ or ""
            yield name, bool(told) and not told.startswith(f"{name}(")  # what dataclasses write where nobody did
            for part, member in vars(value).items():
                function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if inspect.isfunction(function) and function.__name__ == part and not part.startswith("_"):
                    yield f"{name}.{part}", bool(inspect.getdoc(getattr(value, part)))


def test_docstrings_become_plain_text_with_code_in_it() -> None:
    lines = ["A *mean* of |x|, as `f(x)` has_it.", "", "    example *as it* stands", "", "size: in pixels,", "of one side.", "- and [B, *shape]"]
    assert CONF.restructured(lines) == [
        "A \\*mean\\* of \\|x\\|, as ``f(x)``\\  has\\_it.",
        "",
        "::",
        "",
        "    example *as it* stands",
        "",
        "",
        "- **size**: in pixels,",
        "  of one side.",
        "",
        "- and [B, \\*shape]",
        "",
    ]
