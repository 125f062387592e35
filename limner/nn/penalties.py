"""Gradient penalties, which keep a discriminator smooth."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from limner.nn.uncompiled import uncompiled


def zero_centred_penalty(discriminator: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """R1: half the mean squared norm of the gradient of a discriminator's output by real pictures (Mescheder et al., ICML 2018, Eq. 9).

    discriminator: pictures [B, 3, R, R] -> logits, each of which depends on one picture alone, so without batch normalisation.
    """
    with uncompiled(), torch.autocast(pictures.device.type, enabled=False):  # second derivatives need float32
        pictures = pictures.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(discriminator(pictures).sum(), pictures, create_graph=True)
        return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()
