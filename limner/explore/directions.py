"""Directions of styles that change pictures most, found without training, in closed form (Shen and Zhou, SeFa, CVPR 2021)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from limner.core.errors import SettingsError
from limner.data.garden import ATTRIBUTES
from limner.data.sheet import caption_grid
from limner.explore.parts import parts
from limner.explore.styles import check_caption_for_styles, painted, styled, styles_of
from limner.features.garden_judge import AttributeJudge
from limner.features.network import to_float
from limner.metrics.scoring.matching import MatchingJudge
from limner.model.requests import check_count

if TYPE_CHECKING:
    from limner.model import Model

MEASURED = 256
"""Random pictures whose styles say how far styles are spread along a direction."""
CHUNK = 16
"""Pictures that are drawn and painted at a time."""
NAMED = 2
"""How many changes a direction is named by, at most."""
SEEN = 0.1
"""The smallest share of pictures in which a change must be seen to name a direction."""
Namer = Callable[[Tensor, Tensor], list[str]]
"""(uint8 pictures at one end [N, 3, H, W], the same at the other) -> what changes, most first."""


@dataclass(frozen=True)
class Direction:
    """One direction of styles. strength: the share of the squared changes of the maps' scales that lies along it. strip: [P, S, H, W, 3]
    uint8, pictures P moved by S steps. names: what is seen to change, where a judge was asked."""

    number: int
    strength: float
    vector: Tensor
    strip: NDArray[np.uint8]
    names: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        named = f": {', '.join(self.names)}" if self.names else ""
        return f"direction {self.number}, {self.strength:.1%} of the weights' change{named}"


def factorised(weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Unit directions [W, W], one a row, and their shares [W] of what the weights [C, W] do together, strongest first.

    They are the eigenvectors of A^T A, Eq. 6, where A stacks the weights. Signs are free there: here a direction's largest number is
    positive.
    """
    stacked = torch.cat([weight.detach().double() for weight in weights])
    values, vectors = torch.linalg.eigh(stacked.T @ stacked)
    values, vectors = values.flip(0).clamp_min(0.0), vectors.T.flip(0)
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * largest.sign(), values / values.sum()


def directions(
    model: Model,
    *,
    caption: str = "",
    count: int = 5,
    pictures: int = 2,
    steps: int = 7,
    distance: float = 3.0,
    layers: tuple[int, int] | None = None,
    seed: int = 0,
    namer: Namer | None = None,
    named_by: int = 64,
) -> list[Direction]:
    """The strongest directions, each with a slider's strip.

    pictures: rows of a strip; steps: pictures along it, from -distance to distance, in standard deviations of the model's own styles along
    the direction. layers: the first and the last place that is factorised and moved; by default all. namer: sees the two ends of `named_by`
    pictures. Raises SettingsError for a model without styles, and for numbers that cannot be.
    """
    method = styled(model)
    check_caption_for_styles(model, caption)
    weights = method.style_weights()
    places, width = len(weights), weights[0].shape[1]
    first, last = (0, places - 1) if layers is None else layers
    if not 0 <= first <= last < places:
        raise SettingsError(f"--layers is {first} {last}, but this model has places 0 to {places - 1}: give the first and the last of them")
    for name, value, least in (("--count", count, 1), ("--pictures", pictures, 1), ("--steps", steps, 2)):
        check_count(name, value, least)
    if count > width:
        raise SettingsError(f"--count is {count}, but styles have {width} numbers, and so many directions")
    if not 0 < distance < math.inf:
        raise SettingsError(f"--distance is {distance:g}, but must be above 0 and finite")
    vectors, shares = factorised(weights[first : last + 1])
    samples = pictures + named_by + np.arange(MEASURED)
    spread = torch.cat([styles_of(model, caption, model.noise(seed, samples[part]))[:, first] for part in parts(MEASURED, CHUNK)]).double()
    found = []
    for number in range(count):
        vector = vectors[number].to(spread)
        step = (vector * (spread @ vector).std()).float()
        move = Move(model, caption, seed, step, first, last)
        strip = move(np.linspace(-distance, distance, steps).tolist(), np.arange(pictures))
        names = []
        if namer is not None:
            ends = move([-distance, distance], pictures + np.arange(named_by))
            names = namer(ends[:, 0], ends[:, 1])
        shown = strip.permute(0, 1, 3, 4, 2).cpu().numpy()
        found.append(Direction(number + 1, float(shares[number]), vectors[number].float(), shown, names))
    return found


@dataclass(frozen=True)
class Move:
    """Paints pictures of a seed with their styles moved by a step [W] at the places from `first` to `last`."""

    model: Model
    caption: str
    seed: int
    step: Tensor
    first: int
    last: int

    def __call__(self, amounts: Sequence[float], samples: NDArray[np.int64]) -> Tensor:
        """Each of these samples moved by each of these numbers of steps: [samples, amounts, 3, H, W] uint8."""
        found = []
        for rows in parts(len(samples), max(CHUNK // len(amounts), 1)):
            part = samples[rows]
            noise = self.model.noise(self.seed, np.repeat(part, len(amounts)))
            styles = styles_of(self.model, self.caption, noise).clone()
            shift = torch.as_tensor(np.tile(amounts, len(part)), dtype=styles.dtype, device=styles.device)
            styles[:, self.first : self.last + 1] += shift[:, None, None] * self.step.to(styles)
            found.append(painted(self.model, styles, noise).unflatten(0, (len(part), len(amounts))))
        return torch.cat(found)


def by_attributes(judge: AttributeJudge) -> Namer:
    """Names by the attributes of garden pictures that a judge reads otherwise at the two ends, with the share of pictures."""

    @torch.inference_mode()
    def name(one: Tensor, other: Tensor) -> list[str]:
        device = next(judge.parameters()).device
        before, after = (judge.read(pictures.to(device)).codes() for pictures in (one, other))
        changed = {attribute: float((before[attribute] != after[attribute]).double().mean()) for attribute in ATTRIBUTES}
        return [f"{attribute} {share:.0%}" for attribute, share in _most(changed)]

    return name


def by_labels(judge: MatchingJudge, labels: Sequence[str]) -> Namer:
    """Names by the labels that fit pictures best at one end and not at the other, by a matching model, with the share of pictures."""
    embedded = judge.embed_captions(list(labels))

    @torch.inference_mode()
    def name(one: Tensor, other: Tensor) -> list[str]:
        best = [judge.similarity(judge.embed_pictures(to_float(pictures)), embedded).argmax(1).tolist() for pictures in (one, other)]
        pairs = list(zip(*best, strict=True))
        moves = {f"'{labels[a]}' to '{labels[b]}'": pairs.count((a, b)) / len(pairs) for a, b in dict.fromkeys(pairs) if a != b}
        return [f"{move} {share:.0%}" for move, share in _most(moves)]

    return name


def _most(changes: dict[str, float]) -> list[tuple[str, float]]:
    """The greatest changes, if they are seen often enough."""
    ordered = sorted(changes.items(), key=lambda item: -item[1])
    return [item for item in ordered[:NAMED] if item[1] >= SEEN]


def directions_page(found: Sequence[Direction]) -> Image.Image:
    """A row for each direction and picture."""
    rows = [list(strip) for direction in found for strip in direction.strip]
    captions = [str(direction) if number == 0 else "" for direction in found for number in range(len(direction.strip))]
    return caption_grid(rows, captions, tile=96)
