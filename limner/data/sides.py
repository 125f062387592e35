"""Words of left and right, which mirroring makes false."""

from __future__ import annotations

from collections.abc import Iterable

_ENDINGS = ("", "most", "hand", "handed", "ward", "wards")
SPEAKS_OF_SIDES = frozenset(f"{side}{ending}" for side in ("left", "right") for ending in _ENDINGS)


def is_sided(words: Iterable[str], side: str | None = None) -> bool:
    """Whether some of a caption's words speak of left or right, or of one of the two."""
    return any(word in SPEAKS_OF_SIDES and (side is None or word.startswith(side)) for word in words)
