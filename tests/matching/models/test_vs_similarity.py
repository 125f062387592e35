from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from shared.matching_models import fresh

from limner.core.errors import SettingsError
from limner.core.settings import DataSettings
from limner.core.trainable import Progress, Update
from limner.data.catalog import GardenPictures, open_data
from limner.data.loader import Loader
from limner.matching.models.vs_similarity import VSSimilarity, VSSimilaritySettings
from limner.matching.saving import load_matching, save_matching
from limner.matching.scores.retrieval import retrieval
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.text.saving import load_shipped_encoder, save_encoder

SETTINGS = VSSimilaritySettings(pictures="garden", views=1, text_width=16, width=32, batch_size=24)
START = Progress(phase="ranking", step=0, steps=100, images=0, epoch=0.0)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def flowers() -> GardenPictures:
    pictures = open_data("garden", "train", 32, DataSettings(garden_pictures=48))
    assert isinstance(pictures, GardenPictures)
    return pictures


def made(flowers: GardenPictures, **changes) -> VSSimilarity:
    torch.manual_seed(0)
    return fresh(VSSimilarity, dataclasses.replace(SETTINGS, **changes), flowers, 32)


def test_the_loss_is_the_sum_of_hinges(flowers: GardenPictures) -> None:
    model = made(flowers)
    batch = Loader(flowers, model.phases()[0], seed=0).batch(0)
    (update,) = model.training_step(batch, START)
    assert model.table is not None
    text = model.embed_captions([own[0] for own in batch.captions])
    pictures = model._embed_features(model.table[torch.from_numpy(batch.indices), 0])
    torch.testing.assert_close(pictures.norm(dim=1), torch.ones(24))
    scores, expected = pictures @ text.T, torch.zeros(())
    for own in range(24):
        for other in set(range(24)) - {own}:
            expected = expected + (0.2 + scores[own, other] - scores[own, own]).clamp_min(0)
            expected = expected + (0.2 + scores[other, own] - scores[own, own]).clamp_min(0)
    torch.testing.assert_close(update.loss, expected)


def test_it_learns_over_frozen_features_and_comes_back_from_disk(flowers: GardenPictures, tmp_path: Path) -> None:
    model = made(flowers, encoder="garden")
    model.train()
    loader, (player,) = Loader(flowers, model.phases()[0], seed=0), model.players().values()
    assert not model.encoder.training and len(list(player.module.parameters())) == 4
    optimizer = torch.optim.Adam(player.module.parameters(), lr=3e-3)
    updates: list[Update] = []
    for step in range(60):
        (update,) = model.training_step(loader.batch(step), START)
        optimizer.zero_grad()
        update.loss.backward()
        optimizer.step()
        updates.append(update)
    assert updates[-1].loss < updates[0].loss / 4
    model.eval()
    before = load_shipped_encoder("garden")(["a pink flower"]).sentence
    assert torch.equal(model.encoder(["a pink flower"]).sentence, before)  # frozen
    assert retrieval(model, flowers, pool=48)["picture_to_caption_5"] > 0.5

    save_matching(tmp_path / "model", "vs-similarity", model, {}, "a card")
    again = load_matching(tmp_path / "model")
    assert again.looks_with == model.looks_with and again.looks_with.startswith("garden ")
    assert torch.equal(again.embed_captions(["a pink flower"]), model.embed_captions(["a pink flower"]))


def test_which_encoder_is_trained_along(flowers: GardenPictures, tmp_path: Path) -> None:
    saved = LSTMEncoder(Vocabulary(["a", "flower"]), LSTMSettings(word_embedding=4, width=6))
    save_encoder(saved, tmp_path / "encoder")
    for name, kind, along in (
        ("attngan", "attngan", True),
        ("bag-of-words", "bag-of-words", True),
        (str(tmp_path / "encoder"), "attngan", False),
    ):
        model = made(flowers, encoder=name)
        (player,) = model.players().values()
        trained = {id(parameter) for parameter in player.module.parameters()}
        assert model.encoder.kind == kind and model.train().encoder.training is along
        assert all((id(parameter) in trained) is along for parameter in model.encoder.parameters())
    with pytest.raises(SettingsError, match="method.encoder is 'gardn'"):
        made(flowers, encoder="gardn")
