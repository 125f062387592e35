"""What a run has taken from elsewhere when it began, as its checkpoints hold it: where it came from may have changed since, or be gone.

A checkpoint has the weights of the text encoder; what else belongs to an encoder, above all which words it knows, is here.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limner.core.errors import SettingsError
from limner.core.settings import Recipe
from limner.text.encoder import TextEncoder
from limner.training.plan import Plan


def begun(plan: Plan, recipe: Recipe, held: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds of it. held: the states that it has anyway, by the names of `Plan.modules`."""
    act, state = plan.asked_for, dict[str, Any]()
    if plan.started is not None:
        state["started"] = plan.started
    if recipe.text.encoder is not None:
        state["words"] = words_of(plan.encoder)
    if act.name not in held and (recipe.start.model is not None or recipe.adopted):
        state["begun"] = act.trained.state_dict()
    return state


def words_of(encoder: TextEncoder) -> int:
    """A number that changes with the words that an encoder knows, and with their order."""
    return zlib.crc32("\n".join(encoder.known_words()).encode())


def check_encoder(plan: Plan, recipe: Recipe, state: Mapping[str, Any], out: Path) -> None:
    """Raise SettingsError where `text.encoder` holds another encoder now than when the run in `out` was begun, with whose ids of words or
    sizes the weights in its checkpoint would be wrong."""
    if recipe.text.encoder is None:
        return
    held = {name: value.shape for name, value in state["modules"].get("encoder", {}).items()}
    own = {name: value.shape for name, value in plan.encoder.state_dict().items()}
    if (held and held != own) or state.get("words", words_of(plan.encoder)) != words_of(plan.encoder):
        what = f"the text encoder of {recipe.text.encoder} is not the one that {out} was begun with"
        fix = "give that one by --text.encoder DIR, or choose another --out"
        raise SettingsError(f"{what} (it knows other words, or has another size): {fix}")
