"""Stories through `limner data prepare`: kept whole, in order, and refused in one line where frames do not fit."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.cli.data import summary
from limner.core.errors import DataError
from limner.data import clevr
from limner.data.prepare import PrepareReport, prepare
from limner.data.prepared import open_prepared
from limner.text.numbers import Numbers

FRAMES = 3


def picture(story: int, frame: int) -> bytes:
    """A plain picture, red by its story and green by its frame."""
    stream = io.BytesIO()
    Image.new("RGB", (24, 24), (story * 10, frame * 60, 0)).save(stream, "PNG")
    return stream.getvalue()


def shard(path: Path, samples: list[tuple[str, bytes, dict[str, Any]]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for key, content, fields in samples:
            for name, data in ((f"{key}.png", content), (f"{key}.json", json.dumps(fields).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def stories(count: int = 20, **more: Any) -> list[tuple[str, bytes, dict[str, Any]]]:
    """Stories whose frames come mixed with each other's."""
    places = [(story, frame) for frame in (2, 1, 3) for story in range(count)]
    return [
        (f"s{story}-{frame}", picture(story, frame), {"text": f"story {story} frame {frame}", "story": story, "frame": frame, **more})
        for story, frame in places
    ]


def made(tmp_path: Path, samples: list[tuple[str, bytes, dict[str, Any]]], **settings: Any) -> PrepareReport:
    return prepare([shard(tmp_path / "told.tar", samples)], tmp_path / "out", resolution=16, **settings)


def test_stories_stay_whole_in_order_and_in_one_split(tmp_path: Path) -> None:
    report = made(tmp_path, stories())
    assert report.card.made_splits == "story" and report.card.splits == {"train": 48, "val": 6, "test": 6} and report.card.frames == FRAMES
    assert "stories: 20 of 3 frames" in list(summary(report))
    seen = set()
    for split in ("train", "val", "test", "all"):
        pictures = open_prepared(tmp_path / "out", split)
        assert pictures.stories is not None and pictures.stories.size == len(pictures)
        for story in pictures.stories:
            colours = pictures.read(story)[:, 8, 8]
            assert (colours[:, 0] == colours[0, 0]).all() and (colours[:, 1] == [60, 120, 180]).all()
            number = colours[0, 0] // 10
            assert [pictures.captions(int(index)) for index in story] == [[f"story {number} frame {frame}"] for frame in (1, 2, 3)]
            seen.add((split, number))
    assert len(seen) == 40


def test_a_frame_without_a_caption_stays_with_its_story_in_splits_that_are_made(tmp_path: Path) -> None:
    """It is kept in training, and left out where the story is held out; which stories these are does not change."""
    whole = made(tmp_path, stories())
    held_out = {split: {key.partition("-")[0] for key in keys(tmp_path, split)} for split in ("val", "test")}
    samples = [(key, content, {**fields, "text": None} if key.endswith("-2") else fields) for key, content, fields in stories()]
    report = made(tmp_path, samples, uncaptioned=True, force=True)
    assert whole.card.made_splits == report.card.made_splits == "story"
    assert report.card.splits == {"train": 48, "val": 4, "test": 4} and report.held_out_uncaptioned == 4 and report.card.uncaptioned == 16
    assert {split: {key.partition("-")[0] for key in keys(tmp_path, split)} for split in ("val", "test")} == held_out
    assert report.stories[0] == 16 and len(report.stories[1]) == 4


def keys(tmp_path: Path, split: str) -> list[str]:
    pictures = open_prepared(tmp_path / "out", split)
    return [pictures.key(index) for index in range(len(pictures))]


def test_frames_that_miss_are_reported_and_their_story_is_none(tmp_path: Path) -> None:
    samples = [sample for sample in stories() if sample[0] != "s4-2"]
    damaged = next(place for place, sample in enumerate(samples) if sample[0] == "s7-3")
    samples[damaged] = (samples[damaged][0], b"\x89PNG nothing", samples[damaged][2])
    report = made(tmp_path, samples, max_rejected=0.1)
    assert report.stories == (18, [("7", [3]), ("4", [2])]) or report.stories == (18, [("4", [2]), ("7", [3])])
    (line,) = (line for line in summary(report) if line.startswith("stories"))
    assert line.startswith("stories: 18 of 3 frames; 2 lack frames, such as '") and "serve as single pictures" in line
    listed = (tmp_path / "out" / "rejects.jsonl").read_text()
    assert "story without its frame 2" in listed and "story without its frame 3" in listed
    pictures = open_prepared(tmp_path / "out", "all")
    assert len(pictures) == 58 and pictures.stories is not None and pictures.stories.shape == (18, FRAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda told: told + [("again", picture(1, 1), told[0][2] | {"story": 4, "frame": 3})],
            "story '4' has its frame 3 twice, 's4-3' and 'again'",
        ),
        (
            lambda told: [one for one in told if one[0] != "s9-3"],
            "unequal lengths: '0' has a frame 3 .'s0-3' in told.tar., and the last frame of '9' is 2",
        ),
        (lambda told: [one for one in told if one[0].endswith("-1")], "every story has one frame"),
        (
            lambda told: [(key, png, fields | {"split": "test" if key == "s2-1" else "train"}) for key, png, fields in told],
            "story '2' has frames in",
        ),
        (lambda told: [(key, png, fields | {"frame": "two"}) for key, png, fields in told], "frame is 'two', not a whole number"),
        (
            lambda told: [(key, png, fields | ({"frame": -1} if key == "s3-2" else {})) for key, png, fields in told],
            "frame is -1: frames count from 0 or 1.*'s3-2'",
        ),
        (lambda told: [(key, png, fields | {"frame": None}) for key, png, fields in told], "a story without a frame"),
    ],
)
def test_refusals(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        made(tmp_path, change(stories()))
    assert "\n" not in str(refused.value) and not (tmp_path / "out").exists()


def test_by_class_stories_would_be_parted(tmp_path: Path) -> None:
    told = [(key, png, fields | {"class_id": place % 12}) for place, (key, png, fields) in enumerate(stories())]
    with pytest.raises(DataError, match="would part the frames of stories"):
        made(tmp_path, told, split_by="class")
    assert made(tmp_path, told).card.made_splits == "story"


def test_a_table_tells_stories_too(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = ["file_name,text,story,frame,categories"]
    for key, png, fields in stories(6):
        (folder / f"{key}.png").write_bytes(png)
        lines.append(
            f"{key}.png,{fields['text']},{fields['story']},{fields['frame']},small; {'even' if fields['story'] % 2 == 0 else 'odd'}"
        )
    (folder / "metadata.csv").write_text("\n".join(lines))
    report = prepare([folder], tmp_path / "out", resolution=16)
    assert report.stories == (6, []) and report.card.category_names == ["even", "odd", "small"]
    pictures = open_prepared(tmp_path / "out", "all")
    shown = pictures.categories(np.arange(len(pictures)))
    assert shown is not None
    assert all(
        row.tolist() == [number % 2 == 0, number % 2 == 1, True]
        for row, number in zip(shown, pictures.read(np.arange(18))[:, 8, 8, 0] // 10)
    )


def test_what_holds_no_names_is_not_categories(tmp_path: Path) -> None:
    assert made(tmp_path, stories(categories=[{"id": 3}, 4])).card.category_names is None
    with pytest.raises(DataError, match="categories is a list with names and other things"):
        made(tmp_path, stories(categories=["small", 4]), force=True)


def test_a_story_column_alone_is_something_else(tmp_path: Path) -> None:
    told = [(key, png, {name: value for name, value in fields.items() if name != "frame"}) for key, png, fields in stories()]
    assert made(tmp_path, told).card.frames == 0


def vector(objects: int) -> list[float]:
    """A CLEVR-SV vector: a red rubber cube in front, a small blue metal sphere at the back on the right, ..."""
    first = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1.5, -1.5, 0.7]
    second = [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0.25, 2.5, 0.35]
    known = [first, second][:objects]
    return [float(value) for own in known for value in own] + [0.0] * 18 * (4 - objects) + [0.65631, 0.75449, -0.0]


def test_clevr_attributes_become_sentences_or_stay_numbers(tmp_path: Path) -> None:
    assert clevr.sentences(vector(1))[0] == "there is a large red rubber cube in front in the middle"
    assert clevr.sentences(vector(2))[0] == "then a small blue metal sphere comes at the back on the right"
    assert clevr.categories(vector(2)) == ("cube", "sphere", "red", "blue", "rubber", "metal", "large", "small")
    told = [
        (f"s{story}-{frame}", picture(story, frame), {"story": story, "frame": frame, "attributes": vector(frame)})
        for story in range(10)
        for frame in (1, 2)
    ]
    report = made(tmp_path, told, captions_from="attributes")
    pictures = open_prepared(tmp_path / "out", "train")
    assert not report.card.flip and pictures.stories is not None
    encoded = Numbers(75)([pictures.captions(int(index))[0] for index in pictures.stories[0]]).sentence
    assert np.array_equal(encoded.numpy(), np.array([vector(1), vector(2)], np.float32))
    report = made(tmp_path, told, captions_from="clevr", force=True)
    assert report.card.captions == 80 and report.card.category_names is not None and len(report.card.category_names) == 8
    with pytest.raises(DataError, match="without attributes that are numbers"):
        made(tmp_path, stories(), captions_from="attributes", force=True)
    told[0][2]["attributes"] = [1.0, 2.0]
    with pytest.raises(DataError, match="'s0-2' in told.tar has 75 attributes, and 's0-1' has 2: give all as many"):
        made(tmp_path, told, captions_from="attributes", force=True)
    with pytest.raises(DataError, match="without attributes of CLEVR-SV"):
        made(tmp_path, told, captions_from="clevr", force=True)
