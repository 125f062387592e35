"""ONNX files that Limner wrote, as models: the same door, painted by onnxruntime.

The file is taken apart into its three functions, so that features and noise can be looked at and changed between them, as with any model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import CheckpointError, LimnerError, SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import Noise
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.export.description import KEY, VERSION, WAYS, Description
from limner.export.extra import needed
from limner.export.functions import features_of, painting_of
from limner.model import Model
from limner.text.encoder import TextEncoder
from limner.text.registry import encoder_from_config


def load(path: str | Path) -> Model:
    """The model in an ONNX file that `limner export` wrote: on the CPU.

    Raises CheckpointError where the file is not there, damaged, or not Limner's, SettingsError without onnxruntime.
    """
    path = Path(path)
    needed("onnx", "onnxruntime")
    from limner.export import graphs

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}: give one that `limner export` wrote") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {path} ({error.strerror}): give a file that `limner export` wrote") from error
    try:
        made = graphs.parsed(content)
    except ValueError as error:
        raise CheckpointError(f"{path} is not an ONNX file, or is cut short: copy it again") from error
    about = _description(path, made)
    if graphs.digest(made) != about.digest:
        raise CheckpointError(f"{path} is damaged: its weights are not those that were written: copy it again")
    try:
        functions = {name: _Function(part.SerializeToString()) for name, part in graphs.taken_apart(made).items()}
        with torch.device("meta"):  # for its tokenizer; the file's own graph has the weights
            tokenizer = encoder_from_config(about.text)
    except LimnerError:
        raise
    except Exception as error:  # onnxruntime's own, of several kinds
        raise CheckpointError(f"cannot read {path} ({str(error).splitlines()[0][:200]}): use the Limner that wrote it") from error
    return Model(ExportedMethod(about, functions), ExportedEncoder(about, tokenizer, functions.get("encode")), about.about)


def _description(path: Path, made: Any) -> Description:
    stored = {item.key: item.value for item in made.metadata_props}
    if KEY not in stored:
        raise CheckpointError(
            f"{path} is an ONNX file, but not one that `limner export` wrote: it does not say how captions become numbers"
        )
    try:
        version = msgspec.json.decode(stored[KEY])["version"]
        if version == VERSION:
            return msgspec.json.decode(stored[KEY], type=Description)
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: its description cannot be read: copy it again") from error
    raise CheckpointError(f"{path} has version {version} of the format, this Limner reads version {VERSION}: use the Limner that wrote it")


def session_of(content: bytes) -> Any:
    """An ONNX model in onnxruntime, with as many threads as PyTorch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class _Function:
    """One function of the file."""

    def __init__(self, content: bytes) -> None:
        self.session = session_of(content)
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]

    def __call__(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        given = {name: values[name].detach().cpu().contiguous().numpy() for name in self.inputs}
        return {name: torch.from_numpy(value) for name, value in zip(self.outputs, self.session.run(self.outputs, given), strict=True)}


class ExportedEncoder(TextEncoder):
    """The text encoder of an exported file: the tokenizer of the one it was made of, and the file's graph."""

    kind: ClassVar[str] = "exported"
    tokenizer: TextEncoder

    def __init__(self, about: Description, tokenizer: TextEncoder, function: _Function | None) -> None:
        super().__init__()
        self.about, self.function = about, function
        self.__dict__["tokenizer"] = tokenizer  # no part of this module: its weights are on no device
        self.reads = tokenizer.reads  # type: ignore[misc]
        self.sentence_width, self.word_width = tokenizer.sentence_width, tokenizer.word_width

    def tokenize(self, captions: Sequence[str]) -> Any:
        return self.tokenizer.tokenize(captions)

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        if self.function is None:
            return TextFeatures(torch.zeros(len(ids), 0))
        found = self.function({"ids": ids, "lengths": mask.sum(1)})
        return features_of({name: found[f"text.{name}"] for name in self.about.features})

    def words(self, caption: str) -> list[str]:
        return list(self.tokenizer.words(caption))

    def read_words(self, caption: str) -> list[str]:
        return list(self.tokenizer.read_words(caption))

    def unknown_words(self, caption: str) -> list[str]:
        return list(self.tokenizer.unknown_words(caption))

    def known_words(self) -> Sequence[str]:
        return self.tokenizer.known_words()

    def was_cut(self, caption: str) -> bool:
        return bool(self.tokenizer.was_cut(caption))

    @property
    def limit(self) -> Any:
        return self.tokenizer.limit

    def config(self) -> dict[str, Any]:
        return self.about.text

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TextEncoder:
        """An encoder of the kind that was exported, with fresh weights."""
        return encoder_from_config(config)


class ExportedMethod(Method):
    """What draws noise and paints, by onnxruntime. Nobody trains it."""

    presets: ClassVar[dict[str, Any]] = {}
    paper = "an exported file"
    exported = True

    def __init__(self, about: Description, functions: dict[str, _Function]) -> None:
        conditions = Conditions(resolution=about.resolution, sentence_width=0, word_width=None, class_count=0)
        super().__init__(about, conditions)
        self.title = about.method  # type: ignore[misc]
        self.about, self.functions = about, functions
        self.frames_untold = about.frames
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # says where the model is
        fields = [
            (name, Tensor, dataclasses.field(metadata={"between": WAYS.get(way, WAYS["great circle"])}))
            for name, way in about.noise.items()
        ]
        self.noise_type: type[Noise] = dataclasses.make_dataclass("ExportedNoise", fields, bases=(Noise,), frozen=True)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> Noise:
        from limner.export.onnx_file import signed

        if stream != "paint":
            raise SettingsError(f"an exported file draws noise for painting alone, not for '{stream}': use the model it was made of")
        numbers = torch.from_numpy(np.atleast_1d(np.asarray(samples)).astype(np.int64))
        found = self.functions["draw"]({"seed": torch.full_like(numbers, signed(seed)), "sample": numbers})
        return self.noise_type(**{name: found[f"noise.{name}"] for name in self.about.noise})

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        given = {f"noise.{name}": getattr(noise, name) for name in self.about.noise}
        given |= {f"text.{name}": value for name in self.about.features if (value := getattr(text, name)) is not None}
        found = self.functions["paint"](given)
        return painting_of({name: found[name] for name in self.about.outputs})

    def players(self) -> dict[str, Player]:
        return {}

    def phases(self) -> list[Phase]:
        return []

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        raise SettingsError("an exported file cannot be trained: train the run that it was made of")
