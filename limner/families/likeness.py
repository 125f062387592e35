"""How like real pictures painted ones are, without any network: by small patches at several scales, and by the method's own reading.

The distances are the sliced Wasserstein distances of Karras et al. (ICLR 2018, arXiv:1710.10196, section 5): patches of a Laplacian
pyramid, projected on random directions and sorted. There they are compared as such; here each is divided by that of pictures of one flat
colour, so that 0 is fog and 1 is what real pictures are. They stand still while a discriminator learns, so that the figures of two moments
of one training can be compared, and so can those of two trainings on one set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core.batch import Batch
from limner.core.method import Method
from limner.core.settings import at_least
from limner.families.settings import Checked

PATCH, PLACES, DIRECTIONS = 7, 64, 128
"""Side of a patch, patches taken from a picture at each scale, and directions on which they are projected."""
COARSEST = 16
"""Side of the smallest pictures that patches are taken from."""
FEWEST_PAINTED = 128
"""Pictures that are painted for a validation, at least: few captions are painted several times."""
VALIDATIONS = 40
"""How often held-out pairs are asked over a phase, where they may end it."""


@dataclass(frozen=True, kw_only=True)
class ValidationSettings(Checked):
    """When held-out pairs end training."""

    of_training = True
    patience: int = 0
    """Validations without a better score that end training, whose best state is kept; 0 trains to the end and keeps the newest."""

    def check(self) -> None:
        at_least(self, "method", 0, "patience")

    @property
    def validations(self) -> dict[str, int]:
        """What the phase is given: see `Phase`."""
        return {"evaluations": VALIDATIONS, "patience": self.patience} if self.patience else {}


def likeness(painted: Tensor, real: Tensor) -> float:
    """1 where two sets of pictures [N, 3, R, R] and [M, 3, R, R] have the same patches; 0 where the first have as little to do with the
    second as pictures of their mean colour have. The mean over scales; the same places and directions are drawn each time."""
    found = []
    for band, wanted in zip(pyramid(painted.float()), pyramid(real.float()), strict=True):
        drawn = torch.Generator().manual_seed(wanted.shape[-1])
        places = torch.randint(wanted.shape[-1] - PATCH + 1, (2, PLACES), generator=drawn).to(real.device)
        directions = F.normalize(torch.randn(3 * PATCH**2, DIRECTIONS, generator=drawn), dim=0).to(real.device)
        mine, theirs = (_patches(pictures, places) for pictures in (band, wanted))  # [N x PLACES, 3 x PATCH^2]
        flat = wanted.mean((0, 2, 3), keepdim=True).expand(1, -1, PATCH, PATCH).reshape(1, -1)
        fog = sliced(flat, theirs, directions)
        found.append(1.0 - min(sliced(mine, theirs, directions) / max(fog, 1e-12), 1.0))
    return sum(found) / len(found)


def pyramid(pictures: Tensor) -> list[Tensor]:
    """What each scale adds to the next coarser one, and the coarsest pictures: [N, 3, R, R] -> [N, 3, R, R], ..., [N, 3, 16, 16]."""
    bands = []
    while pictures.shape[-1] >= 2 * COARSEST:
        smaller = F.avg_pool2d(pictures, 2)
        bands.append(pictures - F.interpolate(smaller, scale_factor=2, mode="bilinear", align_corners=False))
        pictures = smaller
    return [*bands, pictures]


def sliced(first: Tensor, second: Tensor, directions: Tensor) -> float:
    """The mean, over directions [D, K], of the 1-Wasserstein distances of [N, D] and [M, D], by as many quantiles as the larger has."""
    count = max(len(first), len(second))
    shares = (torch.arange(count, device=first.device) + 0.5) / count
    one, other = ((rows @ directions).sort(0).values[(shares * len(rows)).long()] for rows in (first, second))
    return float((one - other).abs().mean().detach())


def _patches(pictures: Tensor, places: Tensor) -> Tensor:
    """The squares of PATCH at these upper left corners [2, P]: [N, 3, S, S] -> [N P, 3 PATCH^2]."""
    along = torch.arange(PATCH, device=pictures.device)
    rows, columns = places[0, :, None] + along, places[1, :, None] + along  # [P, PATCH]
    found = pictures[:, :, rows[:, :, None], columns[:, None, :]]  # [N, 3, P, PATCH, PATCH]
    return found.transpose(1, 2).reshape(-1, pictures.shape[1] * PATCH**2)


def validated(method: Method[Any], batches: Sequence[Batch], finds: Callable[[Batch, Tensor], Tensor] | None = None) -> dict[str, float]:
    """Figures of the pictures that a method paints for held-out captions; "score" is the mean of them, from 0 to 1.

    "likeness": to the held-out pictures; "recognised": the share of painted pictures in which the method's own reading finds the caption.
    finds: [B] bool, whether it does so, of pictures [B, 3, R, R] painted for a batch's captions.
    """
    real = torch.cat([batch.pictures for batch in batches])
    painted, right = [], []
    for number in range(max(1, FEWEST_PAINTED // len(real))):
        for batch in batches:
            painted.append(method.paint(batch.text, method.noise(batch, f"validation {number}")).images.float())
            if finds is not None:
                right.append(finds(batch, painted[-1]).float())
    figures = {"likeness": likeness(torch.cat(painted), real)}
    if right:
        figures["recognised"] = float(torch.cat(right).mean())
    return {"score": sum(figures.values()) / len(figures), **figures}
