"""The matching scores and losses of DAMSM (AttnGAN: Xu et al., CVPR 2018, arXiv:1711.10485, Eq. 7 to 13), as in the authors' code.

Captions are compared with pictures word by word: each word attends to the regions that fit it, and a pair scores high where what the
words attend to is similar to them. All pairs of a batch are scored in three batched products. Gradients reach pictures, words and
sentences, so a generator can be trained with these losses too.

The code differs from the paper in one factor: the paper scores a pair with log(sum exp(gamma2 cos)) / gamma2, the code leaves the division
out, so that gamma3 multiplies a quantity gamma2 times as large. This follows the code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST = 1e-8
"""Products of lengths below this count as this, so that a vector of zeros has the cosine 0."""


@dataclass(frozen=True, kw_only=True)
class Gammas:
    """The sharpness of three softmaxes: of attention to regions, over a caption's words, and over captions."""

    attention: float = 4.0
    """gamma1: times the softmax over words, before the softmax over regions."""
    words: float = 5.0
    """gamma2: times the cosine of each word and what it sees, before the log-sum-exp over words."""
    pairs: float = 10.0
    """gamma3: times the scores of pairs, before the softmax over the batch."""


def attend(regions: Tensor, words: Tensor, mask: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """What each word attends to: regions [B, D, R], words [B, T, D], mask [B, T] (True where there is a word) -> [B, T, D] and weights [B,
    T, R].

    A softmax over the caption's words for each region, times `gamma`, then a softmax over the regions for each word.
    A caption needs at least one word; rows without a word attend to all regions equally.
    """
    products = (words @ regions).transpose(1, 2)[:, :, None]  # [B, R, 1, T]
    attention = _attention(products, mask[:, None], gamma)[:, :, 0].transpose(1, 2)
    return attention @ regions.transpose(1, 2), attention


def word_scores(regions: Tensor, words: Tensor, mask: Tensor, gammas: Gammas) -> Tensor:
    """Scores by words of every picture with every caption: [P, D, R], [C, T, D], [C, T] bool -> [P, C]."""
    with torch.autocast(regions.device.type, enabled=False):
        regions, words = regions.float(), words.float()
        products = regions.transpose(1, 2) @ words.flatten(0, 1).T  # [P, R, C * T]
        return _scores(regions, products.unflatten(2, mask.shape), words.norm(dim=2)[None], mask[None], gammas)


def paired_word_scores(regions: Tensor, words: Tensor, mask: Tensor, gammas: Gammas) -> Tensor:
    """`word_scores` of each picture with only its own caption: [B, D, R], [B, T, D], [B, T] bool -> [B]."""
    with torch.autocast(regions.device.type, enabled=False):
        regions, words = regions.float(), words.float()
        products = (words @ regions).transpose(1, 2)[:, :, None]  # [B, R, 1, T]
        return _scores(regions, products, words.norm(dim=2)[:, None], mask[:, None], gammas)[:, 0]


def sentence_scores(pictures: Tensor, sentences: Tensor) -> Tensor:
    """Cosines of every picture with every caption: [P, D], [C, D] -> [P, C]."""
    lengths = pictures.norm(dim=1)[:, None] * sentences.norm(dim=1)[None]
    return pictures @ sentences.T / lengths.clamp_min(_LEAST)


def matching_losses(scores: Tensor, same: Tensor | None = None, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each picture's own caption among the batch's, and of each caption's own picture: [B, B] -> two scalars.

    scores: row i, column j is picture i with caption j, already times gamma3. same: [B, B] bool, pairs that are not mistakes
    (`same_class`); those off the diagonal are left out. extra: [B, E] scores of further wrong captions of each picture (-inf for none).
    """
    if same is not None:
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        scores = scores.masked_fill(same & ~own, -torch.inf)
    labels = torch.arange(len(scores), device=scores.device)
    candidates = scores if extra is None else torch.cat((scores, extra), dim=1)
    return F.cross_entropy(candidates, labels), F.cross_entropy(scores.T, labels)


def same_class(classes: Tensor | None) -> Tensor | None:
    """[B] class ids -> [B, B] bool, True where two are equal; None, as the losses take it, without classes."""
    return None if classes is None else classes[:, None] == classes[None]


def words_loss(
    regions: Tensor, words: Tensor, mask: Tensor, gammas: Gammas, classes: Tensor | None = None, extra: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The losses by words: regions [B, D, R], words [B, T, D], mask [B, T], classes [B] -> pictures to captions, captions to pictures.

    extra: [B, E], `paired_word_scores` of further wrong captions, not yet times gamma3.
    """
    scores = gammas.pairs * word_scores(regions, words, mask, gammas)
    return matching_losses(scores, same_class(classes), None if extra is None else gammas.pairs * extra)


def sentence_loss(
    pictures: Tensor, sentences: Tensor, gammas: Gammas, classes: Tensor | None = None, extra: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The losses by sentences: [B, D], [B, D], classes [B] -> pictures to captions, captions to pictures. extra: [B, E] cosines."""
    scores = gammas.pairs * sentence_scores(pictures, sentences)
    return matching_losses(scores, same_class(classes), None if extra is None else gammas.pairs * extra)


def _attention(products: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Weights over the regions from products of region and word: [P, R, C, T], mask [P or 1, C, T] -> [P, R, C, T]."""
    over_words = products.masked_fill(~mask[:, None], -torch.inf).softmax(3)
    return (gamma * over_words).softmax(1)


def _scores(regions: Tensor, products: Tensor, lengths: Tensor, mask: Tensor, gammas: Gammas) -> Tensor:
    """Regions [P, D, R], their products with words [P, R, C, T], lengths of words and mask [P or 1, C, T] -> [P, C].

    What a word attends to is a weighted sum of regions, so its product with the word and its length follow from the regions' products with
    the word and with each other; no vector of width D is computed for each word of each pair. That needs float32, whatever the precision
    around it.
    """
    attention = _attention(products, mask, gammas.attention)
    among = regions.transpose(1, 2) @ regions  # [P, R, R]
    seen = (attention * (among @ attention.flatten(2)).view_as(attention)).sum(1).clamp_min(_LEAST**2).sqrt()
    fits = (attention * products).sum(1)
    cosines = fits / (lengths * seen).clamp_min(_LEAST)  # [P, C, T]
    return (gammas.words * cosines).masked_fill(~mask, -torch.inf).logsumexp(2)
