from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from limner.core.batch import Batch
from limner.core.errors import DataError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.core.trainable import Conditions, Progress, Update
from limner.data.garden.garden import Garden
from limner.data.garden.words import garden_tokenizer
from limner.matching.scores.retrieval import retrieval
from limner.parts.text import CaptionMatching, CaptionMatchingSettings
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings

START = Progress(phase="text", step=0, steps=100, images=0, epoch=0.0)
SETTINGS = CaptionMatchingSettings(sentence_width=32, picture_channels=16, resolution=32, word_dropout=0.0, batch_size=32)


class Flowers(CaptionedPictures):
    """A small garden split as a set of captioned pictures, with a margin of two pixels round each."""

    def __init__(self, split: str, length: int) -> None:
        self.garden = Garden(split, length=length, resolution=32)
        self.name, self.split, self.resolution, self.stored_resolution = "garden", split, 32, 36

    def __len__(self) -> int:
        return len(self.garden)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.pad(self.garden.pictures(indices), ((0, 0), (2, 2), (2, 2), (0, 0)))

    def captions(self, index: int) -> list[str]:
        return [self.garden.caption(index, k).text for k in range(2)]

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return np.full(len(self), 2)

    def key(self, index: int) -> str:
        return self.garden.key(index)

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self.garden.counterfactual(index, caption, draw).text

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        pixels = torch.from_numpy(self.garden.pictures(indices)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return Batch(
            pictures=pixels,
            captions=[[self.captions(index)[0]] for index in indices.tolist()],
            texts=(),
            indices=indices,
            samples=indices,
            seed=0,
            counterfactual_captions=[[self.counterfactual(index, 0, 0)] for index in indices.tolist()],
        )


@pytest.fixture
def model() -> CaptionMatching:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(garden_tokenizer(), RecurrentSettings(word_embedding=24, hidden=24, sentence_width=32))
    return CaptionMatching(SETTINGS, Conditions(resolution=32, sentence_width=32), encoder)


def step(model: CaptionMatching, batch: Batch) -> Update:
    (update,) = model.training_step(batch, START)
    return update


def test_matching_learns_pictures_and_counterfactuals(model: CaptionMatching) -> None:
    flowers = Flowers("train", 24)
    batch = flowers.batch(np.arange(24))
    player = model.players()["matching"]
    optimizer = torch.optim.Adam(player.module.parameters(), lr=3e-3)
    first = step(model, batch)
    for _ in range(50):
        optimizer.zero_grad()
        update = step(model, batch)
        update.loss.backward()
        optimizer.step()
    assert update.loss < first.loss / 2
    assert update.metrics["counterfactual"] > 0.9 and update.metrics["picture_to_caption"] > 0.8
    scores = retrieval(model, flowers, pool=24)
    assert scores["count"] == 24 and scores["caption_to_picture_5"] > 0.4 > 5 / 24
    assert scores["picture_to_caption_1"] <= scores["picture_to_caption_5"]
    with pytest.raises(DataError, match="fewer than 100 captioned pictures"):
        retrieval(model, flowers)


def test_captions_that_read_the_same_are_no_mistake(model: CaptionMatching) -> None:
    batch = Flowers("train", 4).batch(np.arange(4))
    batch.counterfactual_captions = None
    batch.captions = [["a pink flower"]] * 4
    assert step(model, batch).loss == 0.0
    batch.captions = [["a pink flower"]] * 3 + [["a blue flower"]]
    assert step(model, batch).loss > 0.1


def test_words_left_out_make_no_mistakes_of_captions_that_read_the_same(model: CaptionMatching) -> None:
    dropping = CaptionMatching(CaptionMatchingSettings(**{**vars(SETTINGS), "word_dropout": 0.3}), model.conditions, model.encoder)
    batch = Flowers("train", 4).batch(np.arange(4))
    batch.captions = [["a pink flower in a green meadow"], ["A pink flower, in a green meadow"]] * 2
    batch.counterfactual_captions = [[own[0].lower()] for own in batch.captions]
    assert step(dropping, batch).loss == 0.0
    batch.counterfactual_captions = [[own[0].replace("pink", "blue")] for own in batch.captions]
    assert step(dropping, batch).loss > 0.1


def test_a_counterfactual_caption_is_one_more_wrong_answer_unless_it_is_the_true_one(model: CaptionMatching) -> None:
    batch = Flowers("train", 8).batch(np.arange(8))
    with_changed = step(model, batch)
    batch.counterfactual_captions = [own[:1] for own in batch.captions]
    with_own = step(model, batch)
    batch.counterfactual_captions = None
    without = step(model, batch)
    assert with_changed.loss > without.loss + 1e-3 and torch.allclose(with_own.loss, without.loss)
    assert "counterfactual" not in without.metrics


def test_classes_can_be_left_out_of_the_wrong_answers(model: CaptionMatching) -> None:
    batch = Flowers("train", 6).batch(np.arange(6))
    batch.counterfactual_captions, batch.classes = None, torch.zeros(6, dtype=torch.int64)
    masked = CaptionMatching(CaptionMatchingSettings(**{**vars(SETTINGS), "mask_classes": True}), model.conditions, model.encoder)
    assert step(model, batch).loss > 0.1 and step(masked, batch).loss == 0.0


def test_a_picture_does_not_depend_on_its_neighbours(model: CaptionMatching) -> None:
    pictures = Flowers("train", 6).batch(np.arange(6)).pictures
    assert torch.allclose(model.embed_pictures(pictures)[2:3], model.embed_pictures(pictures[2:3]), atol=1e-6)


def test_the_phase_asks_for_what_the_step_uses(model: CaptionMatching) -> None:
    (phase,) = model.phases()
    assert (phase.name, phase.encoded, phase.counterfactuals, phase.resolution, phase.batch_size) == ("text", False, 1, 32, 32)
    factor = model.players()["matching"].learning_rate_factor
    assert factor is not None
    rates = [factor(Progress(phase="text", step=at, steps=1000, images=0, epoch=0)) for at in (0, 99, 500, 999)]
    assert rates[0] < 0.02 and rates[1] > 0.95 and 0.4 < rates[2] < 0.6 and rates[3] < 0.001


def test_settings_that_do_not_fit_are_refused(model: CaptionMatching) -> None:
    with pytest.raises(SettingsError, match="sentence widths differ: 32 .* 32 .* 64"):
        CaptionMatching(SETTINGS, Conditions(resolution=32, sentence_width=64), model.encoder)
    with pytest.raises(SettingsError, match="power of two"):
        CaptionMatching(CaptionMatchingSettings(**{**vars(SETTINGS), "resolution": 48}), model.conditions, model.encoder)
