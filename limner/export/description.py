"""What an exported file says of itself: one JSON value among its metadata, under the name "limner"."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import msgspec

import limner
from limner.core.abilities import TellsStories
from limner.core.noise import lerp, slerp, switched
from limner.export.functions import Functions
from limner.model import Model

KEY = "limner"
"""The name of the metadata."""
VERSION = 1
WAYS = {"great circle": slerp, "straight": lerp, "number by number": switched}
"""How a field of the noise is walked between two draws."""


@dataclass(frozen=True)
class Description:
    """Everything that is needed to use an exported file, the graph aside."""

    method: str
    """The method's title."""
    resolution: int
    weights: str
    """The type in which weights are stored, "float32" or "float16"; all computing is in float32."""
    text: dict[str, Any]
    """The text encoder's kind, settings and vocabulary, as in a model folder's config.json."""
    features: list[str]
    """Tensors between the functions `encode` and `paint`, without their prefix "text."."""
    noise: dict[str, str]
    """Fields of the noise, tensors between `draw` and `paint` without their prefix "noise.", and how each is walked."""
    outputs: list[str]
    """ "images" [B, 3, R, R] in [-1, 1], then stages and extras."""
    length: int | None
    """T of the ids, where captions are padded to a fixed length."""
    longest: int
    """The most ids of a caption."""
    opset: int | None
    """ONNX's operator set."""
    frames: int | None = None
    """Frames of the stories that the model tells, of which the file paints single sentences; None for a model of pictures."""
    about: dict[str, Any] = field(default_factory=dict)
    """What is known of the model's making."""
    largest_difference: float | None = None
    """From the pictures of PyTorch, over the captions that were checked, in levels of 255."""
    digest: str = ""
    """SHA-256 of all weights."""
    version: int = VERSION
    limner: str = limner.__version__

    def json(self) -> str:
        """As text."""
        return msgspec.json.encode(self).decode()


def described(model: Model, functions: Functions, weights: str, opset: int | None) -> Description:
    """What is known of a model before its file is made."""
    noise = model.noise(0, [0])
    names = {way: name for name, way in WAYS.items()}
    ways = {item.name: names.get(item.metadata.get("between", slerp), "great circle") for item in dataclasses.fields(noise)}
    return Description(
        method=model.method.title,
        resolution=model.resolution,
        weights=weights,
        text={"kind": model.encoder.kind, **model.encoder.config()},
        features=list(functions.features),
        noise=ways,
        outputs=list(functions.outputs),
        length=functions.length,
        longest=functions.longest,
        opset=opset,
        frames=model.method.frames if isinstance(model.method, TellsStories) else None,
        about=model.about,
    )
