"""The code of docs/training-loop.md, as it stands there, with fewer steps and pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import limner

PAGE = (Path(__file__).parents[2] / "docs" / "training-loop.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_page_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    code = CODE.replace("steps = 1000", "steps = 2").replace("length=2000", "length=20")
    assert code.count("steps = 2") == code.count("length=20") == 1
    exec(compile(code, "training-loop.md", "exec"), {})
    assert capsys.readouterr().out.startswith("0 generator ")
    kept = limner.load("models/mine")
    assert kept.about == {"data": "garden", "steps": 2} and kept.resolution == 32
    assert Path("flower.png").stat().st_size > 100
