"""How learning rates rise and fall: with the budget in steps or in minutes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from limner.core.schedules import warmed
from limner.core.trainable import Progress
from limner.families.judges import share_of_rate
from limner.matching.models.clip import CLIP, CLIPSettings
from limner.methods.dall_e import DALLE, DALLESettings
from limner.parts.style import StyleInversion
from limner.parts.text import CaptionMatching


def at(step: int, seconds: float = 0.0, minutes: float | None = None) -> Progress:
    return Progress(phase="only", step=step, steps=1000, images=0, epoch=0.0, seconds=seconds, minutes=minutes)


def test_a_rate_rises_and_falls_with_the_budget() -> None:
    places = (0, 99, 100, 550, 1000)
    assert [warmed(at(step), 100) for step in places] == pytest.approx([0.01, 1.0, 1.0, 0.5, 0.0])
    assert [warmed(at(step), 100, cooled=False) for step in places] == pytest.approx([0.01, 1.0, 1.0, 1.0, 1.0])
    assert warmed(at(550), 0) < 0.5 and warmed(at(900), 2000) == pytest.approx(901 / 2000)
    assert [warmed(at(200, seconds, 1.0), 100) for seconds in (33.0, 60.0, 90.0)] == pytest.approx([0.5, 0.0, 0.0])


class Read:
    """Stands for what a schedule reads of what is trained, without its networks."""

    def __init__(self, settings: object = None) -> None:
        self.settings, self.warm_up_steps = settings, 50


FALLING: dict[str, Callable[[Progress], float]] = {
    "clip": lambda progress: CLIP._learning_rate_factor(Read(CLIPSettings(warm_up_steps=50)), progress),  # type: ignore[arg-type]
    "dall-e": lambda progress: DALLE._rate(Read(DALLESettings(warm_up_steps=50, cooled=True)), progress),  # type: ignore[arg-type]
    "judges": share_of_rate,
    "style": lambda progress: StyleInversion._learning_rate_factor(Read(), progress),  # type: ignore[arg-type]
    "text": lambda progress: CaptionMatching._learning_rate_factor(Read(), progress),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", FALLING)
def test_what_cools_does_so_within_a_budget_in_minutes(name: str) -> None:
    """A step takes 0.3 seconds here, so that a minute ends after 200 of 1,000 steps."""
    rate = FALLING[name]
    assert rate(at(60)) > 0.98
    found = [rate(at(step, 0.3 * step, 1.0)) for step in (60, 100, 150, 199)]
    assert found == sorted(found, reverse=True) and 0.4 < found[1] < 0.65 and found[-1] < 0.01
