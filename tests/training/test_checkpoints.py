"""Checkpoints: a damaged one is passed over, and one that cannot be read now is left as it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from shared.locks import owned_elsewhere
from shared.tiny_runs import state_of, tiny

from limner.core.errors import CheckpointError
from limner.core.settings import Recipe
from limner.training import checkpoints
from limner.training.run import train


def recipe(steps: int, **training: int) -> Recipe:
    return tiny("gan-cls", steps, 16, checkpoint_every=2, **training)


def test_a_damaged_checkpoint_falls_back(tmp_path: Path) -> None:
    train(recipe(4), tmp_path / "run")
    cut = tmp_path / "run" / "checkpoints" / "00000004" / "state.pt"
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="00000004 is damaged.*cut short"):
        assert state_of(tmp_path / "run")["position"]["total_step"] == 2


def test_a_damaged_checkpoint_never_outlives_a_whole_one(tmp_path: Path) -> None:
    """Where one alone is kept, a damaged one of a later step must not be that one."""
    train(recipe(4), tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "00000004" / "state.pt").unlink()
    with pytest.warns(UserWarning, match="00000004 is damaged .state.pt is missing"):
        train(recipe(3, keep_checkpoints=1), tmp_path / "run", resume=True)
    assert state_of(tmp_path / "run")["position"]["total_step"] == 3


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_checkpoints_that_cannot_be_read_are_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer is not damage, and a run whose every checkpoint is damaged does not begin anew over them."""
    run = tmp_path / "run"
    train(recipe(3), run)
    before = contents(run)

    def stale(path: Path) -> str:
        raise OSError(116, "Stale file handle", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "sha256", stale)
        with pytest.raises(CheckpointError, match="cannot read .*00000003 .Stale file handle.*: try again when"):
            train(recipe(5), run, resume=True)
    assert contents(run) == before
    for state in run.glob("checkpoints/*/state.pt"):
        state.write_bytes(state.read_bytes()[:-1])
    before = contents(run)
    with pytest.warns(UserWarning, match="00000003 is damaged"), pytest.raises(CheckpointError, match="no checkpoint in .* is whole .*cut"):
        train(recipe(5), run, resume=True)
    assert contents(run) == before


def test_a_checkpoint_left_aside_between_two_renames_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends while a checkpoint is written again at its step, when the old one has made room and the new one is not there yet."""

    class Killed(BaseException):
        pass

    def cut(fresh: Path, place: Path) -> Path:
        made = rename(fresh, place)
        if place.suffix == ".old":
            monkeypatch.setattr("limner.core.files.recover", lambda folder: None)  # nothing is put right by a process that is gone
            raise Killed
        return made

    kept, rename = checkpoints.Checkpoints(tmp_path, keep=1), Path.rename
    kept.save(500, {"position": {"step": 500}})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        with pytest.raises(Killed):
            kept.save(500, {"position": {"step": 500, "finished": True}})
    monkeypatch.undo()
    left = [path.name for path in kept.folder.iterdir()]
    assert ".00000500.old" in left and "00000500" not in left
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with owned_elsewhere(tmp_path):
        assert kept.position() == {} and kept.load() is None  # another process is at work on it
    assert kept.position() == {"step": 500} and state_of(tmp_path)["position"] == {"step": 500}
    assert [path.name for path in kept.folder.iterdir()] == ["00000500"]
