"""One file per paper. A method's name is its file's name, with dashes for underscores, so that listing them imports nothing.

Methods from outside the package stand beside these: from files that the user gives (`register_file`, `limner --with FILE`, or the
environment variable LIMNER_METHODS), and from installed packages (entry points of the group `limner.methods`).
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from limner.core import plugins
from limner.core.errors import SettingsError, unknown_name

if TYPE_CHECKING:
    from limner.core.method import Method


def names() -> list[str]:
    """The names of all methods, found without importing one. Raises SettingsError for a given file that cannot be used."""
    return sorted({*built_in(), *_files(), *plugins.installed()})


def built_in() -> list[str]:
    """The names of the methods that are part of Limner."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def get(name: str) -> type[Method]:
    """The class of a method, by name. Raises SettingsError, with the nearest name, where there is none."""
    if name in built_in():
        return plugins.defined(importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))[0]
    if name in (files := _files()):
        return plugins.from_file(files[name])
    if name in (packages := plugins.installed()):
        return plugins.from_package(packages[name])
    raise unknown_name("method", name, names())


def settings_class(name: str) -> type:
    """The settings dataclass of a method, by name."""
    return get(name).Settings


def register_file(path: Path | str) -> str:
    """Know the method that a Python file defines, in this process, and return its name: the file's, with dashes for underscores.

    The file runs when the method is first asked for; one that is given again is read again. Raises SettingsError where there is no such
    file, or its name is that of a method of Limner's own.
    """
    name = plugins.register(Path(path))
    try:
        _files()
    except SettingsError:
        plugins.forget(name)
        raise
    return name


def source(name: str) -> str | None:
    """Where a method from outside comes from: a file's name, or a package with its version; None for Limner's own and for no method."""
    if name in built_in():
        return None
    if name in (files := _files()):
        return files[name].name
    return plugins.source_of(point) if (point := plugins.installed().get(name)) else None


def _files() -> dict[str, Path]:
    from limner.matching import registry

    files = plugins.files()
    for name, path in files.items():
        if name in built_in() or name in registry.names():
            raise SettingsError(f"{path} cannot be a method '{name}': Limner has one of that name; rename the file")
    return files
