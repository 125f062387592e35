"""Models that paint on disk: the text encoder, the networks that paint, their running average, and the style encoder where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from limner.core import folder
from limner.core.errors import CheckpointError, LimnerError
from limner.core.method import Method
from limner.model.model import Model
from limner.parts.style import StyleEncoder, StyleInversion
from limner.text.encoder import TextEncoder
from limner.text.saving import encoder_of


def save_model(
    path: Path,
    name: str,
    method: Method,
    encoder: TextEncoder,
    about: dict[str, Any],
    card: str,
    *,
    style: StyleEncoder | None = None,
) -> None:
    """Write a model folder, whole or not at all. `name` is the method's; the method's present weights are saved, of those players that
    paint. style: a style encoder that goes with them."""
    if style is None:
        folder.save(path, name, method, encoder, about, card)
    else:
        folder.save(path, name, StyleInversion.of(style, method, name), encoder, about, card)


def load(name_or_path: str | Path, device: str = "cpu") -> Model:
    """Load a shipped model by name, or one from a run folder or model folder.

    Raises CheckpointError where there is none or it cannot be read, SettingsError for a name that does not exist.
    """
    with folder.located(name_or_path, "method") as found:
        return load_folder(found).to(device)


def shipped_models() -> list[str]:
    """Names of the models that come with Limner."""
    return folder.shipped("method")


def load_folder(path: Path) -> Model:
    """Load a model folder onto the CPU. Raises CheckpointError where it cannot be read."""
    saved = folder.read(path, "method")
    try:
        with saved.being_read():
            method, encoder = cast("Method", folder.restored(saved, "method")), encoder_of(saved)
            style = None
            if "style" in saved.config:
                style = StyleEncoder(saved.config["style"]["widths"], saved.config["style"]["channels"], method.conditions.resolution)
                style.load_state_dict(saved.part("style"))
    except CheckpointError:
        raise
    except LimnerError as error:
        raise CheckpointError(str(error)) from error
    return Model(method, encoder, saved.config["about"], style)
