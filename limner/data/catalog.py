"""Data sets by name or folder."""

from __future__ import annotations

from pathlib import Path

from limner.core.errors import DataError, unknown_name
from limner.core.pictures import CaptionedPictures
from limner.core.settings import DataSettings
from limner.core.worlds import BUILT_IN, WORLDS
from limner.data.built_in import BouquetPictures, GardenPictures, StoryPictures
from limner.data.garden import Garden
from limner.data.garden.bouquets import Bouquets
from limner.data.garden.stories import FRAMES, Stories
from limner.data.prepared import open_prepared

__all__ = ["BUILT_IN", "BouquetPictures", "GardenPictures", "StoryPictures", "check_name", "open_data"]


def open_data(name: str, split: str, resolution: int, settings: DataSettings | None = None, length: int | None = None) -> CaptionedPictures:
    """Open one split of a built-in set by name, or of a prepared set by folder.

    length: how many pictures a built-in set paints; by default `settings.garden_pictures` in the train split, its own number in the others.
    Raises DataError, saying what to do, for a folder that is not prepared, and SettingsError for a name that does not exist.
    """
    settings = settings or DataSettings()
    if name in BUILT_IN:
        if length is None and split == "train":
            length = settings.garden_pictures
        holds = WORLDS[name].holds
        if holds == "attributes":
            return GardenPictures(Garden(split, length=length, resolution=resolution))
        if holds == "stories":
            return StoryPictures(Stories(split, length=None if length is None else max(length // FRAMES, 1), resolution=resolution))
        return BouquetPictures(Bouquets(split, length=length, resolution=resolution))
    check_name(name)
    return open_prepared(Path(name), split, resolution)


def check_name(name: str) -> None:
    """Raise LimnerError for what is neither a built-in set nor a folder that is there."""
    if name in BUILT_IN or Path(name).exists():
        return
    if Path(name).parent == Path("."):
        raise unknown_name("data set or folder", name, BUILT_IN)
    raise DataError(f"there is no folder {name}: give one that `limner data prepare` wrote, or {' or '.join(BUILT_IN)}")
