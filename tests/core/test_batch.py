"""Batches: what a step may draw further, and the parts of one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.core.batch import Batch
from limner.core.text import TextFeatures


def numbered(rows: int = 7) -> Batch:
    """Each row is its number, in everything it has."""
    numbers = torch.arange(rows, dtype=torch.float32)
    captions = [[f"caption {number}"] for number in range(rows)]

    def made(shift: float) -> Batch:
        text = TextFeatures(numbers[:, None] + shift, captions=tuple(own[0] for own in captions))
        pictures = (numbers + shift)[:, None, None, None].expand(rows, 3, 2, 2)
        return Batch(pictures, captions, (text,), np.arange(rows), np.arange(rows) + 100, seed=0, classes=torch.arange(rows))

    drawn: list[str] = []

    def draw(kind: str) -> Batch:
        drawn.append(kind)
        return made({"mismatched": 10.0, "unpaired": 20.0}[kind])

    batch = made(0.0)
    batch.counterfactuals, batch.draw_batch = (TextFeatures(numbers[:, None] + 30),), draw
    batch.drawn = drawn  # type: ignore[attr-defined]
    return batch


def test_it_draws_once_and_by_kind() -> None:
    batch = numbered()
    assert batch.mismatched is batch.draw("mismatched") and batch.unpaired is batch.draw("unpaired")
    assert batch.drawn == ["mismatched", "unpaired"]  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="cannot draw 'stories'"):
        Batch(batch.pictures, batch.captions, batch.texts, batch.indices, batch.samples, seed=0).draw("stories")


def test_parts_are_the_rows_of_everything_and_know_their_place() -> None:
    batch = numbered()
    parts = [batch.part(slice(start, start + 3)) for start in range(0, 7, 3)]
    assert list(map(len, parts)) == [3, 3, 1]
    assert [batch.drawn for _ in parts] == [[], [], []]  # type: ignore[attr-defined]
    for start, part in zip((0, 3, 6), parts, strict=True):
        rows = list(range(start, min(start + 3, 7)))
        assert part.pictures[:, 0, 0, 0].tolist() == part.text.sentence[:, 0].tolist() == part.indices.tolist() == rows
        assert part.classes is not None and part.counterfactual is not None
        assert part.classes.tolist() == rows and part.text.captions == tuple(f"caption {row}" for row in rows)
        assert part.counterfactual.sentence[:, 0].tolist() == [row + 30 for row in rows]
        assert (part.samples - 100).tolist() == rows
        assert part.mismatched.pictures[:, 0, 0, 0].tolist() == [row + 10 for row in rows]
        assert part.unpaired.text.sentence[:, 0].tolist() == [row + 20 for row in rows]
        assert part.mismatched.whole == 7 and part.whole == 7
    assert batch.drawn == ["mismatched", "unpaired"]  # type: ignore[attr-defined]  # all parts draw from the whole batch's


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_the_first_share_of_the_whole_is_shared_out_to_its_parts(share: float, size: int) -> None:
    batch = numbered()
    parts = [batch.part(slice(start, start + size)) for start in range(0, 7, size)]
    marked = [row < part.rows_of(share) for part in parts for row in range(len(part))]
    assert marked == [row < batch.rows_of(share) for row in range(7)]
    again = [inner for part in parts for inner in (part.part(slice(0, 1)), part.part(slice(1, len(part)))) if len(inner)]
    assert sum(part.rows_of(share) for part in again) == batch.rows_of(share)  # parts of parts
