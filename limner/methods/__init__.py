"""One file per paper. A method's name is its file's name, with dashes for underscores, so that listing them imports nothing.

These functions are `limner.core.registry`'s, for methods that paint alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from limner.core import registry
from limner.core.registry import register_file, source

if TYPE_CHECKING:
    from limner.core.method import Method

__all__ = ["built_in", "get", "names", "register_file", "settings_class", "source"]


def names() -> list[str]:
    """The names of all methods, found without importing one. Raises SettingsError for a given file that cannot be used."""
    return registry.names("method")


def built_in() -> list[str]:
    """The names of the methods that are part of Limner."""
    return registry.built_in("method")


def get(name: str) -> type[Method]:
    """The class of a method, by name. Raises SettingsError, with the nearest name, where there is none."""
    return cast("type[Method]", registry.get(name, "method"))


def settings_class(name: str) -> type:
    """The settings dataclass of a method, by name."""
    return get(name).Settings
