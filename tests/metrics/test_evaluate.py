"""The whole evaluation, on generators whose right scores are known: a perfect one, collapsed ones, and one that mixes up its captions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from limner.core import random
from limner.core.errors import SettingsError
from limner.data.catalog import GardenPictures
from limner.data.garden import Garden, Scenes, paint
from limner.metrics.evaluate import evaluate
from limner.metrics.faithfulness import fitting_scenes, named_codes
from limner.metrics.judge import to_tensor
from limner.metrics.protocol import comparable
from limner.metrics.table import table

COUNT, SIDE = 160, 32


@pytest.fixture(scope="module")
def pictures():
    return GardenPictures(Garden("train", length=COUNT, resolution=SIDE))


def perfect(captions, samples, seed):
    """What the captions say, with everything else as the garden has it."""
    rows = zip(named_codes(captions), samples.tolist(), strict=True)
    scenes = [next(iter(fitting_scenes(row, "train", 1, seed + 1000, sample))) for row, sample in rows]
    return to_tensor(paint(scenes, SIDE))


def one_picture_a_caption(captions, samples, seed):
    """What the captions say, always in the same way."""
    return perfect(captions, np.array([hash(tuple(row)) % 1000 for row in named_codes(captions).tolist()]), seed)


def one_picture(captions, samples, seed):
    """One picture for everybody."""
    return to_tensor(paint(Scenes(np.array([[0, 2, 1, 0, 1, 1]]), np.array([5], dtype=np.uint64)), SIDE)).repeat(len(captions), 1, 1, 1)


def mixed_up(captions, samples, seed):
    """Good pictures of other captions."""
    pool = [*captions, *(caption.text for caption in Garden("train", seed=9, length=97).captions(np.arange(97)))]
    others = random.integers(97, seed, "mixed up", samples) + len(captions)
    return perfect([pool[other] for other in others], samples, seed)


def _scores(painter, pictures, metrics=("fid", "kid", "is", "faithfulness"), **options):
    return {score.name: score for score in evaluate(painter, [pictures], metrics, COUNT, **options)}


@pytest.fixture(scope="module")
def found(pictures):
    return {painter.__name__: _scores(painter, pictures) for painter in (perfect, one_picture_a_caption, one_picture, mixed_up)}


def test_a_perfect_generator_scores_as_real_pictures_do(found):
    scores = found["perfect"]
    assert scores["faithfulness"].value > 0.97 and scores["faithfulness"].real > 0.97
    assert scores["diversity"].value == pytest.approx(1.0, abs=0.12)
    assert all(part.value == pytest.approx(1.0, abs=0.25) for part in scores["diversity"].parts.values())
    assert abs(scores["kid"].value) < 3 * scores["kid"].error
    assert scores["fid"].value < 0.2 * found["one_picture"]["fid"].value


def test_a_generator_that_mixes_up_captions_is_at_chance(found):
    scores = found["mixed_up"]
    assert scores["faithfulness"].value == pytest.approx(scores["faithfulness"].shuffled, abs=0.07)
    assert scores["faithfulness"].value == pytest.approx(scores["faithfulness"].chance, abs=0.10)
    assert scores["faithfulness"].real > 0.97
    for name, part in scores["faithfulness"].parts.items():
        assert part.value == pytest.approx(part.shuffled, abs=4 * part.error + 0.02), name


def test_collapse_is_exposed(found):
    for name in ("one_picture", "one_picture_a_caption"):
        assert found[name]["diversity"].value == pytest.approx(0.0, abs=1e-3)
        assert all(part.value == pytest.approx(0.0, abs=1e-3) for part in found[name]["diversity"].parts.values())
    assert found["one_picture_a_caption"]["faithfulness"].value > 0.97  # faithful and collapsed: both must be read
    assert found["one_picture"]["is"].value == pytest.approx(1.0, abs=1e-6)
    assert found["perfect"]["is"].value > 5
    assert found["one_picture"]["faithfulness"].value == pytest.approx(found["one_picture"]["faithfulness"].chance, abs=0.2)


def test_every_score_carries_its_protocol(found, pictures):
    for name, score in found["perfect"].items():
        protocol = score.protocol
        assert (protocol.metric, protocol.data, protocol.split, protocol.fingerprint) == (name, "garden", "train", pictures.fingerprint)
        assert (protocol.count, protocol.reference_count, protocol.resolution) == (COUNT, COUNT, SIDE) and protocol.features_hash
        assert comparable(score, found["mixed_up"][name]) is None
    text = table(list(found["perfect"].values()))
    assert "garden/train" in text and text.count("protocol: ") == 5


def test_scores_do_not_depend_on_the_batch_size(found, pictures):
    said = []
    again = _scores(perfect, pictures, batch_size=48, progress=lambda done, total, what: said.append((done, total)))
    assert said[-1][0] == said[-1][1]
    for name, score in again.items():
        assert score.value == pytest.approx(found["perfect"][name].value, rel=1e-4, abs=1e-6), name
        assert score.protocol == found["perfect"][name].protocol


def test_the_reference_may_be_larger_or_smaller_than_the_count(pictures):
    for reference in (40, 10_000):
        scores = evaluate(perfect, [pictures], ["fid", "faithfulness"], 70, reference_count=reference)
        assert {score.protocol.reference_count for score in scores} == {min(reference, COUNT)}
        assert all(np.isfinite(score.value) for score in scores)


def test_wrong_requests_say_what_is_wrong(pictures):
    with pytest.raises(SettingsError, match="did you mean 'faithfulness'"):
        evaluate(perfect, [pictures], ["faithfullness"], COUNT)
    with pytest.raises(SettingsError, match="at least 2"):
        evaluate(perfect, [pictures], ["fid"], 1)
    with pytest.raises(SettingsError, match="paints 16 px and the reference is opened at 32"):
        evaluate(lambda captions, samples, seed: torch.zeros(len(captions), 3, 16, 16, dtype=torch.uint8), [pictures], ["fid"], 4)
    folder = GardenPictures(Garden("test", length=20, resolution=SIDE))
    folder.name = "my-flowers"
    with pytest.raises(SettingsError, match="cannot judge 'my-flowers'"):
        evaluate(perfect, [folder], ["faithfulness"], COUNT)
    assert evaluate(perfect, [folder], ["kid"], 10)[0].protocol.data == "my-flowers"


def test_margins_that_training_crops_from_are_not_scored(pictures):
    wide = GardenPictures(Garden("train", length=COUNT, resolution=SIDE))
    inner = wide.read
    wide.stored_resolution = SIDE + 6
    wide.read = lambda indices: np.pad(inner(indices), ((0, 0), (3, 3), (3, 3), (0, 0)), constant_values=7)
    scores = [evaluate(one_picture, [source], ["fid"], 20)[0] for source in (pictures, wide)]
    assert dataclasses.replace(scores[0]) == scores[1]
