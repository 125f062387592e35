"""The contract of image-text matching models: embed captions, embed pictures, score pairs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limner.core.method import Method
from limner.data.loader import to_network
from limner.data.pictures import CaptionedPictures
from limner.text.encoder import TextEncoder

if TYPE_CHECKING:
    from typing_extensions import Self


class MatchingModel(Method):
    """A model that says how well a caption fits a picture. It trains like a method, by the same loop, and owns its text encoder.

    encoder: the text encoder, which other methods can take with `--text.encoder RUN`.
    resolution: `conditions.resolution`, the side of the pictures that `embed_pictures` wants.
    looks_with: what fixed network it sees pictures through, name and weights' hash, or "" where it trains its own.
    about: what is known of its making; content_hash: changes with any weight; both are set where a saved model is loaded.
    """

    encoder: TextEncoder
    looks_with: str = ""
    about: dict[str, Any] = {}
    content_hash: str = ""

    @classmethod
    @abstractmethod
    def for_data(cls, settings: Any, pictures: CaptionedPictures, resolution: int) -> Self:
        """A model with fresh weights for these training pictures: its vocabulary is theirs."""

    @classmethod
    @abstractmethod
    def from_saved(cls, settings: Any, conditions: Any, encoder: TextEncoder) -> Self:
        """A model of these settings around a text encoder, as reading one from disk wants it."""

    @property
    def resolution(self) -> int:
        return self.conditions.resolution

    def prepare(self, pictures: CaptionedPictures) -> None:
        """Compute once what training reads of these pictures again and again. Called before the first step, the model on its device."""

    @abstractmethod
    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """B captions -> [B, D], on the model's device, with gradients."""

    @abstractmethod
    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] float in [-1, 1], R being `resolution` -> [B, D]."""

    def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
        """Scores of all pairs of embeddings, higher where they fit: [P, D], [C, D] -> [P, C]."""
        return pictures @ captions.T

    def embed_stored(self, pictures: CaptionedPictures, indices: NDArray[np.int64]) -> Tensor:
        """Embeddings [n, D] of stored pictures, of the middle that is left when the margin for crops is cut off."""
        return self.embed_pictures(to_network(middle(pictures, indices), self.resolution, device_of(self)))

    @torch.no_grad()
    def validate(self, pictures: CaptionedPictures) -> dict[str, float]:
        """How well it does on pictures it is not trained on; "score", the figure by which the best is chosen, is among them."""
        from limner.matching.scores.retrieval import retrieval

        captioned = int((pictures.caption_counts > 0).sum())
        found = retrieval(self, pictures, pool=min(100, captioned))
        count = found.pop("count")
        return {"score": sum(found.values()) / len(found), **found, "count": count}

    def trained(self) -> dict[str, Tensor]:
        """What is saved of the model beside its text encoder: all tensors that training changes."""
        own = {id(value) for value in self.encoder.state_dict(keep_vars=True).values()}
        return {name: value.detach() for name, value in self.state_dict(keep_vars=True).items() if id(value) not in own}


def middle(pictures: CaptionedPictures, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Stored pictures without the margin that training crops from: [n, R, R, 3]."""
    margin = (pictures.stored_resolution - pictures.resolution) // 2
    return pictures.read(indices)[:, margin : margin + pictures.resolution, margin : margin + pictures.resolution]


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's parameters."""
    return next(module.parameters()).device
