"""Initial weights that nobody will use need not be drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOADED_NEXT: ContextVar[bool] = ContextVar("weights are loaded next", default=False)


@contextmanager
def weights_loaded_next() -> Iterator[None]:
    """Within the block, costly initialisations leave PyTorch's own weights, because others are loaded next."""
    token = _LOADED_NEXT.set(True)
    try:
        yield
    finally:
        _LOADED_NEXT.reset(token)


def are_loaded_next() -> bool:
    """Whether the code runs within `weights_loaded_next`."""
    return _LOADED_NEXT.get()
