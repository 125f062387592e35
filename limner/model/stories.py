"""Stories told by a model: a picture for each sentence, by a method that tells stories, or frame by frame by one that paints pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from limner.core.abilities import TellsStories
from limner.core.errors import LimnerWarning, SettingsError
from limner.data.stories import so_far
from limner.features.network import to_bytes
from limner.model.requests import check_asked, seeds_of, shortened

if TYPE_CHECKING:
    from limner.model.model import Model


def check_teller(model: Model) -> None:
    """Raise SettingsError for a model that can tell no story: one that reads no text, or an exported file of one that tells stories."""
    if not model.reads_text:
        raise SettingsError("the model reads no text, and cannot tell a story: give one that was trained with captions")
    if getattr(model.method, "frames_untold", None) is not None:
        raise SettingsError("the file paints single sentences: tell stories with the model that it was made of")


def check_story(model: Model, sentences: Sequence[str]) -> None:
    """Raise SettingsError for a story that a model cannot tell: too short or too long, or with a sentence that cannot be painted."""
    check_teller(model)
    if isinstance(sentences, str) or not isinstance(sentences, Sequence):
        raise SettingsError(f"a story is {shortened(repr(sentences))}: give a list of sentences, one for each picture")
    if not sentences:
        raise SettingsError('there is no story: give a "SENTENCE" in quotes for each picture')
    for number, sentence in enumerate(sentences, start=1):
        if not isinstance(sentence, str):
            raise SettingsError(f"sentence {number} of {len(sentences)} is {shortened(repr(sentence))}: give texts, of one story at a time")
        if not sentence.strip():
            raise SettingsError(f"sentence {number} of {len(sentences)} is empty: say what its picture shows, or leave it out")
    method = model.method
    if isinstance(method, TellsStories) and len(sentences) != method.frames:
        has = "1 sentence" if len(sentences) == 1 else f"{len(sentences)} sentences"
        raise SettingsError(f"the story has {has}, and this model tells stories of {method.frames}: give {method.frames}")
    for sentence in dict.fromkeys(sentences):
        model.check(sentence)


def check_asked_story(model: Model, sentences: Sequence[str], stacklevel: int = 2) -> None:
    """Check a story that a user asked for, and warn of what the model does not read of it: words that it never met, and an end too far.

    stacklevel: as `check_asked` takes it. Raises SettingsError as `check_story`.
    """
    check_story(model, sentences)
    check_asked(model.encoder, sentences, stacklevel=stacklevel + 1)
    if isinstance(model.method, TellsStories):  # which reads sentence by sentence
        return
    longer = next((number for number, caption in enumerate(so_far(sentences), 1) if model.encoder.was_cut(caption)), None)
    if longer is not None:
        warnings.warn(
            f"the model reads no further than {model.encoder.limit}, and with sentence {longer} the story is longer: what comes after is "
            "not read",
            LimnerWarning,
            stacklevel=stacklevel,
        )


def tell(model: Model, sentences: Sequence[str], n: int, seed: int) -> list[list[Image.Image]]:
    """`Model.tell`: a story's pictures, `n` times."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise SettingsError(f"n is {n!r}: give a whole number of tellings, at least 1")
    seeds = seeds_of(seed)
    if len(seeds) > 1:
        raise SettingsError(f"{len(seeds)} seeds are given, and a story has one: call tell once for each, or give n")
    sentences = list(sentences) if isinstance(sentences, np.ndarray | Iterator) else sentences
    check_asked_story(model, sentences, stacklevel=4)
    pictures = told(model, [list(sentences)] * n, np.arange(n), seeds[0]).permute(0, 1, 3, 4, 2).cpu().numpy()
    return [[Image.fromarray(picture) for picture in story] for story in pictures]


def told(
    model: Model, stories: Sequence[Sequence[str]], samples: Sequence[int] | NDArray[np.int64], seed: int = 0, batch_size: int = 64
) -> Tensor:
    """The pictures of stories of F sentences each, whose noise their sample numbers decide: [S, F, 3, H, W] uint8 on the model's device.

    A method that paints single pictures paints every frame from all sentences so far, and from the same noise: what it then keeps from
    frame to frame, words and noise keep. batch_size: the most pictures at a time, or one story. Sentences are not looked at: `check_story`.
    """
    check_teller(model)
    method, frames = model.method, len(stories[0])
    numbers, size = np.asarray(samples, np.int64), max(batch_size // frames, 1)
    parts = []
    for start in range(0, len(stories), size):
        rows = slice(start, start + size)
        if isinstance(method, TellsStories):
            texts = [model.encode(sentences) for sentences in zip(*stories[rows], strict=True)]
            with torch.no_grad():
                images = method.tell(texts, model.noise(seed, numbers[rows])).images
        else:
            captions = [caption for story in stories[rows] for caption in so_far(story)]
            images = model.painting(captions, numbers[rows].repeat(frames), seed, batch_size, check=False).images
        parts.append(to_bytes(images).unflatten(0, (-1, frames)))
    return torch.cat(parts)


def storyteller(model: Model, frames: int) -> Callable[[list[str], NDArray[np.int64], int], Tensor]:
    """What tells (sentences, sample numbers, seed) of whole stories of so many frames, the frames of each one after another, as uint8
    pictures [B, 3, H, W] on the CPU: how evaluations ask for stories. The noise of a story is that of its first frame's number.

    A model that reads no text paints as ever. Raises SettingsError for stories of another length than a method tells that tells stories,
    and for an exported file of such a method.
    """
    if not model.reads_text:
        return model.painter()
    check_teller(model)
    if isinstance(model.method, TellsStories) and frames != model.method.frames:
        raise SettingsError(f"the stories have {frames} pictures, and the model tells stories of {model.method.frames}: give other data")

    def tell(captions: list[str], samples: NDArray[np.int64], seed: int) -> Tensor:
        stories = [captions[start : start + frames] for start in range(0, len(captions), frames)]
        return told(model, stories, samples[::frames], seed, len(captions)).flatten(0, 1).cpu()

    return tell
