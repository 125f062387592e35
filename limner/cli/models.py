"""What the verbs that use a trained model share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from limner.core.errors import SettingsError, by_other_names

if TYPE_CHECKING:
    from limner.metrics.scoring.matching import Placed
    from limner.model import Model

Device = Literal["auto", "cpu", "cuda"]


def open_model(name: str, device: Device) -> Model:
    """Load a shipped model, run folder or model folder onto the device asked for, or an exported file, which paints on the CPU."""
    import limner

    exported = name.lower().endswith(limner.EXPORTED)
    if exported and device == "cuda":
        raise SettingsError(f"--device cuda: {name} is painted by onnxruntime on the CPU: leave --device out")
    return limner.load(name, device="cpu" if exported else chosen_device(device))


def chosen_device(device: Device) -> str:
    """Where to work: "cuda" or "cpu". Raises SettingsError where a GPU is asked for and none is there."""
    import torch

    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise SettingsError("--device cuda: no GPU was found; leave --device out, or run limner doctor to see why")
    return "cuda" if found and device != "cpu" else "cpu"


def matching_model(name: str | None, device: Device) -> Placed | None:
    """A matching model as metrics use it; None where none is asked for."""
    if name is None:
        return None
    from limner.metrics.scoring.matching import Placed

    return Placed.load(name, chosen_device(device))


def set_editing(model: Model, given: Mapping[str, float | bool | None]) -> None:
    """Give a model the settings of inverting and editing that were asked for, those that are not None. Raises SettingsError where it has
    none of that name."""
    from limner.core.abilities import TakesSampling

    method, asked = model.method, {name: value for name, value in given.items() if value is not None}
    known = method.sampling if isinstance(method, TakesSampling) else ()
    for name in asked:
        if name not in known:
            raise SettingsError(f"{editing_option(name)} is not a setting of {method.title}: leave it out")
    method.settings = with_options(method.settings, asked, editing_option)


def with_options(settings: Any, asked: Mapping[str, float | bool], option: Callable[[str], str]) -> Any:
    """Settings of a method with the values that were asked for. option: the option that sets a setting.

    Raises SettingsError for a wrong value, by the name of its option.
    """
    try:
        return dataclasses.replace(settings, **asked)
    except SettingsError as error:
        raise by_other_names(error, asked, option) from None


def editing_option(setting: str) -> str:
    """The option that sets a setting of inverting or editing."""
    return "--aim" if setting == "edit_whole" else f"--{setting.removeprefix('edit_').replace('_', '-')}"
