"""When sample grids are painted, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.training.grids import grid_moment, grid_name, grids_of, is_due


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [
        (4, None, [1]),
        (60, None, [6, 25, 50]),
        (300, None, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300]),
        (1600, None, [*range(160, 1601, 160)]),
        (12_000, None, [*range(500, 12_001, 500)]),
        (300, 120, [120, 240]),
        (60, 1000, []),
    ],
)
def test_the_first_grid_comes_after_a_tenth_of_a_short_phase(steps: int, every: int | None, expected: list[int]) -> None:
    assert [step for step in range(1, steps + 1) if is_due(step, steps, every)] == expected


def test_files_are_found_in_the_order_of_their_making_and_say_when(tmp_path: Path) -> None:
    made = ["00000500.png"]  # of an earlier version
    made += [grid_name(1, "stage-i", 90), grid_name(1, "stage-i", 1000), grid_name(2, "fine art/2", 5), grid_name(2, "fine art/2", 20)]
    made += [grid_name(9, "1024px", 3)]
    (tmp_path / "samples").mkdir()
    for name in reversed(made):
        (tmp_path / "samples" / name).touch()
    assert [path.name for path in grids_of(tmp_path)] == made and not grids_of(tmp_path / "nowhere")
    moments = ["step 500", "stage-i step 90", "stage-i step 1,000", "fine-art-2 step 5", "fine-art-2 step 20", "1024px step 3"]
    assert [grid_moment(Path(name)) for name in made] == moments
    assert grid_moment(Path("mine.png")) == "mine"
