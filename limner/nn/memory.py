"""A memory that is written anew for every picture, from its words and from its rough version (DM-GAN: Zhu et al., CVPR 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limner.nn.attention import attend
from limner.nn.trees import NextStage
from limner.nn.upsampling import DoublingConvolution


class DynamicMemory(nn.Module):
    """What a map becomes when every place of it has asked a memory of the caption's words (arXiv:1904.01310, Eq. 2 to 9).

    Writing: a slot for each word, of twice the map's channels, holds the word and the map's mean over places, weighed against each other by
    a gate of one number for each word. Addressing and reading: every place compares itself with the slots' keys, and has the mean of their
    values. Response: a gate of one number for each place weighs the map against what was read.

    writing_gate: without it slots hold the words alone (Eq. 2). response_gate: without it what was read stands beside the map (Eq. 7); with
    it, the new map stands beside itself, as in the authors' code, so that what follows is of the same size.
    mixed_padding: hide padding as the authors' code does (`limner.nn.attention.attend`).
    """

    def __init__(
        self, word_width: int, channels: int, *, writing_gate: bool = True, response_gate: bool = True, mixed_padding: bool = False
    ) -> None:
        super().__init__()
        self.mixed_padding = mixed_padding
        slot = 2 * channels
        self.write_words = nn.Linear(word_width, slot)
        self.write_map = nn.Linear(channels, slot) if writing_gate else None
        self.gate_words = nn.Linear(word_width, 1, bias=False) if writing_gate else None
        self.gate_map = nn.Linear(channels, 1, bias=False) if writing_gate else None
        self.key = nn.Linear(slot, channels)
        self.value = nn.Linear(slot, channels)
        self.response = nn.Conv2d(2 * channels, 1, 1) if response_gate else None

    def write(self, hidden: Tensor, words: Tensor) -> Tensor:
        """Maps [B, C, H, W] and words [B, T, D] -> slots [B, T, 2 C]. The map's mean passes no gradient on, as in the authors' code."""
        written = self.write_words(words).relu()
        if self.write_map is None:
            return written
        assert self.gate_words is not None and self.gate_map is not None
        mean = hidden.detach().mean((2, 3))[:, None]  # [B, 1, C]
        gate = (self.gate_words(words) + self.gate_map(mean)).sigmoid()  # [B, T, 1]
        kept = self.write_map(mean).relu()
        return written * gate + kept * (1 - gate)

    def forward(self, hidden: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, C, H, W], words [B, T, D], mask [B, T] (True where there is a word, one at least) -> maps [B, 2 C, H, W], and how much
        each place read of each word, [B, T, H, W]."""
        slots = self.write(hidden, words)
        read, attention = attend(hidden, self.key(slots).relu(), self.value(slots).relu(), mask, mixed_padding=self.mixed_padding)
        if self.response is None:
            return torch.cat([hidden, read], dim=1), attention
        gate = self.response(torch.cat([hidden, read], dim=1)).sigmoid()  # [B, 1, H, W]
        answer = hidden * (1 - gate) + read * gate
        return torch.cat([answer, answer], dim=1), attention


class TwiceConv2d(nn.Conv2d):
    """A convolution of maps [B, 2 C, H, W] whose second half repeats the first: half the arithmetic, the same answer."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # the base class's name
        first, second = weight.chunk(2, dim=1)
        return super()._conv_forward(input[:, : first.shape[1]], first + second, bias)


class TwiceDoublingConvolution(DoublingConvolution):
    """A `DoublingConvolution` of such maps."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002  # the base class's name
        first, second = weight.chunk(2, dim=1)
        return super()._conv_forward(input[:, : first.shape[1]], first + second, bias)


def after_response(channels: int, residuals: int) -> NextStage:
    """The stage that refines a gated answer, which stands beside itself, [B, 2 C, H, W] -> [B, C, 2 H, 2 W]."""
    stage = NextStage(2 * channels, channels, residuals)
    if residuals:
        first = stage.residuals[0].layers
        assert isinstance(first, nn.Sequential)
        first[0] = TwiceConv2d(2 * channels, 4 * channels, 3, padding=1, bias=False)
    else:
        stage.upsampling[0] = TwiceDoublingConvolution(2 * channels, 2 * channels, bias=False)
    return stage
