"""The one format of everything that is saved to be used or shared: a folder with weights, a description and a card.

A folder holds `model.safetensors`, `config.json` and, where it is given, `README.md` (the card). The description names the `kind` of what
is inside (a method that paints, a matching model, a text encoder, ...) and holds settings and vocabulary as plain JSON. Tensors are named
by parts: "method.generator.first.weight", "text.embedding.weight". Nothing in a folder is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.asked import place
from limner.core.errors import CheckpointError, LimnerError, unknown_name
from limner.core.files import readable, recover_unless_owned, sha256, whole_folder
from limner.core.folders_0_1 import FORMATS, renewed
from limner.core.json_text import parse_json

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Trainable

FORMAT, VERSION = "limner", 2
WEIGHTS, DESCRIPTION, CARD = "model.safetensors", "config.json", "README.md"

KINDS = {
    "method": "a model that paints captions",
    "networks": "networks alone, without a text encoder",
    "matching": "a matching model",
    "text": "a text encoder alone",
    "judge": "a judge of garden attributes",
    "scene judge": "a judge of bouquets",
}
"""What a folder may hold, and how errors speak of it."""

MAKERS = {
    "method": "`limner train METHOD` or `limner import` writes one",
    "networks": "`limner import` writes them",
    "matching": "`limner train sje` (or clip, damsm, vs-similarity) or `limner import clip` writes one",
    "text": "every trained model holds one, and `limner train text` writes one",
    "judge": "`limner train garden-judge` writes one",
    "scene judge": "`limner train bouquet-judge` writes one",
}
"""How to come by each."""


@dataclass(frozen=True)
class Saved:
    """What a folder holds. tensors: on the CPU, by full name."""

    folder: Path
    kind: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, without the part's name."""
        return {key.removeprefix(f"{name}."): value for key, value in self.tensors.items() if key.startswith(f"{name}.")}

    @property
    def content_hash(self) -> str:
        """Twelve hex digits that change with any weight."""
        return str(self.config["weights_sha256"])[:12]

    @contextmanager
    def being_read(self) -> Iterator[None]:
        """Turn what goes wrong while the description and tensors become networks into a CheckpointError that names the folder."""
        import msgspec

        try:
            yield
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError, msgspec.ValidationError) as error:
            reason = f"cannot read {KINDS[self.kind]} from {self.folder} ({_first_line(error)})"
            raise CheckpointError(f"{reason}: copy the folder again, or use the Limner that wrote it") from error


def write(folder: Path, kind: str, config: Mapping[str, Any], parts: Mapping[str, Mapping[str, Tensor]], card: str | None = None) -> None:
    """Write a folder, whole or not at all; one that exists is replaced once the new one is complete.

    config: plain JSON values. parts: tensors by part and name. Raises CheckpointError where the disk cannot take it.
    """
    from safetensors.torch import save_file

    tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    description: dict[str, Any] = {"format": FORMAT, "version": VERSION, "kind": kind, **config}
    try:
        with whole_folder(folder) as fresh:
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, fresh / WEIGHTS)
            (fresh / WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone, and it is made to be shared
            description["weights_sha256"] = sha256(fresh / WEIGHTS)
            (fresh / DESCRIPTION).write_text(readable(json.dumps(description, ensure_ascii=False, indent=1)) + "\n", encoding="utf-8")
            if card is not None:
                (fresh / CARD).write_text(readable(card), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"cannot write {KINDS[kind]} to {folder} ({reason}): free some space or choose another folder") from error


def save(path: Path, name: str, trained: Trainable, encoder: Any, about: Mapping[str, Any], card: str) -> None:
    """Write the folder of something trained, whole or not at all.

    name: as `limner train` takes it. encoder: the `TextEncoder` that goes with it, or None. about: what is known of its making.
    """
    from limner.core import registry

    kept = trained.keeps()
    name = kept.name or name
    config = {"name": name, **({"source": source} if (source := registry.source(name)) else {}), **kept.config, "about": dict(about)}
    parts = dict(kept.parts)
    if encoder is not None:
        config["text"] = {"kind": encoder.kind, **encoder.config()}
        parts["text"] = encoder.state_dict()
    write(path, kept.kind, config, parts, card)


def read(folder: Path, *kinds: str) -> Saved:
    """Read a folder that `write` wrote, or one of version 0.1.

    kinds: what it may hold. Raises CheckpointError, in one line, where it holds something else or cannot be read.
    """
    config = describe(folder, *kinds)
    try:
        return _read(folder, dict(config))
    except CheckpointError:
        if describe(folder, *kinds) == config:
            raise
        return read(folder, *kinds)  # a training has replaced it between its description and its weights


def _read(folder: Path, config: dict[str, Any]) -> Saved:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights = folder / str(config.pop("weights_file", WEIGHTS))
    try:
        _check_plain(weights)
        if sha256(weights) != config.get("weights_sha256"):
            raise CheckpointError(f"{weights} is not the file its config.json speaks of (cut short or changed): copy the folder again")
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {weights} ({_first_line(error)}): copy the folder again") from error
    broken = next((name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()), None)
    if broken is not None:
        raise CheckpointError(
            f"'{broken}' in {weights} has values that are not finite, because training broke down: train again with a lower learning rate, "
            "or go on from a checkpoint from before that"
        )
    prefix = config.pop("prefix", "")  # version 0.1 had kinds with one part, whose tensors bore no part's name
    return Saved(folder, config["kind"], config, {f"{prefix}{name}": value for name, value in tensors.items()} if prefix else tensors)


def describe(folder: Path, *kinds: str) -> dict[str, Any]:
    """The description of a folder. Raises CheckpointError, in one line, where there is none or it is not of these kinds."""
    wanted = " or ".join(KINDS[kind] for kind in kinds) if kinds else "what Limner saves"
    path = folder / DESCRIPTION
    try:
        _check_plain(path)
        config = parse_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(f"{folder} does not hold {wanted} (it has no {DESCRIPTION}): give a run folder or a saved folder") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path} ({_first_line(error)}): copy the folder again") from error
    if isinstance(config, dict) and config.get("format") in FORMATS:
        config = renewed(config, folder)
    if not isinstance(config, dict) or config.get("format") != FORMAT or config.get("kind") not in KINDS:
        raise CheckpointError(f"{path} does not describe {wanted}: give a folder that `limner train` or `limner import` wrote")
    if config.get("version") != VERSION:
        raise CheckpointError(
            f"{folder} has version {config.get('version')} of the format, this Limner reads version {VERSION}: use the Limner that wrote it"
        )
    if kinds and config["kind"] not in kinds:
        raise CheckpointError(f"{folder} holds {KINDS[config['kind']]}, not {wanted}: {MAKERS[kinds[0]]}")
    return config


def _check_plain(path: Path) -> None:
    """Raise CheckpointError for what is there but not a file, such as a link to a device, of which there would be no end."""
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is not a plain file: copy the folder again")


def kind_of(name_or_path: str | Path) -> str | None:
    """The kind of what a shipped name, a run folder or a saved folder holds; None where nothing can be read there."""
    try:
        with located(name_or_path) as folder:
            return str(describe(folder)["kind"])
    except (LimnerError, OSError):
        return None


@contextmanager
def located(name_or_path: str | Path, *kinds: str) -> Iterator[Path]:
    """The saved folder that a name means: a run folder's `model`, the folder itself, or one that ships with Limner.

    kinds: which shipped ones to offer. Raises CheckpointError where there is none, and names the nearest where a name does not exist.
    """
    folder = Path(place("the model", name_or_path, "a run folder, a model folder or a shipped name"))
    if not str(name_or_path):
        raise CheckpointError("the name of the model is empty: give a run folder, a model folder or a shipped name")
    if not folder.exists() and str(name_or_path) in shipped():
        with resources.as_file(resources.files("limner") / "shipped" / str(name_or_path)) as found:
            yield found
    elif (folder / "recipe.yaml").exists():
        recover_unless_owned(folder / "model", folder)
        if not (folder / "model").exists():
            raise CheckpointError(
                f"the run {folder} has no model yet: it writes one with its first checkpoint; go on with `limner train --resume`"
            )
        yield folder / "model"
    elif folder.exists():
        yield folder
    elif not (names := shipped(*(kinds or ("method",)))):
        raise CheckpointError(f"there is no folder {folder}: give the run folder or model folder of {KINDS[kinds[0]]}")
    elif len(folder.parts) == 1:
        raise unknown_name("shipped model or folder", str(name_or_path), names)
    else:
        raise CheckpointError(f"there is no folder {folder}: give a run folder, a model folder or a shipped name ({', '.join(names)})")


def shipped(*kinds: str) -> list[str]:
    """Names of the folders that come with Limner, of these kinds or of all."""
    found = []
    for entry in (resources.files("limner") / "shipped").iterdir():
        if (entry / DESCRIPTION).is_file():
            config = parse_json((entry / DESCRIPTION).read_text(encoding="utf-8"))
            kind = FORMATS.get(config["format"], config.get("kind"))
            if not kinds or kind in kinds:
                found.append(entry.name)
    return sorted(found)


def restored(saved: Saved, part: str, *, whole: bool = True) -> Trainable:
    """The method or other trainable that a folder holds, with the weights in `part`; networks that are not kept in folders are fresh.

    whole: whether everything that such a trainable keeps must be there. The networks of some players alone need not be whole.
    Nothing in the folder is executed: a method from outside must have been given or installed. Raises CheckpointError where it is not
    there or the weights do not fit.
    """
    import msgspec

    from limner.core import registry
    from limner.core.trainable import Conditions
    from limner.core.weights import weights_loaded_next

    name, source = saved.config["name"], saved.config.get("source")
    if isinstance(source, str) and name not in registry.names():
        raise CheckpointError(f"{saved.folder} needs the method '{name}', which is not part of Limner: {registry.how_to_give(source)}")
    made = registry.get(name)
    settings: Any = msgspec.convert(saved.config["settings"], made.Settings)
    with weights_loaded_next():
        trained = made(settings, msgspec.convert(saved.config["conditions"], Conditions))
    missing, unexpected = trained.load_state_dict(saved.part(part), strict=False)
    if unexpected or (whole and set(missing) & trained.kept().keys()):
        raise CheckpointError(f"the weights in {saved.folder} do not fit {name}: use the Limner that wrote them")
    return trained


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
