"""Rows in parts: what is painted at a time."""

from __future__ import annotations

PAINTED = 64
"""Pictures that are painted at a time."""


def parts(count: int, size: int = PAINTED) -> list[slice]:
    """Slices of at most `size` rows each, that together are `count` rows."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
