"""`limner explore nearest`: is it remembered or made?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.datasets import ModelsData
from limner.cli.explore.splits import ReferenceData, check_png
from limner.cli.models import Device, open_model
from limner.cli.progress import progress_bar
from limner.core.errors import DataError
from limner.core.files import save_whole
from limner.core.worlds import holds

DESCRIPTION = """Put generated pictures next to their nearest training pictures: remembered or made?

Distances are set against those of real pictures, held out or trained on: a model that remembers paints pictures nearer than these are.

examples:
  limner explore nearest runs/mine --out nearest.png
  limner explore nearest garden "a red flower" "a blue flower" --pictures 3 --out nearest.png
  limner explore nearest runs/mine --features squeezenet=squeezenet.safetensors --count 8 --out nearest.png"""


@dataclass(frozen=True, kw_only=True)
class NearestArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', a run folder or a model folder."""
    captions: Annotated[Positional[tuple[str, ...]], arg(metavar="CAPTION")] = ()
    """What to paint, each caption in quotes; by default eight captions of the test or val split; none for a model that reads no
    text."""
    data: ModelsData = None
    features: Annotated[str | None, arg(metavar="SPEC")] = None
    """How pictures are seen: discriminator, garden, squeezenet=FILE or pixels; by default the run's discriminator where there is one, else
    garden on the garden, else pixels."""
    count: Annotated[int, arg(metavar="N")] = 5
    """Nearest training pictures for each generated one."""
    pictures: Annotated[int | None, arg(metavar="N")] = None
    """Generated pictures of each caption; by default 1, and 8 of a model that reads no text."""
    sample: Annotated[int, arg(metavar="N")] = 500
    """Generated pictures of held-out captions, and at most as many real ones of each kind, that the figures are taken over; below 100 the
    figures say little."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides noise and drawn captions."""
    split: Annotated[str | None, arg(metavar="NAME")] = None
    """The split to search; by default what the model was trained on, `train` or, with --data.trainval, `train+val`."""
    out: Annotated[Path, arg(metavar="FILE.png")]
    """Where the strip goes."""
    device: Device = "auto"
    """Where to paint and look: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(NearestArguments, argv, prog="limner explore nearest", description=DESCRIPTION)
    from limner.explore.nearest import feature_space, remembered_or_made, strip
    from limner.model.requests import check_asked

    check_png(arguments.out)
    model = open_model(arguments.model, arguments.device)
    check_asked(model.encoder, arguments.captions)
    source = ReferenceData(arguments.model, model, arguments.data)
    space = arguments.features or default_space(arguments.model, source.data)
    look = feature_space(space, _run(arguments.model), model.device)
    split = arguments.split or ("train+val" if source.settings.trainval else "train")
    searched = source.split(split)
    if arguments.split is None and source.changed(searched):
        print(
            f"limner: warning: {source.data} does not hold what the model was trained on (prepared anew, or another number of garden "
            "pictures): what it remembers may be missing",
            file=sys.stderr,
        )
    try:
        held_out = source.held_out(besides="val" if split == "train+val" else split)
    except DataError:
        held_out = None
    with progress_bar() as progress:
        findings = remembered_or_made(
            model,
            searched,
            held_out,
            look,
            arguments.captions,
            count=arguments.count,
            pictures=arguments.pictures,
            sample=arguments.sample,
            seed=arguments.seed,
            mirror=source.settings.flip,
            progress=progress,
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    save_whole(strip(findings, described(space)), arguments.out)
    for row, caption in enumerate(findings.captions):
        index, distance = int(findings.neighbours.indices[row, 0]), float(findings.neighbours.distances[row, 0])
        print(f"{distance:.4f}  {searched.key(index)}  {caption}")
    print(f"\n{chr(10).join(findings.figures())}\nDistances are cosine distances of {described(space)}.\n\n{arguments.out}")
    return 0


def default_space(name: str, data: str) -> str:
    """The run's discriminator where there is one, else the garden's judge on the garden, else pixels."""
    from limner import methods
    from limner.core.abilities import abilities_of
    from limner.core.recipes import load_recipe

    run = _run(name)
    kept = run is not None and any((run / "checkpoints").glob("*/manifest.json"))
    if run and kept and "looks" in abilities_of(methods.get(load_recipe(run / "recipe.yaml").method)):
        return "discriminator"
    return "garden" if holds(data) == "attributes" else "pixels"


def described(space: str) -> str:
    """A feature space in words."""
    name = space.partition("=")[0]
    return {"discriminator": "the discriminator's features", "pixels": "pixels at 16x16", "garden": "the garden judge's features"}.get(
        name, f"{name} features"
    )


def _run(name: str) -> Path | None:
    """The run folder that MODEL names, if it names one."""
    return Path(name) if (Path(name) / "recipe.yaml").is_file() else None
