"""What a discriminator is shown instead of pictures, so that it cannot learn a small set by heart (Karras et al., NeurIPS 2020, ADA).

Real and generated pictures are changed alike, at random, by changes that gradients pass. Each change is made to a row with a probability
below 1, the strength; then a generator that paints as changed pictures look is found out (section 2.2 there). The changes are those of
DiffAugment (Zhao et al., NeurIPS 2020) with a tenth of ADA's code, and mirroring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core.errors import SettingsError
from limner.core.settings import at_least
from limner.families.settings import Checked
from limner.matching.losses.gathering import processes

Change = Literal["translation", "cutout", "flip"]
FARTHEST = 1 / 8
"""How far a picture is moved at most, as a share of its side."""
CUT = 1 / 2
"""Side of the square that is cut out, as a share of the picture's."""
STRONGEST = 0.8
"""The greatest strength: from about here on, changes leak into what is painted (ADA, figure 4)."""
ADAPTED_EVERY = 4
"""Steps between two moves of the strength (ADA, section 3)."""


@dataclass(frozen=True, kw_only=True)
class ChangeSettings(Checked):
    """How pictures are changed before a discriminator sees them, and how strongly."""

    of_training = True
    augmentation: tuple[Change, ...] = ()
    """How pictures are changed before the discriminator sees them: `translation`, `cutout`, `flip`; for sets of few thousand pictures.
    `flip` is for things that may be mirrored. None as published."""
    augmentation_strength: float = 0.0
    """Probability of each change, or the one that training begins with, where it adapts."""
    augmentation_target: float | None = 0.6
    """Target of the mean sign of real pictures' logits; the strength grows while it is higher. None keeps the strength."""
    augmentation_images: int = 500_000
    """Pictures over which the strength can grow from 0 to 1."""

    def check(self) -> None:
        at_least(self, "method", 1, "augmentation_images")
        if not 0.0 <= self.augmentation_strength <= STRONGEST:
            given = f"method.augmentation-strength is {self.augmentation_strength}, but must lie between 0 and {STRONGEST}"
            raise SettingsError(f"{given}: changes that are nearly certain leak into what is painted")
        if self.augmentation_target is not None and not -1.0 < self.augmentation_target < 1.0:
            raise SettingsError(f"method.augmentation-target is {self.augmentation_target}, but a mean sign lies between -1 and 1")
        if self.augmentation and not self.augmentation_strength and self.augmentation_target is None:
            raise SettingsError("method.augmentation would never happen: give method.augmentation-strength, or a target that it adapts to")
        if not self.augmentation and self.augmentation_strength:
            raise SettingsError("method.augmentation-strength is for method.augmentation: say what is changed, such as translation cutout")


class Augmenting:
    """A method whose discriminator sees changed pictures; its settings have the fields of `ChangeSettings`.

    strength: the probability of each change, which the method keeps as its state where it changes anything.
    """

    settings: Any
    strength: float = 0.0

    def changed(self, pictures: Tensor, alike: Tensor | None = None) -> Tensor:
        """What the discriminator sees of pictures [B, 3, R, R]; see `augmented`."""
        return augmented(pictures, self.settings.augmentation, self.strength, alike)

    def adapt(self, step: int, real: Tensor) -> None:
        """Move the strength after some of the steps. real: the logits [B] of a step's real pictures."""
        settings = self.settings
        if settings.augmentation and settings.augmentation_target is not None and step % ADAPTED_EVERY == 0:
            share = shared_by_processes(real.detach().sign().mean())
            seen = ADAPTED_EVERY * len(real) * processes()
            self.strength = adapted(self.strength, share, settings.augmentation_target, seen, settings.augmentation_images)


def shared_by_processes(value: Tensor) -> float:
    """The mean over all processes of a scalar, as a number: state must be alike in all of them."""
    value = value.detach().float()
    if processes() > 1:
        torch.distributed.all_reduce(value)
        value = value / processes()
    return float(value)


def augmented(pictures: Tensor, changes: Sequence[Change], strength: float, alike: Tensor | None = None) -> Tensor:
    """Pictures [B, 3, R, R], each changed in each of these ways with a probability of `strength`; drawn on their device.

    alike: [B] int64, a number below B for each picture; those of one number are changed in the same way.
    """
    given = torch.arange(len(pictures), device=pictures.device) if alike is None else alike
    for change in changes if strength > 0 else ():
        chosen = torch.rand(len(pictures), 1, 1, 1, device=pictures.device) < strength
        pictures = torch.where(chosen[given], _CHANGES[change](pictures, given), pictures)
    return pictures


def translated(pictures: Tensor, given: Tensor) -> Tensor:
    """Moved by whole pixels, up to FARTHEST of the side along either axis; what comes in is grey (0). given: [B], whose draw each takes."""
    count, _, height, width = pictures.shape
    device, reach = pictures.device, round(max(height, width) * FARTHEST)
    down, right = torch.randint(-reach, reach + 1, (2, count, 1), device=device)[:, given]
    rows = (torch.arange(height, device=device) + down).clamp(-1, height) + 1  # [B, H], of pictures with a border of one
    columns = (torch.arange(width, device=device) + right).clamp(-1, width) + 1
    bordered = F.pad(pictures, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    row = torch.arange(count, device=device)[:, None, None]
    return bordered[row, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(pictures: Tensor, given: Tensor) -> Tensor:
    """A square of CUT of the side, around a random place, is grey (0). given: [B], whose draw each takes."""
    count, _, height, width = pictures.shape
    near = []
    for side, axis in ((height, 2), (width, 3)):
        centre = torch.randint(side, (count, 1), device=pictures.device)[given]
        place = torch.arange(side, device=pictures.device)
        within = (place - centre >= -side * CUT / 2) & (place - centre < side * CUT / 2)  # [B, side]
        near.append(within[:, None, :, None] if axis == 2 else within[:, None, None, :])
    return pictures * ~(near[0] & near[1])


def flipped(pictures: Tensor, given: Tensor) -> Tensor:
    """Mirrored, left for right."""
    return pictures.flip(3)


_CHANGES = {"translation": translated, "cutout": cut_out, "flip": flipped}


def adapted(strength: float, share: float, target: float, pictures: int, images: int) -> float:
    """The strength after some real pictures were judged: more where the discriminator is too sure of them, else less.

    share: the mean sign of their logits, from -1 to 1 (r_t of section 3); target: what that shall be; pictures: how many have been seen
    since the strength last moved; images: how many it takes to go from 0 to 1.
    """
    step = pictures / images
    return min(max(strength + (step if share > target else -step), 0.0), STRONGEST)
