"""One file per paper. A method's name is its file's name, with dashes for underscores, so that listing them imports nothing."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING

from limner.core.errors import unknown_name

if TYPE_CHECKING:
    from limner.core.method import Method


def names() -> list[str]:
    """The names of all methods, found without importing one."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def get(name: str) -> type[Method]:
    """The class of a method, by name. Raises SettingsError, with the nearest name, where there is none."""
    from limner.core.method import Method

    if name not in names():
        raise unknown_name("method", name, names())
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    return next(
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Method) and value.__module__ == module.__name__
    )


def settings_class(name: str) -> type:
    """The settings dataclass of a method, by name."""
    return get(name).Settings
