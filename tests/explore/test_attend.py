"""Where each word looked: the words that were read, maps of their own, and a page that says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from PIL import Image

from limner.cli.explore import attend as command
from limner.cli.main import main
from limner.core.errors import SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import Noise
from limner.core.text import TextFeatures
from limner.explore.attend import attend, attention_grid, attention_page
from limner.model import Model
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.text.recurrent import RecurrentEncoder
from limner.text.tokenizers import WordTokenizer

CAPTION = "a red <flower> with five petals"


class Looking(Method):
    """Word number i looks at column i of a white picture, in two stages."""

    players = phases = training_step = None  # type: ignore[assignment]

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> Noise:
        return Noise()

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        assert text.mask is not None
        count = text.mask.shape[1]
        maps = {f"attention-{side}": torch.eye(count)[None, :, None, :].expand(len(text), -1, side, -1) for side in (4, 8)}
        return Painting(torch.ones(len(text), 3, 16, 16), extras=maps)


Looking.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


@pytest.fixture
def model(tiny_model: Model) -> Model:
    method = Looking(None, tiny_model.method.conditions)
    method.register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))
    return Model(method, tiny_model.encoder)


def test_each_word_has_its_own_map(model: Model) -> None:
    attended = attend(model, CAPTION)
    assert attended.words == ["a", "red", "flower", "with", "five", "petals"] and list(attended.maps) == [4, 8]
    assert all(maps.shape == (6, 16, 16) for maps in attended.maps.values())
    brightest = [int(attended.overlay(8, number)[8, :, 0].argmax()) for number in range(6)]
    assert brightest == sorted(brightest) and brightest[0] < 2 and brightest[-1] > 13
    assert attended.overlay(8, 0).max() == 255 and attended.overlay(8, 0).min() == 64
    np.testing.assert_allclose(attended.maps[4].sum(0), 1, atol=1e-5)
    assert attention_grid(attended).width > 7 * 112
    page = attention_page([attended])
    assert page.count("<img") == 1 + 2 * 6 and "&lt;flower&gt;" in page and "<flower>" not in page and "http" not in page


@pytest.mark.parametrize("kind", ["recurrent", "attngan"])
def test_encoders_name_the_words_they_read(kind: str) -> None:
    captions = [CAPTION, "a red dragon flower with five petals and more"]
    encoder = (
        RecurrentEncoder(WordTokenizer.build([CAPTION], maximum_words=5))
        if kind == "recurrent"
        else LSTMEncoder(Vocabulary.build([CAPTION], 5), LSTMSettings(word_embedding=4, width=4))
    )
    for caption in captions:
        mask = encoder([caption]).mask
        assert mask is not None and len(encoder.read_words(caption)) == int(mask.sum()) == 5
    expected = {"recurrent": ["a", "red", "dragon", "flower", "with"], "attngan": ["a", "red", "flower", "with", "five"]}
    assert encoder.read_words(captions[1]) == expected[kind]


def test_the_command(model: Model, tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "open_model", lambda name, device: model)
    out = tmp_path / "a" / "attend.png"
    assert main(["explore", "attend", "any", CAPTION, "--out", str(out)]) == 0
    with Image.open(out) as grid:
        assert grid.height > 2 * 112
    assert out.with_suffix(".html").read_text().startswith("<!doctype html>")
    assert main(["explore", "attend", "any", CAPTION, "--out", str(tmp_path / "x.jpg")]) == 2
    with pytest.raises(SettingsError, match="does not attend to words"):
        attend(tiny_model, CAPTION)
