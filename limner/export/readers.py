"""Recurrent networks as exported files hold them.

PyTorch packs rows of different lengths, which cannot be exported: how many steps there are would be fixed. ONNX has recurrent operators
that take the lengths of rows; there a `OnnxReader` stands in an encoder's place of `nn.GRU` or `nn.LSTM`. A torch.export program has none,
and its captions are padded to one length; there a `PaddedReader` reads the second direction from rows that are reversed up to their end.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_ORDER = {nn.GRU: (1, 0, 2), nn.LSTM: (0, 3, 1, 2)}
"""ONNX's order of the gates in terms of PyTorch's: update, reset, new; and input, output, forget, cell."""


def exchange(module: nn.Module, kind: type[OnnxReader] | type[PaddedReader]) -> None:
    """Put a reader of this kind in the place of every recurrent network inside a module."""
    for name, child in list(module.named_children()):
        if isinstance(child, (nn.GRU, nn.LSTM)):
            setattr(module, name, kind(child))
        else:
            exchange(child, kind)


@torch.library.custom_op("limner::read_rows", mutates_args=())
def _read_rows(embedded: Tensor, lengths: Tensor, inputs: Tensor, states: Tensor, biases: Tensor, gated: bool) -> tuple[Tensor, Tensor]:
    """One layer of a GRU (gated) or an LSTM over rows [B, T, D]: ([B, T, H], [B, H]), all directions. It stands for an ONNX operator."""
    raise RuntimeError("only for export")


@_read_rows.register_fake
def _(embedded: Tensor, lengths: Tensor, inputs: Tensor, states: Tensor, biases: Tensor, gated: bool) -> tuple[Tensor, Tensor]:
    width = states.shape[0] * states.shape[2]
    return embedded.new_empty(*embedded.shape[:2], width), embedded.new_empty(embedded.shape[0], width)


def translations() -> dict[Any, Any]:
    """What `torch.onnx.export` makes of `OnnxReader`."""
    from onnxscript import opset20 as op

    def read_rows(embedded: Any, lengths: Any, inputs: Any, states: Any, biases: Any, gated: bool) -> tuple[Any, Any]:
        directions, _, hidden = states.shape
        direction = "bidirectional" if directions == 2 else "forward"
        steps, rows = op.Transpose(embedded, perm=[1, 0, 2]), op.Cast(lengths, to=6)  # int32
        options: dict[str, Any] = {"direction": direction, "hidden_size": int(hidden)}
        if gated:
            found, last = op.GRU(steps, inputs, states, biases, rows, linear_before_reset=1, **options)
        else:
            found, last, _ = op.LSTM(steps, inputs, states, biases, rows, **options)
        found = op.Transpose(found, perm=[2, 0, 1, 3])  # [T, directions, B, H] -> [B, T, directions, H]
        last = op.Transpose(last, perm=[1, 0, 2])
        return op.Reshape(found, op.Constant(value_ints=[0, 0, -1])), op.Reshape(last, op.Constant(value_ints=[0, -1]))

    return {torch.ops.limner.read_rows.default: read_rows}


class OnnxReader(nn.Module):
    """A GRU or LSTM whose weights lie as ONNX wants them, layer by layer."""

    def __init__(self, reader: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.layers, self.gated = reader.num_layers, isinstance(reader, nn.GRU)
        order = _ORDER[type(reader)]
        endings = ("", "_reverse") if reader.bidirectional else ("",)

        def stacked(kind: str, layer: int) -> Tensor:
            rows = [getattr(reader, f"{kind}_l{layer}{ending}").detach() for ending in endings]
            return torch.stack([torch.cat([row.chunk(len(order))[gate] for gate in order]) for row in rows])

        for layer in range(reader.num_layers):
            self.register_buffer(f"inputs_{layer}", stacked("weight_ih", layer))
            self.register_buffer(f"states_{layer}", stacked("weight_hh", layer))
            self.register_buffer(f"biases_{layer}", torch.cat([stacked("bias_ih", layer), stacked("bias_hh", layer)], dim=1))

    def forward(self, embedded: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if lengths is None:
            lengths = torch.full_like(embedded[:, 0, 0], embedded.shape[1], dtype=torch.int64)
        last = embedded
        for layer in range(self.layers):
            weights = (getattr(self, f"{kind}_{layer}") for kind in ("inputs", "states", "biases"))
            embedded, last = torch.ops.limner.read_rows(embedded, lengths, *weights, self.gated)
        return embedded, last


class PaddedReader(nn.Module):
    """A GRU or LSTM over rows that are all padded to one length."""

    def __init__(self, reader: nn.GRU | nn.LSTM) -> None:
        super().__init__()
        self.directions = nn.ModuleList()
        if reader.bidirectional and reader.num_layers > 1:
            raise ValueError("layers of two directions cannot be read one direction at a time")
        for ending in ("", "_reverse") if reader.bidirectional else ("",):
            one = type(reader)(reader.input_size, reader.hidden_size, reader.num_layers, batch_first=True)
            one.load_state_dict({name: getattr(reader, f"{name}{ending}") for name in one.state_dict()})
            self.directions.append(one.requires_grad_(False).eval())

    def forward(self, embedded: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        count = embedded.shape[1]
        if lengths is None:
            lengths = torch.full_like(embedded[:, 0, 0], count, dtype=torch.int64)
        places = torch.arange(count)[None]
        spoken = places < lengths[:, None]
        backwards = torch.where(spoken, lengths[:, None] - 1 - places, places)
        states, last = [], []
        for number, one in enumerate(self.directions):
            rows = _gathered(embedded, backwards) if number else embedded
            found, _ = one(rows)
            last.append(_gathered(found, lengths[:, None] - 1)[:, 0])
            states.append(_gathered(found, backwards) if number else found)
        return torch.cat(states, dim=2) * spoken[..., None], torch.cat(last, dim=1)


def _gathered(rows: Tensor, places: Tensor) -> Tensor:
    """Rows [B, T, D] at places [B, S]: [B, S, D]."""
    return rows.gather(1, places[..., None].expand(-1, -1, rows.shape[2]))
