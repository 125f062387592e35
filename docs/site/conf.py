"""Sphinx's settings for the documentation site: `make docs`.

The pages are the Markdown files of docs/, which read as well in a checkout. On the way, some things are made of others:

- the navigation, from the headings and tables of docs/index.md: a page that a table there links to is in it, under the link's own words;
- `<!-- README: A, B -->`: those sections of the README, in place of the line before it, which is for readers of the file;
- `<!-- cards -->`: the cards of the shipped models;
- `<!-- paint -->`: a link to `paint.html`, the shipped model as a page that paints in the reader's browser, which the build exports;
- `<!-- modules of limner.core -->`: the reference of every module of a package, from its docstrings.
"""

from __future__ import annotations

import inspect
import os
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from torch.nn import Module

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent

project = "Limner"
author = "the authors of Limner"
copyright = "the authors of Limner; MIT licence"  # noqa: A001  # Sphinx's name for it
extensions = ["myst_parser", "sphinx.ext.autodoc"]
highlight_language = "text"  # of fences that name none: command lines
exclude_patterns = ["site"]
suppress_warnings = ["ref.python"]  # a type in a signature whose bare name two modules have; the first is linked
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_inline"]
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "Limner"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_logo = "static/limner.svg"
html_favicon = "static/limner.svg"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#a3195b", "color-brand-content": "#a3195b"},
    "dark_css_variables": {"color-brand-primary": "#ff8ab8", "color-brand-content": "#ff8ab8"},
}

PAINT = "paint.html"
"""The page of the site on which the shipped model paints."""

Section = tuple[str, list[tuple[str, str]]]


def navigation(index: str) -> list[Section]:
    """The sections of docs/index.md whose tables link to pages: (heading, [(the link's words, page without .md)])."""
    sections: list[Section] = []
    for line in index.splitlines():
        if match := re.match(r"##+ (.+)", line):
            sections.append((match[1], []))
        elif match := re.match(r"\| \[([^]]+)\]\(([\w/-]+)\.md\)", line):
            sections[-1][1].append((match[1].replace("`", ""), match[2]))
    return [section for section in sections if section[1]]


def with_navigation(index: str) -> str:
    """docs/index.md with the hidden lists of pages that Sphinx makes the navigation of."""
    for heading, pages in navigation(index):
        entries = "\n".join(f"{words} <{page}>" for words, page in pages)
        index += f"\n\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{entries}\n```\n"
    return index


def readme_sections(names: str) -> str:
    """Sections of the README, with links as a page of docs/ has them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    parts = {part.partition("\n")[0]: f"## {part}" for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}
    return moved("\n".join(parts[name.strip()] for name in names.split(",")), ROOT)


def cards() -> str:
    """The cards of the shipped models, each a section that `shipped.md#card-NAME` leads to."""
    found = sorted((ROOT / "limner" / "shipped").glob("*/README.md"))
    return "\n\n".join(f"(card-{path.parent.name})=\n{demoted(moved(path.read_text(encoding='utf-8'), path.parent))}" for path in found)


def moved(text: str, folder: Path) -> str:
    """Markdown of a file in `folder`, with links as a page of docs/ has them; what stands in fences stays."""
    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    link = re.compile(r"\]\((?![\w+.-]+:|#)([^)\s]+)")
    return "".join(
        part if place % 2 else link.sub(lambda match: f"]({os.path.relpath(folder / match[1], DOCS).replace(os.sep, '/')}", part)
        for place, part in enumerate(parts)
    )


def demoted(text: str) -> str:
    """Markdown whose headings are one level lower; what stands in fences stays."""
    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if place % 2 else re.sub(r"^(#+ )", r"#\1", part, flags=re.MULTILINE) for place, part in enumerate(parts))


def modules(package: str) -> list[str]:
    """The public modules of a package and of the packages in it; the package itself where it says more than its docstring."""
    found = import_module(package)
    every = pkgutil.walk_packages(found.__path__, f"{package}.")
    inside = [module.name for module in every if not module.ispkg and not module.name.rpartition(".")[2].startswith("_")]
    return [package, *inside] if any(getattr(value, "__module__", "") == package for value in vars(found).values()) else inside


def reference(package: str) -> str:
    """A section for each module of a package, of which autodoc makes the reference."""
    return "\n\n".join(f"## `{module}`\n\n```{{eval-rst}}\n.. automodule:: {module}\n```" for module in modules(package))


def on_source_read(app: Any, page: str, content: list[str]) -> None:
    """Make of a page's text what the site has in its place."""
    text = content[0]
    text = re.sub(r"[^\n]+\n\n<!-- README: (.+?) -->", lambda match: readme_sections(match[1]), text)
    text = re.sub(r"<!-- modules of ([\w.]+) -->", lambda match: reference(match[1]), text)
    text = text.replace("<!-- cards -->", cards())
    up = "../" * page.count("/")
    text = text.replace(
        "<!-- paint -->", f'<p><a href="{up}{PAINT}">Paint in your browser</a>: the shipped model as one page, without a server.</p>'
    )
    text = re.sub(r"\]\((?:\.\./)+limner/shipped/([\w-]+)/README\.md\)", rf"]({up}shipped.md#card-\1)", text)
    text = re.sub(r"\]\((?:\.\./)+README\.md(#[\w-]+)?\)", rf"]({up}start.md\1)", text)
    content[0] = with_navigation(text) if page == "index" else text


def on_docstring(app: Any, kind: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with `code` in it, here and there an indented example, and lines like "name: what it is"."""
    if getattr(value, "__doc__", None) is None and hasattr(Module, name.rpartition(".")[2]):  # what PyTorch says of all modules
        lines.clear()
    if kind == "class" and lines and lines[0].startswith(f"{name.rpartition('.')[2]}("):  # what dataclasses write where nobody did
        lines.clear()
    lines[:] = restructured(lines)


def restructured(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText: indented examples stay as they are, and of the rest nothing but `code` is markup."""
    result: list[str] = []
    listing, example = False, False  # within "Args:", and within an example
    for line in lines:
        if line and not line.startswith(" "):
            listing = bool(re.fullmatch(r"(Args|Returns|Raises|Yields):", line))
        if listing:
            line = line.removeprefix("    ")
        blank = not result or not result[-1]
        if example and line and not line.startswith(" "):
            example = False
        if not line.strip():
            result.append("")
        elif example or (line.startswith("    ") and blank and not listing):
            result += [line] if example else ["::", "", line]
            example = True
        elif match := re.match(r"(\w[\w, .]{0,60}):( |$)" if listing else r"([a-z][\w, ]{0,60}):( )", line):
            item = f"**{match[1]}**: {escaped(line[match.end() :])}".strip()
            result += ["", item if not match[2] else f"- {item}", *([] if match[2] else [""])]
        elif line.startswith("- "):
            result += ["", f"- {escaped(line[2:])}"]
        else:
            inside = not blank and result[-1].startswith(("- ", "  "))
            result.append(f"  {escaped(line.strip())}" if inside else escaped(line.strip()))
    return [*result, ""]


def escaped(text: str) -> str:
    """Text in which only `code` is markup."""
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(
        f"``{part.strip('`')}``" + "\\ " if place % 2 else re.sub(r"([\\*|_`])", r"\\\1", part) for place, part in enumerate(parts)
    )


def without_bound_methods(app: Any, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out module names for a method of an object, such as `import_attngan = IMPORTER.write`: its class has the reference."""
    return True if what == "module" and inspect.ismethod(value) else None


def on_build_finished(app: Any, exception: Exception | None) -> None:
    """Export the shipped model as a page of the site."""
    if exception is None and app.builder.format == "html":
        from limner.cli.export import main as export

        page = Path(app.outdir) / PAINT
        page.unlink(missing_ok=True)
        if export(["garden", "--to", "page", "--out", str(page)]):
            raise RuntimeError(f"{page} was not made")


def setup(app: Any) -> None:
    app.connect("build-finished", on_build_finished)
    app.connect("source-read", on_source_read)
    app.connect("autodoc-process-docstring", on_docstring)
    app.connect("autodoc-skip-member", without_bound_methods)
