"""A trained model: captions in, pictures out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from limner.core.abilities import Inverts
from limner.core.errors import LimnerWarning, SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import Noise
from limner.core.text import TextFeatures
from limner.features.network import to_float
from limner.parts.style import StyleEncoder
from limner.text.encoder import TextEncoder
from limner.text.words import nearest_words

LONGEST_CAPTION = 2_000
"""Characters a caption may have."""
_REBUILT = 64
"""Pictures that are inverted at a time."""
_NAMED = 8
"""Unknown words that a message names."""


@contextmanager
def _without_gradients() -> Iterator[None]:
    """No gradients are recorded, but a method may ask for some of its own by `torch.enable_grad()`: not so in a caller's inference mode."""
    with torch.inference_mode(False), torch.no_grad():
        yield


class Model:
    """A text encoder and a method that paints, on one device, in evaluation mode.

    about: what is known of its making (data set, steps, seed, ...), as `config.json` holds it.
    style: the style encoder, or None where none was trained.
    """

    def __init__(
        self, method: Method, encoder: TextEncoder, about: dict[str, Any] | None = None, style: StyleEncoder | None = None
    ) -> None:
        self.method, self.encoder, self.about, self.style = method, encoder, about or {}, style
        if style is not None:
            style.eval().requires_grad_(False)
        self.method.eval().requires_grad_(False)
        self.encoder.eval().requires_grad_(False)

    @property
    def resolution(self) -> int:
        """Side of its pictures in pixels."""
        return self.method.resolution

    @property
    def reads_text(self) -> bool:
        """Whether it paints captions; else it paints what it likes, and the only caption it takes is an empty one."""
        return self.encoder.reads

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.method.parameters()).device

    def to(self, device: torch.device | str) -> Model:
        """Move the model to a device; returns itself."""
        self.method.to(device)
        self.encoder.to(device)
        if self.style is not None:
            self.style.to(device)
        return self

    def can_paint(self, caption: str) -> bool:
        """Whether `check` lets a caption pass."""
        try:
            check_caption(self.encoder, caption)
        except SettingsError:
            return False
        return True

    def generate(self, caption: str | Sequence[str] = "", n: int = 1, seed: int = 0) -> list[Image.Image]:
        """Paint `n` pictures of each caption: caption by caption, a list of RGB images. A model that reads no text gets no caption.

        The same caption, seed and place in the call give the same picture, however many are asked for. Raises SettingsError for an empty
        caption, one too long, or one without a word that the model knows; warns of other words that it does not know.
        """
        captions = [caption] if isinstance(caption, str) else list(caption)
        if n < 1:
            raise SettingsError(f"n is {n}: ask for at least one picture of each caption")
        for text in dict.fromkeys(captions):
            self.check(text)
            if self.reads_text and (strange := self.strange_words(text)):
                warnings.warn(f"the model never met {strange} in '{shortened(text)}'", LimnerWarning, stacklevel=2)
        pictures = self.pictures([text for text in captions for _ in range(n)], np.tile(np.arange(n), len(captions)), seed)
        return [Image.fromarray(picture) for picture in pictures]

    def painting(self, captions: Sequence[str], samples: ArrayLike, seed: int = 0, batch_size: int = 64, *, check: bool = True) -> Painting:
        """Paint one picture for each caption and sample number, which decides its noise: all that the method has to show, on its device.

        batch_size: the most rows that are painted at a time; rows that belong together (`Method.rows`) are never cut apart. check: whether
        to look at the captions first. Raises SettingsError for a caption that cannot be painted, for no caption, and for a number of them
        that leaves such a group unfinished.
        """
        parts = list(self._paintings(captions, samples, seed, batch_size, check))
        if not parts:
            raise SettingsError("no caption was given: say what to paint")
        return Painting.cat(parts)

    def pictures(self, captions: Sequence[str], samples: ArrayLike, seed: int = 0, batch_size: int = 64) -> NDArray[np.uint8]:
        """The pictures of `painting`: [B, H, W, 3] uint8."""
        parts = [to_bytes(painting.images).permute(0, 2, 3, 1) for painting in self._paintings(captions, samples, seed, batch_size)]
        return torch.cat(parts).cpu().numpy() if parts else np.zeros((0, self.resolution, self.resolution, 3), np.uint8)

    def stages(self, captions: Sequence[str], samples: ArrayLike, seed: int = 0, batch_size: int = 64) -> list[NDArray[np.uint8]]:
        """As `pictures`, with the pictures on the way: one [B, h, w, 3] array for each stage, from rough to final.

        A model that paints in one stage has one.
        """
        parts = [
            [to_bytes(images).permute(0, 2, 3, 1).cpu().numpy() for images in (*painting.stages, painting.images)]
            for painting in self._paintings(captions, samples, seed, batch_size)
        ]
        return [np.concatenate(stage) for stage in zip(*parts, strict=True)]

    def _paintings(self, captions: Sequence[str], samples: ArrayLike, seed: int, batch_size: int, check: bool = True) -> Iterator[Painting]:
        """`painting`, a batch at a time."""
        for caption in dict.fromkeys(captions) if check else ():
            self.check(caption)
        samples, together = np.asarray(samples), self.method.rows
        if len(captions) % together:
            raise SettingsError(
                f"{len(captions)} captions were given, and this model paints {together} pictures that belong together: "
                f"give a multiple of {together}"
            )
        size = max(batch_size // together, 1) * together
        for start in range(0, len(captions), size):
            rows = slice(start, start + size)
            yield self._painted(self.encode(captions[rows]), self.noise(seed, samples[rows]))

    @_without_gradients()
    def _painted(self, text: TextFeatures, noise: Noise) -> Painting:
        return self.method.paint(text, noise)

    @_without_gradients()
    def encode(self, captions: Sequence[str]) -> TextFeatures:
        """Features of captions, which hold the captions too, on the model's device."""
        return self.encoder(captions).to(self.device).with_captions(captions)

    @_without_gradients()
    def noise(self, seed: int, samples: ArrayLike) -> Noise:
        """The noise of these sample numbers, on the model's device."""
        with self.device:
            return self.method.draw_noise(seed, np.asarray(samples)).to(self.device)

    def paint(self, text: TextFeatures, noise: Noise) -> Tensor:
        """Paint one picture for each row of features and noise that were changed by hand: [B, 3, H, W] uint8. See `painting`."""
        return to_bytes(self._painted(text, noise).images)

    def painter(self) -> Callable[[list[str], NDArray[np.int64], int], Tensor]:
        """What paints (captions, sample numbers, seed) as uint8 pictures [B, 3, H, W] on the CPU: how evaluations ask a model."""

        def paint(captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
            return to_bytes(self.painting(captions, samples, seed, len(captions), check=False).images).cpu()

        return paint

    def rebuilder(self, seed: int = 0) -> Callable[[Tensor, NDArray[np.int64]], Tensor] | None:
        """What paints pictures [B, 3, R, R] uint8 of these sample numbers again from the codes that the method finds for them, as uint8
        pictures on the CPU; None for a method that finds none."""
        method = self.method
        if not isinstance(method, Inverts):
            return None

        @torch.no_grad()
        def rebuild(pictures: Tensor, samples: NDArray[np.int64]) -> Tensor:
            found = []
            for start in range(0, len(pictures), _REBUILT):
                rows = slice(start, start + _REBUILT)
                codes = method.invert(to_float(pictures[rows].to(self.device)))
                found.append(to_bytes(method.paint_codes(codes, self.noise(seed, samples[rows])).images).cpu())
            return torch.cat(found)

        return rebuild

    @torch.no_grad()
    def invert(self, pictures: Tensor) -> Noise:
        """The noise that pictures [B, 3, R, R], uint8 or float in [-1, 1], were painted from, as the style encoder sees it.

        R is the model's resolution. Painting other captions from it keeps their style. Raises SettingsError without a style encoder.
        """
        if self.style is None:
            raise SettingsError("the model has no style encoder: train it with --style.steps 3000, or add one to its run by --resume")
        found = self.style(to_float(pictures.to(self.device)))
        return type(self.noise(0, [0]))(**found)

    def unknown_words(self, caption: str) -> list[str]:
        """The words of a caption that the model never met."""
        return self.encoder.unknown_words(caption)

    def strange_words(self, caption: str) -> str:
        """The words of a caption that the model never met, each with known ones that it looks like; empty where there is none."""
        return strange_words(self.encoder, caption)

    def check(self, caption: str) -> None:
        """Raise SettingsError for a caption that cannot be painted: empty, too long, or without a word that the model knows."""
        check_caption(self.encoder, caption, suggest=True)


def check_caption(encoder: TextEncoder, caption: str, suggest: bool = False, reader: str = "the model") -> None:
    """Raise SettingsError for a caption that cannot be painted, or judged, by what this encoder reads of it.

    suggest: name known words that look like the unknown ones, which takes a while where many captions are looked at. reader: whose encoder
    it is, as messages name it.
    """
    shown = shortened(caption)
    if not encoder.reads:
        if caption.strip():
            raise SettingsError(f"{reader} reads no text, and cannot paint '{shown}': it makes pictures without a caption")
        return
    if not caption.strip():
        raise SettingsError("a caption is empty: say what to paint")
    if len(caption) > LONGEST_CAPTION:
        raise SettingsError(f"the caption '{shown}' has {len(caption):,} characters: shorten it to {LONGEST_CAPTION:,}")
    if not set(encoder.words(caption)) - set(encoder.unknown_words(caption)):
        found = strange_words(encoder, caption) if suggest else ""
        words = f" {found};" if "did you mean" in found else ""
        raise SettingsError(f"{reader} knows none of the words in '{shown}':{words} use words of the captions it was trained on")


def strange_words(encoder: TextEncoder, caption: str) -> str:
    """The words of a caption that an encoder never met, as `Model.strange_words` gives them."""
    known, unknown = encoder.known_words(), encoder.unknown_words(caption)
    named = []
    for word in unknown[:_NAMED]:
        nearest = " or ".join(f"'{other}'" for other in nearest_words(word, known))
        named.append(f"'{shortened(word, 30)}'" + (f" (did you mean {nearest}?)" if nearest else ""))
    return ", ".join(named) + (f" and {len(unknown) - _NAMED:,} more" if len(unknown) > _NAMED else "")


def shortened(text: str, longest: int = 60) -> str:
    """The text in one line, cut where it is too long to be shown."""
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 3] + "..."


def to_bytes(images: Tensor) -> Tensor:
    """[B, 3, H, W] in [-1, 1] -> uint8."""
    return images.float().add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
