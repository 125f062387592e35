"""The judge: a compact network that reads the attributes of a garden picture. Its pooled features are the garden's feature network.

It is made and trained by `limner.parts.garden_judge`; its weights ship with Limner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from limner.features.network import Stage, StagedNetwork, resized, to_float
from limner.features.saved import load_network, save_network

SIDE = 64
_CHANNELS = (24, 24, 48, 48, 64, 64, 96)
_STRIDES = (2, 1, 2, 1, 2, 1, 2)


@dataclass(frozen=True)
class Reading:
    """What the judge reads in a batch of pictures."""

    features: Tensor
    """[B, D]."""
    logits: Mapping[str, Tensor]
    """For each attribute [B, number of its values]."""

    def codes(self) -> dict[str, Tensor]:
        """The likeliest value of each attribute: [B] int64 positions."""
        return {name: value.argmax(1) for name, value in self.logits.items()}


class AttributeJudge(StagedNetwork):
    """Convolutions from 64x64 to 4x4, an embedding, and a linear head for each attribute.

    attributes: the values of each attribute, in the order of the logits. classes: the attributes whose product is a picture's class;
    class logits are the sums of their log-probabilities, the first attribute varying slowest. Stages are layer1, ... layer7, embedding.
    """

    name = "garden"
    width = 128
    resize = "bilinear antialiased to 64x64"

    def __init__(self, attributes: Mapping[str, tuple[str, ...]], classes: tuple[str, ...] = ("colour", "shape")) -> None:
        super().__init__()
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        self.classes = classes
        layers: list[nn.Module] = []
        previous = 3
        for channels, stride in zip(_CHANNELS, _STRIDES, strict=True):
            convolution = nn.Conv2d(previous, channels, 4 if stride == 2 else 3, stride=stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
            previous = channels
        self.trunk = nn.Sequential(*layers)
        self.embedding = nn.Sequential(nn.Linear(2 * previous, self.width, bias=False), nn.BatchNorm1d(self.width), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(self.width, len(values)) for name, values in self.attributes.items()})
        self.logit_count = 1
        for name in classes:
            self.logit_count *= len(self.attributes[name])

    def prepare(self, images: Tensor) -> Tensor:
        """[B, 3, H, W], uint8 or float in [-1, 1] -> [B, 3, 64, 64]."""
        return resized(to_float(images), SIDE)

    def scaled(self, images: Tensor) -> Tensor:
        """Pictures at their own size."""
        return to_float(images)

    def stages(self) -> list[Stage]:
        layers: list[Stage] = [(f"layer{number + 1}", self.trunk[3 * number : 3 * number + 3]) for number in range(len(_CHANNELS))]
        return [*layers, ("embedding", self._embed)]

    def _embed(self, x: Tensor) -> Tensor:
        return self.embedding(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))

    def read(self, images: Tensor) -> Reading:
        """Read pictures [B, 3, H, W] of any size, uint8 or float in [-1, 1]."""
        features = self._embed(self.trunk(self.prepare(images)))
        return Reading(features, {name: head(features) for name, head in self.heads.items()})

    def class_logits(self, reading: Reading) -> Tensor:
        """Log-probabilities [B, logit_count] of the classes, taking a class's attributes as independent."""
        joint = torch.zeros(len(reading.features), 1, device=reading.features.device)
        for name in self.classes:
            joint = (joint[:, :, None] + reading.logits[name].log_softmax(1)[:, None, :]).flatten(1)
        return joint

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        reading = self.read(images)
        return reading.features, self.class_logits(reading)


def save_judge(judge: AttributeJudge, path: Path, card: str | None = None) -> None:
    """Write a judge's folder."""
    save_network(judge, "judge", {"name": "garden-judge", "attributes": judge.attributes, "classes": judge.classes}, path, card)


def load_judge(path: Path | None = None) -> AttributeJudge:
    """The judge that ships with Limner, or one of a run or folder; raises CheckpointError where it cannot be read."""
    return load_network("judge", "garden-judge", path, lambda config: AttributeJudge(config["attributes"], tuple(config["classes"])))
