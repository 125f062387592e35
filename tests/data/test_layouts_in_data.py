"""Layouts from samples and from COCO's instances, through `prepare`, to batches that crop and mirror them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.cli.data import main
from limner.core.errors import DataError, SettingsError
from limner.core.trainable import Phase
from limner.data.columns import read_object
from limner.data.layouts import Misplaced, largest, place, things_of_field
from limner.data.loader import Loader
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared
from limner.data.sources import Thing

SIZE = (60, 40)  # width and height of the pictures
THINGS = [
    {"label": "sun", "box": [20, 4, 10, 8]},
    {"label": "hill", "box": [10, 20, 40, 20], "mask": [[10, 20, 50, 20, 50, 40]]},
]


def picture(path: Path) -> None:
    """A picture that shows what `THINGS` says: the sun in red, the hill's box in green."""
    pixels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    pixels[4:12, 20:30, 0] = 255
    pixels[20:40, 10:50, 1] = 255
    Image.fromarray(pixels).save(path)


def folder(root: Path, layouts: list[object], captions: str = "a sun over a hill") -> Path:
    root.mkdir()
    for number, layout in enumerate(layouts):
        picture(root / f"{number}.png")
        fields = {"text": captions, "split": "train"} | ({} if layout is None else {"layout": layout})
        (root / f"{number}.json").write_text(json.dumps(fields))
    return root


def test_layouts_reach_the_batch_as_the_picture_is_seen(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", [THINGS, None, THINGS])
    prepare([source], tmp_path / "set", resolution=32)
    pictures = open_prepared(tmp_path / "set", "train")
    assert pictures.label_names == ("hill", "sun")
    layout = pictures.layouts(np.array([0, 1]))
    assert layout is not None and layout.shapes is not None and layout.counts.tolist() == [2, 0]
    # The square in the middle begins at 10 of 60 and is 40 wide.
    assert torch.allclose(layout.boxes[0], torch.tensor([[0.25, 0.1, 0.25, 0.2], [0.0, 0.5, 1.0, 0.5]]))
    assert layout.labels[0].tolist() == [1, 0] and not layout.boxes[1].any()
    assert layout.shapes[0, 0].min() == 1  # without a mask the whole box is the thing
    triangle = torch.ones(32, 32).triu()
    assert (layout.shapes[0, 1] - triangle).abs().mean() < 0.05
    seen = 0
    loader = Loader(pictures, Phase(name="x", resolution=32, batch_size=2, steps=1, encoded=False), seed=1)
    for step in range(30):
        batch = loader.batch(step)
        for row in range(2):
            if batch.indices[row] == 1:
                continue
            assert batch.layout is not None
            for channel, label in ((0, 1), (1, 0)):
                (place_of,) = (batch.layout.labels[row] == label).nonzero()[:, 0].tolist()
                left, top, width, height = (batch.layout.boxes[row, place_of] * 32).tolist()
                ys, xs = (batch.pictures[row, channel] > 0).nonzero(as_tuple=True)
                edges = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]
                assert np.abs(np.array(edges) - [left, top, left + width, top + height]).max() < 1.3
            seen += 1
    assert seen > 20


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_layouts_in_a_table(name: str, tmp_path: Path) -> None:
    """The same as in a sample's own JSON; two rows of a picture may not differ."""
    source = tmp_path / "source"
    source.mkdir()
    picture(source / "0.png")
    rows = [("0.png", "a sun over a hill", json.dumps(THINGS)), ("0.png", "a hill", "")]
    if name.endswith("csv"):
        lines = ["file_name,text,layout", *(f'{file},{text},"{layout.replace(chr(34), 2 * chr(34))}"' for file, text, layout in rows)]
    else:
        lines = [json.dumps({"file_name": file, "text": text, "layout": json.loads(layout or "null")}) for file, text, layout in rows]
    (source / name).write_text("\n".join(lines))
    prepare([source], tmp_path / "set", resolution=32)
    pictures = open_prepared(tmp_path / "set", "train")
    layout = pictures.layouts(np.arange(1))
    assert layout is not None and layout.counts.tolist() == [2] and pictures.label_names == ("hill", "sun")
    (source / name).write_text("\n".join([*lines, lines[-2].replace("sun", "moon")]))
    with pytest.raises(DataError, match="another layout than an earlier row"):
        prepare([source], tmp_path / "other", resolution=32)


def test_pictures_of_which_left_and_right_is_said_are_not_mirrored(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", [THINGS] * 4, "a sun to the left of a hill")
    prepare([source], tmp_path / "set", resolution=40, flip="yes")
    pictures = open_prepared(tmp_path / "set", "train")
    loader = Loader(pictures, Phase(name="x", resolution=40, batch_size=4, steps=1, encoded=False), seed=1)
    for step in range(6):
        batch = loader.batch(step)
        assert batch.layout is not None
        suns = batch.layout.boxes[batch.layout.labels == 1]
        assert (suns[:, 0] + suns[:, 2] / 2 < 0.5).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_layouts_are_of_the_upright_picture_in_every_format(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    tall = orientation > 4
    (tmp_path / "set").mkdir()
    Image.new("RGB", (200, 100), (9, 9, 9)).save(tmp_path / f"set/a.{suffix}", exif=exif)
    box = [0, 150, 100, 50] if tall else [150, 0, 50, 100]
    (tmp_path / "set/a.json").write_text(json.dumps({"text": "a sun", "layout": [{"label": "sun", "box": box}]}))
    prepare([tmp_path / "set"], tmp_path / "out", resolution=16, fit="squash")
    layout = open_prepared(tmp_path / "out", "train").layouts(np.arange(1))
    assert layout is not None
    assert torch.allclose(layout.boxes[0, 0], torch.tensor([0.0, 0.75, 1.0, 0.25] if tall else [0.75, 0.0, 0.25, 1.0]), atol=0.02)


def test_instances_in_the_form_of_coco(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", [None, None, [THINGS[0]]])
    runs = [0] * (SIZE[0] * SIZE[1])
    columns = np.array(runs).reshape(SIZE[0], SIZE[1])  # column by column
    columns[30:40, 20:40] = 1
    flat = columns.ravel()
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
    counts = np.diff(np.concatenate([[0], changes, [len(flat)]])).tolist()
    content = {
        "images": [{"id": number, "file_name": f"{number}.png", "width": 60, "height": 40} for number in range(3)],
        "categories": [{"id": 7, "name": "hill"}, {"id": 9, "name": "sun"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 9, "bbox": [20, 4, 10, 8], "iscrowd": 0},
            {"id": 2, "image_id": 0, "category_id": 7, "bbox": [10, 20, 40, 20], "segmentation": {"size": [40, 60], "counts": counts}},
            {
                "id": 3,
                "image_id": 1,
                "category_id": 7,
                "bbox": [0, 0, 60, 40],
                "iscrowd": 1,
                "segmentation": {"counts": [], "size": [40, 60]},
            },
            {"id": 4, "image_id": 2, "category_id": 7, "bbox": [10, 20, 40, 20]},
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    prepare([source], tmp_path / "set", resolution=32, instances=tmp_path / "instances.json")
    layout = open_prepared(tmp_path / "set", "train").layouts(np.arange(3))
    assert layout is not None and layout.shapes is not None and layout.counts.tolist() == [2, 0, 1]  # what a sample says itself comes first
    assert torch.allclose(layout.boxes[0, 1], torch.tensor([0.0, 0.5, 1.0, 0.5]))
    expected = torch.zeros(32, 32)
    expected[:, 16:24] = 1  # columns 30 to 40 of 10 to 50
    assert torch.equal(layout.shapes[0, 1], expected)
    for wrong, message in (
        ("[]", "COCO's instances"),
        ('{"images": []}', "has no 'categories'"),
        ('{"images": [], "annotations": ["x"], "categories": []}', "COCO's instances"),
        ('{"images": [], "annotations": [], "categories": []}', "has the file name of no picture in source"),
        (json.dumps({**content, "annotations": [{"id": 5, "image_id": 0, "category_id": 9, "bbox": [1, 2, 3]}]}), "annotation 5"),
    ):
        (tmp_path / "wrong.json").write_text(wrong)
        with pytest.raises(DataError, match=message):
            prepare([source], tmp_path / "other", resolution=32, instances=tmp_path / "wrong.json")
    with pytest.raises(DataError, match="cannot be opened"):
        prepare([source], tmp_path / "other", resolution=32, instances=tmp_path / "none.json")


def test_lists_that_have_an_image_or_a_name_twice_are_refused(tmp_path: Path) -> None:
    source, path = folder(tmp_path / "source", [None, None]), tmp_path / "list.json"
    thing = {"id": 1, "image_id": 0, "category_id": 7, "bbox": [20, 4, 10, 8]}
    for first, second, message in (
        ((0, "0.png"), (0, "1.png"), "it has the image 0 twice, as '0.png' and '1.png'"),
        ((0, "0.png"), (1, "0.png"), "it has '0.png' twice, as the images 0 and 1"),
        ((0, "0.png"), (0, "0.png"), None),
    ):
        images = [{"id": number, "file_name": name} for number, name in (first, second)]
        path.write_text(json.dumps({"images": images, "categories": [{"id": 7, "name": "sun"}], "annotations": [thing]}))
        if message is None:
            assert prepare([source], tmp_path / "set", resolution=32, instances=path).laid_out == 1
        else:
            with pytest.raises(DataError, match=message):
                prepare([source], tmp_path / "set", resolution=32, instances=path)


def placed(tmp_path: Path, listed: list[str], pictures: list[str], kind: str = "instances") -> dict[str, float | None]:
    """For each picture of the source the left edge of the thing that a list of these names has for it: thing n begins at 10 + 4n."""
    source, path = tmp_path / "zoo", tmp_path / "list.json"
    for name in pictures:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        picture(source / name)
        (source / name).with_suffix(".txt").write_text("a hill")
    images = [{"id": number, "file_name": name} for number, name in enumerate(listed)]
    boxes = [{"id": 5, "category_id": 7, "bbox": [10 + 4 * number, 8, 10, 10]} for number in range(len(listed))]
    said: list[dict[str, object]] = [{"image_id": number, **box} for number, box in enumerate(boxes)]
    if kind == "panoptic":
        (tmp_path / "list").mkdir()
        for number in range(len(listed)):
            segments = Image.new("RGB", SIZE)
            segments.paste((5, 0, 0), (10 + 4 * number, 8, 20 + 4 * number, 18))
            segments.save(tmp_path / f"list/{number}.png")
        said = [{"image_id": number, "file_name": f"{number}.png", "segments_info": [box]} for number, box in enumerate(boxes)]
    path.write_text(json.dumps({"images": images, "categories": [{"id": 7, "name": "hill"}], "annotations": said}))
    prepare([source], tmp_path / "set", resolution=32, instances=path, validation=0, test=0)
    made = open_prepared(tmp_path / "set", "train")
    layout = made.layouts(np.arange(len(made)))
    assert layout is not None
    lefts = [10 + 40 * float(box[0, 0]) if count else None for box, count in zip(layout.boxes, layout.counts.tolist())]
    return {made.key(index): left and round(left) for index, left in enumerate(lefts)}


@pytest.mark.parametrize("kind", ["instances", "panoptic"])
def test_names_with_folders_mean_the_pictures_in_them(tmp_path: Path, kind: str) -> None:
    assert placed(tmp_path, ["cats/1.png", "dogs/1.png"], ["cats/1.png", "dogs/1.png"], kind) == {"cats/1": 10, "dogs/1": 14}


@pytest.mark.parametrize(
    ("listed", "pictures", "lefts"),
    [
        (["a/x/1.png", "b\\x\\1.png"], ["in/b/x/1.png", "in/a/x/1.png"], [14, 10]),
        (["cats/1.png"], ["cats/1.png", "dogs/1.png"], [10, None]),  # a list may lack pictures
        (["cats/1.png", "dogs/1.png"], ["cats/1.png", "birds/1.png"], [10, None]),
        (["train2017/1.png", "train2017/2.png"], ["images/1.png", "images/2.png"], [10, 14]),
        (["zoo/1.png", "park/1.png"], ["1.png"], [10]),  # the source's own name tells them apart
        (["cats/1.png", "1.png"], ["cats/1.png", "more/1.png"], [10, 14]),
    ],
)
def test_names_are_joined_by_the_longest_tails_of_their_paths(
    tmp_path: Path, listed: list[str], pictures: list[str], lefts: list[int | None]
) -> None:
    assert placed(tmp_path, listed, pictures) == {name.removesuffix(".png"): left for name, left in zip(pictures, lefts)}


@pytest.mark.parametrize(
    ("listed", "pictures", "message"),
    [
        (
            ["1.png"],
            ["cats/1.png", "dogs/1.png"],
            "lists '1.png', and there is 'zoo/cats/1.png' and 'zoo/dogs/1.png' in the sources: write",
        ),
        (["cats/1.png", "dogs/1.png"], ["1.png"], "lists 'cats/1.png' and 'dogs/1.png', and there is 'zoo/1.png' in the sources: write"),
        (["x/1.png"], ["cats/x/1.png", "dogs/x/1.png"], "lists 'x/1.png', and there is 'zoo/cats/x/1.png' and 'zoo/dogs/x/1.png'"),
    ],
)
def test_names_that_may_mean_several_pictures_are_refused(tmp_path: Path, listed: list[str], pictures: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        placed(tmp_path, listed, pictures)


def test_lists_of_pictures_that_were_resized_since(tmp_path: Path) -> None:
    """Boxes and masks are in pixels of the size that the list has for a picture; another shape of picture is refused."""
    source = folder(tmp_path / "source", [None])
    listed = {"id": 0, "file_name": "0.png", "width": 180, "height": 121}  # three times the picture's, rounded
    hill = {"image_id": 0, "category_id": 7, "bbox": [30, 60, 120, 60], "segmentation": [[30, 60, 150, 60, 150, 120]]}
    content = {"images": [listed], "categories": [{"id": 7, "name": "hill"}], "annotations": [hill]}
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    prepare([source], tmp_path / "set", resolution=32, instances=path)
    layout = open_prepared(tmp_path / "set", "train").layouts(np.arange(1))
    assert layout is not None and layout.shapes is not None
    assert torch.allclose(layout.boxes[0, 0], torch.tensor([0.0, 0.5, 1.0, 0.5]), atol=0.01)
    assert (layout.shapes[0, 0] - torch.ones(32, 32).triu()).abs().mean() < 0.05
    path.write_text(json.dumps({**content, "images": [{**listed, "height": 180}]}))
    with pytest.raises(DataError, match="layout of a picture of 180 x 180 pixels, which was not just resized"):
        prepare([source], tmp_path / "other", resolution=32, instances=path)


def test_panoptic_lists_of_coco(tmp_path: Path) -> None:
    """Things with their segments; grounds and crowds are left out."""
    source = folder(tmp_path / "source", [None, None])
    numbers = np.zeros((SIZE[1], SIZE[0]), np.int64)
    numbers[:20], numbers[20:, 30:40], numbers[20:, 50:] = 300, 70_000, 5
    colours = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65_536], 2).astype(np.uint8)
    (tmp_path / "list").mkdir()
    Image.fromarray(colours).save(tmp_path / "list" / "0.png")
    content = {
        "images": [{"id": 4, "file_name": "0.png"}],
        "categories": [{"id": 1, "name": "sky", "isthing": 0}, {"id": 2, "name": "tree", "isthing": 1}],
        "annotations": [
            {
                "image_id": 4,
                "file_name": "0.png",
                "segments_info": [
                    {"id": 300, "category_id": 1, "bbox": [0, 0, 60, 20], "iscrowd": 0},
                    {"id": 70_000, "category_id": 2, "bbox": [20, 20, 20, 20], "iscrowd": 0},
                    {"id": 5, "category_id": 2, "bbox": [50, 20, 10, 20], "iscrowd": 1},
                ],
            }
        ],
    }
    path = tmp_path / "list.json"
    path.write_text(json.dumps(content))
    prepare([source], tmp_path / "set", resolution=32, instances=path)
    layout = open_prepared(tmp_path / "set", "train").layouts(np.arange(2))
    assert layout is not None and layout.shapes is not None and layout.counts.tolist() == [1, 0]
    assert torch.allclose(layout.boxes[0, 0], torch.tensor([0.25, 0.5, 0.5, 0.5]))
    assert layout.shapes[0, 0, :, 16:].min() == 1 and layout.shapes[0, 0, :, :16].max() == 0
    (tmp_path / "list" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="unpack the PNGs of the panoptic list again"):
        prepare([source], tmp_path / "other", resolution=32, instances=path)
    (tmp_path / "alone.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="there is no folder .*alone: unpack the PNGs"):
        prepare([source], tmp_path / "other", resolution=32, instances=tmp_path / "alone.json")


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ([{"label": "sun", "box": [50, 4, 20, 8]}], "layout box outside the picture"),
        ([{"label": "sun", "box": [20, 4, 0, 8]}], "layout box of no area"),
        ([{"label": "sun", "bux": [20, 4, 9, 8]}], "did you mean 'box'"),
        ([{"label": "sun"}], "four numbers"),
        ([{"box": [20, 4, 9, 8]}], "without a label"),
        ({"sun": [20, 4, 9, 8]}, "not a list of things"),
        ([{"label": "sun", "box": [20, 4, 9, 8], "mask": {"size": [4, 4], "counts": [16]}}], "mask of another size"),
        ([{"label": "sun", "box": [20, 4, 9, 8], "mask": "a.png"}], "neither polygons nor runs"),
        ([{"label": "sun", "box": [20, 4, 9, 8], "mask": {"size": [40, 60], "counts": [0.5, 2399.5]}}], "neither polygons nor runs"),
        ([{"label": "sun", "box": [-1, 4, 1, 8]}], "layout box outside the picture"),
        ([{"label": "sun", "box": [10**400, 4, 1, 8]}], "four numbers"),
        ([{"label": "sun", "category": "moon", "box": [20, 4, 9, 8]}], "a thing that has both 'label' and 'category'"),
        ([{"label": "sun", "bbox": [20, 4, 9, 8], "box": [1, 4, 9, 8]}], "a thing that has both 'bbox' and 'box'"),
        ('[{"label": "sun", "label": "moon", "box": [20, 4, 9, 8]}]', "layout that cannot be read (it has 'label' twice)"),
        ([{"label": "sun", "box": [20, 4, 9, 8], "mask": [[40, 20, 50, 20, 50, 39]]}], "layout mask outside its box"),
        ([{"label": "sun", "box": [20, 4, 9, 8], "mask": [[20, 4, 50, 4, 50, 39, 20, 39]]}], "layout mask outside its box"),
        ([{"label": "sun", "box": [20, 4, 9, 8], "mask": [[80, 50, 90, 50, 90, 60]]}], "layout mask outside the picture"),
        ([{"label": "sun", "box": [20, 4, 9, 8], "mask": {"size": [40, 60], "counts": [0, 400, 2000]}}], "layout mask outside its box"),
    ],
)
def test_bad_layouts_are_refused_in_one_line(layout: object, reason: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "source", [layout])
    with pytest.raises(DataError) as caught:
        prepare([source], tmp_path / "set", resolution=32)
    assert reason in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_a_mask_may_go_a_pixel_beyond_its_box_and_may_be_empty() -> None:
    """Boxes are rounded, and a picture that was reduced may have lost all pixels of something small."""
    square = [[19.4, 3.5, 29.9, 3.5, 29.9, 12.4, 19.4, 12.4]]
    for mask in (square, {"size": [40, 60], "counts": [2400]}):
        placed = place([Thing(label="sun", box=(20, 4, 9, 8), mask=mask)], SIZE)
        assert placed.labels == ("sun",)


def test_more_than_the_maximum_keeps_the_largest_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder(tmp_path / "source", [[*THINGS, {"label": "bird", "box": [30, 10, 2, 2]}], THINGS])
    assert main(["prepare", str(source), "--out", str(tmp_path / "set"), "--resolution", "32", "--most-things", "2"]) == 0
    assert "in 2 of 2 pictures; left out: 1, the smallest of 1 pictures" in capsys.readouterr().out
    layout = open_prepared(tmp_path / "set", "train").layouts(np.arange(2))
    assert layout is not None and layout.labels.shape == (2, 2) and sorted(layout.labels[0].tolist()) == [0, 1]
    with pytest.raises(DataError, match="--most-things 0"):
        prepare([source], tmp_path / "other", resolution=32, most_things=0)


def test_sets_are_shown_with_their_layouts(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", [THINGS, THINGS])
    prepare([source], tmp_path / "set", resolution=32)
    plain, drawn = tmp_path / "plain.png", tmp_path / "drawn.png"
    assert main(["show", str(tmp_path / "set"), "--out", str(plain)]) == 0
    assert main(["show", str(tmp_path / "set"), "--layout", "--out", str(drawn)]) == 0
    assert main(["show", "garden-bouquets", "--layout", "--count", "2", "--out", str(tmp_path / "bouquets.png")]) == 0
    with Image.open(plain) as before, Image.open(drawn) as after:
        assert after.height > before.height  # the things are listed under their pictures
    bare = folder(tmp_path / "bare", [None])
    prepare([bare], tmp_path / "bare-set", resolution=32)
    assert open_prepared(tmp_path / "bare-set", "train").layouts(np.array([0])) is None
    with pytest.raises(SettingsError, match="has no layouts"):
        main(["show", str(tmp_path / "bare-set"), "--layout", "--out", str(tmp_path / "x.png")])


def test_things_by_hand() -> None:
    things, problem = things_of_field('[{"category": "cat", "bbox": [0, 0, 60, 40]}]')
    assert problem is None and things == (Thing(label="cat", box=(0, 0, 60, 40)),)
    assert things_of_field(None) == things_of_field("") == (None, None)
    placed = place([*things, Thing(label="far", box=(0, 0, 5, 5))], SIZE)
    assert placed.labels == ("cat",) and placed.boxes.tolist() == [[0.0, 0.0, 1.0, 1.0]] and placed.shapes is None
    assert largest(placed, 1) is placed
    with pytest.raises(Misplaced):
        place([Thing(label="far", box=(0, 0, 70, 5))], SIZE)
    captions, labels, problem = read_object(json.dumps({"text": "a", "layuot": []}).encode(), None, False)
    assert problem is not None and "layout" in problem
