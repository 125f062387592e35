"""What every network that turns pictures into features offers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import unknown_name

if TYPE_CHECKING:
    from typing_extensions import Self


Stage = tuple[str, Callable[[Tensor], Tensor]]


class FeatureNetwork(nn.Module, ABC):
    """A frozen network that turns pictures into features: for scores, and (it is differentiable) for losses.

    name: as the user names it. width: number D of features. logit_count: number of classes it tells apart, or None.
    resize: how pictures of any size become its input; the text is part of every score's protocol.
    content_hash: changes with any weight; set by `freeze`, which loaders call last.
    at_once: how many pictures at once, their channels last, are fastest on a CPU, whose cache then holds their maps; None where it is all.
    """

    name: str
    width: int
    logit_count: int | None
    resize: str
    content_hash: str = ""
    at_once: int | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """[B, 3, H, W], uint8 or float in [-1, 1] -> features [B, D] and class logits [B, logit_count], or None without classes."""

    @torch.no_grad()
    def look(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """The same without gradients, as fast as the machine can: on a CPU `at_once` pictures at a time."""
        if self.at_once is None or images.device.type != "cpu":
            return self(images)
        images = images.contiguous(memory_format=torch.channels_last)
        features, logits = zip(*(self(part) for part in images.split(self.at_once)), strict=True)
        return torch.cat(features), None if logits[0] is None else torch.cat(logits)

    def freeze(self) -> Self:
        """Fix the weights, switch to evaluation and take their hash. Gradients still flow to the pictures."""
        self.content_hash = hash_of(self.state_dict())
        return self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """As any module's; but once frozen it stays in evaluation, whatever mode the model around it is in."""
        return super().train(mode and not self.content_hash)


class StagedNetwork(FeatureNetwork):
    """A feature network made of named stages, so that losses and matching models can take any of them."""

    @abstractmethod
    def prepare(self, images: Tensor) -> Tensor:
        """Pictures [B, 3, H, W], uint8 or float in [-1, 1] -> the network's input, resized and scaled as `resize` says."""

    def scaled(self, images: Tensor) -> Tensor:
        """The same at the pictures' own size, for stages that take any; as `prepare` where a network does not have it."""
        return self.prepare(images)

    @abstractmethod
    def stages(self) -> Sequence[Stage]:
        """The network's stages by name, each fed with the one before it."""

    def tap_names(self) -> tuple[str, ...]:
        """The names of what `taps` can give."""
        return tuple(name for name, _ in self.stages())

    def taps(self, prepared: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Outputs of the named stages for prepared input; nothing is computed beyond the last of them.

        Any input that the network's convolutions can take will do, at another size and scale than `prepare` gives where a paper wants so.
        Raises SettingsError for a name that does not exist.
        """
        stages, found = self.stages(), dict[str, Tensor]()
        known = [name for name, _ in stages]
        for name in names:
            if name not in known:
                raise unknown_name(f"stage of the feature network '{self.name}' called", name, known)
        last = max(known.index(name) for name in names)
        for name, stage in stages[: last + 1]:
            prepared = stage(prepared)
            if name in names:
                found[name] = prepared
        return found


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """Twelve hexadecimal digits that change with any name, shape or value."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().reshape(-1).numpy().data)
    return digest.hexdigest()[:12]


def to_float(images: Tensor) -> Tensor:
    """Pictures as float32 in [-1, 1]: uint8 is scaled, floats are taken to be there already."""
    if images.dtype == torch.uint8:
        return images.float() / 127.5 - 1.0
    return images.float()


def to_bytes(images: Tensor) -> Tensor:
    """[B, 3, H, W] in [-1, 1] -> uint8."""
    return images.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)


def to_levels(images: Tensor) -> Tensor:
    """Pictures as float32 in [0, 255]: uint8 keeps its values, floats are taken to be in [-1, 1]."""
    return (images.float() + 1.0) * 127.5 if images.is_floating_point() else images.float()


def resized(images: Tensor, side: int) -> Tensor:
    """Squash float pictures to [B, 3, side, side]: bilinear, antialiased where they shrink.

    Pictures in half precision, such as networks paint them under autocast, become float32: a CPU has no antialiasing for them.
    """
    if images.shape[-2:] == (side, side):
        return images
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
