"""Word attention: every place of a picture looks at the words of its caption (AttnGAN: Xu et al., CVPR 2018, arXiv:1711.10485, Eq. 2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WordAttention(nn.Module):
    """Attention from each place of a map to the words, which are first projected to the map's channels; see `attend`.

    mixed_padding: hide padding as the authors' code does, see `attend`.
    """

    def __init__(self, word_width: int, channels: int, *, mixed_padding: bool = False) -> None:
        super().__init__()
        self.mixed_padding = mixed_padding
        self.project = nn.Linear(word_width, channels, bias=False)

    def forward(self, hidden: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Maps [B, C, H, W], words [B, T, D], mask [B, T] (True where there is a word, one at least) -> context [B, C, H, W] and the
        attention [B, T, H, W], which sums to 1 over the words."""
        projected = self.project(words)  # [B, T, C]
        return attend(hidden, projected, projected, mask, mixed_padding=self.mixed_padding)


def attend(hidden: Tensor, keys: Tensor, values: Tensor, mask: Tensor, *, mixed_padding: bool = False) -> tuple[Tensor, Tensor]:
    """Values weighted, at every place of a map, by a softmax of the products of their keys with the map there.

    Maps [B, C, H, W], keys [B, T, C], values [B, T, C], mask [B, T] (True where there is a word, one at least) -> [B, C, H, W] and the
    attention [B, T, H, W], which sums to 1 over the words.

    mixed_padding: hide padding as the code of AttnGAN and of later methods does. It repeats the batch's masks along the places of all maps,
    so that place p of map b has the mask of caption (b H W + p) mod B: places see padding of their own caption and miss some of its words.
    The published weights were trained this way. The two agree where all captions have the same length.
    """
    attention = attention_to(hidden, keys, mask, mixed_padding=mixed_padding)
    context = attention.flatten(2).transpose(1, 2) @ values  # [B, HW, C]
    return _maps(context, hidden), attention


def attention_to(hidden: Tensor, keys: Tensor, mask: Tensor, *, mixed_padding: bool = False) -> Tensor:
    """How much each place of maps [B, C, H, W] looks at each word, of which there are keys [B, T, C]: [B, T, H, W]; see `attend`."""
    places = hidden.flatten(2).transpose(1, 2)  # [B, HW, C], as maps lie in memory whose channels are last
    products = places @ keys.transpose(1, 2)  # [B, HW, T]
    shown = _mixed(mask, products.shape[1]) if mixed_padding else mask[:, None]
    return _maps(products.masked_fill(~shown, -torch.inf).softmax(2), hidden)


def _maps(places: Tensor, hidden: Tensor) -> Tensor:
    """[B, HW, N] -> [B, N, H, W], with the sides of `hidden`."""
    return places.unflatten(1, hidden.shape[2:]).permute(0, 3, 1, 2)


def _mixed(mask: Tensor, places: int) -> Tensor:
    """[B, T] -> [B, HW, T]."""
    return mask.repeat(places, 1).view(len(mask), places, -1)
