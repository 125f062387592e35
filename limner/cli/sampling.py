"""Settings of a trained model that matter to painting alone: what commands that paint have in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from limner.cli.models import with_options
from limner.core.errors import SettingsError

if TYPE_CHECKING:
    from limner.model import Model


@dataclass(frozen=True, kw_only=True)
class SamplingArguments:
    """What is laid over a model's own settings."""

    temperature: Annotated[float | None, arg(metavar="T")] = None
    """Of a model that draws codes or layouts, such as dall-e or obj-gan: below 1 its pictures are likelier and more alike. Of
    codes, 0 always takes the likeliest."""
    top_k: Annotated[int | None, arg(metavar="K")] = None
    """Of a model that draws codes, such as dall-e: only the K likeliest can be drawn; 0 for all."""
    top_p: Annotated[float | None, arg(metavar="P")] = None
    """Of such a model: only the likeliest codes that together have this probability can be drawn."""
    guidance: Annotated[float | None, arg(metavar="G")] = None
    """Of such a model, or one that follows a flow, such as limner-flow: how far the text moves it, times what it does by itself; 1 is
    none."""
    truncation: Annotated[float | None, arg(metavar="T")] = None
    """Of a model with styles, such as stylegan2 or stylegan: below 1 its pictures are more typical and more alike; 0 paints the mean
    style."""
    truncation_layers: Annotated[int | None, arg(metavar="N")] = None
    """Of such a model, but not of stylegan: only the N coarsest layers' styles are truncated."""
    map_noise: Annotated[float | None, arg(metavar="S")] = None
    """Of such a model, but not of stylegan: how strong the noise is that is added to its maps; 0 paints without it."""
    paint_steps: Annotated[int | None, arg(metavar="N")] = None
    """Of a model that follows a flow, such as limner-flow: steps from noise to the picture. Of one that finds codes of pictures, such as
    ci-gan: steps that move a picture's code until the model reads in the picture what was asked for."""


_KINDS = {
    "truncation": "with styles, such as stylegan2",
    "truncation_layers": "with styles, such as stylegan2",
    "map_noise": "with styles, such as stylegan2",
    "paint_steps": "that paint in steps, such as limner-flow and ci-gan",
    "guidance": "with guidance, such as dall-e, or limner-flow with --paint-steps 2 or more",
}
"""Whose setting each of these is; the others are of models that draw codes."""


def set_sampling(model: Model, arguments: SamplingArguments) -> str:
    """Give a model the settings that were asked for, and say which. Raises SettingsError where it has none, or for a wrong value."""
    from limner.core.abilities import TakesSampling

    asked, before = asked_sampling(arguments), model.method.settings
    if isinstance(model.method, TakesSampling):
        fields = {field.name for field in dataclasses.fields(before)}
        model.method.settings = with_options(before, {name: asked[name] for name in asked if name in fields}, sampling_option)
    known = model.method.sampling if isinstance(model.method, TakesSampling) else ()  # by these settings
    for name in asked:
        if name not in known:
            model.method.settings = before
            raise SettingsError(f"{_refused(model, name, bool(known))}: leave it out")
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in asked.items())


def _refused(model: Model, name: str, has_others: bool) -> str:
    """Why a setting cannot be given. has_others: whether the model has other settings of painting."""
    from limner.export.exported import ExportedMethod

    option = sampling_option(name)
    if isinstance(model.method, ExportedMethod):
        return f"an exported file has no {option}"
    if has_others and not hasattr(model.method.settings, name):  # else by the values of others, as limner-flow's guidance
        return f"{model.method.title.partition(',')[0]} has no {option}"
    return f"{option} is for models {_KINDS.get(name, 'that draw codes, such as dall-e')}"


def sampling_option(setting: str) -> str:
    """The option that sets a setting of painting."""
    return f"--{setting.replace('_', '-')}"


def asked_sampling(arguments: SamplingArguments) -> dict[str, float]:
    """The settings that were asked for, by name."""
    names = [field.name for field in dataclasses.fields(SamplingArguments)]
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


@contextmanager
def writing_shown(model: Model) -> Iterator[None]:
    """A progress bar on stderr while a model that writes codes paints, which may take minutes."""
    from limner.cli.progress import progress_bar
    from limner.core.abilities import WritesCodes

    if not isinstance(model.method, WritesCodes):
        yield
        return
    with progress_bar() as bar, writing_told(model, bar):
        yield


@contextmanager
def writing_told(model: Model, bar: Callable[[int, int, str], None]) -> Iterator[None]:
    """A bar follows the codes of each batch while a model that writes codes paints; other models tell it nothing."""
    from limner.core.abilities import WritesCodes

    writer = model.method
    if not isinstance(writer, WritesCodes):
        yield
        return
    writer.tell = lambda done, total: bar(done, total, "codes")
    try:
        yield
    finally:
        writer.tell = None
