"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
from PIL import Image

import limner
from limner.core import files
from limner.core.files import save_whole, write_whole

RED, BLUE = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))


def full(path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["a.png", "A.PNG", "a.gif"])
def test_a_full_disk_leaves_the_old_picture(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / name
    save_whole(RED, path)
    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(OSError, match=r"No space left on device") as failed:
        save_whole(BLUE, path, save_all=True, append_images=[RED])
    assert failed.value.filename == str(path), "and not a name that nobody has heard of"
    assert [*tmp_path.iterdir()] == [path] and Image.open(path).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_text_bytes_and_long_names(tmp_path: Path) -> None:
    write_whole(tmp_path / "text", "é\udcff")
    write_whole(tmp_path / "bytes", b"\xff\n")
    assert (tmp_path / "text").read_bytes() == "é\\xff".encode() and (tmp_path / "bytes").read_bytes() == b"\xff\n"
    for name in ("a" * 251, "é" * 125, "花" * 83):
        save_whole(RED, tmp_path / f"{name}.png")
    assert len([*tmp_path.glob("*.png")]) == 3
    with pytest.raises(FileNotFoundError) as failed:
        write_whole(tmp_path / "none" / "text", "")
    assert failed.value.filename == str(tmp_path / "none" / "text")


def test_no_picture_is_written_in_place() -> None:
    """What writes into the picture that is there loses it where the disk is full: `save_whole` does not."""
    package = Path(limner.__file__).parent
    sources = [path for part in ("cli", "explore", "report", "training") for path in (package / part).rglob("*.py")]
    sources = [path for path in sources if path.name != "checkpoints.py"]  # it writes a new folder, and renames it
    found = re.compile(r"\.save\((?!\)|stream|buffer|FOLDER|pictures, path|self\.)|(?<!fresh)\.write_(text|bytes)\(")
    lines = [f"{path.name}: {line.strip()}" for path in sources for line in path.read_text("utf-8").splitlines() if found.search(line)]
    assert sources and not lines
