"""A study's runs as processes, several at once: begun, watched, and stopped so that nothing is lost."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from limner.core.owner import LOCK, owned
from limner.study.board import Board
from limner.study.child import NEXT
from limner.study.plan import Planned
from limner.study.settings import Study
from limner.study.state import Course, is_scored, is_trained, standing
from limner.training.signals import StopRequest

LOOK_EVERY = 0.5
"""Seconds between two looks at the processes."""
MEMORY_OF_A_RUN = 2 * 1024**3
"""Bytes that a narrow run on the CPU may need, its pictures included."""


def room(runs: int, threads: int | None = None) -> tuple[int, int]:
    """How many of so many runs this machine has room for at once, and the CPU threads of each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    together = max(1, min(runs, cores // (threads or 1), _free_memory() // MEMORY_OF_A_RUN))
    return together, threads or max(1, cores // together)


def graphics_cards(device: str) -> list[str]:
    """The GPUs to share out, as CUDA_VISIBLE_DEVICES names them; none on the CPU."""
    if device == "cpu":
        return []
    import torch

    numbers = [str(number) for number in range(torch.cuda.device_count())]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if numbers and visible else numbers


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold a study's folder for this process. Raises FolderInUse where another study has it; a lock dies with its process."""
    with owned(out / LOCK, f"another study is at work in {out}:"):
        yield


@dataclass
class Running:
    """A run that has a process. slot: its place among those at work, which decides its GPU."""

    run: Planned
    process: subprocess.Popen[bytes]
    slot: int
    course: Course


@dataclass
class Outcome:
    """What became of the runs that were not done before."""

    failed: dict[str, Path] = field(default_factory=dict)
    """Runs that ended with an error, and their logs."""
    signal: int | None = None
    """What stopped the study before its end."""


def make(study: Study, runs: Sequence[Planned], board: Board) -> Outcome:
    """Train and score what is not done, `study.together` at once; a run that fails does not stop the others."""
    assert isinstance(study.together, int)
    waiting, running, outcome = [run for run in runs if standing(run, study.evaluation) != "done"], dict[int, Running](), Outcome()
    cards, patient = graphics_cards(study.device), False
    with StopRequest() as stop:
        try:
            while (waiting or running) and stop.signal is None:
                for slot in range(study.together):
                    if slot not in running and waiting:
                        begun = _begin(study, waiting, slot, cards)
                        if begun is not None:
                            running[slot] = begun
                            board.began(begun.run)
                if waiting and not running and not patient:
                    patient = True
                    board.say("waiting for runs of a study that was killed to save and end")
                time.sleep(LOOK_EVERY)
                for slot, active in list(running.items()):
                    if active.process.poll() is not None:
                        del running[slot]
                        _end(study, active, board, outcome)
                board.show([(active.run, active.course.look(), is_trained(active.run.folder)) for active in running.values()], waiting)
        finally:  # a second Ctrl-C, or a bug, must not leave processes behind either
            outcome.signal = stop.signal
            _stop(list(running.values()), board)
    return outcome


def _begin(study: Study, waiting: list[Planned], slot: int, cards: Sequence[str]) -> Running | None:
    """Start the first of the waiting runs in whose folder nobody is still at work; None where there is none."""
    for run in waiting:
        run.log.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock(run.log.with_suffix(".lock"))
        if lock is None:  # the process of a study that was killed is saving
            continue
        waiting.remove(run)
        run.begin()
        words = evaluate_words(study, run)
        if not is_trained(run.folder):
            words = [*train_words(run), NEXT, *words]
        variables = os.environ | {"OMP_NUM_THREADS": str(study.threads)}
        if cards:
            variables["CUDA_VISIBLE_DEVICES"] = cards[slot % len(cards)]
        with run.log.open("ab") as log:
            log.write(f"\n$ limner {' '.join(words).replace(f' {NEXT} ', ' && limner ')}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [sys.executable, "-m", "limner.study.child", *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=variables,
                start_new_session=True,  # Ctrl-C is the study's: it passes it on
                pass_fds=(lock,),  # the lock lives as long as the process does, whatever becomes of the study
            )
        os.close(lock)
        return Running(run, process, slot, Course(run.folder / "log.jsonl"))
    return None


def train_words(run: Planned) -> list[str]:
    """The command line that begins a run, or goes on with it."""
    return ["train", run.entry.method, "--out", str(run.folder), "--resume"]


def evaluate_words(study: Study, run: Planned) -> list[str]:
    """The command line that scores a run."""
    asked = study.evaluation
    words = ["evaluate", str(run.folder), "--metrics", ",".join(asked.metrics), "--split", asked.split, "--count", str(asked.count)]
    words += ["--seed", str(asked.seed), "--device", study.device]
    for name in ("features", "matching"):
        value = getattr(asked, name)
        words += [f"--{name}", value] if value else []
    return words


def _end(study: Study, active: Running, board: Board, outcome: Outcome) -> None:
    """Look at what a process that has ended leaves."""
    run, code = active.run, active.process.returncode
    if active.process.stdin:
        active.process.stdin.close()
    if code == 0 and is_trained(run.folder) and is_scored(run.folder, study.evaluation):
        board.ended(run, active.course.look())
        return
    outcome.failed[run.name] = run.log
    if code < 0:
        reason = f"its process was ended by {signal.Signals(-code).name}"
    elif code == 0:
        reason = "its process ended well, but model or scores are not what was asked for"
    else:
        reason = last_words(run.log) or f"its process ended with code {code}"
    board.failed(run, reason)


def _stop(running: Sequence[Running], board: Board) -> None:
    """Ask the processes to save and end, and wait for them; a signal on the way there ends them at once."""
    if running:
        board.say(f"saving {len(running)} run{'s' if len(running) > 1 else ''}")
    for active in running:
        if active.process.poll() is None:
            active.process.send_signal(signal.SIGTERM)
    try:
        for active in running:
            active.process.wait()
    except BaseException:
        for active in running:
            active.process.kill()
        raise


def last_words(log: Path) -> str:
    """The last line that a process has left: its error, where it has failed."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 4096))
            lines = stream.read().decode("utf-8", "replace").split("\n$ limner ")[-1].splitlines()[1:]
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return said[-1].removeprefix("limner: ") if said else ""


def _lock(path: Path) -> int | None:
    """Take a lock; its open file, or None where another process has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _free_memory() -> int:
    """Bytes of memory that a new process may have."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
