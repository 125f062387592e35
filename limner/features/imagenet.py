"""How torchvision's ImageNet networks take their pictures."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

MEANS = (0.485, 0.456, 0.406)
DEVIATIONS = (0.229, 0.224, 0.225)
"""Of red, green and blue over ImageNet, pictures in [0, 1]."""


def normalised(images: Tensor) -> Tensor:
    """Float pictures [B, 3, H, W] in [-1, 1] -> per channel less ImageNet's mean, by its deviation."""
    # Channel by channel with plain numbers, so that nothing is copied to the device.
    channels = zip(((images + 1.0) / 2.0).split(1, dim=1), MEANS, DEVIATIONS)
    return torch.cat([(channel - mean) / deviation for channel, mean, deviation in channels], dim=1)


def centre_crop(picture: Image.Image, shorter: int, side: int) -> Image.Image:
    """The preset behind published accuracies: the shorter side to `shorter` (antialiased bilinear), then the middle `side` x `side`.

    342 and 299 for Inception, 256 and 224 for VGG and SqueezeNet. Scores squash instead, so that nothing of a picture is lost.
    """
    width, height = picture.size
    if width <= height:
        width, height = shorter, int(shorter * height / width)
    else:
        width, height = int(shorter * width / height), shorter
    left, top = round((width - side) / 2), round((height - side) / 2)
    resized = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + side, top + side))
