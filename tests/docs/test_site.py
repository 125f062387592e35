"""The documentation site: nothing is missing from its navigation, links lead somewhere, and what the reference shows is documented.

`make docs` builds the site itself, and fails where Sphinx finds anything amiss; here is what can be seen without it.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from limner.core import registry

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
CARDS = sorted((ROOT / "limner" / "shipped").glob("*/README.md"))
README = ROOT / "README.md"
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
(SECTIONS,) = re.findall(r"<!-- README: (.+?) -->", (DOCS / "start.md").read_text(encoding="utf-8"))
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
    names = registry.built_in("method", "matching")
    assert not [name for name in names if PAGE_OF.get(name, name) not in LISTED]
    told = {words.split(":")[0] for _, pages in NAVIGATION for words, _ in pages}
    assert not set(names) - told, "a method is listed under its name"


def test_every_package_is_in_the_reference() -> None:
    packages = {f"limner.{path.parent.name}" for path in (ROOT / "limner").glob("*/__init__.py")}
    assert packages - {"limner.cli"} == set(PACKAGES)  # the command line explains itself: limner VERB --help


@pytest.mark.parametrize("path", [*PAGES, *CARDS, README], ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """To a file and a heading that are there, on a code host; and from a page of the site to what the site has."""
    assert not list(dead(path, path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", [DOCS / "start.md", DOCS / "shipped.md"], ids=lambda path: path.name)
def test_links_of_what_is_put_into_a_page_lead_somewhere(page: Path) -> None:
    text = on_the_site(page)
    assert len(text) > 4000 and "](../docs/" not in text and "](../../" not in text
    assert not list(dead(page, text, read=on_the_site))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a](nowhere.md)", "no such file"),
        ("![a](images/nowhere.png)", "no such file"),
        ('<img src="images/nowhere.png">', "no such file"),
        ("[a][b]\n\n[b]: nowhere.md", "no such file"),
        ('[a](nowhere.md "its title")', "no such file"),
        ("[a](#no-such-heading)", "no such heading"),
        ("[a](training.md#no-such-heading)", "no such heading"),
        ("[a](../README.md#no-such-heading)", "no such heading"),
        ("[a](../README.md#more)", "not on the site"),  # a section that start.md leaves out
        ("[a](images)", "a folder"),
        ("[a](../benchmarks)", "a folder"),
        ("[a](/docs/training.md)", "absolute"),
    ],
)
def test_links_that_lead_nowhere_are_found(text: str, reason: str) -> None:
    assert [found.rpartition(": ")[2] for found in dead(DOCS / "garden.md", f"Text.\n\n{text}\n")] == [reason]
    assert not list(dead(DOCS / "garden.md", f"Text.\n\n```\n{text}\n```\nand `{text.partition(chr(10))[0]}`.\n".replace("\n\n[b]", "")))


@pytest.mark.parametrize(
    "text", ["[a](training.md#the-run-folder)", "[a](../README.md)", "[a](../README.md#from-python)", "[a](../LICENSE)", "[a](#pairs-and-sets)"]
)
def test_links_that_lead_somewhere_are_not(text: str) -> None:
    assert not list(dead(DOCS / "garden.md", f"## Pairs (and sets)\n\n{text}\n"))


def in_the_file(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def on_the_site(path: Path) -> str:
    """A page as Sphinx gets it."""
    text = [in_the_file(path)]
    CONF.on_source_read(None, path.relative_to(DOCS).with_suffix("").as_posix(), text)
    return text[0]


def dead(path: Path, text: str, read: Callable[[Path], str] = in_the_file) -> Iterator[str]:
    """What is wrong with each link of a file that leads nowhere. What other hosts have is not looked up.

    read: gives the text of the page that a link leads to.
    """
    published = path in PAGES
    for target in links(text):
        if re.match(r"[\w+.-]+:|//", target):
            continue
        name, _, anchor = target.partition("#")
        goal = Path(os.path.normpath(path.parent / name)) if name else path
        if name.startswith("/"):
            yield f"{target}: absolute"
        elif not goal.exists():
            yield f"{target}: no such file"
        elif goal.is_dir():
            if published:
                yield f"{target}: a folder"
        elif anchor and goal.suffix == ".md" and anchor not in anchors(text if goal == path else read(goal)):
            yield f"{target}: no such heading"
        elif published and goal == README:
            if anchor and anchor not in anchors(CONF.readme_sections(SECTIONS)):
                yield f"{target}: not on the site"
        elif published and goal.suffix == ".md" and goal not in PAGES and goal not in CARDS:
            yield f"{target}: not on the site"


def prose(text: str) -> str:
    """Markdown without its fences."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """Where links and pictures lead: in brackets, as references, and in HTML."""
    text = re.sub(r"`[^`\n]+`(?!\])", "", prose(text))
    kinds = r"\]\(<?([^)\s>]+)", r"^\[[^]]+\]:\s*<?([^\s>]+)", r"\b(?:src|href)=\"([^\"]+)\""
    return [target for kind in kinds for target in re.findall(kind, text, flags=re.MULTILINE)]


def anchors(text: str) -> set[str]:
    """The anchors of a file: its headings as code hosts and MyST spell them, as deep as the site has them, and labels."""
    text, found = prose(text), []
    for heading in re.findall(rf"^#{{1,{CONF.myst_heading_anchors}}} (.+?)\s*$", text, flags=re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return {*found, *re.findall(r"^\(([\w-]+)\)=$", text, flags=re.MULTILINE)}


def test_sections_of_the_readme_are_found() -> None:
    text = CONF.readme_sections(SECTIONS)
    assert text.count("\n## ") + 1 == len(SECTIONS.split(","))
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
