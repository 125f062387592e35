"""`report.html`: a run on one self-contained page: pictures, curves, scores, settings, and what to do next."""

from __future__ import annotations

import dataclasses
import io
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from limner.core.abilities import abilities_of
from limner.core.errors import CheckpointError, DataError
from limner.core.files import write_whole
from limner.core.recipes import GROUPS, load_recipe, trainable
from limner.core.settings import Recipe
from limner.core.worlds import WORLDS
from limner.data.cache import read_card
from limner.data.pngwords import captions_in
from limner.metrics.scoring.protocol import read_scores
from limner.report.curves import charts, read_log
from limner.report.html import commands, document, duration, embedded, header, scrolling, text
from limner.report.phases import of_the_method, passed, when
from limner.report.scores import score_table
from limner.report.strips import TITLES, kept_strips
from limner.training.grids import grid_moment, grids_of
from limner.training.health import CAPTIONS, NOISES, CollapseWatch, OutburstWatch, too_short

COURSE = 5
"""How many earlier grids show the course of training."""


def write_report(run: Path | str) -> Path:
    """Write `report.html` from what a run folder holds, and return its path. What is not there yet is left out.

    Pictures in `RUN/pictures/` are shown under their file names. Raises CheckpointError for a folder that is not a run.
    """
    run = Path(run)
    if not (run / "recipe.yaml").is_file():
        raise CheckpointError(f"{run} is not a run folder (no recipe.yaml): give one that `limner train` wrote")
    recipe = load_recipe(run / "recipe.yaml")
    log = read_log(run / "log.jsonl")
    title = f"{recipe.method} on {Path(recipe.data).name}"
    sections = [
        _header(title, recipe, log),
        _pictures(run, log),
        _gallery(run),
        _curves(log),
        _health(log, paints=_paints(recipe)),
        _strips(run),
        score_table(read_scores(run / "scores.json")),
        _next(run, recipe),
        _settings(recipe),
    ]
    write_whole(run / "report.html", document(title, sections))
    return run / "report.html"


def _paints(recipe: Recipe) -> bool:
    return "paints" in abilities_of(trainable(recipe.method))


def _header(title: str, recipe: Recipe, log: Sequence[Mapping[str, Any]]) -> str:
    made = trainable(recipe.method)
    facts = {"pixels": str(recipe.resolution), "preset": recipe.preset, "seed": str(recipe.training.seed)}
    phases = passed(log)
    if len(phases) == 1:
        (only,) = phases
        facts |= {"steps": f"{only.steps:,}", "pictures seen": f"{only.images:,}", "of training": duration(only.seconds)}
        speeds = [line["images_per_second"] for line in log if "images_per_second" in line]
        if speeds:
            facts["pictures a second"] = f"{speeds[-1]:,.0f}" if speeds[-1] >= 10 else f"{speeds[-1]:.2g}"
    for phase in phases if len(phases) > 1 else ():
        facts[f"{phase.name}: {phase.images:,} pictures seen in {duration(phase.seconds)}"] = f"{phase.steps:,} steps"
    return header(title, made.paper, facts)


def _pictures(run: Path, log: Sequence[Mapping[str, Any]]) -> str:
    grids = grids_of(run)
    if not grids:
        return ""
    *earlier, newest = grids
    drawn = _image(newest, f"What was painted of each caption after {_when(log, newest)}")
    kind = "" if captions_in(newest) else " whole-size"  # the only captions are those in the picture
    parts = [
        f'<h2>What it paints</h2><figure class="card grid-picture{kind}">{drawn}'
        f"<figcaption>after {text(_when(log, newest))}: a row for each caption, a column for each noise</figcaption>"
        f"{_rows(newest)}</figure>"
    ]
    if earlier:
        shown = [(path, _when(log, path)) for path in _spread(earlier, COURSE)]
        stages = "".join(
            f"<figure>{_image(path, f'The same after {place}', widest=420)}<figcaption>{text(place)}</figcaption></figure>"
            for path, place in shown
        )
        parts.append(f'<h2>How it got there</h2><div class="card course">{stages}</div>')
    return "".join(parts) + "\n"


def _rows(path: Path) -> str:
    """The captions of a picture's rows as text, for screens on which those in the picture are too small to read."""
    listed = "".join(f"<li>{text(caption)}</li>" for caption in captions_in(path))
    return f'<div class="small-screens"><p>The rows, from the top:</p><ol>{listed}</ol></div>' if listed else ""


def _gallery(run: Path) -> str:
    """Further pictures that were painted with the run's model."""
    paths = sorted((run / "pictures").glob("*.png"))
    figures = "".join(
        f'<figure class="card"><h3>{text(_title(path))}</h3>{_image(path, _title(path))}{_rows(path)}</figure>' for path in paths
    )
    return f'<h2>Closer looks</h2><div class="gallery">{figures}</div>\n' if paths else ""


def _curves(log: Sequence[Mapping[str, Any]]) -> str:
    drawn = "".join(f'<figure class="card"><h3>{text(title)}</h3>{svg}</figure>' for title, svg in charts(log) if svg)
    if not drawn:
        return ""
    return (
        '<h2>How training went</h2><p class="faint">Healthy adversarial training keeps both losses in motion. D(...) is how real and well '
        "described the discriminator finds true pairs, generated pictures and wrong pairs (a probability, "
        "or a score without bounds where the objective has it so): D(fake) stuck at 0, or D(real) and D(fake) "
        "meeting, wants a look. Diversity is how much pictures of one caption differ under different noises, and those of different "
        "captions under one noise, as shares of how much real pictures do; near 0, the generator has collapsed. "
        "Gradient norms should stay within a factor of ten or so.</p>"
        f'<div class="charts">{drawn}</div>\n'
    )


def _health(log: Sequence[Mapping[str, Any]], paints: bool) -> str:
    """What the log says of the run's health: how much the newest pictures differ, all that was warned of, and whether it says enough."""
    grids = [line for line in log if NOISES in line and CAPTIONS in line]
    watch = CollapseWatch()
    warned = [(line["step"], watch.judge(line, line["step"])) for line in grids]
    lines = [f"Step {step:,}: {warning}." for step, warning in warned if warning]
    outbursts = OutburstWatch()
    burst = [(line["step"], outbursts.judge(line["phase"], line)) for line in log]
    lines += [f"Step {step:,}: {warning}." for step, warning in burst if warning]
    unfinished = dict.fromkeys(name for line in log for name, value in line.items() if value is None)
    if unfinished:
        lines.append(f"Not finite at times: {', '.join(unfinished)}.")
    left_out = dict.fromkeys(name.rpartition("/")[0] for line in log for name, value in line.items() if name.endswith("/skipped") and value)
    lines += [f"Updates of the {player} were left out: loss or gradient not finite." for player in left_out]
    own = passed(of_the_method(log))
    short = too_short(own[-1].steps, own[-1].epochs) if paints and own else None
    if not grids and not lines and not short:
        return ""
    shown = "".join(f"<li>{text(line)}</li>" for line in lines)
    state = f'<ul class="warned">{shown}</ul>' if shown else ""
    if short:
        state += f'<p class="note" role="note">{text(short)}.</p>'
    elif not shown:
        state = "<p>Nothing in the log speaks of a collapse or of numbers that are not finite.</p>"
    newest = ""
    if grids:
        noises, captions = grids[-1][NOISES], grids[-1][CAPTIONS]
        newest = (
            f"<p>At step {grids[-1]['step']:,} pictures of one caption differed {noises:.2f} times as much as real pictures do, "
            f"and those of different captions {captions:.2f} times.</p>"
        )
    return f"<h2>Its health</h2>{newest}{state}\n"


def _strips(run: Path) -> str:
    parts = []
    for strip in kept_strips(run):
        painted = f"after {strip.steps:,} steps; more of them: limner explore {strip.name} {shlex.quote(str(run))} --out {strip.name}.png"
        drawn = scrolling(TITLES[strip.name], _image(strip.path, strip.words), "card strip")
        words = f'<p class="small-screens">{text(strip.words)}</p>' if strip.words else ""
        parts.append(f"<h2>{TITLES[strip.name]}</h2><figure>{drawn}<figcaption>{text(painted)}</figcaption>{words}</figure>")
    return "".join(parts) + "\n" if parts else ""


def _passes(recipe: Recipe) -> int:
    """A hundred epochs, in passes over the pictures: a small set's epochs count as those of a larger one."""
    try:
        own = read_card(Path(recipe.data)).splits.get("train", 0)
    except DataError:  # a built-in set, or one that has gone
        own = 0
    return math.ceil(100 * max(recipe.training.epoch_pictures, own) / own) if own and _paints(recipe) else 100


def _next(run: Path, recipe: Recipe) -> str:
    name, data = shlex.quote(str(run)), shlex.quote(recipe.data)
    longer = (
        "Train longer, from where it stands:",
        f"limner train {recipe.method} --data {data} --out {name} --resume --training.minutes 60 --training.epochs {_passes(recipe)}",
    )
    if not _paints(recipe):
        steps = [
            ("Score it on classes and pictures never trained on:", f"limner evaluate {name}"),
            ("Let a generator read through its text encoder:", f"limner train gan-cls --data {data} --text.encoder {name} --out RUN"),
        ]
        return _todo([*steps, longer])
    reads = trainable(recipe.method).reads_text(recipe.method_settings)
    captions = WORLDS[recipe.data].examples if recipe.data in WORLDS else ("A CAPTION", "ANOTHER CAPTION")
    quoted = [shlex.quote(caption) for caption in captions]
    steps = [("Paint more pictures:", f"limner generate {name} -n 16 --out pictures")]
    if reads:
        steps = [
            ("Paint captions of your own:", f"limner generate {name} {quoted[0]} -n 4 --out pictures"),
            ("Walk between two captions:", f"limner explore interpolate {name} --captions {quoted[0]} {quoted[1]} --out walk.gif"),
        ]
    steps += [
        ("Score it, with the protocol next to each number:", f"limner evaluate {name} --count 2000"),
        longer,
        (
            f"Do the same with a folder of your own pictures{' and captions' if reads else ''}:",
            f"limner data prepare my-pictures --out prepared/mine --resolution 64{'' if reads else ' --uncaptioned'}\n"
            f"limner train {shlex.quote(str(run / 'recipe.yaml'))} --data prepared/mine --out runs/mine",
        ),
    ]
    return _todo(steps)


def _todo(steps: Sequence[tuple[str, str]]) -> str:
    return f"<h2>What to do next</h2>{commands(steps)}\n"


def _settings(recipe: Recipe) -> str:
    parts = []
    for group, name in GROUPS.items():
        values = dataclasses.asdict(getattr(recipe, group))
        rows = "".join(f"<div><span>{text(key.replace('_', '-'))}</span>{text(_value(value))}</div>" for key, value in values.items())
        parts.append(f'<details><summary>{text(name)}</summary><div class="settings">{rows}</div></details>')
    return f'<h2>Settings</h2>{"".join(parts)}<p class="faint">All of them are in recipe.yaml.</p>\n'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "-" if value is None else str(value)


def _image(path: Path, alt: str, widest: int | None = None) -> str:
    """A picture file inside the page; a wide one is made smaller where `widest` says so."""
    with Image.open(path) as picture:
        if widest is None:
            return embedded(path.read_bytes(), "png", alt, picture.size)
        small = picture.convert("RGB")
    small.thumbnail((widest, 10 * widest))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=88)
    return embedded(stream.getvalue(), "jpeg", alt, small.size)


def _spread(paths: Sequence[Path], count: int) -> Iterator[Path]:
    """At most `count` of the paths, the first and the last among them, denser at the start, where pictures change fastest."""
    places = {round((len(paths) - 1) * (number / max(count - 1, 1)) ** 1.6) for number in range(count)}
    return (paths[place] for place in sorted(places))


def _title(path: Path) -> str:
    """`1-held-out-captions.png` -> Held out captions; a leading number only orders."""
    return path.stem.lstrip("0123456789-").replace("-", " ").capitalize()


def _when(log: Sequence[Mapping[str, Any]], path: Path) -> str:
    """When a grid was painted: its phase and step. Files of earlier versions are named after the steps of the whole run."""
    return when(log, int(path.stem)) if path.stem.isdigit() else grid_moment(path)
