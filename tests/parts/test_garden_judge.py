"""The judge's training learns and repeats itself; what it spoils pictures with leaves them readable."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.trainable import Conditions, Progress
from limner.data.catalog import GardenPictures
from limner.data.garden import ATTRIBUTES, Garden
from limner.features.network import to_float
from limner.metrics.judge import accuracies, confusions, load_judge, to_tensor
from limner.parts.garden_judge import Artefacts, GardenJudge, GardenJudgeSettings, training_gardens

CONDITIONS = Conditions(resolution=64, sentence_width=0)


def trained(settings: GardenJudgeSettings) -> tuple[GardenJudge, list[float]]:
    """A judge after its steps, taken one by one as the loop does, and their losses."""
    torch.manual_seed(settings.seed)
    part = GardenJudge(settings, CONDITIONS)
    (phase,) = part.phases()
    part.prepare(phase, GardenPictures(Garden("train", length=2)))
    player = part.players()["judge"]
    optimizer = player.optimizer.build(list(player.module.parameters()))
    losses = []
    for step in range(settings.steps):
        progress = Progress(phase=phase.name, step=step, steps=settings.steps, images=0, epoch=0.0)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * player.learning_rate_factor(progress)
        (update,) = part.training_step(BATCH, progress)
        optimizer.zero_grad()
        update.loss.backward()
        optimizer.step()
        losses.append(update.loss.item())
    part.eval()
    return part, losses


class _Pictures:
    """All that the step asks of a batch: where its pictures are."""

    pictures: Tensor = torch.zeros(1)


BATCH: Batch = _Pictures()  # type: ignore[assignment]


def test_training_learns_and_repeats_itself() -> None:
    settings = GardenJudgeSettings(steps=4, batch_size=8, pictures=64)
    first, losses = trained(settings)
    again, same = trained(settings)
    assert losses == same and all(torch.equal(value, again.kept()[name]) for name, value in first.kept().items())
    other, _ = trained(dataclasses.replace(settings, seed=5))
    assert any(not torch.equal(value, other.kept()[name]) for name, value in first.kept().items())
    part, _ = trained(GardenJudgeSettings(steps=60, batch_size=16, pictures=400))
    found = accuracies(confusions(part.judge, Garden("all", seed=77, length=200)))
    for name in ("colour", "background", "size"):  # how far 60 steps lead depends on rounding; that they lead above chance does not
        chance = 1 / len(ATTRIBUTES[name])
        assert found[name] > chance + 5 * (chance * (1 - chance) / 200) ** 0.5, found  # five standard deviations of 200 guesses


def test_it_learns_from_the_garden_alone() -> None:
    gardens = training_gardens(GardenJudgeSettings(pictures=80, seed=3))
    assert [(len(garden), garden.resolution) for garden in gardens] == [(60, 64), (20, 32)]
    part = GardenJudge(GardenJudgeSettings(), CONDITIONS)
    mine = GardenPictures(Garden("train", length=2))
    mine.name = "mine"
    with pytest.raises(SettingsError, match="not those of 'mine': give --data garden"):
        part.prepare(part.phases()[0], mine)


def test_artefacts_leave_pictures_readable() -> None:
    judge = load_judge()
    garden = Garden("test", seed=124, length=200)
    rows = np.arange(len(garden))
    clean = to_float(to_tensor(garden.pictures(rows)))
    spoiled = Artefacts(seed=5)(clean, step=3)
    assert spoiled.shape == clean.shape and (spoiled - clean).abs().mean() > 0.02
    with torch.no_grad():
        codes = judge.read(spoiled).codes()
    true = garden.attribute_codes(rows)
    for column, name in enumerate(ATTRIBUTES):
        assert (codes[name].numpy() == true[:, column]).mean() > 0.93, name
