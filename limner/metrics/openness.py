"""What captions leave open: does it vary as the world does (openness), and is it decided in each picture (coherence)?

A generator can be faithful, and even diverse, and still paint "a small flower on sand" always yellow, or as a flower whose petals have four
colours at once. The garden knows which values of an attribute go with what a caption names, so both can be measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from limner.data.garden import ATTRIBUTES
from limner.features.garden_judge import Reading
from limner.metrics.faithfulness import NAMES, UNNAMED, fitting_scenes, named_codes, read_codes
from limner.metrics.scoring.metric import NOISES, Figure, Found, Group, Metric, SeenBatch
from limner.metrics.scoring.protocol import Part

WORLD = "train"
"""The split that says how the world is distributed: a generator cannot know the combinations that are held out from it."""
_DRAWS = 64


def shares(codes: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """How often each value of each attribute is among codes [n, 6]: six arrays that sum to 1."""
    return [np.bincount(codes[:, column], minlength=len(values)) / len(codes) for column, values in enumerate(ATTRIBUTES.values())]


def total_variation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Half the sum of absolute differences of two distributions: 0 where they are alike, 1 where they share no value."""
    return float(0.5 * np.abs(first - second).sum())


def openness_of(read: NDArray[np.int64], named: NDArray[np.int64], seed: int, number: int) -> NDArray[np.float64]:
    """How far pictures of one caption are from the world: [6, 3], not a number where the caption names the attribute.

    read: codes [n, 6] of its pictures; named: its own codes [6]; number: its place in the evaluation. The three distances are those of the
    pictures, of as many draws from the world (not 0, for they are few), and of pictures that are all alike (the mean over which value that
    is); each is a total variation to the world's distribution.
    """
    count = len(read)
    world = fitting_scenes(named, WORLD, count * _DRAWS, seed, number).codes
    found = np.full((len(NAMES), 3), np.nan)
    draws = [shares(world[start : start + count]) for start in range(0, len(world), count)]
    for column, (expected, seen) in enumerate(zip(shares(world), shares(read), strict=True)):
        if named[column] == UNNAMED:
            drawn = float(np.mean([total_variation(draw[column], expected) for draw in draws]))
            found[column] = total_variation(seen, expected), drawn, 1.0 - float(np.square(expected).sum())
    return found


class Openness(Metric):
    """How far the attributes that captions leave open vary over noises as they do in the world: 1 as there, 0 where they never vary."""

    name: ClassVar[str] = "openness"
    needs = frozenset({"judge", "captions", "varied"})

    def varied(self, group: Group) -> Mapping[str, NDArray[Any]]:
        assert group.reading is not None
        (named,) = named_codes([group.caption])
        return {"openness": openness_of(read_codes(group.reading), named, self.task.seed, group.number)[None]}

    def figures(self, found: Found) -> list[Figure]:
        distances = np.asarray(found.varied["openness"])  # [captions, 6, 3]
        parts = {name: _share(distances[:, column]) for column, name in enumerate(NAMES) if not np.isnan(distances[:, column]).all()}
        overall = _share(np.nansum(distances, axis=1))
        return [
            Figure(
                name=self.name,
                value=overall.value,
                error=overall.error,
                real=1.0,
                parts={f"unnamed {name}": part for name, part in parts.items()},
                higher_is_better=True,
                implementation="limner: total variation to the world's distribution, 1 as near as drawn from it, 0 where all are alike",
                network="judge",
                settings={"varied captions": len(distances), "noises": NOISES},
            )
        ]


def _share(distances: NDArray[np.float64]) -> Part:
    """(alike - pictures) / (alike - world), as a ratio of sums over captions [n, 3], with its linearised standard error."""
    rows = distances[~np.isnan(distances).any(1)]
    gained, possible = rows[:, 2] - rows[:, 0], rows[:, 2] - rows[:, 1]
    count, total = len(rows), float(possible.sum())
    value = float(gained.sum()) / total if total else float("nan")
    residual = gained - value * possible
    error = float(np.sqrt((residual**2).sum() * count / (count - 1))) / total if count > 1 and total else None
    return Part(value=value, error=error, real=1.0, count=count)


def sureness(reading: Reading) -> NDArray[np.float64]:
    """How sure the judge is of each attribute: [B, 6], 1 where one value has all the probability, 0 where all have as much."""
    columns = []
    for name in NAMES:
        logarithms = reading.logits[name].double().log_softmax(1)
        entropy = -(logarithms.exp() * logarithms).sum(1)
        columns.append(1.0 - entropy.cpu().numpy() / math.log(logarithms.shape[1]))
    return np.stack(columns, axis=1)


class Coherence(Metric):
    """Whether pictures decide what their captions leave open: how sure the judge is there, as a share of how sure real pictures make it."""

    name: ClassVar[str] = "coherence"
    needs = frozenset({"judge", "captions"})

    def generated(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        assert batch.reading is not None
        unnamed = named_codes(batch.captions) == UNNAMED
        return {"sureness": np.where(unnamed, sureness(batch.reading), np.nan)}

    def real(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        return self.generated(batch)

    def figures(self, found: Found) -> list[Figure]:
        generated, real = (np.asarray(rows["sureness"]) for rows in (found.generated, found.real))
        parts = {}
        for column, name in enumerate(NAMES):
            mine, theirs = (values[:, column][~np.isnan(values[:, column])] for values in (generated, real))
            if len(mine) and len(theirs):
                share = float(theirs.mean())
                error = float(mine.std(ddof=1)) / math.sqrt(len(mine)) / share if len(mine) > 1 else None
                parts[f"unnamed {name}"] = Part(value=float(mine.mean()) / share, error=error, real=1.0, count=len(mine))
        errors = [part.error for part in parts.values()]
        known = [error for error in errors if error is not None]
        return [
            Figure(
                name=self.name,
                value=float(np.mean([part.value for part in parts.values()])) if parts else float("nan"),
                error=math.sqrt(sum(error**2 for error in known)) / len(parts) if known and len(known) == len(parts) else None,
                real=1.0,
                parts=parts,
                higher_is_better=True,
                implementation="limner: 1 - entropy / log(values) of the judge on unnamed attributes, as a share of real pictures'",
                network="judge",
            )
        ]


class EverythingRight(Metric):
    """The share of pictures that show all that their captions name."""

    name: ClassVar[str] = "everything-right"
    needs = frozenset({"judge", "captions"})

    def generated(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        assert batch.reading is not None
        named = named_codes(batch.captions)
        wrong = ((named != UNNAMED) & (named != read_codes(batch.reading))).sum(1)
        sizes = np.array([len(values) for values in ATTRIBUTES.values()])
        chance = np.where(named != UNNAMED, 1.0 / sizes, 1.0).prod(1)
        return {"right": np.stack([(named != UNNAMED).sum(1), wrong, chance], axis=1)}

    def real(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        return self.generated(batch)

    def figures(self, found: Found) -> list[Figure]:
        generated, real = (np.asarray(rows["right"]) for rows in (found.generated, found.real))
        generated, real = (rows[rows[:, 0] > 0] for rows in (generated, real))
        numbers = np.unique(generated[:, 0]).astype(int).tolist()
        parts = {f"{number} named": _all_right(generated[generated[:, 0] == number], real[real[:, 0] == number]) for number in numbers}
        overall = _all_right(generated, real)
        return [
            Figure(
                name=self.name,
                value=overall.value,
                error=overall.error,
                chance=overall.chance,
                real=overall.real,
                parts=parts,
                higher_is_better=True,
                implementation="limner: share of pictures in which the judge reads every named attribute as its caption has it",
                network="judge",
            )
        ]


def _all_right(generated: NDArray[np.float64], real: NDArray[np.float64]) -> Part:
    """From rows [n, 3] of attributes named, attributes wrong, and the chance of getting all right."""
    count = len(generated)
    value = float((generated[:, 1] == 0).mean()) if count else float("nan")
    return Part(
        value=value,
        error=math.sqrt(value * (1 - value) / count) if count else None,
        chance=float(generated[:, 2].mean()) if count else None,
        real=float((real[:, 1] == 0).mean()) if len(real) else None,
        count=count,
    )
