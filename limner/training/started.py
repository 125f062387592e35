"""What a run that goes on was started with: it cannot become another method's, or another preset's."""

from __future__ import annotations

from pathlib import Path

from limner.core.errors import SettingsError
from limner.core.recipes import load_recipe
from limner.core.settings import Recipe


def started_with(out: Path, method: str, preset: str | None = None) -> Recipe | None:
    """The recipe of the run in a folder; None where there is none yet.

    method, preset: what is asked for now. Raises SettingsError where the run was started with others.
    """
    if not (out / "recipe.yaml").is_file():
        return None
    stored = load_recipe(out / "recipe.yaml")
    if stored.method != method:
        raise SettingsError(f"{out} was trained with {stored.method}, not {method}: give {stored.method}, or another folder")
    if preset and preset != stored.preset:
        raise SettingsError(f"{out} was started with preset {stored.preset}, not {preset}: leave the preset out, or give another folder")
    return stored
