"""`limner explore directions`: what changes the pictures of a model with styles most, and sliders along it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.explore.splits import check_png
from limner.cli.models import Device, matching_model, open_model
from limner.core.errors import SettingsError, unknown_name
from limner.core.files import save_whole

if TYPE_CHECKING:
    from limner.explore.directions import Namer
    from limner.model import Model

DESCRIPTION = """Find the directions in which styles change a model's pictures most, and show pictures that are moved along each: for models
that paint from styles, such as stylegan2.

Nothing is trained: the directions are those that the layers through which styles act on maps stretch most (SeFa, Shen and Zhou, CVPR 2021).
With --judge each direction says what is seen to change from one end to the other, and in how many of 64 pictures: garden attributes, or
labels by a matching model.

examples:
  limner explore directions runs/stylegan2 --out directions.png
  limner explore directions runs/stylegan2 --judge garden --count 10 --out directions.png
  limner explore directions runs/stylegan2 --layers 0 3 --distance 4 --out shapes.png
  limner explore directions runs/flowers --judge runs/clip --labels "a red flower" "a white flower" --out directions.png"""


@dataclass(frozen=True, kw_only=True)
class DirectionsArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A run folder or model folder of a method that paints from styles."""
    caption: Annotated[str, arg(metavar="CAPTION")] = ""
    """What to paint, in quotes; none for a model that reads no text."""
    count: Annotated[int, arg(metavar="N")] = 5
    """Directions, the strongest first."""
    layers: Annotated[tuple[int, int] | None, arg(metavar="FIRST LAST")] = None
    """The places whose styles are moved, counted from 0, from coarse to fine; by default all."""
    distance: Annotated[float, arg(metavar="D")] = 3.0
    """How far to go either way, in standard deviations of the model's own styles along the direction."""
    steps: Annotated[int, arg(metavar="N")] = 7
    """Pictures along a direction."""
    pictures: Annotated[int, arg(metavar="N")] = 2
    """Pictures that are moved along each."""
    judge: Annotated[str | None, arg(metavar="SPEC")] = None
    """Who names directions: garden, or garden=DIR for one of your own, which reads the attributes of garden pictures; or the run or model
    folder of a matching model, with --labels."""
    labels: Annotated[tuple[str, ...], arg(metavar="LABEL")] = ()
    """What pictures may show, two labels at least, for a matching model."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides the pictures."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """The page."""
    device: Device = "auto"
    """Where to paint: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(DirectionsArguments, argv, prog="limner explore directions", description=DESCRIPTION)
    from limner.explore.directions import directions, directions_page
    from limner.explore.styles import styled

    check_png(arguments.out)
    check_judge(arguments.judge, arguments.labels)
    model = open_model(arguments.model, arguments.device)
    styled(model)
    found = directions(
        model,
        caption=arguments.caption,
        count=arguments.count,
        pictures=arguments.pictures,
        steps=arguments.steps,
        distance=arguments.distance,
        layers=arguments.layers,
        seed=arguments.seed,
        namer=namer(arguments.judge, arguments.labels, model),
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(directions_page(found), arguments.out)
    print("\n".join([*map(str, found), "", str(arguments.out)]))
    return 0


def check_judge(spec: str | None, labels: Sequence[str]) -> None:
    """Raise SettingsError where nobody of that name can judge, or labels and judge do not go together."""
    matching = spec is not None and spec.partition("=")[0] != "garden"
    if matching and not Path(str(spec)).is_dir():
        raise unknown_name("judge or folder of a matching model", str(spec), ["garden"])
    if labels and not matching:
        raise SettingsError("--labels are for a matching model: give its run or model folder by --judge, or leave them out")
    if matching and len(set(labels)) < 2:
        raise SettingsError('--judge is a matching model, which needs at least two --labels, such as "a red flower" "a white flower"')


def namer(spec: str | None, labels: Sequence[str], model: Model) -> Namer | None:
    """Who says what changes along a direction; None where nobody was asked."""
    from limner.explore.directions import by_attributes, by_labels
    from limner.features.garden_judge import load_judge

    if spec is None:
        return None
    name, _, path = spec.partition("=")
    if name == "garden":
        return by_attributes(load_judge(Path(path) if path else None).to(model.device))
    judge = matching_model(spec, "cuda" if model.device.type == "cuda" else "cpu")
    assert judge is not None
    return by_labels(judge, labels)
