"""`limner export`: a file is made, checked against PyTorch, and only then written."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from limner.core.errors import SettingsError
from limner.core.files import write_whole
from limner.export.exported import ExportedMethod, session_of
from limner.export.extra import needed
from limner.export.functions import captions_for, long_caption, refuse
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
    """The largest difference from PyTorch's pictures before weights are rounded, in levels of 255."""
    loss: tuple[float, float] | None
    """The largest and the mean difference that weights in float16 make, in levels of 255; None for weights in float32."""
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

        content, painter = program_file(model)
        return _written(path, content, _held(*compared(model, painter)), None, None)
    from limner.export import graphs
    from limner.export.onnx_file import onnx_model, sealed

    if target == "page":
        from limner.export.page import page, reader_of

        refuse(model)
        reader_of(model.encoder)  # which may refuse, before the work
    made, about = onnx_model(model)
    difference, loss = _held(*compared(model, painter_of(model, sealed(made, about)))), None
    if weights == "float16":
        graphs.halved(made)
        about = dataclasses.replace(about, weights=weights)
        loss = compared(model, painter_of(model, sealed(made, about)))
        if not math.isfinite(loss[0]):
            raise SettingsError("--weights float16: the pictures overflow to values that are not finite: leave it out")
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


def painter_of(model: Model, content: bytes) -> Callable[[list[str], int, Tensor], Tensor]:
    """What paints (captions, seed, sample numbers) by the ONNX file of a model, in one piece as others use it: [B, 3, R, R] in [-1, 1]."""
    from limner.export.onnx_file import feeds

    session = session_of(content)
    return lambda captions, seed, samples: torch.from_numpy(session.run(["images"], feeds(model, captions, seed, samples))[0])


def compared(model: Model, painter: Callable[[list[str], int, Tensor], Tensor]) -> tuple[float, float]:
    """The largest and the mean difference between the pictures of a model and of a file, in levels of 255: 16 captions of all lengths, the
    last one longer than the model reads, under two seeds."""
    captions, samples = asked(model)
    pairs = [
        (painter(captions, seed, samples), model.painting(captions, samples.numpy(), seed, check=False).images.cpu()) for seed in SEEDS
    ]
    found = torch.cat([(one - other).abs().flatten() for one, other in pairs]) * (LEVELS / 2)
    return found.max().item(), found.mean().item()


def asked(model: Model) -> tuple[list[str], Tensor]:
    """The captions and sample numbers by which a file is checked."""
    captions = captions_for(model, CHECKED)
    if model.reads_text:
        captions[-1] = long_caption(model)
    return captions, torch.arange(CHECKED) * 3


def _held(largest: float, mean: float) -> float:
    """The largest difference. Raises SettingsError where it is more than is allowed, or not a number."""
    if not largest <= ALLOWED:
        raise SettingsError(
            f"the model was not exported: pictures painted by the file differ from PyTorch's by up to {largest:.2f} of {LEVELS} levels "
            f"({mean:.3f} in the mean), and {ALLOWED:g} is allowed: please report it with the model's config.json"
        )
    return largest


def _written(path: Path, content: bytes, difference: float, loss: tuple[float, float] | None, opset: int | None) -> Exported:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    return Exported(path, len(content), difference, loss, opset)
