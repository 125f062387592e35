"""A discriminator's head for pairs of picture and sentence (Reed et al., ICML 2016, arXiv:1605.05396)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limner.families.stacked import FIRST_SIDE


class PairHead(nn.Module):
    """Picture codes [B, C, 4, 4] and sentences [B, D] -> [B] logits.

    A linear map projects the sentence, which is concatenated with the code at every place; a 1x1 convolution joins the two, and a 4x4
    convolution gives the logit. normalize: batch normalisation of the joined map; without it, the pairs of a batch are independent.
    """

    def __init__(self, channels: int, sentence_width: int, text_width: int, *, normalize: bool = True) -> None:
        super().__init__()
        self.text = nn.Sequential(nn.Linear(sentence_width, text_width), nn.LeakyReLU(0.2, inplace=True))
        self.joint = nn.Sequential(
            nn.Conv2d(channels + text_width, channels, 1, bias=not normalize),
            *([nn.BatchNorm2d(channels)] if normalize else []),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(channels, 1, FIRST_SIDE),
        )

    def forward(self, code: Tensor, sentence: Tensor) -> Tensor:
        tiled = self.text(sentence)[:, :, None, None].expand(-1, -1, *code.shape[2:])
        return self.joint(torch.cat([code, tiled], dim=1)).flatten()
