"""The transformer of CLIP's towers: pre-norm blocks of attention and a two-layer perceptron (Vaswani et al., NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["quick-gelu", "gelu"]


def quick_gelu(values: Tensor) -> Tensor:
    """x * sigmoid(1.702 x), the approximation of GELU with which OpenAI's weights were trained."""
    return values * torch.sigmoid(1.702 * values)


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"quick-gelu": quick_gelu, "gelu": F.gelu}


class Block(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)): [B, T, width] -> [B, T, width]."""

    def __init__(self, width: int, heads: int, activation: Activation) -> None:
        super().__init__()
        self.heads, self.activation = heads, _ACTIVATIONS[activation]
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)  # queries, keys and values
        self.attention_out = nn.Linear(width, width)
        self.perceptron_norm = nn.LayerNorm(width)
        self.perceptron_in = nn.Linear(width, 4 * width)
        self.perceptron_out = nn.Linear(4 * width, width)

    def forward(self, values: Tensor, causal: bool) -> Tensor:
        values = values + self._attend(self.attention_norm(values), causal)
        hidden = self.activation(self.perceptron_in(self.perceptron_norm(values)))
        return values + self.perceptron_out(hidden)

    def _attend(self, values: Tensor, causal: bool) -> Tensor:
        batch, length, width = values.shape
        split = self.attention_in(values).view(batch, length, 3, self.heads, width // self.heads)
        queries, keys, contents = split.permute(2, 0, 3, 1, 4)  # each [B, heads, T, width / heads]
        mixed = F.scaled_dot_product_attention(queries, keys, contents, is_causal=causal)
        attended: Tensor = self.attention_out(mixed.transpose(1, 2).reshape(batch, length, width))
        return attended


class Transformer(nn.Module):
    """A stack of blocks. causal: whether a position sees only itself and those before it."""

    def __init__(self, width: int, layers: int, heads: int, activation: Activation, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.blocks = nn.ModuleList(Block(width, heads, activation) for _ in range(layers))
        # As the authors initialise the text side; narrower where layers add up.
        residual = width**-0.5 * (2 * layers) ** -0.5
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.normal_(block.attention_in.weight, std=width**-0.5)
            nn.init.normal_(block.attention_out.weight, std=residual)
            nn.init.normal_(block.perceptron_in.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.perceptron_out.weight, std=residual)
            nn.init.zeros_(block.attention_in.bias)
            nn.init.zeros_(block.attention_out.bias)

    def forward(self, values: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]."""
        for block in self.blocks:
            values = block(values, self.causal)
        return values
