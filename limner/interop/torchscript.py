"""The tensors of a TorchScript archive, read without running the program that it holds.

An archive is a zip file: `data.pkl` describes a tree of modules, `data/` holds the bytes of their tensors, `code/` the program. Here
the tree is read by an unpickler that knows tensors and inert holders, and nothing else.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.core.errors import CheckpointError

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive, as `torch.jit.save` writes them."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Parameters and buffers by name, on the CPU, as the module's `state_dict()` would name them.

    Raises CheckpointError where the archive is damaged or holds what such an archive does not.
    """
    return read_archive(
        path, _Unpickler, _tensors, f"{path} is a damaged TorchScript archive, or holds more than modules and tensors: get it again"
    )


def read_archive(
    path: Path, reader: type[_Unpickler], tensors: Callable[[Any, str], Iterator[tuple[str, Tensor]]], damaged: str
) -> dict[str, Tensor]:
    """The tensors by name of the object in a zip archive of PyTorch's.

    reader: decides which classes the file may name; tensors: the named tensors of the object that it reads, under a prefix. Raises
    CheckpointError, with the words of `damaged`, where the archive cannot be read so.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (root,) = (name.removesuffix("data.pkl") for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl"))
            return dict(tensors(reader(archive, root).load(), ""))
    except (
        zipfile.BadZipFile,
        pickle.UnpicklingError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        RuntimeError,
        AttributeError,
        IndexError,
    ) as error:
        raise CheckpointError(damaged) from error


class _Holder:
    """Stands for a module: its attributes are what was saved of it."""


def _rebuilt(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset).clone()


def _as_it_is(value: Any) -> Any:
    return value


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self.archive, self.root = archive, root

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Holder
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch.jit._pickle" and name.startswith("build_"):  # lists of one type
            return _as_it_is
        allowed = {("torch._utils", "_rebuild_tensor_v2"): _rebuilt, ("collections", "OrderedDict"): OrderedDict}
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a module")
        return allowed[module, name]

    def persistent_load(self, identity: Any) -> Tensor:
        kind, dtype, key, _, count = identity
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError(f"a {kind} has no place in a module")
        content = self.archive.read(f"{self.root}data/{key}")
        if not count:
            return torch.empty(0, dtype=dtype)
        return torch.frombuffer(bytearray(content), dtype=dtype, count=count)


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(module, _Holder):
        raise pickle.UnpicklingError("the archive holds no module")
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _Holder):
            yield from _tensors(value, f"{prefix}{name}.")
