import json
from pathlib import Path

import pytest
from PIL import Image

from limner.cli.main import main


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "{source}", "--out", "{out}"], "missing: --resolution"),
        (["prepare", "--out", "{out}", "--resolution", "16"], "missing SOURCE"),
        (["prepare", "{source}x", "--out", "{out}", "--resolution", "16"], "there is nothing at"),
        (["prepare", "{source}", "--out", "{out}", "--resolution", "4"], "--resolution 4 cannot be prepared"),
        (["prepare", "{source}", "--out", "{out}", "--resolution", "16", "--max-rejcted", "1"], "did you mean '--max-rejected'"),
        (["show", "{source}"], "is not a prepared data set"),
        (["show", "garden", "--out", "sheet.doc"], "no picture file"),
        (["shwo"], "did you mean 'show'"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(source, tmp_path, capsys, arguments, message):
    out = tmp_path / "new" / "out"
    assert main(["data", *(word.format(source=source, out=out) for word in arguments)]) == 2
    told = capsys.readouterr()
    assert message in told.err and told.err.count("\n") == 1 and told.out == ""
    assert not out.parent.exists()
