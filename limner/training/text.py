"""Which text encoder a run uses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from limner.core.errors import DataError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.core.settings import Recipe
from limner.data.stories import ToldSoFar
from limner.parts.text import CaptionMatching, CaptionMatchingSettings
from limner.text.bag_of_words import BagOfWords
from limner.text.encoder import Limit, TextEncoder
from limner.text.lstm import LSTMEncoder, Vocabulary
from limner.text.no_text import NoText
from limner.text.number_rows import mostly_rows, vector_width
from limner.text.numbers import Numbers
from limner.text.recurrent import RecurrentEncoder
from limner.text.saving import load_encoder, load_shipped_encoder, shipped_encoders
from limner.text.standardized import Standardized
from limner.text.tokenizers import WordTokenizer
from limner.text.words import MAXIMUM_WORDS

EPOCHS, FEWEST_STEPS, MOST_STEPS = 100, 200, 3000
"""Passes over the pictures for which a text encoder is trained at most, and the bounds of that in steps."""
PATIENCE = 3
"""Evaluations without a lower loss on the val split after which a small set's text encoder is left as it was at its best."""
STANDARDIZING = 2000
"""About how many captions give the mean and deviation of an encoder's sentences."""


def choose_encoder(recipe: Recipe, pictures: CaptionedPictures) -> tuple[TextEncoder, bool]:
    """The encoder that the recipe names, or the shipped one of a built-in set, or else a new one; and whether it must be trained first."""
    name = recipe.text.encoder
    words = recipe.text.maximum_words
    if name is None and pictures.name in shipped_encoders():
        name = pictures.name
    if name is None:
        if (width := vector_width(captions_to_learn(pictures))) is not None:
            return Numbers(width), False
        return CaptionMatching.own_encoder(text_settings(recipe, pictures), every_caption(pictures)), True
    encoder = named_encoder(name)
    if words is not None:
        encoder.read_at_most(words)
    if encoder.reads and pictures.caption_counts.any() and all(says_nothing(encoder, caption) for caption in every_caption(pictures)):
        raise SettingsError(
            f"the text encoder {name} knows no word of any caption of '{pictures.name}': give one that was made for such captions"
        )
    return encoder, False


def says_nothing(encoder: TextEncoder, caption: str) -> bool:
    """Whether an encoder knows not one word of a caption, so that it reads like any other such caption."""
    return not set(encoder.words(caption)) - set(encoder.unknown_words(caption))


def text_settings(recipe: Recipe, pictures: CaptionedPictures) -> CaptionMatchingSettings:
    """How a run that needs a text encoder trains one first.

    Unless the recipe says how many steps, a small set is passed over at most EPOCHS times, and its val split may end that sooner.
    """
    text = recipe.text
    captioned = int((pictures.caption_counts > 0).sum())
    most = min(max(math.ceil(EPOCHS * captioned / text.batch_size), FEWEST_STEPS), MOST_STEPS)
    return CaptionMatchingSettings(
        sentence_width=text.width,
        maximum_words=text.maximum_words or MAXIMUM_WORDS,
        steps=most if text.steps is None else text.steps,
        patience=PATIENCE if text.steps is None and most < MOST_STEPS else 0,
        batch_size=text.batch_size,
        counterfactual=_has_counterfactuals(pictures),
    )


def _has_counterfactuals(pictures: CaptionedPictures) -> bool:
    """Whether every caption can be made false, which those of a set that says the same of all its pictures cannot."""
    try:
        pictures.check_counterfactuals()
    except DataError:
        return False
    return True


def own_settings(recipe: Recipe) -> Any:
    """The settings of what the recipe names, as its text settings ask: with text.maximum-words in place of their own number, and without
    a text encoder of their own where text.encoder takes its place."""
    settings, words = recipe.method_settings, recipe.text.maximum_words
    if recipe.text.encoder is not None and getattr(settings, "own_encoder", False):
        settings = dataclasses.replace(settings, own_encoder=False)
    return settings if words is None or not hasattr(settings, "maximum_words") else dataclasses.replace(settings, maximum_words=words)


def no_encoder(recipe: Recipe) -> NoText:
    """The encoder of a method that reads no text under its settings. Raises SettingsError for what a run can do with captions alone."""
    asked = {
        "text.encoder": recipe.text.encoder is not None,
        "text.maximum-words": recipe.text.maximum_words is not None,
        "text.standardize": recipe.text.standardize,
        "style.steps": recipe.style.steps,
    }
    for name, wanted in asked.items():
        if wanted:
            raise SettingsError(f"{recipe.method} reads no text under these settings: leave {name} out")
    return NoText()


def read_as_before(encoder: TextEncoder, pictures: CaptionedPictures) -> None:
    """Give an encoder of words that is built for these captions the vocabulary of a run that was begun when scripts without spaces were
    not split into characters: its weights are those words'."""
    if not all(parameter.requires_grad for parameter in encoder.parameters()):  # taken from elsewhere, with its own vocabulary
        return
    if isinstance(encoder, RecurrentEncoder | BagOfWords):
        words = encoder.tokenizer.maximum_words
        encoder.tokenizer = WordTokenizer.build(every_caption(pictures), maximum_words=words, splitting="spaces")
        size = len(encoder.tokenizer)
    elif isinstance(encoder, LSTMEncoder):
        encoder.vocabulary = Vocabulary.build(every_caption(pictures), encoder.vocabulary.maximum_words, "spaces")
        size = len(encoder.vocabulary)
    else:
        return
    old = encoder.embedding
    if size != old.num_embeddings:
        encoder.embedding = nn.Embedding(size, old.embedding_dim, padding_idx=old.padding_idx).to(old.weight.device)


def caption_remarks(recipe: Recipe, pictures: CaptionedPictures, encoder: TextEncoder) -> Iterator[str]:
    """What of the training captions is lost, a line each: those that hold no word, and the ends of those that are too long."""
    wordless = pictures.wordless()
    if wordless:
        place, text = wordless[0]
        alone = sum(not pictures.caption_counts[place] for place in {place for place, _ in wordless})
        pictures_too = f"; {counted(alone, 'picture has', 'pictures have')} no other and cannot be used either" if alone else ""
        yield (
            f"{counted(len(wordless), 'caption holds', 'captions hold')} no word and cannot be used, such as '{text[:20]}' of "
            f"'{pictures.key(place)}'{pictures_too}"
        )
    if encoder.reads and not isinstance(encoder, Numbers):
        yield from _mistyped_numbers(pictures)
    if encoder.reads and recipe.text.encoder is not None:
        yield from _silent_captions(recipe, pictures, encoder)
    if encoder.reads and isinstance(pictures, ToldSoFar):
        yield f"{recipe.method} paints single pictures: the caption of a story's frame is made of all its sentences so far"
    limit = encoder.limit
    if not encoder.reads or limit is None:
        return
    cut, longest, key = 0, 0, ""
    for index in range(len(pictures)):
        for caption in pictures.captions(index):
            if _may_be_cut(caption, limit) and encoder.was_cut(caption):
                cut += 1
                length = len(caption) if limit.unit == "characters" else len(encoder.words(caption))
                longest, key = max((longest, key), (length, pictures.key(index)), key=lambda found: found[0])
    if cut:
        yield (
            f"{cut:,} of {int(pictures.caption_counts.sum()):,} training captions are longer than the text encoder reads, and are cut to "
            f"{limit} (the longest, of '{key}', has {longest:,}): {_longer(recipe, limit, longest)}"
        )


def _mistyped_numbers(pictures: CaptionedPictures) -> Iterator[str]:
    """A line where a few captions keep the others, which are rows of numbers, from being read as numbers."""
    told = [(pictures.key(index), caption) for index in range(len(pictures)) for caption in pictures.captions(index)]
    if (found := mostly_rows([caption for _, caption in told])) is not None:
        width, count, first = found
        key, caption = told[first]
        yield (
            f"warning: {count:,} of {len(told):,} training captions are rows of {width} numbers, and all are read as words because of the "
            f"others, such as '{caption[:40]}' of '{key}': correct these, and prepare the data again, to have the numbers used as they are"
        )


def _silent_captions(recipe: Recipe, pictures: CaptionedPictures, encoder: TextEncoder) -> Iterator[str]:
    """A line where some captions hold no word that an encoder from elsewhere knows: they would all be painted alike."""
    silent, first = 0, ""
    for index in range(len(pictures)):
        for caption in pictures.captions(index):
            if says_nothing(encoder, caption):
                silent, first = silent + 1, first or f"'{caption[:40]}' of '{pictures.key(index)}'"
    if silent:
        yield (
            f"warning: {silent:,} of {int(pictures.caption_counts.sum()):,} training captions hold no word that "
            f"{recipe.text.encoder} knows, and say nothing to it, such as {first}: correct them, or give an encoder that knows their words"
        )


def _may_be_cut(caption: str, limit: Limit) -> bool:
    """Whether a caption could be longer than the limit, as its number of characters tells; spares most captions a count."""
    if caption.isascii() and limit.unit == "words":
        return len(caption) >= 2 * limit.number
    return len(caption.encode()) > limit.number


def _longer(recipe: Recipe, limit: Limit, longest: int) -> str:
    """How to have captions of this length read whole."""
    if limit.unit == "words":
        return f"--text.maximum-words {longest} reads all"
    if limit.unit == "byte pairs" and recipe.text.encoder is None:
        return f"--method.context-length {longest + 2} reads all"
    return "this encoder's limit is fixed: shorten the captions, or choose another encoder"


def counted(number: int, one: str, several: str) -> str:
    """A number with what it counts: "1 caption holds", "1,200 captions hold"."""
    return f"{number:,} {one if number == 1 else several}"


def standardized(encoder: TextEncoder, pictures: CaptionedPictures) -> Standardized:
    """The encoder with sentences of mean 0 and deviation 1 over some captions of these pictures."""
    indices = np.flatnonzero(pictures.caption_counts)
    chosen = indices[:: max(1, len(indices) // STANDARDIZING)]
    return Standardized(encoder).fit([caption for index in chosen.tolist() for caption in pictures.captions(index)[:1]])


def named_encoder(name: str) -> TextEncoder:
    """The text encoder of a shipped name, or of a run, model or encoder folder."""
    if not Path(name).exists():
        if name in shipped_encoders():
            return load_shipped_encoder(name)
        raise SettingsError(
            f"text.encoder is '{name}': there is no such folder, and the shipped encoders are {', '.join(shipped_encoders())}"
        )
    return load_encoder(name)


def captions_to_learn(pictures: CaptionedPictures) -> Iterator[str]:
    """All captions of a split that a new text encoder learns from, in order. Raises DataError at the first where there is none."""
    if not pictures.caption_counts.any():
        raise DataError(
            f"'{pictures.name}' has no captions to train a text encoder on: give data with captions, or a method that needs none "
            "(limner train msg-gan or stackgan-v2, --method.unconditional)"
        )
    yield from every_caption(pictures)


def every_caption(pictures: CaptionedPictures) -> Iterator[str]:
    """All captions of a split, in order."""
    for index in range(len(pictures)):
        yield from pictures.captions(index)
