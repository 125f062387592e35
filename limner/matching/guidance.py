"""A trained DAMSM as the judge of a generator's pictures (AttnGAN: Xu et al., CVPR 2018, arXiv:1711.10485, Eq. 13 and 14)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core.errors import SettingsError
from limner.matching.damsm import DAMSM
from limner.matching.regions import CompactRegions, FrozenRegions
from limner.matching.saving import load_matching


def load_guide(path: str) -> DAMSM:
    """A trained DAMSM from its run or model folder, frozen. Raises SettingsError for a matching model of another kind."""
    model = load_matching(path)
    if not isinstance(model, DAMSM):
        raise SettingsError(f"method.matching is {path}, which holds {model.title}: give the run or model folder of a trained damsm")
    if isinstance(model.picture_side, FrozenRegions):
        model.picture_side.for_losses()
    return model


def matching_terms(
    guide: DAMSM, pictures: Tensor, captions: Sequence[str], classes: Tensor | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """How badly pictures [B, 3, H, W] in [-1, 1] and their captions find each other in the batch, by "words" and by "sentences", each
    both ways; and the shares of pictures that find their caption. Gradients reach the pictures. classes: [B], or None.
    """
    with torch.no_grad():
        text = guide.encoder(captions)
    regions, whole = guide.picture_side(as_seen(guide, pictures))
    return guide.losses(text, regions, whole, captions, classes)


def as_seen(guide: DAMSM, pictures: Tensor) -> Tensor:
    """Pictures at the side that a guide was trained at; smaller ones stay as they are for Inception, which enlarges them by itself."""
    side = guide.resolution
    enlarges = not isinstance(guide.picture_side, CompactRegions)
    if pictures.shape[-1] == side or (enlarges and pictures.shape[-1] < side):
        return pictures
    return F.interpolate(pictures, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
