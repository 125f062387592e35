"""Captions are drawn as often as asked, or once each."""

from __future__ import annotations

import numpy as np
import pytest

from limner.explore.captions import distinct_captions, drawn_captions


class Words:
    """A split of captions alone."""

    name, split = "words", "test"

    def __init__(self, rows: list[list[str]]) -> None:
        self.rows = rows
        self.caption_counts = np.array([len(row) for row in rows])

    def captions(self, index: int) -> list[str]:
        return self.rows[index]


@pytest.mark.parametrize("count", [1, 6, 7, 500])
def test_no_caption_is_drawn_twice(count: int) -> None:
    rows = [["a rose"], ["a rose", "a tulip"], [], ["a lily", "a lily"], ["an iris", "an aster", "a poppy"]]
    found = distinct_captions(Words(rows), count, 3)
    assert len(found) == len(set(found)) == min(count, 6) and set(found) <= {caption for row in rows for caption in row}


def test_captions_that_all_differ_are_those_of_the_plain_draw() -> None:
    words = Words([[f"caption {index}"] for index in range(50)])
    assert distinct_captions(words, 20, 7) == drawn_captions(words, 20, 7)
