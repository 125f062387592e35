"""Lists of tags as captions, and tables whose user says what their columns are called."""

from pathlib import Path

import pytest
from PIL import Image

from limner.core.errors import DataError
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared
from limner.data.reading import read_sources
from limner.data.sources import Reading
from limner.data.tags import tags_of


def paint(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (200, 30, 30)).save(path)


def test_tags_become_captions_in_several_orders(tmp_path):
    for number, tags in enumerate(["red, sword, 32px", "blue_hair,sword\nRed , red", "one", " , "]):
        paint(tmp_path / f"p{number}.png")
        (tmp_path / f"p{number}.txt").write_text(tags)
    first, second, third, empty = read_sources([tmp_path], Reading(tags=True))
    assert first.captions[0] == "red, sword, 32px" and 1 < len(first.captions) <= 5 and len(set(first.captions)) == len(first.captions)
    assert {tuple(sorted(caption.split(", "))) for caption in first.captions} == {("32px", "red", "sword")}
    assert second.captions[0] == "blue hair, sword, Red" and third.captions == ("one",)
    assert empty.problem == "empty caption" and empty.captions == ()
    assert list(read_sources([tmp_path], Reading(tags=True)))[0].captions == first.captions
    assert tags_of((r"Miku_\(Vocaloid\); smile",)) == ["Miku (Vocaloid)", "smile"]
    assert tags_of(("a, b, A",)) == ["a", "b"]
    report = prepare([tmp_path], tmp_path / "out", resolution=8, tags=True, max_rejected=0.3)
    assert report.words == 6 and open_prepared(tmp_path / "out", "all").card.captions > 6


@pytest.mark.parametrize("name", ["styles.csv", "my captions.tsv", "list.txt", "all.jsonl", "deep/x.csv"])
def test_tables_of_any_name_are_read_by_the_names_of_their_columns(tmp_path, name):
    for number in range(3):
        paint(tmp_path / f"set/images/{number + 100}.jpg")
    tab = "\t" if name.endswith("tsv") else ","
    lines = [f"id{tab}text{tab}productDisplayName{tab}class"] + [f'{n + 100}{tab}no{tab}"a shirt, {n}"{tab}shirt' for n in range(3)]
    if name.endswith("jsonl"):
        lines = [f'{{"id": {n + 100}, "text": "no", "productDisplayName": "a shirt, {n}", "class": "shirt"}}' for n in range(3)]
    (tmp_path / "set" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "set" / name).write_text("\n".join(lines))
    if name.startswith("deep"):
        (tmp_path / "set/deep/x.csv").rename(tmp_path / "set/images/x.csv")
    samples = list(read_sources([tmp_path / "set"], Reading(columns=("id", "productDisplayName"))))
    good = {sample.key: (sample.captions, sample.labels.class_name) for sample in samples if sample.counts and not sample.problem}
    assert good == {f"images/{n + 100}": ((f"a shirt, {n}",), "shirt") for n in range(3)}
    assert [sample.problem for sample in samples if not sample.counts] == ["table with columns that are not read: text"]


def test_columns_that_no_table_has_are_one_line_with_those_that_are_there(tmp_path):
    paint(tmp_path / "set/p.jpg")
    (tmp_path / "set/a.csv").write_text("image,comment\np.jpg,x\n")
    with pytest.raises(DataError, match="has the columns 'image' and 'caption' .a.csv has image, comment.: correct --columns"):
        prepare([tmp_path / "set"], tmp_path / "out", resolution=8, columns=("image", "caption"))
    (tmp_path / "set/a.csv").unlink()
    with pytest.raises(DataError, match=".no table was found.: correct --columns"):
        prepare([tmp_path / "set"], tmp_path / "out", resolution=8, columns=("image", "caption"))
