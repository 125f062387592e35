"""Pictures that a set holds twice must not be asked of what was trained on them."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from limner.cli.data import summary
from limner.core.errors import DataError
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared


def rows(path, count, repeats, fields=None):
    """A shard with `repeats` samples of each of `count` pictures, each with a caption of its own, as in tables with a row a caption."""
    with tarfile.open(path, "w") as tar:
        for number in range(count * repeats):
            stream = io.BytesIO()
            Image.new("RGB", (9, 9), (number // repeats * 7, 40, 40)).save(stream, "PNG")
            members = {"png": stream.getvalue(), "txt": f"square {number}".encode()} | ({} if fields is None else fields(number))
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{number:03}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def splits_of_pictures(folder):
    every = open_prepared(folder, "all", 8)
    splits = np.repeat(list(every.card.splits), list(every.card.splits.values()))
    found: dict[bytes, set[str]] = {}
    for place in range(len(every)):
        found.setdefault(every.read([place]).tobytes(), set()).add(str(splits[place]))
    return found


def test_equal_pictures_are_in_one_split(tmp_path):
    report = prepare([rows(tmp_path / "a.tar", 20, 5)], tmp_path / "out", resolution=8)
    found = splits_of_pictures(tmp_path / "out")
    assert len(found) == 20 and all(len(splits) == 1 for splits in found.values())
    assert report.pictures == 100 and set(report.card.splits) == {"train", "val", "test"}
    told = next(line for line in summary(report) if line.startswith("duplicates"))
    assert "pictures were put into the split of one equal to them" in told and report.equals.joined > 0


def test_equal_pictures_in_splits_that_are_given_are_told_and_left_there(tmp_path):
    source = rows(tmp_path / "a.tar", 5, 2, lambda number: {"json": b'{"split": "%s"}' % (b"train", b"test")[number % 2]})
    report = prepare([source], tmp_path / "out", resolution=8)
    assert report.card.splits == {"train": 5, "test": 5}
    told = next(line for line in summary(report) if line.startswith("duplicates"))
    assert told.startswith("duplicates: 5 pictures are equal to one in another split, such as '001' to '000'")


def test_a_set_of_one_picture_that_is_held_out_is_refused_in_words(tmp_path):
    source = rows(tmp_path / "a.tar", 1, 4)
    seeds = range(20)
    with pytest.raises(DataError, match="no training picture of out can be used: all are equal to pictures of val or test"):
        for seed in seeds:
            prepare([source], tmp_path / "out", resolution=8, test=0.5, validation=0.25, seed=seed, force=True)


def test_sets_without_equal_pictures_say_nothing_of_them(tmp_path):
    report = prepare([rows(tmp_path / "a.tar", 20, 1)], tmp_path / "out", resolution=8)
    assert report.equals.example is None and not [line for line in summary(report) if line.startswith("duplicates")]
