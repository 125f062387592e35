"""A model as one ONNX file: captions' ids, seeds and sample numbers in, pictures out."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limner.core.errors import SettingsError
from limner.export import graphs
from limner.export.description import KEY, Description, described
from limner.export.functions import Functions, captions_for, functions_of, on_cpu, traced
from limner.export.readers import OnnxReader, exchange, translations
from limner.model import Model

OPSET = 20
"""The ONNX operator set of all files: it has everything that is needed, and runtimes since 2024 read it."""
ROWS, LENGTH = "batch", "tokens"
"""Names of the dimensions that stay open."""
LARGEST = 2_000_000_000
"""Bytes that an ONNX file can hold."""


def onnx_model(model: Model) -> tuple[Any, Description]:
    """The ONNX model of a trained model and its description, which is not yet in it (`sealed`).

    Raises SettingsError for a model that cannot be exported.
    """
    model = on_cpu(model)
    functions = functions_of(model)
    about = described(model, functions, "float32", OPSET)
    samples = torch.arange(3)  # seeds are another tensor: one that is given twice would be one input
    features, parts = (), []
    open_rows = {0: torch.export.Dim.DYNAMIC}
    text_names = [f"text.{name}" for name in functions.features]
    noise_names = [f"noise.{name}" for name in functions.noise]
    if functions.encode is not None:
        ids, mask = model.encoder.tokenize(captions_for(model, 3))
        with torch.no_grad():
            features = functions.encode(ids, mask.sum(1))
        exchange(functions.encode, OnnxReader)
        open_ids = open_rows if functions.length else {**open_rows, 1: torch.export.Dim.DYNAMIC}
        program = traced(functions.encode, (ids, mask.sum(1)), (open_ids, open_rows), about.method)
        parts.append(graphs.named(graph_of(program), "encode", ("ids", "lengths"), text_names))
    noise = functions.draw(samples + 1, samples)
    program = traced(functions.draw, (samples + 1, samples), (open_rows, open_rows), about.method)
    parts.append(graphs.named(graph_of(program), "draw", ("seed", "sample"), noise_names))
    arguments = (*features, *noise)
    dynamic = [*(_open(name, functions) for name in functions.features), *(open_rows for _ in noise)]
    program = traced(functions.paint, arguments, dynamic, about.method)
    parts.append(graphs.named(graph_of(program), "paint", (*text_names, *noise_names), functions.outputs))
    for part in parts:
        _name_dimensions(part, functions)
    return graphs.joined(parts, functions.outputs, OPSET), about


def sealed(made: Any, about: Description) -> bytes:
    """The file's bytes, with its description in it. Raises SettingsError where it is too large for ONNX."""
    from onnx import helper

    helper.set_model_props(made, {KEY: dataclasses.replace(about, digest=graphs.digest(made)).json()})
    if made.ByteSize() > LARGEST:
        raise SettingsError(
            f"{about.method} cannot be exported: it has {made.ByteSize():,} bytes, and an ONNX file holds {LARGEST:,} at most"
        )
    content: bytes = made.SerializeToString()
    return content


def graph_of(program: Any) -> Any:
    """The ONNX graph of a `torch.export` program."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")
        try:
            found = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                custom_translation_table=translations(),
                verbose=False,
                external_data=False,
            )
        except Exception as error:  # torch raises many kinds
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise SettingsError(f"the model cannot be exported to ONNX ({reason}): try --to pt2") from error
    assert found is not None
    return found.model_proto.graph


@contextlib.contextmanager
def _quiet(*names: str) -> Any:
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _open(name: str, functions: Functions) -> dict[int, Any]:
    """Which dimensions of a feature stay open."""
    rows = {0: torch.export.Dim.DYNAMIC}
    return rows if name == "sentence" or functions.length else {**rows, 1: torch.export.Dim.DYNAMIC}


def _name_dimensions(graph: Any, functions: Functions) -> None:
    """Speaking names for the open dimensions of what goes in and out, in place of the exporter's."""
    words = {"ids", *(f"text.{name}" for name in functions.features if name != "sentence")}
    for value in (*graph.input, *graph.output):
        for place, dimension in enumerate(value.type.tensor_type.shape.dim):
            if place == 0:
                dimension.dim_param = ROWS
            elif dimension.dim_param or not dimension.dim_value:
                dimension.dim_param = LENGTH if value.name in words or place == 1 else f"{value.name}-{place}"


def feeds(model: Model, captions: Sequence[str], seed: int, samples: Tensor) -> dict[str, Any]:
    """What an exported file takes, by name, for captions and sample numbers [B]: NumPy arrays of int64."""
    found = {"seed": torch.full_like(samples, signed(seed)), "sample": samples}
    if model.reads_text:
        ids, mask = model.encoder.tokenize(captions)
        found |= {"ids": ids, "lengths": mask.sum(1)}
    return {name: value.numpy() for name, value in found.items()}


def signed(seed: int) -> int:
    """The bits of any whole number as int64 holds them."""
    seed &= (1 << 64) - 1
    return seed - (1 << 64) if seed >> 63 else seed
