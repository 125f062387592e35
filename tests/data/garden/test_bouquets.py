"""The bouquets as a data set: exactness, what the splits hold out, boxes, masks, who hides whom, and pictures."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations

import numpy as np
import pytest

from limner.core.errors import SettingsError
from limner.data.catalog import open_data
from limner.data.garden import ATTRIBUTES, SPLIT_CLASSES, encode
from limner.data.garden.attributes import CENTRE, COLOUR, COUNT, SIZE
from limner.data.garden.bouquets import HELD_OUT_COMPANY, HELD_OUT_RELATIONS, MOST, RELATIONS, THEMES, Bouquets
from limner.data.garden.bouquets.arranging import HIDES, MARGIN, RADII, Bouquet
from limner.data.garden.bouquets.captions import LEAST_VIEW
from limner.data.garden.bouquets.painting import paint_bouquets, paint_masks

COLOURS = ATTRIBUTES["colour"]

# sha256 of flowers, places, boxes and captions of 60 bouquets, as JSON: these may never change on any machine.
HASHES = {
    ("train", 0): "e949f38fd76cc4cf",
    ("val", 0): "b7f28d13a61585d8",
    ("test", 0): "5cce0026e132e0c6",
    ("all", 7001): "378764f9a648efd6",
}


def fingerprint(split: str, seed: int) -> str:
    bouquets = Bouquets(split, seed=seed)
    found = bouquets.bouquets(range(60))
    captions = [[caption.text for caption in bouquets.captions(range(60), k)] for k in range(2)]
    changed = [caption.text for caption in bouquets.counterfactuals(range(60), 0, 1)]
    content = [found.codes.tolist(), found.x.tolist(), found.y.tolist(), found.boxes.tolist(), found.visible.tolist(), captions, changed]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("split", "seed"), list(HASHES))
def test_everything_but_pixels_is_exact(split: str, seed: int) -> None:
    assert fingerprint(split, seed) == HASHES[split, seed]


def shown_in_training(found: Bouquet, row: int) -> tuple[set[int], set[frozenset[str]], set[tuple[str, str, str]]]:
    """Classes, pairs of colours and relations of colours that a bouquet shows."""
    n = int(found.number[row])
    colours = [COLOURS[code] for code in found.codes[row, :n, COLOUR]]
    classes = {int(colour * len(ATTRIBUTES["shape"]) + shape) for colour, shape in found.codes[row, :n][:, [0, 2]]}
    pairs = {frozenset(pair) for pair in combinations(colours, 2)}
    table = found.relations()[row]
    relations = {(colours[first], RELATIONS[name], colours[second]) for name, first, second in np.argwhere(table).tolist()}
    return classes, pairs, relations


def test_training_never_shows_what_is_held_out_and_the_others_always_do() -> None:
    company = {split: {frozenset(pair) for pair in HELD_OUT_COMPANY[split]} for split in ("val", "test")}
    relations = {split: set(HELD_OUT_RELATIONS[split]) for split in ("val", "test")}
    assert not company["val"] & company["test"] and not relations["val"] & relations["test"]
    for pairs in company.values():  # every colour loses one partner
        assert sorted(colour for pair in pairs for colour in pair) == sorted(COLOURS)
    for split in ("train", "val", "test"):
        found = Bouquets(split).bouquets(range(400))
        themes = set()
        for row in range(400):
            classes, pairs, said = shown_in_training(found, row)
            for other in ("val", "test"):
                new = {
                    "flower": classes & set(SPLIT_CLASSES[other]),
                    "company": pairs & company[other],
                    "relation": said & relations[other],
                }
                wanted = {THEMES[found.theme[row]]} if other == split else set()
                assert {name for name, what in new.items() if what} == wanted, (split, row)
            themes.add(int(found.theme[row]))
        assert themes == ({-1} if split == "train" else {0, 1, 2})


def test_flowers_differ_and_are_varied() -> None:
    found = Bouquets("all", seed=3).bouquets(range(600))
    assert set(np.bincount(found.number, minlength=5)[2:] > 150) == {True} and found.number.min() == 2 and found.number.max() == MOST
    for row in range(600):
        flowers = [tuple(codes) for codes in found.codes[row, : found.number[row]].tolist()]
        assert len({codes[4] for codes in flowers}) == 1 and len(set(flowers)) == len(flowers)
    codes = found.codes[found.there]
    for column, values in ((COLOUR, 8), (COUNT, 5), (CENTRE, 5), (SIZE, 2)):
        shares = np.bincount(codes[:, column], minlength=values) / len(codes)
        assert shares.min() > 0.6 / values
    relations = found.relations()
    assert relations.any((2, 3)).mean(0).min() > 0.35  # each kind of relation is in many pictures


def test_boxes_are_those_of_the_painted_blossoms() -> None:
    found = Bouquets("all", seed=4).bouquets(range(40))
    side = 128
    whole, seen = paint_masks(found, side)
    shapes = found.shapes(32)
    for row in range(40):
        for place in range(MOST):
            left, top, width, height = found.boxes[row, place] * side
            if place >= found.number[row]:
                assert width == height == 0 and not whole[row, place].any() and not shapes[row, place].any()
                continue
            ys, xs = np.nonzero(whole[row, place] > 127)
            edges = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert np.abs(edges - [left, top, left + width, top + height]).max() < 2
            share = whole[row, place].sum() / 255 / (width * height)
            assert abs(shapes[row, place].mean() - share) < 0.05
            visible = seen[row, place].sum() / whole[row, place].sum()
            assert abs(visible - found.visible[row, place]) < 0.1  # the exact figure is counted on a coarse lattice
    assert (seen.astype(int).sum(1) <= 255 + MOST).all() and (seen <= whole).all()


def test_every_flower_can_be_seen_and_shows_its_centre() -> None:
    for split in ("all", "test"):
        found = Bouquets(split, seed=5).bouquets(range(1500))
        assert found.visible[found.there].min() >= LEAST_VIEW
        x, y, radius = found.x, found.y, RADII[found.codes[:, :, SIZE]]
        for back, front in combinations(range(MOST), 2):
            rows = found.number > front
            distance = np.hypot(x[rows, front] - x[rows, back], y[rows, front] - y[rows, back])
            assert (distance >= 0.9 * radius[rows, front] + 0.3 * radius[rows, back]).all()
        boxes = found.boxes[found.there]
        assert boxes[:, :2].min() >= 0 and (boxes[:, :2] + boxes[:, 2:]).max() <= 1
        assert ((found.hides >= HIDES).any((1, 2))).mean() > 0.3 and 0.1 <= MARGIN < radius.min()


def test_an_item_agrees_with_the_bulk_calls() -> None:
    bouquets = Bouquets("test", seed=5, length=30, resolution=40, captions_per_picture=3)
    item = bouquets[12]
    assert item.key == "garden-bouquets-test-5-000012" and bouquets[-18].key == item.key and item.held_out in THEMES
    assert np.array_equal(item.pixels, bouquets.pictures([3, 12])[1]) and item.picture.size == (40, 40)
    assert item.captions == tuple(bouquets.caption(12, k) for k in range(3))
    n = len(item.flowers)
    assert item.masks.shape == item.visible_masks.shape == (n, 40, 40)
    assert np.array_equal(bouquets.masks([12])[0][0, :n], item.masks)
    assert [flower.class_id for flower in item.flowers] == bouquets.class_ids([12])[0, :n].tolist()
    assert [list(flower.box) for flower in item.flowers] == bouquets.boxes([12])[0, :n].tolist()
    for flower, codes in zip(item.flowers, bouquets.bouquets([12]).codes[0].tolist(), strict=False):
        assert encode(flower.attributes) == codes and flower.class_name == f"{flower.attributes['colour']} {flower.attributes['shape']}"
    together = bouquets.pictures(range(30))
    assert np.array_equal(bouquets.pictures(range(29, -1, -1))[::-1], together)
    assert bouquets.bouquets(range(30)).x.tolist() != Bouquets("test", seed=6).bouquets(range(30)).x.tolist()


def test_every_resolution_shows_the_same_bouquet() -> None:
    found = Bouquets("all").bouquets(range(12))
    fine = paint_bouquets(found, 256).astype(float)
    for resolution in (32, 64):
        share = 256 // resolution
        reduced = fine.reshape(12, resolution, share, resolution, share, 3).mean(axis=(2, 4))
        distance = np.abs(reduced[:, None] - paint_bouquets(found, resolution)).mean(axis=(2, 3, 4))
        own = distance.diagonal().copy()
        np.fill_diagonal(distance, np.inf)
        assert (own < 0.6 * distance.min(axis=1)).all()


def test_as_captioned_pictures_with_layouts() -> None:
    pictures = open_data("garden-bouquets", "val", 32, length=70)
    assert len(pictures) == 70 and not pictures.may_flip and pictures.class_count == len(pictures.label_names) == 32
    bouquets = Bouquets("val", length=70, resolution=32)
    rows = np.array([65, 3, 65])
    assert np.array_equal(pictures.read(rows), bouquets.pictures(rows))
    assert pictures.captions(65) == [bouquets.caption(65, k).text for k in range(5)]
    layout = pictures.layouts(rows)
    assert layout is not None and layout.shapes is not None and layout.shapes.shape == (3, MOST, 32, 32)
    assert layout.labels.tolist() == bouquets.class_ids(rows).tolist()
    assert layout.counts.tolist() == bouquets.bouquets(rows).number.tolist()
    assert np.allclose(layout.boxes.numpy(), bouquets.boxes(rows), atol=1e-6)
    front = layout.labels.numpy()[np.arange(3), layout.counts.numpy() - 1]
    assert pictures.class_ids is not None and front.tolist() == pictures.class_ids[rows].tolist()
    assert pictures.fingerprint != open_data("garden-bouquets", "val", 32, length=71).fingerprint


def test_mistakes_are_explained() -> None:
    with pytest.raises(SettingsError, match="did you mean 'train'"):
        Bouquets("trian")
    with pytest.raises(SettingsError, match="length"):
        Bouquets(length=0)
    with pytest.raises(SettingsError, match="captions_per_picture"):
        Bouquets(captions_per_picture=0)
    with pytest.raises(SettingsError, match="resolution 4"):
        Bouquets(resolution=4)
    with pytest.raises(IndexError):
        Bouquets(length=10)[10]
    with pytest.raises(SettingsError, match="garden-bouquets"):
        open_data("garden-bouquet", "train", 32)
