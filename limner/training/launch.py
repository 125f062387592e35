"""Before a run begins: whether it may, and the processes it runs in."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from limner.core.errors import SettingsError
from limner.core.recipes import flat_settings, load_recipe, settings_with
from limner.core.settings import LEFT_OPEN, Recipe
from limner.core.torchrun import check_started
from limner.training.choices import on_gpu
from limner.training.folder import is_first
from limner.training.hosts import settle_on_a_network, telling_who_is_lost
from limner.training.inputs import Found, find_inputs
from limner.training.memory import keep_memory
from limner.training.processes import Alone, Processes


def is_first_process(recipe: Recipe) -> bool:
    """Whether this is the process that writes and speaks; known before the others are launched.

    Raises SettingsError where torchrun has started other processes than the recipe asks for: each would take itself for the first.
    """
    check_started(recipe.training.devices, recipe.training.nodes, "--training.devices", "--training.nodes")
    return recipe.training.devices * recipe.training.nodes == 1 or is_first()


def going_on(recipe: Recipe, out: Path) -> Found:
    """The recipe with which the run in the folder `out` can go on: everything that it reads is found where it lies now.

    Raises SettingsError for what is not there any more, and for a run whose steps would not be the same.
    """
    stored = load_recipe(out / "recipe.yaml")
    found = find_inputs(recipe, stored, out)
    before, now = _comparable(stored), _comparable(found.recipe)
    open_yet = {name for name in LEFT_OPEN if before[name] == "auto"}
    open_yet |= {name for name in now if name.startswith("style.")} if may_add_style(stored) else set()
    changed = [name for name in now if before[name] != now[name] and name not in found.same | open_yet]
    if changed:
        name = changed[0]
        raise SettingsError(
            f"{out} was begun with {name} {before[name]}, not {now[name]}: resume it with its own settings, or choose another --out"
        )
    return found


def may_add_style(stored: Recipe) -> bool:
    """Whether a run that was begun so may be given a style encoder: no step before its phase changes by it. Once it has one, that stays."""
    return not stored.style.steps


def _comparable(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide what a step does, flat, by their names on the command line; how a run is evaluated is not among them."""
    left_out = settings_with("budget", "machine", "shown") | {"text.steps"}  # `Run` allows the last in its phase
    return {name: value for name, value in flat_settings(recipe).items() if name not in left_out}


def check_device(recipe: Recipe) -> None:
    """Raise SettingsError for a device or a budget that a run cannot have on this machine."""
    settings = recipe.training
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("device is cuda, but PyTorch sees no GPU here: use --device cpu or auto")
    if on_gpu(recipe) and settings.core_minutes is not None:
        raise SettingsError("training.core-minutes counts the time of processors, not of a GPU: give --training.minutes, or --device cpu")
    if on_gpu(recipe) and settings.devices > torch.cuda.device_count():
        raise SettingsError(f"training.devices is {settings.devices}, but PyTorch sees {torch.cuda.device_count()} GPUs: lower it")


def launch(recipe: Recipe) -> Processes:
    """Start the processes of the run and say which device each has. Raises SettingsError as `check_device` and `is_first_process`."""
    check_device(recipe)
    settings = recipe.training
    check_started(settings.devices, settings.nodes, "--training.devices", "--training.nodes")
    accelerator = "cuda" if on_gpu(recipe) else "cpu"
    if accelerator == "cpu":
        keep_memory()
    if settings.devices * settings.nodes == 1:
        return Alone(accelerator, settings.precision)
    from lightning_fabric import Fabric  # takes seconds to load

    for name in ("lightning.fabric", "lightning_fabric"):  # their notices of what they start are for developers
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(
            accelerator=accelerator,
            devices=settings.devices,
            precision=settings.precision,
            num_nodes=settings.nodes,
            strategy="ddp",
        )
        if settings.nodes > 1:
            settle_on_a_network()
        if settings.devices > 1 and accelerator == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.devices))
        with telling_who_is_lost(settings.devices * settings.nodes, settings.nodes), ending_with_the_first():
            fabric.launch()
    processes: Processes = fabric
    return processes


@contextmanager
def ending_with_the_first() -> Iterator[None]:
    """Within the block, a process that another one has started ends when that one is gone: it would wait for it for many minutes."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        yield
        return
    parent, done = os.getppid(), threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()
