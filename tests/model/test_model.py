"""Saved models: whole, checked, and the same pictures again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limner.core.errors import CheckpointError, SettingsError
from limner.core.trainable import Conditions
from limner.methods.gan_cls import GANCLS, GANCLSSettings
from limner.model import Model, load, save_model, shipped_models
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    widths = RecurrentSettings(word_embedding=4, hidden=4, sentence_width=6)
    encoder = RecurrentEncoder(WordTokenizer.build(["a red flower", "a blue flower"]), widths)
    settings = GANCLSSettings(generator_channels=4, discriminator_channels=4)
    return Model(GANCLS(settings, Conditions(resolution=16, sentence_width=6)), encoder)


def save(model: Model, folder: Path) -> Path:
    save_model(folder, "gan-cls", model.method, model.encoder, {"data": "test"}, "# A card")
    return folder


def test_saved_and_loaded_models_paint_the_same(model: Model, tmp_path: Path) -> None:
    again = load(save(model, tmp_path / "model"))
    captions = ["a red flower", "a blue flower"]
    assert np.array_equal(model.pictures(captions, [0, 1], seed=5), again.pictures(captions, [0, 1], seed=5))
    assert again.resolution == 16 and again.about == {"data": "test"}
    names = set(load_names(tmp_path / "model"))
    assert any(name.startswith("method.generator.") for name in names) and not any("discriminator" in name for name in names)


def load_names(folder: Path) -> list[str]:
    from safetensors.torch import load_file

    return list(load_file(folder / "model.safetensors"))


def test_generate(model: Model) -> None:
    four = model.generate(["a red flower", "a blue flower"], n=2, seed=7)
    assert [picture.size for picture in four] == [(16, 16)] * 4
    alone = model.generate("a blue flower", n=2, seed=7)
    assert np.abs(np.asarray(four[2]).astype(int) - np.asarray(alone[0])).max() <= 1  # the same picture in another batch
    assert not np.array_equal(np.asarray(alone[0]), np.asarray(alone[1]))
    assert not np.array_equal(np.asarray(alone[0]), np.asarray(model.generate("a blue flower", seed=8)[0]))


@pytest.mark.parametrize(
    ("caption", "message"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("a " * 5000, "10,000 characters"),
        ("красный цветок", "none of the words"),
        ("!!!", "none of the words"),
    ],
)
def test_captions_it_cannot_paint(model: Model, caption: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        model.generate(caption)


@pytest.mark.parametrize("arguments", [{"n": 1.5}, {"n": "2"}, {"batch_size": 2.0}, {"caption": [None]}, {"caption": b"a red flower"}])
def test_arguments_of_another_kind_are_named(model: Model, arguments: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="give a whole number, at least 1|give a text, or a list of them"):
        model.generate(**({"caption": "a red flower"} | arguments))


def test_unknown_words(model: Model) -> None:
    assert model.unknown_words("a red tractor") == ["tractor"]
    assert len(model.generate("a red tractor")) == 1


def test_damaged_and_foreign_folders(model: Model, tmp_path: Path) -> None:
    folder = save(model, tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-10])
    with pytest.raises(CheckpointError, match="cut short or changed"):
        load(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"version": 99}))
    with pytest.raises(CheckpointError, match="version 99 of the format, this Limner reads version 2"):
        load(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"does not hold a model that paints captions \(it has no config.json\): give a run"):
        load(tmp_path / "empty")
    (tmp_path / "words.txt").touch()
    with pytest.raises(CheckpointError, match=r"words.txt does not hold a model that paints captions"):
        load(tmp_path / "words.txt")
    with pytest.raises(CheckpointError, match="the name of the model is empty"):
        load("")
    with pytest.raises(CheckpointError, match="there is no folder"):
        load(tmp_path / "not" / "there")
    with pytest.raises(SettingsError, match="no shipped model or folder 'gardem'"):
        load("gardem")


def test_a_failed_save_leaves_the_old_model(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(model, tmp_path / "model")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(CheckpointError, match=r"cannot write .* \(No space left on device\): free some space"):
        save(model, folder)
    assert load(folder).resolution == 16
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_shipped_models() -> None:
    for name in shipped_models():
        model = load(name)
        assert len(model.generate("a red flower with five petals")) == 1
