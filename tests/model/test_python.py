"""A model as people use one from Python: what it shows, how it is called, and how it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limner
from limner.core.errors import SettingsError
from limner.core.method import Method
from limner.model import Model, load
from limner.text.saving import load_encoder, save_encoder

CAPTIONS = ["a red flower", "the blue bird"]


def test_it_says_what_it_is(tiny_model: Model) -> None:
    assert repr(tiny_model) == "<GAN-CLS, 16 px, 14 words, trained on garden, on cpu>".replace("14", str(len(tiny_model.words)))
    assert tiny_model.words == tuple(tiny_model.encoder.known_words()) and "flower" in tiny_model.words
    assert repr(limner.load("garden")).startswith("<Limner GAN, 64 px, ")


def test_pictures_come_as_they_are_asked_for(tiny_model: Model) -> None:
    pictures = tiny_model(CAPTIONS, 3, 5)
    arrays = tiny_model(CAPTIONS, n=3, seed=5, output="numpy", batch_size=2)
    tensors = tiny_model.generate(CAPTIONS, n=3, seed=5, output="torch")
    assert all(isinstance(picture, Image.Image) for picture in pictures)
    assert arrays.shape == (6, 16, 16, 3) and arrays.dtype == np.uint8
    assert tensors.shape == (6, 3, 16, 16) and tensors.dtype == torch.uint8
    assert all(np.array_equal(np.asarray(picture), array) for picture, array in zip(pictures, arrays, strict=True))
    assert np.array_equal(tensors.permute(0, 2, 3, 1).numpy(), tiny_model(CAPTIONS, n=3, seed=5, output="numpy"))


def test_several_seeds_paint_what_each_paints_by_itself(tiny_model: Model) -> None:
    together = tiny_model(CAPTIONS, seed=[3, 9, 2**40], output="numpy")
    assert together.shape[0] == 6
    for row, caption in enumerate(CAPTIONS):
        for column, seed in enumerate((3, 9, 2**40)):
            assert np.array_equal(together[3 * row + column], tiny_model(caption, seed=seed, output="numpy")[0])


def test_a_generator_draws_the_seeds(tiny_model: Model) -> None:
    first = torch.Generator().manual_seed(1)
    one, two = (tiny_model("a red flower", generator=first, output="numpy") for _ in range(2))
    assert not np.array_equal(one, two)
    assert np.array_equal(one, tiny_model("a red flower", generator=torch.Generator().manual_seed(1), output="numpy"))


def test_progress_is_told_after_each_batch(tiny_model: Model) -> None:
    told: list[tuple[int, int]] = []
    tiny_model(CAPTIONS, n=3, batch_size=4, progress=lambda done, total: told.append((done, total)))
    assert told == [(4, 6), (6, 6)]


@pytest.mark.parametrize("seed", [1.7, -1, 2**70, True, "3", [1, -2], []])
def test_seeds_that_cannot_be_are_refused(seed: object, tiny_model: Model) -> None:
    with pytest.raises(SettingsError, match="seed"):
        tiny_model("a red flower", seed=seed)  # type: ignore[arg-type]
    assert len(tiny_model("a red flower", seed=np.int64(3))) == 1  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"output": "jpeg"}, "choose pil, numpy or torch"),
        ({"n": 0}, "n is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"n": 2, "seed": [1, 2]}, "leave n=2 out"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: dict[str, object], message: str, tiny_model: Model) -> None:
    with pytest.raises(SettingsError, match=message):
        tiny_model("a red flower", **asked)  # type: ignore[call-overload]


def test_what_cannot_be_a_caption_a_number_or_a_generator_is_refused(tiny_model: Model) -> None:
    asked: list[tuple[Callable[[Any], object], str]] = [
        (lambda model: model(None), "a caption is None: give a text, or a list of them"),
        (lambda model: model(5), "a caption is 5"),
        (lambda model: model(b"a red flower"), "a caption is b'a red flower'"),
        (lambda model: model([CAPTIONS]), "a caption is \\['a red flower', 'the blue bird'\\]"),
        (lambda model: model("\ud800 a red flower"), "is not UTF-8 text"),
        (lambda model: model(CAPTIONS, n=True), "n is True: give a whole number, at least 1"),
        (lambda model: model(CAPTIONS, generator=np.random.default_rng()), "give a torch.Generator"),
        (lambda model: model.encode([]), "no caption was given"),
        (lambda model: model.pictures(CAPTIONS, [0]), "2 captions and 1 sample numbers were given"),
        (lambda model: model.pictures(CAPTIONS, [0, 1], batch_size=0), "batch_size is 0"),
        (lambda model: model.noise(-1, [0]), "the seed is -1"),
        (lambda model: model.noise(0, [0.5]), r"samples are \[0.5\]"),
        (lambda model: model.noise(0, 3), "samples are 3"),
        (lambda model: model.paint(model.encode(CAPTIONS), model.noise(0, [0, 1, 2])), "2 rows of text and 3 of noise"),
        (lambda model: model.paint(CAPTIONS, 0), "text is a list: give what `encode` gives"),
    ]
    for ask, message in asked:
        with pytest.raises(SettingsError, match=message):
            ask(tiny_model)


def test_one_text_is_one_caption_everywhere(tiny_model: Model) -> None:
    assert len(tiny_model.encode("a red flower")) == 1
    assert np.array_equal(tiny_model.pictures("a red flower", [0]), tiny_model("a red flower", seed=np.array(0), output="numpy"))
    assert tiny_model.painting("a red flower", [0]).images.shape[0] == len(tiny_model.stages("a red flower", [0])[0]) == 1


def test_a_model_is_kept_and_found_again(tiny_model: Model, tmp_path: Path) -> None:
    kept = tiny_model.save(tmp_path / "kept")
    again = load(kept)
    assert np.array_equal(again("a red flower", output="numpy"), tiny_model("a red flower", output="numpy"))
    assert "Data: garden" in again.card and repr(again) == repr(tiny_model)
    assert again.save(kept) == kept and load(kept).card == again.card, "it can be saved over"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(SettingsError, match="holds something that is not a saved model"):
        tiny_model.save(tmp_path / "other")


def test_saving_destroys_nothing_else(tiny_model: Model, tmp_path: Path) -> None:
    kept = tiny_model.save(tmp_path / "kept")
    (kept / "notes.txt").write_text("dear")
    with pytest.raises(SettingsError, match="holds notes.txt beside a saved model, which would be lost: choose another folder"):
        tiny_model.save(kept)
    save_encoder(tiny_model.encoder, tmp_path / "text")
    with pytest.raises(SettingsError, match="holds a text encoder alone, which would be lost: choose another folder"):
        tiny_model.save(tmp_path / "text")
    (tmp_path / "file").write_text("dear")
    with pytest.raises(SettingsError, match="holds something that is not a saved model"):
        tiny_model.save(tmp_path / "file")
    assert (kept / "notes.txt").read_text() == "dear" and load_encoder(tmp_path / "text").known_words()
    (kept / "notes.txt").rename(kept / "scores.json")  # which `limner evaluate` leaves there
    assert not (tiny_model.save(kept) / "scores.json").exists(), "they were of other weights"
    (tmp_path / "empty").mkdir()
    assert load(tiny_model.save(tmp_path / "empty")).reads_text


def test_a_method_of_no_file_says_what_to_do(tiny_model: Model, tmp_path: Path) -> None:
    made = type("Mine", (type(tiny_model.method),), {"__module__": "__main__"})
    method: Method = made(tiny_model.method.settings, tiny_model.method.conditions)
    with pytest.raises(SettingsError, match="put it into a file and call limner.methods.register_file"):
        Model(method, tiny_model.encoder).save(tmp_path / "kept")
