"""Captions on their way into training: what cannot be used is left out and told, and so is what is too long to be read whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from limner.core.errors import DataError, SettingsError
from limner.core.recipes import from_preset, load_recipe, save_recipe
from limner.core.settings import Recipe
from limner.data import prepare as preparing
from limner.data import survey
from limner.data.prepare import prepare
from limner.matching.models.damsm import DAMSM
from limner.model import load
from limner.text.recurrent import RecurrentEncoder
from limner.text.saving import save_encoder
from limner.text.tokenizers import WordTokenizer
from limner.training.plan import make_plan, training_pictures
from limner.training.run import Run, train
from limner.training.text import caption_remarks, every_caption, read_as_before

LONG = " ".join(f"word{number}" for number in range(70))


def prepared(root: Path, texts: list[str]) -> str:
    """A set of one picture a text, all for training, prepared as it was before captions were checked. Returns its folder."""
    source = root / "in/train"
    source.mkdir(parents=True)
    for number, text in enumerate(texts):
        Image.new("RGB", (20, 20), (number * 40 % 250, 100, 200)).save(source / f"p{number:02}.png")
        (source / f"p{number:02}.txt").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for module in (preparing, survey):
            patch.setattr(module, "with_words", lambda sample: (sample, []))
        prepare([root / "in"], root / "set", resolution=32)
    return str(root / "set")


@pytest.fixture(scope="module")
def old_set(tmp_path_factory: pytest.TempPathFactory) -> str:
    texts = [
        "a red flower",
        "...\na blue bird",
        "🌸",
        "!!!\n❤️",
        "a bird\n-",
        "one tree",
        "a tall tree",
        "red and blue",
        "a flower",
        "birds",
    ]
    return prepared(tmp_path_factory.mktemp("old"), texts)


@pytest.fixture(scope="module")
def long_set(tmp_path_factory: pytest.TempPathFactory) -> str:
    return prepared(tmp_path_factory.mktemp("long"), ["a bird", f"{LONG} red", f"{LONG} blue bird", "a tree", "a red flower", "one bird"])


def recipe_of(method: str, data: str, words: int | None = None, **settings: Any) -> Recipe:
    recipe = from_preset(method, "cpu", data, 32)
    quick = {"damsm": {"pictures": "trained"}, "gan-cls": {"generator_channels": 4, "discriminator_channels": 4}}.get(method, {})
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, **{**quick, **settings}),
        text=dataclasses.replace(recipe.text, maximum_words=words, steps=2),
        training=dataclasses.replace(recipe.training, steps=2, device="cpu", batch_size=4),
    )


READERS = [("gan-cls", {}), ("damsm", {}), ("clip", {}), ("sje", {"encoder": "birds/cvpr"}), ("sje", {"encoder": "bag-of-words"})]


@pytest.mark.parametrize(("method", "settings"), READERS)
def test_every_reader_takes_what_is_left_of_an_old_set(old_set: str, method: str, settings: dict[str, Any]) -> None:
    recipe = recipe_of(method, old_set, **settings)
    pictures = training_pictures(recipe)
    captions = list(every_caption(pictures))
    assert sorted(captions) == sorted(
        ["a red flower", "a blue bird", "a bird", "one tree", "a tall tree", "red and blue", "a flower", "birds"]
    )
    encoder = make_plan(recipe, pictures).encoder
    assert torch.isfinite(encoder(captions).sentence).all()
    (told,) = caption_remarks(recipe, pictures, encoder)
    assert (
        told
        == "5 captions hold no word and cannot be used, such as '...' of 'train/p01'; 2 pictures have no other and cannot be used either"
    )


def test_a_run_on_an_old_set_says_what_it_leaves_out(old_set: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(recipe_of("gan-cls", old_set), tmp_path / "run").steps == 4
    told = capsys.readouterr()
    assert "5 captions hold no word and cannot be used, such as '...' of 'train/p01'" in told.out + told.err


WITHOUT = [
    ("gan-cls", {}),
    ("ci-gan", {"own_encoder": True}),
    ("t2f", {"own_encoder": True}),
    ("dall-e", {}),
    *(reader for reader in READERS[1:] if reader[1] != {"encoder": "birds/cvpr"}),  # which is trained already
]


@pytest.mark.parametrize(("method", "settings"), WITHOUT)
def test_a_set_without_captions_is_refused_in_the_same_words(method: str, settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(2):
        Image.new("RGB", (20, 20), (number * 90, 0, 0)).save(tmp_path / "pictures" / f"{number}.png")
    prepare([tmp_path / "pictures"], tmp_path / "set", resolution=16, uncaptioned=True)
    recipe = recipe_of(method, str(tmp_path / "set"), **settings)
    recipe = dataclasses.replace(recipe, resolution=16)
    with pytest.raises(DataError, match="'.*set' has no captions to train a text encoder on: give data with captions, or a method that"):
        make_plan(recipe, training_pictures(recipe))


CUT = [
    ("gan-cls", {}, "48 words (the longest, of 'train/p02', has 72): --text.maximum-words 72 reads all"),
    ("damsm", {"maximum_words": 18}, "18 words (the longest, of 'train/p02', has 72): --text.maximum-words 72 reads all"),
    ("sje", {"encoder": "bag-of-words"}, "48 words (the longest, of 'train/p02', has 72): --text.maximum-words 72 reads all"),
    (
        "sje",
        {"encoder": "birds/cvpr"},
        f"201 characters (the longest, of 'train/p02', has {len(LONG) + 10}): this encoder's limit is fixed",
    ),
    ("clip", {}, "75 byte pairs (the longest, of 'train/p02', has "),
]


def test_an_encoder_learns_without_counterfactuals_where_all_captions_say_the_same(tmp_path: Path) -> None:
    same = prepared(tmp_path, ["a fine hero"] * 8)
    recipe = recipe_of("gan-cls", same, counterfactual=0.0)
    text, method = make_plan(recipe, training_pictures(recipe)).phases
    assert text.phase.counterfactuals == method.phase.counterfactuals == 0
    with pytest.raises(DataError, match="cannot be made false"):
        make_plan(recipe_of("gan-cls", same), training_pictures(recipe))


@pytest.mark.parametrize(("method", "settings", "told"), CUT)
def test_captions_that_are_cut_are_counted_with_the_fix(long_set: str, method: str, settings: dict[str, Any], told: str) -> None:
    recipe = recipe_of(method, long_set, **settings)
    pictures = training_pictures(recipe)
    (remark,) = caption_remarks(recipe, pictures, make_plan(recipe, pictures).encoder)
    assert remark.startswith("2 of 6 training captions are longer than the text encoder reads, and are cut to ") and told in remark
    if method == "clip":
        length = int(remark.split("--method.context-length ")[1].split()[0])
        recipe = recipe_of(method, long_set, context_length=length)
        assert not list(caption_remarks(recipe, pictures, make_plan(recipe, pictures).encoder))


@pytest.mark.parametrize(("method", "settings"), [(method, settings) for method, settings, told in CUT if "maximum-words" in told])
@torch.no_grad()
def test_maximum_words_reaches_every_encoder_of_words(long_set: str, tmp_path: Path, method: str, settings: dict[str, Any]) -> None:
    recipe = recipe_of(method, long_set, 72, **settings)
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml").text.maximum_words == 72
    pictures = training_pictures(recipe)
    encoder = make_plan(recipe, pictures).encoder.eval()
    red, blue = encoder([f"{LONG} red", f"{LONG} blue"]).sentence
    assert encoder.limit == (72, "words") and (red - blue).abs().max() > 1e-5
    assert not list(caption_remarks(recipe, pictures, encoder))
    save_encoder(encoder, tmp_path / "encoder")
    for words in (None, 30):
        taken = recipe_of("gan-cls", long_set, words)
        taken = dataclasses.replace(taken, text=dataclasses.replace(taken.text, encoder=str(tmp_path / "encoder")))
        assert make_plan(taken, pictures).encoder.limit == (words or 72, "words")


def test_damsm_draws_as_many_words_as_it_reads(long_set: str) -> None:
    recipe = recipe_of("damsm", long_set, 60, maximum_words=18)
    model = make_plan(recipe, training_pictures(recipe)).asked_for.trained
    assert isinstance(model, DAMSM)
    assert len(model._drawn_words(f"{LONG} red", 0, 5).split()) == 60


@pytest.mark.parametrize(("method", "settings"), [("clip", {}), ("sje", {"encoder": "birds/cvpr"})])
def test_maximum_words_is_refused_where_words_are_not_what_is_read(long_set: str, method: str, settings: dict[str, Any]) -> None:
    recipe = recipe_of(method, long_set, 72, **settings)
    with pytest.raises(SettingsError, match="text.maximum-words cannot be set"):
        make_plan(recipe, training_pictures(recipe))
    with pytest.raises(SettingsError, match="text.maximum-words is 0, but must be at least 1"):
        recipe_of(method, long_set, 0)


def test_chinese_and_thai_captions_train_and_new_sentences_are_painted(tmp_path: Path) -> None:
    data = prepared(tmp_path, ["一朵红色的花，黄色的心", "一只蓝色的鸟", "ดอกไม้สีแดง", "นกสีฟ้า", "一朵黄色的花", "红鸟"])
    train(recipe_of("gan-cls", data), tmp_path / "run")
    model = load(tmp_path / "run")
    new = ["蓝色的花", "红色的鸟", "นกสีแดง"]
    assert not any(map(model.unknown_words, new)) and model.unknown_words("绿花") == ["绿"]
    assert model.pictures(new, np.zeros(3, int)).shape == (3, 32, 32, 3)
    first, second = model.encode(new[:2]).sentence
    assert (first - second).abs().max() > 1e-3


def test_a_run_that_was_begun_under_the_old_rule_goes_on_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(tmp_path, ["一朵红花，黄心", "一只蓝鸟", "a bird", "一朵黄花", "红鸟，黄心", "蓝鸟"])
    recipe = recipe_of("gan-cls", data)
    with monkeypatch.context() as patch:  # as an older version built its tokenizer and wrote its checkpoints
        build, state = WordTokenizer.build, Run._state
        patch.setattr(WordTokenizer, "build", lambda *given, **more: build(*given, **more, splitting="spaces"))
        patch.setattr(Run, "_state", lambda run: {name: value for name, value in state(run).items() if name != "splitting"})
        train(recipe, tmp_path / "run")
    longer = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=3))
    assert train(longer, tmp_path / "run", resume=True).steps == 5
    encoder = load(tmp_path / "run").encoder
    assert encoder.words("红鸟，黄心") == ["红鸟", "黄心"] and not encoder.unknown_words("红鸟，黄心")


def test_an_encoder_from_elsewhere_keeps_its_vocabulary(old_set: str) -> None:
    pictures = training_pictures(recipe_of("gan-cls", old_set))
    for frozen, expected in ((True, ("a", "zebra")), (False, tuple(WordTokenizer.build(every_caption(pictures)).vocabulary))):
        encoder = RecurrentEncoder(WordTokenizer(["a", "zebra"])).requires_grad_(not frozen)
        read_as_before(encoder, pictures)
        assert encoder.tokenizer.vocabulary == expected and encoder.embedding.num_embeddings == len(expected) + 2


def test_captions_that_are_rows_of_numbers_are_read_as_they_are(tmp_path: Path) -> None:
    recipe = from_preset("gan-cls", "cpu", prepared(tmp_path, [f"{number} 0.25 -3" for number in range(6)]), 32)
    pictures = training_pictures(recipe)
    plan = make_plan(recipe, pictures)
    assert plan.encoder.kind == "numbers" and [act.name for act in plan.acts] == ["method"]  # no text encoder to train first
    encoded = plan.encoder(list(every_caption(pictures))).sentence
    assert encoded.shape == (len(encoded), 3) and encoded[:, 1:].unique(dim=0).tolist() == [[0.25, -3.0]]
    assert not list(caption_remarks(recipe, pictures, plan.encoder))
