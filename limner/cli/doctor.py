"""`limner doctor`: is everything here, and whole?"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from limner import __version__
from limner.cli.arguments import parse
from limner.core.files import sha256

DESCRIPTION = """Look whether everything Limner needs is here and whole. Exit code 1 where something is wrong.

example:
  limner doctor"""

GIGABYTE = 1 << 30
PUBLISHED = "fid-inception"


@dataclass(frozen=True, kw_only=True)
class DoctorArguments:
    """`limner doctor` takes no arguments."""


@dataclass(frozen=True)
class Finding:
    """One line of the report. state: "ok", "note" (worth knowing) or "wrong"; fix: what to do about it."""

    state: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.state:<6} {self.what}{f' -> {self.fix}' if self.fix else ''}"


def main(argv: Sequence[str]) -> int:
    parse(DoctorArguments, argv, prog="limner doctor", description=DESCRIPTION)
    wrong = 0
    for finding in findings():
        print(finding, flush=True)
        wrong += finding.state == "wrong"
    print(f"\n{wrong} thing{'s' if wrong > 1 else ''} to fix" if wrong else "\nall is well")
    return 1 if wrong else 0


def findings() -> Iterator[Finding]:
    """Everything that was looked at."""
    yield Finding("ok", f"limner {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    yield from _packages()
    yield from _devices()
    yield from _disk()
    yield from _shipped()
    yield from _published()


def _packages() -> Iterator[Finding]:
    """What Limner's own metadata ask for: its dependencies, then each of its extras."""
    try:
        needed, extras = required("limner"), importlib.metadata.metadata("limner").get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("note", "limner is not installed, so nothing says which packages it needs", f"{sys.executable} -m pip install -e .")
        return
    versions = {name: _version(name) for name in needed}
    yield Finding("ok", ", ".join(f"{name} {version}" for name, version in versions.items() if version))
    if missing := [name for name, version in versions.items() if not version]:
        yield Finding("wrong", f"missing: {', '.join(missing)}", f"{sys.executable} -m pip install {' '.join(missing)}")
    for extra in extras:
        yield (
            Finding("ok", f"extra '{extra}'")
            if all(_version(name) for name in required("limner", extra))
            else Finding("note", f"extra '{extra}' is not installed", f"pip install 'limner[{extra}]' if you want it")
        )


def required(package: str, extra: str = "") -> list[str]:
    """The packages that an installed one asks for, by itself or for one of its extras; of those asked for with extras, theirs too.

    Raises PackageNotFoundError where it is not installed.
    """
    found = []
    for line in importlib.metadata.requires(package) or []:
        wanted, marked = re.match(r"([\w.-]+)(?:\[([\w,\s-]+)\])?", line), re.search(r"""extra == ["']([\w.-]+)["']""", line)
        if wanted is None or (marked[1] if marked else "") != extra:
            continue
        found.append(wanted[1])
        for further in (wanted[2] or "").split(",") if wanted[2] else ():
            with suppress(importlib.metadata.PackageNotFoundError):  # then it is missing itself
                found += required(wanted[1], further.strip())
    return list(dict.fromkeys(found))


def _version(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    fix = f"set OMP_NUM_THREADS={cores}, unless something else needs the other cores" if threads < cores // 2 else ""
    yield Finding("note" if fix else "ok", f"{_counted(cores, 'CPU core')}, PyTorch uses {_counted(threads, 'thread')}", fix)
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(number)
            yield Finding("ok", f"GPU {number}: {card.name}, {card.total_memory / GIGABYTE:.0f} GiB")
    elif torch.version.cuda:
        yield Finding("note", "this PyTorch is built for GPUs, but none is found", "look at the driver; training works on the CPU")
    else:
        yield Finding(
            "ok",
            "no GPU: training takes --preset cpu by itself or, for your own pictures, small-set or photographs, where the method has them",
        )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _published() -> Iterator[Finding]:
    """Whether the network that published scores are taken with is here; scores of the garden need none."""
    if importlib.util.find_spec("torch") is None:
        return
    from limner.features.registry import stored_file

    found = stored_file(PUBLISHED)
    if found is not None:
        yield Finding("ok", f"'{PUBLISHED}', which looks at pictures for published FID, KID and IS: {found}")
    else:
        fix = f"limner evaluate ... --features {PUBLISHED} downloads it, or takes your file as {PUBLISHED}=FILE"
        yield Finding("note", f"'{PUBLISHED}', which looks at pictures for published FID, KID and IS, is not on this machine", fix)


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    state, fix = ("ok", "") if free > 2 * GIGABYTE else ("note" if free > GIGABYTE // 4 else "wrong", "free some space before training")
    yield Finding(state, f"{free / GIGABYTE:.1f} GiB free in {Path.cwd()}", fix)
    if not os.access(Path.cwd(), os.W_OK):
        yield Finding("note", f"{Path.cwd()} cannot be written to", "give --out in a folder of your own")


def _shipped() -> Iterator[Finding]:
    """Every folder of shipped weights, against the hash that its config.json states."""
    reinstall = f"{sys.executable} -m pip install --force-reinstall --no-deps limner"
    folders = sorted((entry for entry in (resources.files("limner") / "shipped").iterdir() if entry.is_dir()), key=lambda entry: entry.name)
    if not folders:
        yield Finding("wrong", "the shipped models are not there", reinstall)
    for folder in folders:
        with resources.as_file(folder) as path:
            yield whole(path, reinstall)


def whole(folder: Path, reinstall: str) -> Finding:
    """Whether a folder's weights are those that its config.json speaks of."""
    weights = folder / "model.safetensors"
    try:
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("weights_sha256")
        found = sha256(weights)
    except (OSError, ValueError, AttributeError) as error:
        return Finding("wrong", f"shipped '{folder.name}' cannot be read ({error})", reinstall)
    if stated is None:
        return Finding("note", f"shipped '{folder.name}' states no hash to check")
    if found != stated:
        return Finding("wrong", f"shipped '{folder.name}' is damaged", reinstall)
    return Finding("ok", f"shipped '{folder.name}', {weights.stat().st_size / 1e6:.1f} MB")
