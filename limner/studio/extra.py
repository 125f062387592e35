"""The library that the studio needs, which comes with the extra `web`."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from limner.core.errors import SettingsError

OLDEST = 6
"""The first version of gradio that takes the page's style where it is served."""


def needed() -> None:
    """Raise SettingsError where gradio is missing or too old."""
    if importlib.util.find_spec("gradio") is None:
        raise SettingsError("the studio needs gradio, which is not installed: pip install 'limner[web]'")
    try:
        found = version("gradio")
    except PackageNotFoundError:  # a copy without metadata: it will show
        return
    if int(found.partition(".")[0]) < OLDEST:
        raise SettingsError(f"the studio needs gradio {OLDEST} or newer, and {found} is installed: pip install -U 'limner[web]'")


class _Late:
    """A library that is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # which those ask for who look at modules
            raise AttributeError(name)
        needed()
        return getattr(importlib.import_module("gradio"), name)


gr: Any = _Late()
"""Gradio. Its import takes seconds, and without it the studio's modules can still be read and listed."""
