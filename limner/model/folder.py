"""Models that paint on disk: the text encoder, the networks that paint, their running average, and the style encoder where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch

from limner.core import folder, registry
from limner.core.asked import usable_device
from limner.core.errors import CheckpointError, LimnerError, SettingsError
from limner.core.method import Method
from limner.model.model import Model
from limner.parts.style import StyleEncoder, StyleInversion
from limner.text.encoder import TextEncoder
from limner.text.saving import encoder_of

FILES = (folder.WEIGHTS, folder.DESCRIPTION, folder.CARD)
"""What a model folder holds."""


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


def load(name_or_path: str | Path, device: str | torch.device = "cpu") -> Model:
    """Load a shipped model by name, or one from a run folder or model folder.

    Raises CheckpointError where there is none or it cannot be read, SettingsError for a name that does not exist, or a device that is not
    here.
    """
    device = usable_device(device)
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
    card = path / folder.CARD
    return Model(method, encoder, saved.config["about"], style, _text(card))


def save(model: Model, path: Path) -> Path:
    """Write a model to a folder: see `Model.save`."""
    _check_replaceable(path)
    name = registry.name_of_class(type(model.method))
    save_model(path, name, model.method, model.encoder, model.about, model.card or plain_card(model), style=model.style)
    return path


def _check_replaceable(path: Path) -> None:
    """Raise SettingsError unless a folder is new, empty, or holds a model that paints and nothing else: it is lost where it is replaced."""
    if not path.exists():
        return
    if (path / "recipe.yaml").exists():
        raise SettingsError(f"{path} is a run, which writes its own model: choose another folder")
    held = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else [path.name]
    if not held:
        return
    kind = folder.kind_of(path) if path.is_dir() else None
    if kind != "method":
        what = "something that is not a saved model" if kind is None else folder.KINDS[kind]
        raise SettingsError(f"{path} holds {what}, which would be lost: choose another folder")
    if others := [name for name in held if name not in (*FILES, "scores.json")]:  # scores are of the weights that go
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        raise SettingsError(f"{path} holds {others[0]}{more} beside a saved model, which would be lost: choose another folder")


def plain_card(model: Model) -> str:
    """A card for a model that no run has written one for: what it is, and what is known of its making."""
    method = model.method
    known = "".join(f"- {name.replace('_', ' ').capitalize()}: {value}\n" for name, value in model.about.items())
    return f"""# {method.title}, {method.resolution} px

{method.summary()} Made with Limner.

- Method: {method.title} ({method.paper})
{known}
{method.usage().replace("PATH", "PATH_OF_THIS_FOLDER")}
Terms: those of the pictures and captions it was trained on.
"""


def _text(card: Path) -> str:
    """The text of a card; what is damaged in it harms no painting, and a missing one is empty."""
    try:
        return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    except OSError:
        return ""
