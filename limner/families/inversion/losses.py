"""What codes are trained for, and how they are moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core.abilities import Tell
from limner.matching.losses.gathering import gathered, own_rows


def square_distance(one: Tensor, other: Tensor) -> Tensor:
    """[B, W] and [B, W] -> [B], the squared distance of each pair."""
    return (one - other).square().sum(1)


def code_contrast(texts: Tensor, codes: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
    """InfoNCE of each text with the codes of all pictures, by squared distance: -log softmax_j(-||t_i - w_j||^2 / T) at j = i.

    texts, codes: [B, W] of the same pictures, in the same order. Returns the loss and the share of texts whose own picture is nearest.
    """
    every = gathered(codes)
    distances = texts.square().sum(1, keepdim=True) - 2.0 * texts @ every.T + every.square().sum(1)
    own = torch.arange(len(every), device=texts.device)[own_rows(len(texts))]
    return F.cross_entropy(-distances / temperature, own), (distances.argmin(1) == own).float().mean()


def unlike(maps: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """How far features [B, C, H, W] are from those of other pictures: [B], the mean over layers of the mean squared difference, as a share
    of the others' mean square."""
    shares = [
        (one - other).square().flatten(1).mean(1) / other.square().flatten(1).mean(1).clamp_min(1e-12)
        for one, other in zip(maps, others, strict=True)
    ]
    return torch.stack(shares).mean(0)


def optimized(start: Tensor, loss: Callable[[Tensor], Tensor], steps: int, rate: float, tell: Tell | None = None) -> Tensor:
    """Codes [B, W] after steps of Adam from `start`. loss: codes -> [B]; a row depends on no other."""
    codes = start.detach().clone().requires_grad_()
    adam = torch.optim.Adam([codes], lr=rate)
    with torch.enable_grad():
        for step in range(steps):
            adam.zero_grad()
            loss(codes).sum().backward(inputs=[codes])
            adam.step()
            if tell is not None:
                tell(step + 1, steps)
    return codes.detach()
