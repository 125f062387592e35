"""Two real processes give the scores of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from limner.metrics.scoring.protocol import read_scores

SCRIPT = Path(__file__).with_name("two_processes.py")


def run(out, processes):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[3])}
    result = subprocess.run([sys.executable, str(SCRIPT), str(out), str(processes)], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [read_scores(out / f"process-{rank}.json") for rank in range(processes)]


def test_two_processes_give_the_scores_of_one(tmp_path):
    (alone,) = run(tmp_path / "one", 1)
    both = run(tmp_path / "two", 2)
    assert both[0] == both[1] and len(alone) == len(both[0]) == 12
    for one, two in zip(alone, both[0], strict=True):
        assert one.protocol == two.protocol
        # FID's sums are added in another order, and coherence keeps the judge's probabilities, which round otherwise in a batch of
        # another size; everything else is put back in order, and equal bit for bit.
        rounds = one.name in ("fid", "coherence")
        assert two.value == (pytest.approx(one.value, rel=1e-6) if rounds else one.value), one.name
        assert two.parts.keys() == one.parts.keys()
        for name, part in one.parts.items():
            assert two.parts[name] == part or (rounds and two.parts[name].value == pytest.approx(part.value, rel=1e-6)), name
    assert all(len(list((tmp_path / name / "cache" / "references").iterdir())) == 2 for name in ("one", "two"))
