"""What is asked for in Python: whole numbers, places and devices. The error says which argument is wrong, and what to give."""

from __future__ import annotations

import operator
import os
from typing import TYPE_CHECKING, Any

from limner.core.errors import SettingsError

if TYPE_CHECKING:
    import torch

HIGHEST_SEED = 2**63 - 1
"""The largest seed."""


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The whole number that an argument of this name holds. Raises SettingsError for anything else, and for one out of bounds."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError):  # the latter from tensors of several numbers
        number = None
    if number is None or number < least or (most is not None and number > most):
        bounds = f", at least {least:,}"
        if most is not None:
            bounds = f" from {least:,} to {'2^63 - 1' if most == HIGHEST_SEED else f'{most:,}'}"
        raise SettingsError(f"{name} is {value!r}: give a whole number{bounds}")
    return number


def place(name: str, value: Any, wanted: str) -> str | os.PathLike[str]:
    """The name or path that an argument of this name holds. Raises SettingsError, with what is wanted, for anything else."""
    if isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)):
        return value
    raise SettingsError(f"{name} is {value!r}: give {wanted}")


def one_seed(value: Any) -> int:
    """A single seed. Raises SettingsError for anything but a whole number from 0 to 2^63 - 1."""
    return whole_number("the seed", value, 0, HIGHEST_SEED)


def usable_device(device: Any) -> torch.device:
    """The device of this name, such as "cpu", "cuda" or "cuda:1". Raises SettingsError where PyTorch has none such here."""
    import torch

    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise SettingsError(f"device is {device!r}, which is none of PyTorch's: give 'cpu' or 'cuda'") from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise SettingsError(f"device is {found}, but PyTorch sees no GPU here: use cpu")
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, ImportError):
        raise SettingsError(f"device is {found}, but PyTorch cannot use one here: use cpu") from None
    return found
