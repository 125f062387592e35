"""A model as one torch.export program (`.pt2`): it needs PyTorch, and nothing of Limner."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.export.description import KEY, described
from limner.export.functions import Functions, captions_for, functions_of, on_cpu, traced
from limner.export.onnx_file import signed
from limner.export.readers import PaddedReader, exchange
from limner.model import Model


class Whole(nn.Module):
    """(ids [B, T], lengths [B], seed [B], sample [B]) to images [B, 3, R, R]; without ids and lengths where no text is read."""

    def __init__(self, functions: Functions) -> None:
        super().__init__()
        self.encode, self.draw, self.paint = functions.encode, functions.draw, functions.paint

    def forward(self, ids: Tensor | None, lengths: Tensor | None, seed: Tensor, sample: Tensor) -> Tensor:
        features: tuple[Tensor, ...] = ()
        if self.encode is not None:
            assert ids is not None and lengths is not None
            features = self.encode(ids, lengths)
        images: Tensor = self.paint(*features, *self.draw(seed, sample))[0]
        return images


class Unread(Whole):
    """`Whole` of a model that reads no text."""

    def forward(self, seed: Tensor, sample: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(None, None, seed, sample)


def program_file(model: Model) -> tuple[bytes, Callable[..., Tensor]]:
    """The file's bytes, and what paints with the program that was read back from them. Captions are padded to the most ids that are read,
    since recurrent networks fix the number of steps. Raises SettingsError for a model that cannot be exported."""
    model = on_cpu(model)
    functions = functions_of(model)
    about = described(model, functions, "float32", None)
    rows = {0: torch.export.Dim.DYNAMIC}
    arguments = given(model, functions, captions_for(model, 3), 0, torch.arange(3))
    if functions.encode is not None:
        exchange(functions.encode, PaddedReader)
    whole = (Whole if model.reads_text else Unread)(functions).eval()
    program = traced(whole, arguments, [rows] * len(arguments), about.method)
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={f"{KEY}.json": about.json()})
    content = buffer.getvalue()
    module: Any = torch.export.load(io.BytesIO(content)).module()

    def paint(captions: list[str], seed: int, samples: Tensor) -> Tensor:
        with torch.no_grad():
            images: Tensor = module(*given(model, functions, captions, seed, samples))
        return images

    return content, paint


def given(model: Model, functions: Functions, captions: list[str], seed: int, samples: Tensor) -> tuple[Tensor, ...]:
    """What the program takes: ids and lengths where it reads text, seeds and sample numbers."""
    noise = (torch.full_like(samples, signed(seed)), samples)
    if functions.encode is None:
        return noise
    ids, mask = model.encoder.tokenize(captions)
    missing = functions.longest - ids.shape[1]
    if missing < 0:
        raise SettingsError(f"a caption has {ids.shape[1]} ids, and the program reads {functions.longest}")
    return (nn.functional.pad(ids, (0, missing)), mask.sum(1), *noise)
