"""A learning curve: what more pictures have bought, in words and a figure.

It is a study whose entries are one method on shares of one set, and it reads what the runs' validation said of the same held-out pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from xml.sax.saxutils import escape

from limner.core.errors import SettingsError
from limner.core.recipes import trainable
from limner.core.trainable import Trainable
from limner.study.plan import Planned
from limner.study.settings import Budget, Comparison, Evaluation, Study, StudyEntry
from limner.training.checkpoints import Checkpoints
from limner.training.plan import training_pictures

MEASURES = {"likeness": "how like held-out pictures", "recognised": "captions found again in them"}
"""What is shown of a validation, and what it is called; the first decides."""
TELLING = 0.02
"""A difference of the first measure that is called one, by convention: how far two seeds lie apart has not been measured."""


@dataclass(frozen=True)
class Point:
    """What the runs on one share have reached, best validation of each: means over seeds. pictures: it trained on so many."""

    pictures: int
    figures: dict[str, float]


def curve_study(
    method: str, data: str, *, shares: Sequence[float], minutes: float, seeds: Sequence[int], resolution: int, device: str
) -> Study:
    """One entry for each share of the training pictures. Raises SettingsError for a method that does not validate on held-out pairs."""
    made = trainable(method)
    if "small-set" not in made.presets or made.validate_batches is Trainable.validate_batches:
        raise SettingsError(f"{method} does not validate on held-out pairs, so there is nothing to draw a curve of: use limner-gan")
    if len(set(shares)) < 2 or not all(0 < share <= 1 for share in shares):
        raise SettingsError(f"--shares {' '.join(f'{share:g}' for share in shares)}: give two or more, each above 0 and at most 1")
    names = percentages(sorted(set(shares)))
    entries = [StudyEntry(method=method, name=name, settings={"data.share": share}) for share, name in names.items()]
    return Study(
        entries=tuple(entries),
        budget=Budget(minutes=minutes),
        data=(data,),
        seeds=tuple(seeds),
        resolution=resolution,
        preset="small-set",
        device=device,  # type: ignore[arg-type]  # checked by the command line
        evaluation=Evaluation(metrics=("mind",), split="val", count=200),
        comparison=Comparison(count=4),
    )


def percentages(shares: Sequence[float]) -> dict[float, str]:
    """A name for each share, with as many digits as tell all apart: 10%, or 10.1% next to 10.4%."""
    for digits in range(16):
        names = {share: f"{share:.{digits}%}" for share in shares}
        if len({*names.values()}) == len(names):
            break
    return names


def points(runs: Sequence[Planned]) -> list[Point]:
    """The points of the shares of which every run has been validated, fewest pictures first; only those with captions count."""
    found: dict[float, list[dict[str, float] | None]] = {}
    recipes = {run.recipe.data_settings.share: run.recipe for run in runs}
    for run in runs:
        found.setdefault(run.recipe.data_settings.share, []).append(best_validation(run.folder))
    known = {share: [one for one in each if one is not None] for share, each in found.items() if all(each)}
    return [
        Point(
            int((training_pictures(recipes[share]).caption_counts > 0).sum()),
            {name: fmean(one[name] for one in each) for name in MEASURES if all(name in one for one in each)},
        )
        for share, each in sorted(known.items())
    ]


def best_validation(folder: Path) -> dict[str, float] | None:
    """The figures of the evaluation that chose the state which a run keeps, from its log; None where none has chosen one."""
    position = Checkpoints(folder).position()
    if position.get("best") is None:
        return None
    try:
        lines = [json.loads(text) for text in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return None
    for line in lines:
        if line.get("act") == "method" and line["step"] == position["best_step"] and "evaluation/score" in line:
            return {name.partition("/")[2]: float(value) for name, value in line.items() if name.startswith("evaluation/")}
    return None


def answer(found: Sequence[Point]) -> str:
    """How many pictures are needed, as far as these points tell."""
    if len(found) < 2:
        return "There is no answer yet: two shares at least must be trained and validated."
    name = next(iter(MEASURES))
    before, last = found[-2], found[-1]
    gain = last.figures[name] - before.figures[name]
    course = ", ".join(f"{point.figures[name]:.2f} from {point.pictures:,}" for point in found)
    told = f"Likeness to held-out pictures (0 is fog, 1 is real): {course} pictures."
    times = last.pictures / before.pictures
    if gain >= TELLING:
        more = round(last.pictures * times)
        return (
            f"{told} More pictures will help: the last {times:.1f} times as many brought {gain:.2f} more. If that goes on, {more:,} "
            f"pictures reach about {min(last.figures[name] + gain, 1.0):.2f}."
        )
    if gain > -TELLING:
        return (
            f"{told} More pictures of the same kind will bring little: {times:.1f} times as many changed less than {TELLING}. "
            "Train longer, or write captions that say more of what is seen."
        )
    return (
        f"{told} It fell by {-gain:.2f} with {times:.1f} times as many: these minutes are too short for so many pictures, or chance "
        "decided. Give more --minutes, or more --seeds."
    )


def figure(found: Sequence[Point]) -> str:
    """The points as an SVG file: pictures along a logarithmic axis, each measure from 0 to 1."""
    left, top, width, height = 60, 30, 420, 220
    low, high = math.log(found[0].pictures), math.log(found[-1].pictures)

    def across(point: Point) -> float:
        return left + width * ((math.log(point.pictures) - low) / (high - low) if high > low else 0.5)

    def down(value: float) -> float:
        return top + height * (1.0 - min(max(value, 0.0), 1.0))

    drawn = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        drawn.append(f'<line x1="{left}" x2="{left + width}" y1="{down(share):.1f}" y2="{down(share):.1f}" stroke="#ddd"/>')
        drawn.append(f'<text x="{left - 8}" y="{down(share) + 4:.1f}" text-anchor="end">{share:g}</text>')
    for point in found:
        drawn.append(f'<text x="{across(point):.1f}" y="{top + height + 20}" text-anchor="middle">{point.pictures:,}</text>')
    for number, (name, title) in enumerate(MEASURES.items()):
        color, own = ("#2563a8", "#b4552d")[number], [point for point in found if name in point.figures]
        places = [(across(point), down(point.figures[name]), point.figures[name]) for point in own]
        drawn.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)}" fill="none" stroke="{color}"/>')
        for x, y, value in places:
            drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>')
            drawn.append(f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle" fill="{color}">{value:.2f}</text>')
        drawn.append(f'<text x="{left + number * 220}" y="{top + height + 62}" fill="{color}">{escape(title)}</text>')
    drawn.append(f'<text x="{left + width / 2}" y="{top + height + 40}" text-anchor="middle">training pictures</text>')
    body = "\n".join(drawn)
    size = f'width="{left + width + 40}" height="{top + height + 80}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="serif" font-size="13">'
    return f"{opening}\n<title>{escape(answer(found))}</title>\n{body}\n</svg>\n"
