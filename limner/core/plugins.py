"""Methods from outside the package: from a Python file that the user gives, or from an installed package.

Code runs only where the user has named its file or installed it. Recipes and model folders say which method they need by its name, and
nothing in them is ever executed.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import shutil
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from limner.core.errors import SettingsError

if TYPE_CHECKING:
    from limner.core.method import Method

VARIABLE = "LIMNER_METHODS"
"""Environment variable with the paths of files that hold a method each, joined as PATH is; processes that a run starts inherit it."""
GROUP = "limner.methods"
"""Entry points in which an installed package names its methods: `my-method = "my_package.my_method:MyMethod"`."""
NEEDED = ("Settings", "title", "paper", "presets")
"""What a method's class must say of itself."""

_registered: dict[str, Path] = {}


def name_of(path: Path) -> str:
    """The name of the method in a file: the file's, with dashes for underscores."""
    return path.stem.replace("_", "-")


def register(path: Path) -> str:
    """Know the method of a file by the file's name, and return that name. A file that is given again is read again."""
    name = name_of(path)
    _registered[name] = path
    sys.modules.pop(_module_name(path), None)
    return name


def forget(name: str) -> None:
    """Undo `register`."""
    _registered.pop(name, None)


def files() -> dict[str, Path]:
    """The files that were given, by the name of their method. Raises SettingsError for one that is no Python file."""
    named = [Path(entry) for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
    given = {name_of(path): path for path in named} | _registered
    for path in given.values():
        if path.suffix != ".py" or not path.is_file():
            raise SettingsError(f"there is no Python file {path}: give the path of a file that holds a method, such as my_method.py")
    return given


def installed() -> dict[str, EntryPoint]:
    """The methods of installed packages, by name; none is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def from_file(path: Path) -> type[Method]:
    """Run a file, once, and return the method that it defines. Raises SettingsError where it defines none, or several."""
    name = _module_name(path)
    module = sys.modules.get(name)
    if module is None or module.__file__ != str(path.resolve()):
        module = _run(name, path.resolve())
    made = defined(module)
    if len(made) != 1:
        found = f"{len(made)} methods ({', '.join(one.__name__ for one in made)})" if made else "no method"
        raise SettingsError(f"{path} holds {found}: define one class that is derived from limner.Method")
    return _whole(made[0], str(path))


def from_package(point: EntryPoint) -> type[Method]:
    """Import the method that an installed package names. Raises SettingsError where it is none."""
    from limner.core.method import Method

    made = point.load()
    if not (inspect.isclass(made) and issubclass(made, Method)):
        raise SettingsError(f"the entry point '{point.name}' of {source_of(point)} is no method: name a class derived from limner.Method")
    return _whole(made, source_of(point))


def source_of(point: EntryPoint) -> str:
    """The package of an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.module


def defined(module: ModuleType) -> list[type[Method]]:
    """The methods that a module defines, in order; not those that it imports."""
    from limner.core.method import Method

    classes = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, Method)]
    return [value for value in dict.fromkeys(classes) if value.__module__ == module.__name__]


def how_to_give(source: str) -> str:
    """What to do where a method from outside is needed and is not there."""
    if source.endswith(".py"):
        return f"give that file: limner --with {source} VERB ..., or limner.methods.register_file('{source}') in Python"
    return f"install {source}"


def keep_copy(name: str, folder: Path) -> bool:
    """Keep a copy of the method's file in a run folder, if the method comes from a file.

    Returns False where another version of the file is kept there already, which stays.
    """
    path = files().get(name)
    if path is None:
        return True
    copy = folder / path.name
    if copy.exists():
        return copy.read_bytes() == path.read_bytes()
    shutil.copyfile(path, copy)
    return True


def kept_copy(name: str, folder: Path) -> Path | None:
    """The copy of a method's file in a run folder, if there is one."""
    return next((path for path in sorted(folder.glob("*.py")) if name_of(path) == name), None)


def _module_name(path: Path) -> str:
    return f"limner_method_files.{path.stem}"


def _run(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for what their annotations mean
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _whole(made: type[Method], source: str) -> type[Method]:
    missing = [name for name in NEEDED if not hasattr(made, name)]
    if missing:
        raise SettingsError(f"{made.__name__} of {source} has no {', '.join(missing)}: a method's class sets {', '.join(NEEDED)}")
    for preset in ("cpu", "as-published"):
        if preset not in made.presets:
            raise SettingsError(f"{made.__name__} of {source} has no preset '{preset}': give it 'cpu' and 'as-published'")
    return made
