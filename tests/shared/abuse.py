"""Runs limner on damaged inputs, each in a process of its own, and says which of them it did not answer properly.

A proper answer: exit code 0 or 2 within ten seconds and two gigabytes, no traceback, and nothing written outside the case's folder.
A case depends on its seed and number alone, so that any of them can be run again:
`python tests/shared/abuse.py FOLDER --first 17 --count 1`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from shared.mutations import WORDS, damage, damaged_command, damaged_text

SECONDS, BYTES = 10.0, 2 * 2**30
CAPTION = "a red flower with five petals"
PREPARE = ["data", "prepare", "--out", "out", "--resolution", "16", "--max-rejected", "1"]

COMMANDS: dict[str, list[list[str]]] = {
    "pictures": [[*PREPARE, "pictures"]],
    "table": [
        [*PREPARE, "table"],
        [*PREPARE, "csv"],
    ],
    "shard": [[*PREPARE, "shard"]],
    "prepared": [
        ["data", "show", "prepared", "--out", "out.png"],
        ["train", "gan-cls", "--data", "prepared", "--out", "out", "--resolution", "16", "--steps", "1", "--dry-run"],
        ["evaluate", "--pictures", "painted", "--data", "prepared", "--metrics", "ssim,psnr", "--out", "out.json"],
    ],
    "painted": [["evaluate", "--pictures", "painted", "--data", "prepared", "--metrics", "ssim,psnr", "--out", "out.json"]],
    "recipe": [["train", "recipe/recipe.yaml", "--out", "out", "--dry-run"]],
    "run": [
        ["train", "gan-cls", "--out", "run", "--resume", "--steps", "3"],
        ["generate", "run", CAPTION, "--out", "out.png"],
        ["report", "run"],
    ],
    "model": [
        ["generate", "model", CAPTION, "--out", "out.png"],
        ["explore", "interpolate", "model", "--captions", CAPTION, "a blue flower", "--out", "out.png"],
    ],
    "onnx": [["generate", "onnx/model.onnx", CAPTION, "--out", "out.png"]],
    "study": [["study", "study/study.yaml", "--out", "out", "--dry-run"]],
    "caption": [
        ["generate", "model", CAPTION, "--out", "out.png"],
        ["explore", "edit", "model", CAPTION, "a blue flower", "--out", "out.png"],
    ],
    "command": [
        ["generate", "model", CAPTION, "-n", "2", "--seed", "3", "--out", "out.png"],
        [*PREPARE, "pictures"],
        ["data", "show", "prepared", "--split", "train", "--out", "out.png"],
        ["explore", "interpolate", "model", "--captions", CAPTION, "a blue flower", "--out", "out.png"],
        ["explore", "vary", "model", "--captions", CAPTION, "--out", "out.png"],
        ["evaluate", "--pictures", "painted", "--data", "prepared", "--metrics", "ssim", "--out", "out.json"],
        ["methods"],
        ["report", "run"],
        [
            "train",
            "gan-cls",
            "--data",
            "prepared",
            "--out",
            "out",
            "--resolution",
            "16",
            "--steps",
            "1",
            "--method.batch-size",
            "4",
            "--dry-run",
        ],
    ],
}
"""What is done with each kind of input; a kind's folder of the same name holds what is damaged."""


def case(number: int, seed: int, material: Path, folder: Path) -> tuple[str, list[str], str]:
    """Lays out one case's inputs in `folder`, damaged: its kind, its command, and what was done to it."""
    draw = random.Random(f"{seed}/{number}")
    kind = draw.choice(list(COMMANDS))
    command = list(draw.choice(COMMANDS[kind]))
    wanted = {token.split("/")[0] for token in command} | {kind}
    for name in sorted(wanted):
        if (material / name).is_dir():
            shutil.copytree(material / name, folder / name)
    if kind == "caption":
        at = command.index(CAPTION)
        command[at] = draw.choice(WORDS) if draw.random() < 0.2 else damaged_text(CAPTION, draw)
        return kind, command, "caption"
    if kind == "command":
        return kind, damaged_command(command, draw, keep=lambda token: token in ("--dry-run", "out", "out.png", "out.json")), "command"
    files = sorted(path for path in (folder / kind).rglob("*") if path.is_file())
    return kind, command, "; ".join(damage(path, draw) for path in draw.sample(files, min(len(files), draw.choice([1, 1, 2]))))


def answer(command: list[str], folder: Path, said: Path, seconds: float = SECONDS) -> dict[str, Any]:
    """Runs the command in a fork of this process, which has imported what takes long, and says how that ended."""
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from limner.cli.main import main

        code = 1
        try:
            code = main(command)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    late = False
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        # Time of a processor, not of the clock, so that a busy machine decides nothing; and a long stop for what only waits.
        if not late and (_cpu_seconds(child) > seconds or time.monotonic() - begin > 20 * seconds):
            os.killpg(child, signal.SIGKILL)
            late = True
        time.sleep(0.005)
    return {"code": os.waitstatus_to_exitcode(status), "late": late, "bytes": usage.ru_maxrss * 1024, "seconds": time.monotonic() - begin}


def _cpu_seconds(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def faults(ended: dict[str, Any], said: str) -> list[str]:
    """What is wrong with an answer; none for a proper one."""
    found = []
    if ended["late"]:
        found.append("took too long")
    elif ended["code"] not in (0, 2):
        found.append(f"exit code {ended['code']}")
    if "Traceback (most recent call last)" in said:
        found.append("traceback")
    if ended["bytes"] > BYTES:
        found.append(f"{ended['bytes'] / 2**30:.1f} GiB")
    if ended["code"] == 2 and not said.strip():
        found.append("said nothing")
    return found


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")}


def make_material(folder: Path) -> None:
    """The intact inputs: pictures with captions in several forms, a prepared set, a run of two steps, its model, an ONNX file, a study."""
    import numpy as np
    from PIL import Image

    def limner(*arguments: str) -> None:
        ended = answer(list(arguments), folder, folder / "said.txt", seconds=300)
        assert ended["code"] == 0, (folder / "said.txt").read_text()

    captions = [
        "a red flower with five petals",
        "a blue flower with six petals at night",
        "a white flower",
        "the red flower in a meadow",
    ] * 3
    for name in ("pictures", "table", "csv", "shard", "painted", "recipe", "onnx", "study"):
        (folder / name).mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (len(captions), 20, 20, 3), dtype=np.uint8)
    for number, (caption, picture) in enumerate(zip(captions, pixels, strict=True)):
        for place in ("pictures", "table", "csv"):
            Image.fromarray(picture).save(folder / place / (f"{number}.jpg" if number % 3 == 0 else f"{number}.png"))
        (folder / "pictures" / f"{number}.txt").write_text(f"{caption}\n{caption} in the sun\n")
        Image.fromarray(picture[:16, :16]).save(folder / "painted" / f"{number}.png")
    names = [f"{number}.jpg" if number % 3 == 0 else f"{number}.png" for number in range(len(captions))]
    lines = [json.dumps({"file_name": name, "text": caption}) for name, caption in zip(names, captions, strict=True)]
    (folder / "table" / "metadata.jsonl").write_text("\n".join(lines))
    (folder / "csv" / "metadata.csv").write_text("\n".join(["file_name,text", *map(",".join, zip(names, captions, strict=True))]))
    subprocess.run(["tar", "cf", "../shard/shard.tar", *sorted(os.listdir(folder / "pictures"))], cwd=folder / "pictures", check=True)
    limner("data", "prepare", "pictures", "--out", "prepared", "--resolution", "16")
    small = [
        "--preset",
        "cpu",
        "--resolution",
        "16",
        "--method.batch-size",
        "4",
        "--method.generator-channels",
        "4",
        "--training.device",
        "cpu",
    ]
    small += ["--method.discriminator-channels", "4"]
    limner("train", "gan-cls", "--data", "garden", "--data.garden-pictures", "24", "--out", "run", "--steps", "2", *small)
    shutil.copy(folder / "run" / "recipe.yaml", folder / "recipe" / "recipe.yaml")
    shutil.copytree(folder / "run" / "model", folder / "model")
    limner("export", "model", "--to", "onnx", "--out", "onnx/model.onnx")
    (folder / "study" / "study.yaml").write_text(
        "data: garden\nbudget: {minutes: 1}\nseeds: [0]\nentries: [gan-cls, {method: df-gan, settings: {method.batch-size: 4}}]\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where cases are laid out; `material` in it is made where it is missing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    material = folder / "material"
    os.environ |= {"OMP_NUM_THREADS": "1", "LIMNER_CACHE": str(folder / "cache"), "HOME": str(folder / "home")}
    import limner.cli.generate
    import limner.cli.train
    import limner.export.exported  # noqa: F401

    if not material.exists():
        make_material(folder / "being made")
        (folder / "being made").rename(material)
    place, said = folder / "cases" / "case", folder / "cases" / "said.txt"
    before = listing(material)
    results = folder / "results.jsonl"
    for number in range(arguments.first, arguments.first + arguments.count):
        shutil.rmtree(folder / "cases", ignore_errors=True)
        place.mkdir(parents=True)
        kind, command, done = case(number, arguments.seed, material, place)
        ended = answer(command, place, said)
        text = said.read_text(errors="replace")
        wrong = faults(ended, text)
        strays = sorted(set(os.listdir(folder / "cases")) - {"case", "said.txt"})
        if strays or listing(material) != before:
            wrong.append(f"wrote outside its folder: {strays or 'into the inputs of all cases'}")
        line = {"number": number, "kind": kind, "command": command, "done": done, **ended, "faults": wrong, "said": text[-3000:]}
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
