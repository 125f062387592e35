"""What `limner data describe` counts, against sets whose numbers are known by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.cli.main import main
from limner.data import describing
from limner.data.describing import describe, sentences
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared
from limner.text.char_cnn_rnn import LENGTH


def smooth(rng: np.random.Generator) -> np.ndarray:
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.asarray(small.resize((48, 48), Image.Resampling.BICUBIC))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """20 pictures, of which 18 equals 3, and 19 is 4 made a little darker and saved as JPEG."""
    rng = np.random.default_rng(0)
    pictures = [smooth(rng) for _ in range(18)]
    pictures += [pictures[3], (pictures[4] * 0.99).astype(np.uint8)]
    (tmp_path / "set").mkdir()
    rows = []
    for number, picture in enumerate(pictures):
        name = f"p{number:02}.{'jpg' if number == 19 else 'png'}"
        Image.fromarray(picture).save(tmp_path / "set" / name, quality=90)
        captions = [f"a red bird, number {number}", "a bird on the left of a blue thing"] if number % 2 else [f"number {number} of dogs"]
        rows.append({"file_name": name, "text": captions, "class": "even" if number % 2 == 0 else "odd", "split": "train"})
    rows[19]["split"] = "test"
    rows[1]["text"] = ["word " * 50, "x" * 300, "number 3: a red bird"]
    (tmp_path / "set/metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "set"


def test_all_that_is_counted(source, tmp_path):
    prepare([source], tmp_path / "out", resolution=32)
    pictures = open_prepared(tmp_path / "out", "all")
    about = describe(pictures, class_names=pictures.class_names, splits=list(pictures.card.splits.items()))
    assert (about.pictures, about.captions, about.captions_a_picture) == (20, 10 + 18 + 3, (1, 31 / 20, 3))
    assert about.colours == {"red": 10, "blue": 9} and about.words["word"] == 50 and about.others["number"] == 20
    assert about.things == {"bird": 19}  # twice of nine odd ones, and once of the first
    assert (about.left, about.right) == (9, 0) and about.lengths[0] == 1 and about.lengths[3] == 50 and about.longest == "p01"
    assert (about.over_words, about.over_characters) == ({"18": 1, "48": 1}, 2)  # 50 times "word " is long in both
    assert (about.equal_captions, about.near_captions) == (8, 1)  # "a bird on the left ..." 9 times; "number 3: a red bird" for another
    assert about.classes == {"even": 10, "odd": 10}
    assert (about.twins.equal, about.twins.near, about.twins.across_splits) == (1, 1, 1)
    assert about.twins.pairs == [("p03", "p18"), ("p04", "p19")]
    told = "\n".join(sentences(about))
    assert "20 pictures, 31 captions (1 to 3 a picture, 1.6 on average)" in told
    assert "red 10, blue 9" in told and "'p18' of 'p03'; 1 of them are in another split" in told


def test_near_duplicates_are_those_that_a_whole_comparison_finds():
    rng = np.random.default_rng(1)
    thumbnails = rng.normal(128, 12, (200, 1)).astype(np.float32) + rng.normal(0, 4, (200, 432)).astype(np.float32)
    thumbnails[150:] = thumbnails[:50] + rng.normal(0, np.linspace(0.1, 8, 50)[:, None], (50, 432)).astype(np.float32)
    found = dict(describing._first_alike(thumbnails, lambda *_: None))
    distances = np.sqrt(((thumbnails[:, None] - thumbnails[None]) ** 2).mean(axis=2))
    expected: dict[int, int] = {}
    for row in range(200):
        earlier = [other for other in range(row) if other not in expected and distances[row, other] <= describing.ALIKE]
        if earlier:
            expected[row] = min(earlier, key=lambda other: distances[row, other])
    assert found == expected and 10 < len(found) < 50


def test_the_command_line(source, tmp_path, capsys):
    prepare([source], tmp_path / "out", resolution=32)
    assert main(["data", "describe", str(tmp_path / "out"), "--out", str(tmp_path / "words.json"), "--count", "3"]) == 0
    told = capsys.readouterr().out
    assert "out, all: 20 pictures" in told and "classes      2: the smallest 'odd' (10), the largest 'even' (10)" in told
    assert json.loads((tmp_path / "words.json").read_text())["colours"] == {"red": 10, "blue": 9}
    assert main(["data", "describe", str(tmp_path / "out"), "--model", "garden"]) == 0
    heard = capsys.readouterr().out.split("the model    ")[1].splitlines()[0]
    assert heard.startswith("cuts 1 captions; 31 hold words that it does not know: ") and "bird 19" in heard and "red" not in heard
    assert main(["data", "describe", "garden", "--pictures", "40"]) == 0
    told = capsys.readouterr().out
    assert "garden, train: 40 pictures" in told and "duplicates   0 pictures" in told
    assert main(["data", "describe", str(tmp_path / "out"), "--split", "val"]) == 2
    assert describing.CHARACTERS == LENGTH


def test_a_set_without_captions_or_classes(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "set").mkdir()
    for number in range(4):
        Image.fromarray(smooth(rng)).save(tmp_path / f"set/{number}.png")
    prepare([tmp_path / "set"], tmp_path / "out", resolution=8, uncaptioned=True)
    about = describe(open_prepared(tmp_path / "out", "all"))
    assert list(sentences(about)) == [
        "out, all: 4 pictures, 0 captions (0 a picture), 0 words",
        "classes      none",
        "duplicates   0 pictures are equal to an earlier one, 0 nearly",
    ]
