"""FID, KID and the Inception Score against stored results of torch-fidelity, SciPy and the original formula."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.metrics.distribution import Distribution, inception_score, kernel_distance

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "metrics"


@pytest.fixture(scope="module")
def golden():
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    return json.loads((FOLDER / "golden.json").read_text()), np.load(FOLDER / "golden.npz", allow_pickle=False)


def _features(arrays, name):
    return torch.from_numpy(arrays[f"{name}_1"]), torch.from_numpy(arrays[f"{name}_2"])


def test_fid_of_every_set(golden):
    facts, arrays = golden
    compared = 0
    for name, expected in facts["fid_kid"].items():
        first, second = _features(arrays, name)
        distribution = Distribution(["fid"], first.shape[1])
        for part in first.split(64):
            distribution.add(part, real=True)
        for part in second.split(64):
            distribution.add(part, real=False)
        figure = distribution.results()["fid"]
        for key in (key for key in expected if key.startswith("fid_")):
            assert figure.value == pytest.approx(expected[key], rel=1e-6, abs=1e-6), (name, key)
            compared += 1
        assert bool(figure.notes) == (min(len(first), len(second)) <= first.shape[1])
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


def test_inception_score(golden):
    facts, arrays = golden
    expected = facts["inception_score"]
    logits = torch.from_numpy(arrays["is_logits"])
    (formula,) = (value for key, value in expected.items() if key.startswith("salimans"))
    stored_splits = len(formula["per_split"])
    assert inception_score(logits, stored_splits) == pytest.approx((formula["mean"], formula["std"]), rel=1e-5)
    assert inception_score(logits, 1)[0] == pytest.approx(expected["one_split"], rel=1e-5)
    (uneven,) = (key for key in expected if key.startswith("uneven"))
    rows = int(uneven.split("first ")[1].split(" rows")[0])
    assert inception_score(logits[:rows], stored_splits) == pytest.approx((expected[uneven]["mean"], expected[uneven]["std"]), rel=1e-5)
