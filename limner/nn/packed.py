"""Recurrent networks over rows of different lengths."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def read_rows(reader: nn.Module, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Read each row [T, D] of `embedded` [B, T, D] up to its own end, in both directions where the network has two.

    reader: an `nn.GRU` or `nn.LSTM` with `batch_first`, or a module that takes the same arguments and gives the same results, which
    exported files have in its place. lengths: [B] int64 on the CPU, 1 or more each. Returns the states [B, T, H], zero beyond a row's end,
    and the last states of the last layer, the forward direction first [B, H]; H counts both directions.
    """
    if not isinstance(reader, nn.RNNBase):
        states, last = reader(embedded, lengths)
        return states, last
    # Packing lets the backward reader start at each row's own end, whatever padding follows it.
    packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
    states, last = reader(packed)
    last = last[0] if isinstance(last, tuple) else last  # an LSTM also has cells
    directions = 2 if reader.bidirectional else 1
    return pad_packed_sequence(states, batch_first=True, total_length=embedded.shape[1])[0], last[-directions:].transpose(0, 1).flatten(1)
