"""Damaged inputs are answered in words: the shorter form of `python benchmarks/endurance.py inputs`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_damaged_inputs_are_refused_in_words(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tests" / "shared" / "abuse.py"), str(tmp_path), "--seed", "1", "--count", "40"]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}, check=True)
    answers = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(answers) == 40
    assert {line["code"] for line in answers} == {0, 2}
    wrong = [
        (line["number"], line["kind"], line["command"], line["done"], line["faults"], line["said"][-500:])
        for line in answers
        if line["faults"]
    ]
    assert not wrong, wrong
