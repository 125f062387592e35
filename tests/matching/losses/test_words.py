from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.matching.losses.words import Gammas, attend, matching_losses, paired_word_scores, same_class, sentence_scores, word_scores

GAMMAS = Gammas()
LENGTHS = [5, 2, 3]


def made(pictures: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Regions [P, 6, 9], words [3, 5, 6], zero where there is none, and their mask."""
    generator = torch.Generator().manual_seed(3)
    mask = torch.arange(5)[None] < torch.tensor(LENGTHS)[:, None]
    words = torch.randn(3, 5, 6, generator=generator) * mask[..., None]
    return torch.randn(pictures, 6, 9, generator=generator), words, mask


def score(regions: Tensor, words: Tensor) -> Tensor:
    """One picture [D, R] with one caption [T, D], by the paper's equations one after the other."""
    over_words = (words @ regions).softmax(0)  # Eq. 8
    attention = (GAMMAS.attention * over_words).softmax(1)  # Eq. 9
    seen = attention @ regions.T
    return (GAMMAS.words * F.cosine_similarity(words, seen)).exp().sum().log()  # Eq. 10, without its 1 / gamma2


def test_every_pair_scores_as_alone() -> None:
    regions, words, mask = made()
    expected = torch.stack([torch.stack([score(r, w[:length]) for w, length in zip(words, LENGTHS, strict=True)]) for r in regions])
    torch.testing.assert_close(word_scores(regions, words, mask, GAMMAS), expected)
    torch.testing.assert_close(paired_word_scores(regions[:3], words, mask, GAMMAS), expected[:3].diagonal())
    seen, attention = attend(regions[:3], words, mask, GAMMAS.attention)
    torch.testing.assert_close(attention.sum(2), torch.ones(3, 5))
    torch.testing.assert_close(seen, attention @ regions[:3].transpose(1, 2))


def test_padding_counts_for_nothing() -> None:
    regions, words, mask = made()
    longer = F.pad(words, (0, 0, 0, 4), value=7.0)
    torch.testing.assert_close(word_scores(regions, longer, F.pad(mask, (0, 4)), GAMMAS), word_scores(regions, words, mask, GAMMAS))


def test_gradients_reach_pictures_and_words_and_stay_finite() -> None:
    regions, words, mask = made()
    regions[0] = 0  # a picture without any feature
    regions, words = regions.requires_grad_(), words.requires_grad_()
    word_scores(regions, words, mask, GAMMAS).sum().backward()
    assert regions.grad is not None and words.grad is not None
    assert regions.grad.isfinite().all() and words.grad.isfinite().all()
    assert (regions.grad[1:].abs().amax((1, 2)) > 0).all()
    assert (words.grad[~mask] == 0).all() and (words.grad[mask].abs().amax(1) > 0).all()


def test_losses_leave_out_the_same_class_and_add_further_wrong_captions() -> None:
    scores = torch.tensor([[3.0, 9.0, 0.0], [9.0, 2.0, 1.0], [0.0, 1.0, 4.0]])
    plain = matching_losses(scores)
    masked = matching_losses(scores, same_class(torch.tensor([5, 5, 8])))
    assert same_class(None) is None and masked[0] < plain[0] and masked[1] < plain[1]
    rows = [(3.0, 0.0), (2.0, 1.0), (4.0, 0.0, 1.0)]
    by_hand = sum(math.log(sum(math.exp(other - row[0]) for other in row)) for row in rows) / 3
    assert masked[0].item() == pytest.approx(by_hand, rel=1e-6)
    extra = matching_losses(scores, None, torch.tensor([[-torch.inf], [2.0], [-torch.inf]]))
    assert extra[0] > plain[0] and extra[1] == plain[1]


def test_sentence_scores_are_cosines() -> None:
    pictures, sentences = torch.randn(3, 7), torch.randn(2, 7)
    torch.testing.assert_close(sentence_scores(pictures, sentences), F.normalize(pictures) @ F.normalize(sentences).T)
    assert sentence_scores(torch.zeros(1, 7), sentences).eq(0).all()
