"""JSON that somebody else wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any


def parse_json(text: str | bytes, *, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """What a JSON text holds. ValueError for a text that is not JSON, or nests so deeply that Python gives up (`json.loads` would raise
    RecursionError, which says nothing of the file)."""
    try:
        return json.loads(text, object_pairs_hook=object_pairs_hook)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


class Twice(ValueError):
    """An object names a field twice; the text says which."""


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object hook of `parse_json` that raises Twice where Python would keep the last of a field's values."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        raise Twice(f"it has '{next(name for name in names if names.count(name) > 1)}' twice")
    return fields
