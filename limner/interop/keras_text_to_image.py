"""The Keras DCGAN's files (chen0040/keras-text-to-image): dc-gan[-v2|-v3]-generator-weights.h5 and -discriminator-weights.h5.

Layers are identified by kind, and linear layers also by the number in their names, which Keras counts in the order in which layers were
made: the generator makes noise, text, then the joint layer; the discriminator text, picture, then the answer. A file lists them in
another order. Keras keeps pictures with channels last: linear layers from and to maps have their rows and columns put in Limner's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from limner.core.errors import CheckpointError, SettingsError
from limner.core.json_text import parse_json
from limner.interop.importer import EncoderChoice, Files, NetworkImporter, Place, filled
from limner.interop.keras_weights import by_kind, is_counted, read_layers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from limner.methods.keras_text_to_image import KerasTextToImage

    Arrays = dict[str, NDArray[np.float32]]

NUMBERS = ("img_width", "img_height", "img_channels", "text_input_dim", "random_input_dim")
"""What the code's configuration says of the networks; `random_input_dim` is missing in v2."""

NORMS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
"""Keras's names for what a batch normalisation holds, by PyTorch's."""


@dataclass(frozen=True, kw_only=True)
class Options(EncoderChoice, Place):
    """What `limner import keras-text-to-image` takes."""

    needs = "--encoder (limner import glove makes one)"
    files: Files
    """The code's generator weights, its discriminator weights, or both, in any order."""
    config: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """The configuration as JSON, to be held against the weights. The code's own -config.npy is a pickle, which is not read."""


def read_keras(files: Sequence[Path], config: Path | None = None) -> tuple[KerasTextToImage, list[str]]:
    """The code's files as a method in evaluation mode, and the players whose weights they held; another player's network is fresh.

    files: a generator, a discriminator or both. Which version they are of, and every width, follows from the arrays' shapes.
    config: the code's configuration as JSON; where layers have names that Keras does not give, it says which of two reads the noise.
    Raises CheckpointError for files that are none of the code's or that do not fit each other or the configuration.
    """
    from limner.core.trainable import Conditions
    from limner.methods.keras_text_to_image import KerasSettings, KerasTextToImage

    numbers = read_config(config) if config else {}
    readers = {"generator": _generator, "discriminator": _discriminator}
    states: dict[str, dict[str, Tensor]] = {}
    sizes: dict[str, tuple[Path, Any]] = {}
    for path in files:
        layers = read_layers(path)
        kinds = by_kind(layers)
        player = "generator" if kinds["norm"] else "discriminator"
        if player in states:
            raise SettingsError(f"{path} is a second {player}: give one generator, one discriminator or one of each")
        states[player], found = readers[player](path, layers, kinds, numbers)
        for name, value in found.items():
            first, known = sizes.setdefault(name, (path, value))
            if known != value:
                raise CheckpointError(f"{path} has {_named(name)} {value}, and {first} {known}: give two files of one training")
    if not states:
        raise SettingsError("no file to import: give the code's generator weights, its discriminator weights, or both")
    values = {name: value for name, (_, value) in sizes.items()}
    _agree(config, numbers, values)
    conditions = Conditions(resolution=values.pop("resolution"), sentence_width=values.pop("sentence_width"))
    method = filled(
        KerasTextToImage(KerasSettings(**values), conditions),
        states,
        lambda player, detail: f"the {player} is not keras-text-to-image's ({detail}): give another file",
    )
    return method, sorted(states, reverse=True)


def read_config(path: Path) -> dict[str, int]:
    """The numbers of the code's configuration. Raises CheckpointError for anything but a JSON object with them."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"cannot read {path} ({error.strerror}): give the configuration as a JSON file, or leave --config out"
        ) from None
    if content.startswith((b"\x93NUMPY", b"\x80")):
        raise CheckpointError(
            f'{path} is a pickle, which could run anything and is not read: where you trust it, turn it into JSON (python -c "import json, '
            f"numpy; print(json.dumps(numpy.load('{path.name}', allow_pickle=True).item()))\" > config.json), or leave --config out"
        )
    try:
        found = parse_json(content)
        numbers = {name: int(value) for name, value in found.items() if name in NUMBERS}
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise CheckpointError(
            f'{path} is not a JSON object such as {{"img_width": 32, ...}}: give the code\'s configuration as JSON'
        ) from None
    if not numbers:
        raise CheckpointError(f"{path} has none of {', '.join(NUMBERS)}: give the code's configuration as JSON, or leave --config out")
    return numbers


def _agree(config: Path | None, numbers: dict[str, int], values: dict[str, Any]) -> None:
    noise = values["noise_width"] if values.get("version") in ("v1", "v3") else None
    known = {
        "img_width": values["resolution"],
        "img_height": values["resolution"],
        "img_channels": 3,
        "text_input_dim": values["sentence_width"],
        "random_input_dim": noise,
    }
    for name, value in numbers.items():
        if known[name] is not None and value != known[name]:
            raise CheckpointError(f"{config} gives {name} {value}, and the weights {known[name]}: give the configuration of their training")


def _generator(path: Path, layers: dict[str, Arrays], kinds: dict[str, list[str]], numbers: dict[str, int]) -> tuple[Any, dict[str, Any]]:
    """The generator's state, and the sizes that it tells."""
    _expect(path, "generator", layers, kinds, {"dense": (2, 3), "conv": (2,), "norm": (1,), "other": (0,)})
    first, last = _convolutions(path, layers, kinds)
    normalization = layers[kinds["norm"][0]]
    numbered = kinds["dense"]
    joint = _one(path, "joint", [name for name in numbered if layers[name]["kernel"].shape[1] == len(normalization["gamma"])][-1:])
    readers = [name for name in numbered if name != joint]
    noise, text = (None, readers[0]) if len(readers) == 1 else _noise_and_text(path, layers, readers, numbers)
    kernel, inner = layers[joint]["kernel"], first["kernel"].shape[2]
    side = _side(path, kernel.shape[1], inner)
    if last["kernel"].shape[3] != 3:
        raise CheckpointError(f"{path} paints pictures of {last['kernel'].shape[3]} channels: Limner's pictures have 3; give another file")
    hidden = layers[text]["kernel"].shape[1]
    values: dict[str, Any] = {
        "resolution": 4 * side,
        "sentence_width": layers[text]["kernel"].shape[0],
        "hidden_width": hidden,
        "inner_channels": inner,
        "outer_channels": first["kernel"].shape[3],
        "version": "v2",
    }
    state = {**_linear("text", layers[text]), **_linear("joint", layers[joint])}
    if noise is not None:
        width, out = layers[noise]["kernel"].shape
        values |= {"noise_width": width, "version": "v1" if out == hidden else "v3"}
        state |= _linear("noise", layers[noise])
    state |= {f"normalization.{ours}": normalization[theirs] for ours, theirs in NORMS.items()}
    for name in ("joint.weight", "joint.bias", *(f"normalization.{name}" for name in NORMS)):
        state[name] = _channels_first(state[name], inner, side)
    state |= _convolution("layers.3", first) | _convolution("layers.6", last)
    tensors = _tensors(state)
    return {**tensors, "normalization.num_batches_tracked": _zero()}, values


def _discriminator(
    path: Path, layers: dict[str, Arrays], kinds: dict[str, list[str]], numbers: dict[str, int]
) -> tuple[Any, dict[str, Any]]:
    """The discriminator's state, and the sizes that it tells."""
    _expect(path, "discriminator", layers, kinds, {"dense": (3,), "conv": (2,), "norm": (0,), "other": (0,)})
    first, last = _convolutions(path, layers, kinds)
    answer = _one(path, "answer", [name for name in kinds["dense"] if layers[name]["kernel"].shape[1] == 1][-1:])
    readers = [name for name in kinds["dense"] if name != answer]
    inner = last["kernel"].shape[3]
    text, seen = _text_and_picture(path, layers, readers, inner, numbers)
    side = _side(path, layers[seen]["kernel"].shape[0], inner)
    values = {
        "resolution": 4 * side + 8,
        "sentence_width": layers[text]["kernel"].shape[0],
        "hidden_width": layers[text]["kernel"].shape[1],
        "inner_channels": inner,
        "outer_channels": first["kernel"].shape[3],
    }
    state = {**_linear("text", layers[text]), **_linear("seen", layers[seen]), **_linear("joint", layers[answer])}
    state["seen.weight"] = _channels_first(state["seen.weight"].T, inner, side).T
    return _tensors(state | _convolution("picture.0", first) | _convolution("picture.3", last)), values


def _expect(path: Path, player: str, layers: dict[str, Arrays], kinds: dict[str, list[str]], counts: dict[str, tuple[int, ...]]) -> None:
    words = {"dense": "linear layers", "conv": "convolutions", "norm": "batch normalisations", "other": "other layers"}
    for kind, allowed in counts.items():
        if len(kinds[kind]) not in allowed:
            raise CheckpointError(
                f"{path} is not a {player} of keras-text-to-image: it has {len(kinds[kind])} {words[kind]} ({', '.join(kinds[kind])}), and "
                f"that has {' or '.join(map(str, allowed))}: give the code's {player} weights"
            )
    for kind, arrays in (("dense", {"kernel", "bias"}), ("conv", {"kernel", "bias"}), ("norm", set(NORMS.values()))):
        for name in kinds[kind]:
            if layers[name].keys() != arrays:
                wrong = sorted(layers[name].keys() ^ arrays)[0]
                detail = f"'{name}' has {f'no {wrong}' if wrong in arrays else wrong}"
            elif len({array.shape[-1:] for array in layers[name].values()}) > 1 or not min(array.size for array in layers[name].values()):
                detail = f"the arrays of '{name}' do not fit each other"
            else:
                continue
            raise CheckpointError(f"{path} is not a {player} of keras-text-to-image: {detail}: give the code's {player} weights")


def _convolutions(path: Path, layers: dict[str, Arrays], kinds: dict[str, list[str]]) -> tuple[Arrays, Arrays]:
    """The two convolutions in the order of the network, in which the first one's channels are read by the second."""
    pairs = [(layers[a], layers[b]) for a, b in (kinds["conv"], kinds["conv"][::-1])]
    fitting = [pair for pair in pairs if pair[0]["kernel"].shape[3] == pair[1]["kernel"].shape[2]]
    if not fitting or any(one["kernel"].shape[:2] != (5, 5) for one in pairs[0]):
        shapes = " and ".join(str(one["kernel"].shape) for one in pairs[0])
        raise CheckpointError(f"{path} is not a network of keras-text-to-image: its convolutions are {shapes}: give the code's weights")
    return fitting[0]


def _noise_and_text(path: Path, layers: dict[str, Arrays], readers: list[str], numbers: dict[str, int]) -> tuple[str, str]:
    """Which of two layers reads the noise, and which the text: the noise's is made first."""
    if is_counted(readers):
        return readers[0], readers[1]
    return _told_apart(path, layers, readers, numbers, ("random_input_dim", "text_input_dim"))


def _text_and_picture(path: Path, layers: dict[str, Arrays], readers: list[str], inner: int, numbers: dict[str, int]) -> tuple[str, str]:
    """Which of two layers reads the text, and which the picture: the one that reads a square map, or else the one that is made last."""
    pictures = [name for name in readers if _square(layers[name]["kernel"].shape[0], inner)]
    if len(pictures) == 1:
        return next(name for name in readers if name != pictures[0]), pictures[0]
    if is_counted(readers):
        return readers[0], readers[1]
    return _told_apart(path, layers, readers, numbers, ("text_input_dim", None))


def _told_apart(
    path: Path, layers: dict[str, Arrays], names: list[str], numbers: dict[str, int], wanted: tuple[str | None, str | None]
) -> tuple[str, str]:
    """Two layers whose names say nothing, by the widths of the configuration."""
    fitting = []
    for order in (names, names[::-1]):
        widths = [layers[name]["kernel"].shape[0] for name in order]
        known = [numbers.get(name) if name else None for name in wanted]
        if any(known) and all(number in (None, width) for number, width in zip(known, widths)):
            fitting.append((order[0], order[1]))
    if len(fitting) != 1:
        shown = " and ".join(f"'{name}' ({layers[name]['kernel'].shape[0]} numbers)" for name in names)
        raise CheckpointError(
            f"{path} has layers of other names than the code's, and which of {shown} reads the text cannot be told: give --config"
        )
    return fitting[0]


def _one(path: Path, what: str, names: list[str]) -> str:
    if not names:
        raise CheckpointError(f"{path} is not a network of keras-text-to-image: it has no {what} layer: give the code's weights")
    return names[0]


def _square(size: int, channels: int) -> int | None:
    """The side of a square map of so many numbers and channels, or None where there is none."""
    side = round((size / channels) ** 0.5)
    return side if side**2 * channels == size else None


def _side(path: Path, size: int, channels: int) -> int:
    side = _square(size, channels)
    if side is None:
        raise CheckpointError(
            f"{path} has maps of {size} numbers in {channels} channels, which are not square: Limner's pictures are square"
        )
    return side


def _channels_first(rows: NDArray[np.float32], channels: int, side: int) -> NDArray[np.float32]:
    """Rows of a map in the order of rows, columns, channels, put in the order of channels, rows, columns: [H W C, ...] -> [C H W, ...]."""
    return rows.reshape(side, side, channels, *rows.shape[1:]).transpose(2, 0, 1, *range(3, rows.ndim + 2)).reshape(rows.shape)


def _linear(name: str, arrays: Arrays) -> Arrays:
    return {f"{name}.weight": arrays["kernel"].T, f"{name}.bias": arrays["bias"]}


def _convolution(name: str, arrays: Arrays) -> Arrays:
    """Kernels [rows, columns, in, out] as PyTorch has them: [out, in, rows, columns]."""
    return {f"{name}.weight": arrays["kernel"].transpose(3, 2, 0, 1), f"{name}.bias": arrays["bias"]}


def _tensors(state: Arrays) -> dict[str, Tensor]:
    import numpy as np
    import torch

    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}


def _zero() -> Tensor:
    import torch

    return torch.tensor(0)


def _named(size: str) -> str:
    return {"resolution": "pictures with a side of", "sentence_width": "sentences of"}.get(size, size.replace("_", " ") + " of")


IMPORTER = NetworkImporter(
    name="keras-text-to-image",
    help="the Keras DCGAN with word vectors: dc-gan-generator-weights.h5, -discriminator-weights.h5, v2's and v3's",
    description="Turn networks of chen0040/keras-text-to-image, versions 1 to 3, into Limner's keras-text-to-image.",
    examples=(
        "limner import keras-text-to-image dc-gan-generator-weights.h5 --encoder encoders/glove --out models/pokemon",
        "limner import keras-text-to-image dc-gan-v2-generator-weights.h5 dc-gan-v2-discriminator-weights.h5 --out networks/pokemon",
    ),
    options=Options,
    read=read_keras,
    source="github.com/chen0040/keras-text-to-image",
)
import_keras_text_to_image = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
