"""Matching models as a run makes them."""

from __future__ import annotations

from typing import Any, TypeVar

from limner.core.pictures import CaptionedPictures
from limner.core.trainable import Conditions
from limner.matching.model import MatchingModel
from limner.training.text import every_caption

Model = TypeVar("Model", bound=MatchingModel)


def fresh(made: type[Model], settings: Any, pictures: CaptionedPictures, resolution: int) -> Model:
    """A model with fresh weights, with a text encoder of its own for these pictures' captions, which has read them for its first phase."""
    encoder = made.own_encoder(settings, every_caption(pictures))
    model = made(
        settings,
        Conditions(
            resolution=resolution,
            sentence_width=encoder.sentence_width,
            word_width=encoder.word_width,
            class_count=pictures.class_count,
        ),
        encoder,
    )
    model.prepare(model.phases()[0], pictures)
    return model
