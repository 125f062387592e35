import numpy as np
import pytest
from PIL import Image, ImageFont

from limner.data.sheet import caption_grid, column_grid, contact_sheet, wrap


def test_every_picture_is_on_the_page_with_words_under_it():
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0), (250, 0, 250)]
    pictures = np.stack([np.full((16, 16, 3), colour, np.uint8) for colour in colours])
    captions = ["a flower", "two words", "x" * 400, "", "цветок"]
    pixels = np.asarray(contact_sheet(pictures, captions, columns=3, tile=100)).reshape(-1, 3)
    for colour in colours:
        assert (pixels == colour).all(1).sum() == 100 * 100
    assert ((pixels.max(1) < 90).sum()) > 200, "ink"


def test_a_grid_takes_rows_of_unlike_lengths_and_kinds():
    rows = [[Image.new("RGB", (64, 64), "red")] * 3, [np.full((32, 32, 3), (0, 0, 250), np.uint8)]]
    page = caption_grid(rows, ["red", "blue " * 30], tile=64)
    pixels = np.asarray(page).reshape(-1, 3)
    assert (pixels == (255, 0, 0)).all(1).sum() == 3 * 64 * 64 and (pixels == (0, 0, 250)).all(1).sum() == 64 * 64
    with pytest.raises(ValueError, match="one caption a row"):
        caption_grid(rows, ["red"])


def test_lines_fit_and_long_texts_end_in_an_ellipsis():
    font = ImageFont.load_default(15)
    for text in ("a flower with five petals " * 10, "w" * 3000, "i" * 2000):
        lines = wrap(text, 150, 4)
        assert len(lines) == 4 and lines[-1].endswith("…")
        assert max(map(font.getlength, lines)) <= 150
    assert wrap("a flower", 150, 4) == ["a flower"]


def ink_between(page, left, top, right, bottom):
    return int((np.asarray(page)[top:bottom, left:right].max(2) < 160).sum())


def test_notes_labels_and_a_heading_have_room_of_their_own():
    rows, captions = [[Image.new("RGB", (32, 32), "red")] * 3, [Image.new("RGB", (32, 32), "blue")] * 3], ["first", "second"]
    plain = caption_grid(rows, captions, tile=100)
    told = caption_grid(
        rows, captions, tile=100, notes=["a note"] * 2, labels=[["left", "m" * 90, "right"]] * 2, heading=["what this is"], apart=1
    )
    pixels = np.asarray(told)
    for colour in ((255, 0, 0), (0, 0, 255)):  # no picture is written upon, and the labels stay under their own
        places = np.argwhere((pixels == colour).all(2))
        assert len(places) == 3 * 100 * 100
        bottom, left = places[:, 0].max() + 1, places[:, 1].min()
        assert all(ink_between(told, left + start, bottom, left + start + 100, bottom + 20) for start in (0, 122, 226))
        assert not ink_between(told, left + 100, bottom, left + 122, bottom + 22) and not ink_between(
            told, left + 222, bottom, left + 226, bottom + 22
        )
    assert told.height > plain.height and told.width == plain.width + 18
    assert ink_between(told, 28, 26, 300, 46)
    with pytest.raises(ValueError, match="one label a picture"):
        caption_grid(rows, captions, labels=[["one"], ["two"]])


def test_remarks_stand_under_the_caption_and_make_a_row_higher():
    pictures = np.stack([np.full((16, 16, 3), (0, 250, 0), np.uint8)] * 3)
    plain, told = (
        contact_sheet(pictures, ["a flower"] * 3, columns=2, tile=100, notes=notes) for notes in (None, [["one", "two"], [], ["three"]])
    )
    assert told.height == plain.height + 3 * 20
    assert ink_between(told, 28, 28 + 100 + 6 + 20, 128, 28 + 100 + 6 + 60) and not ink_between(plain, 28, 28 + 126, 128, 28 + 126 + 18)
    with pytest.raises(ValueError, match="one list of notes a picture"):
        contact_sheet(pictures, ["a flower"] * 3, notes=[[]])


def test_a_text_beside_each_row_stands_left_of_its_pictures() -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    bare = column_grid([[picture], [picture]], ["one"])
    page = np.asarray(column_grid([[picture], [picture]], ["one"], sides=["a caption", ""]))
    added = page.shape[1] - bare.width
    assert page.shape[0] == bare.height and added > 200
    assert np.array_equal(page[:, added + 28 :], np.asarray(bare)[:, 28:])
    assert (page[:, :added] < 128).any()
