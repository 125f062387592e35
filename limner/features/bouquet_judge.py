"""The scene judge: a compact network that finds the flowers of a bouquet and reads each.

It works in three parts, each of which looks at less and more closely: a map of the whole picture says where flowers are and how large; a
patch around each is read for its attributes, as the garden's judge reads a single flower; and a patch around each two that touch, turned
so that one lies to the left of the other, is read for which of them is in front.

It is made and trained by `limner.parts.bouquet_judge`; its weights ship with Limner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.features.network import FeatureNetwork, resized, to_float
from limner.features.saved import load_network, save_network

SIDE = 64
GRID = 16
"""Cells across the map of places."""
MOST = 6
"""Flowers that are read at the most; a bouquet has four, and a generator may paint more."""
SHIPPED, KIND = "bouquet-judge", "scene judge"

_PATCH, _PAIR_PATCH = 32, 24
_REACH = 1.15  # half a patch's side, in radii
_SURE = 0.4  # a cell whose probability is the highest around, and above this, holds a flower
_TOUCHING = 0.97  # of the sum of two radii
_EMBEDDING = 128


@dataclass(frozen=True)
class SceneReading:
    """What the judge reads in a batch of pictures, at most `MOST` flowers each, the surest first."""

    features: Tensor
    """[B, D] of the whole picture."""
    counts: Tensor
    """[B] int64, how many flowers there are."""
    places: Tensor
    """[B, MOST, 2] centres, from the left and from the top, as shares of the picture's sides."""
    radii: Tensor
    """[B, MOST] as shares of the picture's side."""
    boxes: Tensor
    """[B, MOST, 4] left, top, width and height of the whole blossoms."""
    codes: Mapping[str, Tensor]
    """For each attribute [B, MOST] the likeliest value; the background is the picture's, [B]."""
    front: Tensor
    """[B, MOST, MOST] bool: whether the first touches the second and is in front of it."""


class SceneJudge(FeatureNetwork):
    """Finds flowers on a map of 16 x 16 cells, reads the attributes of each in a patch of 32 x 32, and of each two that touch who is in
    front in one of 24 x 24.

    attributes: the values of each attribute, in the order of the logits; the background is read of the whole picture.
    """

    name = "bouquets"
    width = 64
    logit_count = None
    resize = "bilinear antialiased to 64x64"

    def __init__(self, attributes: Mapping[str, tuple[str, ...]], background: str = "background") -> None:
        super().__init__()
        self.attributes = {name: tuple(values) for name, values in attributes.items()}
        self.background = background
        self.fine = nn.Sequential(*_block(3, 24, 4, 2), *_block(24, 24), *_block(24, 48, 4, 2), *_block(48, 48))  # to 16 x 16
        self.coarse = nn.Sequential(*_block(48, 64, 4, 2), *_block(64, 64), *_block(64, 64))  # to 8 x 8
        self.joined = nn.Sequential(*_block(64 + 48, 64, 1), *_block(64, 64))
        self.map = nn.Conv2d(64, 8, 1)  # whether, offset (2), radius, how far the blossom reaches to the left, top, right, bottom
        self.ground = nn.Linear(128, len(self.attributes[background]))
        self.patch = nn.Sequential(
            *_block(3, 32, 4, 2), *_block(32, 32), *_block(32, 64, 4, 2), *_block(64, 64), *_block(64, 96, 4, 2), nn.Flatten()
        )
        self.embedding = nn.Sequential(nn.Linear(96 * 16 + 1, _EMBEDDING, bias=False), nn.BatchNorm1d(_EMBEDDING), nn.ReLU())
        own = {name: len(values) for name, values in self.attributes.items() if name != background}
        self.heads = nn.ModuleDict({name: nn.Linear(_EMBEDDING, count) for name, count in own.items()})
        self.pair = nn.Sequential(
            *_block(3, 24, 4, 2), *_block(24, 48, 4, 2), *_block(48, 48), nn.Flatten(), nn.Linear(48 * 36, 64), nn.ReLU(), nn.Linear(64, 1)
        )
        nn.init.constant_(self.map.bias[:1], -4.0)  # type: ignore[index]  # few cells hold a flower

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        return self.seen(self.prepared(images))[1], None

    @staticmethod
    def prepared(images: Tensor) -> Tensor:
        """[B, 3, H, W], uint8 or float in [-1, 1] -> [B, 3, 64, 64]."""
        return resized(to_float(images), SIDE)

    def seen(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prepared pictures -> the map [B, 8, 16, 16], features [B, 64] and logits of the background [B, values]."""
        fine = self.fine(pictures)
        coarse = self.coarse(fine)
        joined = self.joined(torch.cat([F.interpolate(coarse, scale_factor=2.0, mode="nearest"), fine], dim=1))
        features = coarse.mean((2, 3))
        return self.map(joined), features, self.ground(torch.cat([features, coarse.amax((2, 3))], dim=1))

    def attributes_of(self, pictures: Tensor, rows: Tensor, places: Tensor, radii: Tensor) -> dict[str, Tensor]:
        """Logits [n, values] of each attribute of flowers at places [n, 2] of pictures `rows` [n], with radii [n]."""
        embedding = self.embedding(torch.cat([self.patch(patches(pictures, rows, places, radii * _REACH)), radii[:, None] * 4.0], dim=1))
        return {name: head(embedding) for name, head in self.heads.items()}

    def in_front(self, pictures: Tensor, rows: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Logits [n] that the flower at the first of two places [n, 2] is in front of the one at the second."""
        return self.pair(pair_patches(pictures, rows, first, second))[:, 0]

    @torch.no_grad()
    def read(self, images: Tensor) -> SceneReading:
        """Read pictures [B, 3, H, W] of any size, uint8 or float in [-1, 1]."""
        pictures = self.prepared(images)
        found, features, ground = self.seen(pictures)
        chance = found[:, 0].sigmoid()
        peaks = torch.where((chance == F.max_pool2d(chance, 3, 1, 1)) & (chance > _SURE), chance, 0.0).flatten(1)
        sure, cells = peaks.topk(MOST, dim=1)
        there = sure > 0
        values = found.flatten(2).gather(2, cells[:, None].expand(-1, found.shape[1], -1)).transpose(1, 2)  # [B, MOST, 8]
        corners = torch.stack([cells % GRID, cells // GRID], 2)
        places = ((corners + values[..., 1:3].clamp(-0.5, 1.5)) / GRID).clamp(0.0, 1.0)
        radii = values[..., 3].clamp(0.02, 0.6)
        reach = values[..., 4:].clamp_min(0.0)
        boxes = torch.cat([places - reach[..., :2], reach[..., :2] + reach[..., 2:]], 2) * there[..., None]
        rows, which = there.nonzero(as_tuple=True)
        codes = {name: torch.zeros_like(cells) for name in self.heads}
        if len(rows):
            for name, logits in self.attributes_of(pictures, rows, places[rows, which], radii[rows, which]).items():
                codes[name][rows, which] = logits.argmax(1)
        codes[self.background] = ground.argmax(1)
        return SceneReading(features, there.sum(1), places, radii, boxes, codes, self._depths(pictures, places, radii, there))

    def _depths(self, pictures: Tensor, places: Tensor, radii: Tensor, there: Tensor) -> Tensor:
        near = torch.cdist(places, places) < _TOUCHING * (radii[:, :, None] + radii[:, None])
        pairs = near & there[:, :, None] & there[:, None] & torch.ones_like(near).triu(1)
        front = torch.zeros_like(near)
        rows, first, second = pairs.nonzero(as_tuple=True)
        if len(rows):
            a, b = places[rows, first], places[rows, second]
            wins = self.in_front(pictures, rows, a, b) > self.in_front(pictures, rows, b, a)
            front[rows, first, second], front[rows, second, first] = wins, ~wins
        return front


def _block(inner: int, outer: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inner, outer, kernel, stride=stride, padding=0 if kernel == 1 else 1, bias=False)
    return [convolution, nn.BatchNorm2d(outer), nn.ReLU(inplace=True)]


def patches(pictures: Tensor, rows: Tensor, places: Tensor, reach: Tensor) -> Tensor:
    """Squares of 32 x 32 about places [n, 2] of pictures `rows`, which reach [n] to each side, all as shares: [n, 3, 32, 32]."""
    steps = ((torch.arange(_PATCH, device=pictures.device) + 0.5) / _PATCH * 2.0 - 1.0) * 2.0
    offset = reach[:, None, None, None] * torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    grid = (places * 2.0 - 1.0)[:, None, None] + offset
    return F.grid_sample(pictures[rows], grid, padding_mode="border", align_corners=False)


def pair_patches(pictures: Tensor, rows: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Squares of 24 x 24 about the middle of two places, turned so that the first lies left and the second right: [n, 3, 24, 24]."""
    steps = (torch.arange(_PAIR_PATCH, device=pictures.device) + 0.5) / _PAIR_PATCH * 2.0 - 1.0
    x, y = torch.meshgrid(steps, steps, indexing="xy")
    along = second - first  # [n, 2]; in the grid's units, from -1 to 1, it is half of the way
    across = torch.stack([-along[:, 1], along[:, 0]], 1)
    middle = first + second - 1.0
    grid = middle[:, None, None] + 1.5 * (along[:, None, None] * x[..., None] + across[:, None, None] * y[..., None])
    return F.grid_sample(pictures[rows], grid, padding_mode="border", align_corners=False)


def save_scene_judge(judge: SceneJudge, path: Path, card: str | None = None) -> None:
    """Write a judge's folder."""
    save_network(judge, KIND, {"name": SHIPPED, "attributes": judge.attributes, "background": judge.background}, path, card)


def load_scene_judge(path: Path | None = None) -> SceneJudge:
    """The scene judge that ships with Limner, or one of a run or folder; raises CheckpointError where it cannot be read."""
    return load_network(KIND, SHIPPED, path, lambda config: SceneJudge(config["attributes"], config["background"]))
