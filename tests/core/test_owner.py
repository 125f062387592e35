"""Locks: one owner at a time, named in the refusal, and free as soon as the owner is gone, however it went."""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limner.core import owner
from limner.core.errors import FolderInUse
from limner.core.files import whole_folder
from limner.core.owner import owned

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from limner.core.owner import owned
from limner.core.errors import FolderInUse
lock, ready, wait = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
while wait and not ready.exists():
    pass
try:
    with owned(lock, "it is held by"):
        print("held", flush=True)
        sys.stdin.read()
except FolderInUse as error:
    print(error, flush=True)
"""
ADD = """
import sys
from pathlib import Path
from limner.metrics.scoring.protocol import Protocol, Score, write_scores
for number in range(20):
    facts = dict(split="test", fingerprint="", count=1, reference_count=1, captions="", resolution=8, seed=0, implementation="")
    protocol = Protocol(metric="fid", data=f"{sys.argv[2]}-{number}", **facts)
    write_scores(Path(sys.argv[1]), [Score(name="fid", value=1.0, protocol=protocol, higher_is_better=False)])
"""


def holder(lock: Path, go: Path, *, wait: bool = False) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", HOLD, str(lock), str(go), str(int(wait))]
    return subprocess.Popen(words, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_many_that_begin_at_the_same_instant_one_has_it_and_the_others_name_it(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "run" / ".lock"
    processes = [holder(lock, tmp_path / "go", wait=True) for _ in range(4)]
    time.sleep(0.5)
    (tmp_path / "go").touch()
    answers = [said(process) for process in processes]
    assert answers.count("held") == 1, answers
    first = processes[answers.index("held")]
    for answer in answers:
        assert answer == "held" or answer.startswith(f"it is held by process {first.pid} on host {platform.node()} since ")
        assert answer == "held" or answer.endswith(": wait for it, stop it, or choose another --out")
    for process in processes:
        process.communicate("")
    assert not (tmp_path / "new").exists()  # nothing was made there, and nothing stays


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_leaves_it_free(end: signal.Signals, tmp_path: Path) -> None:
    lock = tmp_path / "run" / ".lock"
    process = holder(lock, tmp_path)
    assert said(process) == "held"
    assert json.loads(lock.read_text())["process"] == process.pid
    with pytest.raises(FolderInUse, match=f"process {process.pid} on host"), owned(lock, "it is held by"):
        pass
    process.send_signal(end)
    process.communicate()
    with owned(lock, "it is held by"):
        assert json.loads(lock.read_text())["process"] == os.getpid()
    assert not lock.exists()


def test_a_thread_takes_its_own_lock_again_only_where_it_says_so(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with owned(lock, "it is held by"):
        with owned(lock, "it is held by", again=True):
            pass
        assert lock.exists()
        with pytest.raises(FolderInUse, match=f"process {os.getpid()} "), owned(lock, "it is held by"):
            pass


def without_flock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(owner.fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_files_cannot_be_locked_the_file_is_the_lock(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_flock(monkeypatch, number)
    lock = tmp_path / ".lock"
    with owned(lock, "it is held by"), pytest.raises(FolderInUse, match=f"process {os.getpid()}"), owned(lock, "it is held by"):
        pass
    assert not list(tmp_path.iterdir())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = {"process": ended.pid, "host": platform.node(), "since": "2020-01-02T03:04:05+00:00"}
    for stale in (json.dumps(left), "", json.dumps(left | {"process": os.getpid()})):
        lock.write_text(stale)
        with owned(lock, "it is held by"):
            pass
    lock.write_text(json.dumps(left | {"host": "another"}))
    with pytest.raises(FolderInUse, match="on host another since 2020-01-02"), owned(lock, "it is held by"):
        pass
    assert lock.exists()


def test_where_no_folder_can_be_made_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such place")

    monkeypatch.setattr(owner, "PAUSE", 0.0)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(FileNotFoundError), owner.owned(tmp_path / "gone" / "lock", "it is written by"):
        pass


def test_a_folder_is_written_by_one(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "made") as fresh:
        (fresh / "a").touch()
        with pytest.raises(FolderInUse, match="made is being written by process"), whole_folder(tmp_path / "made"):
            pass
        assert (fresh / "a").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_no_score_is_lost_where_several_add_to_one_file(tmp_path: Path) -> None:
    from limner.metrics.scoring.protocol import read_scores

    words = [[sys.executable, "-c", ADD, str(tmp_path / "scores.json"), name] for name in ("a", "b", "c")]
    processes = [subprocess.Popen(each, env=os.environ | {"PYTHONPATH": str(ROOT)}) for each in words]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(read_scores(tmp_path / "scores.json")) == 60
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_of_two_preparations_of_one_folder_one_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "source").mkdir()
    for number in range(30):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / "source" / f"{number}.png")
        (tmp_path / "source" / f"{number}.txt").write_text("a black square")
    words = [sys.executable, "-m", "limner", "data", "prepare", "source", "--out", "made", "--resolution", "8"]
    places = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    processes = [subprocess.Popen(words, **places, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]  # type: ignore[call-overload]
    errors = [process.communicate()[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2], errors
    assert any("made is being written by process" in error or "--out made exists: choose" in error for error in errors)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "source"]


def test_a_demo_is_not_swept_away_by_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from limner.cli import demo
    from limner.cli.main import main
    from limner.core.recipes import save_recipe

    run = tmp_path / "run"
    run.mkdir()
    save_recipe(demo.recipe(demo.DemoArguments()), run / "recipe.yaml")
    process = holder(run / ".lock", tmp_path)
    assert said(process) == "held"
    assert main(["demo", "--out", str(run)]) == 2
    assert f"{run} is being trained by process {process.pid} on host" in capsys.readouterr().err
    assert (run / "recipe.yaml").exists()
    process.communicate("")
