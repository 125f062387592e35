"""What is read in a painted picture: both sentences, how far they agree, and the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from limner.cli.explore import redescribe as command
from limner.cli.main import main
from limner.core.errors import SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import Noise
from limner.core.text import TextFeatures
from limner.explore.redescribe import Redescribed, overlap, read, redescribe
from limner.model import Model

RED, BLUE = "a red flower", "a blue flower"


class Naming(Method):
    """Paints every caption red, and names the colour of a picture."""

    players = phases = training_step = None  # type: ignore[assignment]

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> Noise:
        return Noise()

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        return Painting(torch.tensor([1.0, -1.0, -1.0])[None, :, None, None].expand(len(text), -1, 16, 16))

    def describe(self, pictures: Tensor) -> list[str]:
        assert pictures.is_floating_point() and pictures.min() >= -1 and pictures.max() <= 1
        return [RED if colour[0] > colour[2] else "blue flower" for colour in pictures.mean((2, 3))]


Naming.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


@pytest.fixture
def model(tiny_model: Model) -> Model:
    method = Naming(None, tiny_model.method.conditions)
    method.register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))
    return Model(method, tiny_model.encoder)


def test_overlap() -> None:
    assert overlap(RED, RED, 1) == overlap(RED, RED, 2) == 1.0
    assert overlap("a red flower with red petals", "a red, red bird", 1) == pytest.approx(3 / 6)
    assert overlap("red red red", "red", 1) == pytest.approx(1 / 3)
    assert overlap(RED, "flower red a", 1) == 1.0 and overlap(RED, "flower red a", 2) == 0.0
    assert overlap("red", "red", 2) == 0.0 and overlap(RED, "", 1) == 0.0


def test_each_picture_is_read_back(model: Model) -> None:
    found = redescribe(model, [RED, BLUE], count=2)
    assert [one.caption for one in found] == [RED, RED, BLUE, BLUE] and {one.said for one in found} == {RED}
    assert [one.words for one in found] == [1.0, 1.0, pytest.approx(2 / 3), pytest.approx(2 / 3)]
    assert found[3].pairs == 0.0 and found[0].picture.shape == (16, 16, 3)
    blue = np.zeros((70, 16, 16, 3), np.uint8)
    blue[..., 2] = 255
    assert read(model, blue) == ["blue flower"] * 70
    assert Redescribed(BLUE, blue[0], "blue flower").pairs == 0.5


def test_what_is_refused(model: Model, tiny_model: Model) -> None:
    with pytest.raises(SettingsError, match="has no captioner that describes pictures: give one of a method that describes"):
        redescribe(tiny_model, [RED])
    assert redescribe(tiny_model, [RED], reader=model)[0].said in (RED, "blue flower")
    with pytest.raises(SettingsError, match="--count is 0"):
        redescribe(model, [RED], count=0)


def test_the_command(
    model: Model, tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "open_model", lambda name, device: tiny_model if name == "plain" else model)
    out = tmp_path / "a" / "read.png"
    assert main(["explore", "redescribe", "any", RED, BLUE, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{BLUE}\n  read: {RED}\n  67% of words, 0% of pairs" in said and "mean: 83% of words, 50% of pairs" in said
    with Image.open(out) as page:
        assert page.width > 2 * 200
    assert main(["explore", "redescribe", "plain", RED, "--out", str(out)]) == 2
    assert "has no captioner" in capsys.readouterr().err
    assert main(["explore", "redescribe", "plain", RED, "--reader", "any", "--out", str(out)]) == 0
