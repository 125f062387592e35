import unicodedata

import pytest

from limner.data.names import Index, pair

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("pictures", "texts", "expected"),
    [
        (["a.jpg"], ["a.txt"], {"a.jpg": "a.txt"}),
        (["a.jpg"], ["a.jpg.txt"], {"a.jpg": "a.jpg.txt"}),
        (["a.jpg"], ["a.caption"], {"a.jpg": "a.caption"}),
        (["A.JPG"], ["a.txt"], {"A.JPG": "a.txt"}),
        (["a.b.png"], ["a.b.TXT"], {"a.b.png": "a.b.TXT"}),
        ([f"{NFD}.jpg"], [f"{NFC}.txt"], {f"{NFD}.jpg": f"{NFC}.txt"}),
        ([f"{NFC}.jpg"], [f"{NFD}.JPG.txt"], {f"{NFC}.jpg": f"{NFD}.JPG.txt"}),
        (["A.jpg", "a.jpg"], ["A.txt", "a.txt"], {"A.jpg": "A.txt", "a.jpg": "a.txt"}),
        (["A.jpg", "a.jpg"], ["a.txt"], {"a.jpg": "a.txt"}),
        (["a.jpg", "a.png"], ["a.jpg.txt", "a.png.txt"], {"a.jpg": "a.jpg.txt", "a.png": "a.png.txt"}),
    ],
)
def test_a_picture_and_its_captions_find_each_other(pictures, texts, expected):
    pairing = pair(pictures, [*pictures, *texts])
    assert pairing.texts == expected and not pairing.shared and not pairing.lone and not pairing.second


def test_names_that_do_not_tell_which_picture_is_meant():
    assert pair(["a.jpg", "a.png"], ["a.txt"]).shared == {"a.jpg", "a.png"}
    assert pair(["A.jpg", "a.JPG"], ["b.txt"]).lone == ["b.txt"]
    unclear = pair(["Aa.jpg", "aA.png"], ["aa.txt"])
    assert not unclear.texts and unclear.lone == ["aa.txt"]
    both = pair(["a.jpg"], ["a.caption", "a.txt", "a.jpg.txt"])
    assert both.texts == {"a.jpg": "a.txt"} and sorted(both.second) == ["a.caption", "a.jpg.txt"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("images\\p0.jpg", "images/p0.jpg"),
        ("IMAGES/P0.JPG", "images/p0.jpg"),
        ("p0.jpg", "images/p0.jpg"),
        ("p0", "images/p0.jpg"),
        ("/home/me/set/images/p0.jpg", "images/p0.jpg"),
        ("D:\\set\\p0.jpg", "images/p0.jpg"),
        (f"{NFC}.png", f"{NFD}.png"),
        ("p1.jpg", "p1.jpg"),
        ("p9.jpg", None),
        ("other/p0.jpg", None),
        ("data/my-set/images/p0.jpg", "images/p0.jpg"),
        ("pictures/p1", "p1.jpg"),
    ],
)
def test_a_table_finds_its_files(name, expected):
    assert Index(["images/p0.jpg", f"{NFD}.png", "p1.jpg", "deep/p1.jpg", "a/q.png", "b/q.png"]).find(name) == (expected, None)


def test_a_name_that_fits_several_files_finds_none():
    found, problem = Index(["a/q.png", "b/q.png"]).find("q.png")
    assert found is None and problem == "file_name fits 2 files"
