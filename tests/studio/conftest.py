"""One studio for all tests: it takes a while to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from shared.studio import Studio, served
from shared.studio_models import write_models, write_run


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Seven models, and a run as the last."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("studio")
    with served(*write_models(folder), write_run(folder / "run")) as found:
        yield found
