"""Outputs that cannot be written are refused before a model is loaded or a picture is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from limner.cli import generate
from limner.cli.main import main
from limner.cli.outputs import check_file, check_folder
from limner.core.errors import SettingsError


def test_what_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path)
    check_file(tmp_path / "a" / "b.png")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    check_folder(tmp_path / "link" / "c")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for out, words in (
        ("file", "file is a file"),
        ("file/a/b", "file is a file"),
        ("dangling/a", "dangling is a link that leads nowhere"),
        ("a/" + "x" * 256 + "/b", "is too long"),
        ("a/" + "é" * 128, "is too long"),
    ):
        with pytest.raises(SettingsError, match=f"--out .* cannot be written: .*{words}"):
            check_folder(tmp_path / out)
    with pytest.raises(SettingsError, match="is a folder: give the name of a file"):
        check_file(tmp_path)
    with pytest.raises(SettingsError, match="its name is too long"):
        check_file(tmp_path / ("x" * 252 + ".png"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_permissions(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(SettingsError, match="takes no files, because its permissions do not allow it"):
        check_folder(tmp_path / "locked" / "a")


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "garden", "a flower", "--out", "FILE/pictures"],
        ["generate", "garden", "a flower", "--out", "FILE/a.png"],
        ["explore", "edit", "garden", "a", "b", "--out", "FILE/a.png"],
        ["explore", "interpolate", "garden", "--captions", "a", "b", "--out", "FILE/a.gif"],
        ["evaluate", "garden", "--out", "FILE/a.json"],
        ["compare", "garden", "garden-fast", "--out", "FILE/a"],
        ["import", "hdgan", "none.pth", "--out", "FILE/a"],
        ["import", "attngan", "none.pth", "--out", "FILE/a"],
        ["data", "prepare", "none", "--resolution", "32", "--out", "FILE/a"],
        ["data", "show", "garden", "--out", "FILE/a.png"],
        ["train", "gan-cls", "--data", "garden", "--out", "FILE/a"],
        ["study", "none.yaml", "--out", "FILE/a"],
        ["demo", "--out", "FILE/a"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_verb_asks_first(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def loaded(*_: object) -> None:
        raise AssertionError("a model was loaded first")

    monkeypatch.setattr(generate, "open_model", loaded)
    (tmp_path / "file").touch()
    assert main([word.replace("FILE", str(tmp_path / "file")) for word in words]) == 2
    told = capsys.readouterr()
    assert "cannot be written" in told.err and "file is a file" in told.err and told.err.count("\n") == 1 and not told.out
