"""What is over in a run that is resumed, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

from limner.core.recipes import flat_settings, settings_with
from limner.core.settings import Recipe
from limner.training.plan import PlannedPhase
from limner.training.trainer import Position


def is_done(position: Position, phases: Sequence[PlannedPhase]) -> bool:
    """Whether the run had ended, and its budget is not larger now, nor has it another phase to go through."""
    if position.phase + 1 < len(phases):
        return False
    last = phases[-1]
    return position.finished and (_is_spent(position, last) or position.waited_enough(last))


def _is_spent(position: Position, planned: PlannedPhase) -> bool:
    return position.step >= planned.steps or planned.budget.time_spent(position.seconds, position.core_seconds) >= 1.0


def nothing_to_do(position: Position, last: PlannedPhase) -> str:
    """Why a run that is done does not go on, and what would."""
    if _is_spent(position, last) or not position.waited_enough(last):
        return "nothing to do"
    return (
        f"nothing to do: validation ended it (no better score in {position.since_best} evaluations), whatever its budget is; to train "
        "longer, begin a new run with --method.patience 0"
    )


def stays_as_it_is(position: Position, phases: Sequence[PlannedPhase], before: Recipe, now: Recipe) -> list[str]:
    """A line where the budget is another than it was and phases of the method are over, which it does not change any more."""
    over = [planned.phase.name for planned in phases[: position.phase] if planned.act.is_asked_for]
    old, new = flat_settings(before), flat_settings(now)
    if not over or all(old.get(name) == new.get(name) for name in settings_with("budget")):
        return []
    rest = " and ".join(planned.phase.name for planned in phases[position.phase :])
    return [f"{' and '.join(over)} {'is' if len(over) == 1 else 'are'} over and not made longer or shorter: only {rest} can go on"]
