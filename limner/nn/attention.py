"""Word attention: every place of a picture looks at the words of its caption (AttnGAN: Xu et al., CVPR 2018, arXiv:1711.10485, Eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WordAttention(nn.Module):
    """What each place of a map sees in the words: they are brought to its channels and weighted by a softmax of their products with it.

    mixed_padding: hide padding as the authors' code does. It lays the batch's masks one after the other, over and over, along the places of
    all maps, so that place p of map b has the mask of caption (b H W + p) mod B: places see padding of their own caption and miss words of
    it. Weights that were published have been trained so. The two agree where all captions are of one length.
    """

    def __init__(self, word_width: int, channels: int, *, mixed_padding: bool = False) -> None:
        super().__init__()
        self.mixed_padding = mixed_padding
        self.project = nn.Linear(word_width, channels, bias=False)

    def forward(self, hidden: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, C, H, W], words [B, T, D], mask [B, T] (True where there is a word, one at least) -> context [B, C, H, W] and the
        attention [B, T, H, W], which sums to 1 over the words."""
        projected = self.project(words)  # [B, T, C]
        products = projected @ hidden.flatten(2)  # [B, T, HW]
        attention = products.masked_fill(~self._mask(mask, products.shape[2]), -torch.inf).softmax(1)
        context = projected.transpose(1, 2) @ attention  # [B, C, HW]
        return context.view_as(hidden), attention.view(*attention.shape[:2], *hidden.shape[2:])

    def _mask(self, mask: Tensor, places: int) -> Tensor:
        """[B, T] -> [B, T, HW], or [B, T, 1] where all places of a map have the same."""
        if not self.mixed_padding:
            return mask[:, :, None]
        return mask.repeat(places, 1).view(len(mask), places, -1).transpose(1, 2)
