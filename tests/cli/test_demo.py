"""The demo from beginning to end, made small."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from limner.cli import demo
from limner.cli.demo import USUAL_STEPS, DemoArguments, slow
from limner.cli.main import main
from limner.core.errors import CheckpointError
from limner.core.recipes import save_recipe


def test_the_demo_trains_scores_paints_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "SCORED", 16)
    monkeypatch.setattr(demo, "RESOLUTION", 16)
    monkeypatch.setattr(demo, "DATA_SETTINGS", {"garden_pictures": 64})
    out = tmp_path / "demo"
    assert main(["demo", "--minutes", "0.02", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "never seen" in told and "colour" in told
    assert f"limner generate {out}" in told and "two quiet cores" in told and f"--out {out}" in told
    assert (out / "report.html").is_file() and (out / "scores.json").is_file()
    assert demo.is_demo(out)
    names = sorted(path.name for path in (out / "pictures").iterdir())
    assert len(names) == 5 and names[0].startswith("1-colours") and names[-1] == "walk.gif"


def test_only_a_slow_machine_is_told_so() -> None:
    arguments = DemoArguments()
    assert slow(USUAL_STEPS, arguments) is None and slow(1600, arguments) is None
    assert "took 1,056 steps in 3 min" in (slow(1056, arguments) or "")
    assert (slow(1056, arguments) or "").endswith("\n  limner demo --minutes 7")
    assert slow(0, arguments) is not None


def test_only_a_demo_makes_room_for_another(tmp_path: Path) -> None:
    """A demo counts whatever its length and seed, even if it was stopped. A run with other settings, or another folder, does not."""
    made = demo.recipe(DemoArguments(minutes=0.5, seed=7))
    longer = dataclasses.replace(made, training=dataclasses.replace(made.training, steps=90_000))
    for name, found in (("longer", longer), ("mine", dataclasses.replace(made, data="prepared/mine")), ("demo", made)):
        run = tmp_path / name
        (run / "checkpoints" / "00090000").mkdir(parents=True)
        (run / "checkpoints" / "00090000" / "state.pt").write_text("days of work")
        save_recipe(found, run / "recipe.yaml")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "recipe.yaml").write_text("method: limner-gan\n")
    for name in ("longer", "mine", "damaged"):
        before = sorted((tmp_path / name).rglob("*"))
        with pytest.raises(CheckpointError, match=f"{name} holds something that is not a demo: choose another --out"):
            demo.make_room(tmp_path / name)
        assert sorted((tmp_path / name).rglob("*")) == before
    demo.make_room(tmp_path / "demo")
    assert not list((tmp_path / "demo").iterdir())
