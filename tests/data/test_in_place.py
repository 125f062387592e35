"""Sets that leave their pictures where they are, in shards and folders, here and at addresses."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec
import numpy as np
import pytest
import torch

from limner.core.errors import DataError
from limner.core.trainable import Phase
from limner.data import remote
from limner.data.loader import Loader
from limner.data.part import PartOfPictures
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared
from limner.data.remote import RemoteFile, located

from .test_prepare import folder_of, paint, shard_of

COLOURS = [(20 * number, 255 - 15 * number, 90) for number in range(12)]


def two_shards(root: Path) -> list[Path]:
    root.mkdir(parents=True, exist_ok=True)
    samples = [(f"{number:02}", colour, [f"colour {number}", "another one"], None) for number, colour in enumerate(COLOURS)]
    return [shard_of(root / "a-0.tar", samples[:7]), shard_of(root / "a-1.tar", samples[7:])]


def test_a_set_in_place_is_the_set_that_holds_its_pictures(tmp_path: Path) -> None:
    sources = [*two_shards(tmp_path / "shards"), folder_of(tmp_path / "more", 20)]
    paint(tmp_path / "more" / "000.png", (9, 9, 200), (50, 24))  # not square
    holds = prepare(sources, tmp_path / "holds", resolution=16, fit="pad", background="black")
    in_place = prepare(sources, tmp_path / "in-place", resolution=16, fit="pad", background="black", in_place=True)
    assert in_place.card.fingerprint == holds.card.fingerprint and in_place.card.splits == holds.card.splits
    assert not (tmp_path / "in-place" / "pictures.u8").exists()
    for split in ("train", "val", "all"):
        one, other = (open_prepared(tmp_path / name, split, 16) for name in ("holds", "in-place"))
        rows = np.array([len(one) - 1, 0, 0, -1])
        assert np.array_equal(one.read(rows), other.read(rows)) and one.captions(0) == other.captions(0) and one.key(0) == other.key(0)
        assert not len(other.read([]))
        with pytest.raises(IndexError):  # and not a picture of the next split
            other.read([len(one)])
    assert np.array_equal(one.read(range(len(one))), other.read(range(len(one))))


def test_batches_are_the_same_and_come_ahead(tmp_path: Path) -> None:
    sources = two_shards(tmp_path)
    for name, in_place in (("holds", False), ("in-place", True)):
        prepare(sources, tmp_path / name, resolution=16, in_place=in_place, validation=0, test=0)
    phase = Phase(name="gan", epochs=3.0, batch_size=4, resolution=16)
    every = [open_prepared(tmp_path / name, "train", 16) for name in ("holds", "in-place")]
    parts = [PartOfPictures(pictures, 0.75) for pictures in every]
    for one, other in (every, parts):
        loaders = [Loader(pictures, phase, seed=3) for pictures in (one, other)]
        for step in range(7):  # beyond a pass
            for kind in ("", "mismatched", "pictures"):
                batches = [loader.batch(step).draw(kind) if kind else loader.batch(step) for loader in loaders]
                assert torch.equal(batches[0].pictures, batches[1].pictures) and batches[0].captions == batches[1].captions
    loaders[1].batch(7)
    waiting = every[1]._pixels._waiting  # that pictures were expected shows nowhere else
    indices, epochs, samples = loaders[1]._matched(8)
    for kind in ("mismatched", "pictures"):
        assert set(parts[1].places[loaders[1]._of_kind(kind, indices, epochs, samples)[0]].tolist()) <= set(waiting)
    assert set(parts[1].places[indices].tolist()) <= set(waiting)


def test_a_project_may_move_and_a_lost_shard_is_named(tmp_path: Path) -> None:
    sources = two_shards(tmp_path / "project" / "shards")
    prepare(sources, tmp_path / "project" / "prepared" / "set", resolution=16, in_place=True)
    (tmp_path / "project").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "prepared" / "set"
    pictures = open_prepared(moved, "all", 16)
    assert pictures.read([0, len(pictures) - 1]).shape == (2, 19, 19, 3)
    shard = tmp_path / "moved" / "shards" / "a-1.tar"
    shard.rename(tmp_path / "elsewhere.tar")
    with pytest.raises(DataError, match=r"a-1.tar is not there, and .*set was prepared --in-place: .*bring them back, or prepare it again"):
        open_prepared(moved, "all", 16)
    whole = (tmp_path / "elsewhere.tar").read_bytes()
    other = shard_of(tmp_path / "other.tar", [(f"{number:02}", (7, 7, number), ["colour", "another one"], None) for number in range(7, 12)])
    for content in (whole[:2000], other.read_bytes()):  # cut short; another shard, of the same form
        shard.write_bytes(content)
        again = open_prepared(moved, "all", 16)
        with pytest.raises(DataError, match=r"a-1.tar is not what it was when .*set was prepared \(.* at byte [\d,]+\): bring it back"):
            again.read(range(len(again)))
    shard.write_bytes(whole)
    again.read(range(len(again)))
    with pytest.raises(DataError, match="set is prepared already: train with --data"):
        prepare([moved], tmp_path / "again", resolution=16)


def test_a_packed_archive_is_refused(tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "packed"), "zip", folder_of(tmp_path / "folder", 12))
    with pytest.raises(DataError, match=r"--in-place leaves pictures where they are, and those of .*packed.zip are packed: unpack it"):
        prepare([tmp_path / "packed.zip"], tmp_path / "out", resolution=16, in_place=True)
    assert not (tmp_path / "out").exists()


class Shelf(BaseHTTPRequestHandler):
    """Serves a folder, parts of files too. `stumbles` requests fail first; `parts` says whether it knows parts."""

    root: Path
    stumbles = 0
    silent = 0.0
    parts = True

    def do_HEAD(self) -> None:
        self.answer(head=True)

    def do_GET(self) -> None:
        self.answer(head=False)

    def answer(self, *, head: bool) -> None:
        time.sleep(self.silent)
        file = self.root / self.path.lstrip("/").partition("?")[0]
        if not file.is_file():
            self.send_error(404)
            return
        if type(self).stumbles:
            type(self).stumbles -= 1
            self.send_error(503)
            return
        content, asked = file.read_bytes(), self.headers.get("Range") if self.parts else None
        status, sent = 200, content
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            status, sent = 206, content[int(first) : int(last) + 1]
        self.send_response(status)
        if self.parts:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) if head else len(sent)))
        self.end_headers()
        if not head:
            self.wfile.write(sent)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Shop(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients go away before their answers come; that is no news."""


@contextmanager
def served(root: Path, *, parts: bool = True) -> Iterator[tuple[str, type[Shelf]]]:
    shelf = type("Shelf", (Shelf,), {"root": root, "parts": parts})
    with Shop(("127.0.0.1", 0), shelf) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", shelf
        server.shutdown()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)


def test_shards_at_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = two_shards(tmp_path / "shards")
    prepare(here, tmp_path / "here", resolution=16)
    with served(tmp_path / "shards") as (address, shelf):
        there = [f"{address}/{shard.name}?key=1" for shard in here]
        shelf.stumbles = 2  # a network fails for moments
        for name, in_place in (("copied", False), ("in-place", True)):
            report = prepare(there, tmp_path / name, resolution=16, in_place=in_place)
            assert report.card.sources == ["a-0.tar", "a-1.tar"]
        one, copied, in_place = (open_prepared(tmp_path / name, "all", 16) for name in ("here", "copied", "in-place"))
        assert one.fingerprint == copied.fingerprint == in_place.fingerprint
        shelf.stumbles = 2
        with ThreadPoolExecutor(4) as pool:  # evaluations and sample grids read next to training
            for read in pool.map(in_place.read, [range(len(one))] * 4):
                assert np.array_equal(one.read(range(len(one))), read)
        with pytest.raises(DataError, match=r"a-9.tar cannot be read: there is no such file \(the server answers 404\)"):
            prepare([f"{address}/a-9.tar"], tmp_path / "no", resolution=16)
        shelf.stumbles = 50
        with pytest.raises(DataError, match=r"a-[01].tar\?key=1 cannot be read: the server answers 503: try again when it can be reached"):
            in_place.read([0])
        shelf.stumbles, shelf.silent = 0, 3.0
        monkeypatch.setattr(remote, "PATIENCE", 0.2)
        fsspec.get_filesystem_class("http").clear_instance_cache()
        with pytest.raises(DataError, match=r"a-0.tar cannot be read: no answer within 0.2 seconds"):
            prepare([f"{address}/a-0.tar"], tmp_path / "no", resolution=16)
    with pytest.raises(DataError, match=r"127.0.0.1:\d+/a-[01].tar\?key=1 cannot be read: .*: try again when it can be reached"):
        in_place.read([0])


def test_addresses_that_cannot_be_read(tmp_path: Path) -> None:
    two_shards(tmp_path / "shards")
    said = "a-0.tar cannot be read: its server does not answer requests for parts of a file: download it, and give the file"
    with served(tmp_path / "shards", parts=False) as (address, _), pytest.raises(DataError, match=said):
        prepare([f"{address}/a-0.tar"], tmp_path / "no", resolution=16)
    for address, said in (
        ("https://example.org/a.zip", "a.zip is not a tar shard, and nothing else is read from an address: download it"),
        ("nowhere://a/b.tar", "addresses that begin with nowhere:// are not known"),
    ):
        with pytest.raises(DataError, match=said):
            prepare([address], tmp_path / "no", resolution=16)
    with pytest.raises(DataError, match="is an address that was made a path, which loses a slash"):
        located(Path("https://example.org/a.tar"))
    with pytest.raises(DataError, match="is given twice"):
        prepare(["https://example.org/a.tar"] * 2, tmp_path / "no", resolution=16)
    assert located(RemoteFile("https://example.org/a.tar")).name == "a.tar"
