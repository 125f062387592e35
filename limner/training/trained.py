"""What training leaves behind: a run's whole method, the networks that judge as well as those that paint, and what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.core.errors import CheckpointError, DataError, SettingsError
from limner.core.method import Method
from limner.core.pictures import CaptionedPictures
from limner.core.recipes import load_recipe
from limner.core.settings import DataSettings
from limner.data.catalog import BUILT_IN, open_data
from limner.data.part import PartOfPictures
from limner.data.reduced import at_resolution
from limner.metrics.scoring import survey
from limner.model import load
from limner.training.checkpoints import Checkpoints
from limner.training.inputs import data_of


def trained_method(run: Path | str) -> Method:
    """The whole method of a run, from its newest checkpoint, on the CPU and in evaluation mode.

    Model folders hold only what paints, so discriminators and critics are here alone. All weights are the last ones of training, the
    generator's too: paint with `limner.load`, which has their running average. Raises CheckpointError where the run has no checkpoint of
    its method.
    """
    run = Path(run)
    if not (run / "recipe.yaml").exists():
        raise CheckpointError(f"{run} is not a run folder (no recipe.yaml), and discriminators are in a run's checkpoints: give the run")
    state = Checkpoints(run).load()
    if state is None:
        raise CheckpointError(f"{run} has no whole checkpoint, which would hold its discriminator: go on with `limner train --resume`")
    if "method" not in state["modules"]:
        raise CheckpointError(f"{run} has trained its text encoder alone so far: go on with `limner train --resume`")
    method = load(run).method  # built as its settings say; every weight is replaced
    try:
        method.load_state_dict(state["modules"]["method"])
    except RuntimeError as error:
        raise CheckpointError(f"the newest checkpoint in {run} does not fit its model: use the Limner that wrote them") from error
    return method


def trained_on(name: str, about: Mapping[str, Any]) -> str:
    """The data that a model was trained on, as `open_data` takes it.

    name: the run or model; about: what its config.json knows of its making. Raises SettingsError where nothing says so, or where it is
    not here.
    """
    recipe = Path(name) / "recipe.yaml"
    data = data_of(Path(name), load_recipe(recipe)) if recipe.is_file() else about.get("data")
    if not isinstance(data, str):
        raise SettingsError(f"{name} does not say what it was trained on: give --data NAME|DIR")
    if data not in BUILT_IN and not Path(data).exists():
        raise SettingsError(f"{name} was trained on '{data}', which is not here: give the folder of that set as --data DIR")
    return data


def seen_in_training(model: Path | str | None, data: str, resolution: int) -> CaptionedPictures | None:
    """The pictures that a model was trained on, as far as its recipe says which; else the train split of `data`. None where there is none.

    Of a built-in world, which is painted as it is read, no more than measures of memorisation look at.
    """
    recipe = None if model is None else Path(model) / "recipe.yaml"
    settings = load_recipe(recipe).data_settings if recipe is not None and recipe.is_file() else DataSettings()
    length = settings.garden_pictures
    if settings.share == 1.0:  # a share is drawn from all
        length = min(length or survey.TRAINING_PICTURES, survey.TRAINING_PICTURES)
    try:
        pictures = open_data(data, "train+val" if settings.trainval else "train", resolution, settings, length=length)
    except DataError:
        return None
    return at_resolution(pictures if settings.share == 1.0 else PartOfPictures(pictures, settings.share), resolution)
