"""Faithfulness: do pictures show what their captions say? And diversity: do they differ where captions leave them free?

The garden's judge reads every generated picture, and each attribute that the caption names is compared. A generator that paints one good
picture for each caption would be faithful; diversity shows it up: pictures of one caption under many noises, held against as many real
pictures that fit the same caption.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.data.garden import ATTRIBUTES, SPLIT_CLASSES, Scenes, codes_of_class, parse
from limner.features.garden_judge import Reading
from limner.features.network import resized, to_float
from limner.metrics.scoring.metric import NOISES, Figure, Found, Group, Metric, SeenBatch
from limner.metrics.scoring.protocol import Part

NAMES = tuple(ATTRIBUTES)
UNNAMED = -1
COLOUR, SHAPE = NAMES.index("colour"), NAMES.index("shape")
_PIXEL_SIDE = 32


def named_codes(captions: Sequence[str]) -> NDArray[np.int64]:
    """What captions in the garden's words name: codes [N, 6] in the order of `ATTRIBUTES`, `UNNAMED` where they say nothing."""
    codes = np.full((len(captions), len(NAMES)), UNNAMED, dtype=np.int64)
    for row, caption in enumerate(captions):
        for name, value in parse(caption).items():
            codes[row, NAMES.index(name)] = ATTRIBUTES[name].index(value)
    return codes


def read_codes(reading: Reading) -> NDArray[np.int64]:
    """What the judge read: codes [B, 6] in the order of `ATTRIBUTES`."""
    codes = reading.codes()
    return torch.stack([codes[name] for name in NAMES], dim=1).cpu().numpy()


@dataclass
class Agreement:
    """Gathers what captions name and what the judge reads; the named attributes are a few bytes a picture, so any number fits."""

    named: list[NDArray[np.int8]] = field(default_factory=list)
    read: list[NDArray[np.int8]] = field(default_factory=list)

    def add(self, named: NDArray[np.int64], read: NDArray[np.int64]) -> None:
        """Take in a batch of codes, [B, 6] each."""
        self.named.append(named.astype(np.int8))
        self.read.append(read.astype(np.int8))

    def parts(self, real: Agreement | None = None) -> dict[str, Part]:
        """The accuracy of each attribute among captions that name it; `real` next to it gives that of real pictures."""
        named, read = np.concatenate(self.named), np.concatenate(self.read)
        real_parts = real.parts() if real is not None and real.named else {}
        parts = {}
        for column, (name, values) in enumerate(ATTRIBUTES.items()):
            rows = named[:, column] != UNNAMED
            count = int(rows.sum())
            if not count:
                continue
            wanted, seen = named[rows, column], read[rows, column]
            accuracy = float((wanted == seen).mean())
            shares = [np.bincount(codes, minlength=len(values)) / count for codes in (wanted, seen)]
            parts[name] = Part(
                value=accuracy,
                error=float(np.sqrt(accuracy * (1 - accuracy) / count)),
                chance=1 / len(values),
                shuffled=float((shares[0] * shares[1]).sum()),
                real=real_parts[name].value if name in real_parts else None,
                count=count,
            )
        return parts

    def overall(self, real: Agreement | None = None) -> Part:
        """The mean over attributes, each weighing the same; its standard error takes pictures, not attributes, as independent."""
        parts = self.parts(real)
        named, read = np.concatenate(self.named), np.concatenate(self.read)
        influence = np.zeros(len(named))
        for name, part in parts.items():
            column = NAMES.index(name)
            rows = named[:, column] != UNNAMED
            influence += rows * ((named[:, column] == read[:, column]) - part.value) / part.count
        return Part(
            value=_mean([part.value for part in parts.values()]),
            error=float(np.sqrt((influence**2).sum())) / max(len(parts), 1),
            chance=_mean([part.chance for part in parts.values() if part.chance is not None]),
            shuffled=_mean([part.shuffled for part in parts.values() if part.shuffled is not None]),
            real=_mean([part.real for part in parts.values() if part.real is not None]) if real is not None else None,
            count=len(named),
        )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def fitting_scenes(named: NDArray[np.int64], split: str, count: int, seed: int, number: int) -> Scenes:
    """`count` garden scenes that fit one caption, which names the codes [6]: the rest is drawn evenly from what the split allows.

    `number` is the caption's place in the evaluation, so that every caption gets scenes of its own.
    """
    rows = np.arange(count)
    codes = np.empty((count, len(NAMES)), dtype=np.int64)
    for column, (name, values) in enumerate(ATTRIBUTES.items()):
        codes[:, column] = named[column] if named[column] != UNNAMED else random.integers(len(values), seed, "fit", name, number, rows)
    pairs = np.array([codes_of_class(class_id) for class_id in SPLIT_CLASSES[split]], dtype=np.int64)  # [classes, 2]
    allowed = np.ones(len(pairs), dtype=bool)
    for place, column in enumerate((COLOUR, SHAPE)):
        allowed &= (named[column] == UNNAMED) | (pairs[:, place] == named[column])
    if allowed.any():  # otherwise the caption speaks of what the split does not hold, and is taken at its word
        fitting = pairs[allowed]
        codes[:, [COLOUR, SHAPE]] = fitting[random.integers(len(fitting), seed, "fit", "class", number, rows)]
    return Scenes(codes, random.hash64(seed, "fit", "scene", number, rows))


@dataclass(frozen=True)
class Spread:
    """How much the pictures of one caption differ."""

    features: float
    """Mean distance of two pictures in the judge's feature space."""
    pixels: float
    """Mean root mean square difference of two pictures, at 32 px, in [-1, 1]."""
    entropies: Mapping[str, float]
    """Entropy in nats of each unnamed attribute as the judge reads it."""

    def row(self) -> NDArray[np.float64]:
        """[1, 2 + 6]: as an evaluation keeps it; an attribute that is named is not a number."""
        return np.array([[self.features, self.pixels, *(self.entropies.get(name, np.nan) for name in NAMES)]])

    @classmethod
    def of_row(cls, row: NDArray[np.float64]) -> Spread:
        """From a row [2 + 6]."""
        entropies = {name: float(value) for name, value in zip(NAMES, row[2:], strict=True) if not np.isnan(value)}
        return cls(features=float(row[0]), pixels=float(row[1]), entropies=entropies)

    @classmethod
    def of(cls, images: Tensor, reading: Reading, named: NDArray[np.int64]) -> Spread:
        """The spread of pictures [n, 3, H, W] of one caption that names the codes [6]."""
        read = read_codes(reading)
        pixels = resized(to_float(images), _PIXEL_SIDE).flatten(1)
        return cls(
            features=_mean_distance(reading.features),
            pixels=_mean_distance(pixels) / pixels.shape[1] ** 0.5,
            entropies={name: _entropy(read[:, column]) for column, name in enumerate(NAMES) if named[column] == UNNAMED},
        )


def _mean_distance(rows: Tensor) -> float:
    return float(torch.nn.functional.pdist(rows.double().cpu()).mean())


def _entropy(codes: NDArray[np.int64]) -> float:
    shares = np.bincount(codes) / len(codes)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def diversity_parts(generated: Sequence[Spread], real: Sequence[Spread]) -> dict[str, Part]:
    """Generated spread as a share of real spread: 0 where a caption always gives one picture, 1 where they vary as real ones do.

    "features" is the headline; then "pixels", and for each attribute its entropy where captions leave it open.
    """
    parts = {
        "features": _ratio([spread.features for spread in generated], [spread.features for spread in real]),
        "pixels": _ratio([spread.pixels for spread in generated], [spread.pixels for spread in real]),
    }
    for name in NAMES:
        both = [(mine.entropies, theirs.entropies) for mine, theirs in zip(generated, real, strict=True)]
        pairs = [(mine[name], theirs[name]) for mine, theirs in both if name in theirs]
        if sum(theirs for _, theirs in pairs) > 0:
            parts[f"unnamed {name}"] = _ratio([mine for mine, _ in pairs], [theirs for _, theirs in pairs])
    return parts


def _ratio(generated: Sequence[float], real: Sequence[float]) -> Part:
    """Ratio of sums with its linearised standard error over captions."""
    mine, theirs = np.asarray(generated), np.asarray(real)
    count, total = len(mine), float(theirs.sum())
    value = float(mine.sum()) / total if total else float("nan")
    residual = mine - value * theirs
    error = float(np.sqrt((residual**2).sum() * count / (count - 1))) / total if count > 1 and total else None
    return Part(value=value, error=error, real=1.0, count=count)


class Faithfulness(Metric):
    """How often the garden's judge reads in the pictures what their captions name, attribute by attribute."""

    name: ClassVar[str] = "faithfulness"
    needs = frozenset({"judge", "captions"})

    def generated(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        assert batch.reading is not None
        return {"named": named_codes(batch.captions).astype(np.int8), "read": read_codes(batch.reading).astype(np.int8)}

    def real(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        return self.generated(batch)

    def figures(self, found: Found) -> list[Figure]:
        generated, real = (Agreement([rows["named"]], [rows["read"]]) for rows in (found.generated, found.real))
        overall = generated.overall(real)
        return [
            Figure(
                name=self.name,
                value=overall.value,
                error=overall.error,
                chance=overall.chance,
                shuffled=overall.shuffled,
                real=overall.real,
                parts=generated.parts(real),
                higher_is_better=True,
                implementation="limner: share of named attributes that the judge reads, mean over attributes",
                network="judge",
            )
        ]


class Diversity(Metric):
    """How much the pictures of one caption differ, compared with real pictures of one caption: 1 is as much."""

    name: ClassVar[str] = "diversity"
    needs = frozenset({"judge", "captions", "varied"})

    def varied(self, group: Group) -> Mapping[str, NDArray[Any]]:
        assert group.reading is not None and group.real is not None and group.real_reading is not None
        (named,) = named_codes([group.caption])
        return {
            "spread": Spread.of(group.images.cpu(), group.reading, named).row(),
            "spread real": Spread.of(group.real, group.real_reading, named).row(),
        }

    def figures(self, found: Found) -> list[Figure]:
        generated, real = ([Spread.of_row(row) for row in found.varied[name]] for name in ("spread", "spread real"))
        parts = diversity_parts(generated, real)
        return [
            Figure(
                name=self.name,
                value=parts["features"].value,
                error=parts["features"].error,
                real=1.0,
                parts=parts,
                higher_is_better=True,
                implementation="limner: mean pairwise distance of one caption's pictures, as a share of real pictures'",
                network="judge",
                settings={"varied captions": len(real), "noises": NOISES},
            )
        ]
