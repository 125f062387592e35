import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from limner.core.errors import DataError
from limner.core.trainable import Phase
from limner.data.cache import FORMAT, CacheCard, SplitWriter, join, write_card
from limner.data.loader import Loader
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared


@pytest.fixture
def folder(tmp_path):
    writers = {split: SplitWriter(tmp_path, split) for split in ("train", "val", "test")}
    for split, count in (("train", 6), ("val", 0), ("test", 3)):
        for number in range(count):
            captions = ["a red bird with two wings", "schön ✿"] if number != 5 else ["no such words here"]
            writers[split].add(np.full((10, 10, 3), number, np.uint8), captions, f"{split}-{number}", number % 2, True)
    for writer in writers.values():
        writer.close()
    fingerprint = join(tmp_path, writers, True)
    write_card(
        tmp_path,
        CacheCard(
            format=1,
            name="birds",
            resolution=8,
            stored_resolution=10,
            splits={"train": 6, "test": 3},
            made_splits="given",
            captions=17,
            uncaptioned=0,
            class_names=["a", "b"],
            flip=True,
            upscaled=0,
            rejected={},
            sources=["x"],
            seed=0,
            fingerprint=fingerprint,
        ),
    )
    (tmp_path / "vocabulary.json").write_text(json.dumps({"red": 5, "blue": 3, "two": 5, "three": 1}))
    return tmp_path


def test_splits_are_stretches_of_the_whole(folder):
    every, test = open_prepared(folder, "all"), open_prepared(folder, "test", 4)
    assert (len(every), len(test)) == (9, 3)
    assert [test.key(index) for index in (0, 1, 2, -1)] == ["test-0", "test-1", "test-2", "test-2"]
    assert test.captions(1) == every.captions(7) == ["a red bird with two wings", "schön ✿"]
    assert every.caption_counts.sum() == 17 and test.class_ids.tolist() == [0, 1, 0]
    assert test.read([2, 0])[:, 0, 0, 0].tolist() == [2, 0]
    with pytest.raises(IndexError):
        test.captions(3)
    with pytest.raises(IndexError):
        test.read([3])


def test_another_process_opens_the_files_anew(folder):
    content = pickle.dumps(open_prepared(folder, "test"))
    assert len(content) < 1000
    assert (pickle.loads(content).read([1]) == 1).all()


def test_counterfactuals_change_one_word_or_take_a_caption_of_another_class(folder):
    train = open_prepared(folder, "train")
    changed = {train.counterfactual(0, 0, draw) for draw in range(8)}
    assert {"a blue bird with two wings", "a red bird with three wings"} <= changed
    for text in changed:
        assert sum(a != b for a, b in zip(text.split(), ["a", "red", "bird", "with", "two", "wings"], strict=True)) == 1
    assert train.counterfactual(0, 0, 3) == open_prepared(folder, "train").counterfactual(0, 0, 3)
    assert train.counterfactual(5, 0, 0) in ("a red bird with two wings", "schön ✿")


@pytest.mark.parametrize(
    ("split", "resolution", "message"),
    [("val", None, "no 'val' split, only train"), ("trian", None, "no 'trian' split"), ("train", 9, "prepared at 8 px, below the 9 px")],
)
def test_what_a_set_lacks_is_said_with_the_fix(folder, split, resolution, message):
    with pytest.raises(DataError, match=message):
        open_prepared(folder, split, resolution)


def test_damaged_later_and_foreign_folders(folder, tmp_path_factory):
    with pytest.raises(DataError, match="is not a prepared data set.*limner data prepare"):
        open_prepared(tmp_path_factory.mktemp("foreign"), "train")
    card = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**card, "format": FORMAT + 1}))
    with pytest.raises(DataError, match="later version"):
        open_prepared(folder, "train")
    (folder / "dataset.json").write_text(json.dumps({**card, "splits": "many"}))
    with pytest.raises(DataError, match="dataset.json is damaged"):
        open_prepared(folder, "train")
    (folder / "dataset.json").write_text(json.dumps(card))
    for name in ("pictures.u8", "captions.utf8", "first_captions.npy"):
        content = (folder / name).read_bytes()
        for broken in (content[:-5], content + b"more" if not name.endswith("npy") else b""):
            (folder / name).write_bytes(broken)
            with pytest.raises(DataError, match="is damaged"):
                open_prepared(folder, "train")
        (folder / name).write_bytes(content)
    assert len(open_prepared(folder, "train")) == 6


@pytest.mark.parametrize("name", ["captions.utf8", "keys.utf8"])
def test_bytes_that_are_no_text_are_refused(folder, name):
    (folder / name).write_bytes(b"\xff" * (folder / name).stat().st_size)
    pictures = open_prepared(folder, "train")
    with pytest.raises(DataError, match=f"{name} is damaged .*: prepare the set again"):
        pictures.captions(0) and pictures.key(0)


@pytest.mark.parametrize("damaged", [b"\xff\xfe{", b"[1, 2]", b'{"red": "five"}', b""])
def test_a_damaged_vocabulary_is_refused(folder, damaged):
    (folder / "vocabulary.json").write_bytes(damaged)
    with pytest.raises(DataError, match=r"vocabulary\.json.*: prepare the set again"):
        _ = open_prepared(folder, "train").vocabulary


def of_captions(tmp_path, captions, classes=None, **splits):
    """A training split of one picture for each list of captions, in order."""
    lines = []
    shutil.rmtree(tmp_path / "source", ignore_errors=True)
    for number, texts in enumerate(captions):
        name = f"{number:03}.png"
        (tmp_path / "source").mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), (number, 0, 0)).save(tmp_path / "source" / name)
        known = {"file_name": name, "text": texts, "split": splits.get(f"p{number}", "train")}
        lines.append(json.dumps(known if classes is None else {**known, "class": classes[number]}))
    (tmp_path / "source/metadata.jsonl").write_text("\n".join(lines))
    prepare([tmp_path / "source"], tmp_path / "set", resolution=8, force=True)
    return open_prepared(tmp_path / "set", "train")


def test_a_counterfactual_says_what_no_caption_of_its_picture_says(tmp_path):
    tags = [["sword, hero", "hero sword"], ["hero, sword"], ["Sword hero!"], ["hero; sword"], ["a dragon"]]
    train = of_captions(tmp_path, tags)
    for index in range(4):
        assert {train.counterfactual(index, 0, draw) for draw in range(40)} == {"a dragon"}
    assert {train.counterfactual(4, 0, draw) for draw in range(40)} <= {text for texts in tags[:4] for text in texts}
    rare = of_captions(tmp_path, [["hero"]] * 250 + [["dragon"]], [f"k{n}" for n in [0, 1] * 125] + ["k1"])
    assert {rare.counterfactual(index, 0, draw) for index in range(12) for draw in range(3)} == {"dragon"}, "found where draws miss it"
    numbers = of_captions(tmp_path, [["0 0.5"], ["0.5 0"]])
    assert numbers.counterfactual(0, 0, 0) == "0.5 0", "the order of numbers matters"
    changed = of_captions(tmp_path, [["a red bird", "a bird, blue"], ["a green bird"]])
    assert {changed.counterfactual(0, 0, draw) for draw in range(9)} == {"a green bird"}
    assert {changed.counterfactual(1, 0, draw) for draw in range(9)} == {"a red bird", "a blue bird"}


def test_a_small_split_takes_wrong_captions_from_training(tmp_path):
    of_captions(tmp_path, [["hero"], ["dragon"], ["hero"]], p2="val")
    val = open_prepared(tmp_path / "set", "val")
    val.check_counterfactuals()
    assert len(val) == 1 and val.counterfactual(0, 0, 0) == "dragon"


def test_a_set_that_says_one_thing_trains_without_counterfactuals_alone(tmp_path):
    train = of_captions(tmp_path, [["a fine hero", "hero a fine"], ["a fine hero"], ["a hero, fine"]])
    asked = Phase(name="x", resolution=8, batch_size=2, steps=1, encoded=False)
    assert len(Loader(train, asked, seed=0).batch(0).captions) == 2
    with pytest.raises(DataError, match="'a fine hero' of '000' in .*set cannot be made false.*--method.counterfactual 0"):
        Loader(train, Phase(name="x", resolution=8, batch_size=2, steps=1, encoded=False, counterfactuals=1), seed=0)
