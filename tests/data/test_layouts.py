"""The scripts of docs/data.md turn the layouts that this field has into sets."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from limner.core.errors import DataError
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared

PAGE = Path(__file__).parents[2] / "docs/data.md"


def script(heading: str) -> str:
    return re.split("```(?:python)?\n", PAGE.read_text(encoding="utf-8").split(f"**{heading}", 1)[1], maxsplit=2)[1]


def paint(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (200, 30, 30)).save(path)


def cub(root: Path) -> None:
    for number in range(6):
        paint(root / f"images/{number % 3}.Gull/gull_{number}.jpg")
        (root / f"text/{number % 3}.Gull").mkdir(parents=True, exist_ok=True)
        (root / f"text/{number % 3}.Gull/gull_{number}.txt").write_text("a gull\na bird")


def oxford(root: Path) -> None:
    for number in range(6):
        paint(root / f"jpg/image_{number:05}.jpg")
        (root / f"text_c10/class_{number % 3:05}").mkdir(parents=True, exist_ok=True)
        (root / f"text_c10/class_{number % 3:05}/image_{number:05}.txt").write_text("a flower\na bloom")


def coco(root: Path) -> None:
    (root / "annotations").mkdir(parents=True)
    for split, numbers in (("train2014", range(4)), ("val2014", range(4, 6))):
        for number in numbers:
            paint(root / f"{split}/COCO_{number}.jpg")
        images = [{"id": number, "file_name": f"COCO_{number}.jpg"} for number in numbers]
        captions = [{"image_id": number, "id": 9, "caption": text} for number in numbers for text in ("a dog", "a cat")]
        content = {"info": {}, "images": images, "annotations": captions}
        (root / f"annotations/captions_{split}.json").write_text(json.dumps(content))


def karpathy(root: Path) -> None:
    for number in range(6):
        paint(root / f"Images/{number}.jpg")
    images = [
        {"filename": f"{n}.jpg", "split": ["train", "restval", "test"][n % 3], "sentences": [{"raw": "a dog"}, {"raw": "a cat"}]}
        for n in range(6)
    ]
    (root / "dataset_flickr8k.json").write_text(json.dumps({"images": images}))


@pytest.mark.parametrize(
    ("build", "heading", "named", "classes"),
    [
        (cub, "Class folders", "bring them together", 3),
        (oxford, "Class folders", "bring them together", 3),
        (coco, "COCO", "COCO's form.*docs/data.md", None),
        (karpathy, "Karpathy's splits", "Karpathy's form.*docs/data.md", None),
    ],
)
def test_the_script_reads_what_prepare_refuses(tmp_path, build, heading, named, classes):
    build(tmp_path / "set")
    with pytest.raises(DataError, match=named):
        prepare([tmp_path / "set"], tmp_path / "out", resolution=8)
    folders = {oxford: ("jpg", "text_c10")}.get(build, ("images", "text"))
    lines = script(heading).replace('Path("images"), Path("text")', 'Path("{}"), Path("{}")'.format(*folders))
    subprocess.run([sys.executable, "-c", lines], cwd=tmp_path / "set", check=True)
    card = prepare([tmp_path / "set" / (folders[0] if classes else "")], tmp_path / "out", resolution=8).card
    assert sum(card.splits.values()) == 6 and card.captions == 12 and card.rejected == {}
    assert card.class_names is None if classes is None else len(card.class_names) == classes
    assert (card.splits == {"train": 4, "test": 2}) is (build is karpathy)
    assert len(open_prepared(tmp_path / "out", "all").captions(0)) == 2
