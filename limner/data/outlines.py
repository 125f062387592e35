"""Layouts drawn over their pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from limner.core.layout import Layout

INKS = ("#e6194b", "#ffe119", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45", "#fabed4", "#469990")
"""The colours of boxes, by their numbers."""


def outlined(pictures: NDArray[np.uint8], layout: Layout, side: int = 352) -> list[Image.Image]:
    """Pictures [n, H, W, 3] with a numbered box around each thing, and its shape, where that is known, traced in the box's colour."""
    drawn = []
    for row, picture in enumerate(pictures):
        image = Image.fromarray(np.ascontiguousarray(picture)).resize((side, side), Image.Resampling.BICUBIC)
        things = [place for place in range(layout.labels.shape[1]) if layout.labels[row, place] >= 0]
        for place in things:
            if layout.shapes is not None:
                image = _traced(image, layout.boxes[row, place], layout.shapes[row, place], INKS[place % len(INKS)])
        pen = ImageDraw.Draw(image)
        for number, place in enumerate(things, 1):
            left, top, width, height = (layout.boxes[row, place] * side).tolist()
            ink = INKS[place % len(INKS)]
            pen.rectangle((left, top, left + max(width - 1, 0), top + max(height - 1, 0)), outline=ink, width=3)
            pen.rectangle((left, top, left + 22, top + 26), fill=ink)
            pen.text((left + 6, top + 1), str(number), fill="black", font_size=22)
        drawn.append(image)
    return drawn


def _traced(image: Image.Image, box: torch.Tensor, shape: torch.Tensor, ink: str) -> Image.Image:
    """The picture with a line along a thing's edge; its colours stay as they are."""
    left, top, width, height = (max(round(value * image.width), int(place > 1)) for place, value in enumerate(box.tolist()))
    mask = Image.fromarray((shape.numpy() * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
    inside = mask.point(lambda level: 255 * (level > 127))
    edge = ImageChops.subtract(inside, inside.filter(ImageFilter.MinFilter(5)))
    image.paste(Image.new("RGB", (width, height), ink), (left, top), edge)
    return image


def listed(layout: Layout, names: Sequence[str]) -> list[list[str]]:
    """For each picture its things by number, as `outlined` numbers them: "1 red round"."""
    rows = []
    for labels in layout.labels.tolist():
        known = [label for label in labels if label >= 0]
        rows.append([f"{number} {names[label]}" for number, label in enumerate(known, 1)])
    return rows
