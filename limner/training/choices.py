"""What a recipe leaves to the device, chosen before a run begins and written into its recipe, so that a resumed run chooses the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limner.core.errors import SettingsError
from limner.core.recipes import load_recipe
from limner.core.settings import FAST, Recipe, TrainingSettings
from limner.core.trainable import Trainable
from limner.text.encoder import TextEncoder
from limner.training.recompute import recompute_maps


def on_gpu(recipe: Recipe) -> bool:
    """Whether a run of this recipe trains on a GPU."""
    return recipe.training.device != "cpu" and torch.cuda.is_available()


def settled(recipe: Recipe, before: Path | None) -> Recipe:
    """The recipe with `auto` replaced by what this device has, or by what the run in the folder `before` has chosen when it began.

    bfloat16 where a GPU computes with it; compiled networks on a GPU. On a CPU neither: few have the one, and the other has not paid there.
    """
    training = recipe.training
    kept = _kept(before)
    if training.precision == "auto":
        has_bfloat16 = on_gpu(recipe) and torch.cuda.is_bf16_supported(including_emulation=False)
        training = dataclasses.replace(training, precision=kept.get("precision", "bf16-mixed" if has_bfloat16 else "32-true"))
    if training.compile == "auto":
        pays = on_gpu(recipe) and _can_compile() and not training.recompute
        training = dataclasses.replace(training, compile=kept.get("compile", "networks" if pays else "nothing"))
    if training.compile == "networks" and not _can_compile():
        raise SettingsError(f"training.compile wants PyTorch 2.6 or later, here is {torch.__version__}: give --training.compile nothing")
    return dataclasses.replace(recipe, training=training)


def _kept(run: Path | None) -> dict[str, Any]:
    """What the run in a folder has chosen. Nothing where it has not begun, such as a study's, whose recipe lies there before."""
    if run is None or not (run / "recipe.yaml").is_file():
        return {}
    stored = load_recipe(run / "recipe.yaml").training
    found = {name: getattr(stored, name) for name in FAST}
    if (run / "checkpoints").is_dir():  # begun when a study's runs took `auto` for these
        found = {name: {"precision": "32-true", "compile": "nothing"}[name] if value == "auto" else value for name, value in found.items()}
    return {name: value for name, value in found.items() if value != "auto"}


def prepare_networks(trained: Trainable, training: TrainingSettings) -> None:
    """Let networks be compiled, or compute their maps again, as the settings say; those that losses look through too."""
    if training.compile == "networks":
        compile_networks(trained)
    if training.recompute:
        for network in [player.module for player in trained.players().values()] + list(trained.guides.values()):
            recompute_maps(network)


def _can_compile() -> bool:
    return hasattr(torch.compiler, "set_stance")


def compile_networks(trained: Trainable) -> None:
    """Let the networks of what is trained, and those that its losses look through, be compiled when they are next called, one by one.

    Their names in checkpoints and models stay what they are. A network that is called by its parts has its parts compiled.
    """
    wholes = [player.module for player in trained.players().values()] + list(trained.guides.values())
    for module in [part for whole in wholes for part in (whole, *whole.children())]:
        if module._compiled_call_impl is None and not isinstance(module, (TextEncoder, nn.ModuleList)):
            module.compile()
