"""What holds for the settings that methods share, in every method that lists them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from shared.batches import CLASSES, make_batch

from limner.core import registry
from limner.core.errors import SettingsError
from limner.core.folders_0_1 import renewed
from limner.core.recipes import laid_over
from limner.core.trainable import Conditions, Progress
from limner.families import settings as shared
from limner.families.settings import SMALL_PAIRS, SMALL_STEPS, Checked
from limner.methods import built_in, get

SHARED = [value for value in vars(shared).values() if isinstance(value, type) and issubclass(value, Checked) and value is not Checked]
WRONG: dict[str, tuple[Any, str]] = {
    "noise_width": (0, "at least 1"),
    "epochs": (0.0, "above 0"),
    "batch_size": (1, "at least 2"),
    "learning_rate": (0.0, "above 0"),
    "beta1": (1.0, "below 1"),
    "halve_every": (-1.0, "at least 0"),
    "gradient_penalty": (-1.0, "at least 0"),
    "penalty_every": (0, "at least 1"),
    "captions": (0, "at least 1"),
    "counterfactual": (1.5, "between 0 and 1"),
    "mismatch_weight": (-0.1, "between 0 and 1"),
    "branches": (0, "at least 1"),
    "generator_channels": (0, "at least"),
    "discriminator_channels": (0, "at least 1"),
    "residual_blocks": (-1, "at least 0"),
    "matching_weight": (-1.0, "at least 0"),
    "condition_width": (0, "at least 1"),
    "divergence_weight": (-1.0, "at least 0"),
}
"""For every shared setting that is a number, a value that no method takes."""
PAIRED = [name for name in built_in() if hasattr(get(name).Settings, "mismatch") and name not in ("msg-gan", "t2f")]
OWN_WAY = ("dcgan-cls", "df-gan", "keras-text-to-image", "limner-gan", "msg-gan", "t2f", "dall-e")


@pytest.mark.parametrize("name", [name for name in built_in() if name not in ("t2f", "dall-e")])  # whose settings are their own
def test_every_check_runs_in_every_method(name: str) -> None:
    fields = {item.name for item in dataclasses.fields(get(name).Settings)}
    several = {setting for setting in fields if isinstance(getattr(get(name).Settings(), setting), tuple)}  # a value for each depth
    for setting in WRONG.keys() & fields - several:
        value, message = WRONG[setting]
        at_least = message.replace("at least 1", "at least [1-9]")
        with pytest.raises(
            SettingsError,
            match=f"^method.{setting.replace('_', '-')} is {value}, but must .*{at_least}",
        ):
            get(name).Settings(**{setting: value})
    own = [each.name for part in SHARED if issubclass(get(name).Settings, part) for each in dataclasses.fields(part)]
    assert own and set(own) <= fields
    numbers = {each.name for part in SHARED for each in dataclasses.fields(part) if each.type in ("int", "float", "float | None")}
    assert numbers == WRONG.keys()


@pytest.mark.parametrize("part", SHARED, ids=lambda part: part.__name__)
def test_no_shared_settings_derive_from_others(part: type) -> None:
    assert part.__bases__ == (Checked,)
    assert sum(issubclass(get(name).Settings, part) for name in built_in()) > 1


@pytest.mark.parametrize("name", [name for name in built_in() if name not in OWN_WAY])
def test_the_small_presets_begin_alike(name: str) -> None:
    preset, fields = get(name).presets["cpu"].method, {item.name for item in dataclasses.fields(get(name).Settings)}
    expected = SMALL_PAIRS if SMALL_PAIRS.keys() <= fields else SMALL_STEPS
    differ = {setting for setting, value in expected.items() if preset[setting] != value}
    assert differ == ({"batch_size"} if name == "sd-gan" else set())  # it paints two captions of each picture


@pytest.mark.parametrize("name", PAIRED)
def test_neighbours_make_mismatched_pairs(name: str) -> None:
    """The step draws no other pictures; its loss is neither that of exchanged pictures nor that of exchanged captions."""
    losses = {}
    for mismatch in ("picture", "caption", "neighbour"):
        torch.manual_seed(0)
        small = {
            "generator_channels": 32 if name == "hdgan" else 4,
            "discriminator_channels": 4,
            "counterfactual": 0.0,
            "gradient_penalty": 0.0,
        }
        off = {"perceptual": 0.0, "caption_weight": 0.0}
        fields = {item.name for item in dataclasses.fields(get(name).Settings)}
        values: dict[str, Any] = {"mismatch": mismatch, **{key: value for key, value in (small | off).items() if key in fields}}
        if name == "fusedgan":
            values["unconditional"] = False
        settings = laid_over(get(name).Settings(), {**get(name).presets["cpu"].method, **values}, "method")
        method = get(name)(settings, Conditions(resolution=32, sentence_width=8, word_width=8, class_count=CLASSES))
        phase = method.phases()[0]
        method.begin(phase)
        batch = make_batch(phase.resolution, 4, width=8, words=8, captions=2, classes=CLASSES)
        if mismatch == "neighbour" and name != "controlgan":  # whose words are always those of other captions
            batch.draw_batch = lambda kind: pytest.fail(f"it draws {kind} pictures")
        updates = method.training_step(batch, Progress(phase=phase.name, step=1, steps=2, images=0, epoch=0.0))
        update = next(update for update in updates if "mismatched" in update.metrics)
        losses[mismatch] = update.loss.item()
        assert update.metrics["mismatched"] != update.metrics["real"]
    assert len(set(losses.values())) == 3


def test_old_recipes_and_folders_name_neighbours_otherwise() -> None:
    """Version 0.1 called them "shift" in StackGAN and AttnGAN's family."""
    made = get("attngan").Settings
    assert laid_over(made(), {"mismatch": "shift", "branches": 2}, "method") == made(mismatch="neighbour", branches=2)
    config = {"format": "limner-model", "version": 1, "method": "attngan", "settings": {**dataclasses.asdict(made()), "mismatch": "shift"}}
    found = renewed(json.loads(json.dumps(config)), Path("folder"))
    assert msgspec.convert(found["settings"], registry.get("attngan").Settings) == made()
    with pytest.raises(SettingsError, match="mismatch is wrong"):
        laid_over(made(), {"mismatch": "swap"}, "method")
