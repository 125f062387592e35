"""Unusual picture files: what their pixels say is kept, or they are refused with the reason."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.decoding import Rejected, decode, decode_sized
from limner.data.framing import Framing
from limner.data.sources import PictureFile


def of(path: Path) -> PictureFile:
    return PictureFile(path, path.stat().st_size)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_data_that_cannot_be_read_do_not_cost_the_picture(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (20, 10), (200, 30, 40)).save(path, exif=b"no exif data")
    assert np.abs(decode(of(path), 8)[0].astype(int) - (200, 30, 40)).max() < 12


def test_whole_numbers_of_32_bits_are_refused_and_not_painted_black(tmp_path):
    for number, kind in enumerate((np.int32, np.uint16)):
        Image.fromarray(np.full((10, 20), 40_000, kind)).save(tmp_path / f"{number}.tif")
    with pytest.raises(Rejected, match="picture in the colour mode I .save it as RGB with 8 bits"):
        decode(of(tmp_path / "0.tif"), 8)
    assert (decode(of(tmp_path / "1.tif"), 8)[0] == 40_000 >> 8).all()


def test_the_transparent_level_of_16_bit_grey_is_laid_on_the_background(tmp_path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    lines = (b"\0" + struct.pack(">H", 300) * 8) * 8
    head, clear = struct.pack(">IIBBBBB", 8, 8, 16, 0, 0, 0, 0), struct.pack(">H", 300)
    content = chunk(b"IHDR", head) + chunk(b"tRNS", clear) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert (decode_sized(of(tmp_path / "a.png"), 8, Framing(background="#20c0ff"))[0] == (0x20, 0xC0, 0xFF)).all()
