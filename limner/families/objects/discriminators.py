"""Obj-GAN's discriminators: of pictures with sentences, of pictures with label maps, and of single objects.

Li et al., CVPR 2019, arXiv:1902.10740, sections 3.3 and 3.4. The weights of the terms are the released code's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.matching_aware import bce
from limner.families.objects.generator import looking
from limner.families.objects.roi import roi_align
from limner.nn.fast.convolution import Convolution
from limner.nn.fast.layers import BatchNorm, Layers
from limner.nn.fast.layout import for_convolutions

REGION = 5
"""Cells across an object's region."""
DEEPEST = 4
"""Halvings of a picture at the most."""


def trunk(inner: int, width: int, halvings: int, *, normalize: bool) -> Layers:
    """[B, inner, S, S] -> [B, width x 2 ** (halvings - 1), S / 2 ** halvings, ...]; no more than 8 times the width."""
    layers: list[nn.Module] = [nn.Conv2d(inner, width, 4, 2, 1, bias=not normalize), nn.LeakyReLU(0.2, inplace=True)]
    for level in range(1, halvings):
        narrow, wide = (width * min(2**depth, 8) for depth in (level - 1, level))
        layers += [
            Convolution(narrow, wide, 4, 2, 1, bias=not normalize),
            *([BatchNorm(wide)] if normalize else []),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return Layers(*layers)


class PatchHead(nn.Module):
    """Codes [B, C, h, w], and conditions [B, D] unless `condition` is 0 -> logits [B, P], one for each patch of 4 x 4."""

    def __init__(self, channels: int, condition: int = 0, *, normalize: bool = True) -> None:
        super().__init__()
        self.joint: Layers | None = None
        if condition:
            convolution = Convolution(channels + condition, channels, 3, padding=1, bias=not normalize)
            self.joint = Layers(convolution, *([BatchNorm(channels)] if normalize else []), nn.LeakyReLU(0.2, inplace=True))
        self.logits = nn.Conv2d(channels, 1, 4, 2)

    def forward(self, code: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.joint is not None:
            assert condition is not None
            tiled = condition[:, :, None, None].expand(-1, -1, *code.shape[2:])
            code = self.joint(torch.cat([code, tiled], 1))
        return self.logits(code).flatten(1)


def halvings_of(side: int) -> int:
    """How often a discriminator halves pictures of a side: down to 4 x 4, and four times at the most."""
    return min(int(math.log2(side // 4)), DEEPEST)


class PatchDiscriminator(nn.Module):
    """Do the patches of a picture look real, and do they match the sentence? width: channels of the first map."""

    def __init__(self, side: int, width: int, sentence: int, *, normalize: bool = True) -> None:
        super().__init__()
        halvings = halvings_of(side)
        base = width << (DEEPEST - halvings)  # so that codes of small pictures are as wide
        self.look = trunk(3, base, halvings, normalize=normalize)
        self.matching = PatchHead(8 * width, sentence, normalize=normalize)
        self.reality = PatchHead(8 * width)

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, S, S] -> codes [B, 8 width, ...]."""
        return self.look(for_convolutions(pictures))


class ShapedDiscriminator(nn.Module):
    """Do pictures look real where their label maps say what is there? extra: channels to which the maps are brought."""

    def __init__(self, side: int, width: int, labels: int, extra: int, *, normalize: bool = True) -> None:
        super().__init__()
        halvings = halvings_of(side)
        self.maps = looking(labels, extra)
        self.look = trunk(3 + extra, width << (DEEPEST - halvings), halvings, normalize=normalize)
        self.reality = PatchHead(8 * width)

    def code(self, pictures: Tensor, read: Tensor) -> Tensor:
        """[B, 3, S, S], and label maps as `maps` reads them [B, extra, S, S] -> [B, 8 width, ...]."""
        return self.look(for_convolutions(torch.cat([pictures, read], 1)))

    def forward(self, maps: Tensor, *pictures: Tensor) -> list[Tensor]:
        """Label maps [B, L, S, S], and several batches of pictures [B, 3, S, S] of them -> the logits of each, [B, P]."""
        read = reading(self.maps, maps)
        return [self.reality(self.code(own, read)) for own in pictures]


def reading(look: nn.Sequential, maps: Tensor, sized: Callable[[Tensor], Tensor] = lambda maps: maps) -> Tensor:
    """Label maps [B, L, S, S], brought to a side by `sized`, as `look` reads them: [B, extra, S', S'].

    On a CPU it reads only the labels of each picture whose maps are not empty. At 512 px ten labels of 80 take a fifth of the time and an
    eighth of the memory of all; the results agree to rounding. A GPU would have to wait for the number of labels, so there it reads all.
    """
    read: Tensor
    if maps.device.type != "cpu" or maps.requires_grad or torch.compiler.is_compiling():
        read = look(sized(maps))
        return read
    present = maps.flatten(2).any(2)  # [B, L]
    count = int(present.sum(1).max())
    if not 0 < count < maps.shape[1]:
        read = look(sized(maps))
        return read
    edge, convolution, *after = look
    assert isinstance(convolution, nn.Conv2d)
    chosen = present.byte().topk(count, 1).indices  # [B, count]: labels that a picture has, and others where it has fewer
    own = edge(sized(maps.gather(1, chosen[..., None, None].expand(-1, -1, *maps.shape[2:]))))
    rows = [F.conv2d(row[None], convolution.weight[:, labels], convolution.bias) for row, labels in zip(own, chosen, strict=True)]
    read = torch.cat(rows)
    for layer in after:
        read = layer(read)
    return read


class ObjectDiscriminator(nn.Module):
    """Do the objects of a picture look real, and do they match their labels and what the generator found in the caption for them?

    halvings: 3 for small objects, 4 for large ones. side: to which pictures are brought first. condition: width of a label's vector and of
    an object's code together. stride: cells of the map are so many pixels apart where regions are cut out of it; by default they are.
    """

    def __init__(
        self,
        halvings: int,
        width: int,
        labels: int,
        extra: int,
        condition: int,
        *,
        side: int,
        stride: int | None = None,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.side, self.stride = side, stride or 2**halvings
        self.maps = looking(labels, extra)
        self.look = trunk(3 + extra, width, halvings, normalize=normalize)
        self.region = nn.Sequential(nn.Conv2d(width * 2 ** (halvings - 1), 4 * width, 4, 1, 1), nn.LeakyReLU(0.2, inplace=True))
        self.matching = PatchHead(4 * width, condition, normalize=normalize)
        self.reality = PatchHead(4 * width)

    def forward(self, boxes: Tensor, maps: Tensor, *pictures: Tensor) -> list[Tensor]:
        """Boxes [B, N, 4] as shares of the sides, label maps [B, L, S, S], and several batches of pictures [B, 3, S, S] of them -> in each,
        every object's code [B, N, 4 width, 4, 4]."""
        read = reading(self.maps, maps, self._sized)
        corners = torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1) * (self.side / self.stride)
        codes = []
        for own in pictures:
            seen = self.look(for_convolutions(torch.cat([self._sized(own), read], 1)))
            codes.append(self.region(roi_align(seen, corners, REGION).flatten(0, 1)).unflatten(0, boxes.shape[:2]))
        return codes

    def _sized(self, maps: Tensor) -> Tensor:
        if maps.shape[-1] == self.side:
            return maps
        return F.interpolate(maps, size=(self.side, self.side), mode="bilinear", align_corners=True)


@dataclass(frozen=True, kw_only=True)
class TermWeights:
    """Weights of the losses' terms."""

    unconditional: float = 1.0
    text: float = 0.1
    shape: float = 1.0
    objects: float = 0.1


@dataclass(frozen=True)
class Mismatched:
    """Pairs that do not belong together: sentences [M, D], and pictures [M, 3, S, S], or None for the batch's own first M."""

    sentences: Tensor
    pictures: Tensor | None = None


def patch_loss(
    discriminator: PatchDiscriminator, real: Tensor, fake: Tensor, sentence: Tensor, mismatched: Mismatched, weights: TermWeights
) -> tuple[Tensor, dict[str, Tensor]]:
    """A patch discriminator's loss of pictures [B, 3, S, S] and sentences [B, D], and how well it finds that each kind of pair matches.

    mismatched: M may be 0.
    """
    code, false = discriminator(real), discriminator(fake.detach())
    matching = {"real": discriminator.matching(code, sentence), "fake": discriminator.matching(false, sentence)}
    kept = weights.unconditional * bce(discriminator.reality(code), 1.0) + weights.text * bce(matching["real"], 1.0)
    refused = weights.unconditional * bce(discriminator.reality(false), 0.0)
    wrong = bce(matching["fake"], 0.0)
    if len(mismatched.sentences):
        other = code[: len(mismatched.sentences)] if mismatched.pictures is None else discriminator(mismatched.pictures)
        matching["mismatched"] = discriminator.matching(other, mismatched.sentences)
        wrong = wrong + bce(matching["mismatched"], 0.0)
    metrics = {name: logits.detach().sigmoid().mean() for name, logits in matching.items()}
    return kept / 2.0 + (refused + weights.text * wrong) / 3.0, metrics


def patch_fooling(discriminator: PatchDiscriminator, fake: Tensor, sentence: Tensor, weights: TermWeights) -> Tensor:
    """The generator's part of the same."""
    code = discriminator(fake)
    real, match = bce(discriminator.reality(code), 1.0), bce(discriminator.matching(code, sentence), 1.0)
    return weights.unconditional * real + weights.text * match


def shaped_loss(discriminator: ShapedDiscriminator, real: Tensor, fake: Tensor, maps: Tensor, wrong: Tensor, rows: Tensor) -> Tensor:
    """A shape discriminator's loss: real and generated pictures with their label maps, and real ones with `wrong` maps.

    rows: [M], those whose wrong maps differ from their own; the others have no mismatched pair.
    """
    true, false = discriminator(maps, real, fake.detach())
    loss, refused = bce(true, 1.0), bce(false, 0.0)
    if not len(rows):
        return loss + refused
    (moved,) = discriminator(wrong[rows], real[rows])
    return loss + (refused + bce(moved, 0.0)) / 2.0


def shaped_fooling(discriminator: ShapedDiscriminator, fake: Tensor, maps: Tensor) -> Tensor:
    """The generator's part of the same."""
    return bce(discriminator(maps, fake)[0], 1.0)


@dataclass(frozen=True)
class Objects:
    """The objects of a batch that one discriminator looks at: in which row they are, and which thing of it.

    rows, things: [M]. boxes: [B, N, 4]; conditions: [B, N, D], the vectors of labels with what the generator found for each.
    """

    rows: Tensor
    things: Tensor
    boxes: Tensor
    conditions: Tensor

    @staticmethod
    def of(boxes: Tensor, labels: Tensor, conditions: Tensor, threshold: float, *, large: bool, least: float) -> Objects:
        """Those whose longer side is at least the threshold, or below; those below `least` in both sides are left out."""
        longer = boxes[..., 2:].amax(-1)
        chosen = (labels >= 0) & (longer >= least) & ((longer >= threshold) == large)
        rows, things = chosen.nonzero(as_tuple=True)
        return Objects(rows, things, boxes, conditions)

    def __len__(self) -> int:
        return len(self.rows)

    def among(self, rows: Tensor) -> Objects:
        """Those in some rows [M], numbered by their place among these."""
        place = torch.full((len(self.boxes),), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        own = place[self.rows] >= 0
        return Objects(place[self.rows[own]], self.things[own], self.boxes[rows], self.conditions[rows])

    def codes(self, discriminator: ObjectDiscriminator, maps: Tensor, *pictures: Tensor) -> list[Tensor]:
        """In each batch of pictures, [M, C, 4, 4]."""
        return [codes[self.rows, self.things] for codes in discriminator(self.boxes, maps, *pictures)]

    @property
    def own_conditions(self) -> Tensor:
        """[M, D]."""
        return self.conditions[self.rows, self.things]


def object_loss(
    discriminator: ObjectDiscriminator, objects: Objects, real: Tensor, fake: Tensor, maps: Tensor, wrong: Tensor, rows: Tensor
) -> Tensor:
    """An object discriminator's loss, over all its objects of a batch at once; mismatched are an object with the next one's condition,
    and real pictures with `wrong` label maps, in those rows [M] where they differ. 0, with gradients of 0, without objects."""
    conditions = objects.own_conditions
    if not len(objects):
        return _nothing(discriminator, real, maps, objects.boxes)
    codes, false = objects.codes(discriminator, maps, real, fake.detach())
    kept = bce(discriminator.reality(codes), 1.0) + bce(discriminator.matching(codes, conditions), 1.0)
    refused = bce(discriminator.reality(false), 0.0) + bce(discriminator.matching(false, conditions), 0.0)
    if len(objects) > 1:
        refused = refused + bce(discriminator.matching(codes[:-1], conditions[1:]), 0.0)
    parts = 3.0  # even where there is one object alone, and so no pair with the next one's condition
    changed = objects.among(rows)
    if len(changed):
        (moved,) = changed.codes(discriminator, wrong[rows], real[rows])
        refused = refused + bce(discriminator.matching(moved, changed.own_conditions), 0.0)
        parts += 1.0
    return kept / 2.0 + refused / parts


def object_fooling(discriminator: ObjectDiscriminator, objects: Objects, fake: Tensor, maps: Tensor) -> Tensor:
    """The generator's part of the same; 0 without objects."""
    if not len(objects):
        return fake.new_zeros(())
    (codes,) = objects.codes(discriminator, maps, fake)
    return bce(discriminator.reality(codes), 1.0) + bce(discriminator.matching(codes, objects.own_conditions), 1.0)


def _nothing(discriminator: ObjectDiscriminator, pictures: Tensor, maps: Tensor, boxes: Tensor) -> Tensor:
    """A loss of 0 that all its weights have a part in."""
    codes = discriminator(boxes[:1], maps[:1], pictures[:1])[0][0]
    logits = [discriminator.reality(codes), discriminator.matching(codes, codes.new_zeros(len(codes), _condition_width(discriminator)))]
    return torch.stack([value.sum() for value in logits]).sum() * 0.0


def _condition_width(discriminator: ObjectDiscriminator) -> int:
    assert discriminator.matching.joint is not None
    first = discriminator.matching.joint[0]
    assert isinstance(first, nn.Conv2d)
    return first.in_channels - discriminator.matching.logits.in_channels


def orders(labels: Tensor, count: int, chances: Tensor) -> tuple[Tensor, Tensor]:
    """For each picture, which label's map stands in the place of each label's, [B, L]: its own labels in another order. And the rows [M]
    whose order changed.

    labels: [B, N]; chances: [B, L], uniform numbers: the map of the label with the smallest one goes to the first of the picture's labels,
    and so on.
    """
    own = torch.arange(count, device=labels.device)
    present = (labels[..., None] == own).any(1)  # [B, L]
    slots = torch.where(present, own, count + own).argsort(1)  # the picture's labels in order, then the others
    drawn = torch.where(present, chances, 2.0 + own).argsort(1)  # the picture's labels in a random order, then the others
    order = torch.empty_like(slots).scatter(1, slots, drawn)
    return order, (order != own).any(1).nonzero()[:, 0]


def permuted(maps: Tensor, order: Tensor) -> Tensor:
    """Label maps [B, L, S, S] in another order [B, L]."""
    return maps.gather(1, order[..., None, None].expand_as(maps))
