import csv
import errno
import io
import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.core.errors import DataError
from limner.data.decoding import Rejected, decode
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared
from limner.data.reading import read_sources
from limner.data.sources import PictureFile
from limner.data.survey import is_sided_text


def paint(path: Path, colour=(200, 30, 30), size=(30, 24), **save) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **save)
    return path


def folder_of(root: Path, count: int, caption: str = "a red square") -> Path:
    for number in range(count):
        paint(root / f"{number:03}.png", (number * 5, 100, 200))
        (root / f"{number:03}.txt").write_text(f"{caption} {number}\nanother one\n", encoding="utf-8")
    return root


def shard_of(path: Path, samples) -> Path:
    """samples: (key, colour, captions, fields)."""
    with tarfile.open(path, "w") as tar:
        for key, colour, captions, fields in samples:
            stream = io.BytesIO()
            Image.new("RGB", (20, 20), colour).save(stream, "PNG")
            members = {"png": stream.getvalue()}
            if captions is not None:
                members["txt"] = "\n".join(captions).encode()
            if fields is not None:
                members["json"] = json.dumps(fields).encode()
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def test_a_folder_becomes_a_set_that_gives_back_what_went_in(tmp_path):
    source = folder_of(tmp_path / "squares", 40)
    report = prepare([source], tmp_path / "out", resolution=16)
    assert report.card.splits == {"train": 32, "val": 4, "test": 4}
    assert report.card.made_splits == "picture"
    every = open_prepared(tmp_path / "out", "all", 16)
    assert (every.name, every.resolution, every.stored_resolution, every.may_flip) == ("out", 16, 19, True)
    assert every.class_ids is None and every.class_count == 0
    assert sorted(every.key(index) for index in range(40)) == [f"{number:03}" for number in range(40)]
    for index in range(40):
        number = int(every.key(index))
        assert every.captions(index) == [f"a red square {number}", "another one"]
        assert (every.read([index]) == (number * 5, 100, 200)).all()
    assert every.caption_counts.tolist() == [2] * 40
    train, test = open_prepared(tmp_path / "out", "train"), open_prepared(tmp_path / "out", "test")
    assert [test.key(index) for index in range(4)] == [every.key(36 + index) for index in range(4)]
    assert (test.read(np.array([3, 0, 3])) == every.read([39, 36, 39])).all()
    assert list(train.vocabulary)[:3] == ["a", "another", "one"] and train.vocabulary["red"] == 32


def test_the_same_sources_give_the_same_set_and_any_change_another_fingerprint(tmp_path):
    source = folder_of(tmp_path / "squares", 12)
    prints = [prepare([source], tmp_path / f"out{number}", resolution=16).card.fingerprint for number in range(2)]
    assert prints[0] == prints[1]
    assert (tmp_path / "out0/pictures.u8").read_bytes() == (tmp_path / "out1/pictures.u8").read_bytes()
    (source / "003.txt").write_text("a green square")
    assert prepare([source], tmp_path / "out2", resolution=16).card.fingerprint != prints[0]


def test_metadata_tables_join_rows_and_name_classes_and_splits(tmp_path):
    root = tmp_path / "listed"
    names = [f"{split}/{number}.jpg" for split in ("train", "test") for number in range(3)]
    for name in names:
        paint(root / name)
    with (root / "metadata.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", "text", "class", "split"])
        for name in names:
            writer.writerow([name, 'one "quoted", text', "pansy" if "0" in name else "rose", "validation" if name == "test/2.jpg" else ""])
            writer.writerow([name, "two", "pansy" if "0" in name else "rose", "validation" if name == "test/2.jpg" else ""])
    report = prepare([root], tmp_path / "csv", resolution=16)
    assert report.card.splits == {"train": 3, "val": 1, "test": 2}
    train = open_prepared(tmp_path / "csv", "train")
    assert train.captions(0) == ['one "quoted", text', "two"]
    assert train.class_names == ["pansy", "rose"] and train.class_ids.tolist() == [0, 1, 1]
    (root / "metadata.csv").unlink()
    lines = [{"file_name": name, "text": ["one", " two  words "], "class_id": 7} for name in names]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = prepare([root], tmp_path / "jsonl", resolution=16)
    assert report.card.splits == {"train": 3, "test": 3} and report.card.class_names == ["7"]
    assert open_prepared(tmp_path / "jsonl", "test").captions(2) == ["one", "two words"]


def test_shards_and_folders_stand_together_and_keep_given_splits(tmp_path):
    samples = [
        (f"deep/k{n}", (n, 0, 0), [f"number {n}"], {"class_id": 5 - n % 2, "class_name": "ab"[n % 2], "split": ["train", "test"][n % 2]})
        for n in range(6)
    ]
    shards = [shard_of(tmp_path / "a.tar", samples[:3]), shard_of(tmp_path / "b.tar", samples[3:])]
    report = prepare(shards, tmp_path / "out", resolution=8)
    assert report.card.splits == {"train": 3, "test": 3} and report.card.made_splits == "given"
    assert report.card.class_names == ["b", "a"], "classes are numbered by their given ids"
    test = open_prepared(tmp_path / "out", "test")
    assert [test.key(index) for index in range(3)] == ["deep/k1", "deep/k3", "deep/k5"] and test.class_ids.tolist() == [0, 0, 0]
    mixed = prepare([shards[0], folder_of(tmp_path / "squares", 4)], tmp_path / "mixed", resolution=8)
    assert mixed.card.splits == {"train": 6, "test": 1}, "who names no split is for training"
    assert mixed.card.class_names is None and mixed.classes_dropped == 4


def test_made_splits_hold_out_whole_classes(tmp_path):
    shard = shard_of(tmp_path / "a.tar", [(f"k{n}", (n, 0, 0), ["x"], {"class_name": f"c{n % 20:02}"}) for n in range(60)])
    assert prepare([shard], tmp_path / "out", resolution=8, seed=3).card.splits == {"train": 48, "val": 6, "test": 6}
    classes = [set(open_prepared(tmp_path / "out", split).class_ids.tolist()) for split in ("train", "val", "test")]
    assert [len(found) for found in classes] == [16, 2, 2] and len(set.union(*classes)) == 20
    prepare([shard], tmp_path / "other", resolution=8, seed=4)
    assert set(open_prepared(tmp_path / "other", "test").class_ids.tolist()) != classes[2]


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([{}] * 2, {"validation": 0.3, "test": 0.3}, "--validation 0.3 and --test 0.3 hold out 1 and 1 of 2 pictures, and nothing is left"),
        (
            [{"class": f"k{n % 3}"} for n in range(9)],
            {"validation": 0.4, "test": 0.5, "split_by": "class"},
            "--validation 0.4 and --test 0.5 hold out 1 and 2 of 3 classes, and nothing is left to train on: give a smaller share",
        ),
        ([{"class": f"k{n}"} for n in range(10)], {"validation": 0.5, "test": 0.49}, "hold out 5 and 5 of 10 classes"),
        ([{"story": n // 2, "frame": n % 2} for n in range(4)], {"validation": 0.3, "test": 0.3}, "hold out 1 and 1 of 2 stories"),
        ([{"class": f"k{n}"} for n in range(3)], {"validation": 0.1, "test": 0.8, "split_by": "class"}, "hold out 1 and 2 of 3 classes"),
    ],
)
def test_splits_that_leave_nothing_to_train_on_are_refused(tmp_path, labels, settings, message):
    shard = shard_of(tmp_path / "a.tar", [(f"k{n}", (n, 0, 0), ["x"], known) for n, known in enumerate(labels)])
    with pytest.raises(DataError, match=message):
        prepare([shard], tmp_path / "out", resolution=8, **settings)
    assert not (tmp_path / "out").exists()


def test_uncaptioned_pictures_join_training_only_and_only_when_asked(tmp_path):
    captioned = shard_of(tmp_path / "a.tar", [(f"k{n}", (n, 0, 0), ["x"], {"split": ["train", "test"][n % 2]}) for n in range(6)])
    bare = shard_of(tmp_path / "b.tar", [(f"u{n}", (n, 0, 0), None, {"split": ["train", "test"][n % 2]}) for n in range(4)])
    with pytest.raises(DataError, match="4 of 10 samples.*4 no caption.*--uncaptioned"):
        prepare([captioned, bare], tmp_path / "out", resolution=8)
    report = prepare([captioned, bare], tmp_path / "out", resolution=8, uncaptioned=True)
    assert report.card.splits == {"train": 5, "test": 3} and report.card.uncaptioned == 2 and report.held_out_uncaptioned == 2
    train = open_prepared(tmp_path / "out", "train")
    assert train.caption_counts.tolist() == [1, 1, 1, 0, 0] and train.captions(4) == []


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("007.png", None, "truncated picture"),
        ("007.png", b"not a picture at all", "not a picture"),
        ("007.txt", b" \n\n", "empty caption"),
        ("007.txt", b"x" * 10_000, "caption over 2,000 characters"),
        ("007.txt", b"caf\xe9", "caption is not UTF-8 text"),
        ("lonely.txt", b"a caption", "caption without a picture"),
    ],
)
def test_what_cannot_be_used_is_refused_or_listed(tmp_path, name, content, reason):
    source = folder_of(tmp_path / "squares", 20)
    if content is None:
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(source / name)
        content = (source / name).read_bytes()[:6000]
    (source / name).write_bytes(content)
    with pytest.raises(DataError, match=f"1 of 2[01] samples cannot be used \\(1 {reason}\\)") as caught:
        prepare([source], tmp_path / "new/out", resolution=16)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new/out").exists() and not list((tmp_path / "new").glob(".*") if (tmp_path / "new").exists() else [])
    report = prepare([source], tmp_path / "new/out", resolution=16, max_rejected=0.05)
    listed = [json.loads(line) for line in (tmp_path / "new/out/rejects.jsonl").read_text().splitlines()]
    assert listed == [{"key": Path(name).stem, "source": "squares", "reason": reason}]
    assert report.card.rejected == {reason: 1} and report.pictures == (20 if name == "lonely.txt" else 19)


def test_a_folder_that_cannot_be_a_set(tmp_path):
    paint(tmp_path / "bare/a.png")
    (tmp_path / "empty").mkdir()
    paint(tmp_path / "held/test/a.png")
    (tmp_path / "held/test/a.txt").write_text("x")
    (tmp_path / "broken.tar").write_bytes(bytes(range(256)) * 10)
    for source, message in [
        ("bare", "none of the 1 samples in bare"),
        ("empty", "found no pictures"),
        ("held", "no sample in held.*training split"),
        ("broken.tar", "cannot read .*uncompressed tar"),
        ("brocken.tar", "did you mean .*broken.tar"),
    ]:
        with pytest.raises(DataError, match=message):
            prepare([tmp_path / source], tmp_path / "out", resolution=16)
        assert not (tmp_path / "out").exists()
    prepare([tmp_path / "held"], tmp_path / "out", resolution=16, evaluation_only=True)
    with pytest.raises(DataError, match="no training split, only test"):
        open_prepared(tmp_path / "out", "train")


def test_a_damaged_or_cut_shard_is_told_from_a_whole_one(tmp_path):
    whole = shard_of(tmp_path / "a.tar", [(f"k{n}", (n, 0, 0), ["x"], None) for n in range(5)])
    content = bytearray(whole.read_bytes())
    assert len(list(read_sources([whole]))) == 5
    (tmp_path / "cut.tar").write_bytes(content[:2700])
    content[512 * 8 : 512 * 9] = b"\x5a" * 512
    (tmp_path / "garbled.tar").write_bytes(content)
    for name in ("cut.tar", "garbled.tar"):
        with pytest.raises(DataError, match=f"cannot read .*{name}"):
            list(read_sources([tmp_path / name]))


def test_an_existing_folder_is_replaced_only_by_force_and_only_if_prepared(tmp_path):
    source = folder_of(tmp_path / "squares", 12)
    with pytest.raises(DataError, match="exists and is not a prepared data set"):
        prepare([source], source, resolution=16, force=True)
    prepare([source], tmp_path / "out", resolution=16)
    with pytest.raises(DataError, match="--force"):
        prepare([source], tmp_path / "out", resolution=8)
    prepare([source], tmp_path / "out", resolution=8, force=True)
    assert open_prepared(tmp_path / "out", "train").resolution == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "squares"]


def test_no_space_left_leaves_the_old_set_as_it_was(tmp_path, monkeypatch):
    source = folder_of(tmp_path / "squares", 12)
    before = prepare([source], tmp_path / "out", resolution=16).card.fingerprint

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("limner.data.cache.SplitWriter.add", full)
        with pytest.raises(DataError, match="no space left"):
            prepare([source], tmp_path / "out", resolution=8, force=True)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("limner.data.prechecks.shutil.disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(DataError, match="no space left"):
        prepare([source], tmp_path / "out", resolution=8, force=True)
    assert open_prepared(tmp_path / "out", "train").fingerprint == before[:16]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "squares"]


def test_decoding_turns_lays_on_white_and_cuts_the_centre(tmp_path):
    def read(path, side=8):
        return decode(PictureFile(path, path.stat().st_size), side)

    turned = np.zeros((40, 20, 3), np.uint8)
    turned[:20] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(turned).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    pixels, smaller = read(tmp_path / "turned.jpg")
    assert pixels.shape == (8, 8, 3) and not smaller and pixels[:3].max() < 30 and pixels[5:].min() > 225
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read(tmp_path / "clear.png")[0].min() == 255
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 48, 3), dtype=np.uint8))
    wide.save(tmp_path / "wide.webp", lossless=True)
    expected = np.asarray(wide.resize((24, 8), Image.Resampling.LANCZOS))[:, 8:16]
    assert np.abs(read(tmp_path / "wide.webp")[0].astype(int) - expected).max() <= 1
    Image.fromarray(np.full((20, 20), 0x8000, np.uint16)).save(tmp_path / "deep.png")
    assert read(tmp_path / "deep.png")[0].max() == 128
    assert read(paint(tmp_path / "tiny.gif", size=(4, 4)))[1]
    Image.new("1", (12_000, 6_000)).save(tmp_path / "huge.png")
    with pytest.raises(Rejected, match="huge picture"):
        read(tmp_path / "huge.png")


@pytest.mark.parametrize("word", ["left", "RIGHT", "leftmost", "righthand", "leftward", "rightwards", "left-handed", "righthanded"])
def test_words_of_sides_are_known(word):
    assert is_sided_text(f"a bird looking {word}, it's red")
    assert not is_sided_text("a cleft leaf, bright, upright")


def test_captions_of_left_and_right_stop_mirroring(tmp_path):
    sided = prepare([folder_of(tmp_path / "a", 12, "a square on the left")], tmp_path / "sided", resolution=8)
    assert not sided.card.flip and sided.sided == 12
    source = folder_of(tmp_path / "b", 120)
    (source / "005.txt").write_text("the Right one\nanother")
    assert prepare([source], tmp_path / "mostly", resolution=8).card.flip
    every = open_prepared(tmp_path / "mostly", "all")
    assert Counter(every.mirrorable.tolist()) == {True: 119, False: 1}
    assert every.key(int(np.flatnonzero(~every.mirrorable)[0])) == "005"
