"""Mistakes a user can fix: one line that says what, where and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable


class LimnerError(Exception):
    """A mistake in what Limner was given. The command line prints its text on one line and exits with status 2."""


class LimnerWarning(UserWarning):
    """Something that a user should know and that ends nothing. The command line prints its text on one line."""


class DataError(LimnerError):
    """Pictures or captions that cannot be used as they are."""


class SettingsError(LimnerError):
    """A setting, a name or a combination of them that does not exist or cannot work."""


class CheckpointError(LimnerError):
    """A run folder or model folder that cannot be read or written."""


class FolderInUse(LimnerError):
    """A folder in which another process is at work."""


class TrainingError(LimnerError):
    """A training that cannot go on."""


def by_other_names(error: SettingsError, settings: Iterable[str], name: Callable[[str], str]) -> SettingsError:
    """The error with some of a method's settings called as they were asked for: by an option, or by the label of a field."""
    told = str(error)
    for setting in sorted(settings, key=len, reverse=True):  # truncation-layers before truncation
        told = told.replace(f"method.{setting.replace('_', '-')}", name(setting))
    return SettingsError(told)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> SettingsError:
    """The error for a name that does not exist: it offers the nearest one and lists the rest."""
    names = sorted(known)
    if not isinstance(name, str):  # in Python anything may be given
        return SettingsError(f"there is no {kind} {name!r}: give one of {', '.join(names)}")
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    return SettingsError(f"there is no {kind} '{name}': {hint}known: {', '.join(names)}")


def in_words(error: BaseException) -> str:
    """What went wrong, for a line that goes on after it: a bug's kind is named, since its text alone says little."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, LimnerError) else f"{type(error).__name__}: {text}"
