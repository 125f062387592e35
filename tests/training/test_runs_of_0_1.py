"""A run that version 0.1 has begun goes on: `tests/core/written_by_0_1/run` was stopped after 4 steps, under `--text.encoder words`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from limner.cli.main import main
from limner.model import load

WRITTEN = Path(__file__).parents[1] / "core" / "written_by_0_1"


def test_it_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(WRITTEN / "run", "run")
    shutil.copytree(WRITTEN / "matching", "words")
    before = torch.load("run/checkpoints/00000004/state.pt", weights_only=True)
    assert "turns" in before and "stage" in before["position"]  # the names of 0.1
    assert main("train gan-cls --data garden --out run --resume --steps 6".split()) == 0
    assert "going on with run after step 4" in capsys.readouterr().err
    lines = [json.loads(line) for line in Path("run/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "discriminator/loss" in line] == [4, 6]
    after = torch.load("run/checkpoints/00000006/state.pt", weights_only=True)
    assert after["modules"]["method"].keys() == before["modules"]["method"].keys()
    steps = {name: max(int(state["step"]) for state in player["optimizer"]["state"].values()) for name, player in after["players"].items()}
    assert steps == {"discriminator": 6, "generator": 6}  # the optimisers went on, too
    assert load("run").about["steps"] == 6
