"""What explorations share that hold a model against data: which data, which split, where to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from limner.cli.outputs import check_file
from limner.core.errors import DataError, SettingsError
from limner.core.settings import DataSettings

if TYPE_CHECKING:
    from limner.core.pictures import CaptionedPictures
    from limner.model import Model

HELD_OUT = ("test", "val")


class ReferenceData:
    """The data that a model is held against: what it was trained on, or another set.

    settings: of the run, where MODEL is a run folder and the data is its own, else the defaults. Raises SettingsError where nothing says
    what the model was trained on.
    """

    def __init__(self, name: str, model: Model, data: str | None) -> None:
        from limner.core.recipes import load_recipe
        from limner.training.trained import trained_on

        self.model, self.data = model, data or trained_on(name, model.about)
        recipe = load_recipe(Path(name) / "recipe.yaml") if (Path(name) / "recipe.yaml").is_file() else None
        self.settings = recipe.data_settings if recipe and recipe.data == self.data else DataSettings()

    def split(self, name: str) -> CaptionedPictures:
        """One split. Raises DataError where the set lacks it."""
        from limner.data.catalog import open_data

        return open_data(self.data, name, self.model.resolution, self.settings)

    def held_out(self, besides: str = "train") -> CaptionedPictures:
        """The test split, or else the val split, other than `besides`. Raises DataError where the set has neither."""
        for name in HELD_OUT:
            try:
                if name != besides:
                    return self.split(name)
            except DataError as error:
                problem = error
        raise problem

    def changed(self, training: CaptionedPictures) -> bool:
        """Whether this set has the name of what the model was trained on, and not its pictures and captions."""
        about = self.model.about
        return training.name == about.get("data") and about.get("fingerprint", training.fingerprint) != training.fingerprint


def check_drawn(given: str, **drawn: object) -> None:
    """Raise SettingsError for options that choose pictures of the data, by name, where others are given by the options named `given`."""
    for name, value in drawn.items():
        if value is not None:
            raise SettingsError(f"--{name} is for pictures of the data: leave it out with {given}")


def check_png(path: Path) -> None:
    """Raises SettingsError unless the name is a PNG's and can be written."""
    if path.suffix.lower() != ".png" or path.is_dir():
        raise SettingsError(f"--out {path}: the page is written as a picture; give a file name that ends in .png")
    check_file(path)
