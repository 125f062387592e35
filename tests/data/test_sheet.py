import numpy as np
import pytest
from PIL import Image, ImageFont

from limner.data.sheet import caption_grid, contact_sheet, wrap


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
