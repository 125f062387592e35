"""Losses of networks that grow or see every scale: WGAN-GP with drift, as ProGAN has it, and others that cost less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.nn.uncompiled import uncompiled

Loss = Literal["wgan-gp", "hinge", "non-saturating"]
Norm = Literal["pixel", "picture"]


def critic_loss(loss: Loss, real: Tensor, fake: Tensor, mismatched: Tensor | None, weight: float, drift: float) -> Tensor:
    """The discriminator's loss, from scores [B] of real, generated and mismatched pairs, without gradient penalty; a scalar.

    wgan-gp: mean fake - mean real + weight x mean mismatched + drift x mean real^2 (T2F; ProGAN, appendix A.1). The others are the sums of
    hinge (Lim and Ye, 2017) or logistic terms (Goodfellow et al., 2014) with the same weight.
    """
    if loss == "wgan-gp":
        found = fake.mean() - real.mean() + drift * real.square().mean()
        return found if mismatched is None else found + weight * mismatched.mean()
    of = F.softplus if loss == "non-saturating" else _hinge
    found = of(-real).mean() + of(fake).mean()
    return found if mismatched is None else found + weight * of(mismatched).mean()


def _hinge(scores: Tensor) -> Tensor:
    return F.relu(1.0 + scores)


def fooling_loss(loss: Loss, fake: Tensor) -> Tensor:
    """The generator's loss, from scores [B] of generated pairs; a scalar."""
    return F.softplus(-fake).mean() if loss == "non-saturating" else -fake.mean()


def wasserstein_penalty(scores: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, epsilon: Tensor, norm: Norm = "picture") -> Tensor:
    """Mean square of (norm - 1) of the gradient of the scores at pictures between real and fake ones (Gulrajani et al., 2017, Eq. 3).

    scores: pictures [B, 3, R, R] -> [B]; epsilon: [B, 1, 1, 1] in [0, 1], the share of the real picture. norm: "picture" as in the paper,
    or "pixel", over the channels of every pixel, as pro_gan_pytorch 1.x has it.
    """
    with uncompiled(), torch.autocast(real.device.type, enabled=False):  # second derivatives need float32
        between = (epsilon * real + (1.0 - epsilon) * fake).detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(scores(between).sum(), between, create_graph=True)
        lengths = gradient.norm(dim=1) if norm == "pixel" else gradient.flatten(1).norm(dim=1)
        return (lengths - 1.0).square().mean()
