"""The whole path learns: after seconds of training on the garden, pictures follow the word that is easiest to follow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from limner.core.recipes import from_preset
from limner.model import load
from limner.training.run import train


def test_night_is_dark_and_sand_is_bright(tmp_path: Path) -> None:
    recipe = from_preset("gan-cls", "cpu", "garden", 16)
    recipe = dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, generator_channels=8, discriminator_channels=8),
        training=dataclasses.replace(recipe.training, steps=300, log_every=100, sample_every=1000, checkpoint_every=1000, device="cpu"),
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=1000),
    )
    train(recipe, tmp_path / "run")
    model = load(tmp_path / "run")

    def brightness(place: str) -> float:
        captions = [f"a {colour} flower {place}" for colour in ("red", "yellow", "blue", "white")]
        return float(model.pictures(captions * 4, np.arange(16))[:, 0].mean())  # the topmost row, above every flower

    night, sand = brightness("at night"), brightness("on the sand")  # untrained, they do not differ
    assert sand - night > 40, f"night {night:.0f}, sand {sand:.0f} of 255"
