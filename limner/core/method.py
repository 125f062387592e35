"""The contract of methods: what is trained and paints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core.batch import Batch
from limner.core.noise import NoiseType
from limner.core.text import TextFeatures
from limner.core.trainable import Trainable


@dataclass(frozen=True)
class Painting:
    """What a method paints: final images, and what else it has to show."""

    images: Tensor
    """[B, 3, H, W] in [-1, 1]."""
    stages: tuple[Tensor, ...] = ()
    """The pictures on the way there, from rough to fine, without the final ones: [B, 3, h, w] each, in [-1, 1]."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """Attention maps, layouts: by name, samples along the first dimension."""

    @staticmethod
    def cat(parts: Sequence[Painting]) -> Painting:
        """Join paintings of one method. Extras whose size depends on the captions, such as a map a word, are padded with zeros."""
        stages = tuple(torch.cat(stage) for stage in zip(*(part.stages for part in parts), strict=True))
        extras = {name: _padded([part.extras[name] for part in parts]) for name in parts[0].extras}
        return Painting(torch.cat([part.images for part in parts]), stages, extras)


def _padded(values: Sequence[Tensor]) -> Tensor:
    """Joins [B, ...] tensors, each brought to the largest size along every other dimension."""
    sizes = [max(value.shape[place] for value in values) for place in range(values[0].ndim)]
    missing = [[size - own for size, own in zip(sizes[1:], value.shape[1:], strict=True)] for value in values]
    return torch.cat(
        [F.pad(value, [amount for more in reversed(by) for amount in (0, more)]) for value, by in zip(values, missing, strict=True)]
    )


class Method(Trainable, Generic[NoiseType]):
    """A system of one paper: settings, networks, players, phases, step and painting in one file.

    What a method can do beyond painting is said by the protocols in `limner.core.abilities`, whose functions it simply defines. A class may
    name its noise, as in `class Mine(Method[VectorNoise])`; type checkers then know what `noise` returns and `paint` receives.
    """

    kind = "method"
    rows: ClassVar[int] = 1
    """How many rows of a painting belong together, such as the frames of a story: they are never cut apart."""
    exported: ClassVar[bool] = False
    """Whether it is an exported file, which paints captions and does nothing else."""

    @abstractmethod
    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> NoiseType:
        """Every random input of painting these sample numbers, on the default device; a function of (seed, stream, number) alone."""

    @abstractmethod
    def paint(self, text: TextFeatures, noise: NoiseType) -> Painting:
        """Paint one picture for each row of the text. Gradients may be taken within, by `torch.enable_grad()`."""

    def summary(self) -> str:
        side, how = self.resolution, "from captions" if self.reads_text(self.settings) else "without captions"
        return f"Paints {side} x {side} pictures {how}."

    def usage(self) -> str:
        asked = '"a caption like those it was trained on", ' if self.reads_text(self.settings) else ""
        return f"""```python
import limner
model = limner.load("PATH")
pictures = model.generate({asked}n=4, seed=7)
```
"""

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        asked = '"..."' if cls.reads_text(settings) else "-n 16"
        return (*super().next_steps(settings), ("paint", f"limner generate RUN {asked} --out pictures"))

    def noise(self, batch: Batch, stream: str) -> NoiseType:
        """Fresh noise for each row of a training batch, on its device."""
        device = batch.pictures.device
        with device:
            return self.draw_noise(batch.seed, np.asarray(batch.samples), stream).to(device)
