"""The time that is left, by a clock that stands still unless it is moved."""

from __future__ import annotations

import pytest

from limner.training.estimate import Budget, TimeLeft


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Trained:
    """A phase whose steps take what the test says."""

    def __init__(self, budget: Budget, *later: Budget, step: int = 0, seconds: float = 0.0, **side_work: int) -> None:
        self.clock, self.step, self.seconds, self.core_seconds = Clock(), step, seconds, 0.0
        self.left = TimeLeft(budget, later, step=step, seconds=seconds, side_work=side_work, clock=self.clock)

    def steps(self, count: int, took: float, cores: float = 0.0) -> Trained:
        for _ in range(count):
            self.clock.now += took
            self.step, self.seconds, self.core_seconds = self.step + 1, self.seconds + took, self.core_seconds + cores * took
            self.left.stepped(self.step, self.seconds, self.core_seconds)
        return self

    def side(self, name: str, took: float) -> Trained:
        with self.left.doing(name):
            self.clock.now += took
        return self


def budget(steps: int, minutes: float | None = None, batch_size: int = 8) -> Budget:
    return Budget(steps=steps, batch_size=batch_size, minutes=minutes)


@pytest.mark.parametrize("took", [0.002, 0.5, 10.0, 90.0])
def test_it_is_known_from_the_first_step_on_however_long_steps_take(took: float) -> None:
    run = Trained(budget(100))
    assert (run.left.phase(), run.left.run(), run.left.images_per_second) == (None, None, None)
    for step in range(1, 101):
        run.steps(1, took)
        assert run.left.phase() == pytest.approx((100 - step) * took) == run.left.run()
        assert run.left.images_per_second == pytest.approx(8 / took)


@pytest.mark.parametrize("took", [0.002, 0.5, 10.0])
def test_a_slow_first_step_is_soon_forgotten(took: float) -> None:
    run = Trained(budget(1000)).steps(1, 60.0).steps(1, took)
    assert run.left.phase() == pytest.approx(998 * took)


def test_it_follows_a_machine_that_becomes_busy() -> None:
    run = Trained(budget(10_000)).steps(500, 0.1)
    run.steps(200, 1.0)
    assert run.left.phase() == pytest.approx(9300 * 1.0, rel=0.1)


@pytest.mark.parametrize(("minutes", "wanted"), [(1.0, 40.0), (5.0, 80.0)])
def test_minutes_end_a_phase_as_steps_do(minutes: float, wanted: float) -> None:
    run = Trained(budget(100, minutes)).steps(20, 1.0)
    assert run.left.phase() == pytest.approx(wanted)
    assert run.left.fraction == pytest.approx(max(0.2, 20 / (60 * minutes)))


def test_it_moves_every_second_within_a_long_step_and_is_never_negative() -> None:
    run = Trained(budget(3)).steps(1, 10.0)
    seen = []
    for _ in range(30):
        run.clock.now += 1.0
        seen.append(run.left.phase())
    assert seen[:10] == pytest.approx([19.0 - second for second in range(10)])
    assert seen[10:] == pytest.approx([10.0] * 20), "the step is late, and the next one is still to come"
    run.steps(5, 10.0)
    assert run.left.phase() == run.left.run() == 0.0
    late = Trained(budget(100, 0.1)).steps(3, 10.0)
    late.clock.now += 100.0
    assert late.left.phase() == 0.0 and late.left.fraction == 1.0


def test_a_resumed_run_counts_what_is_spent_and_takes_its_own_speed() -> None:
    by_steps = Trained(budget(100), step=90, seconds=9000.0).steps(2, 1.0)
    assert by_steps.left.phase() == pytest.approx(8.0)
    by_minutes = Trained(budget(10_000, 3.0), step=90, seconds=170.0).steps(2, 1.0)
    assert by_minutes.left.phase() == pytest.approx(8.0)


def test_later_phases_are_part_of_the_run_and_not_of_the_phase() -> None:
    run = Trained(budget(10), budget(100, batch_size=4), budget(1000, minutes=0.5)).steps(5, 2.0)  # a picture takes 0.25 s
    assert run.left.phase() == pytest.approx(10.0)
    assert run.left.run() == pytest.approx(10.0 + 100 * 4 * 0.25 + 30.0)
    assert run.left.rough and not Trained(budget(10)).left.rough


def test_side_work_that_is_still_due_is_part_of_it() -> None:
    run = Trained(budget(100), sample=20, save=50, evaluate=0).steps(20, 1.0).side("sample", 5.0)
    assert run.left.phase() == pytest.approx(80 + 4 * 5.0)  # at 40, 60, 80 and 100
    run.steps(15, 1.0)
    assert run.left.phase() == pytest.approx(65 + 4 * 5.0)
    odd = Trained(budget(50), sample=20).steps(20, 1.0).side("sample", 5.0)
    assert odd.left.phase() == pytest.approx(30 + 2 * 5.0), "the last grid is painted at the end, whenever that is"
    odd.steps(20, 1.0)
    with odd.left.doing("sample"):
        odd.clock.now += 2.0
        assert odd.left.phase() == pytest.approx(10 + 3.0 + 5.0)
    by_minutes = Trained(budget(10_000, 1.0), sample=20).steps(20, 1.0).side("sample", 5.0)
    assert by_minutes.left.phase() == pytest.approx(40 + 2 * 5.0)


def test_minutes_of_processor_time_end_a_phase_too() -> None:
    """They pass twice as fast as time does where two cores are at work, and at half the speed where other work has half of the one."""
    for cores in (2.0, 0.5):
        run = Trained(Budget(steps=10_000, batch_size=8, core_minutes=1.0), Budget(steps=10_000, batch_size=8, core_minutes=3.0))
        run.steps(20, 0.5, cores)
        assert run.left.fraction == pytest.approx(20 * 0.5 * cores / 60)
        assert run.left.phase() == pytest.approx(60 / cores - 10.0)
        assert run.left.run() == pytest.approx(60 / cores - 10.0 + 180 / cores)
    both = Budget(steps=10_000, batch_size=8, minutes=1.0, core_minutes=1.0)
    assert both.time_spent(30.0, 45.0) == 0.75 and both.time_spent(45.0, 30.0) == 0.75
    assert Budget(steps=10, batch_size=8).time_spent(1e9, 1e9) == 0.0
