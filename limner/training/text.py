"""Which text encoder a run uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from limner.core.errors import DataError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.core.settings import Recipe
from limner.matching.registry import is_matching
from limner.matching.saving import load_matching_encoder
from limner.model import load
from limner.parts.text import CaptionMatching, CaptionMatchingSettings
from limner.text.encoder import TextEncoder
from limner.text.no_text import NoText
from limner.text.saving import load_encoder, load_shipped_encoder, shipped_encoders
from limner.text.standardized import Standardized

STANDARDIZING = 2000
"""About how many captions give the mean and deviation of an encoder's sentences."""


def choose_encoder(recipe: Recipe, pictures: CaptionedPictures) -> tuple[TextEncoder, bool]:
    """The encoder that the recipe names, or the shipped one of a built-in set, or else a new one; and whether it must be trained first."""
    name = recipe.text.encoder
    if name is None and pictures.name in shipped_encoders():
        name = pictures.name
    if name is None:
        if not pictures.caption_counts.any():
            raise DataError(
                f"'{pictures.name}' has no captions to train a text encoder on: give data with captions, or a method that needs none "
                "(limner train stackgan-v2 --method.unconditional)"
            )
        settings = CaptionMatchingSettings(sentence_width=recipe.text.width)
        return CaptionMatching.new_encoder(settings, every_caption(pictures)), True
    return named_encoder(name), False


def no_encoder(recipe: Recipe) -> NoText:
    """The encoder of a method that reads no text under its settings. Raises SettingsError for what a run can do with captions alone."""
    asked = {
        "text.encoder": recipe.text.encoder is not None,
        "text.standardize": recipe.text.standardize,
        "style.steps": recipe.style.steps,
    }
    for name, wanted in asked.items():
        if wanted:
            raise SettingsError(f"{recipe.method} reads no text under these settings: leave {name} out")
    return NoText()


def standardized(encoder: TextEncoder, pictures: CaptionedPictures) -> Standardized:
    """The encoder with sentences of mean 0 and deviation 1 over some captions of these pictures."""
    indices = np.flatnonzero(pictures.caption_counts)
    chosen = indices[:: max(1, len(indices) // STANDARDIZING)]
    return Standardized(encoder).fit([caption for index in chosen.tolist() for caption in pictures.captions(index)[:1]])


def named_encoder(name: str) -> TextEncoder:
    """The text encoder of a shipped name, an encoder's folder, a run folder or a model folder."""
    if not Path(name).exists() and name in shipped_encoders():
        return load_shipped_encoder(name)
    if Path(name).is_dir() and not (Path(name) / "recipe.yaml").exists() and '"limner-text-encoder"' in _config(Path(name)):
        return load_encoder(name)
    if not Path(name).exists():
        raise SettingsError(
            f"text.encoder is '{name}': there is no such folder, and the shipped encoders are {', '.join(shipped_encoders())}"
        )
    if is_matching(name):
        return load_matching_encoder(name)
    return load(name).encoder


def _config(folder: Path) -> str:
    path = folder / "config.json"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def every_caption(pictures: CaptionedPictures) -> Iterator[str]:
    """All captions of a split, in order."""
    for index in range(len(pictures)):
        yield from pictures.captions(index)
