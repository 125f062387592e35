"""What the methods of AttnGAN's family have in common holds for each of them, by its own name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from limner import methods
from limner.core.errors import SettingsError
from limner.core.recipes import from_preset
from limner.core.trainable import Conditions
from limner.families.attentive.method import TreeMethod

FAMILY = ("attngan", "dm-gan", "controlgan", "mirrorgan", "sd-gan")
TINY = {"noise_width": 3, "generator_channels": 2, "discriminator_channels": 2}


def build(name: str, word_width: int | None = 5, **values: Any) -> TreeMethod:
    settings = dataclasses.replace(from_preset(name, "cpu", "garden", 32).method_settings, **TINY, **values)
    method = methods.get(name)(settings, Conditions(resolution=32, sentence_width=6, word_width=word_width))
    assert isinstance(method, TreeMethod)
    return method


@pytest.mark.parametrize("name", FAMILY)
def test_a_judge_a_scale_and_one_painter_who_is_averaged(name: str) -> None:
    players = build(name).players()
    game = {player: value for player, value in players.items() if player != "captioner"}
    assert set(game) == {"discriminator-16", "discriminator-32", "generator"}
    assert [player for player, value in game.items() if value.averaged] == ["generator"]
    assert all(value.optimizer.learning_rate == 8e-4 and value.optimizer.betas == (0.0, 0.999) for value in game.values())


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"word_width": None}, "reads words, which this text encoder does not give"),
        ({"matching_weight": 1.0}, "no matching model: give --method.matching the run of a damsm"),
        ({"branches": 9}, "branches"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_none_of_them_takes(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build(name, **values)
