"""`limner explore classify`: labels for pictures, and how well a matching model tells the classes of a set apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import Device, chosen_device
from limner.cli.outputs import check_file
from limner.core.errors import DataError, SettingsError
from limner.core.worlds import WORLDS

if TYPE_CHECKING:
    from torch import Tensor

    from limner.matching.model import MatchingModel

DESCRIPTION = """Say which label fits a picture, without training for it, or how well a matching model tells the classes of a set apart.

Each label is set into a prompt; with several --templates, the mean of its prompts stands for it.

examples:
  limner explore classify runs/clip flower.png --labels "a red flower" "a white flower" "a blue flower"
  limner explore classify models/clip *.jpg --labels cat dog --templates "a photo of a {}." "a drawing of a {}."
  limner explore classify models/clip *.jpg --labels cat dog --out labels.json
  limner explore classify models/clip --data prepared/birds --templates "a photo of a {}, a type of bird." --probe"""

_CLASSED = ", ".join(f"'{world.name}'" for world in WORLDS.values() if world.classes)
Labelled = Annotated[
    str | None,
    arg(
        metavar="NAME|DIR",
        help=f"In place of pictures: {_CLASSED}, or the folder of a prepared data set, whose class names are the labels.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ClassifyArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """The run folder or model folder of a matching model, such as `limner train clip` or `limner import clip` writes."""
    pictures: Annotated[Positional[tuple[Path, ...]], arg(metavar="PICTURE ...")] = ()
    """Picture files; the centre square of each is looked at."""
    labels: Annotated[tuple[str, ...], arg(metavar="LABEL")] = ()
    """What the pictures may show, two labels at least."""
    templates: Annotated[tuple[str, ...], arg(metavar="TEMPLATE")] = ()
    """Prompts with {} where the label goes; by default "a photo of a {}." for imported weights, and the label alone for others."""
    data: Labelled = None
    split: Annotated[str, arg(metavar="NAME")] = "test"
    """The split of that set."""
    probe: bool = False
    """Also fit a linear probe to three quarters of the split, and score it on the rest."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides which pictures the linear probe is scored on."""
    out: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """A file for the same figures, each label's share of every picture or the scores of the set."""
    device: Device = "auto"
    """Where to look: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(ClassifyArguments, argv, prog="limner explore classify", description=DESCRIPTION)
    if bool(arguments.pictures) == bool(arguments.data):
        raise SettingsError("give PICTURE files with --labels, or a set with --data, one of the two")
    if arguments.pictures and len(arguments.labels) < 2:
        raise SettingsError('--labels: give at least two, such as --labels "a cat" "a dog"')
    if arguments.out is not None:
        if arguments.out.suffix.lower() != ".json":
            raise SettingsError(f"--out {arguments.out}: the figures are written as JSON; give a file name that ends in .json")
        check_file(arguments.out)
    from limner.core.files import write_whole
    from limner.matching.saving import load_matching
    from limner.matching.scores.classification import PHOTO

    model = load_matching(arguments.model, chosen_device(arguments.device))
    templates = arguments.templates or (PHOTO if "imported" in model.about else ("{}",))
    lines, record = (of_pictures if arguments.pictures else of_set)(model, arguments, templates)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(arguments.out, json.dumps({"templates": list(templates), **record}, indent=1, ensure_ascii=False) + "\n")
        lines.append(f"\n{arguments.out}")
    print("\n".join(lines))
    return 0


def of_pictures(model: MatchingModel, arguments: ClassifyArguments, templates: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Each picture's labels, the likeliest first, as lines and as a record."""
    import torch

    from limner.matching.scores.classification import classify

    shown = torch.stack([read_picture(path, model.resolution) for path in arguments.pictures])
    probabilities = classify(model, shown.to(next(model.parameters()).device), arguments.labels, templates).cpu()
    lines, record = [], []
    for path, row in zip(arguments.pictures, probabilities, strict=True):
        lines.append(str(path))
        order = row.argsort(descending=True).tolist()
        lines += [f"{100 * row[place]:>7.1f}%  {arguments.labels[place]}" for place in order]
        record.append({"picture": str(path), "labels": {arguments.labels[place]: float(row[place]) for place in order}})
    return lines, {"pictures": record}


def of_set(model: MatchingModel, arguments: ClassifyArguments, templates: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """How often a split's pictures get their own class's name and, if asked for, what a linear probe makes of them."""
    from limner.data.catalog import open_data
    from limner.matching.scores.classification import linear_probe, zero_shot_by_name

    assert arguments.data is not None
    pictures = open_data(arguments.data, arguments.split, model.resolution)
    names = pictures.class_names
    if names is None:
        raise DataError(f"{arguments.data} has no classes to tell apart: prepare a set whose samples name theirs")
    found = zero_shot_by_name(model, pictures, names, templates)
    lines = [
        f"{found['pictures']:,.0f} pictures of {found['classes']:.0f} classes, {pictures.name} {pictures.split}",
        f"  by name, top-1 over classes   {100 * found['top_1']:>6.1f}%   over pictures {100 * found['top_1_pictures']:.1f}%   "
        f"chance {100 * found['chance']:.1f}%",
    ]
    record: dict[str, Any] = {"data": pictures.name, "split": pictures.split, "by_name": found}
    if arguments.probe:
        probed = linear_probe(model, pictures, seed=arguments.seed)
        record["linear_probe"] = probed
        lines.append(
            f"  linear probe                  {100 * probed['accuracy']:>6.1f}%   of {probed['test']:,.0f} pictures, fitted on "
            f"{probed['train']:,.0f}   chance {100 * probed['chance']:.1f}%   penalty {probed['strength']:g}"
        )
    return [*lines, "  templates: " + ", ".join(f'"{template}"' for template in templates)], record


def read_picture(path: Path, resolution: int) -> Tensor:
    """[3, R, R] in [-1, 1]. Raises DataError for a file that is not a picture."""
    from limner.data.decoding import Rejected, decode
    from limner.data.loader import to_network
    from limner.data.sources import PictureFile

    try:
        pixels, _ = decode(PictureFile(path, path.stat().st_size), resolution)
    except FileNotFoundError:
        raise DataError(f"there is no picture {path}: give the path of a picture file") from None
    except (Rejected, OSError) as error:
        raise DataError(f"cannot read {path} ({error}): give a JPEG, PNG, WebP, BMP or GIF file") from None
    return to_network(pixels[None].copy(), resolution, "cpu")[0]
