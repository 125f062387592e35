"""A studio as a process, asked as a browser asks it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import limner

ADDRESS = re.compile(r"limner studio: (http://127\.0\.0\.1:\d+)/")


@contextmanager
def served(*models: str | Path) -> Iterator[Studio]:
    """A studio of these models and runs, on a free port."""
    environment = os.environ | {"PYTHONPATH": str(Path(limner.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with socket.socket() as listener:  # two studios that begin at once would both take the first free port
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "limner", "studio", *map(str, models), "--device", "cpu", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            found = ADDRESS.match(line := process.stdout.readline())
            assert found, f"the studio says '{line}'"
            yield Studio(process, found[1], [Path(model) for model in models])
        finally:
            process.terminate()


class Studio:
    """A served studio. models: what it was opened with, by the names of the folders; last: the last of it."""

    def __init__(self, process: subprocess.Popen[str], address: str, opened: list[Path]) -> None:
        self.process, self.address, self.last = process, address, opened[-1]
        self.models = {path.name: path for path in opened}
        self._tasks = {one["api_name"]: one for one in json.loads(self.get("/config")[1])["dependencies"]}

    def get(self, path: str) -> tuple[Any, bytes]:
        """The headers and the content of a page."""
        with urllib.request.urlopen(self.address + path, timeout=300) as answer:
            return answer.headers, answer.read()

    def ask(self, panel: str, *values: Any) -> tuple[str, str]:
        """What a panel's button gives for these values, and nothing in further fields: its result, and what is said under it."""
        session, task = uuid.uuid4().hex, self._tasks[panel]
        data = [*values, *[None] * (len(task["inputs"]) - len(values))]
        self._post("/queue/join", json.dumps({"data": data, "fn_index": task["id"], "session_hash": session}).encode(), "application/json")
        with urllib.request.urlopen(f"{self.address}/gradio_api/queue/data?session_hash={session}", timeout=300) as stream:
            for line in stream:
                if line.startswith(b"data:") and (message := json.loads(line[5:]))["msg"] == "process_completed":
                    assert message["success"], message
                    result, answer = message["output"]["data"]
                    return str(result), str(answer)
        raise AssertionError("the studio gave no answer")

    def upload(self, name: str, content: bytes) -> dict[str, Any]:
        """A file as a visitor's upload, for `ask`."""
        border = uuid.uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\nContent-Type: image/png\r\n\r\n'
        body = head.encode() + content + f"\r\n--{border}--\r\n".encode()
        path = json.loads(self._post("/upload", body, f"multipart/form-data; boundary={border}"))[0]
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def _post(self, path: str, body: bytes, kind: str) -> bytes:
        request = urllib.request.Request(f"{self.address}/gradio_api{path}", body, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=300) as answer:
            found: bytes = answer.read()
            return found
