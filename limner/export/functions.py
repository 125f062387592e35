"""A model as three functions of tensors, which is what can be exported: read captions, draw noise, paint.

    encode   ids [B, T], lengths [B]  ->  features of the text: sentence, and words, mask, tokens where painting needs them
    draw     seed [B], sample [B]     ->  every field of the method's noise
    paint    features and noise       ->  images, stages, extras

The tokenizer is what stays outside: a table, and a rule for cutting captions into words.
"""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limner.core.abilities import WritesCodes
from limner.core.errors import LimnerError, SettingsError
from limner.core.method import Painting
from limner.core.noise import Noise
from limner.core.text import TextFeatures
from limner.model import Model
from limner.model.requests import LONGEST_CAPTION
from limner.text.encoder import TextEncoder
from limner.text.extending import core
from limner.text.joined import JoinedEncoder
from limner.text.number_rows import as_caption
from limner.text.numbers import Numbers

FEATURES = ("sentence", "words", "mask", "tokens")
"""Fields of `TextFeatures` that are tensors, in the order in which they go from `Encode` to `Paint`."""


class Encode(nn.Module):
    """Ids [B, T] and lengths [B] to features, those that are named."""

    def __init__(self, encoder: TextEncoder, names: Sequence[str]) -> None:
        super().__init__()
        self.encoder, self.names = encoder, tuple(names)

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        found = self.encoder.read(ids, mask)
        return tuple(getattr(found, name) for name in self.names)


class Draw(nn.Module):
    """Seeds [B] and sample numbers [B], both int64, to the fields of the noise."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.method = model.method

    def forward(self, seed: Tensor, sample: Tensor) -> tuple[Tensor, ...]:
        # Methods pass both on to `core.noise`, which draws from tensors as it does from numbers.
        noise = self.method.draw_noise(seed, sample)  # type: ignore[arg-type]
        return tuple(getattr(noise, field.name) for field in dataclasses.fields(noise))


class Paint(nn.Module):
    """Features and noise, each as a list of tensors, to images, stages and extras."""

    def __init__(self, model: Model, features: Sequence[str], noise: type[Noise]) -> None:
        super().__init__()
        self.method, self.features, self.noise = model.method, tuple(features), noise

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        text, noise = dict(zip(self.features, given)), self.noise(*given[len(self.features) :])
        # A model that reads no text is given none: sentences of no numbers. (`len` would fix the number of rows.)
        features = features_of(text) if text else TextFeatures(given[0].new_zeros(given[0].shape[0], 0))
        return parts_of(self.method.paint(features, noise))


@dataclass(frozen=True)
class Functions:
    """The three functions of a model, with the names of what goes in and out of them."""

    encode: Encode | None
    """None where the model reads no text."""
    draw: Draw
    paint: Paint
    features: tuple[str, ...]
    noise: tuple[str, ...]
    """Fields of the noise."""
    outputs: tuple[str, ...]
    """"images", "stage-1" ... from rough to fine, and the extras by their names."""
    length: int | None
    """T of every batch of ids, where the tokenizer pads to a fixed length."""
    longest: int
    """The largest T that the tokenizer gives."""


def functions_of(model: Model) -> Functions:
    """Take a model apart; its weights are shared. Raises SettingsError where it is of a kind that cannot be exported."""
    refuse(model)
    captions = captions_for(model, 3)
    text, noise = model.encode(captions), model.noise(0, np.arange(3))
    names = tuple(name for name in FEATURES if getattr(text, name) is not None) if model.reads_text else ()
    outputs = names_of(model.painting(captions, np.arange(3)))
    fields = tuple(field.name for field in dataclasses.fields(noise))
    paint = Paint(model, names, type(noise))
    if not model.reads_text:
        return Functions(None, Draw(model), paint, (), fields, outputs, None, 0)
    shortest, longest = (model.encoder.tokenize([caption]).ids.shape[1] for caption in (captions[0], long_caption(model)))
    length = longest if shortest == longest else None
    return Functions(Encode(model.encoder, names), Draw(model), paint, names, fields, outputs, length, longest)


def refuse(model: Model) -> None:
    """Raise SettingsError for a model that cannot be exported, and say why."""
    if isinstance(core(model.encoder), JoinedEncoder):
        raise SettingsError(
            f"{model.method.title} cannot be exported with Obj-GAN's text encoder ({JoinedEncoder.kind}): it reads by the last cells of "
            "its LSTM, and the readers of exported files give states alone: paint with `limner generate`"
        )
    if isinstance(model.method, WritesCodes):
        raise SettingsError(
            f"{model.method.title} cannot be exported: it writes codes one by one, each by a pass that depends on those before it, "
            "and a file of tensors has no such loop: paint with `limner generate`"
        )
    if model.method.rows > 1:
        raise SettingsError(f"{model.method.title} cannot be exported: it paints {model.method.rows} pictures that belong together")
    truncation = float(getattr(model.method.settings, "truncation", 0.0))
    of_noise = "truncation" not in getattr(model.method, "sampling", ())  # and not of styles, which are moved by plain arithmetic
    if of_noise and truncation:
        raise SettingsError(
            f"{model.method.title} cannot be exported with method.truncation: exported files have no inverse of the normal distribution: "
            "set it to 0 in the folder's config.json"
        )


def features_of(values: dict[str, Tensor]) -> TextFeatures:
    """The features whose fields have these names; "sentence" is one of them."""
    return TextFeatures(values["sentence"], values.get("words"), values.get("mask"), values.get("tokens"))


def parts_of(painting: Painting) -> tuple[Tensor, ...]:
    """Images, stages and extras, in this order."""
    return (painting.images, *painting.stages, *painting.extras.values())


def names_of(painting: Painting) -> tuple[str, ...]:
    """The names of `parts_of`."""
    return ("images", *(f"stage-{number}" for number in range(1, len(painting.stages) + 1)), *painting.extras)


def painting_of(values: dict[str, Tensor]) -> Painting:
    """The painting whose parts have these names."""
    extras = dict(values)
    stages = tuple(extras.pop(name) for name in values if name.startswith("stage-"))
    return Painting(extras.pop("images"), stages, extras)


def captions_for(model: Model, count: int) -> list[str]:
    """Captions that the model can paint, of lengths from 1 word up, made of words that it knows, or rows of numbers; the same ones every
    time."""
    if not model.reads_text:
        return [""] * count
    if isinstance(encoder := core(model.encoder), Numbers):
        return [as_caption(((7 * row + 3 * place) % 11 - 5) / 4 for place in range(encoder.sentence_width)) for row in range(count)]
    known = [word for word in model.encoder.known_words() if model.can_paint(word)][:200]
    words = known or [word for word in ("a", "red", "flower", "small", "bird", "blue", "with", "white", "wings") if model.can_paint(word)]
    if not words:
        raise SettingsError("the model cannot be exported: no caption was found that it can paint, to check the file by")
    return [" ".join(words[(7 * row + 3 * place) % len(words)] for place in range(1 + row * 5 % 14)) for row in range(count)]


def long_caption(model: Model) -> str:
    """A caption as long as the model reads, or longer where that can be."""
    word = captions_for(model, 1)[0]
    if isinstance(core(model.encoder), Numbers):
        return word
    limit = model.encoder.limit
    count = min((limit.number if limit else 64) + 1, LONGEST_CAPTION // (len(word) + 1))
    return " ".join([word] * count)


def on_cpu(model: Model) -> Model:
    """A copy of a model to be exported: on the CPU, in evaluation mode, whose recurrent readers may be exchanged.

    Networks that do not paint, such as discriminators, are left out: saved models do not have their weights.
    """
    method = copy.deepcopy(model.method)
    others = {id(player.module) for player in method.players().values() if not (player.averaged or player.kept)}
    for parent in list(method.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in others:
                parent._modules[name] = nn.Module()
    return Model(method, copy.deepcopy(model.encoder), model.about).to("cpu")


def traced(function: nn.Module, arguments: Sequence[Tensor], dynamic: Sequence[dict[int, Any]], title: str) -> Any:
    """The `torch.export` program of a function of tensors, without gradients. dynamic: which dimensions stay open, by argument.

    Raises SettingsError where the function cannot be written down as operations on tensors.
    """
    shapes = (tuple(dynamic),) if isinstance(function, Paint) else tuple(dynamic)  # Paint takes *given
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(function, tuple(arguments), dynamic_shapes=shapes, strict=False)
    except LimnerError:
        raise
    except Exception as error:  # torch raises many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise SettingsError(
            f"{title} cannot be exported: its {type(function).__name__.lower()} is not a function of tensors ({reason})"
        ) from error
