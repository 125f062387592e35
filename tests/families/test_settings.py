"""What holds for the settings that methods share, in every method that lists them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
import torch
from shared.batches import CLASSES, LABELS, make_batch

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
    "gradient_clip": (-1.0, "at least 0"),
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
OWN_BOUNDS = {
    ("msg-gan", "generator_channels"): "at least 2",  # a map of one channel has no half
    ("msg-gan", "discriminator_channels"): "at least 2",
    ("dall-e", "gradient_clip"): "above 0",
    ("t2f", "mismatch_weight"): "at least 0",  # it is added to the other terms, which keep theirs
}
"""Where a method's bound is another one."""
OWN_MEANING = {("t2f", "condition_width"), ("t2f", "epochs")}
"""What a method has under the same name with a meaning of its own: none for captions that are not read; a number for each phase."""
PAIRED = [name for name in built_in() if "neighbour" in str(get_type_hints(get(name).Settings).get("mismatch"))]
OWN_WAY = {
    "dcgan-cls": "the port's losses",
    "df-gan": "its hinge and penalty",
    "keras-text-to-image": "plain SGD",
    "limner-flow": "no discriminator",
    "limner-gan": "its own defaults",
    "msg-gan": "equalised learning rates",
    "t2f": "equalised learning rates",
    "dall-e": "no adversary",
    "stylegan": "equalised learning rates",
    "stylegan2": "equalised learning rates",
    "ci-gan": "equalised learning rates",
}
"""Methods whose small presets begin otherwise, and why."""


@pytest.mark.parametrize("name", built_in())
def test_every_check_runs_in_every_method(name: str) -> None:
    fields = {item.name for item in dataclasses.fields(get(name).Settings)}
    for setting in sorted(WRONG.keys() & fields):
        if (name, setting) in OWN_MEANING:
            continue
        value, message = WRONG[setting]
        message = OWN_BOUNDS.get((name, setting), message)
        with pytest.raises(SettingsError, match=f"^method.{setting.replace('_', '-')} is {value}, but must .*{message}"):
            get(name).Settings(**{setting: value})
    own = [each.name for part in SHARED if issubclass(get(name).Settings, part) for each in dataclasses.fields(part)]
    assert set(own) <= fields and bool(own) == (name not in ("dall-e", "stylegan", "t2f"))  # whose families have settings of their own
    numbers = {each.name for part in SHARED for each in dataclasses.fields(part) if each.type in ("int", "float", "float | None")}
    assert numbers == WRONG.keys()


PARTS = [
    (name, field.name)
    for name in built_in()
    for field in dataclasses.fields(get(name).Settings)
    if field.name.endswith("_share") and field.type == "float" and field.name != "one_step_share"  # 0 leaves that phase out
]


@pytest.mark.parametrize(("name", "setting"), PARTS)
def test_no_phase_is_left_without_a_part_of_the_budget(name: str, setting: str) -> None:
    for value in (0.0, 1.0, math.nan):
        with pytest.raises(SettingsError, match=f"^method.{setting.replace('_', '-')} .*(each phase needs a part|leave some)"):
            get(name).Settings(**{setting: value})


@pytest.mark.parametrize("part", SHARED, ids=lambda part: part.__name__)
def test_no_shared_settings_derive_from_others(part: type) -> None:
    assert part.__bases__ == (Checked,)
    assert sum(issubclass(get(name).Settings, part) for name in built_in()) > 1


@pytest.mark.parametrize("name", [name for name in built_in() if name not in OWN_WAY])
def test_the_small_presets_begin_alike(name: str) -> None:
    preset, fields = get(name).presets["cpu"].method, {item.name for item in dataclasses.fields(get(name).Settings)}
    expected = SMALL_PAIRS if SMALL_PAIRS.keys() <= fields else SMALL_STEPS
    differ = {setting for setting, value in expected.items() if preset[setting] != value}
    own = {"sd-gan": {"batch_size"}, "storygan": {"batch_size"}}  # two captions of a picture; stories of several
    assert differ == own.get(name, set())


@pytest.mark.parametrize("name", PAIRED)
def test_neighbours_make_mismatched_pairs(name: str) -> None:
    """The step draws no other pictures; its loss is neither that of exchanged pictures nor that of exchanged captions."""
    losses = {}
    for mismatch in ("picture", "caption", "neighbour"):
        torch.manual_seed(0)
        small = {
            "generator_channels": {"hdgan": 32, "msg-gan": 16}.get(name, 4),
            "discriminator_channels": 16 if name == "msg-gan" else 4,
            "counterfactual": 0.0,
            "gradient_penalty": 0.0,
        }
        off = {"perceptual": 0.0, "caption_weight": 0.0}
        fields = {item.name for item in dataclasses.fields(get(name).Settings)}
        values: dict[str, Any] = {"mismatch": mismatch, **{key: value for key, value in (small | off).items() if key in fields}}
        if name == "fusedgan":
            values["unconditional"] = False
        settings = laid_over(get(name).Settings(), {**get(name).presets["cpu"].method, **values}, "method")
        method = get(name)(settings, Conditions(resolution=32, sentence_width=8, word_width=8, class_count=CLASSES, labels=LABELS))
        phase = method.phases()[-1 if name == "obj-gan" else 0]  # it paints in its last phase alone
        assert phase.fewest == (2 if mismatch == "neighbour" or name == "msg-gan" else 1)  # msg-gan compares pictures whatever they are
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
