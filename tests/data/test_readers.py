"""Data sets as they come: a small made-up tree of each official form goes through `prepare`, and all of it is accounted for."""

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.core.errors import DataError
from limner.data.prepare import PrepareReport, prepare
from limner.data.prepared import open_prepared
from limner.data.readers.face_captions import ATTRIBUTES, captions
from limner.data.readers.known import reader_for
from limner.data.tree import Tree


def paint(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (200, zlib.crc32(path.name.encode()) % 256, shade)).save(path)


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def cub(root: Path, texts: str = "text", home: str = "CUB_200_2011") -> None:
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross"]
    for number in range(6):
        name, stem = names[number % 3], f"{names[number % 3][4:]}_{number:04}"
        paint(root / home / f"images/{name}/{stem}.jpg")
        paint(root / home / f"segmentations/{name}/{stem}.png")
        write(root / texts / name / f"{stem}.txt", f"a gull {number}", "a bird")
    write(root / home / "images.txt", "1 a.jpg")
    write(root / home / "train_test_split.txt", "1 1")


def cub_with_lists(root: Path) -> None:
    cub(root, "cvpr2016_cub/text_c10")
    write(root / "cvpr2016_cub/trainvalclasses.txt", "001.Black_footed_Albatross", "002.Laysan_Albatross")
    write(root / "cvpr2016_cub/trainclasses.txt", "001.Black_footed_Albatross")
    write(root / "cvpr2016_cub/valclasses.txt", "002.Laysan_Albatross")
    write(root / "cvpr2016_cub/testclasses.txt", "003.Sooty_Albatross")


def oxford(root: Path) -> None:
    for number in range(6):
        paint(root / f"jpg/image_{number:05}.jpg")
        write(root / f"text_c10/class_{number % 3 + 1:05}/image_{number:05}.txt", "a flower", "a bloom")


def coco(root: Path) -> None:
    for split, numbers in (("train2014", range(4)), ("val2014", range(4, 6))):
        for number in numbers:
            paint(root / f"{split}/COCO_{number}.jpg")
        images = [{"id": number, "file_name": f"COCO_{number}.jpg"} for number in numbers]
        said = [{"image_id": number, "id": 9, "caption": text} for number in numbers for text in ("a dog", "a cat")]
        write(root / f"annotations/captions_{split}.json", json.dumps({"info": {}, "images": images, "annotations": said}))
        write(root / f"annotations/instances_{split}.json", json.dumps({"images": images, "annotations": [{"bbox": []}]}))
    paint(root / "test2014/COCO_9.jpg")  # COCO's test pictures have no captions
    write(root / "annotations/captions_extra2014.json", json.dumps({"images": [{"id": 1, "file_name": "x.jpg"}], "annotations": []}))


def karpathy(root: Path) -> None:
    for number in range(6):
        paint(root / f"images/train2014/{number}.jpg")
    images = [
        {
            "filepath": "train2014",
            "filename": f"{n}.jpg",
            "split": ["train", "restval", "test"][n % 3],
            "sentences": [{"raw": "a dog"}, {"raw": "a cat"}],
        }
        for n in range(6)
    ]
    write(root / "dataset_coco.json", json.dumps({"images": images}))


def flickr8k(root: Path) -> None:
    for number in range(6):
        paint(root / f"Flicker8k_Dataset/{number}_ab.jpg")
    lines = [f"{number}_ab.jpg#{place}\ta dog , number {number} ." for number in range(6) for place in range(2)]
    write(root / "Flickr8k_text/Flickr8k.token.txt", *lines)
    write(root / "Flickr8k_text/Flickr8k.lemma.token.txt", *lines)
    for split, numbers in (("train", range(4)), ("dev", [4]), ("test", [5])):
        write(root / f"Flickr8k_text/Flickr_8k.{split}Images.txt", *(f"{number}_ab.jpg" for number in numbers))


def flickr30k(root: Path) -> None:
    for number in range(6):
        paint(root / f"flickr30k_images/{number}.jpg")
    lines = [f"{number}.jpg| {place}| A dog runs ." for number in range(6) for place in range(2)]
    lines[3] = "1.jpg| 1   A dog runs across the grass ."  # as in the file that is in use
    write(root / "results.csv", "image_name| comment_number| comment", *lines)


def celeba(root: Path) -> None:
    names = sorted(ATTRIBUTES)
    for number in range(1, 7):
        paint(root / f"img_align_celeba/{number:06}.jpg")
        paint(root / f"img_celeba/{number:06}.jpg")
    rows = [f"{n:06}.jpg " + " ".join(" 1" if name in ("Male", "Smiling") else "-1" for name in names) for n in range(1, 7)]
    write(root / "Anno/list_attr_celeba.txt", "6", " ".join(names) + " ", *rows)
    write(root / "Eval/list_eval_partition.txt", *(f"{n:06}.jpg {min(max(n - 4, 0), 2)}" for n in range(1, 7)))


def celeba_of_kaggle(root: Path) -> None:
    names = sorted(ATTRIBUTES)
    for number in range(1, 7):
        paint(root / f"img_align_celeba/img_align_celeba/{number:06}.jpg")
    rows = [f"{n:06}.jpg," + ",".join("1" if name in ("Male", "Smiling") else "-1" for name in names) for n in range(1, 7)]
    write(root / "list_attr_celeba.csv", "image_id," + ",".join(names), *rows)
    write(root / "list_eval_partition.csv", "image_id,partition", *(f"{n:06}.jpg,{min(max(n - 4, 0), 2)}" for n in range(1, 7)))


def multi_modal(root: Path) -> None:
    for number in range(6):
        paint(root / f"images/{number}.jpg")
        paint(root / f"mask/{number}.png")
        write(root / f"text/celeba-caption/{number}.txt", "She wears lipstick.", "The woman smiles.")


def in_two_folders(root: Path) -> None:
    for number in range(6):
        split = "test" if number > 3 else "train"
        paint(root / f"images/{split}/p{number}.png")
        write(root / f"captions/{split}/p{number}.txt", "a red square", "a box")


def within_splits(root: Path) -> None:
    for number in range(6):
        split = "test" if number > 3 else "train"
        paint(root / f"{split}/imgs/deep/P{number}.PNG")
        write(root / f"{split}/prompts/deep/p{number}.caption", "a red square", "a box")


def hugging_face(root: Path) -> None:
    for split in ("train", "test"):
        for number in range(4 if split == "train" else 2):
            paint(root / f"{split}/{number}.png")
        lines = [json.dumps({"file_name": f"{number}.png", "text": ["a", "b"]}) for number in range(4 if split == "train" else 2)]
        write(root / f"{split}/metadata.jsonl", *lines)


def prepared(source: Path, out: Path, **more: object) -> PrepareReport:
    return prepare([source], out, resolution=8, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("build", "reader", "splits", "classes"),
    [
        (cub, "CUB", {"train": 4, "val": 1, "test": 1}, 3),
        (cub_with_lists, "CUB", {"train": 2, "val": 2, "test": 2}, 3),
        (oxford, "Oxford", {"train": 4, "val": 1, "test": 1}, 3),
        (coco, "COCO", {"train": 4, "val": 2}, None),
        (karpathy, "Karpathy", {"train": 4, "test": 2}, None),
        (flickr8k, "Flickr8k", {"train": 4, "val": 1, "test": 1}, None),
        (flickr30k, "Flickr30k", {"train": 4, "val": 1, "test": 1}, None),
        (celeba, "CelebA", {"train": 4, "val": 1, "test": 1}, None),
        (celeba_of_kaggle, "CelebA", {"train": 4, "val": 1, "test": 1}, None),
        (multi_modal, "Multi-Modal", {"train": 4, "val": 1, "test": 1}, None),
        (in_two_folders, "captions/", {"train": 4, "test": 2}, None),
        (within_splits, "captions/", {"train": 4, "test": 2}, None),
        (hugging_face, None, {"train": 4, "test": 2}, None),
    ],
)
def test_each_official_form_is_recognised_and_read_whole(tmp_path, build, reader, splits, classes):
    build(tmp_path / "set")
    found = reader_for(Tree(tmp_path / "set"))
    assert (found is None) if reader is None else (found is not None and reader in found.name)
    report = prepared(tmp_path / "set", tmp_path / "out", validation=0.17, test=0.17)
    assert report.card.splits == splits and report.card.captions == 12 and not report.rejects
    assert report.recognised == (() if found is None else (found.name,))
    assert report.card.class_names is None if classes is None else len(report.card.class_names or ()) == classes
    every = open_prepared(tmp_path / "out", "all")
    assert len({every.key(index) for index in range(6)}) == 6 and every.caption_counts.tolist() == [2] * 6
    # Whatever a tree holds beyond the captioned pictures is named.
    pictures = [path for path in (tmp_path / "set").rglob("*") if path.suffix in (".jpg", ".png", ".PNG")]
    others = [file for file in report.ignored if file.reason.startswith("picture")]
    assert len(pictures) == 6 + len(others)


def test_birds_keep_their_numbers_and_names_and_masks_are_left_alone(tmp_path):
    cub_with_lists(tmp_path / "set")
    report = prepared(tmp_path / "set", tmp_path / "out")
    assert report.card.class_names == ["Black footed Albatross", "Laysan Albatross", "Sooty Albatross"]
    alone = {file.key: file.reason for file in report.ignored}
    assert len([key for key in alone if "segmentations" in key]) == 6
    assert alone["CUB_200_2011/images.txt"] == "file of CUB-200-2011 that no captions are taken from"
    test = open_prepared(tmp_path / "out", "test")
    assert test.captions(0) == ["a gull 2", "a bird"] and test.class_ids is not None and test.class_ids.tolist() == [2, 2]


def test_what_a_layout_lacks_is_a_reject_with_its_place(tmp_path):
    flickr8k(tmp_path / "set")
    (tmp_path / "set/Flicker8k_Dataset/3_ab.jpg").unlink()
    paint(tmp_path / "set/Flicker8k_Dataset/new.jpg")
    report = prepared(tmp_path / "set", tmp_path / "out", max_rejected=0.5)
    assert {(reject.key, reject.reason, reject.where) for reject in report.rejects} == {
        ("3_ab", "caption without a picture", "Flickr8k.token.txt, line 7"),
        ("Flicker8k_Dataset/new", "no caption", ""),
    }
    coco(tmp_path / "coco")
    alone = {file.key: file.reason for file in prepared(tmp_path / "coco", tmp_path / "cocoed").ignored}
    assert alone["annotations/captions_extra2014.json"] == "list of 1 pictures of which none is there"
    assert alone["test2014/COCO_9.jpg"] == "picture outside the pictures of COCO's captions"
    assert {key for key in alone if "instances" in key} == {f"annotations/instances_{name}2014.json" for name in ("train", "val")}


def test_a_text_never_takes_the_picture_of_another_class(tmp_path):
    root = tmp_path / "set"
    for folder, stem in (("A", "1"), ("A", "2"), ("B", "2")):
        paint(root / f"images/{folder}/{stem}.jpg")
    for folder, stem in (("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")):  # capitals make no difference
        write(root / f"text/{folder}/{stem}.txt", f"of {folder}{stem}")
    report = prepared(root, tmp_path / "out", max_rejected=0.5, validation=0, test=0)
    assert [(reject.key, reject.reason) for reject in report.rejects] == [("b/1", "caption without a picture")]
    made = open_prepared(tmp_path / "out", "train")
    assert {made.key(index): made.captions(index) for index in range(3)} == {
        "images/A/1": ["of a1"],
        "images/A/2": ["of a2"],
        "images/B/2": ["of b2"],
    }
    assert made.class_ids is not None and made.class_ids.tolist() == [0, 0, 1]


def test_a_picture_is_captioned_once_and_further_captions_are_reported(tmp_path):
    for number in range(3):
        paint(tmp_path / f"flat/images/{number}.jpg")
        write(tmp_path / f"flat/text/A/{number}.txt", f"first {number}")
    write(tmp_path / "flat/text/B/0.txt", "second")
    flickr8k(tmp_path / "flickr")
    with (tmp_path / "flickr/Flickr8k_text/Flickr8k.token.txt").open("a") as stream:
        stream.write("Flicker8k_Dataset/0_ab.jpg#0\tsecond\n")
    celeba(tmp_path / "celeba")
    with (tmp_path / "celeba/Anno/list_attr_celeba.txt").open("a") as stream:
        stream.write("000001.jpg " + " ".join(["-1"] * len(ATTRIBUTES)) + "\n")
    for name, reject in (
        ("flat", ("B/0", "caption without a picture", "text/B/0.txt")),
        ("flickr", ("Flicker8k_Dataset/0_ab", "picture that is listed twice", "Flickr8k.token.txt, line 13")),
        ("celeba", ("000001", "picture that is listed twice", "list_attr_celeba.txt, line 9")),
    ):
        report = prepared(tmp_path / name, tmp_path / f"{name}-out", max_rejected=0.5, validation=0, test=0)
        assert [(each.key, each.reason, each.where) for each in report.rejects] == [reject]
        made = open_prepared(tmp_path / f"{name}-out", "all")
        assert "second" not in [caption for index in range(len(made)) for caption in made.captions(index)]
        assert made.captions(0)[0].startswith(("first", "a dog", "this older man"))


@pytest.mark.parametrize(
    ("build", "file", "content", "message"),
    [
        (coco, "annotations/captions_val2014.json", '{"images": [{"id": 1}], "annotations": []}', "missing required field `file_name`"),
        (
            coco,
            "annotations/captions_val2014.json",
            '{"images": [], "annotations": [{"image_id": 5, "caption": "x"}]}',
            "is of image 5, which",
        ),
        (coco, "annotations/captions_val2014.json", '{"images": [{"id', "captions_val2014.json cannot be read as the list it seems to be"),
        (
            coco,
            "annotations/captions_val2014.json",
            '{"images": [], "annotations": ' + "[" * 100_000,
            "cannot be read as the list it seems",
        ),
        (karpathy, "dataset_coco.json", '{"images": [{"sentences": [{"row": 1}]}]}', "missing required field `raw`"),
        (
            karpathy,
            "dataset_coco.json",
            '{"images": [{"filename": "a.jpg", "split": "dev2", "sentences": []}]}',
            "image 0 is in the split 'dev2' .known: train, restval, val, test",
        ),
        (flickr8k, "Flickr8k_text/Flickr_8k.testImages.txt", "0_ab.jpg", "0_ab.jpg, which another list puts into"),
        (celeba, "Eval/list_eval_partition.txt", "000001.jpg 0\n000002.jpg 7", "line 2 is not a picture's name and 0, 1 or 2"),
        (flickr8k, "Flickr8k_text/Flickr8k.token.txt", "a.jpg#0\ta dog\na.jpg a cat", "line 2 is not NAME.jpg#NUMBER, a tab"),
        (celeba, "Anno/list_attr_celeba.txt", "1\nMale Young\n000001.jpg 1", "line 3 is not a picture's name and 2 times"),
        (celeba, "Anno/list_attr_celeba.txt", "1\nfoo bar\n000001.jpg 1 1", "does not begin with the names"),
    ],
)
def test_a_damaged_list_is_one_line_with_its_place(tmp_path, build, file, content, message):
    build(tmp_path / "set")
    (tmp_path / "set" / file).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        prepared(tmp_path / "set", tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_capitals_and_a_byte_order_mark_change_nothing(tmp_path):
    cub(tmp_path / "birds")
    for path in sorted((tmp_path / "birds/text").rglob("*.txt")):
        path.rename(path.with_suffix(".TXT"))
    (tmp_path / "birds/text").rename(tmp_path / "birds/Text")
    report = prepared(tmp_path / "birds", tmp_path / "out")
    assert (report.pictures, report.card.captions, len(report.card.class_names or ())) == (6, 12, 3)
    coco(tmp_path / "coco")
    for path in (tmp_path / "coco/annotations").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert prepared(tmp_path / "coco", tmp_path / "coco-out").card.splits == {"train": 4, "val": 2}


def test_a_source_that_no_reader_recognises_hears_what_is_nearest(tmp_path):
    cub(tmp_path / "texts")
    for path in (tmp_path / "texts").rglob("*.jpg"):
        path.unlink()
    for path in (tmp_path / "texts").rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"is nearest to captions in class folders .CUB.*and lacks pictures of the captions' names"):
        prepared(tmp_path / "texts", tmp_path / "out")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "texts")
    with pytest.raises(DataError, match=r"packed.zip is nearest to captions in class folders"):
        prepared(Path(packed), tmp_path / "out")
    write(tmp_path / "lists/annotations/captions_val2014.json", json.dumps({"images": [], "annotations": []}))
    with pytest.raises(DataError, match=r"is nearest to COCO's captions, and lacks pictures in the same source"):
        prepared(tmp_path / "lists", tmp_path / "out")


def test_what_the_owner_has_said_goes_before_what_is_recognised(tmp_path):
    for name, build in (("table", coco), ("texts", celeba)):
        build(tmp_path / name)
    write(tmp_path / "table/metadata.csv", "file_name,text", *(f"train2014/COCO_{number}.jpg,mine" for number in range(4)))
    for path in (tmp_path / "texts").rglob("*.jpg"):
        path.with_suffix(".txt").write_text("mine")
    for number in range(3):
        paint(tmp_path / f"classes/captions/cats/{number}.jpg")
        write(tmp_path / f"classes/captions/cats/{number}.txt", "a cat")
    for name in ("table", "texts", "classes"):
        assert reader_for(Tree(tmp_path / name)) is None
    cub(tmp_path / "stray")
    (tmp_path / "stray/CUB_200_2011/segmentations/README.png").write_bytes(b"x")
    (tmp_path / "stray/CUB_200_2011/segmentations/README.txt").write_text("about these")
    assert reader_for(Tree(tmp_path / "stray")) is not None, "one pair by chance says nothing"


def test_attributes_become_captions_by_the_stated_grammar():
    said = captions(frozenset("Male Young Straight_Hair Black_Hair Goatee Wearing_Hat Smiling Attractive Blurry".split()), ATTRIBUTES)
    assert said == (
        "this young man has straight black hair and a goatee, wears a hat, and is smiling",
        "a young man with straight black hair and a goatee",
        "a young man wearing a hat, smiling",
    )
    assert captions(frozenset(["Bald", "Mouth_Slightly_Open"]), ATTRIBUTES) == (
        "this older woman has a bald head, and is shown with a slightly open mouth",
        "an older woman with a bald head",
        "an older woman shown with a slightly open mouth",
    )
    assert captions(frozenset(["Male", "No_Beard"]), ATTRIBUTES) == ("this older man has no beard", "an older man with no beard")
    assert captions(frozenset(), frozenset()) == ("a person",)
    silent = {"Attractive", "Blurry", "No_Beard"}
    spoken = {name: captions(frozenset([name]), frozenset([name])) for name in ATTRIBUTES - silent}
    assert len(set(spoken.values())) == len(spoken), "every attribute is spoken of, each in words of its own"
    rng = np.random.default_rng(0)
    for _ in range(200):
        drawn = frozenset(name for name in sorted(ATTRIBUTES) if rng.random() < 0.5)
        assert all("  " not in text and not text.startswith(" ") and ", ," not in text for text in captions(drawn, ATTRIBUTES))


def test_pictures_without_captions_stay_out_of_training_where_theirs_is_held_out(tmp_path):
    """Their folder, their class or a list says so, for no caption does."""
    for number in range(6):
        split = "train" if number < 3 else "test"
        paint(tmp_path / f"apart/images/{split}/{number}.png")
        paint(tmp_path / f"coco/{split}2014/{number}.png")
        paint(tmp_path / f"flickr/images/{number}.png")
        paint(tmp_path / f"cub/images/{number // 3 + 1:03}.Bird_{number // 3}/{number}.png")
        if number not in (2, 5):
            write(tmp_path / f"apart/captions/{split}/{number}.txt", f"a bird {number}")
            write(tmp_path / f"cub/text/{number // 3 + 1:03}.Bird_{number // 3}/{number}.txt", f"a bird {number}")
    for split, numbers in (("train", (0, 1)), ("test", (3, 4))):
        images = [{"id": number, "file_name": f"{number}.png"} for number in numbers]
        said = [{"image_id": number, "caption": f"a bird {number}"} for number in numbers]
        write(tmp_path / f"coco/annotations/captions_{split}2014.json", json.dumps({"images": images, "annotations": said}))
    write(tmp_path / "flickr/Flickr8k.token.txt", *(f"{number}.png#0\ta bird {number}" for number in (0, 1, 3, 4)))
    write(tmp_path / "flickr/Flickr_8k.trainImages.txt", *(f"{number}.png" for number in range(3)))
    write(tmp_path / "flickr/Flickr_8k.testImages.txt", *(f"{number}.png" for number in range(3, 6)))
    write(tmp_path / "cub/trainclasses.txt", "001.Bird_0")
    write(tmp_path / "cub/testclasses.txt", "002.Bird_1")
    for form in ("apart", "coco", "flickr", "cub"):
        report = prepare([tmp_path / form], tmp_path / "out" / form, resolution=8, uncaptioned=True)
        assert report.recognised and report.card.splits == {"train": 3, "test": 2}, form
        assert (report.card.uncaptioned, report.held_out_uncaptioned) == (1, 1), form
    assert report.card.class_names == ["Bird 0", "Bird 1"]  # whose pictures without captions have a class too


def test_lists_of_classes_and_of_pictures_hold_names_with_blanks_and_begin_with_a_byte_order_mark(tmp_path):
    for number in range(6):
        kind = ("red rose", "blue bell", "oak")[number % 3]
        paint(tmp_path / f"classes/images/{kind}/{number}.png")
        write(tmp_path / f"classes/text/{kind}/{number}.txt", f"a plant {number}")
        paint(tmp_path / f"flickr/images/my {number}.png")
    for name, lines in (("trainclasses.txt", ["oak"]), ("testclasses.txt", ["Blue bell", "red rose"])):
        (tmp_path / "classes" / name).write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert prepare([tmp_path / "classes"], tmp_path / "out", resolution=8).card.splits == {"train": 2, "test": 4}
    write(tmp_path / "flickr/Flickr8k.token.txt", *(f"my {number}.png#0\ta plant {number}" for number in range(6)))
    (tmp_path / "flickr/Flickr_8k.testImages.txt").write_bytes("my 0.png\nmy 1.png\n".encode("utf-8-sig"))
    assert prepare([tmp_path / "flickr"], tmp_path / "two", resolution=8).card.splits == {"train": 4, "test": 2}


def test_classes_that_no_list_names_are_told_of(tmp_path):
    cub_with_lists(tmp_path)
    write(tmp_path / "cvpr2016_cub/testclasses.txt", "004.Another")
    report = prepare([tmp_path], tmp_path / "out", resolution=8)
    assert report.card.splits == {"train": 4, "val": 2}
    (told,) = [file for file in report.ignored if "no list of classes" in file.reason]
    assert (told.key, told.reason) == ("003.Sooty_Albatross", "class that no list of classes has, which is trained on")


def test_a_list_of_captions_that_has_an_image_twice_is_refused(tmp_path):
    """Else the captions of the first would go to the second."""
    coco(tmp_path)
    images = [{"id": 1, "file_name": "COCO_4.jpg"}, {"id": 1, "file_name": "COCO_5.jpg"}]
    write(
        tmp_path / "annotations/captions_val2014.json", json.dumps({"images": images, "annotations": [{"image_id": 1, "caption": "a dog"}]})
    )
    with pytest.raises(DataError, match="captions_val2014.json has the image 1 twice, as 'COCO_4.jpg' and 'COCO_5.jpg'"):
        prepare([tmp_path], tmp_path / "out", resolution=8)
