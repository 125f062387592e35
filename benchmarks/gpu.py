"""Does everything work on a GPU, and how fast? `python benchmarks/gpu.py OUT` takes about ten minutes of one GPU.

Of every method, by its preset `cpu` at 64 px: the losses of its first steps on the GPU against those on the CPU; the time of a step and
the most memory in float32 and in bfloat16, and compiled as far as --minutes allow; milliseconds of painting 1, 8 and 64 pictures. Then two
minutes of `limner-gan` at 256 px in bfloat16. OUT/gpu.json has the figures and OUT/gpu.html shows them. It goes on where it was stopped.

Without a GPU, `--device cpu --only gan-cls --steps 3` checks that the script itself runs.
"""

from __future__ import annotations

import argparse
import html
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import limner
from limner import methods
from limner.cli.main import main as command_line

CAPTION = "a red flower with five round petals at night"
WAYS = {"float32": [], "bfloat16": ["--training.precision", "bf16-mixed"]}
COMPILED = ["--training.compile", "networks"]
LOSS = "/loss"


def trained(name: str, out: Path, device: str, steps: int, *more: str, every: int = 1) -> list[dict[str, Any]] | str:
    """The log's lines of a short run with `limner train`, or what it complained of."""
    shutil.rmtree(out, ignore_errors=True)
    words = ["train", name, "--data", "garden", "--data.garden-pictures", "256", "--preset", "cpu", "--resolution", "64", "--out", str(out)]
    words += ["--steps", str(steps), "--device", device, "--training.log-every", str(every), "--training.sample-every", "100000", *more]
    try:
        code = command_line(words)
    except Exception as error:  # one method's fault is a line of the page, and the others are still measured
        return f"{type(error).__name__}: {error}"[:300]
    if code:
        return f"exit code {code}"
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if "phase" in line and any(key.endswith(LOSS) for key in line)]


def step_of(log: list[dict[str, Any]]) -> dict[str, float]:
    """Milliseconds of a step of the last phase, those up to its first line left out, and the most memory in MiB."""
    last = [line for line in log if line["phase"] == log[-1]["phase"]]
    steps = last[-1]["step"] - last[0]["step"]
    taken = 1e3 * (last[-1]["seconds"] - last[0]["seconds"]) / steps if steps else float("nan")
    return {"step": taken, "memory": max(line.get("memory_mib", 0) for line in last)}


def loss_difference(one: list[dict[str, Any]], other: list[dict[str, Any]], steps: int = 2) -> float:
    """The largest relative difference of any loss in the first steps of each phase, before small differences have grown."""
    largest, seen = 0.0, dict[str, int]()
    for mine, theirs in zip(one, other, strict=False):
        seen[mine["phase"]] = seen.get(mine["phase"], 0) + 1
        if seen[mine["phase"]] <= steps:
            for key in (key for key in mine if key.endswith(LOSS)):
                largest = max(largest, abs(mine[key] - theirs[key]) / max(abs(theirs[key]), 1e-3))
    return largest


def painting(run: Path, device: str, rounds: int = 5) -> dict[str, float]:
    """Median milliseconds of painting 1, 8 and 64 pictures of one caption, decoding to images included."""
    model = limner.load(run, device=device)
    caption = CAPTION if model.reads_text else ""
    found = {}
    for n in (1, 8, 64):
        taken = []
        for turn in range(rounds + 1):
            begin = time.perf_counter()
            model.generate(caption, n=n, seed=turn)
            taken.append(1e3 * (time.perf_counter() - begin))
        found[f"paint {n}"] = statistics.median(taken[1:])
    return found


def page(figures: dict[str, Any]) -> str:
    columns = [
        "losses",
        *(f"{what}, {way}" for way in [*WAYS, "compiled"] for what in ("step", "memory")),
        "paint 1",
        "paint 8",
        "paint 64",
    ]

    def cell(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else html.escape(str(value))

    rows = "".join(
        f"<tr><th>{name}</th>" + "".join(f"<td>{cell(row.get(column, ''))}</td>" for column in columns) + "</tr>"
        for name, row in figures["methods"].items()
    )
    faults = "".join(
        f"<li>{html.escape(name)}: {html.escape(text)}</li>" for name, row in figures["methods"].items() for text in row.get("faults", [])
    )
    head = "".join(f"<th>{column}</th>" for column in ["method", *columns])
    champion = html.escape(json.dumps(figures.get("champion", "not reached"), indent=1))
    style = "body{font:15px system-ui;margin:2em}td,th{padding:.2em .6em;text-align:right}th:first-child{text-align:left}"
    return (
        f"<!doctype html><meta charset=utf-8><title>Limner on a GPU</title><style>{style}</style>"
        f"<h1>Limner on {html.escape(figures['device'])}</h1><p>PyTorch {figures['torch']}, Limner {figures['limner']}. "
        "Milliseconds and MiB; losses: the largest relative difference from the CPU's in the first two steps of each phase.</p>"
        f"<table><tr>{head}</tr>{rows}</table><h2>limner-gan at 256 px, two minutes</h2><pre>{champion}</pre>"
        f"<h2>Faults</h2><ul>{faults or '<li>none</li>'}</ul>"
    )


def measure(name: str, out: Path, device: str, steps: int) -> dict[str, Any]:
    """Everything about one method but compilation."""
    reference = trained(name, out / "cpu", "cpu", 3)
    first = trained(name, out / "first", device, 3)
    faults = [f"{where}: {log}" for where, log in (("CPU", reference), ("first steps", first)) if isinstance(log, str)]
    row: dict[str, Any] = {"faults": faults}
    if not isinstance(reference, str) and not isinstance(first, str):
        row["losses"] = loss_difference(first, reference)
    for way, flags in WAYS.items():
        log = trained(name, out / way, device, steps, *flags, every=max(steps // 5, 1))
        if isinstance(log, str):
            row["faults"].append(f"{way}: {log}")
            continue
        row |= {f"{what}, {way}": value for what, value in step_of(log).items()}
        if way == "float32":
            try:
                row |= painting(out / way, device)
            except Exception as error:
                row["faults"].append(f"painting: {type(error).__name__}: {error}"[:300])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=10.0, help="when to stop compiling methods; what is measured by then is written")
    parser.add_argument("--champion-minutes", type=float, default=2.0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    record, begin = given.out / "gpu.json", time.monotonic()
    device = torch.cuda.get_device_name() if given.device == "cuda" else given.device
    figures = json.loads(record.read_text()) if record.exists() else {"methods": {}}
    figures |= {"device": device, "torch": torch.__version__, "limner": limner.__version__}

    def keep() -> None:
        record.write_text(json.dumps(figures, indent=1))
        (given.out / "gpu.html").write_text(page(figures), encoding="utf-8")

    names = given.only or list(methods.names())
    for name in names:
        if name not in figures["methods"]:
            figures["methods"][name] = measure(name, given.out / "runs", given.device, given.steps)
            keep()
    if "champion" not in figures and given.champion_minutes:
        size = ["--resolution", "256", "--training.minutes", str(given.champion_minutes), *WAYS["bfloat16"]]
        log = trained("limner-gan", given.out / "champion", given.device, 1_000_000, *size, every=50)
        figures["champion"] = log if isinstance(log, str) else {**step_of(log), **log[-1]}
        keep()
    for name in names:
        row = figures["methods"][name]
        if "step, compiled" in row or time.monotonic() - begin > 60 * given.minutes:
            continue
        log = trained(name, given.out / "runs" / "compiled", given.device, given.steps, *COMPILED, every=max(given.steps // 5, 1))
        if isinstance(log, str):
            row["faults"].append(f"compiled: {log}")
        else:
            row |= {f"{what}, compiled": value for what, value in step_of(log).items()}
        keep()
    keep()
    print(f"{len(figures['methods'])} methods in {record}, faults: {sum(len(row['faults']) for row in figures['methods'].values())}")


if __name__ == "__main__":
    main()
