"""Several captions of each picture, and changed ones, in one softmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.matching.losses.contrast import caption_losses, reads_same, same_captions

PICTURES, OWN = 4, 2
CAPTIONS = [
    ["a", "b", "c", "d"],
    ["e", "a", "f", "g"],
    ["h", "i", "a", "j"],
    ["k", "l", "m", "n"],
]
"""Of each picture two true ones, then two changed ones; "a" is true of two pictures, and a change of a third one's caption."""


def scores() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    to_texts = torch.randn(PICTURES, PICTURES, 2 * OWN, generator=generator)
    return to_texts, to_texts[..., :OWN].permute(1, 2, 0)


def test_each_caption_must_beat_all_that_are_wrong_and_none_that_is_right() -> None:
    to_texts, to_pictures = scores()
    no_mistakes = same_captions(CAPTIONS, OWN, torch.device("cpu"))
    by_pictures, by_captions, found = caption_losses(to_texts, to_pictures, slice(0, PICTURES), no_mistakes)

    expected_texts, expected_pictures, won = [], [], []
    for row in range(PICTURES):
        true = CAPTIONS[row][:OWN]
        wrong = [
            to_texts[row, other, place]
            for other in range(PICTURES)
            for place in range(2 * OWN)
            if not (other == row and place < OWN) and CAPTIONS[other][place] not in true
        ]
        for place in range(OWN):
            own = to_texts[row, row, place]
            expected_texts.append(F.cross_entropy(torch.stack([own, *wrong]), torch.tensor(0)))
            rivals = [to_texts[p, row, place] for p in range(PICTURES) if p != row and true[place] not in CAPTIONS[p][:OWN]]
            expected_pictures.append(F.cross_entropy(torch.stack([own, *rivals]), torch.tensor(0)))
            won.append(bool(own > to_texts[row, row, OWN:].max()))
    torch.testing.assert_close(by_pictures, torch.stack(expected_texts).mean())
    torch.testing.assert_close(by_captions, torch.stack(expected_pictures).mean())
    assert found["counterfactual"].item() == sum(won) / len(won)


def test_captions_are_compared_by_what_they_read() -> None:
    assert same_captions([["A red bird"], ["a  red bird."], ["a bird"]], 1, torch.device("cpu"))[0, 0, :, 0].tolist() == [True, True, False]
    assert reads_same(["A red bird", "a bird"], ["a  red bird.", "\ud800"]).tolist() == [[True, False], [False, False]]


def test_rows_of_two_processes_are_those_of_one() -> None:
    to_texts, to_pictures = scores()
    no_mistakes = same_captions(CAPTIONS, OWN, torch.device("cpu"), torch.tensor([0, 1, 2, 0]))
    assert no_mistakes[0, :, 3, :OWN].all() and not no_mistakes[0, :, 3, OWN:].any()
    whole = caption_losses(to_texts, to_pictures, slice(0, PICTURES), no_mistakes)
    halves = [caption_losses(to_texts[rows], to_pictures[rows], rows, no_mistakes[rows]) for rows in (slice(0, 2), slice(2, 4))]
    for place in (0, 1):
        torch.testing.assert_close((halves[0][place] + halves[1][place]) / 2, whole[place])
