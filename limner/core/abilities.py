"""What a trained thing can do, each ability a protocol: whoever needs one asks `isinstance(method, Looks)`.

A class has an ability by defining its functions; nothing is registered and nothing raises NotImplementedError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import ArrayLike
from torch import Tensor

from limner.core.layout import Layout
from limner.core.method import Painting
from limner.core.noise import Noise
from limner.core.text import TextFeatures

Tell = Callable[[int, int], None]
"""Called with the number of steps done and the number of all."""


@runtime_checkable
class Paints(Protocol):
    """Paints what captions say."""

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> Noise:
        """Every random input of painting these sample numbers; a function of (seed, stream, number) alone."""

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        """One picture for each row of the text."""


@runtime_checkable
class Looks(Protocol):
    """Has a network that looks at pictures, whose features tell like from unlike."""

    def look(self, pictures: Tensor) -> Tensor:
        """Features [B, D] in which its discriminator sees pictures [B, 3, R, R] in [-1, 1]."""


@runtime_checkable
class Describes(Protocol):
    """Says in words what pictures show."""

    def describe(self, pictures: Tensor) -> list[str]:
        """Captions of pictures [B, 3, R, R] in [-1, 1]. Raises SettingsError where its settings left out the network that describes."""


@runtime_checkable
class Inverts(Protocol):
    """Finds codes that pictures can be painted from again. The straight way between two codes is a walk between two pictures."""

    def invert(self, pictures: Tensor, *, tell: Tell | None = None) -> Tensor:
        """The codes [B, ...] of pictures [B, 3, R, R] in [-1, 1]. tell: called after each step, if it takes steps."""

    def paint_codes(self, codes: Tensor, noise: Noise) -> Painting:
        """One picture for each code, with what else the noise decides."""


@runtime_checkable
class Edits(Inverts, Protocol):
    """Changes the code of a given picture as words say, and leaves the rest of the picture as it is."""

    def edit(
        self,
        codes: Tensor,
        text: TextFeatures,
        noise: Noise,
        *,
        pictures: Tensor,
        before: TextFeatures | None = None,
        tell: Tell | None = None,
    ) -> Tensor:
        """The codes [B, ...] that `invert` finds of pictures [B, 3, R, R], changed as each row of the text says.

        noise: what they will be painted with. before: what the pictures show now, if known. tell: called after each step, if it takes
        steps.
        """


@runtime_checkable
class LaysOut(Protocol):
    """Places things before it paints them, so that a person may move them."""

    def layout(self, text: TextFeatures, noise: Noise) -> Layout:
        """Where things stand, for each row of the text."""

    def paint_layout(self, text: TextFeatures, layout: Layout, noise: Noise) -> Painting:
        """Paint these things in these places."""


@runtime_checkable
class Completes(Protocol):
    """Paints the rest of a picture of which a part is given."""

    def complete(self, text: TextFeatures, noise: Noise, pictures: Tensor, keep: Tensor) -> Painting:
        """keep: [B, 1, R, R] bool, True where pictures [B, 3, R, R] in [-1, 1] stay as they are."""


@runtime_checkable
class TellsStories(Protocol):
    """Paints several sentences as frames of one story, in which characters stay themselves."""

    frames: int
    """Frames of a story."""

    def tell(self, text: Sequence[TextFeatures], noise: Noise) -> Painting:
        """One story for each row: a batch of sentences a frame -> images [B x frames, 3, R, R], the frames of a story one after another."""


@runtime_checkable
class WritesCodes(Protocol):
    """Paints code by code, each drawn from a distribution, which may take long."""

    sampling: tuple[str, ...]
    """The names of its settings that say how codes are drawn; a trained model's may be changed."""
    tell: Callable[[int, int], None] | None
    """Told how many codes of how many are written, while it paints."""


@runtime_checkable
class TakesSampling(Protocol):
    """Has settings that matter to painting alone, which may be changed once it is trained."""

    sampling: tuple[str, ...]
    """Their names."""


@runtime_checkable
class MixesStyles(Protocol):
    """Paints from styles, one for each of its places from coarse to fine, which can be exchanged between pictures and moved."""

    def find_styles(self, text: TextFeatures, noise: Noise) -> Tensor:
        """The styles of pictures: [B, places, W]."""

    def paint_styles(self, styles: Tensor, noise: Noise) -> Painting:
        """One picture for each row of styles, with what else the noise decides."""

    def style_weights(self) -> Sequence[Tensor]:
        """For each place the linear layer [C, W] through which a style acts on the maps there."""


ABILITIES: dict[str, Any] = {
    "paints": Paints,
    "looks": Looks,
    "describes": Describes,
    "inverts": Inverts,
    "edits": Edits,
    "lays out": LaysOut,
    "completes": Completes,
    "tells stories": TellsStories,
    "writes codes": WritesCodes,
    "takes sampling settings": TakesSampling,
    "mixes styles": MixesStyles,
}
"""Every ability by the word that lists it."""


def abilities_of(trained: object) -> list[str]:
    """The abilities of a trained thing, or of its class, in the order above."""
    return [word for word, ability in ABILITIES.items() if all(hasattr(trained, name) for name in needed(ability))]


def needed(ability: type) -> list[str]:
    """The names that an ability asks for."""
    return [name for name in (*vars(ability), *getattr(ability, "__annotations__", {})) if not name.startswith("_")]
