"""What a run leaves for those who watch it: how far it is, for as long as it trains."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from limner.core.owner import LOCK, holder, owned
from limner.training.estimate import Budget, TimeLeft
from limner.training.log import RunLog
from limner.training.standing import NAME, read_place


def test_a_run_says_where_it_stands_with_each_line_and_nothing_once_it_is_over(tmp_path: Path) -> None:
    log, clock = RunLog(tmp_path), iter(range(1000))
    left = TimeLeft(Budget(steps=100, batch_size=4), [Budget(steps=100, batch_size=4)], clock=lambda: float(next(clock)))
    log.begin("gan", left)
    assert read_place(tmp_path) is None
    for step in (1, 2):
        left.stepped(step, 2.0 * step)
    log.write({"phase": "gan", "step": 2, "total_step": 2, "generator/loss": 1.0})
    place = read_place(tmp_path)
    assert place is not None and (place.phase, place.step, place.steps, place.fraction) == ("gan", 2, 100, 0.02)
    assert place.rough and place.images_per_second == 2.0
    assert place.phase_left is not None and place.run_left is not None and place.run_left - place.phase_left >= 195.0
    assert place.left(1000.0) <= 1000.0 and place.left(-1.0) == 0.0 and place.left(None) is None  # type: ignore[operator]
    log.close()
    assert read_place(tmp_path) is None and [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_what_cannot_be_read_or_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"phase": 3}')
    assert read_place(tmp_path) is None
    (tmp_path / NAME).unlink()
    (tmp_path / f".{NAME}.new").mkdir()
    log = RunLog(tmp_path)
    log.begin("gan", TimeLeft(Budget(steps=10, batch_size=1)))
    log.write({"phase": "gan", "step": 1, "total_step": 1, "loss": 1.0})
    assert read_place(tmp_path) is None and len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def test_who_trains(tmp_path: Path) -> None:
    lock = tmp_path / LOCK
    assert holder(lock) is None
    with owned(lock, "it is used by"):
        owner = holder(lock)
        assert owner is not None and owner["process"] == os.getpid() and abs(owner["since"].timestamp() - time.time()) < 60
    assert holder(lock) is None
    lock.write_text(json.dumps({"process": 2**22 + 1, "host": os.uname().nodename, "since": "2026-01-01T00:00:00+00:00"}))
    assert holder(lock) is None, "its process is gone"
