"""The garden's judge in training: what it is shown stays readable, it learns and repeats itself, and reads the garden alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.pictures import prepared

from limner.core.errors import SettingsError
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.data.garden import ATTRIBUTES, Garden
from limner.families.judges import Artefacts
from limner.features.network import to_float
from limner.metrics.judge import accuracies, confusions, load_judge, to_tensor
from limner.training.run import train


@pytest.fixture(scope="module")
def judge():
    return load_judge()


def test_artefacts_leave_pictures_readable(judge):
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


def recipe(data: str = "garden", **settings: int) -> Recipe:
    made = from_preset("garden-judge", "cpu", data)
    return dataclasses.replace(
        made,
        method_settings=dataclasses.replace(made.method_settings, **settings),
        training=dataclasses.replace(made.training, device="cpu", log_every=100, checkpoint_every=100),
        data_settings=dataclasses.replace(made.data_settings, garden_pictures=20),
    )


def test_training_repeats_itself_and_learns(tmp_path: Path) -> None:
    for name in ("first", "second"):
        torch.manual_seed(len(name))  # whatever was drawn before
        train(recipe(steps=4, batch_size=8, pictures=64), tmp_path / name)
    assert load_judge(tmp_path / "first").content_hash == load_judge(tmp_path / "second").content_hash
    train(recipe(steps=60, batch_size=16, pictures=400), tmp_path / "trained")
    found = accuracies(confusions(load_judge(tmp_path / "trained"), Garden("all", seed=77, length=200)))
    for name in ("colour", "background", "size"):  # how far 60 steps lead depends on rounding; that they lead above chance does not
        chance = 1 / len(ATTRIBUTES[name])
        assert found[name] > chance + 5 * (chance * (1 - chance) / 200) ** 0.5, found  # five standard deviations of 200 guesses


def test_what_it_cannot_read_is_refused(tmp_path: Path) -> None:
    mine = prepared(tmp_path / "mine", [("train", "a bird"), ("train", "a dog")], 64)
    with pytest.raises(SettingsError, match="give --data garden"):
        train(recipe(str(mine), steps=1, batch_size=8, pictures=64), tmp_path / "run")
    with pytest.raises(SettingsError, match="reads pictures of 64 px"):
        train(dataclasses.replace(recipe(steps=1), resolution=32), tmp_path / "run")
    assert not (tmp_path / "run").exists()
