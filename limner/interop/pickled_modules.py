"""The tensors of a whole module that `torch.save` pickled, read without importing or running anything of it.

Such a file names the classes of its modules. Here each of them becomes an inert holder of what was saved of it, whatever its name; tensors
are rebuilt by PyTorch's own constructor, and nothing else is called.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from limner.interop.torchscript import _STORAGES, _rebuilt, _Unpickler, read_archive

_TENSORS = {"_rebuild_tensor_v2": _rebuilt, "_rebuild_parameter": lambda data, *_: data}


class _Module:
    """Stands for a module or for anything else that was pickled with it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: Any = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *_: Any, **__: Any) -> _Module:
        """What a call of anything in the file gives: nothing is run."""
        return _Module()


def is_pickled_module(path: Path) -> bool:
    """Whether a file is what `torch.save` made of more than tensors, plain values and containers, since PyTorch 1.6."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        found = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        return len(found) == 1 and not any(name.endswith("/constants.pkl") for name in names) and b"_modules" in archive.read(found[0])


def read_pickled_module(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by name, on the CPU, as the module's `state_dict()` would name them.

    Raises CheckpointError where the file is damaged or its object is no module.
    """
    how = "where its classes are installed, save `torch.save(torch.load(FILE, weights_only=False).state_dict(), NEW)` and import that"
    return read_archive(path, _Reader, _tensors, f"{path} is damaged, or is not a module that can be read without running it: {how}")


class _Reader(_Unpickler):
    """As for TorchScript archives, whose tensors lie in the same way; any class at all becomes a holder."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch._utils" and name in _TENSORS:
            return _TENSORS[name]
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in ("builtins", "__builtin__") and name in ("set", "list", "dict", "tuple", "int", "float", "bool", "str"):
            return {"set": set, "list": list, "dict": dict, "tuple": tuple, "int": int, "float": float, "bool": bool, "str": str}[name]
        return _Module


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(module, _Module) or not isinstance(module.state, Mapping):
        raise pickle.UnpicklingError("the file holds no module")
    for kind in ("_parameters", "_buffers"):
        for name, value in (module.state.get(kind) or {}).items():
            if isinstance(value, Tensor):
                yield prefix + name, value
    # OpenAI's modules are attrs classes; parameters may be plain attributes there.
    for name, value in module.state.items():
        if isinstance(value, Tensor):
            yield prefix + name, value
    for name, value in (module.state.get("_modules") or {}).items():
        if isinstance(value, _Module):
            yield from _tensors(value, f"{prefix}{name}.")
