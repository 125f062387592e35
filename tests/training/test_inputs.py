"""What a run reads is known by its content: it goes on wherever that lies now, and refuses anything else."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shared.pictures import prepared
from torch import nn

from limner.core.errors import LimnerError, SettingsError
from limner.core.recipes import from_preset, load_recipe, save_recipe, with_settings
from limner.core.settings import Recipe
from limner.text.recurrent import RecurrentEncoder
from limner.text.saving import load_encoder, save_encoder
from limner.training.inputs import RECORD, content, find_inputs, write_inputs
from limner.training.run import train
from limner.training.trained import trained_on

CAPTIONS = [(split, f"a {colour} bird") for split in ("train", "train", "train", "val") for colour in ("red", "blue", "green")]


@pytest.fixture(scope="module")
def first_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with data, other data, a finished run on the first, and one that reads through the text encoder of that."""
    home = tmp_path_factory.mktemp("project")
    prepared(home / "sets" / "birds", CAPTIONS)
    prepared(home / "sets" / "others", CAPTIONS, shade=90)
    before = Path.cwd()
    os.chdir(home)
    try:
        train(recipe("sets/birds"), "runs/a")
        train(recipe("sets/birds", encoder="runs/a"), "runs/b")
    finally:
        os.chdir(before)
    return home


@pytest.fixture
def home(first_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That project in another place, with the old one out of reach, as on another machine; the current folder."""
    copy, hidden = tmp_path / "moved", first_home.with_name("hidden")
    shutil.copytree(first_home, copy)
    first_home.rename(hidden)
    monkeypatch.chdir(copy)
    yield copy
    hidden.rename(first_home)


def recipe(data: str, steps: int = 2, encoder: str | None = None) -> Recipe:
    made = from_preset("gan-cls", "cpu", data, 16)
    values = {"steps": steps, "log_every": 1, "checkpoint_every": 100, "sample_every": 100, "device": "cpu"}
    return dataclasses.replace(
        made,
        method_settings=dataclasses.replace(made.method_settings, generator_channels=4, discriminator_channels=4, batch_size=4),
        training=dataclasses.replace(made.training, **values),
        text=dataclasses.replace(made.text, steps=2, batch_size=4, width=16, encoder=encoder),
    )


def longer(run: Path | str, **changes: Any) -> Recipe:
    """The run's own recipe for a step more, with other text in some settings."""
    stored = load_recipe(Path(run) / "recipe.yaml")
    encoder = changes.pop("encoder", stored.text.encoder)
    stored = dataclasses.replace(stored, text=dataclasses.replace(stored.text, encoder=encoder), **changes)
    assert stored.training.steps is not None
    return dataclasses.replace(stored, training=dataclasses.replace(stored.training, steps=stored.training.steps + 1))


def test_a_project_that_has_moved_as_a_whole_goes_on(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(longer("runs/a"), "runs/a", resume=True).steps == 5
    assert "data moved: going on with sets/birds" in capsys.readouterr().err
    assert load_recipe("runs/a/recipe.yaml").data == "sets/birds"
    assert json.loads((home / "runs/a" / RECORD).read_text())["inputs"]["data"]["place"] == str(home / "sets/birds")
    train(longer("runs/a"), "runs/a", resume=True)
    assert "moved" not in capsys.readouterr().err


@pytest.mark.parametrize("old", [False, True], ids=["", "begun by an earlier version"])
def test_a_run_goes_on_from_another_folder(old: bool, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if old:
        (home / "runs/a" / RECORD).unlink()
    (home / "elsewhere" / "sets" / "birds").mkdir(parents=True)  # another thing of the same name is not taken for it
    if old:
        shutil.rmtree(home / "elsewhere" / "sets")
    monkeypatch.chdir(home / "elsewhere")
    assert trained_on(str(home / "runs/a"), {}) == str(home / "sets/birds")
    assert train(longer(home / "runs/a"), home / "runs/a", resume=True).steps == 5
    assert load_recipe(home / "runs/a/recipe.yaml").data == str(home / "sets/birds")


@pytest.mark.parametrize("old", [False, True], ids=["", "begun by an earlier version"])
@pytest.mark.parametrize("gone", [False, True])
def test_data_may_be_named_anew_if_they_are_the_same(old: bool, gone: bool, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if old:
        (home / "runs/a" / RECORD).unlink()
    (shutil.move if gone else shutil.copytree)("sets/birds", "disk")
    if gone:
        with pytest.raises(SettingsError, match="its data is not at sets/birds: give its new place by --data DIR"):
            train(longer("runs/a"), "runs/a", resume=True)
    with pytest.raises(LimnerError, match=r"sets/others is not what runs/a was begun with.*fingerprint is \w{16}, and .*was \w{16}"):
        train(longer("runs/a", data="sets/others"), "runs/a", resume=True)
    assert load_recipe("runs/a/recipe.yaml").data == "sets/birds"
    with pytest.raises(SettingsError, match="runs/a was begun with data sets/birds, not garden"):
        train(longer("runs/a", data="garden"), "runs/a", resume=True)
    capsys.readouterr()
    assert train(longer("runs/a", data="disk"), "runs/a", resume=True).steps == 5
    assert "data moved: going on with disk" in capsys.readouterr().err
    assert "\ndata: disk\n" in Path("runs/a/model/README.md").read_text()
    shutil.copytree("disk", "again")  # a finished run learns it too, and nothing else
    train(dataclasses.replace(longer("runs/a", data="again"), training=load_recipe("runs/a/recipe.yaml").training), "runs/a", resume=True)
    assert load_recipe("runs/a/recipe.yaml") == dataclasses.replace(longer("runs/a", data="again"), training=_training("runs/a"))


def _training(run: str) -> Any:
    return load_recipe(Path(run) / "recipe.yaml").training


def test_a_text_encoder_may_lie_elsewhere_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree("runs/a", "words")
    shutil.copytree("runs/b", "other-words")
    with pytest.raises(SettingsError, match="other-words is not what runs/b was begun with: its fingerprint is"):
        train(longer("runs/b", encoder="other-words"), "runs/b", resume=True)
    shutil.rmtree("runs/a")
    with pytest.raises(SettingsError, match="its text.encoder is not at runs/a: give its new place by --text.encoder DIR"):
        train(longer("runs/b"), "runs/b", resume=True)
    with pytest.raises(SettingsError, match="--text.encoder is lost/, and there is no such"):
        train(longer("runs/b", encoder="lost/"), "runs/b", resume=True)
    train(longer("runs/b", encoder="words"), "runs/b", resume=True)
    assert "text.encoder moved: going on with words" in capsys.readouterr().err
    assert load_recipe("runs/b/recipe.yaml").text.encoder == "words"


def test_an_encoder_whose_run_has_trained_on_is_still_the_encoder(home: Path) -> None:
    train(longer("runs/b"), "runs/b", resume=True)  # its places are those of this project now
    train(longer("runs/a"), "runs/a", resume=True)
    assert train(longer("runs/b"), "runs/b", resume=True).steps == 4


@pytest.mark.parametrize("words", ["in another order", "fewer"])
def test_an_encoder_of_other_words_in_the_same_place_is_refused(words: str, home: Path) -> None:
    train(longer("runs/b"), "runs/b", resume=True)  # its places are those of this project now
    encoder = load_encoder("runs/a")
    assert isinstance(encoder, RecurrentEncoder)
    known = encoder.tokenizer
    kept = [*reversed(known.vocabulary)][: None if words == "in another order" else 2]
    encoder.tokenizer = type(known)(kept, known.maximum_words, known.synonyms, known.splitting)
    encoder.embedding = nn.Embedding(len(encoder.tokenizer), encoder.embedding.embedding_dim, padding_idx=0)
    shutil.rmtree("runs/a")
    save_encoder(encoder, "runs/a")
    before = Path("runs/b/log.jsonl").read_text()
    with pytest.raises(SettingsError, match="the text encoder of runs/a is not the one that runs/b was begun with"):
        train(longer("runs/b"), "runs/b", resume=True)
    assert Path("runs/b/log.jsonl").read_text() == before


def test_a_hash_follows_what_is_held_and_not_how_it_is_called(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "part").mkdir(parents=True)
        (tmp_path / name / "part" / "weights").write_bytes(b"0" * 3_000_000)
    before = content("method.matching", tmp_path / "one")
    (tmp_path / "one" / "README.md").write_text("a card")
    assert content("method.matching", tmp_path / "one") == before == content("method.matching", tmp_path / "two")
    (tmp_path / "two" / "part" / "weights").rename(tmp_path / "two" / "weights")
    assert content("method.matching", tmp_path / "two") != before
    assert content("data", tmp_path / "one") is None  # no prepared set


def test_a_word_is_no_path_whatever_lies_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the split val, next to the folders of a set. What can be a path is one of the file's own, behind its NAME= too."""
    here, run = tmp_path / "here", tmp_path / "run"
    for folder in (run, here, here / "runs=1"):
        folder.mkdir()
    monkeypatch.chdir(here)
    for word in ("val", "new", "cpu", "fid", "recurrent", "tv-inception", "vgg16", "weights", "mine"):
        Path(word).write_text("a file")
    made = from_preset("gan-cls", "cpu", "garden", 16)
    made = dataclasses.replace(
        made,
        training=dataclasses.replace(made.training, wandb="mine", device="cpu"),
        evaluation=dataclasses.replace(made.evaluation, features="vgg16=weights"),
        text=dataclasses.replace(made.text, encoder="runs=1"),
    )
    write_inputs(made, run)
    write_inputs(from_preset("vs-similarity", "as-published", "garden"), here)
    assert json.loads((here / RECORD).read_text())["inputs"] == {}
    assert set(json.loads((run / RECORD).read_text())["inputs"]) == {"evaluation.features", "text.encoder"}
    monkeypatch.chdir(tmp_path)
    found = find_inputs(made, made, run)
    placed = {"evaluation.features": f"vgg16={here / 'weights'}", "text.encoder": str(here / "runs=1")}
    assert found.recipe == with_settings(made, placed)
    save_recipe(found.recipe, run / "recipe.yaml")
    assert load_recipe(run / "recipe.yaml") == found.recipe


def test_the_card_s_recipe_can_be_used(home: Path) -> None:
    text = re.search(r"```yaml\n(.*?)```", Path("runs/a/model/README.md").read_text(), re.DOTALL)
    assert text is not None
    Path("copied.yaml").write_text(text[1])
    assert train(load_recipe("copied.yaml"), "runs/again").steps == 4
    assert (home / "runs/again/model/model.safetensors").read_bytes() == (home / "runs/a/model/model.safetensors").read_bytes()
