from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limner.core.errors import DataError
from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.data.garden.attributes import ATTRIBUTES, NAMES
from limner.data.garden.parsing import parse
from limner.matching.scores.distractors import contradicts, distractor_retrieval, draw_distractors

PICTURES = GardenPictures(Garden("test", length=300, resolution=16))


class Knowing(nn.Module):
    """Scores a caption by how many of the attributes it names are the picture's, less those that are not: it reads the truth."""

    def __init__(self, blind_to: str = "", sign: float = 1.0) -> None:
        super().__init__()
        self.seen = torch.tensor([0.0 if name == blind_to else 1.0 for name in NAMES])
        self.sign = sign

    def embed_stored(self, pictures: GardenPictures, indices: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(pictures.garden.attribute_codes(indices))

    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        rows = [parse(caption) for caption in captions]
        return torch.tensor([[ATTRIBUTES[name].index(row[name]) if name in row else -1 for name in NAMES] for row in rows])

    def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
        named = captions[None] >= 0
        wrong = named & (captions[None] != pictures[:, None])
        return -self.sign * (wrong * self.seen).sum(2)


def test_one_who_knows_is_always_right_and_one_who_errs_never() -> None:
    found = distractor_retrieval(Knowing(), PICTURES, count=100)  # type: ignore[arg-type]
    assert found["right_first"] == 1.0 and found["mean_rank"] == 1.0
    assert (found["count"], found["distractors"], found["chance"]) == (100, 99, 0.01)
    assert distractor_retrieval(Knowing(sign=-1), PICTURES, count=100)["mean_rank"] == 100  # type: ignore[arg-type]


def test_every_attribute_counts() -> None:
    shares = [distractor_retrieval(Knowing(blind_to=name), PICTURES)["right_first"] for name in NAMES]  # type: ignore[arg-type]
    assert max(shares) < 0.9, dict(zip(NAMES, shares, strict=True))


def test_all_the_same_is_no_merit() -> None:
    assert distractor_retrieval(Knowing(sign=0), PICTURES)["right_first"] == 0.0  # type: ignore[arg-type]


def test_scores_that_are_no_numbers_are_lost() -> None:
    found = distractor_retrieval(Knowing(sign=float("nan")), PICTURES, count=20)  # type: ignore[arg-type]
    assert found["right_first"] == 0.0 and found["mean_rank"] == 100


def test_distractors_are_false_different_and_drawn_for_each_picture() -> None:
    indices = np.arange(20)
    codes = PICTURES.garden.attribute_codes(indices)
    captions = PICTURES.garden.captions(np.arange(300), 1)
    chosen = draw_distractors(codes, captions, 99, indices, seed=3)
    assert chosen.shape == (20, 99) and all(len(set(row)) == 99 for row in chosen.tolist())
    for row, index in zip(chosen.tolist(), indices.tolist(), strict=True):
        truth = PICTURES.garden[index].attributes
        assert all(any(truth[name] != value for name, value in parse(captions[place].text).items()) for place in row)
    part = draw_distractors(codes[5:], captions, 99, indices[5:], seed=3)
    assert np.array_equal(part, chosen[5:])
    assert not np.array_equal(chosen, draw_distractors(codes, captions, 99, indices, seed=4))


def test_what_is_not_named_contradicts_nothing() -> None:
    codes = np.zeros((1, len(NAMES)), np.int64)  # a red one with three round petals
    captions = [SimpleNamespace(named=named) for named in ({"colour": "red"}, {"colour": "blue"}, {"count": "3", "shape": "pointed"})]
    assert contradicts(codes, captions).tolist() == [[False, True, True]]  # type: ignore[arg-type]


def test_a_split_too_short_is_refused() -> None:
    with pytest.raises(DataError, match="take a longer split"):
        distractor_retrieval(Knowing(), GardenPictures(Garden("test", length=20, resolution=16)))  # type: ignore[arg-type]
