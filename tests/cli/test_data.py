import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from limner.cli.main import main
from limner.data.garden.stories import Stories


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(30):
        Image.new("RGB", (24, 24), (number * 8, 0, 90)).save(tmp_path / f"{number}.jpg")
        (tmp_path / f"{number}.txt").write_text(f"a square, number {number}")
    return tmp_path


def test_prepare_then_show(source, tmp_path, capsys):
    out = tmp_path / "sets" / "squares"
    assert main(["data", "prepare", str(source), "--out", str(out), "--resolution", "16"]) == 0
    told = capsys.readouterr()
    assert "30 pictures (24 train, 3 val, 3 test; splits made by picture)" in told.out and told.err == ""
    assert json.loads((out / "dataset.json").read_text())["splits"] == {"train": 24, "val": 3, "test": 3}
    assert main(["data", "show", str(out), "--count", "9", "--out", str(tmp_path / "sheet.png")]) == 0
    assert Image.open(tmp_path / "sheet.png").width > 900
    assert "9 of 24 pictures of squares, train split" in capsys.readouterr().out


def test_prepare_as_its_flags_say(source, tmp_path, capsys):
    Image.new("RGBA", (48, 24), (0, 0, 0, 0)).save(source / "clear.png")
    (source / "clear.txt").write_text("red_sky, sword")
    (source / "list.csv").write_text("id,caption,name\n" + "".join(f"{number},no,a square\n" for number in range(30)) + "clear,no,x\n")
    flags = ["--resolution", "16", "--fit", "pad", "--background", "#102030", "--pixel-art", "--force"]
    for more, captions in ((["--columns", "id,name"], 31), (["--tags"], 30 * 2 + 2)):
        assert main(["data", "prepare", str(source), "--out", str(tmp_path / "sets/a"), *flags, *more]) == 0
        card = json.loads((tmp_path / "sets/a/dataset.json").read_text())
        assert (card["fit"], card["background"], card["pixel_art"], card["captions"]) == ("pad", "#102030", True, captions)
    (tmp_path / "sets/zip").mkdir()
    shutil.make_archive(str(tmp_path / "sets/zip/images"), "zip", source)
    capsys.readouterr()
    assert main(["data", "prepare", str(tmp_path / "sets/zip/images.zip"), "--out", str(tmp_path / "sets/b"), "--resolution", "16"]) == 0
    assert "31 pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "{source}", "--out", "{out}"], "missing: --resolution"),
        (["prepare", "--out", "{out}", "--resolution", "16"], "missing SOURCE"),
        (["prepare", "{source}x", "--out", "{out}", "--resolution", "16"], "there is nothing at"),
        (["prepare", "{source}", "--out", "{out}", "--resolution", "4"], "--resolution 4 cannot be prepared"),
        (["prepare", "{source}", "--out", "{out}", "--resolution", "16", "--max-rejcted", "1"], "did you mean '--max-rejected'"),
        (["prepare", "{source}", "--out", "{source}/0.jpg/out", "--resolution", "16"], "0.jpg is a file: choose another path"),
        (["prepare", "{source}", "--out", "{out}", "--resolution", "16", "--columns", "image"], "is not two names with a comma"),
        (["prepare", "{source}", "--out", "{out}", "--resolution", "16", "--columns", "a,b"], "no table in"),
        (["prepare", "{source}", "--out", "{out}", "--resolution", "16", "--background", "gren"], "--background 'gren' is not a colour"),
        (["prepare", "{source}", "--out", "{out}", "--resolution", "16", "--fit", "cut"], "--fit"),
        (["describe", "{source}"], "is not a prepared data set"),
        (["describe", "garden", "--count", "0"], "--count is 0: give 1 to 100,000"),
        (["describe", "garden", "--pictures", "100000000000000"], "--pictures is 100,000,000,000,000: give 1 to 100,000"),
        (["show", "garden", "--count", "100000000000000"], "--count is 100,000,000,000,000: give 1 to 100,000"),
        (["show", "{source}"], "is not a prepared data set"),
        (["show", "garden", "--out", "sheet.doc"], "not a picture file"),
        (["shwo"], "did you mean 'show'"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(source, tmp_path, capsys, arguments, message):
    out = tmp_path / "new" / "out"
    assert main(["data", *(word.format(source=source, out=out) for word in arguments)]) == 2
    told = capsys.readouterr()
    assert message in told.err and told.err.count("\n") == 1 and told.out == ""
    assert not out.parent.exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENOENT, errno.ENAMETOOLONG, errno.EACCES])
def test_what_the_system_refuses_is_one_line(source, tmp_path, capsys, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), str(tmp_path / "new"))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["data", "prepare", str(source), "--out", str(tmp_path / "new" / "out"), "--resolution", "16"]) == 2
    told = capsys.readouterr()
    assert os.strerror(number) in told.err and str(tmp_path / "new") in told.err and told.err.count("\n") == 1


def test_the_summary_says_what_was_left_out_and_left_alone(source, tmp_path, capsys):
    (source / "3.jpg").write_bytes(b"junk")
    (source / "4.heic").write_bytes(b"junk")
    (source / "9x.svg").write_bytes(b"junk")
    (source / "notes.txt").write_text("mine")
    (source / "5.txt").write_text("on the left")
    out = tmp_path / "sets/out"
    assert main(["data", "prepare", str(source), "--out", str(out), "--resolution", "16", "--max-rejected", "0.1", "--flip", "yes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = f"each is in {out / 'rejects.jsonl'}"
    assert lines[1].startswith("left out: 1 .svg picture that is not read (convert it to JPEG or PNG), 1 not a picture, such as '")
    assert lines[2].startswith("not read: 1 ") and ".heic picture that" in lines[2] and "1 note on the set" in lines[2]
    assert lines[1].endswith(listed) and lines[2].endswith(listed)
    assert lines[-1] == "left and right: 1 of 29 captions speak of them; their pictures are never mirrored, the others may be"


def test_stories_are_shown_as_strips(tmp_path, capsys, monkeypatch):
    drawn = {}

    def sheet(pictures, captions, columns, notes):
        drawn.update(pictures=len(pictures), captions=captions, columns=columns)
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr("limner.data.sheet.contact_sheet", sheet)
    assert main(["data", "show", "garden-stories", "--count", "14", "--columns", "9", "--out", str(tmp_path / "strips.png")]) == 0
    assert drawn["pictures"] == len(drawn["captions"]) == 12 and drawn["columns"] == 8
    world = Stories("train", length=3)
    rows = [next(row for row in range(12) if caption in world.captions(row)) for caption in drawn["captions"]]
    assert sorted(rows[::4]) == [0, 4, 8] and all(rows[place] == rows[place - place % 4] + place % 4 for place in range(12))
    assert "12 pictures of garden-stories, train split" in capsys.readouterr().out
