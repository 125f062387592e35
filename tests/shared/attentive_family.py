"""Batches of captions word by word, a matching model, steps and resumed runs for the tests of AttnGAN's family."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from limner.core.batch import Batch
from limner.core.method import Method
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Progress, Update
from limner.matching.models.damsm import DAMSM, TRAINED, DAMSMSettings
from limner.matching.saving import save_matching
from limner.model import load
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.training.checkpoints import Checkpoints
from limner.training.run import train

SENTENCE, WORD, LONGEST = 6, 5, 4
CONDITIONS = {"sentence_width": SENTENCE, "word_width": WORD}
PROGRESS = Progress(phase="gan", step=0, steps=10, images=0, epoch=0.0)
CAPTIONS = ["a red bird", "a blue bird", "a bird", "a small bird"]


def make_text(size: int, generator: torch.Generator, longest: int = LONGEST) -> TextFeatures:
    mask = torch.arange(longest) < torch.randint(1, longest + 1, (size, 1), generator=generator)
    words = torch.randn(size, longest, WORD, generator=generator) * mask[..., None]
    return TextFeatures(torch.randn(size, SENTENCE, generator=generator), words, mask)


def make_batch(resolution: int = 32, second: bool = False) -> Batch:
    """Four pictures and others that do not match. second: with a second, shorter caption of each."""
    generator, size = torch.Generator().manual_seed(1), len(CAPTIONS)

    def one() -> Batch:
        pictures = torch.rand(size, 3, resolution, resolution, generator=generator) * 2 - 1
        texts = [make_text(size, generator, longest) for longest in (LONGEST, LONGEST - 1)[: 1 + second]]
        return Batch(
            pictures=pictures,
            captions=[[caption, caption.split()[-2]][: 1 + second] for caption in CAPTIONS],
            texts=tuple(texts),
            indices=np.arange(size),
            samples=np.arange(size),
            seed=0,
            counterfactual=make_text(size, generator),
        )

    batch, other = one(), one()
    batch.make_mismatched = lambda: other
    return batch


def save_damsm(folder: Path, resolution: int = 16) -> Path:
    torch.manual_seed(3)
    settings = DAMSMSettings(pictures=TRAINED, width=8, picture_channels=2, word_embedding=3)
    encoder = LSTMEncoder(Vocabulary(["a", "bird", "red", "blue", "small"]), LSTMSettings(width=8, word_embedding=3))
    model = DAMSM(settings, Conditions(resolution=resolution, sentence_width=8, word_width=8), encoder)
    save_matching(folder, "damsm", model, {}, "a card")
    return folder


def turns_of_a_step(method: Method, batch: Batch) -> list[Update]:
    """A step, each of whose turns has a finite loss and finite gradients, and moves its own player and nobody else."""
    players, turns = method.players(), []
    for update in method.training_step(batch, PROGRESS):
        own = list(players[update.player].module.parameters())
        gradients = torch.autograd.grad(update.loss, own)
        assert update.loss.isfinite() and all(gradient.isfinite().all() for gradient in gradients)
        others = [value for name, player in players.items() if name != update.player for value in player.module.parameters()]
        before = [value.clone() for value in others]
        with torch.no_grad():
            for value, gradient in zip(own, gradients, strict=True):
                value -= 0.01 * gradient
        assert all(map(torch.equal, before, others))
        turns.append(update)
    return turns


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


def goes_on_exactly_and_paints_without_its_guide(name: str, folder: Path, **settings: Any) -> None:
    """A run beside a matching model, straight and halted, to the same weights; and its model, when that one is gone."""
    matching = save_damsm(folder / "damsm")
    settings["matching"] = str(matching)
    train(tiny(name, 8, **settings), folder / "straight")
    train(tiny(name, 4, **settings), folder / "halted")
    train(tiny(name, 8, **settings), folder / "halted", resume=True)
    one, other = (Checkpoints(folder / run).load() for run in ("straight", "halted"))
    assert one is not None and other is not None
    assert all(torch.equal(value, other["modules"]["method"][key]) for key, value in one["modules"]["method"].items())
    assert not any("guide" in key or "picture_side" in key for key in one["modules"]["method"])
    shutil.rmtree(matching)
    pictures = load(folder / "straight").stages(["a red flower with five petals"], [0])
    assert [picture.shape for picture in pictures] == [(1, 8, 8, 3), (1, 16, 16, 3)]
