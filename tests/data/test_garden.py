"""The garden as a data set: splits, exactness, pictures, errors."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from limner.core.errors import SettingsError
from limner.data.garden import ATTRIBUTES, CLASS_NAMES, SPLIT_CLASSES, Garden, Scene, encode, paint
from limner.data.garden.backgrounds import paint_background
from limner.data.garden.canvas import Grid
from limner.data.garden.flowers import Flowers, paint_flower
from limner.data.garden.painting import quantise
from limner.data.garden.scenes import gather

PIXELS = Path(__file__).with_name("garden_pixels.npz")

# sha256 of the attributes and the first three captions of 200 flowers, as JSON: these may never change on any machine.
HASHES = {
    ("train", 0): "fc4530a6a5e1186b",
    ("train", 1): "4d8c4722dff7564c",
    ("val", 0): "ca656d86cc4a7e2f",
    ("test", 0): "0b1e7edd08f31511",
    ("all", 123456789): "89d24d86dcd55395",
}


def fingerprint(split: str, seed: int) -> str:
    garden = Garden(split, seed=seed)
    rows = range(200)
    captions = [[caption.text for caption in garden.captions(rows, k)] for k in range(3)]
    content = json.dumps([garden.attribute_codes(rows).tolist(), captions])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@pytest.mark.parametrize(("split", "seed"), list(HASHES))
def test_attributes_and_captions_are_exact(split: str, seed: int) -> None:
    assert fingerprint(split, seed) == HASHES[split, seed]


def test_pixels_are_the_same_within_one_level() -> None:
    stored = np.load(PIXELS)["pictures"]
    pictures = Garden("all", seed=3, resolution=32).pictures(range(len(stored)))
    assert np.abs(pictures.astype(int) - stored).max() <= 1


def test_splits_share_no_class_and_training_sees_every_value() -> None:
    train, val, test = (set(SPLIT_CLASSES[split]) for split in ("train", "val", "test"))
    assert not train & val and not train & test and not val & test
    assert train | val | test == set(SPLIT_CLASSES["all"]) == set(range(len(CLASS_NAMES)))
    for split in ("train", "val", "test"):
        garden = Garden(split)
        assert set(garden.class_ids(range(1000)).tolist()) == set(SPLIT_CLASSES[split])
    for codes, values in zip(Garden("train").attribute_codes(range(500)).T, ATTRIBUTES.values(), strict=True):
        assert set(codes.tolist()) == set(range(len(values)))
    assert {CLASS_NAMES[c].split()[1] for c in val} == {CLASS_NAMES[c].split()[1] for c in test} == set(ATTRIBUTES["shape"])


def test_attributes_are_uniform_and_independent() -> None:
    codes = Garden("all", seed=1).attribute_codes(range(20_000))
    for i, first in enumerate(ATTRIBUTES.values()):
        for j, second in enumerate(list(ATTRIBUTES.values())[:i]):
            table = np.zeros((len(first), len(second)))
            np.add.at(table, (codes[:, i], codes[:, j]), 1)
            expected = len(codes) / table.size
            assert np.abs(table - expected).max() < 6 * np.sqrt(expected)


def test_an_item_agrees_with_the_bulk_calls() -> None:
    garden = Garden("test", seed=5, length=30, resolution=40, captions_per_picture=4)
    assert len(garden) == 30 == sum(1 for _ in garden)
    item = garden[12]
    assert item.key == "garden-test-5-000012" and garden[-18].key == item.key
    assert item.picture.size == (40, 40)
    assert np.array_equal(item.pixels, garden.pictures([3, 12])[1])
    assert encode(item.attributes) == garden.attribute_codes(12)[0].tolist()
    assert item.class_name == f"{item.attributes['colour']} {item.attributes['shape']}"
    assert item.captions == tuple(garden.caption(12, k) for k in range(4))
    assert Garden("test", seed=5, length=13)[12].captions[:4] == item.captions  # the length changes nothing
    assert Garden("test", seed=6).attribute_codes(range(50)).tolist() != garden.attribute_codes(range(50)).tolist()


def test_a_picture_does_not_depend_on_the_others() -> None:
    garden = Garden("all", seed=2, resolution=24)
    together = garden.pictures(range(400))
    for i in (0, 7, 170, 399):
        assert np.array_equal(garden.pictures([i])[0], together[i])
    assert np.array_equal(garden.pictures(range(399, -1, -1))[::-1], together)


def test_every_resolution_shows_the_same_scene() -> None:
    scenes = Garden("all").scenes(range(24))
    fine = paint(scenes, 256).astype(float)
    for resolution in (16, 32, 64):
        share = 256 // resolution
        reduced = fine.reshape(24, resolution, share, resolution, share, 3).mean(axis=(2, 4))
        distance = np.abs(reduced[:, None] - paint(scenes, resolution)).mean(axis=(2, 3, 4))
        own = distance.diagonal().copy()
        np.fill_diagonal(distance, np.inf)
        assert (own < 0.6 * distance.min(axis=1)).all()
        assert own.mean() < {16: 10, 32: 6, 64: 4}[resolution]
    assert paint(scenes[:1], 8).shape == (1, 8, 8, 3)
    assert paint(scenes[:1], 1024).shape == (1, 1024, 1024, 3)
    assert paint([], 32).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("attribute", list(ATTRIBUTES))
def test_every_value_changes_the_picture(attribute: str) -> None:
    plain = {"colour": "red", "count": "5", "shape": "round", "centre": "golden", "background": "sky", "size": "large"}
    pictures = paint([Scene(tuple(encode({**plain, attribute: value})), 11) for value in ATTRIBUTES[attribute]], 32).astype(int)
    for i in range(len(pictures)):
        for j in range(i):
            assert (np.abs(pictures[i] - pictures[j]).max(axis=-1) > 40).sum() >= 20


@pytest.mark.parametrize("colour", ATTRIBUTES["colour"])
def test_petals_stand_out_from_every_background(colour: str) -> None:
    plain = {"colour": colour, "count": "6", "shape": "slender", "centre": "black", "size": "small"}
    kinds = ATTRIBUTES["background"]
    scenes = gather([Scene(tuple(encode({**plain, "background": kind})), key) for kind in kinds for key in range(5)])
    grid = Grid.of(64)
    empty = paint_background(scenes, grid)
    painted = empty.copy()
    blossom = paint_flower(painted, Flowers.of(scenes), grid) > 0.95
    difference = np.abs(quantise(painted).astype(int) - quantise(empty)).max(axis=-1)
    for mask, change in zip(blossom, difference, strict=True):
        assert 150 < mask.sum() < 700
        assert np.median(change[mask]) > 50


def test_mistakes_are_explained() -> None:
    with pytest.raises(SettingsError, match="did you mean 'train'"):
        Garden("trian")
    with pytest.raises(SettingsError, match="resolution 4"):
        Garden(resolution=4)
    with pytest.raises(SettingsError, match="length"):
        Garden(length=0)
    with pytest.raises(SettingsError, match="captions_per_picture"):
        Garden(captions_per_picture=0)
    with pytest.raises(SettingsError, match="did you mean 'heart-shaped'"):
        encode({"colour": "red", "count": "5", "shape": "heart", "centre": "golden", "background": "sky", "size": "large"})
    with pytest.raises(IndexError):
        Garden(length=10)[10]
