"""Scores against stored results of torch-fidelity, SciPy, scikit-image, HDGAN's code and the original formulas."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from limner.metrics.alignment import paired
from limner.metrics.frechet import _notes, fid
from limner.metrics.inception_score import inception_score
from limner.metrics.kernel import kernel_distance
from limner.metrics.manifold import manifold
from limner.metrics.pixels import psnr, ssim
from limner.metrics.retrieval import chunked, hits
from limner.metrics.scoring.rows import Moments

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "metrics"


@pytest.fixture(scope="module")
def golden():
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    return json.loads((FOLDER / "golden.json").read_text()), np.load(FOLDER / "golden.npz", allow_pickle=False)


def _features(arrays, name):
    return torch.from_numpy(arrays[f"{name}_1"]), torch.from_numpy(arrays[f"{name}_2"])


def _moments(rows):
    found = Moments()
    for part in rows.split(64):
        found.add(part)
    return found


def _starting(mapping, start):
    (key,) = (key for key in mapping if key.startswith(start))
    return key, mapping[key]


def test_fid_of_every_set(golden):
    facts, arrays = golden
    compared = 0
    for name, expected in facts["fid_kid"].items():
        first, second = _features(arrays, name)
        value = fid(_moments(first), _moments(second))
        for key in (key for key in expected if key.startswith("fid_")):
            assert value == pytest.approx(expected[key], rel=1e-6, abs=1e-6), (name, key)
            compared += 1
        fewest = min(len(first), len(second))
        assert (len(_notes(fewest, first.shape[1])) == 2) == (fewest <= first.shape[1])
    assert compared >= len(facts["fid_kid"]) > 0


def test_kid_of_every_set(golden):
    facts, arrays = golden
    compared = 0
    for name, expected in facts["fid_kid"].items():
        first, second = _features(arrays, name)
        whole = expected["kid_unbiased_first_m_rows"]
        rows = np.arange(whole["m"])
        assert kernel_distance(first, second, [(rows, rows)])[0] == pytest.approx(whole["value"], rel=1e-6, abs=1e-9), name
        drawn = expected["kid_torch_fidelity"]
        generator = np.random.RandomState(drawn["rng_seed"])  # noqa: NPY002 - the draws of torch-fidelity
        sizes = [len(first), len(second)]
        subsets = [tuple(generator.choice(size, drawn["subset_size"], replace=False) for size in sizes) for _ in range(drawn["subsets"])]
        mean, deviation = kernel_distance(first, second, subsets)
        assert mean == pytest.approx(drawn["mean"], rel=1e-5, abs=1e-7), name
        assert deviation == pytest.approx(drawn["std"], rel=1e-5, abs=1e-7), name
        compared += 3
    assert compared >= 3 * len(facts["fid_kid"]) > 0


def test_precision_and_recall_of_every_set(golden):
    facts, arrays = golden
    compared = 0
    for name, sets in facts["fid_kid"].items():
        key, expected = _starting(sets, "precision_recall_k")
        generated, real = _features(arrays, name)
        neighbours = int(key.removeprefix("precision_recall_k").split("_")[0])
        result = manifold(generated, real, precision_neighbours=neighbours)
        assert (result.precision, result.recall) == pytest.approx((expected["precision"], expected["recall"]), abs=1e-6), name
        compared += 2
    assert compared == 2 * len(facts["fid_kid"]) > 0


def test_inception_score(golden):
    facts, arrays = golden
    expected = facts["inception_score"]
    logits = torch.from_numpy(arrays["is_logits"])
    _, formula = _starting(expected, "salimans")
    stored_splits = len(formula["per_split"])
    assert inception_score(logits, stored_splits) == pytest.approx((formula["mean"], formula["std"]), rel=1e-5)
    assert inception_score(logits, 1)[0] == pytest.approx(expected["one_split"], rel=1e-5)
    uneven, stored = _starting(expected, "uneven")
    rows = int(uneven.split("first ")[1].split(" rows")[0])
    assert inception_score(logits[:rows], stored_splits) == pytest.approx((stored["mean"], stored["std"]), rel=1e-5)


def test_r_precision(golden):
    facts, arrays = golden
    expected = facts["r_precision"]
    pictures, match, wrong = (torch.from_numpy(arrays[f"rp_{name}"]).double() for name in ("img", "match", "mis"))
    own = F.cosine_similarity(pictures, match)
    others = F.cosine_similarity(pictures[:, None], wrong, dim=2)
    for ties in ("won", "shared"):  # nothing is tied here
        found = hits(own, others, ties)
        assert (found == arrays["rp_hits"]).all() and len(found) == len(arrays["rp_hits"]) > 0
        assert found.mean() == pytest.approx(expected["R_top1"])
    _, published = _starting(expected, "10 chunks as DM-GAN")
    assert chunked(found) == pytest.approx(tuple(published))
    _, whole = _starting(expected, "10 chunks of")
    assert chunked(found) != pytest.approx(tuple(whole))  # the picture that each chunk lacks is felt


def test_ssim_and_psnr_of_every_pair(golden):
    facts, arrays = golden
    compared = 0
    for name, expected in facts["ssim_psnr"].items():
        pair = [torch.from_numpy(arrays[f"ssim_{name}_{side}"]) for side in "ab"]
        first, second = (picture[None, None] if picture.ndim == 2 else picture.permute(2, 0, 1)[None] for picture in pair)
        assert float(ssim(first, second)) == pytest.approx(_starting(expected, "ssim_gaussian_wang2004")[1], abs=1e-6), name
        assert float(psnr(first, second)) == pytest.approx(float(expected["psnr_db"]), rel=1e-9), name
        compared += 2
    assert compared == 2 * len(facts["ssim_psnr"]) > 0


def test_vs_similarity(golden):
    """HDGAN's two projections as a matching model: VS similarity is the model's similarity of a picture and its caption."""
    facts, arrays = golden

    class Projections:
        def similarity(self, pictures, captions):
            sides = []
            for rows, side in ((pictures, "img"), (captions, "sent")):
                weight, bias = (torch.from_numpy(arrays[f"vs_sd_linear_{side}.{part}"]) for part in ("weight", "bias"))
                sides.append(F.normalize(F.linear(rows, weight, bias), dim=1))
            return sides[0] @ sides[1].T

    found = paired(Projections(), torch.from_numpy(arrays["vs_img"]), torch.from_numpy(arrays["vs_sent"]))
    _, expected = _starting(facts["vs_similarity"], "VS per pair")
    assert found.tolist() == pytest.approx(expected, abs=1e-5) and len(expected) > 0
