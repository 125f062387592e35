"""A trained model: captions in, pictures out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor

from limner.core.abilities import Inverts, Tell
from limner.core.asked import one_seed, usable_device, whole_number
from limner.core.errors import SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import Noise
from limner.core.text import TextFeatures
from limner.features.network import to_bytes, to_float
from limner.model.requests import captions_of, check_asked, check_caption, sample_numbers, seeds_of, strange_words
from limner.model.stories import storyteller, tell
from limner.parts.style import StyleEncoder, why_no_style
from limner.text.encoder import TextEncoder

_REBUILT = 64
"""Pictures that are inverted at a time."""


@contextmanager
def _without_gradients() -> Iterator[None]:
    """No gradients are recorded, but a method may ask for some of its own by `torch.enable_grad()`: not so in a caller's inference mode."""
    with torch.inference_mode(False), torch.no_grad():
        yield


class Model:
    """A text encoder and a method that paints, on one device, in evaluation mode.

    about: what is known of its making (data set, steps, seed, ...), as `config.json` holds it.
    style: the style encoder, or None where none was trained.
    card: the text of its README.md, empty where it has none.
    """

    def __init__(
        self,
        method: Method,
        encoder: TextEncoder,
        about: dict[str, Any] | None = None,
        style: StyleEncoder | None = None,
        card: str = "",
    ) -> None:
        self.method, self.encoder, self.about, self.style, self.card = method, encoder, about or {}, style, card
        if style is not None:
            style.eval().requires_grad_(False)
        self.method.eval().requires_grad_(False)
        self.encoder.eval().requires_grad_(False)

    def __repr__(self) -> str:
        reads = f"{len(self.words):,} words" if self.words else f"reads {self.encoder.limit}" if self.reads_text else "reads no text"
        made = f", trained on {self.about['data']}" if "data" in self.about else ""
        made += f" for {self.about['steps']:,} steps" if "steps" in self.about else ""
        return f"<{self.method.title.partition(',')[0]}, {self.resolution} px, {reads}{made}, on {self.device}>"

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it knows, the most frequent ones of its captions first; none where it reads no text, or less than words."""
        return tuple(self.encoder.known_words())

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
        """Move the model to a device; returns itself. Raises SettingsError for a device that is not here."""
        device = usable_device(device)
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

    def save(self, folder: str | Path) -> Path:
        """Write the model to a folder, whole or not at all, for `limner.load`; returns the folder. One that holds such a model is replaced.

        Raises SettingsError where the folder holds anything else, or the method is not known by a name (`limner.methods.register_file`).
        """
        from limner.model.folder import save

        return save(self, Path(folder))

    @overload
    def generate(
        self,
        caption: str | Sequence[str] = ...,
        n: int = ...,
        seed: int | Sequence[int] = ...,
        *,
        output: Literal["pil"] = ...,
        generator: torch.Generator | None = ...,
        batch_size: int = ...,
        progress: Callable[[int, int], None] | None = ...,
    ) -> list[Image.Image]: ...
    @overload
    def generate(
        self,
        caption: str | Sequence[str] = ...,
        n: int = ...,
        seed: int | Sequence[int] = ...,
        *,
        output: Literal["numpy"],
        generator: torch.Generator | None = ...,
        batch_size: int = ...,
        progress: Callable[[int, int], None] | None = ...,
    ) -> NDArray[np.uint8]: ...
    @overload
    def generate(
        self,
        caption: str | Sequence[str] = ...,
        n: int = ...,
        seed: int | Sequence[int] = ...,
        *,
        output: Literal["torch"],
        generator: torch.Generator | None = ...,
        batch_size: int = ...,
        progress: Callable[[int, int], None] | None = ...,
    ) -> Tensor: ...
    def generate(
        self,
        caption: str | Sequence[str] = "",
        n: int = 1,
        seed: int | Sequence[int] = 0,
        *,
        output: Literal["pil", "numpy", "torch"] = "pil",
        generator: torch.Generator | None = None,
        batch_size: int = 64,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Image.Image] | NDArray[np.uint8] | Tensor:
        """Paint `n` pictures of each caption, caption by caption: what calling the model does. One that reads no text gets no caption.

        The same caption, seed and place in the call give the same picture, however many are asked for.

        Args:
            caption: One caption, or several.
            n: Pictures of each.
            seed: A whole number from 0 on. Or several, for one picture of each caption by each seed, as the seed gives it by itself.
            output: "pil" for a list of RGB images, "numpy" for an array [N, H, W, 3] uint8, "torch" for a tensor [N, 3, H, W] uint8 on
                the model's device.
            generator: Draws the seed in place of `seed`, and moves on, so that the next call paints other pictures.
            batch_size: The most pictures that are painted at a time.
            progress: Called with the number of pictures that are painted and of all, after each batch.

        Raises SettingsError for an empty caption, one too long, or one without a word that the model knows, and for a seed or number that
        cannot be; warns of other words that it does not know, and of a caption whose end it does not read.
        """
        captions, seeds = captions_of(caption), seeds_of(seed, generator)
        n, batch_size = whole_number("n", n, 1), whole_number("batch_size", batch_size, 1)
        if len(seeds) > 1 and n > 1:
            raise SettingsError(f"{len(seeds)} seeds paint {len(seeds)} pictures of each caption: leave n={n} out")
        if output not in ("pil", "numpy", "torch"):
            raise SettingsError(f"output is '{output}': choose pil, numpy or torch")
        check_asked(self.encoder, captions, stacklevel=3)
        repeated, samples = [text for text in captions for _ in range(n)], np.tile(np.arange(n), len(captions))
        parts, done, total = [], 0, len(repeated) * len(seeds)
        for one in seeds:
            for painting in self._paintings(repeated, samples, one, batch_size, check=False):
                parts.append(to_bytes(painting.images))
                done += len(parts[-1])
                if progress is not None:
                    progress(done, total)
        side = self.resolution
        images = torch.cat(parts) if parts else torch.zeros((0, 3, side, side), dtype=torch.uint8, device=self.device)
        if len(seeds) > 1:  # caption by caption, as without several seeds
            images = images.unflatten(0, (len(seeds), len(captions))).transpose(0, 1).flatten(0, 1)
        if output == "torch":
            return images
        arrays: NDArray[np.uint8] = images.permute(0, 2, 3, 1).cpu().numpy()
        return arrays if output == "numpy" else [Image.fromarray(picture) for picture in arrays]

    __call__ = generate

    def tell(self, sentences: Sequence[str], n: int = 1, seed: int = 0) -> list[list[Image.Image]]:
        """Tell a story `n` times: for each time a list of RGB images, one for each sentence.

        The same story, seed and place in the call give the same pictures, however many are asked for. A method that paints single pictures
        paints frame by frame, each from all sentences so far and from the same noise. Raises SettingsError for a story with more or fewer
        sentences than the model tells, and for a sentence that is empty, too long or without a word that the model knows; warns of other
        words that it does not know, and of a story whose end it does not read.
        """
        return tell(self, sentences, n, seed)

    def painting(self, captions: Sequence[str], samples: ArrayLike, seed: int = 0, batch_size: int = 64, *, check: bool = True) -> Painting:
        """Paint one picture for each caption and sample number, which decides its noise: all that the method has to show, on its device.

        One text is one caption. batch_size: the most rows that are painted at a time; rows that belong together (`Method.rows`) are never
        cut apart. check: whether to look at the captions first. Raises SettingsError for a caption that cannot be painted, for no caption,
        for another number of samples, and for a number that leaves such a group unfinished.
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
        captions, samples, batch_size = captions_of(captions), sample_numbers(samples), whole_number("batch_size", batch_size, 1)
        for caption in dict.fromkeys(captions) if check else ():
            self.check(caption)
        if len(samples) != len(captions):
            raise SettingsError(f"{len(captions)} captions and {len(samples)} sample numbers were given: give a number for each caption")
        together = self.method.rows
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
        """Features of captions, which hold the captions too, on the model's device. One text is one caption.

        Raises SettingsError for no caption, DataError for one that cannot be read.
        """
        captions = captions_of(captions)
        if not captions:
            raise SettingsError("no caption was given: give a text, or a list of them")
        return self.encoder(captions).to(self.device).with_captions(captions)

    @_without_gradients()
    def noise(self, seed: int, samples: ArrayLike) -> Noise:
        """The noise of these sample numbers, on the model's device. Raises SettingsError for what are none, and no seed."""
        seed, samples = one_seed(seed), sample_numbers(samples)
        with self.device:
            return self.method.draw_noise(seed, samples).to(self.device)

    def paint(self, text: TextFeatures, noise: Noise) -> Tensor:
        """Paint one picture for each row of features and noise that were changed by hand: [B, 3, H, W] uint8. See `painting`.

        Raises SettingsError where they are of different numbers of rows.
        """
        for name, value, wanted, maker in (("text", text, TextFeatures, "encode"), ("noise", noise, Noise, "noise")):
            if not isinstance(value, wanted):
                raise SettingsError(f"{name} is a {type(value).__name__}: give what `{maker}` gives")
        if len(text) != len(noise):
            raise SettingsError(f"there are {len(text)} rows of text and {len(noise)} of noise: give as many of each")
        return to_bytes(self._painted(text, noise).images)

    def painter(self) -> Callable[[list[str], NDArray[np.int64], int], Tensor]:
        """What paints (captions, sample numbers, seed) as uint8 pictures [B, 3, H, W] on the CPU: how evaluations ask a model."""

        def paint(captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
            return to_bytes(self.painting(captions, samples, seed, max(len(captions), 1), check=False).images).cpu()

        return paint

    def storyteller(self, frames: int) -> Callable[[list[str], NDArray[np.int64], int], Tensor]:
        """`painter` for whole stories of so many frames, the frames of each one after another; see `limner.model.stories`."""
        return storyteller(self, frames)

    def rebuilder(self, seed: int = 0, tell: Tell | None = None) -> Callable[[Tensor, NDArray[np.int64]], Tensor] | None:
        """What paints pictures [B, 3, R, R] uint8 of these sample numbers again from the codes that the method finds for them, as uint8
        pictures on the CPU; None for a method that finds none. tell: called after each step, if the method takes steps."""
        method = self.method
        if not isinstance(method, Inverts):
            return None

        @torch.no_grad()
        def rebuild(pictures: Tensor, samples: NDArray[np.int64]) -> Tensor:
            found = []
            for start in range(0, len(pictures), _REBUILT):
                rows = slice(start, start + _REBUILT)
                codes = method.invert(to_float(pictures[rows].to(self.device)), tell=tell)
                found.append(to_bytes(method.paint_codes(codes, self.noise(seed, samples[rows])).images).cpu())
            return torch.cat(found)

        return rebuild

    @torch.no_grad()
    def invert(self, pictures: Tensor) -> Noise:
        """The noise that pictures [B, 3, R, R], uint8 or float in [-1, 1], were painted from, as the style encoder sees it.

        R is the model's resolution. Painting other captions from it keeps their style. Raises SettingsError without a style encoder.
        """
        if self.style is None:
            if self.no_style is not None:
                raise SettingsError(f"the model has no style encoder, and can have none: it {self.no_style}")
            raise SettingsError("the model has no style encoder: train it with --style.steps 3000, or add one to its run by --resume")
        found = self.style(to_float(pictures.to(self.device)))
        return type(self.noise(0, [0]))(**found)

    @property
    def no_style(self) -> str | None:
        """Why the model can have no style encoder, as the end of a sentence; None where it can."""
        return why_no_style(self.method) if self.reads_text else "reads no text"

    def unknown_words(self, caption: str) -> list[str]:
        """The words of a caption that the model never met."""
        return self.encoder.unknown_words(caption)

    def strange_words(self, caption: str) -> str:
        """The words of a caption that the model never met, each with known ones that it looks like; empty where there is none."""
        return strange_words(self.encoder, caption)

    def check(self, caption: str) -> None:
        """Raise SettingsError for a caption that cannot be painted: empty, too long, or without a word that the model knows."""
        check_caption(self.encoder, caption, suggest=True)
