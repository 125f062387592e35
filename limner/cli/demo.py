"""`limner demo`: from nothing to pictures that follow the words, within minutes."""

from __future__ import annotations

import dataclasses
import math
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from limner.cli.arguments import parse
from limner.cli.outputs import check_folder
from limner.core.errors import CheckpointError, LimnerError, SettingsError
from limner.core.files import save_whole
from limner.core.owner import LOCK
from limner.core.recipes import flat_settings, from_preset, laid_over, load_recipe

if TYPE_CHECKING:
    from limner.core.settings import Recipe
    from limner.metrics.scoring.protocol import Score
    from limner.model import Model

DESCRIPTION = """Watch a generator learn to paint what captions say: trains on the garden, scores what it learned, and writes a report page.

example:
  limner demo
  limner demo --minutes 10 --out runs/longer"""

METHOD, DATA, RESOLUTION = "limner-gan", "garden", 64
METHOD_SETTINGS = {"epochs": 200.0, "openness_weight": 5.0}
# Chosen at this size, on the val split: docs/limner-gan.md
TRAINING_SETTINGS = {"log_every": 50, "sample_every": 500, "checkpoint_every": 1000, "ema_half_life": 3000.0}
DATA_SETTINGS = {"garden_pictures": 5_000}
USUAL_STEPS = 2_200
"""Steps that two quiet cores take in three minutes: those of docs/speed.md, by which the demo is judged."""
SCORED = 512
"""Pictures of each split that the demo scores."""
MATRIX_COLOURS = ("red", "yellow", "blue", "pink", "white")
WALK = ("a red flower with five round petals under a pale blue sky", "a white flower with five round petals at night")


@dataclass(frozen=True, kw_only=True)
class DemoArguments:
    out: Annotated[Path, arg(metavar="RUN")] = Path("runs/demo")
    """Folder for the run; an earlier demo there is replaced."""
    minutes: Annotated[float, arg(metavar="M")] = 3.0
    """The most minutes that training may take."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """The same seed and the same number of steps give the same run on the same machine."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(DemoArguments, argv, prog="limner demo", description=DESCRIPTION)
    if not arguments.minutes > 0:
        raise SettingsError(f"--minutes is {arguments.minutes:g}, but training needs more than none")
    from limner.training.folder import owner

    check_folder(arguments.out)
    check_room(arguments.out)
    with owner(arguments.out):
        return _demo(arguments)


def _demo(arguments: DemoArguments) -> int:
    make_room(arguments.out)
    say("The garden is a small painted world: flowers whose every petal a caption can name.")
    say(f"A generator that has seen none of them now learns from {DATA_SETTINGS['garden_pictures']:,} pictures and their captions,")
    say(f"for at most {arguments.minutes:g} minutes. Its sketches appear in {arguments.out / 'samples'}.\n")
    from limner.training.run import train

    result = train(recipe(arguments), arguments.out)
    if result.interrupted:
        print(f"limner: stopped and saved in {arguments.out}; limner demo begins anew", file=sys.stderr)
        return 128 + (result.signal or signal.SIGINT)
    code = finish(arguments.out)
    if hint := slow(result.steps, arguments):
        say(hint)
    return code


def slow(steps: int, arguments: DemoArguments) -> str | None:
    """What to say on a machine that was too slow or busy for good pictures, and how long it would take there; None on others."""
    if steps >= 0.7 * USUAL_STEPS:
        return None
    minutes = math.ceil(arguments.minutes * USUAL_STEPS / max(steps, 1))
    told = "1 step" if steps == 1 else f"{steps:,} steps"
    out = "" if arguments.out == DemoArguments().out else f" --out {shlex.quote(str(arguments.out))}"
    return (
        f"\nThis machine took {told} in {arguments.minutes:g} min; two quiet cores take {USUAL_STEPS:,} in three. "
        f"For pictures as good as theirs:\n  limner demo --minutes {minutes}{out}"
    )


def recipe(arguments: DemoArguments) -> Recipe:
    """The cpu preset at 64 px, for as long as the arguments say."""
    preset = from_preset(METHOD, "cpu", DATA, RESOLUTION)
    limits = {"minutes": arguments.minutes, "seed": arguments.seed, "device": "cpu"}
    return dataclasses.replace(
        preset,
        method_settings=laid_over(preset.method_settings, METHOD_SETTINGS, "method"),
        training=laid_over(preset.training, TRAINING_SETTINGS | limits, "training"),
        data_settings=laid_over(preset.data_settings, DATA_SETTINGS, "data"),
    )


def finish(run: Path) -> int:
    """Score the trained model, paint with it, and write the report."""
    from limner.cli.evaluate.painting import score
    from limner.data.catalog import open_data
    from limner.metrics.scoring.evaluate import ScoringRequest
    from limner.metrics.scoring.protocol import write_scores
    from limner.model import load
    from limner.report.page import write_report

    say("\nTrained. Now a judge, which has learned to read real garden pictures, reads what the generator paints:")
    model = load(run)
    splits = [open_data(DATA, split, RESOLUTION, length=4 * SCORED) for split in ("train", "test")]
    scores = score(model, splits, ScoringRequest(metrics=["faithfulness"], count=SCORED, device=model.device))
    write_scores(run / "scores.json", scores)
    tell(scores)
    paint(model, run / "pictures")
    page = write_report(run)
    say(f"\nreport    {page}   (open it in a browser)\npictures  {run / 'pictures'}\nmodel     {run / 'model'}\n")
    say(f'Your turn:\n  limner generate {shlex.quote(str(run))} "a blue flower with six pointed petals at night" -n 4 --out pictures')
    say('  limner generate garden "a blue flower with six pointed petals at night" -n 4 --out pictures    # the shipped model')
    return 0


def tell(scores: Sequence[Score]) -> None:
    """Say in a few lines how often pictures show what captions name."""
    faithful = {score.protocol.split: score.parts for score in scores if score.name == "faithfulness"}
    say(f"\n  {'of what captions name':<24}{'seen':>8}{'never seen':>12}{'chance':>9}")
    for name, part in faithful["train"].items():
        unseen = faithful["test"].get(name)
        chance = f"{part.chance:>9.1%}" if part.chance is not None else ""
        say(f"  {name:<24}{part.value:>8.1%}{f'{unseen.value:>12.1%}' if unseen else '':>12}{chance}")
    say("  (never seen: pairs of petal colour and shape that no training picture had)")


def paint(model: Model, folder: Path) -> None:
    """Pictures for the report: every colour and shape, captions of pairs never seen, and a walk between two captions."""
    from limner.data.garden import ATTRIBUTES, CLASS_NAMES, SPLIT_CLASSES
    from limner.data.pngwords import with_captions
    from limner.data.sheet import caption_grid
    from limner.explore.interpolate import between_captions, save_walk

    folder.mkdir(parents=True, exist_ok=True)
    looks = {
        "1-colours-asked-for": [f"a large {colour} flower with five round petals" for colour in MATRIX_COLOURS],
        "2-shapes-asked-for": [f"a large purple flower with six {shape} petals" for shape in ATTRIBUTES["shape"]],
        "3-pairs-of-colour-and-shape-never-seen-in-training": [
            "a large {} flower with five {} petals".format(*CLASS_NAMES[identity].split(" ", 1)) for identity in SPLIT_CLASSES["test"]
        ],
    }
    for name, captions in looks.items():
        rows = [[*model.pictures([caption] * 5, range(5))] for caption in captions]
        save_whole(caption_grid(rows, captions), folder / f"{name}.png", pnginfo=with_captions(captions))
    save_walk(between_captions(model, *WALK, steps=10), folder / "4-from-a-red-flower-by-day-to-a-white-one-at-night.png")
    save_walk(between_captions(model, *WALK, steps=16), folder / "walk.gif")


def make_room(out: Path) -> None:
    """Remove an earlier demo; refuse a folder that holds anything else. Its lock stays with its owner."""
    check_room(out)
    # The recipe goes last: what is left of a demo by a process that ends here is known by it.
    for path in sorted(out.iterdir(), key=lambda path: path.name == "recipe.yaml") if out.exists() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


def check_room(out: Path) -> None:
    """Raise CheckpointError for a folder, or a file, that is not an earlier demo."""
    if not out.exists() or (out.is_dir() and not any(path.name != LOCK for path in out.iterdir())):
        return
    if not is_demo(out):
        raise CheckpointError(f"{out} holds something that is not a demo: choose another --out, or move it away")


def is_demo(out: Path) -> bool:
    """Whether the run in a folder has the recipe of a demo, of whatever length and seed."""
    try:
        found = load_recipe(out / "recipe.yaml")
    except LimnerError:
        return False
    arguments = DemoArguments(minutes=found.training.minutes or DemoArguments.minutes, seed=found.training.seed)
    return flat_settings(found) == flat_settings(recipe(arguments))


def say(text: str) -> None:
    """A line of the story."""
    print(text, flush=True)
