"""Scene faithfulness: are the flowers that a caption names in the picture, each as it is named, and where the caption says?

The judge of bouquets finds and reads the flowers of every generated picture. Each flower that the caption names is looked for among them,
with all its named attributes at once; then it is asked whether the relations that the caption states hold of those that were found, and
whether there are as many flowers as it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from limner.core import random
from limner.data.garden import ATTRIBUTES
from limner.data.garden.attributes import BACKGROUND
from limner.data.garden.bouquets import Bouquets, Said, Shown, agree, parse_bouquet
from limner.data.garden.bouquets.arranging import beside, between
from limner.data.garden.bouquets.scenes import shown, shown_by
from limner.features.bouquet_judge import SceneReading
from limner.metrics.alignment import of_other_pictures
from limner.metrics.scoring.metric import Figure, Found, Metric, ScoringTask, SeenBatch
from limner.metrics.scoring.protocol import Part

NEAR_MARGIN, NEAR_SLANT, NEAR_SHARE, NEAR_ASIDE = 0.07, 0.5, 0.15, 0.4
"""Where flowers that were found stand to the left, above or between: a little less strictly than captions say it, for a place that is read
is not exact, and a caption only says what is plain."""

_FLOWERS, _RELATIONS, _COUNT, _BACKGROUND, _EVERYTHING = range(5)
PARTS = ("flowers", "relations", "count", "background", "everything")
"""Flowers named that are there with all their named attributes; relations said that hold; pictures with as many flowers as said, and with
the background that is said; pictures of which all that is said is true."""
HEADLINE = ("flowers", "relations", "count")


def shown_in(reading: SceneReading) -> list[Shown]:
    """What the judge reads in each picture of a batch."""
    each = [reading.codes[name].cpu().numpy() for name in ATTRIBUTES]  # [B, M], and [B] of the background
    places = reading.places.double().cpu().numpy()
    left, above = beside(places[..., 0], places[..., 1], NEAR_MARGIN, NEAR_SLANT)
    relations = np.stack([left, above, reading.front.cpu().numpy()], axis=1)  # [B, 3, M, M]
    middles = between(places[..., 0], places[..., 1], NEAR_SHARE, NEAR_ASIDE)
    found = []
    for row, count in enumerate(reading.counts.tolist()):
        columns = [values[row] if values.ndim == 1 else values[row, :count] for values in each]
        codes = np.stack([np.broadcast_to(column, count) for column in columns], axis=1).tolist()
        one = shown(codes, relations[row], middles[row])
        found.append(Shown(one.codes, one.relations, int(columns[BACKGROUND])))
    return found


def verdicts(said: Sequence[Said], pictures: Sequence[Shown]) -> NDArray[np.float32]:
    """How far each picture shows what is said: [B, 5, 2], for each of `PARTS` how much of it is right, of how much."""
    rows = np.zeros((len(said), len(PARTS), 2), dtype=np.float32)
    for row, (sentence, picture) in enumerate(zip(said, pictures, strict=True)):
        verdict = agree(sentence, picture)
        rows[row, _FLOWERS] = verdict.found, verdict.named
        rows[row, _RELATIONS] = verdict.true, verdict.said
        for part, right in ((_COUNT, verdict.total_right), (_BACKGROUND, verdict.background_right)):
            rows[row, part] = (0, 0) if right is None else (right, 1)
        rows[row, _EVERYTHING] = verdict.all_right, 1
    return rows


def share(rows: NDArray[np.float32], part: int) -> tuple[float, float, int]:
    """A part's share over pictures [N, 5, 2], its standard error (pictures are independent, flowers of one picture are not), and of how
    much it is."""
    right, all_of_them = rows[:, part].astype(np.float64).T
    whole = float(all_of_them.sum())
    if not whole:
        return float("nan"), float("nan"), 0
    value = float(right.sum()) / whole
    return value, float(np.sqrt(np.square(right - value * all_of_them).sum())) / whole, int(whole)


class SceneFaithfulness(Metric):
    """How much of what captions say of bouquets the judge reads in the pictures."""

    name: ClassVar[str] = "scene-faithfulness"
    needs = frozenset({"scenes", "captions"})

    def __init__(self, task: ScoringTask) -> None:
        super().__init__(task)
        self._others = of_other_pictures(task.indices).numpy()

    def generated(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        assert batch.scenes is not None and self.task.captions is not None
        said, found = [parse_bouquet(caption) for caption in batch.captions], shown_in(batch.scenes)
        shuffled = [parse_bouquet(self.task.captions[number]) for number in self._others[batch.numbers].tolist()]
        others = Bouquets("all", seed=self.task.seed + 1)
        unrelated = shown_by(others.bouquets(random.integers(1 << 30, self.task.seed, "unrelated", batch.numbers)))
        return {
            "scene": verdicts(said, found),
            "scene shuffled": verdicts(shuffled, found),
            "scene by chance": verdicts(said, unrelated),
        }

    def real(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        assert batch.scenes is not None
        return {"scene": verdicts([parse_bouquet(caption) for caption in batch.captions], shown_in(batch.scenes))}

    def figures(self, found: Found) -> list[Figure]:
        mine, real = np.asarray(found.generated["scene"]), np.asarray(found.real["scene"])
        chance, shuffled = (np.asarray(found.generated[name]) for name in ("scene by chance", "scene shuffled"))
        parts = {}
        for place, name in enumerate(PARTS):
            value, error, count = share(mine, place)
            if count:
                others = {side: share(rows, place)[0] for side, rows in (("chance", chance), ("shuffled", shuffled), ("real", real))}
                parts[name] = Part(value=value, error=error, count=count, **others)
        return [
            Figure(
                name=self.name,
                value=_mean([parts[name].value for name in HEADLINE if name in parts]),
                error=_mean_error(mine),
                chance=_mean([parts[name].chance for name in HEADLINE if name in parts]),
                shuffled=_mean([parts[name].shuffled for name in HEADLINE if name in parts]),
                real=_mean([parts[name].real for name in HEADLINE if name in parts]),
                parts=parts,
                higher_is_better=True,
                implementation="limner: mean of the shares of flowers found as named, relations that hold, right numbers of flowers",
                network="scenes",
            )
        ]


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _mean_error(rows: NDArray[np.float32]) -> float:
    """The standard error of the headline, with pictures as independent."""
    influence, parts = np.zeros(len(rows)), 0
    for name in HEADLINE:
        right, all_of_them = rows[:, PARTS.index(name)].astype(np.float64).T
        if all_of_them.sum():
            influence += (right - right.sum() / all_of_them.sum() * all_of_them) / all_of_them.sum()
            parts += 1
    return float(np.sqrt(np.square(influence).sum())) / max(parts, 1)
