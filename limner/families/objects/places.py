"""Layouts as maps: what stands where, drawn on grids, and read back from them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core.layout import Layout


def box_masks(layout: Layout, side: int) -> Tensor:
    """[B, N, side, side], 1 in cells of a thing's box and 0 elsewhere; every box has a cell at least, an empty place has none."""
    start, size = (layout.boxes * side).split(2, dim=2)
    near = start.round().clamp(0, side - 1)
    far = torch.maximum((start + size).round().clamp(max=side), near + 1)
    cells = torch.arange(side, device=start.device)
    inside = (cells >= near[..., None]) & (cells < far[..., None])  # [B, N, 2, side]
    found = inside[:, :, 1, :, None] & inside[:, :, 0, None, :] & (layout.labels >= 0)[..., None, None]
    return found.to(layout.boxes.dtype)


def pasted(layout: Layout, side: int) -> Tensor:
    """The shapes of a layout in the whole picture, [B, N, side, side] from 0 to 1; boxes where it has no shapes."""
    if layout.shapes is None:
        return box_masks(layout, side)
    cells = (torch.arange(side, device=layout.boxes.device, dtype=layout.boxes.dtype) + 0.5) / side
    start, size = layout.boxes.split(2, dim=2)
    places = (cells[:, None] - start[:, :, None]) / size[:, :, None].clamp_min(1e-6) * 2.0 - 1.0  # [B, N, side, 2], in the shape's units
    grid = _grid(places[..., 0], places[..., 1])
    inside = (grid.abs() <= 1.0).all(-1)
    drawn = F.grid_sample(
        layout.shapes.flatten(0, 1)[:, None].to(grid.dtype), grid.flatten(0, 1).clamp(-2.0, 2.0), padding_mode="border", align_corners=False
    )
    there = (layout.labels >= 0)[..., None, None]
    return drawn.view(*layout.labels.shape, side, side) * (inside & there)


def cut_out(masks: Tensor, boxes: Tensor, side: int) -> Tensor:
    """The part of masks [B, N, S, S] of the whole picture that lies in boxes [B, N, 4]: shapes [B, N, side, side]."""
    cells = (torch.arange(side, device=boxes.device, dtype=boxes.dtype) + 0.5) / side
    start, size = boxes.split(2, dim=2)
    places = (start[:, :, None] + size[:, :, None] * cells[:, None]) * 2.0 - 1.0
    grid = _grid(places[..., 0], places[..., 1])
    found = F.grid_sample(masks.flatten(0, 1)[:, None], grid.flatten(0, 1), padding_mode="border", align_corners=False)
    return found.view(*boxes.shape[:2], side, side)


def _grid(x: Tensor, y: Tensor) -> Tensor:
    """Places [B, N, side] from the left and from the top -> [B, N, side, side, 2]."""
    side = x.shape[-1]
    return torch.stack([x[:, :, None, :].expand(-1, -1, side, -1), y[..., None].expand(-1, -1, -1, side)], dim=-1)


def seen(masks: Tensor) -> Tensor:
    """Masks [B, N, S, S] of which later ones hide earlier ones."""
    visible, clear = [], torch.ones_like(masks[:, 0])
    for thing in reversed(range(masks.shape[1])):
        visible.append(masks[:, thing] * clear)
        clear = clear * (1.0 - masks[:, thing])  # what a thing and all after it leave free
    return torch.stack(visible[::-1], 1)


def one_hot(labels: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """[B, N] labels -> [B, N, count], zeros for -1."""
    return (labels[..., None] == torch.arange(count, device=labels.device)).to(dtype)


def label_maps(masks: Tensor, labels: Tensor, count: int) -> Tensor:
    """Masks [B, N, S, S] and labels [B, N] -> [B, count, S, S]: for each label the largest of its things' masks."""
    chosen = one_hot(labels, count, masks.dtype)
    maps = torch.zeros(masks.shape[0], count, *masks.shape[2:], dtype=masks.dtype, device=masks.device)
    for thing in range(masks.shape[1]):
        maps = torch.maximum(maps, chosen[:, thing, :, None, None] * masks[:, thing, None])
    return maps


def labelled(masks: Tensor, labels: Tensor, count: int) -> Tensor:
    """Masks [B, N, S, S] and labels [B, N] -> [B, N, count, S, S]: each thing's mask in the map of its label, the others empty."""
    return one_hot(labels, count, masks.dtype)[..., None, None] * masks[:, :, None]


def by_size(layout: Layout) -> Layout:
    """The same things, the largest first, as Obj-GAN has them; things that are none come last."""
    return ordered(layout, size_order(layout))


def size_order(layout: Layout) -> Tensor:
    """The places of a layout's things [B, N], that of the largest first."""
    area = torch.where(layout.labels >= 0, layout.boxes[..., 2] * layout.boxes[..., 3], -1.0)
    return area.argsort(dim=1, descending=True, stable=True)


def ordered(layout: Layout, order: Tensor) -> Layout:
    """The things whose places are in `order` [B, M], in that order."""
    shapes = layout.shapes
    if shapes is not None:
        shapes = shapes.gather(1, order[..., None, None].expand(-1, -1, *shapes.shape[2:]))
    return Layout(layout.boxes.gather(1, order[..., None].expand(-1, -1, 4)), layout.labels.gather(1, order), shapes)


def sized(layout: Layout, most: int) -> Layout:
    """The same layout with places for exactly `most` things: those left out are the smallest, those added are none."""
    things = layout.labels.shape[1]
    if things > most:
        area = torch.where(layout.labels >= 0, layout.boxes[..., 2] * layout.boxes[..., 3], -1.0)
        layout = ordered(layout, area.topk(most, dim=1).indices.sort(1).values)
    missing = max(most - things, 0)
    shapes = None if layout.shapes is None else F.pad(layout.shapes, (0, 0, 0, 0, 0, missing))
    return packed(Layout(F.pad(layout.boxes, (0, 0, 0, missing)), F.pad(layout.labels, (0, missing), value=-1), shapes))


def packed(layout: Layout) -> Layout:
    """The same things in the same order, those that are none at the end."""
    things = layout.labels.shape[1]
    numbers = torch.arange(things, device=layout.labels.device)
    return ordered(layout, torch.where(layout.labels < 0, numbers + things, numbers).argsort(1))


def spread(values: Tensor, masks: Tensor) -> Tensor:
    """Values [B, N, C] of things laid on their masks [B, N, h, w]: [B, C, h, w], at each place the largest of all things' values there.

    A thing counts as 0 outside its mask, and so may hide a negative value of another one, as in the authors' code.
    """
    found = values[:, 0, :, None, None] * masks[:, 0, None]
    for thing in range(1, values.shape[1]):
        found = torch.maximum(found, values[:, thing, :, None, None] * masks[:, thing, None])
    return found


def coloured(masks: Tensor, labels: Tensor, count: int) -> Tensor:
    """Masks [B, N, S, S] as pictures [B, 3, S, S] in [-1, 1]: a colour for each label, later things in front of earlier ones, on black."""
    turn = 2.0 * torch.pi * (labels.clamp_min(0).to(masks.dtype) / max(count, 1))
    colours = torch.stack([(turn - shift).cos() * 0.4 + 0.6 for shift in (0.0, 2.0 * torch.pi / 3.0, 4.0 * torch.pi / 3.0)], 2)  # [B, N, 3]
    drawn = torch.zeros(len(masks), 3, *masks.shape[2:], dtype=masks.dtype, device=masks.device)
    for thing in range(masks.shape[1]):
        drawn = torch.lerp(drawn, colours[:, thing, :, None, None].expand_as(drawn), masks[:, thing, None].expand_as(drawn))
    return drawn * 2.0 - 1.0
