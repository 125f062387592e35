"""Every method takes a step of each phase in bfloat16, as `training.precision` bf16-mixed has it, on a CPU too."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from shared.batches import CAPTIONS, CLASSES, LABELS, batch_of
from shared.pictures import Captioned
from shared.tiny_runs import tiny

import limner
from limner import methods
from limner.core.trainable import Conditions, Progress

WIDTH, FRAMES = 8, 4
VARIANTS: dict[str, dict[str, Any]] = {"msg-gan": {"loss": "wgan-gp"}, "t2f": {"own_encoder": True}}
"""Settings that take paths of their own, which those of the `cpu` presets do not take."""


@pytest.mark.parametrize(
    ("name", "values"), [*((name, {}) for name in methods.built_in()), *VARIANTS.items()], ids=lambda value: value if value else "-"
)
def test_steps_in_bfloat16(name: str, values: dict[str, Any]) -> None:
    """The first step of a phase has its penalties; losses are finite."""
    made, settings = methods.get(name), dataclasses.replace(tiny(name, 1).method_settings, **values)
    own = made.own_encoder(settings, CAPTIONS)
    width = WIDTH if own is None else own.sentence_width
    conditions = {"resolution": 32, "sentence_width": width, "word_width": WIDTH, "class_count": CLASSES, "frames": FRAMES}
    if own is None:
        method = limner.create(name, preset="cpu", labels=LABELS, **conditions, **dataclasses.asdict(settings))
    else:
        method = made(settings, Conditions(labels=LABELS, **conditions), own)  # type: ignore[call-arg]
    for phase in method.phases():
        method.prepare(phase, Captioned(CAPTIONS))
        method.begin(phase)
        method.train()
        batch = batch_of(phase, width, WIDTH)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for update in method.training_step(batch, Progress(phase=phase.name, step=0, steps=1, images=0, epoch=0.0)):
                assert torch.isfinite(update.loss), f"{update.player} in {phase.name}"
