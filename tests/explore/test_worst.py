"""The worst are the worst, and what the garden's judge says of them is what it reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.core.errors import SettingsError
from limner.data.catalog import open_data
from limner.data.garden import Garden
from limner.explore.worst import GardenScore, MatchingScore, page, worst
from limner.features.garden_judge import Reading
from limner.metrics.judge import to_tensor


def darkness(captions, pictures):
    assert pictures.dtype == torch.uint8 and pictures.shape == (len(captions), 3, 16, 16)
    return -pictures.double().mean((1, 2, 3))


def garden_words(tiny_model):
    """A split whose every caption the tiny model can read."""
    words = open_data("garden", "val", 16, length=200)
    known = [index for index in range(200) if set(tiny_model.encoder.words(words.captions(index)[0])) & {"red", "blue", "five", "petals"}]
    words._captions = [f"{words.captions(known[index % len(known)])[0]} {index}" for index in range(200) for _ in range(5)]
    return words


def test_each_caption_is_shown_once_and_one_that_cannot_be_painted_not_at_all(tiny_model):
    words = garden_words(tiny_model)
    texts = ["a red flower", "a blue bird", "five petals", "!!", "a zebra"]
    words._captions = [texts[index % 5] for index in range(200) for _ in range(5)]
    found = worst(tiny_model, words, darkness, count=6, captions=150, seed=3)
    assert sorted(case.caption for case in found.cases) == sorted(texts[:3] + texts[4:])  # "a" is a word that it knows
    assert (found.judged, found.unread) == (4, 1) and "1 more hold no word that the model knows" in found.figures()


def test_the_worst_of_all_captions_come_first_and_can_be_painted_again(tiny_model):
    words = garden_words(tiny_model)
    every = worst(tiny_model, words, darkness, count=150, captions=150, seed=3)
    few = worst(tiny_model, words, darkness, count=5, captions=150, seed=3)
    scores = [case.score for case in every.cases]
    assert scores == sorted(scores) and len({case.number for case in every.cases}) == 150
    assert [case.number for case in few.cases] == [case.number for case in every.cases[:5]]
    assert few.mean == every.mean == pytest.approx(np.mean(scores)) and few.judged == 150
    for case in few.cases:
        again = tiny_model.pictures([case.caption], [case.number], seed=3)
        assert np.abs(again[0].astype(int) - case.picture).max() <= 1
        assert case.remarks == [f"score {case.score:.3f}"]
    assert page(few).width > 4 * 176


def test_counts_and_scores_that_cannot_be_used_are_refused(tiny_model):
    words = garden_words(tiny_model)
    with pytest.raises(SettingsError, match="--captions is 0"):
        worst(tiny_model, words, darkness, captions=0)
    with pytest.raises(SettingsError, match="not numbers"):
        worst(tiny_model, words, lambda captions, pictures: torch.full((len(captions),), torch.nan), captions=4)


def test_the_garden_score_is_high_for_true_captions_and_names_what_was_missed():
    garden, score = Garden("test", length=24, resolution=64), GardenScore()
    flowers = list(garden)
    pictures = to_tensor(np.stack([flower.pixels for flower in flowers]))
    true = [flower.captions[0] for flower in flowers]
    assert score([caption.text for caption in true], pictures).min() > 0.98
    flower = flowers[0]
    other = "red" if flower.attributes["colour"] != "red" else "blue"
    caption = f"a {other} flower with {flower.attributes['shape']} petals"
    (wrong,) = score([caption], pictures[:1]).tolist()
    assert 0.49 < wrong < 0.51
    assert score.remark(caption, flower.pixels, wrong) == ["1 of 2 attributes right", f"asked {other}, read {flower.attributes['colour']}"]
    assert score(["something unheard of"], pictures[:1]).tolist() == [1.0]


def test_the_judges_doubt_breaks_ties_and_nothing_else():
    class Doubting(torch.nn.Module):
        """Reads red in every picture, surer and surer; and five petals."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def read(self, pictures):
            from limner.data.garden import ATTRIBUTES

            logits = {name: torch.zeros(len(pictures), len(values)) for name, values in ATTRIBUTES.items()}
            logits["colour"][:, 0] = torch.arange(1.0, len(pictures) + 1)
            logits["count"][:, 2] = 5.0
            return Reading(torch.zeros(len(pictures), 1), logits)

    scores = GardenScore(Doubting())(
        ["a red flower", "a red flower", "a blue flower", "a blue flower", "a blue flower with five petals"],
        torch.zeros(5, 3, 8, 8, dtype=torch.uint8),
    )
    first, second, third, fourth, half = scores.tolist()
    assert 0.99 < first < second <= 1.0 and 0.0 <= fourth < third < 0.01 and 0.49 < half < 0.51


class Words:
    """A matching model that sees a picture's mean brightness and reads a number."""

    name, content_hash = "words", "0"

    def embed_captions(self, captions: list[str]) -> torch.Tensor:
        return torch.tensor([[float(caption.split()[-1])] for caption in captions])

    def embed_pictures(self, pictures: torch.Tensor) -> torch.Tensor:
        return (pictures.mean((1, 2, 3))[:, None] + 1) * 5

    def similarity(self, pictures: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
        return -(pictures - captions.T).abs()


def test_a_matching_model_scores_by_the_share_of_captions_that_fit_less():
    score = MatchingScore(Words(), [f"number {value}" for value in (0, 2, 4, 6, 8, 10, 10)])
    bright = torch.full((3, 3, 4, 4), 255, dtype=torch.uint8)  # read as 10
    assert score(["number 10", "number 7", "number 1"], bright).tolist() == pytest.approx([1.0, 4 / 6, 1 / 6])
