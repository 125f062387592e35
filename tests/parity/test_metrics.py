"""Scores against stored results of torch-fidelity, SciPy, scikit-image, HDGAN's code and the original formulas."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.golden_set import GoldenSet
from shared.rounding import ROUNDINGS, UNIT, moved
from shared.rounding_more import scaled
from torch import Tensor

from limner.metrics.alignment import paired
from limner.metrics.frechet import _notes, fid
from limner.metrics.inception_score import inception_score
from limner.metrics.kernel import kernel_distance
from limner.metrics.manifold import manifold
from limner.metrics.pixels import psnr, ssim
from limner.metrics.retrieval import chunked, hits
from limner.metrics.scoring.rows import Moments

WIDE = 2.0**-53
"""UNIT of float64, in which distances and scores are computed, here and there."""
SUMS = 1024.0
"""Roundings of a sum of a million terms, near sqrt(n)."""
CLOSE = ROUNDINGS * UNIT
"""What float32 may be off in probabilities, cosines and filtered pictures, relative to 1."""
Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("metrics")


def _features(arrays: Arrays, name: str) -> tuple[Tensor, Tensor]:
    return arrays[f"{name}_1"], arrays[f"{name}_2"]


def _moments(rows: Tensor) -> Moments:
    found = Moments()
    for part in rows.split(64):
        found.add(part)
    return found


def _starting(mapping: dict[str, Any], start: str) -> tuple[str, Any]:
    (key,) = (key for key in mapping if re.match(start, key))
    return key, mapping[key]


def _sets(golden: GoldenSet) -> dict[str, Any]:
    """The pairs of features that are there, each with its figures."""
    return {name: figures for name, figures in golden.part("fid_kid").items() if f"{name}_1" in golden.arrays}


def fids(golden: GoldenSet, arrays: Arrays) -> int:
    compared = 0
    for name, expected in _sets(golden).items():
        first, second = map(_moments, _features(arrays, name))
        value = fid(first, second)
        # The roots of eigenvalues that should be 0 and are one rounding of the largest.
        width = len(first.mean)
        largest = [float(torch.linalg.eigvalsh(side.covariance).max()) for side in (first, second)]
        tolerance = width * (WIDE * largest[0] * largest[1]) ** 0.5 + SUMS * WIDE * value
        for key in (key for key in expected if key.startswith("fid_")):
            assert value == pytest.approx(expected[key], rel=0, abs=tolerance), (name, key)
            compared += 1
    return compared


def kids(golden: GoldenSet, arrays: Arrays) -> int:
    compared = 0
    for name, expected in _sets(golden).items():
        first, second = _features(arrays, name)
        kernels = [((one.double() @ other.double().T) / one.shape[1] + 1) ** 3 for one in (first, second) for other in (first, second)]
        tolerance = SUMS * WIDE * max(float(kernel.abs().mean()) for kernel in kernels)
        whole = expected["kid_unbiased_first_m_rows"]
        rows = np.arange(whole["m"])
        assert kernel_distance(first, second, [(rows, rows)])[0] == pytest.approx(whole["value"], rel=0, abs=tolerance), name
        drawn = expected["kid_torch_fidelity"]
        generator = np.random.RandomState(drawn["rng_seed"])  # noqa: NPY002 - the draws of torch-fidelity
        sizes = [len(first), len(second)]
        subsets = [tuple(generator.choice(size, drawn["subset_size"], replace=False) for size in sizes) for _ in range(drawn["subsets"])]
        mean, deviation = kernel_distance(first, second, subsets)
        assert mean == pytest.approx(drawn["mean"], rel=0, abs=tolerance), name
        assert deviation == pytest.approx(drawn["std"], rel=0, abs=tolerance), name
        compared += 3
    return compared


def manifolds(golden: GoldenSet, arrays: Arrays) -> int:
    compared = 0
    for name, sets in _sets(golden).items():
        key, expected = _starting(sets, "precision_recall_k")
        neighbours = int(re.sub(r"precision_recall_k(\d+).*", r"\1", key))
        pairs = [_features(arrays, name), *(moved(_features(arrays, name), seed) for seed in range(3))]
        found = [manifold(generated, real, precision_neighbours=neighbours) for generated, real in pairs]
        for figure in ("precision", "recall"):
            values = [getattr(result, figure) for result in found]  # others where a distance is a radius but for rounding
            assert min(values) - CLOSE <= expected[figure] <= max(values) + CLOSE, (name, figure)
            compared += 1
    return compared


def inception_scores(golden: GoldenSet, arrays: Arrays) -> int:
    expected, logits = golden.part("inception_score"), arrays["is_logits"]
    _, formula = _starting(expected, "salimans")
    splits = len(formula["per_split"])
    assert inception_score(logits, splits) == pytest.approx((formula["mean"], formula["std"]), rel=CLOSE, abs=CLOSE)
    assert inception_score(logits, 1)[0] == pytest.approx(expected["one_split"], rel=CLOSE)
    uneven, stored = _starting(expected, "uneven")
    rows = int(uneven.split("first ")[1].split(" rows")[0])
    assert inception_score(logits[:rows], splits) == pytest.approx((stored["mean"], stored["std"]), rel=CLOSE, abs=CLOSE)
    return 5


def similarities(golden: GoldenSet, arrays: Arrays) -> int:
    """HDGAN's two projections as a matching model: VS similarity is the model's similarity of a picture and its caption."""

    class Projections:
        def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
            sides = []
            for rows, side in ((pictures, "img"), (captions, "sent")):
                weight, bias = (arrays[f"vs_sd_linear_{side}.{part}"] for part in ("weight", "bias"))
                sides.append(F.normalize(F.linear(rows, weight, bias), dim=1))
            return sides[0] @ sides[1].T

    found = paired(Projections(), arrays["vs_img"], arrays["vs_sent"])
    _, expected = _starting(golden.part("vs_similarity"), "VS per pair")
    assert found.tolist() == pytest.approx(expected, rel=0, abs=CLOSE)
    return len(expected)


def pixels(golden: GoldenSet, arrays: Arrays) -> int:
    compared = 0
    for name, expected in golden.part("ssim_psnr").items():
        pair = [arrays[f"ssim_{name}_{side}"] for side in "ab"]
        first, second = (picture[None, None] if picture.ndim == 2 else picture.permute(2, 0, 1)[None] for picture in pair)
        assert float(ssim(first, second)) == pytest.approx(_starting(expected, "ssim_gaussian_wang2004")[1], rel=0, abs=CLOSE), name
        assert float(psnr(first, second)) == pytest.approx(float(expected["psnr_db"]), rel=CLOSE), name
        compared += 2
    return compared


FIGURES = {
    "fid": fids,
    "kid": kids,
    "precision and recall": manifolds,
    "inception score": inception_scores,
    "vs similarity": similarities,
    "ssim and psnr": pixels,
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure(golden: GoldenSet, name: str) -> None:
    compared = FIGURES[name](golden, golden.arrays)
    print(f"\n{name}: {compared} figures")
    assert compared > 0


BREAKS = {
    "one side's features, in fid": ("fid", r"\w+_1"),
    "one side's features, in kid": ("kid", r"\w+_2"),
    "logits": ("inception score", "is_logits"),
    "a row of a projection's weights": ("vs similarity", r"vs_sd_linear_img\.weight"),
    "one of the pictures": ("ssim and psnr", r"ssim_\w+_a"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, name: str) -> None:
    figure, pattern = BREAKS[name]
    broken = {key: value.float().clone() for key, value in golden.arrays.items() if re.fullmatch(pattern, key)}
    for value in broken.values():
        scaled(value[:1] if "a row" in name else value)
    assert broken
    with pytest.raises(AssertionError):
        FIGURES[figure](golden, golden.arrays | broken)


def test_too_few_pictures_are_noted(golden: GoldenSet) -> None:
    for name in _sets(golden):
        first, second = _features(golden.arrays, name)
        fewest = min(len(first), len(second))
        assert (len(_notes(fewest, first.shape[1])) == 2) == (fewest <= first.shape[1])


def test_r_precision(golden: GoldenSet) -> None:
    expected = golden.part("r_precision")
    pictures, match, wrong = (golden.arrays[f"rp_{name}"].double() for name in ("img", "match", "mis"))
    own = F.cosine_similarity(pictures, match)
    others = F.cosine_similarity(pictures[:, None], wrong, dim=2)
    stored = golden.arrays["rp_hits"].numpy()
    clear = ((own - others.amax(1)).abs() > CLOSE).numpy()  # in float32 the others may be tied
    assert clear.sum() > 0.9 * len(clear)
    for ties in ("won", "shared"):
        assert (hits(own, others, ties)[clear] == stored[clear]).all()
    assert stored.mean() == pytest.approx(expected["R_top1"])
    chunks, published = _starting(expected, r"\d+ chunks as DM-GAN")
    _, whole = _starting(expected, r"\d+ chunks of")
    found = chunked(stored, int(chunks.split()[0]))
    assert found == pytest.approx(tuple(published))
    assert found != pytest.approx(tuple(whole))  # the picture that each chunk lacks is felt
