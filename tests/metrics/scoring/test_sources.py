"""A folder of pictures that are scored: none is left out unseen, and none is paired by chance."""

import json
from pathlib import Path

import pytest
from PIL import Image

from limner.cli.main import main
from limner.core.errors import DataError
from limner.data.catalog import open_data
from limner.data.prepare import prepare
from limner.data.prepared import PreparedPictures, open_prepared
from limner.metrics.scoring.sources import Stored


def paint(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (200, 30, 30)).save(path)
    return path


def reference(tmp_path: Path, names: list[str]):
    for name in names:
        Path(f"{paint(tmp_path / 'real' / name)}.txt").write_text("a red square")
    prepare([tmp_path / "real"], tmp_path / "prepared", resolution=16, validation=0, test=0)
    return open_prepared(tmp_path / "prepared", "train", 16)


def test_every_format_and_linked_folder_is_scored_and_the_rest_is_said(tmp_path, capsys):
    folder = tmp_path / "theirs"
    for name in ("a.png", "b.tif", "c.jfif", "d.ppm"):
        paint(folder / name)
    for number in range(3):
        paint(tmp_path / f"far/{number}.png")
        (folder / f"{number}.heic").write_bytes(b"?")
    (folder / "more").symlink_to(tmp_path / "far")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "notes.txt").write_text("x")
    stored = Stored(folder)
    assert stored.count == 7 and "folder of 7" in stored.told and "(4 more left out)" in stored.told
    assert "3 .heic picture" in stored.left_out and "1 link that leads to nothing" in stored.left_out and "1 note" in stored.left_out
    arguments = ["evaluate", "--pictures", str(folder), "--data", "garden", "--metrics", "kid", "--count", "7", "--split", "val"]
    assert main([*arguments, "--resolution", "32"]) == 0
    assert f"not scored in {folder}: 3 .heic picture" in capsys.readouterr().err
    for name in ("a.png", "b.tif", "c.jfif", "d.ppm", "more"):
        (folder / name).unlink()
    with pytest.raises(DataError, match=r"holds 0 picture\(s\) and 5 files that are not scored \(3 .heic picture"):
        Stored(folder)


def test_pictures_are_paired_with_those_of_their_names(tmp_path):
    pictures = reference(tmp_path, ["a.png", "b.png", "c/a.png"])
    for name in ("a.jpg", "c/a.png", "x.png"):
        paint(tmp_path / "theirs" / name)
    keys = [pictures.key(index) if index >= 0 else None for index in Stored(tmp_path / "theirs").meet(pictures).indices.tolist()]
    assert sorted(filter(None, keys)) == ["a", "c/a"] and None in keys


@pytest.mark.parametrize("twice", [["a.png", "a.jpg"], ["b.tif", "b.png"]])
def test_several_pictures_of_one_name_are_not_paired_by_chance(tmp_path, twice):
    pictures = reference(tmp_path, ["a.png", "b.png"])
    for name in (*twice, "x.png"):
        paint(tmp_path / "theirs" / name)
    with pytest.raises(DataError, match="has no reference picture that is surely its own.*has the same name: rename them"):
        Stored(tmp_path / "theirs").meet(pictures)


def test_several_reference_pictures_of_one_name_are_not_paired_by_chance(tmp_path, monkeypatch):
    pictures = reference(tmp_path, ["a.png", "b.png", "c.png"])
    monkeypatch.setattr(pictures, "key", lambda index: "aab"[index])  # as older versions prepared several sources with equal names
    paint(tmp_path / "theirs/b.png")
    paint(tmp_path / "theirs/x.png")
    assert sorted(Stored(tmp_path / "theirs").meet(pictures).indices.tolist()) == [-1, 2]
    paint(tmp_path / "theirs/a.png")
    with pytest.raises(DataError, match="a.png has no reference .* several pictures of its name"):
        Stored(tmp_path / "theirs").meet(pictures)


def classified(tmp_path: Path) -> PreparedPictures:
    """A prepared set of three classes, whose own numbers begin at 1."""
    rows = [{"file_name": f"{n}.png", "text": "a square", "class_id": n // 2 + 1, "class_name": f"kind {n // 2 + 1}"} for n in range(6)]
    for row in rows:
        paint(tmp_path / "real" / row["file_name"])
    (tmp_path / "real" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    prepare([tmp_path / "real"], tmp_path / "prepared", resolution=16, validation=0, test=0)
    return open_prepared(tmp_path / "prepared", "train", 16)


def stating(tmp_path: Path, **labels: object) -> Stored:
    """A folder of two pictures, both of one class."""
    rows = [{"file_name": f"theirs {n}.png", "text": "a square", **labels} for n in range(2)]
    for row in rows:
        paint(tmp_path / "theirs" / row["file_name"])
    (tmp_path / "theirs" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return Stored(tmp_path / "theirs")


def test_a_class_is_what_the_reference_calls_so(tmp_path):
    pictures = classified(tmp_path)
    assert stating(tmp_path, class_id=2, class_name="kind 2").meet(pictures).classes.tolist() == [1, 1]
    assert stating(tmp_path, class_name="kind 3").meet(pictures).classes.tolist() == [2, 2]
    for labels, said in (({"class_id": 2}, "of class '2'"), ({"class_name": "kind 9"}, "of class 'kind 9'")):
        with pytest.raises(DataError, match=f"{said}, and 'prepared' has classes such as 'kind 1': give its class_name"):
            stating(tmp_path, **labels).meet(pictures)
    pictures.class_names = ["1", "2", "3"]  # as of a set whose classes have numbers alone
    assert stating(tmp_path, class_id=2).meet(pictures).classes.tolist() == [1, 1]
    garden = open_data("garden", "val", 16)
    assert stating(tmp_path, class_id=2).meet(garden).classes.tolist() == [2, 2]
    with pytest.raises(DataError, match="is of class 999, and 'garden' has 0 to"):
        stating(tmp_path, class_id=999).meet(garden)


def test_some_of_a_folder_are_drawn_by_the_seed(tmp_path):
    for name in range(40):
        paint(tmp_path / "theirs" / f"{name:02}.png")
    drawn = [[sample.key for sample in Stored(tmp_path / "theirs", 8, seed)._samples] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] == sorted(drawn[0]) and drawn[0] != drawn[2]
    assert drawn[0] != [f"{name:02}" for name in range(8)]
    assert "a folder of 8 without captions drawn from 40" in Stored(tmp_path / "theirs", 8).told
