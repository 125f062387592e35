"""What explorations of a model's styles have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from limner.core.abilities import MixesStyles
from limner.core.errors import SettingsError
from limner.core.noise import Noise
from limner.explore.lacking import lacking
from limner.explore.parts import parts
from limner.features.network import to_bytes
from limner.model.requests import check_asked

if TYPE_CHECKING:
    from limner.model import Model


def styled(model: Model) -> MixesStyles:
    """The model's method, which paints from styles. Raises SettingsError where it does not, as exported files never do."""
    method = model.method
    if not isinstance(method, MixesStyles):
        raise lacking(
            model, f"this model of {method.title} does not paint from styles: give a run or model folder of stylegan2 or stylegan"
        )
    return method


def check_caption_for_styles(model: Model, caption: str) -> None:
    """Raises SettingsError for a caption that the model cannot paint, and for none where it needs one."""
    if model.reads_text and not caption.strip():
        raise SettingsError('there is nothing to paint: give --caption "CAPTION"')
    check_asked(model.encoder, [caption])


@torch.no_grad()
def styles_of(model: Model, caption: str, noise: Noise) -> Tensor:
    """The styles of pictures of one caption: [B, places, W]."""
    method, text = styled(model), model.encode([caption])
    found = [method.find_styles(text[torch.zeros(len(own), dtype=torch.int64)], own) for own in (noise[rows] for rows in parts(len(noise)))]
    return torch.cat(found)


@torch.no_grad()
def painted(model: Model, styles: Tensor, noise: Noise) -> Tensor:
    """Pictures of styles [B, places, W]: [B, 3, H, W] uint8."""
    method = styled(model)
    return torch.cat([to_bytes(method.paint_styles(styles[rows], noise[rows]).images) for rows in parts(len(noise))])
