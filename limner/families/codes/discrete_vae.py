"""DALLE-pytorch's dVAE: strided convolutions with residual blocks at the coarsest side (github.com/lucidrains/DALLE-pytorch, 1.6.6)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.codes.dvae import DVAE, Reconstruction


class DiscreteVAE(DVAE):
    """width: channels of all maps; code_width: numbers of a code's embedding; halvings: strided layers; blocks: residual ones."""

    def __init__(
        self,
        codes: int = 512,
        width: int = 64,
        code_width: int = 512,
        halvings: int = 3,
        blocks: int = 0,
        reconstruction: Reconstruction = "l2",
    ) -> None:
        super().__init__()
        self.codes, self.halvings, self.reconstruction = codes, halvings, reconstruction
        self.codebook = nn.Embedding(codes, code_width)
        down = [
            nn.Sequential(nn.Conv2d(before, width, 4, 2, 1), nn.ReLU())
            for before, _ in zip([3, *[width] * halvings], range(halvings), strict=False)
        ]
        first = width if blocks else code_width  # with residual blocks a 1x1 convolution comes before them
        up = [
            nn.Sequential(nn.ConvTranspose2d(before, width, 4, 2, 1), nn.ReLU())
            for before, _ in zip([first, *[width] * halvings], range(halvings), strict=False)
        ]
        entry = [nn.Conv2d(code_width, width, 1)] if blocks else []
        self.encoder = nn.Sequential(*down, *(Residual(width) for _ in range(blocks)), nn.Conv2d(width, codes, 1))
        self.decoder = nn.Sequential(*entry, *(Residual(width) for _ in range(blocks)), *up, nn.Conv2d(width, self.channels, 1))

    def logits(self, pictures: Tensor) -> Tensor:
        found: Tensor = self.encoder(pictures)  # the port brings 0..1 to -1..1 itself
        return found

    def decode_weights(self, weights: Tensor) -> Tensor:
        said: Tensor = self.decoder(torch.einsum("bvhw,vd->bdhw", weights, self.codebook.weight))
        return said

    def decode(self, codes: Tensor) -> Tensor:
        said: Tensor = self.decoder(self.codebook(codes).permute(0, 3, 1, 2))
        return said


class Residual(nn.Module):
    """x + conv1(relu conv3(relu conv3(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.third = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.third(F.relu(self.second(F.relu(self.first(x)))))
        return x + added
