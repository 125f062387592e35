"""Known sets from a server on this machine that breaks off, lies, stalls and changes: what arrives is whole and right, or is refused."""

import contextlib
import errno
import hashlib
import http.server
import io
import json
import re
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from limner.cli.main import main
from limner.core.errors import DataError
from limner.data import fetching, known_sets, unpacking
from limner.data.fetching import Remote, fetch
from limner.data.prepare import prepare

CONTENT = bytes(range(256)) * 4000


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`; each of `faults` spoils one answer, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.asked: list[tuple[str, str | None]] = []
        self.tag = '"one"'
        self.over = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        fault = self.server.faults.pop(0) if self.server.faults else ""
        content = self.server.files.get(self.path.rpartition("/")[2])
        if content is None or fault.isdigit():
            self.send_error(int(fault) if fault.isdigit() else 404)
            return
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted and fault != "no ranges" else 0  # type: ignore[index]
        if wanted and self.headers.get("If-Range") not in (None, self.server.tag):
            start = 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if fault != "endless":
            self.send_header("Content-Length", "many" if fault == "nonsense" else str(len(content) - start))
        if "untagged" not in fault:
            self.send_header("ETag", self.server.tag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        body = content[start:]
        if fault.startswith("truncated"):
            self.wfile.write(body[: len(body) // 2])
        elif fault == "stalled":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.server.over.wait(30)
        elif fault == "endless":
            with contextlib.suppress(OSError):  # until the client has gone
                while not self.server.over.is_set():
                    self.wfile.write(body)
        elif fault == "nonsense":
            pass  # the client has gone
        elif fault == "changed":
            self.wfile.write(body[:-1] + b"?")
        elif fault == "slow":
            for place in range(0, len(body), 200_000):
                self.wfile.write(body[place : place + 200_000])
                self.wfile.flush()
                threading.Event().wait(0.1)
        else:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "_PAUSE_SECONDS", 0.0)
    running = Server()
    running.files["a.bin"] = CONTENT
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.over.set()
    running.shutdown()
    running.server_close()


def remote(server: Server, **more) -> Remote:
    values = {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()} | more
    return Remote(name="a.bin", url=f"{server.address}/a.bin", **values)


@pytest.mark.parametrize(
    ("faults", "ranges"),
    [
        ([], [None]),
        (["truncated", "truncated"], [None, "bytes=512000-", "bytes=768000-"]),
        (["slow"], [None]),
        (["503", "truncated", "429"], [None, None, "bytes=512000-", "bytes=512000-"]),
        (["truncated", "no ranges"], [None, "bytes=512000-"]),
    ],
)
def test_a_download_that_breaks_off_is_resumed(server, tmp_path, faults, ranges):
    server.faults = list(faults)
    told: list[tuple[int, int, str]] = []
    path = fetch(remote(server), tmp_path / "in", progress=lambda *values: told.append(values))
    assert path.read_bytes() == CONTENT and [wanted for _, wanted in server.asked] == ranges
    assert [entry.name for entry in (tmp_path / "in").iterdir()] == ["a.bin"]
    assert (len(CONTENT), len(CONTENT), "a.bin") in told and told[-1][2] == "checking a.bin"
    fetch(remote(server), tmp_path / "in")
    assert len(server.asked) == len(ranges), "what is there is not asked for again"


def test_a_server_that_falls_silent_is_left_and_asked_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "PATIENCE_SECONDS", 1.5)  # a busy machine may need more than one attempt after that
    server.faults = ["stalled"]
    assert fetch(remote(server), tmp_path / "in").read_bytes() == CONTENT
    assert server.asked[0][1] is None and "bytes=512000-" in [wanted for _, wanted in server.asked]


@pytest.mark.parametrize("fault", ["truncated", "truncated untagged"])
def test_parts_of_two_files_are_never_joined_in_silence(server, tmp_path, fault):
    server.faults = [fault, *["503"] * 5]
    with pytest.raises(DataError, match="cannot be reached"):
        fetch(remote(server, size=None, sha256=None), tmp_path / "in")
    server.files["a.bin"], server.tag = CONTENT[::-1], '"two"'
    assert fetch(remote(server, size=None, sha256=None), tmp_path / "in").read_bytes() == CONTENT[::-1]


def test_a_server_that_lies_about_lengths_ends_in_one_line(server, tmp_path):
    server.faults = ["endless"]
    with pytest.raises(DataError, match="sends more than the 1,024,000 bytes that the file has"):
        fetch(remote(server), tmp_path / "downloads")
    assert sum(path.stat().st_size for path in (tmp_path / "downloads").iterdir() if path.suffix == ".part") == 0
    server.faults = ["nonsense"]
    with pytest.raises(DataError, match="answers nonsense .*many.*: give --mirror, or put a.bin"):
        fetch(remote(server), tmp_path / "downloads")
    with pytest.raises(DataError, match="is not an address"):
        fetch(remote(server), tmp_path / "downloads", mirror="http://[nowhere")


def test_a_full_disk_is_no_matter_of_the_network(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetching, "_pour", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(remote(server), tmp_path / "in")
    assert len(server.asked) == 1


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server, tmp_path):
    server.faults = ["truncated", *["503"] * 5]
    with pytest.raises(DataError, match=r"cannot be reached \(503 .*what has come \(512,000 bytes\) is kept, and the same command resumes"):
        fetch(remote(server), tmp_path / "in")
    server.asked.clear()
    assert fetch(remote(server), tmp_path / "in").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == ["bytes=512000-"]


def test_a_file_that_changed_in_between_is_taken_anew(server, tmp_path):
    other = CONTENT[::-1]
    server.faults = ["truncated", *["503"] * 5]
    with pytest.raises(DataError, match="is kept"):
        fetch(remote(server), tmp_path / "in")
    server.files["a.bin"], server.tag = other, '"two"'
    path = fetch(remote(server, sha256=hashlib.sha256(other).hexdigest()), tmp_path / "in")
    assert path.read_bytes() == other


def test_what_is_not_what_it_should_be_is_refused_and_deleted(server, tmp_path):
    server.faults = ["changed"]
    with pytest.raises(DataError, match=r"a.bin has a SHA-256 that begins \w{12}, not \w{12}: it was damaged or changed on its way"):
        fetch(remote(server), tmp_path / "in")
    assert not any((tmp_path / "in").iterdir())
    server.files["a.bin"] = CONTENT + b"more"
    with pytest.raises(DataError, match="has 1,024,004 bytes, not 1,024,000: the set has changed"):
        fetch(remote(server), tmp_path / "in")
    assert fetch(remote(server), tmp_path / "in", unchecked=True).stat().st_size == 1_024_004
    with pytest.raises(DataError, match="a.bin has 1,024,004 bytes, not 1,024,000: delete it and run the command again"):
        fetch(remote(server), tmp_path / "in")


def test_without_a_published_checksum_the_first_download_is_noted(server, tmp_path):
    unknown = remote(server, size=None, sha256=None)
    fetch(unknown, tmp_path / "one")
    noted = json.loads((tmp_path / "cache/checksums.json").read_text())
    assert noted == {unknown.url: {"size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}}
    fetch(unknown, tmp_path / "two")
    server.faults = ["changed"]
    with pytest.raises(DataError, match="as was noted of an earlier download in .*checksums.json"):
        fetch(unknown, tmp_path / "three")


def test_where_nothing_answers_it_is_said_what_to_put_where(server, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"answers 404 .*put a.bin \(1,024,000 bytes\) into .*in and run the command again"):
        fetch(Remote(**{**vars(remote(server)), "url": f"{server.address}/none"}), tmp_path / "in")
    silent = Remote(**{**vars(remote(server)), "url": "http://127.0.0.1:9/a.bin"})
    with pytest.raises(DataError, match=r"cannot be reached .*: give --mirror, or put a.bin \(1,024,000 bytes\) into"):
        fetch(silent, tmp_path / "in")
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "in/a.bin").write_bytes(CONTENT)
    assert fetch(silent, tmp_path / "in").read_bytes() == CONTENT
    assert fetch(silent, tmp_path / "copied", mirror=str(tmp_path / "in")).read_bytes() == CONTENT
    with pytest.raises(DataError, match="give as --mirror the folder that holds a.bin"):
        fetch(silent, tmp_path / "again", mirror=str(tmp_path))
    usage = fetching.shutil.disk_usage(tmp_path)
    monkeypatch.setattr("limner.data.fetching.shutil.disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(DataError, match="no space left"):
        fetch(remote(server), tmp_path / "full")


def picture(shade: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), (200, 30, shade)).save(stream, "JPEG")
    return stream.getvalue()


def tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def birds(server, monkeypatch) -> Server:
    """A set of six birds, known as `cub` is: pictures from the server, captions by hand."""
    names = [f"{place:03}.Bird_{place}/Bird_{place}_{number}" for number in range(2) for place in (1, 2, 3)]
    server.files["CUB.tgz"] = tar({f"CUB/images/{name}.jpg": picture(place) for place, name in enumerate(names)})
    server.files["text.zip"] = b""
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as packed:
        for name in names:
            packed.writestr(f"cvpr/text_c10/{name}.txt", "a bird\na small bird\n")
    server.files["text.zip"] = stream.getvalue()
    known = known_sets.KnownSet(
        title="Six birds",
        home="http://birds",
        terms="for tests alone",
        files=(
            Remote(name="CUB.tgz", url=f"{server.address}/CUB.tgz", sha256=hashlib.sha256(server.files["CUB.tgz"]).hexdigest()),
            Remote(name="text.zip", url="http://birds/text", by_hand=True),
        ),
    )
    monkeypatch.setattr(known_sets, "KNOWN", {"birds": known})
    return server


def test_a_known_set_from_its_terms_to_a_prepared_folder(birds, tmp_path, capsys):
    out = tmp_path / "sets/birds"
    assert main(["data", "get", "birds", "--out", str(out)]) == 2
    told = capsys.readouterr()
    assert "terms  for tests alone" in told.out and "by hand from http://birds/text" in told.out
    assert "nothing has been fetched: read the terms above, and pass --agree" in told.err and not birds.asked and not out.exists()
    assert main(["data", "get", "birds", "--out", str(out), "--agree"]) == 2
    told = capsys.readouterr()
    assert "CUB.tgz: " in told.out and "SHA-256 as listed" in told.out
    assert f"birds is not complete: put into {out}/downloads by hand text.zip, which http://birds/text leads to" in told.err
    (out / "downloads/text.zip").write_bytes(birds.files["text.zip"])
    assert main(["data", "get", "birds", "--out", str(out), "--agree"]) == 0
    told = capsys.readouterr().out
    assert len(birds.asked) == 1 and f"limner data prepare {out}/unpacked" in told
    report = prepare([out / "unpacked"], tmp_path / "prepared", resolution=8)
    assert report.pictures == 6 and report.card.captions == 12 and len(report.card.class_names or ()) == 3 and not report.ignored
    assert main(["data", "get", "birds", "--out", str(tmp_path / "mirrored"), "--agree", "--mirror", birds.address]) == 0
    assert main(["data", "get", "bird", "--out", str(out)]) == 2 and "did you mean 'birds'" in capsys.readouterr().err
    assert main(["data", "get"]) == 0 and "birds      Six birds" in capsys.readouterr().out
    assert main(["data", "get", "birds"]) == 2 and "missing --out" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["tgz", "zip"])
def test_archives_unpack_within_their_folder_and_their_size_or_not_at_all(tmp_path, form, monkeypatch):
    def packed(members: dict[str, bytes]) -> Path:
        path = tmp_path / f"a.{form}"
        if form == "tgz":
            path.write_bytes(tar(members))
        else:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in members.items():
                    archive.writestr(name, content)
        return path

    unpacking.unpack(packed({"a/b.txt": b"x", "./c.txt": b"y"}), tmp_path / "good", lambda *_: None)
    assert sorted(path.relative_to(tmp_path / "good").as_posix() for path in (tmp_path / "good").rglob("*.txt")) == ["a/b.txt", "c.txt"]
    with pytest.raises(DataError, match="leads out of the archive"):
        unpacking.unpack(packed({"a.txt": b"x", "../b.txt": b"x"}), tmp_path / "bad", lambda *_: None)
    monkeypatch.setattr(unpacking, "_ALWAYS", 1000)
    with pytest.raises(DataError, match="unpacks to far more than its size"):
        unpacking.unpack(packed({"a.txt": bytes(1 << 20)}), tmp_path / "bad", lambda *_: None)
    whole = packed({"a.txt": hashlib.sha256(b"x").digest() * 100})
    whole.write_bytes(whole.read_bytes()[:-60])
    with pytest.raises(DataError, match="is damaged .*: delete it and fetch it again"):
        unpacking.unpack(whole, tmp_path / "bad", lambda *_: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{form}", "good"]


def test_every_known_set_has_what_a_user_needs():
    for name, known in known_sets.KNOWN.items():
        assert known.title and known.terms and known.home.startswith("https://"), name
        for file in known.files:
            assert file.url.startswith(("https://", "http://images.cocodataset.org/")) and (file.sha256 is None or len(file.sha256) == 64)
            assert file.by_hand or (file.size and file.sha256), f"{file.name} of {name} comes by itself, so it is checked"
