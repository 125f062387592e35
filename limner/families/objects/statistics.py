"""What the box generator knows of its training data: where boxes stand, how large they are, and how often labels occur."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from limner.core.errors import LimnerWarning
from limner.core.pictures import CaptionedPictures
from limner.families.objects.boxes import END, FIRST, BoxGenerator, measured
from limner.families.objects.places import sized

_TOGETHER = 512


@torch.no_grad()
def measure(boxes: BoxGenerator, pictures: CaptionedPictures, things: int, rare_labels: float) -> None:
    """Note means and deviations of all boxes, and the weight of each label: rare_labels / n ** 0.8, or 1 where that is 0.

    things: of a picture at the most; where one has more, the largest stay. Pictures without layouts leave everything as it is.
    """
    found, counts, left_out, crowded, empty, ends = [], torch.zeros(boxes.labels, dtype=torch.int64), 0, 0, 0, 0
    for start in range(0, len(pictures), _TOGETHER):
        layout = pictures.layouts(np.arange(start, min(start + _TOGETHER, len(pictures))))
        if layout is None:
            return
        more = (layout.counts - things).clamp_min(0)
        left_out, crowded, ends = left_out + int(more.sum()), crowded + int((more > 0).sum()), ends + len(layout)
        empty += int((layout.counts == 0).sum())
        layout = sized(layout, things)
        there = layout.labels >= 0
        found.append(measured(layout.boxes[there]))
        counts += torch.bincount(layout.labels[there], minlength=boxes.labels)
    if left_out:
        warnings.warn(
            f"{left_out:,} things of {crowded:,} pictures are left out: a picture has {things} at the most (method.things), the largest",
            LimnerWarning,
            stacklevel=2,
        )
    if empty:
        warnings.warn(
            f"{empty:,} of {ends:,} training pictures have no layout, or an empty one: from these, empty scenes are learned",
            LimnerWarning,
            stacklevel=2,
        )
    measures = torch.cat(found).double()
    if len(measures) > 1:
        boxes.mean.copy_(measures.mean(0))
        boxes.deviation.copy_(measures.std(0).clamp_min(1e-3))
    if rare_labels:
        weights = rare_labels / counts.clamp_min(1).double() ** 0.8
        boxes.label_weights[FIRST:].copy_(torch.where(counts > 0, weights, 1.0))
        boxes.label_weights[END] = rare_labels / max(ends, 1) ** 0.8
