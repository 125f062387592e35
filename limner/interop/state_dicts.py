"""PyTorch files of other projects, read without running what may hide in them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from limner.core.errors import CheckpointError


def read_state_dict(path: Path, within: str | None = None) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save(network.state_dict(), path)` wrote, on the CPU, by name.

    within: the entry that holds the state dict, where the file is a training checkpoint that has such an entry; dots lead into entries of
    entries.
    Raises CheckpointError for a file that is missing, is no such file, or holds anything but finite tensors.
    """
    wanted = "give the .pth file of a network's state dict"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch's remarks on odd pickles; what it cannot read raises
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}: {wanted}") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder: {wanted}") from None
    except PermissionError:
        raise  # the command line has words for it
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        # torch explains at length, and offers to load unsafely.
        raise CheckpointError(f"{path} is cut short, no PyTorch file, or holds more than tensors: {wanted}") from error
    for entry in within.split(".") if within else ():
        if isinstance(content, Mapping) and isinstance(content.get(entry), Mapping):
            content = content[entry]
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path} holds no tensors by name: {wanted}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"'{name}' in {path} is no tensor: {wanted}")
        if not torch.isfinite(value).all():
            raise CheckpointError(f"'{name}' in {path} has values that are not finite: the file is damaged, or its training failed")
    return dict(content)
