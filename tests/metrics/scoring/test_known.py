"""Generators whose right scores are known come out where theory says, under every metric that the garden can serve."""

from __future__ import annotations

import numpy as np
import pytest

from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.metrics.scoring.evaluate import ScoringRequest, evaluate
from limner.metrics.scoring.known import Known, Reader
from limner.metrics.scoring.matching import MatchingJudge
from limner.metrics.scoring.registry import METRICS, network_of, scores_of

COUNT, SIDE = 160, 32
LEFT_OUT = ("scene-faithfulness", "story-faithfulness", "name-exchange", "reconstruction")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    pictures = GardenPictures(Garden("test", length=COUNT, resolution=SIDE))
    known = Known("test", SIDE, GardenPictures(Garden("train", length=300, resolution=SIDE)))
    matching = Reader()
    assert isinstance(matching, MatchingJudge)
    told, cache = [], tmp_path_factory.mktemp("cache")
    request = ScoringRequest(metrics=["all"], count=COUNT, matching=matching, training=known.training, cache=cache)
    scores = {
        name: {score.name: score for score in evaluate(painter, [pictures], request, say=told.append)} for name, painter in known.painters()
    }
    assert all(line.startswith(LEFT_OUT) for line in told)  # of bouquets, of stories, and of a model that inverts
    return scores


def values(found, metric):
    return {generator: scores[metric].value for generator, scores in found.items()}


FAITHFUL = ("perfect", "one picture a caption")
DEAF = ("shuffled captions", "caption ignored", "training pictures")


def test_all_metrics_are_taken(found):
    names = (set(METRICS) - {"prdc", *LEFT_OUT}) | {"precision", "recall", "density", "coverage", "top-1"}
    assert names == {score for metric in METRICS for score in scores_of(metric) if metric not in LEFT_OUT}
    assert all(set(scores) == names for scores in found.values())
    matched = {name for name, score in found["perfect"].items() if score.protocol.features == Reader().name}
    assert matched == {name for name in names if network_of(name) == "matching"}
    assert all(np.isfinite(score.value) for scores in found.values() for score in scores.values())


@pytest.mark.parametrize("metric", ["r-precision", "r-precision-as-published", "top-1", "ap", "clip-score", "vs", "faithfulness"])
def test_agreement_follows_the_caption_and_nothing_else(found, metric):
    value = values(found, metric)
    real = found["perfect"][metric].real
    for generator in FAITHFUL:
        assert value[generator] > real - 0.2 * abs(real), generator  # captions that leave the class open
    worst = min(value[generator] for generator in FAITHFUL)
    for generator in (*DEAF, "one picture", "noise"):
        assert value[generator] < 0.7 * worst, generator


def test_r_precision_is_at_chance_where_the_caption_is_not_heard(found):
    for generator in (*DEAF, "noise"):
        score = found[generator]["r-precision"]
        assert score.chance == 0.01 and score.value < 0.12, generator  # captions that name little are held by many pictures
    assert found["perfect"]["r-precision"].value > 0.8


@pytest.mark.parametrize("metric", ["fid", "fid-infinity", "kid", "mind"])
def test_distances_see_pictures_and_not_captions(found, metric):
    value = values(found, metric)
    for generator in ("perfect", "shuffled captions", "caption ignored", "one picture a caption"):
        assert value[generator] < 0.15 * min(value["one picture"], value["noise"]), generator
    assert value["training pictures"] < min(value["one picture"], value["noise"])


def test_quality_and_variety_come_apart(found):
    for name in ("precision", "density"):
        value = values(found, name)  # outliers' large balls take in some noise, which is precision's known flaw, and density's less
        assert value["perfect"] > 0.8 and value["caption ignored"] > 0.8 and value["noise"] < 0.75 * value["perfect"]
    for name in ("recall", "coverage"):
        value = values(found, name)
        assert value["perfect"] > 0.7 and value["one picture"] < 0.05 and value["noise"] < 0.2
    assert values(found, "is")["one picture"] == pytest.approx(1.0, abs=1e-6) and values(found, "is")["perfect"] > 2


def test_pictures_of_one_caption_are_alike_only_where_collapsed(found):
    diversity, similarity = values(found, "diversity"), values(found, "ms-ssim")
    real = found["perfect"]["ms-ssim"].real
    for generator in ("one picture", "one picture a caption"):
        assert diversity[generator] == pytest.approx(0.0, abs=1e-3) and similarity[generator] == pytest.approx(1.0, abs=1e-6)
    assert diversity["perfect"] == pytest.approx(1.0, abs=0.15) and similarity["perfect"] == pytest.approx(real, abs=0.1)
    assert similarity["caption ignored"] < real and similarity["noise"] < real
    different = values(found, "vendi")
    real = found["perfect"]["vendi"].real
    for generator in ("one picture", "one picture a caption"):
        assert different[generator] == pytest.approx(1.0, abs=1e-6)
    assert different["perfect"] == pytest.approx(real, rel=0.1) and different["caption ignored"] > 1.1 * real > 1.1


def test_only_training_pictures_are_memorised(found):
    scores = {generator: scores["memorisation"] for generator, scores in found.items()}
    copied = scores["training pictures"]
    assert copied.value == copied.parts["nearer than typical"].value == 1.0
    assert scores["perfect"].parts["nearer than typical"].value == pytest.approx(0.5, abs=0.15)
    for generator in ("perfect", "caption ignored", "noise"):
        assert scores[generator].value < 0.08, generator


def test_class_accuracy_falls_with_resolution_as_that_of_real_pictures(found):
    score = found["perfect"]["class-accuracy"]
    assert list(score.parts) == ["8 px", "16 px", "32 px"]
    assert score.value > 0.9 > score.parts["8 px"].value
    for part in score.parts.values():
        assert part.value == pytest.approx(part.real, abs=0.15)
    assert found["caption ignored"]["class-accuracy"].value < 0.5 and found["noise"]["class-accuracy"].value < 0.5


def test_pixels_are_nearest_to_those_of_a_picture_that_fits(found):
    for metric in ("psnr", "ssim"):
        value = values(found, metric)
        assert value["perfect"] > 1.3 * value["caption ignored"], metric
    assert values(found, "ssim")["noise"] < 0.1 * values(found, "ssim")["caption ignored"] + 0.02


def test_more_pictures_may_be_asked_for_than_there_are_real_ones(tmp_path):
    pictures = GardenPictures(Garden("test", length=60, resolution=SIDE))
    known = Known("test", SIDE, GardenPictures(Garden("train", length=80, resolution=SIDE)))
    scores = evaluate(
        known.perfect,
        [pictures],
        ScoringRequest(metrics=["all"], count=140, matching=Reader(), training=known.training, cache=tmp_path, batch_size=64),
    )
    assert {score.protocol.count for score in scores} == {140} and {score.protocol.reference_count for score in scores} == {60}
    found = {score.name: score for score in scores}
    assert found["r-precision"].value > 0.9 and found["r-precision"].real > 0.9
    assert all(np.isfinite(score.value) for score in scores)
