"""Explorations of styles: what is mixed from what, which directions are found, and how far pictures are moved along them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.core.errors import SettingsError
from limner.core.trainable import Conditions
from limner.explore.directions import by_labels, directions, directions_page, factorised
from limner.explore.mix import mix, mix_page
from limner.methods.stylegan2 import StyleGAN2, StyleGAN2Settings
from limner.model import Model
from limner.text.no_text import NoText


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    sizes = {"noise_width": 6, "style_width": 8, "mapping_layers": 2, "channel_base": 128, "channel_limit": 12}
    method = StyleGAN2(StyleGAN2Settings(**sizes), Conditions(resolution=16, sentence_width=0))
    with torch.no_grad():
        for layer in method.generator.synthesis.convolutions:
            layer.noise_strength.fill_(0.2)  # type: ignore[union-attr, operator]
    return Model(method, NoText())


def test_coarse_styles_come_from_rows_and_fine_ones_from_columns(model: Model) -> None:
    found = mix(model, rows=2, columns=3, at=2, seed=5)
    assert found.pictures.shape == (2, 3, 16, 16, 3) and (found.at, found.places) == (2, 6)
    alone = model.pictures([""] * 5, np.arange(5), seed=5)
    assert np.abs(found.coarse.astype(int) - alone[:2]).max() <= 1 and np.abs(found.fine.astype(int) - alone[2:]).max() <= 1

    noise = model.noise(5, np.arange(5))
    method = model.method
    assert isinstance(method, StyleGAN2)
    with torch.no_grad():
        styles = method.find_styles(model.encode([""] * 5), noise)
        for row in range(2):
            for column in range(3):
                joined = torch.cat([styles[row : row + 1, :2], styles[2 + column : 3 + column, 2:]], dim=1)
                own = method.paint_styles(joined, noise[row : row + 1]).images[0].add(1).mul(127.5).round().permute(1, 2, 0).numpy()
                assert np.abs(found.pictures[row, column] - own).max() <= 1
    assert mix(model, rows=1, columns=1).at == 2, "two fifths of six places"
    assert mix_page(found).size[0] > 4 * 144


def test_directions_are_those_that_the_weights_stretch_most() -> None:
    """Of weights that are made from known directions, one for each strength."""
    torch.manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))
    mixing, _ = torch.linalg.qr(torch.randn(7, 4, dtype=torch.float64))
    strengths = torch.tensor([1.0, 4.0, 2.0, 3.0], dtype=torch.float64)
    weights = mixing @ torch.diag(strengths) @ basis.T
    vectors, shares = factorised([weights[:3].float(), weights[3:].float()])
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(shares, torch.tensor([16.0, 9.0, 4.0, 1.0], dtype=torch.float64) / 30, atol=1e-6, rtol=0.0)
    overlap = (vectors @ basis).abs()
    torch.testing.assert_close(overlap[:, [1, 3, 2, 0]], torch.eye(4, dtype=torch.float64), atol=1e-5, rtol=0.0)
    assert (vectors.gather(1, vectors.abs().argmax(1, keepdim=True)) > 0).all()


def test_strips_go_from_one_end_to_the_other_through_the_picture_itself(model: Model) -> None:
    found = directions(model, count=2, pictures=2, steps=5, distance=2.0, seed=3, named_by=4)
    assert [direction.number for direction in found] == [1, 2] and found[0].strength >= found[1].strength
    alone = model.pictures([""] * 2, np.arange(2), seed=3)
    for direction in found:
        assert direction.strip.shape == (2, 5, 16, 16, 3) and not direction.names
        assert np.abs(direction.strip[:, 2].astype(int) - alone).max() <= 1, "the middle is not moved"
        assert (direction.strip[:, 0] != direction.strip[:, 4]).any()
    farther = directions(model, count=1, pictures=1, steps=3, distance=4.0, layers=(4, 5), seed=3, named_by=4)[0]
    assert np.abs(farther.strip[0, 1].astype(int) - alone[0]).max() <= 1
    assert directions_page([*found, farther]).size[1] > 5 * 96


class Brightness:
    """A matching model by brightness: labels are numbers."""

    name, content_hash = "brightness", "0"

    def embed_captions(self, captions: list[str]) -> Tensor:
        return torch.tensor([[float(caption)] for caption in captions])

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        return pictures.float().mean((1, 2, 3))[:, None]

    def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
        return -(pictures - captions.T).abs()


def test_directions_are_named_by_what_changes(model: Model) -> None:
    name = by_labels(Brightness(), ["-1", "1"])
    dark, bright = torch.zeros(10, 3, 4, 4, dtype=torch.uint8), torch.full((10, 3, 4, 4), 255, dtype=torch.uint8)
    assert name(dark, bright) == ["'-1' to '1' 100%"] and name(dark, dark) == []
    half = torch.cat([bright[:5], dark[:5]])
    assert name(dark, half) == ["'-1' to '1' 50%"]
    found = directions(model, count=1, steps=2, named_by=4, namer=lambda one, other: [f"{len(one)} and {len(other)}"])[0]
    assert found.names == ["4 and 4"] and str(found).startswith("direction 1, ") and str(found).endswith(": 4 and 4")


def test_styles_are_found_and_painted_in_parts(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    painted, method = [], model.method
    assert isinstance(method, StyleGAN2)
    paint = method.paint_styles
    monkeypatch.setattr(method, "paint_styles", lambda styles, noise: painted.append(len(noise)) or paint(styles, noise))
    found = mix(model, rows=1, columns=66, at=2, seed=5)
    assert painted == [64, 3, 64, 2] and found.pictures.shape == (1, 66, 16, 16, 3)
    few = mix(model, rows=1, columns=2, at=2, seed=5)
    assert np.abs(found.pictures[:, :2].astype(int) - few.pictures).max() <= 1


def test_what_cannot_be_is_refused(model: Model) -> None:
    for values, words in (
        ({"count": 0}, "--count is 0"),
        ({"steps": 1}, "--steps is 1: give 2 to 100,000"),
        ({"distance": 0.0}, "--distance is 0, but must be above 0"),
        ({"distance": float("inf")}, "--distance is inf, but must be above 0 and finite"),
        ({"layers": (2, 1)}, "--layers is 2 1"),
        ({"caption": "a flower"}, "reads no text"),
    ):
        with pytest.raises(SettingsError, match=words):
            directions(model, **values)  # type: ignore[arg-type]
    for values, words in (
        ({"at": 0}, "choose from 1 to 5"),
        ({"columns": 0}, "--columns is 0"),
        ({"caption": "a flower"}, "reads no text"),
    ):
        with pytest.raises(SettingsError, match=words):
            mix(model, **values)  # type: ignore[arg-type]
