"""One studio for all tests: it takes a while to start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared.studio import Studio
from shared.studio_models import write_models, write_run

import limner

ADDRESS = re.compile(r"limner studio: (http://127\.0\.0\.1:\d+)/")


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Four models and a run, served on a free port."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("studio")
    models, run = write_models(folder), write_run(folder / "run")
    environment = os.environ | {"PYTHONPATH": str(Path(limner.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "limner", "studio", *map(str, models), str(run), "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            found = ADDRESS.match(line := process.stdout.readline())
            assert found, f"the studio says '{line}'"
            yield Studio(process, found[1], run)
        finally:
            process.terminate()
