"""Which settings decide what: said once, on their fields, and asked by resuming, comparing and studying runs."""

from __future__ import annotations

from limner.core.recipes import flat_settings, from_preset, settings_with

BUDGET = {"training.steps", "training.epochs", "training.minutes", "training.core-minutes", "training.images"}
MACHINE = {"training.recompute", "training.device", "training.devices", "training.nodes"}
SHOWN = {f"training.{name}" for name in ("log-every", "sample-every", "checkpoint-every", "keep-checkpoints")}
SHOWN |= {f"training.{name}" for name in ("tensorboard", "wandb", "trackio")}
SCORED = {f"evaluation.{name}" for name in ("every", "split", "metrics", "count", "features")}


def test_every_role_has_its_settings() -> None:
    assert settings_with("budget") == BUDGET
    assert settings_with("machine") == MACHINE
    assert settings_with("shown") == SHOWN | SCORED
    assert settings_with("seed") == {"training.seed"}
    assert settings_with("budget", "seed") == BUDGET | {"training.seed"} and settings_with() == set()


def test_they_are_settings_of_every_recipe() -> None:
    flat = flat_settings(from_preset("gan-cls", "cpu", "garden"))
    assert settings_with("budget", "machine", "shown", "seed") <= set(flat)
    assert {name for name in flat if name.startswith("evaluation.")} == SCORED  # no step depends on how a run is scored
    decide = {name for name in flat if name.startswith("training.")} - settings_with("budget", "machine", "shown", "seed")
    assert {"training.batch-size", "training.precision", "training.compile", "training.ema-half-life"} <= decide
