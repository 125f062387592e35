"""The judge that ships reads garden pictures, softened ones too; and its training learns and repeats itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.data.garden import ATTRIBUTES, Garden
from limner.features.garden_judge import SHIPPED
from limner.features.network import to_float
from limner.metrics.judge import accuracies, confusions, load_judge, to_tensor
from limner.parts.garden_judge import Artefacts, JudgeTraining, train_judge


@pytest.fixture(scope="module")
def judge():
    return load_judge()


@pytest.mark.parametrize(("split", "resolution", "least"), [("test", 64, 0.97), ("val", 64, 0.97), ("test", 32, 0.95)])
def test_the_shipped_judge_reads_every_attribute_of_held_out_combinations(judge, split, resolution, least):
    found = accuracies(confusions(judge, Garden(split, seed=123, length=400, resolution=resolution)))
    assert set(found) == set(ATTRIBUTES) and min(found.values()) > least, found


def test_the_shipped_judge_is_small_and_describes_itself(judge):
    assert sum(item.stat().st_size for item in SHIPPED.iterdir()) < 1_000_000
    assert judge.attributes == {name: tuple(values) for name, values in ATTRIBUTES.items()}
    assert judge.content_hash in (SHIPPED / "README.md").read_text()


def test_artefacts_leave_pictures_readable(judge):
    garden = Garden("test", seed=124, length=200)
    rows = np.arange(len(garden))
    clean = to_float(to_tensor(garden.pictures(rows)))
    spoiled = Artefacts(seed=5)(clean, step=3)
    assert spoiled.shape == clean.shape and (spoiled - clean).abs().mean() > 0.02
    with torch.no_grad():
        codes = judge.read(spoiled).codes()
    true = garden.attribute_codes(rows)
    for column, name in enumerate(ATTRIBUTES):
        assert (codes[name].numpy() == true[:, column]).mean() > 0.93, name


def test_counts_of_confusions_are_of_true_and_read_values(judge):
    garden = Garden("all", seed=4, length=150)
    counts = confusions(judge, garden)
    true = garden.attribute_codes(np.arange(150))
    for column, (name, values) in enumerate(ATTRIBUTES.items()):
        assert (counts[name].sum(1) == np.bincount(true[:, column], minlength=len(values))).all()


def test_training_learns_repeats_itself_and_leaves_global_randomness_alone():
    settings = JudgeTraining(steps=4, batch_size=8, pictures=64)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = train_judge(settings, say=lambda text: None)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert train_judge(settings, say=lambda text: None).content_hash == first.content_hash
    trained = train_judge(JudgeTraining(steps=60, batch_size=16, pictures=400), say=lambda text: None)
    found = accuracies(confusions(trained, Garden("all", seed=77, length=200)))
    for name in ("colour", "background", "size"):  # how far 60 steps lead depends on rounding; that they lead above chance does not
        chance = 1 / len(ATTRIBUTES[name])
        assert found[name] > chance + 5 * (chance * (1 - chance) / 200) ** 0.5, found  # five standard deviations of 200 guesses
