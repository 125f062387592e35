"""Weight files of other projects: tensors by name, wherever in the file they lie, read without running what may hide in them.

A file is what `torch.save` or safetensors wrote: a state dict, or a training checkpoint that holds one or several, under any names and at
any depth. What DataParallel, DistributedDataParallel and `torch.compile` put before names is taken off.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    Fits = Callable[[Mapping[str, Tensor]], bool]
    Which = Callable[[Mapping[str, Tensor]], str | None]

WANTED = "give the .pth or .safetensors file of a network's state dict"
CHOOSE = "choose one by --within KEY"
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What `torch.compile` and others put into names, at any place; `module.` is a wrapper's at the beginning alone."""
logger = logging.getLogger(__name__)


def read_state_dict(
    path: Path,
    fits: Fits | None = None,
    *,
    within: str | Sequence[str] = (),
    wanted: str = WANTED,
    choose: str = CHOOSE,
    finite: bool = True,
) -> dict[str, Tensor]:
    """The tensors of one network, on the CPU, by name.

    fits: whether tensors are those of the network that is wanted; by default any are. within: the entries of which one holds them, where
    the file has several that fit; dots lead into entries of entries. wanted, choose: the last words of errors: which file to give, and
    how to choose among several. finite: whether other values are refused here.
    Where nothing fits and the file holds only one dictionary of tensors, that is returned: its reader knows better what is wrong with it.
    Weights that are not at the top level of the file are logged with their place.
    Raises CheckpointError for a file that is missing, is not such a file, or holds no such tensors, several of them, or values that are not
    finite or no plain tensors.
    """
    content = read_file(path, wanted)
    found = _chosen(content, path, lambda tensors: "" if fits is None or fits(tensors) else None, within, choose)
    if found:
        return _checked(found[""], path, finite)
    places = [(place, tensors) for place, tensors in _mappings(content) if not within or _inside(place, _keys(within))]
    if len(places) != 1:
        raise CheckpointError(f"{path} holds no such weights{_where(content)}: {wanted}")
    tensors = _plain(places[0][1])
    return _checked(tensors, path, finite)


def read_networks(
    path: Path, which: Which, refusal: str, *, within: str | Sequence[str] = (), choose: str = CHOOSE
) -> dict[str, dict[str, Tensor]]:
    """The tensors of every network of a file, by what `which` calls it: a player's name, for example, or None for other tensors.

    refusal: what a file without any is not, and what to give in its place; the rest is as for `read_state_dict`.
    """
    content = read_file(path)
    found = _chosen(content, path, which, within, choose)
    if not found:
        raise CheckpointError(f"{path} is {refusal}{_where(content)}")
    return {name: _checked(tensors, path) for name, tensors in found.items()}


def read_file(path: Path, wanted: str = WANTED) -> Any:
    """What a PyTorch or safetensors file holds, on the CPU.

    Raises CheckpointError where there are no tensors in it, OSError where the system does not let it be opened.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        with path.open("rb") as file:
            start = file.read(64)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}: {wanted}") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder: {wanted}") from None
    try:
        if start[8:9] == b"{" and start[:2] != b"PK":  # the length of a header, and a header in JSON
            content: Any = dict(sorted(load_file(path).items(), key=lambda item: _by_number(item[0])))
        else:
            with warnings.catch_warnings(), _plain_holders():
                warnings.simplefilter("ignore", UserWarning)  # torch's remarks on odd pickles; what it cannot read raises
                content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        SafetensorError,
        RuntimeError,
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
    ) as error:
        # torch explains at length, and offers to load unsafely.
        asked = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
        also = f" (it asks for {asked[1].rstrip('.')})" if asked else ""
        raise CheckpointError(
            f"{path} {_other_kind(start) or f'is cut short, no PyTorch file, or holds more than tensors{also}'}: {wanted}"
        ) from error
    if not any(True for _ in _mappings(content)):
        first = next(iter(content), None) if isinstance(content, Mapping) else None
        also = f": '{first}' in it is not a tensor, and nothing else is" if first is not None else ""
        raise CheckpointError(f"{path} holds no tensors by name{also}: {wanted}")
    return content


def _by_number(name: str) -> list[tuple[bool, int, str]]:
    """Sorts layer 2 before layer 10, as networks have them: safetensors keeps no order, and importers count layers by it."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in name.split(".")]


def _other_kind(start: bytes) -> str | None:
    """What a file that cannot be read is, where its first bytes tell."""
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS and not the file itself (git lfs pull fetches that)"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page, such as a download that needed a confirmation leaves"
    return None


def _plain_holders() -> contextlib.AbstractContextManager[None]:
    """Lets command-line arguments be read, which many training checkpoints hold besides weights: an object of names and values alone."""
    import torch

    allowed = getattr(torch.serialization, "safe_globals", None)  # from PyTorch 2.5 on
    return allowed([argparse.Namespace]) if allowed else contextlib.nullcontext()


def _mappings(content: Any, place: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every dictionary with tensors by name, and its place; what stands under numbers, as in optimizers' states, is no network's."""
    from torch import Tensor

    if isinstance(content, Mapping):
        entries = {name: value for name, value in content.items() if isinstance(name, str)}
    elif isinstance(content, (list, tuple)):
        entries = {str(number): value for number, value in enumerate(content) if not isinstance(value, Tensor)}
    else:
        return
    tensors = {name: value for name, value in entries.items() if isinstance(value, Tensor)}
    if tensors:
        yield place, tensors
    for name, value in entries.items():
        yield from _mappings(value, _joined(place, name))


def _chosen(content: Any, path: Path, which: Which, within: str | Sequence[str], choose: str) -> dict[str, dict[str, Tensor]]:
    """For every name that `which` gives, the one place whose tensors it gives it to; empty where there is none."""
    keys = _keys(within)
    hits = list(_hits(content, which, keys))
    if keys and not hits:
        everywhere = list(_hits(content, which, []))
        if any(place for place, _, _ in everywhere):  # a file of nothing but the network leaves no choice, and needs no entry's name
            named, there = " or ".join(f"'{key}'" for key in keys), _listed([place for place, _, _ in everywhere])
            raise CheckpointError(f"{path} has no fitting weights under {named}, but under {there}: {choose}")
        hits = everywhere
    found: dict[str, dict[str, dict[str, Tensor]]] = {}
    for place, name, tensors in hits:
        found.setdefault(name, {})[place] = tensors
    for name, places in found.items():
        if len(places) > 1:
            what = f" of the {name}" if name else ""
            raise CheckpointError(f"{path} holds weights{what} under {_listed(places)}: {choose}")
    for name, places in found.items():
        if place := next(iter(places)):
            logger.info("%sweights taken from '%s' in %s", f"{name}'s " if name else "", place, path)
    return {name: next(iter(places.values())) for name, places in found.items()}


def _hits(content: Any, which: Which, keys: Sequence[str]) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
    """The outermost places whose tensors have a name, that name, and the tensors."""
    taken: list[str] = []
    for place, tensors in _mappings(content):
        if any(_inside(place, [outer]) for outer in taken):
            continue
        for deeper, name, plain in _named(place, tensors, which, keys):
            if deeper == place:
                taken.append(place)
            yield deeper, name, plain


def _named(place: str, tensors: Mapping[str, Tensor], which: Which, keys: Sequence[str]) -> Iterator[tuple[str, str, dict[str, Tensor]]]:
    """As `_hits`, within one dictionary: names may begin with that of a part, such as 'netG.', which then counts as an entry."""
    if not keys or _inside(place, keys):
        plain = _plain(tensors)
        name = which(plain)
        if name is not None:
            yield place, name, plain
            return
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        if rest:
            parts.setdefault(part, {})[rest] = value
    for part, inner in parts.items():
        yield from _named(_joined(place, part), inner, which, keys)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors without what wrappers put into their names; as they are where two would then be named alike."""
    averaged = {name for name in tensors if name == "n_averaged" and len(tensors) > 1}  # the counter of PyTorch's AveragedModel
    plain = {re.sub(r"^(?:module\.)+", "", _WRAPPERS.sub("", name)): value for name, value in tensors.items() if name not in averaged}
    return plain if len(plain) + len(averaged) == len(tensors) else dict(tensors)


def _checked(tensors: dict[str, Tensor], path: Path, finite: bool = True) -> dict[str, Tensor]:
    """The tensors, if they are plain ones and, unless that does not matter, finite."""
    import torch

    for name, value in tensors.items():
        if value.layout != torch.strided or value.is_quantized:
            kind, way = ("quantized", "dequantize") if value.is_quantized else ("sparse", "to_dense")
            raise CheckpointError(f"'{name}' in {path} is a {kind} tensor: save it as a plain one (`tensor.{way}()`) and give that file")
        if finite and not value.isfinite().all():
            raise CheckpointError(f"'{name}' in {path} has values that are not finite: the file is damaged, or its training failed")
    return tensors


def _keys(within: str | Sequence[str]) -> list[str]:
    return [within] if isinstance(within, str) else list(within)


def _inside(place: str, keys: Sequence[str]) -> bool:
    return any(key == "" or place == key or place.startswith(f"{key}.") for key in keys)


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _where(content: Any) -> str:
    """In parentheses, where the tensors of a file lie; empty where they are all at its top level."""
    counts = {place: len(tensors) for place, tensors in _mappings(content)}
    if set(counts) == {""}:
        return ""
    largest = sorted(counts, key=lambda place: -counts[place])[:6]
    return f" (its tensors lie {', '.join(f'under {place!r}' if place else 'at the top level' for place in largest)})"


def _listed(places: Iterable[str]) -> str:
    quoted = [f"'{place}'" if place else "its top level" for place in places]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
