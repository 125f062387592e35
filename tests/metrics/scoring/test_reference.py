"""The cache of what real pictures gave: a damaged file is no file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limner.metrics.scoring import reference


def test_what_is_stored_is_found_again_whole_or_not_at_all(tmp_path):
    arrays = {"features/numbers": np.arange(5), "features/values": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)}
    path = reference.cache_file(tmp_path / "new", {"data": ["garden", "abc"], "seed": 0})
    assert path != reference.cache_file(tmp_path / "new", {"data": ["garden", "abc"], "seed": 1})
    assert reference.load(path) is None and not (tmp_path / "new").exists()
    reference.store(path, arrays)
    found = reference.load(path)
    assert found is not None and found.keys() == arrays.keys()
    assert all((found[name] == arrays[name]).all() and found[name].dtype == arrays[name].dtype for name in arrays)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], b"not an archive"):
        path.write_bytes(damaged)
        found = reference.load(path)
        assert found is None or all((found[name] == arrays[name]).all() for name in arrays)  # a bit of no importance may have changed
    path.write_bytes(whole[: len(whole) // 2])
    assert reference.load(path) is None


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs a folder that nobody can write to")
def test_a_cache_that_cannot_be_written_stops_nothing():
    reference.store(Path("/proc/nowhere/file.npz"), {"a": np.zeros(1)})
