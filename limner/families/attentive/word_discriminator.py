"""A word-level discriminator: is each word of a caption in the picture? (ControlGAN: Li et al., NeurIPS 2019, section 3.3.)

The probability of a caption is the mean of its words' probabilities, weighted by each word's importance. In the authors' code none of this
learns. Two things are reconstructed here. The regions are places of the scale discriminator's own trunk instead of an Inception's. The
words' importances are learned and weigh their probabilities; in paper and code they multiply what a word attends to, of which only the
direction is then compared with the word, so that they cancel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.text import TextFeatures
from limner.families.tree import ScaleDiscriminator
from limner.matching.losses.words import Gammas, attend
from limner.nn.fast.layers import Layers
from limner.nn.fast.layout import for_convolutions


class WordDiscriminator(nn.Module):
    """Projects regions and words to `width` numbers. Each word attends to the regions that fit it and is compared with what it sees
    there."""

    def __init__(self, channels: int, word_width: int, width: int, gammas: Gammas) -> None:
        super().__init__()
        self.gamma = gammas.attention
        self.regions = nn.Conv2d(channels, width, 1)
        self.words = nn.Linear(word_width, width)
        self.importance = nn.Linear(word_width, 1)
        self.sharpness = nn.Parameter(torch.tensor(gammas.words))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """Regions [B, C, h, w], words [B, T, D], mask [B, T] (True where there is a word, one at least) -> [B] logits."""
        by_word = self.by_word(regions, words, mask)
        weights = self.importance(words)[..., 0].masked_fill(~mask, -torch.inf).log_softmax(1)
        # The logit of a weighted mean of probabilities, all in logarithms.
        return torch.logsumexp(weights + F.logsigmoid(by_word), 1) - torch.logsumexp(weights + F.logsigmoid(-by_word), 1)

    def by_word(self, regions: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """The same inputs -> each word's logits [B, T], meaningless for padding."""
        projected = self.words(words)
        seen, _ = attend(self.regions(regions).flatten(2), projected, mask, self.gamma)
        return self.sharpness * F.cosine_similarity(projected, seen, dim=2) + self.bias


class WordScaleDiscriminator(ScaleDiscriminator):
    """A discriminator of one scale that also judges word by word. The regions are its last map before 4x4, of 8x8 places."""

    def __init__(
        self,
        base: int,
        side: int,
        condition: int,
        *,
        unconditional: bool,
        normalize: bool = True,
        word_width: int | None = None,
        gammas: Gammas | None = None,
    ) -> None:
        """word_width: width of the word embeddings, or None for no word-level discriminator. The others are those of
        `ScaleDiscriminator`."""
        super().__init__(base, side, condition, unconditional=unconditional, normalize=normalize)
        halvings = [place for place, layer in enumerate(self.picture) if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)]
        self.split = halvings[-1] or len(self.picture)  # pictures of 8 px are a single halving away from 4x4: these are then the regions
        last = self.picture[halvings[-1]]
        assert isinstance(last, nn.Conv2d)
        channels = last.in_channels if halvings[-1] else last.out_channels
        self.words = None if word_width is None else WordDiscriminator(channels, word_width, 8 * base, gammas or Gammas())

    def look_at_regions(self, *pictures: Tensor) -> list[Tensor]:
        """Batches [B, 3, R, R] -> [B, C, 8, 8] each, by its own batch statistics."""
        first = self.picture[: self.split]
        assert isinstance(first, Layers)
        return first.apart(*map(for_convolutions, pictures))

    def look_on(self, *regions: Tensor) -> list[Tensor]:
        """Regions [B, C, 8, 8] of batches -> the codes [B, 8 base, 4, 4] that `look` gives."""
        rest = self.picture[self.split :]
        assert isinstance(rest, Layers)
        return rest.apart(*regions)


def word_verdicts(
    score: Callable[[Tensor, Tensor, Tensor], Tensor],
    regions: Tensor,
    batch: Batch,
    counterfactual: float = 0.0,
    encoder: Callable[[list[str]], TextFeatures] | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits [B] of real pictures' regions [B, ...] with the words of their own captions, and with words that do not describe them.

    score: computes logits from regions, words [N, T, D] and mask [N, T]. counterfactual: the share of wrong words that come from
    `batch.counterfactual`; the rest come from captions of other pictures, of another class where classes are known. encoder: the text
    encoder of a score that has its own; None takes the batch's word embeddings.
    """

    def read(rows: Batch) -> TextFeatures:
        return rows.text if encoder is None else encoder([own[0] for own in rows.captions])

    count = batch.rows_of(counterfactual)
    pairs = [(regions, read(batch))]
    if count:
        assert batch.counterfactual is not None
        pairs.append((regions[:count], batch.counterfactual[:count]))
    if count < len(batch):
        pairs.append((regions[count:], read(batch.mismatched)[count:]))
    logits = []
    for seen, text in pairs:
        assert text.words is not None and text.mask is not None
        logits.append(score(seen, text.words, text.mask))
    return logits[0], torch.cat(logits[1:])
