"""What an importer says of itself, and what importers of networks that paint have in common.

A file of this package that defines `IMPORTER` is an importer, and has its name, with dashes for underscores. `limner import` builds its
help and its parsers from these records: a new importer is one new file here. Records are read without PyTorch, so these files import
it, and the parts of Limner that need it, within the functions that use them.
"""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from tyro.conf import Positional, UseAppendAction, arg

from limner.core.errors import CheckpointError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.method import Method
    from limner.text.encoder import TextEncoder

MethodType = TypeVar("MethodType", bound="Method")
HERE = Path(__file__).parent
File = Annotated[Positional[Path], arg(metavar="FILE")]
Files = Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...")]


Progress = Callable[[int, int, str], None]
"""Told how much is done, of how much, and of what."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What every importer takes."""

    out: Annotated[Path, arg(metavar="DIR")]
    """The folder to write; it must not exist yet."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Place):
    """What importers of PyTorch's and safetensors' files take."""

    within: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="KEY")] = ()
    """The entry of a file that holds the weights, such as netG_ema, where several fit; dots lead further in. May be given several times."""


@dataclass(frozen=True, kw_only=True)
class EncoderChoice:
    """The text encoder of networks that read sentences."""

    needs: ClassVar[str] = "--encoder"
    encoder: Annotated[str | None, arg(metavar="NAME|DIR")] = None
    """The text encoder that the generator was trained with: makes a model that paints captions. Without it the networks alone are kept."""

    def text_encoder(self) -> TextEncoder | None:
        """The encoder that was asked for. Raises SettingsError or CheckpointError where there is none."""
        from limner.text.saving import named_encoder

        return named_encoder(self.encoder, "--encoder") if self.encoder else None


@dataclass(frozen=True, kw_only=True)
class EncoderOptions(EncoderChoice, ImportOptions):
    """What importers of networks take that read sentences."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """How the files of one project become a folder of Limner's."""

    name: str
    """As `limner import` takes it."""
    help: str
    """What it reads, in a few words: the line in the list of importers."""
    description: str
    """What it makes of that: the head of its own help."""
    examples: tuple[str, ...]
    """Command lines."""
    options: type[Any]
    """A dataclass derived from `Place`, whose fields are the flags and the files."""
    read: Callable[..., Any]
    """Reads the files and writes the folder, given the options; returns lines that say what is there and how to use it."""

    def run(self, options: Any, progress: Progress | None = None) -> Sequence[str]:
        """Import what the options name, and say what was made. Raises LimnerError for what cannot be imported.

        progress: for a `read` that has such a parameter, since it takes long.
        """
        lines: Sequence[str] = self.read(options, progress) if self.takes_long else self.read(options)
        return lines

    @property
    def takes_long(self) -> bool:
        """Whether `read` can say how far it is."""
        return "progress" in inspect.signature(self.read).parameters


@dataclass(frozen=True, kw_only=True)
class NetworkImporter(Importer):
    """An importer of a method's networks: they become a model that paints, given their text encoder, or else are kept as they are.

    read: takes the files, `within` and those options that it has parameters for; returns the method in evaluation mode, and the players
    whose weights the files held. options: have `files`, `text_encoder()` and `needs`.
    """

    source: str
    """The project that the files come from."""

    def write(self, files: Path | Sequence[Path], out: Path, encoder: TextEncoder | None = None, **options: Any) -> str:
        """Turn files of the project into a folder, and return its kind: "method" or "networks".

        out: must not exist, or be empty. encoder: the text encoder that the generator was trained with; with it `out` is a model that
        paints captions, without it `out` holds the networks, for `load_networks`, since other sentences would mean nothing to them.
        options: as `read` takes them.
        Raises CheckpointError for a file that is not the project's, SettingsError for a combination that cannot work.
        """
        from limner.interop.networks import keep_imported

        method, players = self.read(files, **options)
        return keep_imported(self.name, method, players, [files] if isinstance(files, Path) else files, out, encoder, self.source)

    def run(self, options: Any, progress: Progress | None = None) -> Sequence[str]:
        """Import what the options name, and say what was made. Raises LimnerError for what cannot be imported."""
        _, *taken = inspect.signature(self.read).parameters
        encoder = options.text_encoder()
        kind = self.write(options.files, options.out, encoder, **{name: getattr(options, name) for name in taken})
        if kind == "networks":
            return [f"{options.out}: the networks, without a text encoder; a model that paints captions needs {options.needs}"]
        if encoder is None:
            return [f"{options.out}: a model that reads no text; use it: limner generate {shlex.quote(str(options.out))} --out pictures"]
        return [f'{options.out}: a model; use it: limner generate {shlex.quote(str(options.out))} "..." --out pictures']


def filled(method: MethodType, states: Mapping[str, Mapping[str, Tensor]], refusal: Callable[[str, str], str]) -> MethodType:
    """The method with the tensors of these players, in evaluation mode.

    refusal: the message of the CheckpointError for tensors that do not fit, given the player and the first thing that is wrong.
    """
    for player, state in states.items():
        try:
            method.players()[player].module.load_state_dict(state)
        except RuntimeError as error:
            detail = " ".join(str(error).split("\n\t")[1:2]).strip()
            raise CheckpointError(refusal(player, detail)) from error
    return method.eval()


def names() -> list[str]:
    """The names of all importers, in order; nothing is imported."""
    files = sorted(HERE.glob("*.py"))
    return [path.stem.replace("_", "-") for path in files if re.search(r"^IMPORTER = ", path.read_text(encoding="utf-8"), re.MULTILINE)]


def get(name: str) -> Importer:
    """An importer by its name. Raises SettingsError, with the nearest name, where there is none."""
    if name not in names():
        raise unknown_name("kind of file to import", name, names())
    importer: Importer = importlib.import_module(f"{__package__}.{name.replace('-', '_')}").IMPORTER
    return importer
