"""A run's method as training left it: the networks that judge beside those that paint."""

from __future__ import annotations

from pathlib import Path

from limner.core.errors import CheckpointError
from limner.core.method import Method
from limner.model import load
from limner.training.checkpoints import Checkpoints


def trained_method(run: Path | str) -> Method:
    """The whole method of a run, from its newest checkpoint, on the CPU and in evaluation mode.

    Model folders hold only what paints, so discriminators and critics are here alone. All weights are the last ones of training, the
    generator's too: paint with `limner.load`, which has their running average. Raises CheckpointError where the run has no checkpoint of
    its method.
    """
    run = Path(run)
    if not (run / "recipe.yaml").exists():
        raise CheckpointError(f"{run} is no run folder (no recipe.yaml), and discriminators are kept in a run's checkpoints: give the run")
    state = Checkpoints(run).load()
    if state is None:
        raise CheckpointError(f"{run} has no whole checkpoint, which would hold its discriminator: go on with `limner train --resume`")
    if "method" not in state["modules"]:
        raise CheckpointError(f"{run} has trained its text encoder alone so far: go on with `limner train --resume`")
    method = load(run).method  # built as its settings say; every weight is replaced
    try:
        method.load_state_dict(state["modules"]["method"])
    except RuntimeError as error:
        raise CheckpointError(f"the newest checkpoint in {run} does not fit the model beside it: use the Limner that wrote them") from error
    return method
