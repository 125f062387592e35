"""Pictures of any shape, see-through ones and pixel art, as squares."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.core.errors import DataError
from limner.data.decoding import decode, decode_sized
from limner.data.framing import Framing
from limner.data.layouts import place
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared
from limner.data.sources import PictureFile, Thing


def stored(path: Path, side: int = 76, resolution: int = 64, **framing) -> np.ndarray:
    return decode_sized(PictureFile(path, path.stat().st_size), side, Framing(**framing), resolution)[0]


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """48 x 24 px: red to the left, green in the middle, blue to the right."""
    pixels = np.zeros((24, 48, 3), np.uint8)
    pixels[:, :12, 0] = pixels[:, 12:36, 1] = pixels[:, 36:, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


def test_padding_keeps_the_whole_picture_within_what_is_never_cut(wide):
    padded = stored(wide, fit="pad", background="black")
    lit = np.argwhere(padded.any(axis=2))
    assert lit.min(axis=0).tolist() == [22, 6] and lit.max(axis=0).tolist() == [53, 69]  # 64 x 32 in the middle of 76 x 76
    assert padded[38, 8].tolist() == [255, 0, 0] and padded[38, 38].tolist() == [0, 255, 0] and padded[38, 67].tolist() == [0, 0, 255]
    assert stored(wide, fit="pad", background="#102030")[0, 0].tolist() == [16, 32, 48]


def test_squashing_keeps_all_and_cropping_the_middle(wide):
    squashed = stored(wide, fit="squash")
    assert squashed[38, 3].tolist() == [255, 0, 0] and squashed[38, 72].tolist() == [0, 0, 255]
    cropped = stored(wide)
    assert cropped[38, 12].tolist() == cropped[38, 63].tolist() == [0, 255, 0]
    assert (cropped == decode(PictureFile(wide, wide.stat().st_size), 76)[0]).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(16, 16), (24, 16), (9, 20)])
def test_pixel_art_is_enlarged_by_whole_factors(tmp_path, fit, size):
    rng = np.random.default_rng(0)
    sprite = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(sprite).save(tmp_path / "sprite.png")
    pixels = stored(tmp_path / "sprite.png", fit=fit, pixel_art=True, background="black")
    assert {tuple(pixel) for pixel in pixels.reshape(-1, 3)} <= {tuple(pixel) for pixel in sprite.reshape(-1, 3)} | {(0, 0, 0)}
    view = Framing(fit=fit, pixel_art=True).view(size, 76, 64)
    assert view.wide % view.width == view.high % view.height == 0 and max(view.wide, view.high) <= 64
    across, down = int(view.wide // view.width), int(view.high // view.height)
    assert across > 1 and down > 1 and (fit == "squash" or across == down)
    kept = sprite[int(view.top) : int(view.top + view.height), int(view.left) : int(view.left + view.width)]
    if float(view.left).is_integer() and float(view.top).is_integer():
        shown = pixels[view.down : view.down + view.high, view.across : view.across + view.wide]
        assert (shown == kept.repeat(down, axis=0).repeat(across, axis=1)).all()


def test_pixel_art_that_is_larger_than_the_set_is_reduced_without_mixing(tmp_path):
    sprite = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(sprite.repeat(20, axis=0).repeat(20, axis=1)).save(tmp_path / "large.png")
    pixels = stored(tmp_path / "large.png", pixel_art=True)
    assert (pixels[6:70, 6:70] == sprite.repeat(4, axis=0).repeat(4, axis=1)).all()


def test_transparency_lies_on_the_background(tmp_path):
    Image.new("RGBA", (20, 20), (200, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("LA", (20, 20), (200, 0)).save(tmp_path / "grey.png")
    for name in ("clear.png", "grey.png"):
        assert stored(tmp_path / name)[0, 0].tolist() == [255, 255, 255]
        assert stored(tmp_path / name, background="navy")[0, 0].tolist() == [0, 0, 128]
    with pytest.raises(DataError, match="--background 'nvay' is not a colour"):
        Framing(background="nvay")


def test_boxes_follow_the_framing():
    things = [Thing(label="sun", box=(0, 0, 12, 24)), Thing(label="sea", box=(12, 0, 36, 24))]
    padded = place(things, (48, 24), Framing(fit="pad").view((48, 24), 76, 64))
    assert np.allclose(padded.boxes * 76, [[6, 22, 16, 32], [22, 22, 48, 32]], atol=1e-4)
    squashed = place(things, (48, 24), Framing(fit="squash").view((48, 24), 76, 64))
    assert np.allclose(squashed.boxes, [[0, 0, 0.25, 1], [0.25, 0, 0.75, 1]])
    cropped = place(things, (48, 24), Framing().view((48, 24), 76, 64))
    assert cropped.labels == ("sea",) and (cropped.boxes == place(things, (48, 24)).boxes).all()


def test_a_set_says_how_it_was_framed(tmp_path, wide):
    (tmp_path / "wide.txt").write_text("a flag")
    for number in range(9):
        Image.new("RGB", (48, 24), (number, 0, 0)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("a flag")
    card = prepare([tmp_path], tmp_path / "out", resolution=32, fit="pad", background="black", pixel_art=True).card
    assert (card.fit, card.background, card.pixel_art, card.upscaled) == ("pad", "black", True, 0)
    every = open_prepared(tmp_path / "out", "all")
    assert not every.read(range(10))[:, 0].any() and every.read(range(10))[:, 19].any()
