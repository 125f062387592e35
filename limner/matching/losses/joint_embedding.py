"""The structured joint embedding loss (SJE, DS-SJE) of Reed et al., CVPR 2016, arXiv:1605.05395, as in the authors' code.

Row i of one side belongs to row i of the other, and to no other row: a batch holds each class once. Scores are plain dot products.
"""

from __future__ import annotations

import torch
from torch import Tensor


def joint_embedding_loss(fixed: Tensor, candidates: Tensor, margin: float = 1.0) -> Tensor:
    """The hinge loss of other candidates against each fixed row's own one: [B, D], [B, D] -> scalar.

    The hinges max(0, margin + score of another - score of its own) are summed and divided by B * B, although the own pair, which has no
    hinge, is not in the sum.
    """
    scores = fixed @ candidates.T  # [B, B]
    hinges = (margin + scores - scores.diagonal()[:, None]).clamp_min(0)
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return hinges.masked_fill(own, 0).sum() / scores.numel()


def symmetric_joint_embedding_loss(text: Tensor, pictures: Tensor, margin: float = 1.0) -> Tensor:
    """DS-SJE: the sum of the losses of pictures against texts and of texts against pictures: [B, D], [B, D] -> scalar."""
    return joint_embedding_loss(pictures, text, margin) + joint_embedding_loss(text, pictures, margin)


def partners_found(fixed: Tensor, candidates: Tensor) -> Tensor:
    """Whether each fixed row scores highest with its own candidate: [B, D], [B, D] -> [B] bool."""
    return (fixed @ candidates.T).argmax(1) == torch.arange(len(fixed), device=fixed.device)
