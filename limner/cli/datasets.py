"""How the verbs ask for a data set: one wording, which names every built-in one."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from limner.core.worlds import BUILT_IN, IN_QUOTES

NAME_OR_FOLDER = f"{IN_QUOTES}, or the folder of a prepared data set"
_OR_THE_MODELS = f"{NAME_OR_FOLDER}; by default what the model was trained on"

Data = Annotated[str, arg(metavar="NAME|DIR", help=f"{NAME_OR_FOLDER}.")]
ModelsData = Annotated[str | None, arg(metavar="NAME|DIR", help=f"{_OR_THE_MODELS}.")]
Reference = Annotated[str | None, arg(metavar="NAME|DIR", help=f"The reference: {_OR_THE_MODELS}.")]
Looked = Annotated[Positional[str], arg(metavar="|".join(("DIR", *BUILT_IN)), help=f"{NAME_OR_FOLDER}.")]
