"""What a folder or a shard holds is used, or counted and reported with its reason."""

import errno
import io
import json
import os
import subprocess
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from limner.core.errors import DataError
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared
from limner.data.reading import read_sources
from limner.data.sources import PictureFile


def paint(path: Path, **save) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (200, *zlib.crc32("/".join(path.parts[-2:]).encode()).to_bytes(4, "big")[:2])).save(path, **save)
    return path


def captioned(root: Path, count: int, suffix: str = "png", text: str = "txt") -> Path:
    for number in range(count):
        paint(root / f"p{number}.{suffix}")
        (root / f"p{number}.{text}").write_text(f"a red square {number}")
    return root


def read(source: Path):
    """The pictures with captions by key, what cannot be used with its reason, and what was left alone with its reason."""
    samples = list(read_sources([source]))
    good = {sample.key: sample.captions for sample in samples if sample.counts and not sample.problem}
    bad = {sample.key: sample.problem for sample in samples if sample.counts and sample.problem}
    return good, bad, {sample.key: sample.problem for sample in samples if not sample.counts}


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def bytes_of(suffix: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), (200, 30, 30)).save(stream, suffix)
    return stream.getvalue()


AVIF = pytest.param("avif", marks=pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF"))


@pytest.mark.parametrize("suffix", ["tif", "tiff", "jfif", "jpe", "ppm", "tga", "jp2", "ico", "apng", "TIF", AVIF])
def test_all_formats_that_pillow_reads_are_read(tmp_path, suffix):
    report = prepare([captioned(tmp_path / "set", 3, suffix)], tmp_path / "out", resolution=8)
    assert report.pictures == 3 and not report.rejects and not report.ignored
    members = {f"k{n}.{suffix}": (tmp_path / f"set/p{n}.{suffix}").read_bytes() for n in range(2)}
    members = {name: content for key in list(members) for name, content in ((key, members[key]), (key[:2] + ".txt", b"a square"))}
    assert prepare([shard(tmp_path / "a.tar", members)], tmp_path / "tar", resolution=8).pictures == 2
    if suffix == "tif":  # the content decides
        os.rename(tmp_path / "set/p0.tif", tmp_path / "set/p0.jpg")
        assert prepare([tmp_path / "set"], tmp_path / "again", resolution=8).pictures == 3


@pytest.mark.parametrize("suffix", [".heic", ".svg", ".cr2", ".JXL"])
def test_pictures_that_cannot_be_read_are_counted_with_and_without_captions(tmp_path, suffix):
    root = captioned(tmp_path / "set", 3)
    for name in ("q0", "q1", "p0"):
        (root / f"{name}{suffix}").write_bytes(b"?")
    (root / "q0.txt").write_text("a caption of its own")
    good, bad, alone = read(root)
    reason = f"{suffix.lower()} picture that is not read (convert it to JPEG or PNG)"
    assert len(good) == 3 and bad == {f"q0{suffix}": reason, f"q1{suffix}": reason}
    assert alone == {f"p0{suffix}": reason}, "a picture that lies there as PNG too is no loss"
    with pytest.raises(DataError, match=r"2 of 5 samples cannot be used \(2 \S+ picture that is not read"):
        prepare([root], tmp_path / "out", resolution=8)


def test_what_is_left_alone_is_reported_and_does_not_count(tmp_path):
    root = captioned(tmp_path / "set", 3)
    for name in (
        "notes.txt",
        "README.TXT",
        "licence.txt",
        "list.csv",
        "dataset_info.json",
        "more.zip",
        "old.tar.gz",
        "all.parquet",
        "x.npy",
    ):
        (root / name).write_text("1")
    (root / "p1.caption").write_text("another")
    (root / ".hidden.jpg").write_text("1")
    report = prepare([root], tmp_path / "out", resolution=8)
    listed = {file["key"]: file["reason"] for file in map(json.loads, (tmp_path / "out/rejects.jsonl").read_text().splitlines())}
    assert report.pictures == 3 and not report.rejects and report.card.rejected == {}
    assert listed == {file.key: file.reason for file in report.ignored}
    assert {*listed} == {
        *("notes.txt", "README.TXT", "licence.txt", "list.csv", "dataset_info.json", "more.zip", "old.tar.gz", "all.parquet", "p1.caption")
    }
    assert listed["notes.txt"] == "note on the set" and listed["more.zip"] == "packed archive: unpack it, or give it as a source of its own"
    assert "all.parquet is not a whole parquet file" in listed["all.parquet"]
    assert "call it metadata.csv" in listed["list.csv"] and listed["p1.caption"] == "second caption file of a picture"


def test_linked_folders_are_read_once_and_loops_end(tmp_path):
    captioned(tmp_path / "set/own", 2)
    captioned(tmp_path / "disk/a/deep", 3)
    captioned(tmp_path / "disk/b", 4)
    for link, target in [
        ("set/linked", "disk/a"),
        ("set/twice", "disk/a"),
        ("set/own/up", "set"),
        ("set/out", "."),
        ("disk/a/deep/round", "disk/a"),
        ("disk/a/back", "set/own"),
        ("set/test", "disk/b"),
    ]:
        (tmp_path / link).symlink_to(tmp_path / target)
    good, bad, alone = read(tmp_path / "set")
    assert sorted(good) == [
        *(f"linked/deep/p{n}" for n in range(3)),
        *(f"own/p{n}" for n in range(2)),
        *(f"test/p{n}" for n in range(4)),
    ]
    assert not bad and {*alone} == {"twice", "own/up", "out", "linked/deep/round", "linked/back"}
    assert [sample.labels.split for sample in read_sources([tmp_path / "set"])].count("test") == 4


def test_a_link_into_a_hidden_folder_of_the_set_is_followed(tmp_path):
    captioned(tmp_path / "set/.store/blobs", 3)
    (tmp_path / "set/pictures").symlink_to(tmp_path / "set/.store/blobs")
    good, bad, alone = read(tmp_path / "set")
    assert sorted(good) == [f"pictures/p{n}" for n in range(3)] and not bad and not alone


@pytest.mark.skipif(os.name == "nt", reason="file systems of Windows know no pipes and refuse such names")
def test_a_file_that_cannot_be_opened_is_a_reject_like_any_other(tmp_path, monkeypatch):
    root = captioned(tmp_path / "set", 6)
    (root / "p1.png").unlink()
    (root / "p1.png").symlink_to("nowhere")
    (root / "p2.png").unlink()
    (root / "p2.png").mkdir()
    (root / "p3.png").unlink()
    os.mkfifo(root / "p3.png")
    os.rename(os.fsencode(root / "p5.png"), os.fsencode(root) + b"/caf\xe9.png")
    os.rename(os.fsencode(root / "p5.txt"), os.fsencode(root) + b"/caf\xe9.txt")
    open_bytes, real_read = Path.read_bytes, PictureFile.read

    def denied(path):
        if path.name == "p0.txt":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open_bytes(path)

    def broken(picture):
        if picture.path.name == "p4.png":
            raise OSError(errno.EIO, "Input/output error")
        return real_read(picture)

    monkeypatch.setattr(Path, "read_bytes", denied)
    monkeypatch.setattr(PictureFile, "read", broken)
    report = prepare([root], tmp_path / "out", resolution=8, max_rejected=0.9)
    assert report.pictures == 1
    assert {reject.key: reject.reason for reject in report.rejects} == {
        "p0": "caption file that cannot be opened (Permission denied)",
        "p1": "link that leads to nothing",
        "p2": "folder in place of a picture",
        "p3": "device or pipe in place of a picture",
        "p4": "picture that cannot be opened (Input/output error)",
    }
    with pytest.raises(DataError, match="5 of 6 samples cannot be used"):
        prepare([root], tmp_path / "no", resolution=8)


def test_a_folder_that_cannot_be_listed_is_a_reject(tmp_path, monkeypatch):
    root = captioned(tmp_path / "set/a", 2).parent
    captioned(root / "shut", 2)
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("shut"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    good, bad, _ = read(root)
    assert len(good) == 2 and bad == {"shut": "folder that cannot be opened (Permission denied)"}


def test_pictures_that_share_a_name_are_never_captioned_by_chance(tmp_path):
    root = captioned(tmp_path / "set", 3)
    paint(root / "p0.jpg")
    paint(root / "p1.webp")
    (root / "p1.webp.txt").write_text("the webp")
    good, bad, _ = read(root)
    assert {*bad} == {"p0.jpg", "p0.png"} and len({*bad.values()}) == 1 and "shares its name" in bad["p0.jpg"]
    assert good == {"p1.png": ("a red square 1",), "p1.webp": ("the webp",), "p2": ("a red square 2",)}
    with pytest.raises(DataError, match="keep one picture of each name, such as 'p0.jpg', or give each .* p0.jpg.txt"):
        prepare([root], tmp_path / "out", resolution=8)
    root = captioned(tmp_path / "described", 2)
    for name, texts in (("a", ()), ("b", ("png",)), ("c", ("png", "jpg"))):
        for suffix in ("png", "jpg"):
            paint(root / f"{name}.{suffix}")
        for suffix in texts:
            (root / f"{name}.{suffix}.txt").write_text(f"the {suffix}")
        (root / f"{name}.json").write_text('{"text": "one of the two", "class": "rose"}')
    good, bad, _ = read(root)
    assert bad == dict.fromkeys(("a.png", "a.jpg"), "picture that shares its name and its caption file with another")
    said = {"b.png": ("the png",), "b.jpg": ("one of the two",), "c.png": ("the png",), "c.jpg": ("the jpg",)}
    assert good == {"p0": ("a red square 0",), "p1": ("a red square 1",), **said}
    (root / "metadata.csv").write_text("file_name,split\na.png,train\na.jpg,train\n")  # captions are still those of the JSON
    assert set(read(root)[1]) == {"a.png", "a.jpg"}


def test_sources_with_the_same_names_keep_their_pictures_apart(tmp_path):
    sources = [captioned(tmp_path / "a", 3), captioned(tmp_path / "b", 2), captioned(tmp_path / "other/b", 1)]
    report = prepare(sources, tmp_path / "out", resolution=8)
    every = open_prepared(tmp_path / "out", "all", 8)
    names = sorted(every.key(index) for index in range(len(every)))
    assert names == ["a/p0.png", "a/p1.png", "b/p0.png", "b/p0.png#2", "b/p1.png", "p2"] and report.renamed == 5


def test_a_picture_never_comes_from_two_sources(tmp_path):
    root = captioned(tmp_path / "set", 2)
    captioned(root / "more", 2)
    captioned(tmp_path / "away", 2)
    captioned(root / ".hidden", 2)
    (root / "link").symlink_to(tmp_path / "away")
    shard(root / "a.tar", {"k.png": bytes_of(), "k.txt": b"a square"})
    for other, first, second in (
        (root / "more", "set/more/p0.png", "more/p0.png"),
        (tmp_path / "away", "set/link/p0.png", "away/p0.png"),
        (root / "a.tar", "a.tar/k.png", "a.tar/k.png"),
    ):
        with pytest.raises(DataError, match=f"'{first}' and '{second}' are the same picture, given by two sources: leave out"):
            prepare([root, other], tmp_path / "out", resolution=8)
    assert prepare([root, root / ".hidden"], tmp_path / "out", resolution=8).pictures == 9  # of which the folder leaves it out


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.tsv", "captions.csv", "captions.txt", "train.csv"])
def test_tables_of_usual_names_are_read(tmp_path, name):
    for number in range(4):
        paint(tmp_path / f"set/Images/p{number}.jpg")
    tab = "\t" if name.endswith("tsv") else ","
    (tmp_path / "set" / name).write_text(f"image{tab}caption\n" + "".join(f"p{n // 2}.jpg{tab}caption {n}\n" for n in range(8)))
    good, bad, alone = read(tmp_path / "set")
    assert good == {f"Images/p{n}": (f"caption {2 * n}", f"caption {2 * n + 1}") for n in range(4)} and not bad and not alone


def test_captions_in_a_file_of_their_own_go_before_a_table_that_is_not_metadata(tmp_path):
    root = captioned(tmp_path / "set", 2)
    (root / "captions.csv").write_text("file,text\np0.png,other\np1.png,other\n")
    good, bad, alone = read(root)
    assert good["p0"] == ("a red square 0",) and not bad and "2 pictures have caption files" in alone["captions.csv"]
    (root / "captions.csv").rename(root / "metadata.csv")
    good, bad, alone = read(root)
    assert good["p0"] == ("other",) and {*alone} == {"p0.txt", "p1.txt"}
    (root / "metadata.csv").write_text("file_name,class,colour\np0.png,x,red\np1.png,y,red\n")
    good, _, alone = read(root)
    assert good["p0"] == ("a red square 0",) and alone == {"metadata.csv": "table without captions, with columns that are not read: colour"}


def test_rows_that_contradict_each_other_or_say_half_are_problems_with_their_line(tmp_path):
    root = tmp_path / "set"
    for number in range(6):
        paint(root / f"p{number}.png")
    lines = [
        "file_name,text,class_id,split",
        "p0.png,one,0.0,",
        "p1.png,one,,",
        "p2.png,one,x,",
        "p3.png,one,1.0,tset",
        "p4.png,one,2.0,val",
    ]
    (root / "metadata.csv").write_text("\n".join([*lines, "p4.png,two,3.0,val", "P0.png,three,0,", "p5.png,one,4,"]))
    samples = {sample.key: sample for sample in read_sources([root])}
    problems = {key: (sample.problem, sample.where) for key, sample in samples.items() if sample.problem and sample.picture}
    assert problems == {
        "p1": ("no class_id, which other rows of the table have", "metadata.csv, line 3"),
        "p2": ("class_id is 'x', not a whole number", "metadata.csv, line 4"),
        "p3": ("unknown split 'tset' (known: train, val, test)", "metadata.csv, line 5"),
        "p4": ("another class than an earlier row of the same picture has", "metadata.csv, line 7"),
    }
    assert [sample.where for sample in read_sources([root]) if sample.problem == "file_name fits a file that another row names"] == [
        "metadata.csv, line 8"
    ]
    with pytest.raises(DataError, match=r"such as 'p1' in set \(metadata.csv, line 3\)"):
        prepare([root], tmp_path / "out", resolution=8)


def test_two_tables_on_one_picture_agree_or_are_refused(tmp_path):
    root = tmp_path / "set"
    paint(root / "in/p0.png")
    (root / "metadata.csv").write_text("file_name,text\nin/p0.png,one\n")
    (root / "in/metadata.jsonl").write_text('{"file_name": "p0.png", "text": "one"}')
    good, bad, alone = read(root)
    assert good == {"in/p0": ("one",)} and not bad and {*alone} == {"in/metadata.jsonl"}
    (root / "in/metadata.jsonl").write_text('{"file_name": "p0.png", "text": "two"}')
    with pytest.raises(DataError, match="metadata.csv and in/metadata.jsonl differ in what they say of in/p0.png"):
        read(root)


def test_an_unpacked_shard_is_read_as_the_shard_is(tmp_path):
    members = {
        "k0.png": bytes_of(), "k0.json": b'{"caption": "one", "class_id": 1.0, "split": "test"}',
        "k1.jpg": bytes_of("JPEG"), "k1.txt": b"two", "k1.json": b'{"text": "not this", "class_id": "2"}',
        "k2.png": bytes_of(), "k2.caption": b"three",
        "k3.png": bytes_of(), "k3.png.txt": b"four",
        "k4.png": bytes_of(), "k4.json": b'{"Prompts": ["five", "six"], "class_id": "1.5"}',
        "k5.png": bytes_of(), "k5.json": b'{"captoin": "seven"}',
        "k6.png": bytes_of(), "k6.txt": b"eight", "k6.cls": b"3\n",
        "k7.png": bytes_of(), "k7.txt": b"nine", "k7.cls": b"4.0", "k7.json": b'{"class_id": 5}',
        "k8.png": bytes_of(), "k8.txt": b"ten", "k8.cls": b"", "k8.cap": b"ten",
    }  # fmt: skip
    packed = shard(tmp_path / "a.tar", members)
    with tarfile.open(packed) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    said = [
        [(s.key, s.captions, s.labels.class_id, s.labels.split, s.problem) for s in read_sources([source])]
        for source in (packed, tmp_path / "unpacked")
    ]
    assert sorted(said[0]) == sorted(said[1])
    good = {entry[0]: entry[1:3] for entry in said[0] if entry[4] is None}
    assert good == {"k0": (("one",), 1), "k1": (("two",), 2), "k2": (("three",), None), "k3": (("four",), None), "k6": (("eight",), 3)}
    bad = {entry[0]: entry[4] for entry in said[0] if entry[4] is not None}
    assert bad["k4"] == "class_id is '1.5', not a whole number" and "nearly 'caption'" in bad["k5"]
    assert bad["k7"] == "another class in its .cls file than in its JSON" and bad["k8"] == "empty .cls file"
    assert bad["k8.cap"] == ".cap file of a picture's name that is not read (captions stand in .txt files)"


def test_what_a_shard_holds_beyond_its_samples_is_reported(tmp_path):
    members = {
        "a.png": bytes_of(), "a.txt": b"one", "a.seg.png": bytes_of(),
        "b.1.png": bytes_of(), "b.1.txt": b"two",
        "c.heic": b"?", "c.txt": b"three",
        "d.png": bytes_of(), "d.jpg": bytes_of("JPEG"), "d.txt": b"four",
        "e.json": b'{"caption": "five"}',
        "README.txt": b"about", "metadata.jsonl": b"{}", "f.txt": b"six",
    }  # fmt: skip
    good, bad, alone = read(shard(tmp_path / "a.tar", members))
    assert good == {"a": ("one",)}
    assert bad == {
        "b.1.png": "name with a dot before its suffix (a key ends at the first dot: rename it)",
        "c.heic": ".heic picture that is not read (convert it to JPEG or PNG)",
        "d": "several pictures under one name",
        "e": "caption without a picture next to it",
        "f": "caption without a picture next to it",
    }
    assert {*alone} == {"a.seg.png", "b.1.txt", "README.txt", "metadata.jsonl"}


@pytest.mark.parametrize(
    ("pictures", "texts"),
    [
        ("my images/{}", "my captions/{}"),
        ("a/{}", "b/class_{c}/{}"),
        ("{}", "mine/{}"),
        ("im ages/{}", "{}"),
    ],
)
def test_captions_in_another_folder_are_brought_together_by_the_command_in_the_message(tmp_path, pictures, texts):
    for number in range(8):
        paint(tmp_path / "my set" / (pictures.format(number, c=number % 3) + ".png"))
        text = tmp_path / "my set" / (texts.format(number, c=number % 3) + ".txt")
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("a red square")
    with pytest.raises(DataError, match="bring them together") as caught:
        prepare([tmp_path / "my set"], tmp_path / "out", resolution=8)
    subprocess.run(str(caught.value).split("`")[1], shell=True, check=True)
    together = next(path for path in (tmp_path / "my set-together", tmp_path / "my set/a", tmp_path / "my set") if path.exists())
    assert prepare([together], tmp_path / "out", resolution=8).pictures == 8


def test_a_table_in_another_folder_than_its_pictures_is_moved_by_the_command_in_the_message(tmp_path):
    for number in range(4):
        paint(tmp_path / f"my set/imgs/p{number}.png")
    (tmp_path / "my set/notes").mkdir()
    (tmp_path / "my set/notes/metadata.csv").write_text("file_name,text\n" + "".join(f"p{n}.png,a red square\n" for n in range(4)))
    with pytest.raises(DataError, match="metadata.csv lies in notes and its pictures in imgs: bring them together") as caught:
        prepare([tmp_path / "my set"], tmp_path / "out", resolution=8)
    subprocess.run(str(caught.value).split("`")[1], shell=True, check=True)
    assert prepare([tmp_path / "my set"], tmp_path / "out", resolution=8).pictures == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metadata.jsonl", b'{"file_name": "p0.png", "alt": "a dog"}', "not read: alt .call the one with the captions 'text'"),
        ("p0.cap", b"a dog", "p0.cap is a .cap file of a picture's name that is not read .captions stand in .txt files"),
        ("p0.txt", "ein schöner Hund".encode("latin-1"), "save the texts again as UTF-8"),
        ("metadata.csv", b"file_name,text\np.png,a dog", "write the pictures' folders into file_name"),
    ],
)
def test_captions_that_are_there_and_not_read_are_named_with_what_to_do(tmp_path, name, content, message):
    for path in ("p0.png", "a/p.png", "b/p.png"):
        paint(tmp_path / "set" / path)
    (tmp_path / "set" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        prepare([tmp_path / "set"], tmp_path / "out", resolution=8)


def test_the_advised_share_works_whatever_decoding_finds(tmp_path):
    root = captioned(tmp_path / "set", 30)
    (root / "p3.txt").unlink()
    for name in ("p5", "p6"):
        (root / f"{name}.png").write_bytes(b"not a picture at all")
    with pytest.raises(DataError, match="3 of 30 samples.*--max-rejected 0.1$") as caught:
        prepare([root], tmp_path / "out", resolution=8)
    share = float(str(caught.value).split()[-1])
    assert prepare([root], tmp_path / "out", resolution=8, max_rejected=share).pictures == 27
    for number in range(29, 100):
        paint(root / f"p{number}.png")
        (root / f"p{number}.txt").write_text("x")
    for number in range(7, 33):
        (root / f"p{number}.txt").unlink()
    with pytest.raises(DataError, match="29 of 100 samples.*--max-rejected 0.29$"):
        prepare([root], tmp_path / "no", resolution=8)
    assert prepare([root], tmp_path / "yes", resolution=8, max_rejected=0.29).pictures == 71


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.zip", b"PK\x03\x04" + bytes(600), "is not a whole zip archive"),
        ("a.parquet", b"PAR1" + bytes(600), "is not a whole parquet file"),
        ("a.tar.gz", b"\x1f\x8b" + bytes(600), "unpack it with gunzip first"),
        ("a.tar.xz", b"\xfd7zXZ\0" + bytes(600), "unpack it with unxz first"),
        ("metadata.csv", b"file_name,text", "holds no pictures: give the folder"),
        ("a.heic", b"?", "is one picture: give the folder"),
    ],
)
def test_a_source_of_another_kind_is_told_by_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_a_table_of_another_name_is_named_where_captions_are_missing(tmp_path):
    for number in range(3):
        paint(tmp_path / f"set/p{number}.png")
    (tmp_path / "set/mine.csv").write_text("file_name,text\np0.png,x\n")
    with pytest.raises(DataError, match=r"mine.csv is a table of another name \(to be read, call it metadata.csv, or pass --columns"):
        prepare([tmp_path / "set"], tmp_path / "out", resolution=8)


def test_floating_point_pictures_are_not_guessed_at(tmp_path):
    root = captioned(tmp_path / "set", 1)
    Image.fromarray(np.full((20, 20), 0.5, np.float32)).save(root / "p0.tif")
    (root / "p0.png").unlink()
    with pytest.raises(DataError, match="picture in the colour mode F"):
        prepare([root], tmp_path / "out", resolution=8)


def test_hidden_folders_of_a_shard_are_ignored_and_joined_to_no_other(tmp_path):
    members = {".data/a.png": bytes_of(), "data/a.txt": b"a square", "./data/b.png": bytes_of(), "data/b.txt": b"a circle"}
    samples = [sample for sample in read_sources([shard(tmp_path / "a.tar", members)]) if sample.counts]
    assert [(sample.key, sample.captions) for sample in samples] == [("data/a", ()), ("data/b", ("a circle",))]
