"""Is anything lost under abuse? Each part goes on where it was stopped, and depends on its seed alone.

    python benchmarks/endurance.py kills OUT --count 200    # kill -9 at random moments of training, and resume: the same weights?
    python benchmarks/endurance.py disks OUT                # a full disk, and one that turns read-only
    python benchmarks/endurance.py inputs OUT --count 10000 # damaged captions, tables, shards, pictures, recipes, models, command lines
    python benchmarks/endurance.py steps OUT --steps 20000  # do memory and open files grow?

OUT/PART.jsonl has a line for each trial. docs/reliability.md has what came out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limner.core.recipes import trainable

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from shared.tiny_runs import same, state_of  # noqa: E402  # what the tests of resuming compare by, too

SMALL = ["--preset", "cpu", "--data.garden-pictures", "48", "--device", "cpu", "--training.log-every", "1"]
SMALL += ["--training.checkpoint-every", "3", "--training.sample-every", "5"]
AUGMENTED = ["--method.augmentation", "translation", "--method.augmentation-images", "40"]
RUNS = {
    "gan-cls": ["--resolution", "16", "--steps", "12"],
    "limner-gan": ["--resolution", "16", "--steps", "12"],
    "stackgan": ["--resolution", "64", "--steps", "6", "--method.batch-size", "4", "--method.stage-2-batch-size", "4"],
    "t2f": ["--resolution", "16", "--steps", "6"],
    "msg-gan": ["--resolution", "16", "--steps", "8"],
    "df-gan": ["--resolution", "16", "--steps", "8", "--method.batch-size", "4"],
    "attngan": ["--resolution", "64", "--steps", "6", "--method.batch-size", "4"],
    "mirrorgan": ["--resolution", "64", "--steps", "6", "--method.batch-size", "4"],
    "dall-e": ["--resolution", "16", "--steps", "6", "--method.halvings", "2"],
    "stylegan2": ["--resolution", "16", "--steps", "8", "--method.batch-size", "4", *AUGMENTED],
    "ci-gan": ["--resolution", "16", "--steps", "6", "--method.batch-size", "4"],
    "obj-gan": ["--resolution", "64", "--steps", "6", "--method.batch-size", "2"],
    "storygan": ["--resolution", "64", "--steps", "6", "--method.batch-size", "2"],
}
"""Thirteen methods, several of them in phases, each run some seconds long."""


def train(method: str, out: Path, *more: str) -> list[str]:
    data = ["--data", trainable(method).world]
    return [sys.executable, "-m", "limner", "train", method, *data, *SMALL, *RUNS[method], "--out", str(out), *more]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


def write(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def undisturbed(method: str, out: Path) -> tuple[Path, float]:
    """The run of a method that nothing disturbs, made once, and the seconds that it took."""
    run, clock = out / "undisturbed" / method, out / "undisturbed" / f"{method}.json"
    if not clock.exists():
        shutil.rmtree(run, ignore_errors=True)
        begin = time.monotonic()
        subprocess.run(train(method, run), env=environment(), check=True, capture_output=True)
        clock.write_text(json.dumps(time.monotonic() - begin))
    return run, json.loads(clock.read_text())


def kills(out: Path, count: int, seed: int, methods: list[str]) -> None:
    """Runs of the methods in turn; each is killed at random moments until it ends by itself, and compared with the undisturbed one."""
    record = out / "kills.jsonl"
    done = sum(line["kills"] for line in lines(record))
    trial = len(lines(record))
    while done < count:
        method = methods[trial % len(methods)]
        reference, seconds = undisturbed(method, out)
        draw, run = random.Random(f"{seed}/{trial}"), out / "disturbed"
        shutil.rmtree(run, ignore_errors=True)
        killed, printed = 0, ""
        while True:
            resume = ["--resume"] if (run / "recipe.yaml").exists() else []
            process = subprocess.Popen(
                train(method, run, *resume), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                printed = process.communicate(timeout=draw.uniform(0.2, 1.2) * seconds if killed < 6 else None)[0].decode()
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                killed += 1
        ended = {"trial": trial, "method": method, "kills": killed, "code": process.returncode}
        ended["same"] = process.returncode == 0 and same(state_of(run), state_of(reference))
        write(record, ended if ended["same"] else ended | {"said": printed[-2000:]})
        print(ended, flush=True)
        done, trial = done + killed, trial + 1
    found = lines(record)
    wrong = [line for line in found if not line["same"]]
    run_methods, killed = len({line["method"] for line in found}), sum(line["kills"] for line in found)
    print(f"{killed} kills in {len(found)} runs of {run_methods} methods: {len(wrong)} runs ended differently")


@contextmanager
def disk(place: Path, size: str) -> Iterator[None]:
    """A small disk of its own in memory; it needs the right to mount."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "limner", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def disks(out: Path, methods: list[str]) -> None:
    """Each method on a disk that fills up, then with room again; and on one that turns read-only, then writable again."""
    record, place = out / "disks.jsonl", out / "disk"
    known = {(line["method"], line["trouble"]) for line in lines(record)}
    for method in methods:
        reference, _ = undisturbed(method, out)
        for trouble in ("full", "read-only"):
            if (method, trouble) in known:
                continue
            with disk(place, "2g"):
                run, filler = place / "run", place / "filler"
                begun = subprocess.Popen(train(method, run), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                while begun.poll() is None and not any((run / "checkpoints").glob("*")):
                    time.sleep(0.02)
                begun.kill()
                begun.wait()
                if trouble == "full":
                    free = shutil.disk_usage(place).free
                    with filler.open("wb") as file:
                        for _ in range((free - 20_000) // 4096):
                            file.write(bytes(4096))
                else:
                    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
                stopped = subprocess.run(train(method, run, "--resume"), env=environment(), capture_output=True, text=True)
                if trouble == "full":
                    filler.unlink()
                else:
                    subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
                again = subprocess.run(train(method, run, "--resume"), env=environment(), capture_output=True, text=True)
                ended = {"method": method, "trouble": trouble, "stopped": stopped.returncode, "said": stopped.stderr[-300:].strip()}
                ended |= {"code": again.returncode, "same": again.returncode == 0 and same(state_of(run), state_of(reference))}
            write(record, ended)
            print(ended, flush=True)


def inputs(out: Path, count: int, seed: int) -> None:
    """Damaged inputs, by tests/shared/abuse.py, whose shorter form is a test."""
    record = out / "results.jsonl"
    first = len(lines(record))
    if first < count:
        command = [sys.executable, str(ROOT / "tests" / "shared" / "abuse.py"), str(out), "--seed", str(seed), "--first", str(first)]
        subprocess.run([*command, "--count", str(count - first)], env=environment(), check=True)
    found = lines(record)
    for line in found:
        if line["faults"]:
            print(line["number"], line["kind"], " ".join(line["command"])[:200], line["done"][:80], "; ".join(line["faults"]))
    print(f"{len(found)} damaged inputs: {sum(bool(line['faults']) for line in found)} without a proper answer")


def steps(out: Path, count: int) -> None:
    """One long run, whose memory and open files are read all the while."""
    record = out / "steps.jsonl"
    command = [sys.executable, "-m", "limner", "train", "gan-cls", "--data", "garden", *SMALL[:-4], "--resolution", "16"]
    command += ["--steps", str(count)]
    command += ["--training.log-every", "200", "--training.checkpoint-every", "500", "--training.sample-every", "500"]
    command += ["--method.batch-size", "8", "--method.epochs", "1000000", "--out", str(out / "long")]
    command += ["--resume"] if (out / "long" / "recipe.yaml").exists() else []
    said = (out / "steps.log").open("w+")  # a file, for nobody reads a pipe meanwhile, and a full one would stop the run
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=said, text=True)
    begin = time.monotonic()
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            files = len(os.listdir(f"/proc/{process.pid}/fd"))
        except OSError:
            break
        memory = next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)
        write(record, {"seconds": round(time.monotonic() - begin), "mebibytes": round(memory, 1), "files": files})
        time.sleep(5)
    said.seek(0)
    print(said.read()[-500:], end="")
    said.close()
    found = [line for line in lines(record) if line["seconds"] > 60]
    if len(found) > 8:
        quarter = len(found) // 4
        for what in ("mebibytes", "files"):
            early, late = (sum(line[what] for line in part) / quarter for part in (found[:quarter], found[-quarter:]))
            print(f"{what}: {early:.1f} in the first quarter, {late:.1f} in the last")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["kills", "disks", "inputs", "steps"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", choices=list(RUNS), default=list(RUNS), help="of the parts kills and disks")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    match given.part:
        case "kills":
            kills(given.out, given.count, given.seed, given.methods)
        case "disks":
            disks(given.out, given.methods)
        case "inputs":
            inputs(given.out, given.count, given.seed)
        case _:
            steps(given.out, given.steps)
