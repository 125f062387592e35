"""`limner export`: a file is made, checked against PyTorch, and only then written."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from limner.core.errors import SettingsError
from limner.core.files import sync
from limner.export.exported import ExportedMethod
from limner.export.extra import needed
from limner.export.functions import captions_for, long_caption, on_cpu
from limner.model import Model

Target = Literal["onnx", "pt2", "page"]
Weights = Literal["float32", "float16"]
CHECKED = 16
"""Captions that are painted by PyTorch and by the file."""
LEVELS = 255
ALLOWED = 1.0
"""Levels of 255 by which pictures may differ."""
SEEDS = (0, 7)


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    bytes: int
    difference: float
    """The largest difference from PyTorch's pictures with the same weights, in levels of 255."""
    loss: float | None
    """The largest difference that weights in float16 make, and """
    mean_loss: float | None
    """the mean one, in levels of 255; None for weights in float32."""
    opset: int | None


def export(model: Model, target: Target, out: str | Path, weights: Weights = "float32") -> Exported:
    """Write a model as a file that paints without Limner, after its pictures were compared with PyTorch's.

    Raises SettingsError for a model that cannot be exported, a file that is there already, and for pictures that differ by more than one
    level of 255.
    """
    path = Path(out)
    check(target, path, weights)
    if isinstance(model.method, ExportedMethod):
        raise SettingsError("the model is an exported file already: give the run or model folder that it was made of")
    if target == "pt2":
        from limner.export.program import program_file

        return _checked(model, path, *program_file(model))
    import onnxruntime

    from limner.export import graphs
    from limner.export.onnx_file import feeds, onnx_model, sealed

    if target == "page":
        from limner.export.page import page, reader_of

        reader_of(model.encoder)  # which may refuse, before the work
    made, about = onnx_model(model)
    rounded = None
    if weights == "float16":
        graphs.halved(made)
        about, rounded = dataclasses.replace(about, weights=weights), rounded_model(model)

    def paint(content: bytes) -> Callable[..., Tensor]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        def run(captions: list[str], seed: int, samples: Tensor) -> Tensor:
            return torch.from_numpy(session.run(["images"], feeds(model, captions, seed, samples))[0])

        return run

    painter = paint(sealed(made, about))
    difference = compared(rounded or model, painter)
    loss = losses(model, rounded) if rounded is not None else (None, None)
    content = sealed(made, dataclasses.replace(about, largest_difference=difference))
    if target == "page":
        content = page(graphs.parsed(content), model)
    return _written(path, content, difference, loss, about.opset)


def check(target: Target, path: Path, weights: Weights) -> None:
    """Raise SettingsError for what can be refused before a model is loaded."""
    if os.path.lexists(path):
        raise SettingsError(f"--out {path} exists already: give another name, or remove that file")
    if target == "pt2":
        if weights != "float32":
            raise SettingsError(f"--weights {weights} is for onnx and page: leave it out with --to pt2")
    else:
        needed()


def _checked(model: Model, path: Path, content: bytes, painter: Callable[..., Tensor]) -> Exported:
    return _written(path, content, compared(model, painter), (None, None), None)


def _written(path: Path, content: bytes, difference: float, loss: tuple[Any, Any], opset: int | None) -> Exported:
    if not difference <= ALLOWED:  # which a difference that is not a number is not
        raise SettingsError(
            f"the model was not exported: pictures painted by the file differ from PyTorch's by up to {difference:.2f} of {LEVELS} levels, "
            f"and {ALLOWED:g} is allowed: please report it with the model's config.json"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.write_bytes(content)
        sync(fresh)
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return Exported(path, len(content), difference, *loss, opset)


def compared(model: Model, painter: Callable[..., Tensor]) -> float:
    """The largest difference between the pictures of a model and of a file, in levels of 255: 16 captions of all lengths, the last longer
    than the model reads, under two seeds."""
    captions, samples = asked(model)
    found = [_levels(painter(captions, seed, samples), _painted(model, captions, seed, samples)).max().item() for seed in SEEDS]
    return max(found, key=lambda value: (value != value, value))  # one that is not a number comes first


def losses(model: Model, rounded: Model) -> tuple[float, float]:
    """The largest and the mean difference between the pictures of two models, in levels of 255."""
    captions, samples = asked(model)
    found = torch.cat(
        [_levels(_painted(rounded, captions, seed, samples), _painted(model, captions, seed, samples)).flatten() for seed in SEEDS]
    )
    return found.max().item(), found.mean().item()


def asked(model: Model) -> tuple[list[str], Tensor]:
    """The captions and sample numbers by which a file is checked."""
    captions = captions_for(model, CHECKED)
    if model.reads_text:
        captions[-1] = long_caption(model)
    return captions, torch.arange(CHECKED) * 3


def _painted(model: Model, captions: list[str], seed: int, samples: Tensor) -> Tensor:
    return model.painting(captions, samples.numpy(), seed, check=False).images.cpu()


def _levels(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).abs() * (LEVELS / 2)


def rounded_model(model: Model) -> Model:
    """A copy whose weights went through float16 as `graphs.halved` has it: those that it can hold, in tensors that are not tiny."""
    from limner.export.graphs import SMALLEST

    made = on_cpu(model)
    for part in (made.method, made.encoder):
        for value in (*part.parameters(), *part.buffers()):
            if value.dtype == torch.float32 and value.numel() >= SMALLEST and value.abs().max() < torch.finfo(torch.float16).max:
                value.data.copy_(value.half().float())
    return made
