"""Walks: their ends are the model's own pictures, and only what should move moves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limner.core.errors import SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.explore.interpolate import between_captions, between_noises, blend, save_walk
from limner.methods.dall_e import DALLE, SMALL, DALLESettings
from limner.model import Model

RED, BLUE = "a red flower", "the blue bird at night"


def test_a_walk_between_captions_ends_at_the_models_pictures(tiny_model: Model) -> None:
    walk = between_captions(tiny_model, RED, BLUE, steps=4, seed=3)
    ends = tiny_model.pictures([RED, BLUE], [0, 0], seed=3)
    assert walk.shape == (4, 16, 16, 3)
    assert np.abs(walk[[0, -1]].astype(int) - ends).max() <= 1
    assert not np.array_equal(walk[1], walk[0]) and not np.array_equal(walk[2], walk[3])


def test_a_long_walk_is_painted_in_parts(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    painted, paint = [], tiny_model.method.paint
    monkeypatch.setattr(tiny_model.method, "paint", lambda text, noise: painted.append(len(noise)) or paint(text, noise))
    walk = between_captions(tiny_model, RED, BLUE, steps=130, seed=3)
    assert painted == [64, 64, 2] and walk.shape == (130, 16, 16, 3)
    assert np.abs(walk[[0, -1]].astype(int) - tiny_model.pictures([RED, BLUE], [0, 0], seed=3)).max() <= 1


def test_a_method_that_reads_no_sentence_walks_between_noises_alone(tiny_model: Model) -> None:
    settings = DALLESettings(**{**SMALL, "dvae_width": 8, "code_width": 8, "width": 16, "depth": 2, "context_length": 6})
    writer = Model(DALLE(settings, Conditions(resolution=32, sentence_width=0, word_width=0)), tiny_model.encoder)
    with pytest.raises(SettingsError, match="DALL-E reads a caption word by word .*: walk between noises"):
        between_captions(writer, RED, BLUE)


def test_a_walk_between_noises_ends_at_the_seeds_pictures(tiny_model: Model) -> None:
    walk = between_noises(tiny_model, RED, (1, 2), steps=3)
    ends = np.concatenate([tiny_model.pictures([RED], [0], seed=seed) for seed in (1, 2)])
    assert np.abs(walk[[0, -1]].astype(int) - ends).max() <= 1
    assert not np.array_equal(ends[0], ends[1])


def test_sentences_move_in_a_line_and_words_change_half_way() -> None:
    text = TextFeatures(
        torch.tensor([[0.0, 2.0], [1.0, 0.0]]), words=torch.tensor([[[1.0]], [[2.0]]]), mask=torch.ones(2, 1, dtype=torch.bool)
    )
    mixed = blend(text, torch.tensor([0.0, 0.25, 0.75, 1.0]))
    assert torch.equal(mixed.sentence, torch.tensor([[0.0, 2.0], [0.25, 1.5], [0.75, 0.5], [1.0, 0.0]]))
    assert mixed.words is not None and mixed.words.flatten().tolist() == [1, 1, 2, 2]


def test_an_animation_goes_there_and_back(tmp_path: Path) -> None:
    from PIL import Image

    levels = np.broadcast_to(np.array([0, 120, 240], np.uint8)[:, None, None, None], (3, 8, 8, 3))
    save_walk(levels, tmp_path / "walk.gif")
    with Image.open(tmp_path / "walk.gif") as film:
        seen = []
        for number in range(film.n_frames):  # type: ignore[attr-defined]
            film.seek(number)
            seen.append(film.convert("L").getpixel((0, 0)))
    assert seen == [0, 120, 240, 120]


def test_a_walk_needs_two_steps_and_a_known_format(tiny_model: Model, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="give 2 to 100,000"):
        between_captions(tiny_model, RED, BLUE, steps=1)
    with pytest.raises(SettingsError, match=r"\.png or \.gif"):
        save_walk(np.zeros((2, 4, 4, 3), np.uint8), tmp_path / "walk.mp4")
