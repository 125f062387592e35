"""`limner evaluate X`: what X holds decides which scores it has. Each kind is a file here, imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from limner.cli.arguments import first_positional
from limner.core.errors import SettingsError
from limner.core.folder import KINDS, kind_of

FORMS = {"method": "painting", "matching": "matching", "judge": "judge", "scene judge": "judge"}
"""The module of this package that scores what a folder holds, by its kind; each has a `main(argv)` and arguments of its own."""


def main(argv: Sequence[str]) -> int:
    name = first_positional(argv)
    kind = kind_of(name) if name is not None else None
    if kind is not None and kind not in FORMS:
        others = ", ".join(KINDS[form] for form in FORMS)
        raise SettingsError(f"{name} holds {KINDS[kind]}, which has no scores: give {others}, or --pictures DIR")
    form = FORMS["method" if kind is None else kind]  # a folder of pictures, or nothing that can be read, which is refused there
    code: int = importlib.import_module(f"{__name__}.{form}").main(argv)
    return code
