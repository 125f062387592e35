"""Everything that can be trained, by name: found by file name, so that listing it imports nothing.

A built-in one is a file in `limner/methods`, `limner/matching/models` or `limner/parts`; its name is the file's, with dashes for
underscores. Methods from outside come from a Python file that the user gives (`register_file`, `limner --with FILE`, or the environment
variable LIMNER_METHODS) or from an installed package (an entry point of the group `limner.methods`).

Code runs only where the user has named its file or installed it. Recipes and saved folders say what they need by its name, and nothing in
them is ever executed.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import shutil
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from limner.core.errors import SettingsError, unknown_name

if TYPE_CHECKING:
    from limner.core.trainable import Trainable

VARIABLE = "LIMNER_METHODS"
"""Environment variable with the paths of files that hold a method each, joined as PATH is; processes that a run starts inherit it."""
GROUP = "limner.methods"
"""Entry points in which an installed package names its methods: `my-method = "my_package.my_method:MyMethod"`."""
NEEDED = ("Settings", "title", "paper", "presets")
"""What the class of anything that can be trained must say of itself."""

ROOMS = {"method": "methods", "matching": "matching/models", "part": "parts"}
"""Where the built-in files of each sort lie, below the package."""
HOUSE = Path(__file__).parents[1]

_registered: dict[str, Path] = {}


def names(*sorts: str) -> list[str]:
    """The names of all that can be trained, or of these sorts ("method", "matching", "part"), in order; nothing is imported.

    Raises SettingsError for a given file that cannot be used.
    """
    outside = {*_files(), *installed()} if not sorts or "method" in sorts else set()
    return sorted({*outside, *built_in(*sorts)})


def built_in(*sorts: str) -> list[str]:
    """The names of what is part of Limner."""
    return sorted(name for sort in (sorts or ROOMS) for name in _room(sort))


def get(name: str, *sorts: str) -> type[Trainable]:
    """A class by its name. Raises SettingsError, with the nearest name, where there is none."""
    for sort in sorts or ROOMS:
        if name in _room(sort):
            module = importlib.import_module(".".join(("limner", *ROOMS[sort].split("/"), name.replace("-", "_"))))
            return defined(module)[0]
    if not sorts or "method" in sorts:
        if name in (files := _files()):
            return _from_file(files[name])
        if name in (packages := installed()):
            return _from_package(packages[name])
    raise unknown_name(" or ".join(sorts) or "method", name, names(*sorts))


def file_of(name: str) -> Path:
    """The source file of something built in."""
    return next(path for sort in ROOMS if (path := _room(sort).get(name)))


def source(name: str) -> str | None:
    """Where something from outside comes from: a file's name, or a package with its version; None for what is built in or unknown."""
    if name in built_in():
        return None
    if name in (files := _files()):
        return files[name].name
    return source_of(point) if (point := installed().get(name)) else None


def register_file(path: Path | str) -> str:
    """Know the method that a Python file defines, in this process, and return its name: the file's, with dashes for underscores.

    The file runs when the method is first asked for; one that is given again is read again. Raises SettingsError where there is no such
    file, or its name is that of something built in.
    """
    path = Path(path)
    name = name_of(path)
    _registered[name] = path
    sys.modules.pop(_module_name(path), None)
    try:
        _files()
    except SettingsError:
        _registered.pop(name, None)
        raise
    return name


def name_of(path: Path) -> str:
    """The name of what a file defines: the file's, with dashes for underscores."""
    return path.stem.replace("_", "-")


def name_of_class(made: type) -> str:
    """The name by which a class of something that can be trained is found again. Raises SettingsError where it is not known by one."""
    for name, point in installed().items():
        if point.value == f"{made.__module__}:{made.__qualname__}":
            return name
    try:
        path = Path(inspect.getfile(made))
    except (OSError, TypeError):  # made in a notebook
        path = Path("a notebook")
    if (name := name_of(path)) in names():
        return name
    fix = "put it into a file and call limner.methods.register_file(FILE)"
    raise SettingsError(f"{made.__qualname__} is defined in {path}, and models are found again by the name of a method: {fix}")


def installed() -> dict[str, EntryPoint]:
    """The methods of installed packages, by name; none is imported."""
    return {point.name: point for point in entry_points(group=GROUP)}


def source_of(point: EntryPoint) -> str:
    """The package of an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.module


def given_file(name: str) -> Path | None:
    """The file that the user has given for a method, if there is one."""
    return _files().get(name)


def defined(module: ModuleType) -> list[type[Trainable]]:
    """What a module defines that can be trained, in order; not what it imports, and not what only others derive from."""
    from limner.core.trainable import Trainable

    classes = [value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, Trainable)]
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
    path = _files().get(name)
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


def _room(sort: str) -> dict[str, Path]:
    folder = HOUSE.joinpath(*ROOMS[sort].split("/"))
    return {name_of(path): path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")}


def _files() -> dict[str, Path]:
    """The files that were given, by the name of their method. Raises SettingsError for one that cannot be used."""
    named = [Path(entry) for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
    given = {name_of(path): path for path in named} | _registered
    for name, path in given.items():
        if path.suffix != ".py" or not path.is_file():
            raise SettingsError(f"there is no Python file {path}: give the path of a file that holds a method, such as my_method.py")
        if name in built_in():
            raise SettingsError(f"{path} cannot be a method '{name}': Limner has one of that name; rename the file")
    return given


def _from_file(path: Path) -> type[Trainable]:
    """Run a file, once, and return what it defines. Raises SettingsError where that is nothing, or several."""
    name = _module_name(path)
    module = sys.modules.get(name)
    if module is None or module.__file__ != str(path.resolve()):
        module = _run(name, path.resolve())
    made = defined(module)
    if len(made) != 1:
        found = f"{len(made)} methods ({', '.join(one.__name__ for one in made)})" if made else "no method"
        raise SettingsError(f"{path} holds {found}: define one class that is derived from limner.Method")
    return _whole(made[0], str(path))


def _from_package(point: EntryPoint) -> type[Trainable]:
    """Import the method that an installed package names. Raises SettingsError where it names something else."""
    from limner.core.trainable import Trainable

    made = point.load()
    if not (inspect.isclass(made) and issubclass(made, Trainable)):
        where = f"the entry point '{point.name}' of {source_of(point)}"
        raise SettingsError(f"{where} is not a method: name a class derived from limner.Method")
    return _whole(made, source_of(point))


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


def _whole(made: type[Trainable], source: str) -> type[Trainable]:
    missing = [name for name in NEEDED if not hasattr(made, name)]
    if missing:
        raise SettingsError(f"{made.__name__} of {source} has no {', '.join(missing)}: a method's class sets {', '.join(NEEDED)}")
    for preset in ("cpu", "as-published"):
        if preset not in made.presets:
            raise SettingsError(f"{made.__name__} of {source} has no preset '{preset}': give it 'cpu' and 'as-published'")
    return made
