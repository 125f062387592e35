"""R-precision's wrong captions and hits, and class-level retrieval, on numbers that can be worked out by hand."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from limner.core.errors import SettingsError
from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.metrics.classes import ClassAccuracy
from limner.metrics.faithfulness import UNNAMED, named_codes
from limner.metrics.retrieval import ClassRetrieval, RPrecision, RPrecisionAsPublished, chunked, class_retrieval, hits
from limner.metrics.scoring.metric import Found, ScoringTask
from limner.metrics.scoring.rows import Rows


def test_a_tie_is_shared_or_won():
    true, wrong = torch.tensor([0.5, 0.5, 0.5]), torch.tensor([[0.1, 0.4], [0.5, 0.5], [0.6, 0.1]])
    assert hits(true, wrong).tolist() == [1.0, pytest.approx(1 / 3), 0.0]
    assert hits(true, wrong, "won").tolist() == [1.0, 1.0, 0.0]


def test_chunks_lack_their_last():
    found = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 7.0])  # chunks of 3 of which 2 count; the rest is cut
    assert chunked(found, 2) == (pytest.approx(0.25), pytest.approx(0.25))


def _task(count, garden=True, length=400):
    pictures = GardenPictures(Garden("train", length=length, resolution=16))
    if not garden:
        pictures.name, pictures.holds = "other", None
    indices = np.arange(count) % length
    return ScoringTask(
        pictures=pictures,
        captions=[pictures.captions(int(index))[0] for index in indices],
        classes=pictures.class_ids[indices],
        indices=indices,
        count=count,
        reference_count=count,
        seed=3,
        painted=True,
    )


def test_wrong_captions_are_wrong():
    task = _task(300)
    strict, published = RPrecision(task), RPrecisionAsPublished(task)
    codes = named_codes(task.captions)
    assert len(strict.tested) > 200
    for number, wrong in zip(strict.tested[:40], strict.wrong_ones[:40].numpy(), strict=True):
        assert len(set(wrong)) == 99 and len({task.captions[other] for other in wrong}) == 99
        both = (codes[number] != UNNAMED) & (codes[wrong] != UNNAMED)
        assert (both & (codes[wrong] != codes[number])).any(1).all()
    for number, wrong in zip(published.tested[:40], published.wrong_ones[:40].numpy(), strict=True):
        assert (task.classes[wrong] != task.classes[number]).all() and len(set(wrong)) < 99  # with replacement
    again = RPrecision(task)
    assert (again.wrong_ones == strict.wrong_ones).all()


def test_many_captions_are_drawn_and_other_pictures_taken_as_they_are():
    task = _task(1500, garden=False, length=1500)
    metric = RPrecision(task)
    assert len(metric.tested) == 1500 and not metric.left_out()
    for number in (0, 700, 1499):
        wrong = metric.wrong(number)
        assert len(set(wrong)) == 99 and task.captions[number] not in {task.captions[other] for other in wrong}


def test_too_few_captions_are_refused_before_anything_is_painted():
    assert "--count 100 at least" in RPrecision.refusal(_task(60))
    with pytest.raises(SettingsError, match="finds no caption with 99 wrong ones"):
        RPrecision(dataclasses.replace(_task(120), captions=["a red flower"] * 120))
    assert "--count 20 at least" in RPrecisionAsPublished.refusal(_task(12))


def test_ap_and_top_1():
    similar = torch.tensor([[0.9, 0.1], [0.8, 0.3], [0.2, 0.7], [0.85, 0.6]])
    precision, best = class_retrieval(similar, np.array([0, 0, 1, 1]), (1, 2))
    assert best == 0.75  # the last picture looks like the first class
    assert precision == {1: 1.0, 2: pytest.approx((0.5 + 1.0) / 2)}
    alone, _ = class_retrieval(similar, np.array([0, 0, 0, 0]), (1,))
    assert alone == {1: 1.0}  # a class without pictures is left out


def _perfect(classes: int) -> Any:
    """Embeds captions and pictures as their class, one number each; the garden's pictures here have captions that are class numbers."""
    return SimpleNamespace(
        embed_captions=lambda captions: torch.eye(classes)[[int(caption) for caption in captions]],
        similarity=lambda pictures, captions: pictures @ captions.T,
    )


def test_ap_takes_a_depth_that_both_sides_have():
    task = _task(200, garden=False, length=20)
    task.pictures.class_ids = np.arange(20) % 2
    task.pictures.captions = lambda index: [str(index % 2)]
    task = dataclasses.replace(task, classes=np.arange(200) % 2, reference_count=20, matching=_perfect(2))
    sides = {}
    for side, count in (("generated", 200), ("real", 20)):
        sides[side] = Rows()
        sides[side].add("embeddings", np.arange(count), torch.eye(2)[np.arange(count) % 2])
    found = ClassRetrieval(task).figures(Found(task=task, varied=Rows(), **sides))[0]
    assert (found.value, found.real, found.settings["k"]) == (1.0, 1.0, 10)  # a class has ten real pictures, a hundred painted ones


def test_a_matching_model_chooses_among_the_classes_of_the_split():
    task = _task(12, garden=False, length=12)
    task.pictures.class_ids, task.pictures.class_count = np.arange(12) % 4 + 3, 40
    task.pictures.captions = lambda index: [str(index % 4)]
    task = dataclasses.replace(task, classes=task.pictures.class_ids, matching=cast(Any, _perfect(4)), painted=False)
    metric = ClassAccuracy(task)
    rows = Rows()
    for side in metric.sides:
        rows.add(f"class at {side}", np.arange(12), np.asarray(task.classes))
    (figure,) = metric.figures(Found(task=task, generated=rows, real=rows, varied=Rows()))
    assert (figure.value, figure.chance) == (1.0, 0.25)


def test_classes_that_the_split_does_not_have_are_refused() -> None:
    task = dataclasses.replace(_task(100, garden=False), matching=_perfect(3))
    missing = next(number for number in range(task.pictures.class_count) if number not in task.pictures.class_ids)
    for made in (ClassRetrieval, ClassAccuracy):
        assert made.refusal(task) is None
        foreign = dataclasses.replace(task, classes=np.where(np.arange(100) < 3, missing, task.classes))
        told = (
            f"{made.name} knows classes by their captions, and 3 pictures are of classes without any in other/train: take another --split"
        )
        assert made.refusal(foreign) == told
