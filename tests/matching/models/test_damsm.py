from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.matching_models import fresh

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.settings import DataSettings
from limner.core.trainable import Progress, Update
from limner.data.catalog import GardenPictures, open_data
from limner.data.loader import Loader
from limner.features.inception import TorchvisionInception
from limner.features.squeezenet import SqueezeNet
from limner.matching.models import damsm
from limner.matching.models.damsm import DAMSM, INSIDE, DAMSMSettings
from limner.matching.saving import load_matching, save_matching
from limner.matching.scores.retrieval import retrieval
from limner.matching.towers.colourless import some_colourless
from limner.matching.towers.regions import FrozenRegions
from limner.text.lstm import LSTMEncoder
from limner.text.saving import load_encoder

SMALL = {"width": 24, "word_embedding": 16, "picture_channels": 8, "batch_size": 24, "dropout": 0.0}
SETTINGS = DAMSMSettings(**{**DAMSM.presets["cpu"].method, **SMALL})
START = Progress(phase="damsm", step=0, steps=100, images=0, epoch=0.0)


@pytest.fixture(scope="module")
def flowers() -> GardenPictures:
    pictures = open_data("garden", "train", 32, DataSettings(garden_pictures=24))
    assert isinstance(pictures, GardenPictures)
    return pictures


def made(flowers: GardenPictures, **changes) -> tuple[DAMSM, Batch]:
    torch.manual_seed(0)
    model = fresh(DAMSM, dataclasses.replace(SETTINGS, **changes), flowers, 32)
    return model, Loader(flowers, model.phases()[0], seed=0).batch(0)


def gradients(model: DAMSM, updates: list[Update]) -> dict[str, torch.Tensor]:
    found = {}
    for update in updates:
        module = model.players()[update.player].module
        parameters = dict(module.named_parameters())
        for (name, _), slope in zip(parameters.items(), torch.autograd.grad(update.loss, list(parameters.values())), strict=True):
            found[f"{update.player} {name}"] = slope
    return found


@pytest.mark.parametrize("changes", [{}, {"captions": 1, "learned_sharpness": True, "colourless": 0.5}])
def test_two_players_share_the_gradient_of_one_loss(flowers: GardenPictures, changes) -> None:
    model, batch = made(flowers, **changes)
    updates = list(model.training_step(batch, START))
    assert [update.player for update in updates] == ["text", "pictures"]
    losses = _losses(model, batch)
    whole = losses["words"] + losses["sentences"]
    for update in updates:
        torch.testing.assert_close(update.loss, whole)
    found = gradients(model, updates)
    expected = gradients(model, [Update(player, whole_loss) for player, whole_loss in _again(model, batch)])
    assert found.keys() == expected.keys() and len(found) > 10
    for name, slope in expected.items():
        torch.testing.assert_close(found[name], slope, msg=lambda text, name=name: f"{name}: {text}")


def _again(model: DAMSM, batch: Batch):
    for player in model.players():
        losses = _losses(model, batch)
        yield player, losses["words"] + losses["sentences"]


def _losses(model: DAMSM, batch: Batch) -> dict[str, torch.Tensor]:
    assert batch.counterfactual_captions is not None
    columns = [list(column) for rows in (batch.captions, batch.counterfactual_captions) for column in zip(*rows, strict=True)]
    text = model.encoder([caption for column in columns for caption in column])
    regions, pictures = model.picture_side(some_colourless(batch.pictures, model.settings.colourless, batch.seed, batch.samples))
    sharpness = torch.tensor(model.sharpness) if model.log_sharpness is None else model.log_sharpness.exp()
    return model._losses(text, regions, pictures, [columns], batch.classes, sharpness)[0]


def test_it_learns_by_words_and_by_sentences_and_comes_back_from_disk(flowers: GardenPictures, tmp_path: Path) -> None:
    model, batch = made(flowers)
    model.train()
    players = model.players()
    optimizers = {name: torch.optim.Adam(player.module.parameters(), lr=1e-2) for name, player in players.items()}
    history = []
    for _ in range(120):
        for update in model.training_step(batch, START):
            optimizers[update.player].zero_grad()
            update.loss.backward(inputs=list(players[update.player].module.parameters()))
            optimizers[update.player].step()
            if update.metrics:
                history.append({"loss": update.loss.item(), **{name: value.item() for name, value in update.metrics.items()}})
    first, last = history[0], history[-1]
    assert last["words_loss"] < first["words_loss"] / 2 and last["sentences_loss"] < first["sentences_loss"] / 2
    assert last["counterfactual"] > 0.8 and last["counterfactual_by_words"] > 0.8
    model.eval()
    captions = [own[0] for own in batch.captions]
    with torch.no_grad():
        scores = model.word_scores(batch.pictures, captions)
    assert (scores.argmax(1) == torch.arange(len(captions))).float().mean() > 0.6
    assert retrieval(model, flowers, pool=24)["picture_to_caption_5"] > 0.4 > 5 / 24

    save_matching(tmp_path / "model", "damsm", model, {}, "a card")
    again = load_matching(tmp_path / "model")
    assert isinstance(again, DAMSM) and again.looks_with == ""
    with torch.no_grad():
        assert torch.equal(again.word_scores(batch.pictures, captions), scores)
    encoder = load_encoder(tmp_path / "model")
    assert isinstance(encoder, LSTMEncoder)
    with torch.no_grad():
        assert torch.equal(encoder(captions).sentence, model.encoder(captions).sentence)


def test_what_is_masked(flowers: GardenPictures) -> None:
    model, _ = made(flowers)
    captions, classes = ["A  b", "b", "a b", "c"], torch.tensor([1, 1, 2, 3])
    same = model._same(captions, classes, torch.device("cpu"))
    assert same is not None
    assert np.argwhere(np.triu(same.numpy(), 1)).tolist() == [[0, 1], [0, 2]]  # a class, a caption
    neither, _ = made(flowers, mask_classes=False, mask_captions=False)
    assert neither._same(captions, classes, torch.device("cpu")) is None


def test_long_captions_are_thinned_in_training_and_cut_elsewhere(flowers: GardenPictures) -> None:
    model, batch = made(flowers, maximum_words=3)
    captions = [own[0] for own in batch.captions]
    thinned = model._thinned(captions, batch)
    assert thinned == model._thinned(captions, batch)
    prefixes = 0
    for caption, short in zip(captions, thinned, strict=True):
        words, rest = model.encoder.vocabulary.known(caption), iter(model.encoder.vocabulary.known(caption))
        assert len(short.split()) == min(3, len(words)) and all(word in rest for word in short.split())  # in their order
        prefixes += short.split() == words[:3]
    assert prefixes < len(captions) / 2
    assert torch.equal(model.embed_captions([captions[0]]), model.embed_captions([" ".join(captions[0].split()[:3])]))


def test_thinned_captions_that_read_the_same_are_no_mistakes(flowers: GardenPictures) -> None:
    model, batch = made(flowers, maximum_words=3, captions=1, mask_classes=False)
    long = " ".join(dict.fromkeys(word for own in batch.captions for word in model.encoder.vocabulary.known(own[0])))
    batch.captions = [[long], [long.upper()]] * (len(batch) // 2)
    batch.counterfactual_captions = [[long]] * len(batch)
    assert len(set(model._thinned([long] * len(batch), batch))) > 1
    assert all(update.loss.item() == 0.0 for update in model.training_step(batch, START))


def test_inception_stays_frozen_and_out_of_what_is_saved(flowers: GardenPictures, monkeypatch: pytest.MonkeyPatch) -> None:
    network = TorchvisionInception(classifier=False)
    monkeypatch.setattr(damsm, "load_regions_network", lambda spec, align_corners: network.freeze())
    model, batch = made(flowers, pictures="tv-inception", batch_size=2)
    model.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = gradients(model, list(model.training_step(batch, START)))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    heads = {name: slope.norm() for name, slope in found.items() if name.startswith("pictures ")}
    assert len(heads) == 3 and all(norm.isfinite() and norm > 0 for norm in heads.values())
    assert isinstance(model.picture_side, FrozenRegions)
    assert not any(module.training for module in model.picture_side.network.modules())
    assert model.looks_with == f"tv-inception {network.content_hash}"
    assert sorted(name for name in model.kept()) == [
        f"picture_side.{name}" for name in ("to_picture.bias", "to_picture.weight", "to_regions.weight")
    ]
    assert len(list(model.players()["pictures"].module.parameters())) == 3
    with pytest.raises(SettingsError, match="as imported models alone are"):
        made(flowers, pictures=INSIDE)


def test_regions_of_squeezenet_are_those_of_any_number_of_pictures_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    side = FrozenRegions(8, SqueezeNet().freeze())
    pictures = torch.rand(6, 3, 24, 24) * 2 - 1
    regions, whole = side(pictures)
    assert regions.shape == (6, 8, 169) and whole.shape == (6, 8)
    monkeypatch.setattr(side.network, "at_once", None)
    for few, many in zip((regions, whole), side(pictures), strict=True):
        torch.testing.assert_close(few, many)
    monkeypatch.setattr(side.network, "at_once", 4)
    shown = pictures.requires_grad_()
    side(shown)[0].sum().backward()
    assert shown.grad is not None and shown.grad.abs().sum() > 0  # a generator is trained through it
