"""The studio as a process: ten visitors at once, uploads that cannot be used, and what its page may ask for."""

from __future__ import annotations

import concurrent.futures
import io
import math
import socket
import threading
import urllib.error
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shared.studio import Studio
from shared.studio_models import CAPTIONS

from limner.cli.main import main
from limner.core.abilities import ABILITIES
from limner.studio import extra


def test_ten_visitors_at_once(studio: Studio) -> None:
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda seed: studio.ask("paint", "restyled", CAPTIONS[0], 2, seed), range(10)))
    assert [(result.count("<img"), answer) for result, answer in found] == [(2, "")] * 10
    assert len({result for result, _ in found}) == 10, "each has the pictures of its own seed"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("restyled", "   ", 2, 0), "a caption is empty: say what to paint"),
        (("restyled", "zebra", 2, 0), "the model knows none of the words in &#x27;zebra&#x27;"),
        (("restyled", None, 2, 0), "a caption is empty: say what to paint"),
        (("restyled", "red", 17, 0), "the number of pictures is 17: give 1 to 16"),
        (("restyled", "red", "x", 0), "the number of pictures is &#x27;x&#x27;: give a whole number"),
        (("restyled", "red", math.nan, 0), "the number of pictures is nan: give a whole number"),
        (("restyled", "red", 2, None), "the seed is empty: give a whole number"),
        (("restyled", "red", 2, 0.5), "the seed is 0.5: give a whole number"),
        (("restyled", "red", 2, math.inf), "the seed is inf: give a whole number"),
        (("restyled", "red", 2, 1e300), "the seed is 1,000,000,000,000,000,052,504,760,255,20...: give -9,007"),
        (("styled", "anything", 1, 0), ""),
        (("restyled", "a red zebra", 1, 0), "the model never met &#x27;zebra&#x27; in &#x27;a red zebra&#x27;"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(studio: Studio, values: tuple[object, ...], words: str) -> None:
    result, answer = studio.ask("paint", *values)
    assert words in answer and answer.count("<p") == bool(words)
    assert ("error" in answer) == (result == "")


def test_captions_are_text_and_nothing_else(studio: Studio) -> None:
    result, answer = studio.ask("restyle", "restyled", studio.upload("a.png", png_of(9)), "red <b>${1+1}{{value}}</b>")
    assert "&lt;b&gt;${1+1}" in result and "<b>" not in result and "<b>" not in answer


def test_uploads_that_cannot_be_used(studio: Studio) -> None:
    whole = png_of(64)
    for name, content, words in (
        ("broken.png", whole[: len(whole) // 2], "truncated picture"),
        ("text.png", b"no picture at all", "not a picture"),
        ("huge.png", png(20_000, 20_000), "huge picture (over 64 million pixels)"),
    ):
        result, answer = studio.ask("restyle", "restyled", studio.upload(name, content), CAPTIONS[0])
        assert result == "" and words in answer and "give a PNG, JPEG, WebP, BMP or GIF file of up to 32 MiB" in answer
    with pytest.raises(urllib.error.HTTPError) as refused:
        studio.upload("large.png", bytes(100_000_000))
    assert refused.value.code == 413 and b"maximum allowed size" in refused.value.read()
    result, answer = studio.ask("restyle", "restyled", studio.upload("whole.png", whole), CAPTIONS[0])
    assert result.count("<img") == 2 and answer == ""
    assert studio.process.poll() is None


def test_only_uploaded_files_are_read(studio: Studio, tmp_path: Path) -> None:
    """A visitor's request names the file: it gets no other picture of this machine, and cannot learn which files there are."""
    uploaded = studio.upload("mine.png", png_of(16))["path"]
    (tmp_path / "private.png").write_bytes(png_of(9))
    (tmp_path / "notes.txt").write_text("private")
    outside = (str(tmp_path / "private.png"), f"{uploaded}/../../../{tmp_path}/private.png")
    others = (str(tmp_path / "notes.txt"), str(tmp_path), str(tmp_path / "none.png"), str(Path(uploaded).parent), "/dev/zero", "a\0b.png")
    for path in (*outside, *others):
        result, answer = studio.ask("restyle", "restyled", {"path": path}, CAPTIONS[0])
        assert (result, "the picture is here no longer: choose it again" in answer) == ("", True), path
    result, answer = studio.ask("restyle", "restyled", {"path": uploaded}, CAPTIONS[0])
    assert result.count("<img") == 2 and answer == ""


def test_the_page_asks_nobody_else(studio: Studio) -> None:
    headers, content = studio.get("/")
    assert "default-src 'self'" in headers["content-security-policy"]
    for foreign in (b"fonts.googleapis", b"fonts.gstatic", b"cloudflare", b"jsdelivr"):
        assert foreign not in content


def test_every_panel_names_an_ability_that_there_is() -> None:
    pytest.importorskip("gradio")
    from limner.studio.panel import panels

    found = panels()
    assert {"paint", "compare", "training"} <= found.keys()
    assert all(panel.ability is None or panel.ability in ABILITIES for panel in found.values())


def test_what_cannot_be_served(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> str:
        assert main(["studio", *arguments]) == 2
        return capsys.readouterr().err

    with monkeypatch.context() as patch:
        patch.setattr(extra.importlib.util, "find_spec", lambda name: None)
        assert said() == "limner: the studio needs gradio, which is not installed: pip install 'limner[web]'\n"
    pytest.importorskip("gradio")
    assert "there is no shipped model 'gardn'" in said("gardn") or "gardn" in said("gardn")
    assert said("garden", "garden") == "limner: garden is given twice: leave one out\n"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"--port {port} on 127.0.0.1 cannot be used" in said("garden-fast", "--port", str(port))


def test_the_system_s_choice_of_a_port_and_addresses_of_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    from limner.studio import page, serve

    asked: list[tuple[str, int | None]] = []

    class Page:
        def launch(self, server_name: str, server_port: int | None, **more: object) -> tuple[None, str, None]:
            asked.append((server_name, server_port))
            return None, f"http://{server_name}:{server_port}/", None

        def close(self, verbose: bool) -> None: ...

    monkeypatch.setattr(page, "page", lambda opened: Page())
    for name in ("style", "script", "theme"):
        monkeypatch.setattr(page, name, lambda: "")
    monkeypatch.setattr(serve, "_port", lambda host, port: port or 7860)
    over = threading.Event()
    over.set()
    serve.serve([], host="::1", port=8000, until=over)
    serve.serve([], host="127.0.0.1", until=over)
    assert asked == [("[::1]", 8000), ("127.0.0.1", None)]
    monkeypatch.undo()
    assert serve._port("127.0.0.1", 0) > 0


def png_of(side: int) -> bytes:
    """A picture of noise."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def png(width: int, height: int) -> bytes:
    """A black picture of any size, of which there are never more than a few rows in memory."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    packed, row = zlib.compressobj(1), bytes(1 + (width + 7) // 8)
    content = b"".join(packed.compress(row) for _ in range(height)) + packed.flush()
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
