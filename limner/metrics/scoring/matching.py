"""How metrics use an image-text matching model as a judge, and how a trained one becomes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from limner.features.network import resized
from limner.matching.saving import load_matching
from limner.model.requests import check_caption
from limner.text.encoder import TextEncoder


@runtime_checkable
class MatchingJudge(Protocol):
    """Judges how well pictures and captions fit: an image-text matching model, as metrics use it.

    What it gives may be on any device; it has no gradient.
    """

    name: str
    """As the user names it."""
    content_hash: str
    """Changes with any weight."""

    def embed_captions(self, captions: list[str]) -> Tensor:
        """B captions -> [B, D]."""

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] float in [-1, 1], of any size R, on any device -> [B, D]."""

    def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
        """Embeddings [P, D] and [C, D], on any device -> [P, C], the larger the better they fit."""


class Placed:
    """A matching model of `limner.matching` that takes pictures of any size from any device: they are resized to what it wants."""

    def __init__(self, model: Any, name: str, resolution: int, content_hash: str) -> None:
        self.model, self.name, self.resolution, self.content_hash = model.eval(), name, resolution, content_hash
        self.resize = f"bilinear antialiased to {resolution}x{resolution}"

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu") -> Placed:
        """The matching model of a run folder or model folder. Raises CheckpointError where there is none."""
        model = load_matching(path, device)
        return cls(model, f"{model.title} of {Path(path).name}", model.resolution, model.content_hash)

    @property
    def encoder(self) -> TextEncoder:
        """What reads captions."""
        found: TextEncoder = self.model.encoder
        return found

    def check(self, caption: str) -> None:
        """Raise SettingsError for a caption that it cannot judge: empty, too long, or without a word that it knows."""
        check_caption(self.encoder, caption, suggest=True, reader="the judge")

    @torch.no_grad()
    def embed_captions(self, captions: list[str]) -> Tensor:
        """B captions -> [B, D]."""
        found: Tensor = self.model.embed_captions(captions)
        return found

    @torch.no_grad()
    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] float in [-1, 1], of any size R, on any device -> [B, D]."""
        device = next(self.model.parameters()).device
        found: Tensor = self.model.embed_pictures(resized(pictures.to(device), self.resolution))
        return found

    @torch.no_grad()
    def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
        """Embeddings [P, D] and [C, D], on any device -> [P, C], the larger the better they fit."""
        device = next(self.model.parameters()).device
        found: Tensor = self.model.similarity(pictures.to(device), captions.to(device))
        return found
