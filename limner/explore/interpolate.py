"""Walks between two captions at fixed noise, and between two noises at a fixed caption."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from limner.core.abilities import WritesCodes
from limner.core.errors import SettingsError
from limner.core.files import save_whole
from limner.core.noise import Noise
from limner.core.text import TextFeatures
from limner.explore.parts import parts
from limner.model.requests import check_asked, check_count

if TYPE_CHECKING:
    from limner.model import Model

FORMATS = (".png", ".gif")


def between_captions(model: Model, start: str, end: str, steps: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures on the way from one caption to another, all painted from the same noise: [steps, H, W, 3].

    The sentence embedding moves in a straight line, as GAN-INT trains it; words are those of the nearer caption.
    Raises SettingsError for captions that the model cannot read, for a method that writes codes, which reads no sentence embedding, and for
    fewer than 2 steps.
    """
    if isinstance(model.method, WritesCodes):
        raise SettingsError(
            f"{model.method.title} reads a caption word by word and has no sentence embedding to move: walk between noises "
            '(--caption "A" --seeds 1 2)'
        )
    check_asked(model.encoder, (start, end))
    ends, fractions, noise = model.encode([start, end]), _fractions(steps), model.noise(seed, [0])
    return _pictures(torch.cat([_step(model, ends, fractions[rows], noise) for rows in parts(steps)]))


def between_noises(model: Model, caption: str, seeds: tuple[int, int], steps: int = 8) -> NDArray[np.uint8]:
    """Pictures of one caption on the way from one seed's noise to another's, along the great circle: [steps, H, W, 3].

    Raises SettingsError for a caption that the model cannot read and for fewer than 2 steps.
    """
    check_asked(model.encoder, [caption])
    text = model.encode([caption])
    start, end = (model.noise(seed, [0]) for seed in seeds)
    return _pictures(torch.cat([model.paint(text, start.between(end, fraction)) for fraction in _fractions(steps).tolist()]))


def _step(model: Model, ends: TextFeatures, fractions: torch.Tensor, noise: Noise) -> torch.Tensor:
    return model.paint(blend(ends, fractions), noise[torch.zeros(len(fractions), dtype=torch.int64)])


def blend(text: TextFeatures, fractions: torch.Tensor) -> TextFeatures:
    """Features between the two rows of `text`: [2, ...] and [S] in 0..1 -> [S, ...]."""
    fractions = fractions.to(text.sentence.device)
    nearer = text[(fractions >= 0.5).long()]
    return dataclasses.replace(
        nearer, sentence=torch.lerp(text.sentence[:1], text.sentence[1:], fractions[:, None].to(text.sentence.dtype))
    )


def save_walk(pictures: NDArray[np.uint8], path: Path, frame_milliseconds: int = 120) -> None:
    """Write a walk [S, H, W, 3] as a strip from left to right (.png) or as an animation there and back (.gif)."""
    check_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".png":
        save_whole(Image.fromarray(np.concatenate(list(pictures), axis=1)), path)
        return
    frames = [Image.fromarray(picture) for picture in _there_and_back(pictures)]
    save_whole(frames[0], path, save_all=True, append_images=frames[1:], duration=frame_milliseconds, loop=0)


def check_format(path: Path) -> None:
    """Raises SettingsError unless a walk can be written to a file of this name."""
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"--out {path}: a walk is written as a strip or an animation; give a name that ends in {' or '.join(FORMATS)}")


def _there_and_back(pictures: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
    return [*pictures, *pictures[-2:0:-1]]


def _fractions(steps: int) -> torch.Tensor:
    check_count("--steps", steps, 2)  # a walk has a start and an end
    return torch.linspace(0.0, 1.0, steps)


def _pictures(images: torch.Tensor) -> NDArray[np.uint8]:
    return images.permute(0, 2, 3, 1).cpu().numpy()  # [S, H, W, 3]
