"""What an exploration says of a model that lacks what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limner.core.errors import SettingsError

if TYPE_CHECKING:
    from limner.model import Model


def lacking(model: Model, otherwise: str) -> SettingsError:
    """The error for a model that lacks an ability: `otherwise`; of an exported file, whatever its method can do, what to give instead."""
    if model.method.exported:
        return SettingsError("an exported file paints captions and does nothing else: give the run or model folder that it was made of")
    return SettingsError(otherwise)
