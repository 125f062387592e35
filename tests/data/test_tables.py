import json
from pathlib import Path

import pytest
from PIL import Image

from limner.core.errors import DataError
from limner.data.reading import read_sources
from limner.data.tables import is_table, read_table


def rows(path: Path, content: str | bytes):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(row.file_name, row.value("text")) for row in read_table(path)]


@pytest.mark.parametrize(
    "content",
    [
        "file_name,text\na.jpg,one\nb.jpg,two\n",
        "\ufefffile_name;text\r\na.jpg;one\r\nb.jpg;two\r\n",
        "\ufeffsep=;\r\nfile_name;text\r\na.jpg;one\r\nb.jpg;two\r\n",
        '"sep=\t"\nfile_name\ttext\na.jpg\tone\nb.jpg\ttwo\n',
        "File Name\tTEXT\na.jpg\tone\nb.jpg\ttwo\n",
        "image|Caption\na.jpg|one\nb.jpg|two",
        'file_name, text\na.jpg, "one"\nb.jpg, two\n',
        "text,split,Filename\none,,a.jpg\ntwo,test,b.jpg\n",
        ",image-path,prompt,\n0,a.jpg,one,\n1,b.jpg,two,\n,,,\n",
        "\nfile_name,text\na.jpg,one,,\n\nb.jpg,two\n",
    ],
)
def test_tables_of_all_dialects_say_the_same(tmp_path, content):
    assert rows(tmp_path / "metadata.csv", content) == [("a.jpg", "one"), ("b.jpg", "two")]


@pytest.mark.parametrize("name", ["file_name", "image", "filename", "File"])
@pytest.mark.parametrize("text", ["text", "caption", "Captions", "prompt"])
def test_json_lines_and_json_know_the_same_columns(tmp_path, name, text):
    entries = [{name: "a.jpg", text: "one"}, {name: "b.jpg", text: "two"}]
    expected = [("a.jpg", "one"), ("b.jpg", "two")]
    assert rows(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, entries))) == expected
    assert rows(tmp_path / "metadata.json", json.dumps(entries)) == expected
    assert rows(tmp_path / "metadata.json", json.dumps({"a.jpg": "one", "b.jpg": {text: "two"}})) == expected


def test_a_list_in_a_cell_of_a_table_reaches_the_set(tmp_path):
    (tmp_path / "set").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (9, 9)).save(tmp_path / f"set/{name}.png")
    (tmp_path / "set/metadata.csv").write_text('file_name,text\na.png,"[\'a bird\', \'a red bird\']"\nb.png,"[""a tree""]"\n')
    assert [sample.captions for sample in read_sources([tmp_path / "set"])] == [("a bird", "a red bird"), ("a tree",)]


def test_a_cell_may_hold_line_ends_quotes_and_the_delimiter(tmp_path):
    content = 'file_name,text\na.jpg,"one, ""two""\nthree"\nb.jpg,a 5" pipe\n'
    assert rows(tmp_path / "metadata.csv", content) == [("a.jpg", 'one, "two"\nthree'), ("b.jpg", 'a 5" pipe')]


def test_a_text_of_several_lines_may_hold_the_delimiter_in_each(tmp_path):
    content = 'file_name,text\na.jpg,"It is red.\nIt is big, and round."\nb.jpg,"It is blue.\n\nYes, it is, I say."\n'
    assert [text for _, text in rows(tmp_path / "metadata.csv", content)] == [
        "It is red.\nIt is big, and round.",
        "It is blue.\n\nYes, it is, I say.",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('file_name,text\n1,"one\n2,two\n3,three "\n', "line 2: a quote swallows the rows down to line 4"),
        ("file_name,text\na.jpg,one\nb.jpg,two, three\n", "line 3 has 3 cells where the header has 2: quote texts that hold ','"),
        ("file_name;text;class\na.jpg;one; two;x\n", "line 2 has 4 cells where the header has 3: quote texts that hold ';'"),
        ("file_name,text,class\na.jpg,one, with two\n", "line 2: 'with two' looks like the rest of a text"),
        ("file_name,text,class\na.jpg,one\n", "line 2 has 2 cells where the header has 3"),
        ('file_name,text\na.jpg,"one\nb.jpg,two\nc.jpg,three "\n', "line 2: a quote swallows the rows down to line 4"),
        ('file_name,text\na.jpg,one\nb.jpg,"two\nc.jpg,three\n', "line 3 cannot be parted into cells"),
        ('file_name,text\na.jpg,"one\nb.jpg,"two"\n', "line 2 cannot be parted into cells"),
        (f"file_name,text\na.jpg,one\nb.jpg,{'two ' * 40_000}\n", "line 3 has a cell of over 131,072 characters: shorten it"),
        ("file_name,text,Text\na.jpg,one,two\n", "line 1 has two columns 'text' and 'Text'"),
        ("file_name,captoin\na.jpg,one\n", "line 1 has a column 'captoin', which is nearly 'caption'"),
        ("file_name,text,clas\na.jpg,one,x\n", "line 1 has a column 'clas', which is nearly 'class'"),
        ("flie_name,text\na.jpg,one\n", "nearly 'file_name'"),
        ("file_name,legend\na.jpg,one\n", "has no column 'text'"),
        ("a.jpg,one\nb.jpg,two\n", "has no column 'file_name'"),
        ("file_name,text\n,one\n", "line 2 has no file_name"),
        ("file_name,text\na.jpg,one\n".encode("utf-16"), "is not UTF-8"),
    ],
)
def test_what_would_be_read_in_part_is_refused_with_its_line(tmp_path, content, message):
    with pytest.raises(DataError) as caught:
        rows(tmp_path / "metadata.csv", content)
    assert message in str(caught.value) and "metadata.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "metadata.jsonl",
            '{"file_name": "a.jpg", "text": "one"}\n{"file_name": "b.jpg", "text": "x", "text": "y"}',
            "line 2.*'text' twice",
        ),
        ("metadata.jsonl", '{"file_name": "a.jpg", "promt": "one"}', "line 1 has a column 'promt', which is nearly 'prompt'"),
        ("metadata.jsonl", '\n["a.jpg"]', "line 2 is not a JSON object"),
        ("metadata.json", '[{"file_name": "a.jpg", "text": "one"}, {"text": "two"}]', "entry 2 has no file_name"),
        ("metadata.jsonl", '{"file_name": "a.jpg", "text": ' + "[" * 100_000, "line 1 is not JSON in UTF-8 .it nests too deeply"),
        ("metadata.json", "[" * 100_000, "metadata.json is not JSON in UTF-8 .it nests too deeply"),
        ("metadata.json", '{"images": [], "annotations": []}', "COCO's form, .*call it captions_NAME.json"),
        ("metadata.json", '{"images": [{"sentences": []}]}', "Karpathy's form, .*call it dataset_NAME.json"),
    ],
)
def test_json_that_would_be_read_in_part_is_refused_with_its_place(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        rows(tmp_path / name, content)


def test_a_table_is_known_by_how_it_begins(tmp_path):
    for name, content, expected in [
        ("captions.txt", "image,caption\na.jpg,one", True),
        ("train.jsonl", '{"file": "a.jpg", "caption": "one"}', True),
        ("train.json", '{"a.jpg": "one"}', True),
        ("captions.csv", "sep=;\nimage;caption\na.jpg;one", True),
        ("captions.csv", "\n\r\nimage;caption\na.jpg;one", True),
        ("captions.csv", "", False),
        ("captions.txt", "a red bird\na green bird", False),
        ("train.json", '["a.jpg", "b.jpg"]', False),
        ("test.json", '{"steps": 5}', False),
        ("train.csv", "epoch,loss\n1,2", False),
    ]:
        (tmp_path / name).write_text(content)
        assert is_table(tmp_path / name) is expected, (name, content)
