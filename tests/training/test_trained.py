"""The whole method of a run comes back, its discriminator with it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from limner.core.errors import CheckpointError
from limner.core.recipes import from_preset, load_recipe, save_recipe
from limner.training.checkpoints import Checkpoints
from limner.training.plan import training_pictures
from limner.training.run import train
from limner.training.trained import seen_in_training, trained_method


def test_the_discriminator_of_a_run_is_that_of_its_newest_checkpoint(tmp_path: Path) -> None:
    recipe = from_preset("gan-cls", "cpu", "garden", 16)
    recipe = dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, generator_channels=4, discriminator_channels=4, batch_size=8),
        training=dataclasses.replace(recipe.training, steps=3, log_every=100, sample_every=100, checkpoint_every=100, device="cpu"),
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=16),
    )
    run = tmp_path / "run"
    train(recipe, run)
    method = trained_method(run)
    state = Checkpoints(run).load()
    assert state is not None
    saved = state["modules"]["method"]
    assert not method.training and saved.keys() == method.state_dict().keys()
    assert all(torch.equal(value, saved[name]) for name, value in method.state_dict().items())
    assert any(name.startswith("discriminator.") for name in saved)
    assert method.look(torch.zeros(2, 3, 16, 16)).shape == (2, saved["discriminator.joint.0.weight"].shape[0] * 16)

    with pytest.raises(CheckpointError, match="not a run folder"):
        trained_method(run / "model")
    del state["modules"]["method"]
    Checkpoints(run).save(4, state)
    with pytest.raises(CheckpointError, match="text encoder alone"):
        trained_method(run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(CheckpointError, match="no whole checkpoint"):
        trained_method(run)


def test_the_pictures_seen_in_training_are_those_of_the_recipe(tmp_path: Path) -> None:
    recipe = from_preset("gan-cls", "cpu", "garden", 16)
    for share in (1.0, 0.25):
        data = dataclasses.replace(recipe.data_settings, garden_pictures=16, share=share)
        save_recipe(dataclasses.replace(recipe, data_settings=data), tmp_path / "recipe.yaml")
        seen, trained = seen_in_training(tmp_path, "garden", 16), training_pictures(load_recipe(tmp_path / "recipe.yaml"))
        assert seen is not None and (seen.split, len(seen)) == ("train", int(16 * share))
        assert [seen.key(index) for index in range(len(seen))] == [trained.key(index) for index in range(len(trained))]
    assert seen_in_training(tmp_path, str(tmp_path / "nothing"), 16) is None
