"""Zip archives and parquet files as sources: read as the folders they were packed from, and never trusted."""

import io
import json
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from limner.core.errors import DataError
from limner.data import zipped
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared
from limner.data.reading import read_sources
from limner.data.sources import Reading


def picture(shade: int, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), (200, 30, shade)).save(stream, form)
    return stream.getvalue()


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    return path


MEMBERS = {f"my set/images/p{n}.png": picture(n) for n in range(5)} | {f"my set/captions/p{n}.txt": b"a square" for n in range(5)}


def test_a_zip_is_read_as_the_folder_it_was_packed_from(tmp_path):
    packed = archive(tmp_path / "a.zip", MEMBERS | {"my set/more.tar": b"x", "my set/README.txt": b"x", "__MACOSX/._p0.png": b"x"})
    with zipfile.ZipFile(packed) as members:
        members.extractall(tmp_path / "unpacked")
    reports = [
        prepare([source], tmp_path / name, resolution=8)
        for source, name in ((packed, "zip"), (tmp_path / "unpacked" / "my set", "folder"))
        if source == packed or not (source / "more.tar").unlink()
    ]
    assert reports[0].card.fingerprint == reports[1].card.fingerprint and reports[0].pictures == 5
    assert {file.key: file.reason[:30] for file in reports[0].ignored} == {
        "more.tar": "archive within an archive: unp",
        "README.txt": "file of images/ and captions/ ",
    }
    every = open_prepared(tmp_path / "zip", "all")
    assert sorted(int(every.read([row])[0, 0, 0, 2]) for row in range(5)) == list(range(5))
    assert sorted(every.key(row) for row in range(5)) == [f"images/p{n}" for n in range(5)]


def test_a_picture_that_is_damaged_within_a_zip_is_a_reject(tmp_path):
    packed = archive(tmp_path / "a.zip", MEMBERS, zipfile.ZIP_STORED)
    content = bytearray(packed.read_bytes())
    content[content.index(picture(3)) + 60] ^= 255
    packed.write_bytes(content)
    report = prepare([packed], tmp_path / "out", resolution=8, max_rejected=0.3)
    assert [(reject.key, reject.reason) for reject in report.rejects] == [("images/p3", "damaged picture in a zip archive")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../out.txt", "leads out of the archive"),
        ("/etc/out.txt", "leads out of the archive"),
        ("a\\..\\..\\out.txt", "leads out of the archive"),
        ("C:/out.txt", "leads out of the archive"),
    ],
)
def test_a_zip_that_leads_out_of_its_folder_is_refused(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        prepare([archive(tmp_path / "a.zip", {"p.png": picture(0), name: b"x"})], tmp_path / "out", resolution=8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_zips_that_unpack_to_more_than_they_may_are_refused(tmp_path, monkeypatch):
    bomb = archive(tmp_path / "bomb.zip", {"p.png": picture(0), "p.txt": bytes(20 << 20)})
    with pytest.raises(DataError, match="unpacks to more than it may .p.txt: 20,971,520 bytes.: do not trust it"):
        prepare([bomb], tmp_path / "out", resolution=8)
    monkeypatch.setattr(zipped, "LARGEST_TEXTS", 1000)
    many = archive(tmp_path / "many.zip", {"p.png": picture(0)} | {f"{n}.txt": b"a square" * 50 for n in range(5)})
    with pytest.raises(DataError, match="unpacks to more than it may .2.txt"):
        prepare([many], tmp_path / "out", resolution=8)
    monkeypatch.setattr("limner.data.decoding.LARGEST_BYTES", 1 << 20)
    huge = archive(tmp_path / "huge.zip", {"p.png": bytes(2 << 20), "p.txt": b"a square"})
    with pytest.raises(DataError, match="huge picture"):
        prepare([huge], tmp_path / "out", resolution=8)


def test_other_zips_that_cannot_be_read_are_one_line(tmp_path):
    packed = archive(tmp_path / "a.zip", MEMBERS, zipfile.ZIP_STORED)
    content = packed.read_bytes()
    (tmp_path / "short.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="short.zip is not a whole zip archive"):
        list(read_sources([tmp_path / "short.zip"]))
    (tmp_path / "wrong.zip").write_bytes(content.replace(b"a square", b"a squire"))
    with pytest.raises(DataError, match="wrong.zip is damaged at my set/captions/p0.txt"):
        list(read_sources([tmp_path / "wrong.zip"]))
    linked = tmp_path / "linked.zip"
    with zipfile.ZipFile(linked, "w") as members:
        info = zipfile.ZipInfo("p.png")
        info.external_attr = 0o120777 << 16
        members.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="holds a link, p.png"):
        list(read_sources([linked]))
    locked = bytearray(archive(tmp_path / "locked.zip", {"p.txt": b"x"}).read_bytes())
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(DataError, match="is encrypted: unpack it"):
        list(read_sources([tmp_path / "locked.zip"]))
    told = archive(tmp_path / "told.zip", {"set/p.png": picture(0), "set/metadata.csv": b"file_name,txet\np.png,x"})
    with pytest.raises(DataError, match=f"^{told}/metadata.csv, line 1 has a column 'txet', which is nearly 'text'"):
        prepare([told], tmp_path / "out", resolution=8)
    with pytest.raises(DataError, match="found no pictures in empty.zip"):
        prepare([archive(tmp_path / "empty.zip", {"x.bin": zlib.compress(b"x")})], tmp_path / "out", resolution=8)


def test_sources_that_hold_nothing_are_named_as_what_they_are(tmp_path):
    for name in ("a.zip", "b.parquet", "c.tar"):
        (tmp_path / name).touch()
        with pytest.raises(DataError, match=f"{name} is empty: download or pack it again"):
            list(read_sources([tmp_path / name]))
    with pytest.raises(DataError, match="/dev/null is a device or a pipe"):
        list(read_sources([Path("/dev/null")]))
    deep = archive(tmp_path / "deep.zip", {"p.png": picture(0), "a/" * 2000 + "p.txt": b"x"})
    with pytest.raises(DataError, match="deep.zip holds folders over 100 deep"):
        list(read_sources([deep]))
    with pytest.raises(DataError, match="deep.zip is given twice"):
        prepare([deep, tmp_path / "." / "deep.zip"], tmp_path / "out", resolution=8)


def hugging_face(path: Path, count: int, start: int = 0, **more) -> Path:
    """A parquet file in the form that `datasets` writes: a struct of bytes and path, a list of captions, a label with names."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "image": [{"bytes": picture(start + n), "path": None} for n in range(count)],
        "text": [[f"a square {start + n}", "a box"] for n in range(count)],
        "label": [n % 2 for n in range(count)],
    } | more
    table = pyarrow.table({name: values for name, values in columns.items() if values is not None})
    features = {"label": {"names": ["rose", "pansy"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=2)
    return path


def test_parquet_files_of_hugging_face_are_read(tmp_path):
    hugging_face(tmp_path / "set/data/train-00000-of-00002.parquet", 5)
    hugging_face(tmp_path / "set/data/train-00001-of-00002.parquet", 3, 5)
    hugging_face(tmp_path / "set/data/validation-00000-of-00001.parquet", 2, 8)
    report = prepare([tmp_path / "set"], tmp_path / "out", resolution=8)
    assert report.card.splits == {"train": 8, "val": 2} and report.card.class_names == ["rose", "pansy"] and not report.ignored
    every = open_prepared(tmp_path / "out", "all")
    for row in range(10):
        shade = int(every.read([row])[0, 0, 0, 2])
        assert every.captions(row) == [f"a square {shade}", "a box"]
    assert every.key(0) == "data/train-00000-of-00002/000000"
    assert every.class_ids is not None and every.class_ids.tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 0, 1]
    alone = prepare([tmp_path / "set/data/train-00000-of-00002.parquet"], tmp_path / "one", resolution=8)
    assert alone.pictures == 5


def test_parquet_columns_by_name_and_tables_of_captions(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    source = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"scan": [picture(n) for n in range(3)], "finding": ["a", "b", "c"], "text": ["x"] * 3}), source)
    with pytest.raises(DataError, match="without a column of pictures .scan, finding, text."):
        prepare([source], tmp_path / "out", resolution=8)
    samples = list(read_sources([source], Reading(columns=("scan", "finding"))))
    assert [sample.captions for sample in samples if sample.counts] == [("a",), ("b",), ("c",)]
    assert samples[-1].problem == "parquet file with columns that are not read: text"
    with pytest.raises(DataError, match="has no column 'caption', but finding, text"):
        list(read_sources([source], Reading(columns=("scan", "caption"))))
    for number in range(3):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / f"set/p{number}.png").write_bytes(picture(number))
    table = pyarrow.table({"file_name": [f"p{n}.png" for n in range(3)], "text": ["a", "b", "c"], "class_id": [1, 1, 2]})
    parquet.write_table(table, tmp_path / "set/metadata.parquet")
    report = prepare([tmp_path / "set"], tmp_path / "out", resolution=8)
    assert report.card.captions == 3 and report.card.class_names == ["1", "2"] and not report.ignored


@pytest.mark.parametrize("columns", ["plain", "categories"])
def test_every_column_of_a_parquet_file_is_read_or_named(tmp_path, columns):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def kept(values):
        return pyarrow.array(values) if columns == "plain" else pyarrow.array(values).dictionary_encode()

    things = [[{"label": "sun", "box": [1, 2, 3 + n % 2, 4], "mask": [[1.0, 2.0, 4.0, 2.0, 4.0, 6.0]]}] for n in range(8)]
    held = {
        "image": [{"bytes": picture(n), "path": f"{n}.png"} for n in range(8)],
        "text": kept([f"a square {n}" for n in range(8)]),
        "caption": kept([f"second {n}" for n in range(8)]),
        "split": kept(["test" if n // 2 == 3 else "train" for n in range(8)]),
        "class_name": kept([["rose", "pansy"][n // 4] for n in range(8)]),
        "story": kept([f"s{n // 2}" for n in range(8)]),
        "frame": [n % 2 + 1 for n in range(8)],
        "attributes": pyarrow.array([[0.5, n] for n in range(8)], pyarrow.list_(pyarrow.float32(), 2)),
        "categories": pyarrow.array([["rosa", f"k{n}"] for n in range(8)]),
        "layout": things,
        "width": [20] * 8,
        "good": [True] * 8,
    }
    parquet.write_table(pyarrow.table(held), tmp_path / "a.parquet", row_group_size=3)
    samples = list(read_sources([tmp_path / "a.parquet"]))
    assert [sample.problem for sample in samples[:-1]] == [None] * 8
    assert samples[-1].problem == "parquet file with columns that are not read: width, good, caption" and not samples[-1].counts
    labels = samples[7].labels
    assert samples[7].captions == ("a square 7",) and labels.split == "test" and labels.class_name == "pansy"
    assert (labels.story, labels.frame, labels.attributes, labels.categories) == ("s3", 2, (0.5, 7.0), ("rosa", "k7"))
    assert labels.things is not None and labels.things[0].box == (1, 2, 4, 4) and labels.things[0].mask is not None
    card = prepare([tmp_path / "a.parquet"], tmp_path / "out", resolution=8).card
    assert card.splits == {"train": 6, "test": 2} and card.frames == 2 and card.class_names == ["pansy", "rose"]


def test_parquet_captions_of_an_unknown_name_are_answered_with_the_option(tmp_path):
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"image": [picture(n) for n in range(3)], "year": [1, 2, 3], "beschreibung": ["a", "b", "c"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="--columns image,beschreibung"):
        prepare([tmp_path / "a.parquet"], tmp_path / "out", resolution=8)
    assert prepare([tmp_path / "a.parquet"], tmp_path / "bare", resolution=8, uncaptioned=True).pictures == 3


def test_parquet_files_without_pictures_say_what_they_are(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "set").mkdir()
    parquet.write_table(pyarrow.table({"url": ["http://x"], "caption": ["a"]}), tmp_path / "set/laion.parquet")
    with pytest.raises(DataError, match="table of addresses, not of pictures .url, caption.: fetch them first"):
        prepare([tmp_path / "set"], tmp_path / "out", resolution=8)
    hugging_face(
        tmp_path / "set/train.parquet", 4, image=[{"bytes": None, "path": "x"}, *({"bytes": picture(n), "path": ""} for n in range(3))]
    )
    report = prepare([tmp_path / "set"], tmp_path / "out", resolution=8, max_rejected=0.3)
    assert [(reject.key, reject.reason) for reject in report.rejects] == [("train/000000", "row without a picture")]
    assert report.rejects[0].where == "train.parquet, row 0"


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    source = hugging_face(tmp_path / "set/a.parquet", 2)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pyarrow is not installed: pip install 'limner\[parquet\]'"):
        list(read_sources([source]))
    (tmp_path / "set/p.png").write_bytes(picture(0))
    (tmp_path / "set/p.txt").write_text("a square")
    samples = {sample.key: sample for sample in read_sources([tmp_path / "set"])}
    assert samples["p"].problem is None and "pip install 'limner[parquet]'" in str(samples["a.parquet"].problem)
