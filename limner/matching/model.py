"""The contract of image-text matching models: embed captions, embed pictures, score pairs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limner.core.pictures import CaptionedPictures
from limner.core.trainable import Conditions, Trainable
from limner.data.loader import to_network
from limner.text.encoder import TextEncoder

EVALUATIONS = 20
"""How often a matching model is evaluated as it trains, unless the recipe says otherwise; the best state is kept."""


class MatchingModel(Trainable):
    """A model that says how well a caption fits a picture. It owns its text encoder, which others can take with `--text.encoder RUN`.

    resolution: `conditions.resolution`, the side of the pictures that `embed_pictures` wants.
    looks_with: what fixed network it sees pictures through, name and weights' hash, or "" where it trains its own.
    about: what is known of its making; content_hash: changes with any weight; both are set where a saved model is loaded.
    """

    kind = "matching"
    encoder: TextEncoder
    looks_with: str = ""
    about: dict[str, Any] = {}
    content_hash: str = ""

    def __init__(self, settings: Any, conditions: Conditions, encoder: TextEncoder) -> None:
        super().__init__(settings, conditions)
        self.encoder = encoder

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
        """Retrieval among pictures that it is not trained on; "score" is the mean of its figures."""
        from limner.matching.scores.retrieval import retrieval

        captioned = int((pictures.caption_counts > 0).sum())
        found = retrieval(self, pictures, pool=min(100, captioned))
        count = found.pop("count")
        return {"score": sum(found.values()) / len(found), **found, "count": count}

    def kept(self) -> dict[str, Tensor]:
        """All tensors that training changes, but for the text encoder's."""
        own = {id(value) for value in self.encoder.state_dict(keep_vars=True).values()}
        return {name: value.detach() for name, value in self.state_dict(keep_vars=True).items() if id(value) not in own}

    def description(self) -> dict[str, Any]:
        return {"looks_with": self.looks_with}

    def summary(self) -> str:
        looks = f"a frozen network ({self.looks_with})" if self.looks_with else "a network trained with it, from nothing"
        return (
            "Says how well a caption fits a picture. It reads with a text encoder of the kind "
            f"'{self.encoder.kind}', {self.encoder.sentence_width} numbers a sentence, and looks with {looks}."
        )

    def usage(self) -> str:
        return """```
limner train gan-cls --data DATA --text.encoder PATH --out RUN
limner evaluate PATH --data DATA
```
"""

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        return (*super().next_steps(settings), ("use", "limner train METHOD --data DATA --text.encoder RUN --out OTHER_RUN"))

    def couples_rows(self) -> str | None:
        return "its loss compares each picture with the captions of all others in the batch"


def middle(pictures: CaptionedPictures, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Stored pictures without the margin that training crops from: [n, R, R, 3]."""
    margin = (pictures.stored_resolution - pictures.resolution) // 2
    return pictures.read(indices)[:, margin : margin + pictures.resolution, margin : margin + pictures.resolution]


def device_of(module: nn.Module) -> torch.device:
    """The device of a module's parameters."""
    return next(module.parameters()).device
