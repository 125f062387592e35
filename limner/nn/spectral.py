"""Spectral normalisation as DM-GAN's authors have it (Miyato et al., ICLR 2018, arXiv:1802.05957, Algorithm 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.fast.convolution import Convolution

EPSILON = 1e-12


class SpectralConv2d(Convolution):
    """A convolution whose weight, as a matrix of a row for each output channel, is divided by an estimate of its largest singular value.

    Every forward pass runs one power iteration, first of v and then of u, from the vectors `u` and `v` of the pass before, which are saved
    with the weight. In evaluation it runs too, as in the authors' code, but its vectors are not kept, so that results do not depend on
    earlier passes. (PyTorch's own iterates in the other order, and not in evaluation: outputs from the authors' checkpoints would differ.)
    """

    u: Tensor
    v: Tensor

    def __init__(self, narrow: int, wide: int, kernel_size: int, stride: int = 1, padding: int = 0, bias: bool = True) -> None:
        super().__init__(narrow, wide, kernel_size, stride, padding, bias=bias)
        matrix = self.weight.flatten(1)
        self.register_buffer("u", F.normalize(matrix.new_empty(matrix.shape[0]).normal_(), dim=0, eps=EPSILON))
        self.register_buffer("v", F.normalize(matrix.new_empty(matrix.shape[1]).normal_(), dim=0, eps=EPSILON))

    def normalized(self) -> Tensor:
        """The weight divided by its estimated norm. Gradients flow through both; u and v count as constants."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)
            with torch.no_grad():
                v = F.normalize(matrix.T @ self.u, dim=0, eps=EPSILON)
                u = F.normalize(matrix @ v, dim=0, eps=EPSILON)
                if self.training:
                    self.u.copy_(u)
                    self.v.copy_(v)
            return self.weight / (u @ (matrix @ v))

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.normalized(), self.bias)


def normalize_spectrally(layers: nn.Sequential) -> None:
    """Replace every convolution of these layers by a `SpectralConv2d` of the same sizes, freshly initialised."""
    for place, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            ((kernel, _), (stride, _)), padding = (layer.kernel_size, layer.stride), layer.padding
            assert not isinstance(padding, str)
            layers[place] = SpectralConv2d(layer.in_channels, layer.out_channels, kernel, stride, padding[0], layer.bias is not None)
