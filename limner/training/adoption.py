"""Weights that come from elsewhere: `--from PHASE=FOLDER` takes over what another run, or an import, has trained, and is not trained here;
`--from MODEL` is where training begins."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from limner.core import folder
from limner.core.errors import CheckpointError, LimnerError, SettingsError
from limner.core.settings import Recipe
from limner.training.checkpoints import Checkpoints
from limner.training.plan import Act
from limner.training.starting import start


def adopt(act: Act, recipe: Recipe) -> list[str]:
    """Give an act the weights that its recipe takes from elsewhere; returns lines about them. Raises SettingsError where that cannot be."""
    said = [start(act.trained, recipe)] if recipe.start.model is not None else []
    for phase in act.trained.phases():
        place = recipe.adopted.get(phase.name)
        if place is None:
            continue
        try:
            act.trained.adopt(phase, state_of(place))
        except LimnerError as error:
            raise SettingsError(f"--from {phase.name}={place}: {error}") from error
        said.append(f"phase '{phase.name}' comes from {place} and is not trained")
    return said


def state_of(place: str) -> dict[str, Tensor]:
    """The tensors of what a run, a model folder or an import folder has trained, by their names in it.

    Of a run it is the newest checkpoint, which holds all players, with the averaged weights of those that paint.
    """
    path = Path(place)
    state: dict[str, Tensor] = {}
    if (path / "recipe.yaml").is_file():
        checkpoint = Checkpoints(path).load()
        if checkpoint is None:
            raise CheckpointError("the run has no whole checkpoint yet")
        state |= checkpoint["modules"].get("method", {})
    if not (path / "recipe.yaml").is_file() or (path / "model").is_dir():
        with folder.located(place) as found:
            state |= folder.read(found, "method", "networks").part("method")
    return state
