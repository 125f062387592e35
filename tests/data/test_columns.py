import math

import pytest

from limner.data.columns import captions_of_field, columns_of, read_labels, read_object


def labels(**fields):
    return read_labels(fields, columns_of(tuple(fields)))


@pytest.mark.parametrize(
    ("cell", "captions"),
    [
        ("['a bird', 'it\\'s red']", ("a bird", "it's red")),
        ("""["it's red", 'a "bird"',]""", ("it's red", 'a "bird"')),
        ('["a bird", "caf\\u00e9"]', ("a bird", "café")),
        (" ['a bird'\n 'a tree'] ", ("a bird", "a tree")),
        ("['a\\nbird']", ("a bird",)),
        ("[a bird, a tree]", ("[a bird, a tree]",)),
        ("['a bird'] and ['a tree']", ("['a bird'] and ['a tree']",)),
        ("['a bird', 2]", ("['a bird', 2]",)),
        ("'a', 'b'", ("'a', 'b'",)),
    ],
)
def test_a_cell_that_holds_a_list_of_strings_is_several_captions(cell, captions):
    assert captions_of_field(cell) == (captions, None)
    if len(captions) > 1:
        assert labels(categories=cell).categories == captions


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", " 1 ", "1e0"])
@pytest.mark.parametrize("column", ["class_id", "class", "Class ID"])
def test_a_whole_number_is_a_class_however_it_is_written(value, column):
    assert labels(**{column: value}) == labels(class_id=1) and labels(class_id=1).class_id == 1


@pytest.mark.parametrize("value", [1.5, "1.5", "x", math.nan, "nan", math.inf, True, [1], "1_0", "0x1"])
def test_a_class_that_cannot_be_read_is_a_problem_and_not_absent(value):
    assert "class_id is '" in labels(class_id=value).problem
    assert labels(class_id=value).class_key is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "tset"}, "unknown split 'tset'"),
        ({"split": 3}, "unknown split '3'"),
        ({"split": ["train"]}, "unknown split"),
        ({"class": 0.5}, "class is '0.5'"),
        ({"class": {"a": 1}}, "class is"),
        ({"class_name": 0.5}, "class_name is '0.5'"),
    ],
)
def test_labels_that_cannot_be_read_are_problems(fields, message):
    assert message in labels(**fields).problem


def test_half_of_a_surrogate_pair_is_a_problem_wherever_it_stands():
    half = "c\ud83d"
    fields = {"class": half, "class_name": half, "story": half, "categories": ["a", half], "layout": [{"label": half, "box": [0, 0, 1, 1]}]}
    for name, value in fields.items():
        found = labels(**{name: value, **({"frame": 0} if name == "story" else {})}).problem
        assert found.endswith("is not UTF-8 text") and found.startswith(name.partition("_")[0])
    for name, value in {"split": half, "class_id": half, "layout": [{half: 1}]}.items():
        assert labels(**{name: value}).problem.encode()


def test_what_is_absent_is_no_problem_and_names_stay_names():
    assert labels(class_id="", class_name=None, split=" ").problem is None and labels(class_id="").class_key is None
    assert labels(**{"class": "rose"}).class_name == "rose" and labels(class_name=7).class_name == "7"
    assert labels(class_id=2, **{"class": "rose"}).class_key == (2, "rose")
    assert labels(split="Validation").split == "val"


def test_other_columns_are_neither_ours_nor_mistakes():
    ordinary = ("url", "width", "image_id", "caption_id", "label", "test", "sha256", "similarity", "caption2", "key", "exif")
    columns = columns_of(("file_name", "text", *ordinary))
    assert columns.problem is None and columns.unread == ordinary
    assert columns.surplus({"file_name": "a", "text": "b", "width": 3, "url": ""}) == ["width"]


def test_json_of_a_picture_that_names_a_field_twice_is_refused():
    captions, _, problem = read_object(b'{"text": "one", "text": "two"}', None, captioned=False)
    assert (captions, problem) == ((), "JSON that cannot be read (it has 'text' twice)")
