"""The libraries that exporting needs, which come with the extra `export`."""

from __future__ import annotations

import importlib.util

from limner.core.errors import SettingsError

LIBRARIES = ("onnx", "onnxscript", "onnxruntime")


def needed(*libraries: str) -> None:
    """Raise SettingsError where one of the libraries, by default of all, is missing."""
    missing = [name for name in libraries or LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise SettingsError(f"ONNX files need {' and '.join(missing)}, which {verb} not installed: pip install 'limner[export]'")
