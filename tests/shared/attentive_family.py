"""Batches of captions word by word, a matching model and runs for the tests of AttnGAN's family."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch

from limner.core.batch import Batch
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.matching.models.damsm import DAMSM, TRAINED, DAMSMSettings
from limner.matching.saving import save_matching
from limner.model import load
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.training.run import train
from shared import batches
from shared.batches import CAPTIONS, WIDTH, WORD_WIDTH
from shared.batches import LONGEST as LONGEST
from shared.batches import PROGRESS as PROGRESS
from shared.batches import turns_of_a_step as turns_of_a_step
from shared.tiny_runs import state_of

SENTENCE, WORD = WIDTH, WORD_WIDTH
CONDITIONS = {"sentence_width": SENTENCE, "word_width": WORD}


def make_text(size: int, generator: torch.Generator) -> TextFeatures:
    return batches.make_text(CAPTIONS[:size], generator, words=WORD)


def make_batch(resolution: int = 32, second: bool = False) -> Batch:
    """Four pictures and others that do not match. second: with a second, shorter caption of each."""
    return batches.make_batch(resolution, len(CAPTIONS), words=WORD, captions=2 if second else 1)


def save_damsm(folder: Path, resolution: int = 16) -> Path:
    torch.manual_seed(3)
    settings = DAMSMSettings(pictures=TRAINED, width=8, picture_channels=2, word_embedding=3)
    encoder = LSTMEncoder(Vocabulary(["a", "bird", "red", "blue", "small"]), LSTMSettings(width=8, word_embedding=3))
    model = DAMSM(settings, Conditions(resolution=resolution, sentence_width=8, word_width=8), encoder)
    save_matching(folder, "damsm", model, {}, "a card")
    return folder


def tiny(name: str, steps: int, **settings: Any) -> Recipe:
    """A run of seconds, on the garden at 16 px."""
    recipe = from_preset(name, "cpu", "garden", 16)
    small = {"generator_channels": 2, "discriminator_channels": 2, "batch_size": 8, "penalty_every": 3, **settings}
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, **small),
        training=dataclasses.replace(recipe.training, steps=steps, log_every=4, checkpoint_every=4, sample_every=1000, device="cpu"),
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=60),
    )


def paints_without_its_guide(name: str, folder: Path, **settings: Any) -> None:
    """A run beside a matching model, and its model, when that one is gone."""
    matching = save_damsm(folder / "damsm")
    train(tiny(name, 2, matching=str(matching), **settings), folder / "run")
    weights = state_of(folder / "run")["modules"]["method"]
    assert not any("guide" in key or "picture_side" in key for key in weights)
    shutil.rmtree(matching)
    pictures = load(folder / "run").stages(["a red flower with five petals"], [0])
    assert [picture.shape for picture in pictures] == [(1, 8, 8, 3), (1, 16, 16, 3)]
