import numpy as np
import pytest
from PIL import Image, ImageFont

from limner.core.errors import LimnerWarning
from limner.data import lettering
from limner.data.lettering import Lettering, draws
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


LETTERS = "Pokémon, pétales, ß ñ ç – „quotes“ Ελλάδα Привет; Łódź, ő ț ğ, Tiếng Việt, ¿qué?, 5 € → ½ × ≤ ★"


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch):
    """A machine without any font; what was found or told before is forgotten."""
    monkeypatch.setattr(lettering, "_system_fonts", list)
    monkeypatch.setattr(lettering, "_told", set())
    for cache in (lettering._search, lettering._found):
        cache.cache_clear()
    yield
    for cache in (lettering._search, lettering._found):
        cache.cache_clear()


def test_letters_with_accents_are_drawn_on_every_machine(no_system_fonts, recwarn: pytest.WarningsRecorder) -> None:
    letters = Lettering(LETTERS)
    assert letters.font.getname()[0] == "DejaVu Sans" and not letters.others and not recwarn.list
    assert all(draws(letters.font, character) for character in LETTERS)
    boxes = {character for character in LETTERS if not draws(ImageFont.load_default(15), character)}
    assert {"é", "ß", "Е".lower(), "λ"} <= boxes, "which Pillow's own font has not"


def test_no_letter_is_drawn_as_the_sign_for_a_missing_one(no_system_fonts) -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    for letter in "éñßλЖ":
        with pytest.warns(LimnerWarning):
            box = np.asarray(contact_sheet([picture], [f"a\u0fd5{letter}"]))  # with a sign that no font here has
        drawn = np.asarray(contact_sheet([picture], [f"a{letter}"]))
        lettering._told.clear()
        assert box.shape == drawn.shape and not np.array_equal(box, drawn)
        assert ink_between(contact_sheet([picture], [letter]), 28, 200, 60, 240) > 10


def test_english_looks_as_ever_and_a_page_has_one_font() -> None:
    assert Lettering("a flower, isn't it? …").font.getname() == ImageFont.load_default(15).getname()
    picture = np.zeros((16, 16, 3), np.uint8)
    alone, among = (np.asarray(contact_sheet([picture] * 2, ["a flower", other])) for other in ("a bird", "un été"))
    assert not np.array_equal(alone[:, :200], among[:, :200]), "the plain caption next to one with accents is in the same font"


def test_a_script_without_a_font_is_said_once_and_drawn_as_boxes(no_system_fonts) -> None:
    picture = np.zeros((16, 16, 3), np.uint8)
    with pytest.warns(LimnerWarning) as told:
        page = contact_sheet([picture] * 4, ["写真 Pokémon", "真 写", "ไม้", "🌸"])
        contact_sheet([picture], ["写"])
    assert len(told) == 3 and sorted(str(warning.message).split(" characters")[0].split("draws ")[1] for warning in told) == [
        "Chinese, Japanese or Korean",
        "Thai",
        "emoji and symbol",
    ]
    assert ink_between(page, 28, 28 + 176 + 6, 56, 28 + 176 + 26) > 20, "two boxes"


def test_a_font_of_the_system_draws_what_the_others_lack(no_system_fonts, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    shipped = lettering.resources.files("limner") / "data/fonts/DejaVuSans-subset.ttf"
    (tmp_path / "whole.ttf").write_bytes(shipped.read_bytes())
    monkeypatch.setattr(lettering, "_system_fonts", lambda: [str(tmp_path / "broken.ttf"), str(tmp_path / "whole.ttf")])
    monkeypatch.setattr(lettering, "_shipped", lettering._default)  # as if nothing came with Limner
    letters = Lettering("an été")
    assert letters.font.getname() == lettering._default().getname() and letters.others["é"].getname()[0] == "DejaVu Sans"
    assert letters.length("été") > letters.length("t")


def test_controls_and_selectors_are_not_drawn_and_accents_are_composed() -> None:
    assert lettering.visible("e\u0301te\u0301 ❤\ufe0f a\u200db") == "été ❤ ab"


def test_the_font_comes_small_and_with_its_licence() -> None:
    folder = lettering.resources.files("limner") / "data/fonts"
    assert len((folder / "DejaVuSans-subset.ttf").read_bytes()) < 300_000
    assert "Bitstream Vera" in (folder / "LICENSE").read_text()
