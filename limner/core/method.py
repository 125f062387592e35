"""The contract between a method and the training loop.

A method says who plays (`players`), in which phases (`phases`), how one batch trains them (`training_step`) and how it paints (`paint`).
The step *yields* updates; between two yields the trainer takes that player's gradient, averages it across processes, steps its optimiser
and its average.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.noise import Noise
from limner.core.settings import Preset
from limner.core.text import TextFeatures

if TYPE_CHECKING:
    from typing_extensions import Self

NetworkType = TypeVar("NetworkType", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a method is built for: the text it will read and the pictures it will make."""

    resolution: int
    """Side of the final pictures in pixels."""
    sentence_width: int
    """Width D of the sentence embedding."""
    word_width: int | None = None
    """Width of the word embeddings, or None where the encoder gives none."""
    class_count: int = 0
    """Number of classes of the training pictures, 0 where they have none."""


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Settings of a player's optimiser (Kingma and Ba, ICLR 2015)."""

    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decoupled: bool = False
    """Whether weights decay apart from the gradient (AdamW: Loshchilov and Hutter, ICLR 2019); vectors and scalars, which are gains and
    biases, then have no decay."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a phase stands when a step begins."""

    phase: str
    step: int
    """Steps done in this phase."""
    steps: int
    """Steps this phase will take."""
    images: int
    """Pictures seen in this phase, over all processes."""
    epoch: float
    """Passes over the training pictures done in this phase."""

    @property
    def fraction(self) -> float:
        """How much of the phase is done, 0 to 1."""
        return self.step / max(self.steps, 1)


@dataclass(frozen=True, kw_only=True)
class Player:
    """Networks that one optimiser steps."""

    module: nn.Module
    optimizer: Adam = Adam()
    averaged: bool = False
    """Keep a running average of its weights, which then does the painting."""
    learning_rate_factor: Callable[[Progress], float] | None = None
    """Multiplies the learning rate, as published schedules ask."""
    gradient_clip: float | None = None
    """Largest norm of the whole gradient."""
    kept: bool = False
    """Save it in model folders, beside what paints; for what a trained model is used for otherwise."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training with one budget, resolution and batch size."""

    name: str
    resolution: int
    batch_size: int
    epochs: float | None = None
    """Budget in passes over the training pictures; `steps` wins where both are given."""
    steps: int | None = None
    players: tuple[str, ...] | None = None
    """Who is trained in this phase; None for all. Between two phases those who play in both go on as they were, and a painter whose last
    phase is over keeps the running average of its weights."""
    share: float = 1.0
    """Its part of a budget in minutes, beside the parts of the method's other phases."""
    captions: int = 1
    """How many captions are drawn for each picture: `Batch.texts`. With 0, pictures without captions are trained on too."""
    counterfactual: bool = False
    """Whether batches carry counterfactual captions."""
    encoded: bool = True
    """Whether batches carry text features; False where the phase trains the text encoder itself."""
    words: bool = False
    """Whether text features hold an embedding for each word, where the encoder gives them; they are encoded batch by batch."""
    distinct_classes: bool = False
    """Whether a batch holds one picture of each of `batch_size` different classes, drawn anew for each step, where classes are known."""


@dataclass(frozen=True)
class Update:
    """One player's turn: the trainer minimises `loss` over that player's parameters."""

    player: str
    loss: Tensor
    """Scalar, on the training device."""
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    """Detached scalars worth a line in the log; read only when a line is written."""


@dataclass(frozen=True)
class Painting:
    """What a method paints: final images, and what it has beside them."""

    images: Tensor
    """[B, 3, H, W] in [-1, 1]."""
    stages: tuple[Tensor, ...] = ()
    """The pictures on the way there, from rough to fine, without the final ones: [B, 3, h, w] each, in [-1, 1]."""
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    """Attention maps, layouts: by name, samples along the first dimension."""


class Method(nn.Module, ABC):
    """A system of one paper: settings, networks, players, phases, step and painting in one file.

    Subclasses set `Settings` (a frozen keyword-only dataclass whose defaults are the published values), `title`, `paper` and `presets`
    (at least "as-published" and "cpu"), and are built as `Subclass(settings, conditions)`.
    """

    Settings: ClassVar[type]
    title: ClassVar[str]
    paper: ClassVar[str]
    presets: ClassVar[Mapping[str, Preset]]

    def __init__(self, settings: Any, conditions: Conditions) -> None:
        super().__init__()
        self.settings = settings
        self.conditions = conditions
        self.guides: dict[str, nn.Module] = {}
        """Frozen networks of others that losses look through, by name: they move with the method, and are neither trained nor saved."""

    def guide(self, name: str, network: NetworkType) -> NetworkType:
        """Keep a frozen network under a name in `guides`; returns it. Best called by `begin`, for what paints needs no guide."""
        device = next((value.device for value in self.parameters()), None)
        self.guides[name] = network.eval().requires_grad_(False).to(device)
        return network

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for network in self.guides.values():
            network._apply(fn, recurse)
        return self

    @property
    def resolution(self) -> int:
        """Side in pixels of the pictures that it paints now; a method that grows begins smaller than `conditions.resolution`."""
        return self.conditions.resolution

    @classmethod
    def reads_text(cls, settings: Any) -> bool:
        """Whether it paints captions under these settings; else it is trained without a text encoder, on pictures with captions or not."""
        return True

    @abstractmethod
    def players(self) -> dict[str, Player]:
        """Who is trained, by name, over all phases."""

    @abstractmethod
    def phases(self) -> list[Phase]:
        """The published course of training, in order."""

    def read_captions(self, captions: Iterable[str]) -> None:  # noqa: B027  # most methods leave reading to the text encoder
        """Called once with all captions of the training pictures, before weights are loaded or trained: for a vocabulary of its own."""

    def begin(self, phase: Phase) -> None:  # noqa: B027  # most methods have one phase and nothing to change
        """Called before a phase's first step and wherever a run goes on in it: freeze what stands still, note what paints from now on.

        The first phase's is called before anything is written, too: networks that losses look through are loaded here (see `guide`).

        What painting must know later, in another process, belongs into buffers. Calling it again must change nothing.
        """

    @abstractmethod
    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """Train on one batch: yield an `Update` for each player whose turn it is. The step goes on after the optimiser has stepped."""

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> Noise:
        """Every random input of painting these sample numbers, on the CPU; a function of (seed, stream, number) alone."""
        raise NotImplementedError(f"{type(self).__name__} does not paint")

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        """Paint one picture for each row of the text."""
        raise NotImplementedError(f"{type(self).__name__} does not paint")

    def look(self, pictures: Tensor) -> Tensor:
        """Features [B, D] in which this method's discriminator sees pictures [B, 3, R, R] in [-1, 1]."""
        raise NotImplementedError(f"{type(self).__name__} has no discriminator to look through")

    def describe(self, pictures: Tensor) -> list[str]:
        """Captions of pictures [B, 3, R, R] in [-1, 1], in this method's own words."""
        raise NotImplementedError(f"{type(self).__name__} does not say what pictures show")

    def noise(self, batch: Batch, stream: str) -> Any:
        """Fresh noise for each row of a training batch, on its device."""
        return self.draw_noise(batch.seed, np.asarray(batch.samples), stream).to(batch.pictures.device)
