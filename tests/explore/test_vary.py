"""Only what is drawn anew changes; and the stages of a picture, which the same painter has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from limner.cli import generate
from limner.cli.explore import vary as command
from limner.cli.main import main
from limner.core.errors import SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import Noise, gaussian
from limner.core.text import TextFeatures
from limner.explore.vary import noise_names, vary, vary_in_turn
from limner.model import Model

RED, BLUE = "a red flower", "the blue bird at night"


@dataclass(frozen=True)
class Halves(Noise):
    z: Tensor
    epsilon: Tensor


class TwoHalves(Method):
    """z is the upper half of the picture, epsilon the lower, and the caption a column of both; a rough picture comes before."""

    players = phases = training_step = None  # type: ignore[assignment]

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> Halves:
        return Halves(gaussian((1,), seed, samples, stream), gaussian((1,), seed, samples, f"{stream} more"))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        assert isinstance(noise, Halves)
        rough = torch.stack([noise.z, noise.epsilon], dim=1)[:, None].expand(-1, 3, -1, 2).clone()  # [B, 3, 2, 2]
        rough[..., 0] = text.sentence.mean(1)[:, None, None]
        return Painting(torch.tanh(rough).repeat_interleave(8, 2).repeat_interleave(8, 3), stages=(torch.tanh(rough),))


TwoHalves.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]


@pytest.fixture
def model(tiny_model: Model) -> Model:
    method = TwoHalves(None, tiny_model.method.conditions)
    method.register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))
    return Model(method, tiny_model.encoder)


def test_one_noise_varies_and_the_other_stands_still(model: Model) -> None:
    assert noise_names(model) == ["z", "epsilon"]
    pictures = vary(model, [RED, BLUE], ["epsilon"], count=5, seed=2)
    assert pictures.shape == (2, 5, 16, 16, 3)
    upper, lower = pictures[:, :, :8, 8:], pictures[:, :, 8:, 8:]
    assert (upper == upper[0, 0]).all() and len(np.unique(lower[0, :, 0, 0, 0])) > 3 and (lower[0] == lower[1]).all()
    assert not np.array_equal(pictures[0], pictures[1])  # the caption's column
    turned = vary(model, [RED], ["z"], count=5, seed=2)
    assert (turned[:, :, 8:] == turned[0, 0, 8:]).all() and len(np.unique(turned[0, :, 0, 8, 0])) > 3
    assert np.array_equal(turned[0, 0], pictures[0, 0])  # both begin with the seed's first picture
    assert np.array_equal(pictures[0, 0], model.pictures([RED], [0], seed=2)[0])


def test_each_input_has_its_turn(model: Model, tiny_model: Model) -> None:
    titles, pictures = vary_in_turn(model, [RED, BLUE], count=3, seed=2)
    assert titles == [f"{caption} ({name} drawn anew)" for caption in (RED, BLUE) for name in ("z", "epsilon")]
    for row, (caption, name) in enumerate((caption, name) for caption in (RED, BLUE) for name in ("z", "epsilon")):
        assert np.array_equal(pictures[row], vary(model, [caption], [name], count=3, seed=2)[0])
    titles, pictures = vary_in_turn(tiny_model, [RED], count=2)  # which has one noise
    assert titles == [RED] and pictures.shape == (1, 2, 16, 16, 3) and not np.array_equal(*pictures[0])


def test_a_walk_goes_from_one_draw_to_the_next(model: Model) -> None:
    walk = vary(model, [RED], ["epsilon", "z"], count=9, seed=2, walk=True)[0]
    ends = model.pictures([RED, RED], [0, 1], seed=2)
    assert np.abs(walk[[0, -1]].astype(int) - ends).max() <= 1
    assert np.abs(np.diff(walk.astype(int), axis=0)).max() < np.abs(walk[-1].astype(int) - walk[0]).max()


def test_rows_are_painted_in_parts_and_walks_are_called_so(model: Model) -> None:
    long, short = (vary(model, [RED], ["epsilon"], count=count, seed=2)[0] for count in (70, 3))
    assert len(long) == 70 and np.array_equal(long[:3], short) and len(np.unique(long[64:, 8, 8, 0])) > 1
    titles, _ = vary_in_turn(model, [RED], count=2, walk=True)
    assert titles == [f"{RED} (z walked)", f"{RED} (epsilon walked)"]


def test_what_it_refuses(model: Model, tiny_model: Model) -> None:
    with pytest.raises(SettingsError, match="no random input 'epsilom'"):
        vary(model, [RED], ["epsilom"])
    with pytest.raises(SettingsError, match="--count is 1"):
        vary(model, [RED], ["z"], count=1)


def test_the_commands(model: Model, tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    for verb in (command, generate):
        monkeypatch.setattr(verb, "open_model", lambda name, device: tiny_model if name == "plain" else model)
    out = tmp_path / "a" / "vary.png"
    assert main(["explore", "vary", "any", "--captions", RED, BLUE, "--count", "3", "--out", str(out)]) == 0
    with Image.open(out) as grid:
        assert grid.width > 3 * 128 and grid.height > 4 * 128  # a row for each caption and input
    assert main(["explore", "vary", "any", "--captions", RED, BLUE, "--redraw", "z", "--count", "3", "--out", str(out)]) == 0
    with Image.open(out) as grid:
        assert 2 * 128 < grid.height < 3 * 128
    assert main(["explore", "vary", "any", "--captions", RED, "--out", str(out), "--redraw"]) == 2
    assert "--redraw names nothing: give the NAME of a random input" in capsys.readouterr().err
    assert main(["generate", "any", RED, "-n", "2", "--stages", "--out", str(tmp_path / "stages.png")]) == 0
    assert main(["generate", "any", RED, "-n", "2", "--stages", "--out", str(tmp_path / "stages")]) == 0
    sides = {path.name.split("-")[-1]: Image.open(path).size for path in (tmp_path / "stages").iterdir()}
    assert sides == {"2px.png": (2, 2), "16px.png": (16, 16)} and len(list((tmp_path / "stages").iterdir())) == 4
    capsys.readouterr()
    assert main(["generate", "plain", RED, "--stages", "--out", str(tmp_path / "none.png")]) == 2
    assert "plain paints in one stage: leave --stages out" in capsys.readouterr().err
    assert main(["explore", "vary", "any", "--captions", RED, "--out", str(tmp_path / "x.jpg")]) == 2
