"""Agreement of captions and readings, and spread among the pictures of one caption, on numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.data.garden import ATTRIBUTES, SPLIT_CLASSES, Garden, class_of
from limner.features.garden_judge import Reading
from limner.metrics.faithfulness import NAMES, UNNAMED, Agreement, Spread, diversity_parts, fitting_scenes, named_codes


def test_captions_name_what_the_garden_says_they_name():
    garden = Garden("test", length=60)
    captions = garden.captions(np.arange(60))
    codes = named_codes([caption.text for caption in captions])
    for caption, row in zip(captions, codes, strict=True):
        assert {name: ATTRIBUTES[name][code] for name, code in zip(NAMES, row, strict=True) if code != UNNAMED} == dict(caption.named)


def test_accuracy_counts_only_captions_that_name_the_attribute():
    named = np.full((4, 6), UNNAMED)
    named[:, 0] = [1, 1, 2, UNNAMED]
    named[3, 5] = 0
    read = np.zeros((4, 6), dtype=np.int64)
    read[:, 0] = [1, 3, 2, 1]
    agreement = Agreement()
    agreement.add(named[:1], read[:1])
    agreement.add(named[1:], read[1:])
    parts = agreement.parts()
    assert set(parts) == {"colour", "size"}
    assert parts["colour"].value == pytest.approx(2 / 3) and parts["colour"].count == 3 and parts["colour"].chance == 1 / 8
    assert parts["colour"].shuffled == pytest.approx(2 / 3 * 1 / 3 + 1 / 3 * 1 / 3)  # named 1, 1, 2 against read 1, 3, 2
    assert parts["colour"].error == pytest.approx(np.sqrt(2 / 9 / 3))
    overall = agreement.overall()
    assert overall.value == pytest.approx((2 / 3 + 1) / 2) and overall.chance == pytest.approx((1 / 8 + 1 / 2) / 2)
    assert overall.error == pytest.approx(np.sqrt((1 / 9 + 4 / 9 + 1 / 9) / 9) / 2)


def test_fitting_scenes_keep_what_is_named_and_stay_in_the_split():
    for number, (colour, shape) in enumerate(((UNNAMED, UNNAMED), (2, UNNAMED), (UNNAMED, 1), (2, 1))):
        named = np.array([colour, 3, shape, UNNAMED, UNNAMED, 1])
        for split in ("train", "test"):
            codes = fitting_scenes(named, split, 200, 7, number).codes
            assert (codes[:, named != UNNAMED] == named[named != UNNAMED]).all()
            if colour == UNNAMED or shape == UNNAMED:
                assert set(class_of(codes[:, 0], codes[:, 2])) <= set(SPLIT_CLASSES[split])
            assert set(codes[:, 4]) == set(range(len(ATTRIBUTES["background"])))
    scenes = [fitting_scenes(np.full(6, UNNAMED), "train", 4, 7, number) for number in (0, 0, 1)]
    assert (scenes[0].keys == scenes[1].keys).all() and (scenes[0].keys != scenes[2].keys).all()


def _spread(features, pixels, colours):
    logits = {name: torch.zeros(len(colours), len(values)) for name, values in ATTRIBUTES.items()}
    logits["colour"] = torch.nn.functional.one_hot(torch.tensor(colours), 8).float()
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    return Spread.of(images, Reading(torch.tensor(features), logits), np.array([UNNAMED, 0, 0, 0, 0, UNNAMED]))


def test_spread_is_the_mean_distance_of_pairs_and_the_entropy_of_what_is_open():
    spread = _spread([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]], [-1.0, 1.0, 0.0], [1, 2, 1])
    assert spread.features == pytest.approx(10 / 3)
    assert spread.pixels == pytest.approx((2 + 1 + 1) / 3)
    assert spread.entropies == {"colour": pytest.approx(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))), "size": 0.0}


def test_diversity_is_the_share_of_real_spread():
    real = _spread([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]], [-1.0, 1.0, 0.0], [1, 2, 1])
    collapsed = _spread([[1.0, 1.0]] * 3, [0.3] * 3, [4, 4, 4])
    for generated, expected in ((real, 1), (collapsed, 0)):
        parts = diversity_parts([generated, generated], [real, real])
        assert {name: part.value for name, part in parts.items()} == {"features": expected, "pixels": expected, "unnamed colour": expected}
    half = diversity_parts([real, collapsed], [real, real])["features"]
    assert half.value == pytest.approx(0.5) and half.error > 0.3
