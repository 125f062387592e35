"""Trains the text encoder of the built-in garden that comes with Limner: `python -m limner.training.garden_text --out FOLDER`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from lightning_fabric import Fabric

from limner.core.method import Conditions
from limner.core.settings import TrainingSettings
from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.data.loader import Loader
from limner.matching.caption_matching import CaptionMatching, CaptionMatchingSettings
from limner.matching.garden_text import garden_tokenizer
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.saving import save_encoder
from limner.training.log import RunLog
from limner.training.signals import StopRequest
from limner.training.trainer import Position, Stage, Trainer


@dataclass(frozen=True, kw_only=True)
class GardenTextSettings:
    """How the garden's text encoder is trained; the defaults are those of the one that ships."""

    out: Path
    """Folder for the encoder."""
    pictures: int = 20_000
    """How many pictures of the train split it learns from."""
    seed: int = 0
    """Decides initial weights, order, captions and counterfactuals."""
    matching: CaptionMatchingSettings = CaptionMatchingSettings()


def train_garden_text(settings: GardenTextSettings) -> CaptionMatching:
    """Train by matching on the garden's train split, write the encoder to `settings.out`, and return the whole matching model."""
    matching = settings.matching
    torch.manual_seed(settings.seed)
    widths = RecurrentSettings(word_embedding=matching.word_embedding, hidden=matching.hidden, sentence_width=matching.sentence_width)
    encoder = RecurrentEncoder(garden_tokenizer(matching.maximum_words), widths)
    model = CaptionMatching(matching, Conditions(resolution=matching.resolution, sentence_width=matching.sentence_width), encoder)
    (phase,) = model.phases()
    pictures = GardenPictures(Garden("train", length=settings.pictures, resolution=phase.resolution))
    training = TrainingSettings(seed=settings.seed, log_every=100, sample_every=matching.steps + 1, checkpoint_every=matching.steps + 1)
    fabric = Fabric(accelerator="cpu", devices=1)
    stage = Stage(name="text", method=model, phase=phase, steps=matching.steps)
    log_folder = settings.out.with_name(f"{settings.out.name}-log")
    log_folder.mkdir(parents=True, exist_ok=True)
    log = RunLog(log_folder)
    with StopRequest() as stop:
        trainer = Trainer(training, fabric, log, stop, save=lambda: None, sample=dict)
        whole = trainer.train(stage, Loader(pictures, phase, seed=settings.seed), stage.turns(training, fabric), Position())
    log.close()
    if whole:
        save_encoder(encoder.eval(), settings.out)
    return model.eval()


if __name__ == "__main__":
    train_garden_text(tyro.cli(GardenTextSettings))
