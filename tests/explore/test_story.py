"""`limner explore story` and `Model.tell`: the same noise for both casts, one door for all methods, and refusals in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from limner.cli.main import main
from limner.core.errors import SettingsError
from limner.core.trainable import Conditions
from limner.explore.story import swapped, swaps_of, tell
from limner.methods.gan_cls import GANCLS, GANCLSSettings
from limner.methods.storygan import StoryGAN, StoryGANSettings
from limner.model import Model, save_model
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

STORY = ["Rosa and Viola stand in a meadow", "Rosa grows", "she goes"]
WORDS = [*STORY, "Iris comes, and Roland"]


def encoder() -> RecurrentEncoder:
    torch.manual_seed(0)
    return RecurrentEncoder(WordTokenizer.build(WORDS), RecurrentSettings(sentence_width=6, word_embedding=4, hidden=4))


@pytest.fixture(scope="module")
def model() -> Model:
    read = encoder()
    settings = StoryGANSettings(noise_width=6, generator_channels=2, discriminator_channels=2)
    return Model(StoryGAN(settings, Conditions(resolution=16, sentence_width=6, frames=3)), read, {"data": "garden-stories"})


@pytest.fixture(scope="module")
def painter() -> Model:
    """A model that paints single pictures."""
    read = encoder()
    settings = GANCLSSettings(noise_width=6, text_width=4, generator_channels=2, discriminator_channels=2)
    return Model(GANCLS(settings, Conditions(resolution=16, sentence_width=6)), read)


def test_a_story_is_the_same_however_often_it_is_told(model: Model, painter: Model) -> None:
    for told in (model, painter):
        one, three = told.tell(STORY, seed=4), told.tell(STORY, n=3, seed=4)
        assert [len(story) for story in three] == [3, 3, 3] and one[0][0].size == (16, 16)
        assert (
            np.abs(np.stack([np.int16(picture) for picture in one[0]]) - np.stack([np.int16(picture) for picture in three[0]])).max() <= 1
        )
        assert any(np.any(np.asarray(a) != np.asarray(b)) for a, b in zip(three[0], three[1], strict=True))
        assert any(np.any(np.asarray(a) != np.asarray(b)) for a, b in zip(one[0], told.tell(STORY, seed=5)[0], strict=True))


def test_evaluations_ask_for_whole_stories(model: Model, painter: Model) -> None:
    other = [*STORY[1:], STORY[0]]
    for teller in (model, painter):
        pictures = teller.storyteller(3)([*STORY, *other], np.arange(6), 4)
        assert pictures.shape == (6, 3, 16, 16) and pictures.dtype == torch.uint8
        first = np.stack([np.asarray(picture) for picture in teller.tell(STORY, seed=4)[0]])
        assert np.abs(pictures[:3].permute(0, 2, 3, 1).numpy().astype(int) - first).max() <= 1
    with pytest.raises(SettingsError, match="the stories have 4 pictures, and the model tells stories of 3"):
        model.storyteller(4)


def test_single_pictures_are_painted_from_all_sentences_so_far(painter: Model) -> None:
    (story,) = painter.tell(STORY, seed=4)
    captions = [STORY[0], f"{STORY[0]}. {STORY[1]}", f"{STORY[0]}. {STORY[1]}. {STORY[2]}"]
    expected = painter.pictures(captions, [0, 0, 0], 4)
    assert np.array_equal(np.stack([np.asarray(picture) for picture in story]), expected)


def test_names_are_exchanged_as_whole_words(model: Model) -> None:
    swaps = swaps_of(model, STORY, ["Rosa=Iris"])
    assert swapped(["Rosa sees Roland, and rosa Iris.", "Rosas"], swaps) == ["Iris sees Roland, and Iris Rosa.", "Rosas"]
    (before, first), (after, second) = tell(model, STORY, swaps, count=2, seed=1)
    assert (before, after) == (STORY, ["Iris and Viola stand in a meadow", "Iris grows", "she goes"])
    assert first.shape == second.shape == (2, 3, 16, 16, 3) and not np.array_equal(first, second)
    assert np.array_equal(tell(model, after, seed=1)[0][1][0], second[0])


@pytest.mark.parametrize(
    "sentences, message",
    [
        (STORY[:2], "the story has 2 sentences, and this model tells stories of 3: give 3"),
        ([*STORY, "she comes"], "the story has 4 sentences, and this model tells stories of 3: give 3"),
        (["Rosa grows", " ", "she goes"], "sentence 2 of 3 is empty: say what its picture shows, or leave it out"),
        (["Rosa grows", "xyzzy", "she goes"], "the model knows none of the words in 'xyzzy'"),
        ([], "there is no story"),
        ("Rosa grows", "a story is 'Rosa grows': give a list of sentences, one for each picture"),
        ({*STORY}, "a story is {.*: give a list of sentences"),
        ([STORY, STORY, STORY], r"sentence 1 of 3 is \[.*: give texts, of one story at a time"),
        ([*STORY[:2], None], "sentence 3 of 3 is None: give texts"),
    ],
)
def test_stories_that_cannot_be_told(model: Model, sentences: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        model.tell(sentences)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n": 0}, "n is 0: give a whole number of tellings, at least 1"),
        ({"n": 1.5}, "n is 1.5: give a whole number"),
        ({"n": None}, "n is None: give a whole number"),
        ({"seed": -1}, "a seed is -1: give a whole number from 0"),
        ({"seed": "a"}, "a seed is 'a': give a whole number"),
        ({"seed": [1, 2]}, "2 seeds are given, and a story has one: call tell once for each"),
    ],
)
def test_numbers_that_a_telling_cannot_have(model: Model, given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        model.tell(STORY, **given)


def test_sentences_may_be_a_tuple_an_array_or_an_iterator(model: Model) -> None:
    expected = np.asarray(model.tell(STORY, seed=2)[0][1])
    for sentences in (tuple(STORY), np.array(STORY), iter(STORY)):
        assert np.array_equal(np.asarray(model.tell(sentences, seed=2)[0][1]), expected)


@pytest.mark.parametrize(
    "swap, message",
    [
        ("Iris=Rosa", "the story has no 'Iris': give a name that its sentences hold"),
        ("Roza=Iris", "the story has no 'Roza' .did you mean 'rosa'.*: give a name that its sentences hold"),
        ("Rosa=Irsi", "the model never met 'irsi' .did you mean 'iris'"),
        ("Rosa", "does not exchange names: write it as"),
        ("Rosa=rosa", "exchanges a name with itself"),
    ],
)
def test_swaps_that_cannot_be_made(model: Model, swap: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        swaps_of(model, STORY, [swap])


def test_the_command(model: Model, painter: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "model", "storygan", model.method, model.encoder, model.about, "A card.")
    save_model(tmp_path / "painter", "gan-cls", painter.method, painter.encoder, painter.about, "A card.")
    (tmp_path / "story.txt").write_text("\n".join(STORY) + "\n\n", encoding="utf-8")
    command = ["explore", "story", str(tmp_path / "model")]
    assert main([*command, *STORY, "--out", str(tmp_path / "one.png")]) == 0
    assert main([*command, "--file", str(tmp_path / "story.txt"), "--out", str(tmp_path / "same.png")]) == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "same.png").read_bytes()
    swap = [*STORY, "--swap", "Rosa=Iris", "-n", "2"]
    assert main([*command, *swap, "--out", str(tmp_path / "two.png")]) == 0
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert two.width == one.width and two.height > 2 * one.height
    assert main(["explore", "story", str(tmp_path / "painter"), *STORY, "she comes", "--out", str(tmp_path / "story.gif")]) == 0
    with Image.open(tmp_path / "story.gif") as moving:
        assert moving.n_frames == 4
    assert main([*command, *swap, "--out", str(tmp_path / "story.html")]) == 0
    page = (tmp_path / "story.html").read_text(encoding="utf-8")
    assert page.count("<img ") == 2 * 2 * 3 and "Iris grows" in page and "Rosa and Iris exchanged" in page
    capsys.readouterr()
    (tmp_path / "gap.txt").write_text("Rosa grows\n\nshe goes\n", encoding="utf-8")
    refused = {
        (*STORY[:2], "--out", "no.png"): "the story has 2 sentences, and this model tells stories of 3: give 3",
        ("Rosa grows", "", "she goes", "--out", "no.png"): "sentence 2 of 3 is empty",
        (*STORY, "--swap", "Rosa=Irsi", "--out", "no.png"): "did you mean 'iris'",
        (*STORY, "--out", "no.jpg"): "give a name that ends in .png, .gif or .html",
        (*STORY, "--file", "story.txt", "--out", "no.png"): "give sentences or --file, not both",
        ("--out", "no.png"): "there is no story",
        ("--file", str(tmp_path / "gap.txt"), "--out", "no.png"): "line 2 is empty",
        ("--file", str(tmp_path / "none.txt"), "--out", "no.png"): "none.txt",
        (*STORY, "-n", "0", "--out", "no.png"): "--count is 0",
    }
    for arguments, words in refused.items():
        given = [str(tmp_path / word) if word.startswith("no.") else word for word in arguments]
        assert main([*command, *given]) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1 and not list(tmp_path.glob("no.*")), said
