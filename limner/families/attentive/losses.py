"""The joint conditional and unconditional losses of AttnGAN and later methods (Xu et al., CVPR 2018, arXiv:1711.10485, Eq. 4 to 6).

Every scale's discriminator answers two questions: does the picture look real, and does it match the sentence? The weights of the terms
are the authors' code's: real pairs and real pictures one half each, mismatched pairs, generated pairs and generated pictures one third
each; without the first question, real + (mismatched + generated) / 2. The paper gives every term one half and has no mismatched pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.families.matching_aware import bce
from limner.families.settings import Mismatch
from limner.families.tree import ScaleDiscriminator
from limner.features.network import resized
from limner.matching.models.damsm import DAMSM
from limner.matching.saving import load_matching
from limner.matching.towers.regions import CompactRegions, FrozenRegions

Logits = Mapping[str, Tensor]


def discriminator_loss(matching: Logits, reality: Logits) -> Tensor:
    """BCE of one scale's logits.

    matching: logits [B] each of "real", "mismatched" and "fake" pairs. reality: logits [B] each of "real" and "fake" pictures; empty where
    the discriminator only judges pairs.
    """
    real, wrong = bce(matching["real"], 1.0), bce(matching["mismatched"], 0.0) + bce(matching["fake"], 0.0)
    if not reality:
        return real + wrong / 2.0
    return (bce(reality["real"], 1.0) + real) / 2.0 + (bce(reality["fake"], 0.0) + wrong) / 3.0


def fooling_loss(matching: Tensor, reality: Tensor | None) -> Tensor:
    """BCE of one scale's logits [B] of generated pictures against 1; reality: None where the discriminator only judges pairs."""
    return bce(matching, 1.0) if reality is None else bce(matching, 1.0) + bce(reality, 1.0)


def generator_loss(discriminators: Iterable[nn.Module], fakes: Sequence[Tensor], sentence: Tensor) -> Tensor:
    """The sum of `fooling_loss` over the scales, whose `ScaleDiscriminator`s see generated pictures [B, 3, r, r]."""
    losses = []
    for discriminator, fake in zip(discriminators, fakes, strict=True):
        assert isinstance(discriminator, ScaleDiscriminator)
        code = discriminator.look(fake)
        losses.append(
            fooling_loss(discriminator.match(code, sentence), None if discriminator.reality is None else discriminator.realism(code))
        )
    return torch.stack(losses).sum()


def mismatched_pairs(
    discriminator: ScaleDiscriminator,
    batch: Batch,
    pictures: Tensor,
    code: Tensor,
    sentence: Tensor,
    mismatch: Mismatch,
    counterfactual: float,
) -> tuple[Tensor, Tensor]:
    """Picture codes and sentences that do not belong together.

    pictures, code: the batch's at this scale, and the discriminator's code of them.
    mismatch: "neighbour" gives each picture the sentence of the next one, whatever the two show, and leaves out the last picture, as the
    authors do; "caption" gives it the sentence of another picture, of another class where classes are known; "picture" exchanges the
    picture instead.
    counterfactual: share of the pairs that keep the picture and have `batch.counterfactual`.
    """
    count = batch.rows_of(counterfactual)
    if mismatch == "neighbour":
        code, wrong = code[:-1], sentence[1:]
    else:
        wrong = batch.mismatched.text.sentence if mismatch == "caption" and count < len(batch) else sentence
        if mismatch == "picture" and count < len(batch):
            code = discriminator.look(torch.cat([pictures[:count], batch.mismatched.image(pictures.shape[-1])[count:]]))
    if count:
        assert batch.counterfactual is not None
        wrong = torch.cat([batch.counterfactual.sentence[: len(code)][:count], wrong[count:]])
    return code, wrong


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
    """DAMSM's losses of pictures [B, 3, H, W] in [-1, 1] and their captions, by "words" and by "sentences", each of them in both
    directions; and the shares of pictures whose own caption scores highest. Gradients reach the pictures. classes: [B], or None.
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
    return resized(pictures, side)
