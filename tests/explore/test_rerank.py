"""The best of many are the best, whatever the batches; the judge scores what is kept; and what cannot be ranked is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.core.errors import SettingsError
from limner.core.trainable import Conditions
from limner.data.catalog import open_data
from limner.explore.rerank import Similarity, rerank, strip
from limner.features.network import to_float
from limner.matching.models.sje import SJE, SJESettings
from limner.methods.dall_e import DALLE, SMALL, DALLESettings
from limner.metrics.judge import to_tensor
from limner.metrics.scoring.matching import Placed
from limner.model import Model
from limner.text.byte_pair_ids import BytePairIds
from tests.shared.matching_models import fresh

CAPTIONS = ["a red flower", "the blue bird at night"]


class Brightness:
    """A matching model whose order is known: captions of red things want light pictures, others dark ones."""

    name, content_hash = "brightness", "0"

    def __init__(self) -> None:
        self.seen: list[int] = []

    def embed_captions(self, captions: list[str]) -> Tensor:
        return torch.tensor([[1.0 if "red" in caption else -1.0] for caption in captions])

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        self.seen.append(len(pictures))
        return pictures.double().mean((1, 2, 3))[:, None].float()

    def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
        return pictures @ captions.T


def expected(model: Model, caption: str, candidates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """All candidates of a caption as `generate` paints them, and what the judge above says of them."""
    pictures = np.stack([np.asarray(picture) for picture in model.generate(caption, candidates, seed)])
    sign = 1 if "red" in caption else -1
    return pictures, sign * to_float(to_tensor(pictures)).double().mean((1, 2, 3)).numpy()


def test_the_best_of_32_are_the_highest_and_are_those_of_generate(tiny_model: Model) -> None:
    found = rerank(tiny_model, CAPTIONS, Similarity(Brightness()), count=4, candidates=32, seed=3)
    assert [each.caption for each in found] == CAPTIONS and all(each.candidates == 32 for each in found)
    for each in found:
        pictures, scores = expected(tiny_model, each.caption, 32, 3)
        assert len(np.unique(scores)) > 8, "or nothing is ranked"
        assert len(set(each.numbers)) == 4 and np.all(np.diff(each.scores) <= 0)
        np.testing.assert_allclose(
            each.scores, np.sort(scores)[::-1][:4], atol=2 / 255
        )  # a level more or less, for other batches' rounding
        np.testing.assert_allclose(scores[each.numbers], each.scores, atol=2 / 255)
        assert np.abs(pictures[each.numbers].astype(int) - each.pictures).max() <= 1
        for number, picture in zip(each.numbers, each.pictures):  # alone as among 32
            assert np.abs(tiny_model.pictures([each.caption], [number], 3)[0].astype(int) - picture).max() <= 1
    assert strip(found).height > 2 * 128


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_batches_are_no_larger_and_change_nothing(tiny_model: Model, batch_size: int) -> None:
    judge, told = Brightness(), []
    few = rerank(
        tiny_model, CAPTIONS, Similarity(judge), count=3, candidates=13, batch_size=batch_size, progress=lambda *now: told.append(now[:2])
    )
    assert max(judge.seen) <= batch_size and sum(judge.seen) == 26 and told[-1] == (26, 26) and len(told) == len(judge.seen)
    for each in few:
        _, scores = expected(tiny_model, each.caption, 13, 0)
        np.testing.assert_allclose(each.scores, np.sort(scores)[::-1][:3], atol=2 / 255)


def test_ties_go_to_the_earlier_and_all_may_be_kept(tiny_model: Model) -> None:
    (alike,) = rerank(tiny_model, CAPTIONS[:1], lambda captions, pictures: torch.ones(len(captions)), count=5, candidates=16, batch_size=3)
    assert alike.numbers.tolist() == [0, 1, 2, 3, 4]
    (every,) = rerank(tiny_model, CAPTIONS[:1], Similarity(Brightness()), count=16, candidates=16, batch_size=3)
    assert sorted(every.numbers) == list(range(16)) and np.all(np.diff(every.scores) <= 0)
    halves = iter([torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, 0.0, 1.0])])
    (three,) = rerank(tiny_model, CAPTIONS[:1], lambda captions, pictures: next(halves), count=4, candidates=6, batch_size=3)
    assert three.numbers.tolist() == [1, 3, 5, 0]


def test_a_matching_model_scores_each_picture_with_its_own_caption(tiny_model: Model) -> None:
    torch.manual_seed(0)
    settings = SJESettings(encoder="bag-of-words", width=16, picture_channels=4)
    model = fresh(SJE, settings, open_data("garden", "train", 32, length=8), 32)
    judge = Placed(model, "SJE", 32, "0")  # at twice the side of the pictures
    found = rerank(tiny_model, CAPTIONS, Similarity(judge), count=2, candidates=6)
    for each in found:
        shown = judge.embed_pictures(to_float(to_tensor(each.pictures)))
        own = (shown @ judge.embed_captions([each.caption]).T)[:, 0].numpy()
        np.testing.assert_allclose(each.scores, own, rtol=1e-4, atol=1e-5)
    with pytest.raises(SettingsError, match="the judge knows none of the words in 'bird tree'"):
        rerank(tiny_model, ["bird tree"], Similarity(judge))


def test_dall_e_reads_the_text_of_all_candidates_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    encoder = BytePairIds.learn(CAPTIONS * 2, 270, 6)
    values = {
        **SMALL,
        "halvings": 3,
        "guidance": 1.0,
        "dvae_width": 8,
        "code_width": 8,
        "width": 16,
        "depth": 2,
        "vocabulary": 270,
        "context_length": 6,
    }
    method = DALLE(DALLESettings(**values), Conditions(resolution=32, sentence_width=0, word_width=0))
    read, texts = method.transformer.read, []
    monkeypatch.setattr(method.transformer, "read", lambda ids: texts.append(len(ids)) or read(ids))
    found = rerank(Model(method, encoder), CAPTIONS, Similarity(Brightness()), count=2, candidates=32, batch_size=32)
    assert texts == [1, 1]
    for each in found:
        _, scores = expected(Model(method, encoder), each.caption, 32, 0)
        np.testing.assert_allclose(each.scores, np.sort(scores)[::-1][:2], atol=2 / 255)


def test_what_cannot_be_ranked_is_refused(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    score = Similarity(Brightness())
    with pytest.raises(SettingsError, match="--of is 3 and -n is 4"):
        rerank(tiny_model, CAPTIONS, score, count=4, candidates=3)
    with pytest.raises(SettingsError, match="-n is 0"):
        rerank(tiny_model, CAPTIONS, score, count=0)
    with pytest.raises(SettingsError, match="the model knows none of the words"):
        rerank(tiny_model, ["zebra"], score)
    with pytest.raises(SettingsError, match="not numbers"):
        rerank(tiny_model, CAPTIONS, lambda captions, pictures: torch.full((len(captions),), torch.nan), candidates=4)
    with monkeypatch.context() as patch, pytest.raises(SettingsError, match="2 pictures that belong together"):
        patch.setattr(type(tiny_model.method), "rows", 2)
        rerank(tiny_model, CAPTIONS, score)
    with monkeypatch.context() as patch, pytest.raises(SettingsError, match="the model reads no text"):
        patch.setattr(tiny_model.encoder, "reads", False)
        rerank(tiny_model, [""], score)
