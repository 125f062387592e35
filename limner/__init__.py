"""Limner: text-to-image synthesis with models that you train yourself.

    import limner
    model = limner.load("garden")                 # a shipped model, a run folder or a model folder
    pictures = model("a pink flower with five round petals", n=4, seed=7)               # list of PIL images
    run = limner.train("gan-cls", "prepared/mine", "runs/mine")                         # as on the command line
    scores = limner.evaluate("runs/mine", metrics="kid,memorisation")
    limner.methods.names()                        # what `limner.create` and `limner.train` can make

Importing the package imports no torch; the first call does.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limner import methods
    from limner.core.batch import Batch
    from limner.core.errors import CheckpointError, DataError, LimnerError, SettingsError
    from limner.core.method import Method, Painting
    from limner.core.noise import Noise
    from limner.core.text import TextFeatures
    from limner.core.trainable import Conditions, Phase, Player, Update
    from limner.front import evaluate, fid, open_data, push, train
    from limner.model import Model

__version__ = "0.1.0"

_HOMES = {
    "Batch": "limner.core.batch",
    "CheckpointError": "limner.core.errors",
    "Conditions": "limner.core.trainable",
    "DataError": "limner.core.errors",
    "LimnerError": "limner.core.errors",
    "Method": "limner.core.method",
    "Noise": "limner.core.noise",
    "Painting": "limner.core.method",
    "Phase": "limner.core.trainable",
    "Player": "limner.core.trainable",
    "SettingsError": "limner.core.errors",
    "TextFeatures": "limner.core.text",
    "Update": "limner.core.trainable",
    "Model": "limner.model",
    "evaluate": "limner.front",
    "fid": "limner.front",
    "open_data": "limner.front",
    "push": "limner.front",
    "train": "limner.front",
}

__all__ = [
    "Batch",
    "CheckpointError",
    "Conditions",
    "DataError",
    "LimnerError",
    "Method",
    "Model",
    "Noise",
    "Painting",
    "Phase",
    "Player",
    "SettingsError",
    "TextFeatures",
    "Update",
    "create",
    "evaluate",
    "fid",
    "load",
    "methods",
    "open_data",
    "push",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "methods":
        return importlib.import_module("limner.methods")
    if name not in _HOMES:
        raise AttributeError(f"module 'limner' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


HUB = "hf://"
"""How the names of models on the Hugging Face Hub begin."""
EXPORTED = (".onnx", ".pt2")
"""How the names of exported files end."""


def load(name_or_path: str | Path, device: str = "cpu") -> Model:
    """Load a trained model: a shipped one by name, one from a run folder or model folder, or an ONNX file that `limner export` wrote; or
    one that `push` has put on the Hugging Face Hub, as "hf://OWNER/NAME".

    device: where it paints; ONNX files paint on the CPU. Raises CheckpointError where there is none or it cannot be read, SettingsError for
    a name that does not exist, or a device that is not here.
    """
    from limner.core.asked import place

    place("the model", name_or_path, "a shipped name, a run folder, a model folder or an .onnx file")
    if str(name_or_path).startswith(HUB):
        from limner.interop.hub import fetched

        name_or_path = fetched(str(name_or_path).removeprefix(HUB))
    ending = Path(name_or_path).suffix.lower()
    if ending not in EXPORTED or Path(name_or_path).is_dir():
        from limner.model import load as load_model

        return load_model(name_or_path, device)
    from limner.core.errors import SettingsError

    if ending == ".pt2":
        raise SettingsError(f"{name_or_path} is a torch.export program: open it by torch.export.load; of exported files Limner reads .onnx")
    if device != "cpu":
        raise SettingsError(f"{name_or_path} is painted by onnxruntime on the CPU: leave the device out")
    from limner.export import load as load_exported

    return load_exported(name_or_path)


def create(
    method: str,
    *,
    resolution: int | None = None,
    sentence_width: int = 128,
    word_width: int | None = None,
    class_count: int = 0,
    category_count: int = 0,
    frames: int = 0,
    labels: Sequence[str] = (),
    preset: str = "as-published",
    seed: int = 0,
    **settings: Any,
) -> Method:
    """A method's networks with fresh weights, for a loop of your own or to look at.

    resolution: side of the pictures in pixels, by default the preset's; sentence_width and word_width: what the text encoder will give;
    class_count: classes of the pictures, 0 where they have none; category_count: categories of which a picture may show several; frames:
    pictures of a story, for methods that tell stories; labels: names of what layouts place; settings: fields of the method's settings, laid
    over the preset's.
    Raises SettingsError for an unknown method, preset or setting, and for a resolution that the method cannot make.
    """
    import torch

    from limner import methods
    from limner.core.asked import one_seed, whole_number
    from limner.core.recipes import chosen_preset, laid_over
    from limner.core.trainable import Conditions

    made = methods.get(method)
    values = chosen_preset(method, preset)
    conditions = Conditions(
        resolution=values.resolution if resolution is None else whole_number("resolution", resolution, 1),
        sentence_width=sentence_width,
        word_width=word_width,
        class_count=class_count,
        category_count=category_count,
        frames=frames,
        labels=tuple(labels),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(one_seed(seed))
        return made(laid_over(made.Settings(), {**values.method, **settings}, "method"), conditions)
