"""Channel-wise attention: every channel of a map looks at the words of its caption (ControlGAN: Li et al., NeurIPS 2019, arXiv:1909.07083).

Channels are held against words as patterns over the places: each word is brought to one number a place, so that a layer fits maps of one
side alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """What each channel of a map sees in the words: a word is projected to `side` x `side` places and weighted by a softmax of products.

    sees_padding: let channels look at padding too, as the authors' code does, which has no mask here; padding is a pattern of zeros,
    so that the pictures of a short caption depend on how long its neighbours are. Weights that were published have been trained so.
    """

    def __init__(self, word_width: int, side: int, *, sees_padding: bool = False) -> None:
        super().__init__()
        self.sees_padding = sees_padding
        self.project = nn.Linear(word_width, side * side, bias=False)

    def forward(self, maps: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, C, S, S], words [B, T, D], mask [B, T] (True where there is a word, one at least) -> context [B, C, S, S] and the
        attention [B, T, C], which sums to 1 over the words."""
        projected = self.project(words)  # [B, T, SS]
        products = projected @ maps.flatten(2).transpose(1, 2)  # [B, T, C]
        if not self.sees_padding:
            products = products.masked_fill(~mask[:, :, None], -torch.inf)
        attention = products.softmax(1)
        return (attention.transpose(1, 2) @ projected).view_as(maps), attention
