"""Two hosts of one run, each in a network of its own, as far as the system lets a test make these."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from limner.core.errors import TrainingError
from limner.training.hosts import network_towards, telling_who_is_lost

ADDRESSES = ("10.77.41.1", "10.77.41.2")
SMALL = ["--data", "garden", "--preset", "cpu", "--resolution", "16", "--data.garden-pictures", "64", "--device", "cpu"]
SMALL += ["--method.batch-size", "8", "--training.checkpoint-every", "5"]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """The names of two network namespaces that reach each other and nothing else."""
    one, other = (f"limner-{os.getpid()}-{number}" for number in (0, 1))
    try:
        try:
            for host in (one, other):
                ip("netns", "add", host)
            ip("link", "add", "limner0", "netns", one, "type", "veth", "peer", "name", "limner1", "netns", other)
            for number, host in enumerate((one, other)):
                ip("-n", host, "address", "add", f"{ADDRESSES[number]}/24", "dev", f"limner{number}")
                for device in ("lo", f"limner{number}"):
                    ip("-n", host, "link", "set", device, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"this system does not let a test make networks: {error}")
        yield one, other
    finally:
        for host in (one, other):
            subprocess.run(["ip", "netns", "delete", host], capture_output=True)


def train(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "limner", "train", "gan-cls", *SMALL, "--out", str(out), *more]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "GLOO_"))}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])} | more


def on_both(hosts: Sequence[str], command: Sequence[str]) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            ["ip", "netns", "exec", host, *command],
            env=environment(MASTER_ADDR=ADDRESSES[0], MASTER_PORT="29541", NODE_RANK=str(rank)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, host in enumerate(hosts)
    ]


def test_two_hosts_train_one_model_and_a_lost_one_ends_the_run(hosts: tuple[str, str], tmp_path: Path) -> None:
    for process in on_both(hosts, train(tmp_path / "hosts", "--steps", "10", "--training.nodes", "2")):
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    here = subprocess.run(train(tmp_path / "here", "--steps", "10", "--training.devices", "2"), env=environment(), capture_output=True)
    assert here.returncode == 0, here.stderr
    of_hosts, of_processes = ((tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("hosts", "here"))
    assert of_hosts == of_processes

    both = on_both(hosts, train(tmp_path / "lost", "--steps", "320", "--training.nodes", "2"))
    try:
        until = time.monotonic() + 300
        while not any((tmp_path / "lost" / "checkpoints").glob("[0-9]*")):
            assert time.monotonic() < until and all(process.poll() is None for process in both)
            time.sleep(0.05)
        both[0].send_signal(signal.SIGKILL)  # the one that the other was told to meet
        _, said = both[1].communicate(timeout=120)
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert both[1].returncode == 2 and "Traceback" not in said
    assert re.search(r"limner: another process of this run of 2 on 2 hosts has ended or cannot be reached \(.*\): .* --resume, on as", said)
    alone = subprocess.run(
        train(tmp_path / "lost", "--resume", "--steps", "20", "--training.nodes", "1"), env=environment(), capture_output=True, text=True
    )
    assert alone.returncode == 0 and "going on with" in alone.stdout + alone.stderr, alone.stderr


def test_which_network_leads_there() -> None:
    assert network_towards("127.0.0.1") in (None, "lo", "lo0")
    assert network_towards("no such host") is None


def test_only_what_the_network_says_is_taken_for_a_lost_process() -> None:
    with pytest.raises(RuntimeError, match="shape"), telling_who_is_lost(2, 1):
        raise RuntimeError("the shape is wrong")
    with pytest.raises(RuntimeError, match="gloo"), telling_who_is_lost(1, 1):
        raise RuntimeError("gloo")
    said = r"this run of 2 has ended or cannot be reached \(Connection closed by peer \[10.0.0.1\]:9\)"
    with pytest.raises(TrainingError, match=said), telling_who_is_lost(2, 1):
        raise RuntimeError("[/build/gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.1]:9. This is typically caused")
