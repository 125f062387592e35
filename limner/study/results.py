"""What a study has found: every number, seed by seed, and means with intervals, as JSON, CSV and a table."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from limner.core.errors import SettingsError
from limner.core.files import write_whole
from limner.core.recipes import plain
from limner.metrics.scoring.protocol import Part, Score, comparable, read_scores
from limner.report.intervals import Estimate, estimates
from limner.study.plan import Planned
from limner.study.settings import Study
from limner.study.state import Course, asked_for, course

FORMAT = 1
COLUMNS = ("data", "entry", "seed", "split", "measure", "value", "low", "high", "runs")


@dataclass(frozen=True)
class Result:
    """What one run gave."""

    run: Planned
    course: Course
    scores: Sequence[Score]
    spent: bool
    """Whether the budget ended its training; else the method's own number of epochs did."""

    def measures(self) -> dict[tuple[str, str], float]:
        """Every number by split and name; those of training have no split, and parts of a score are called "faithfulness/colour"."""
        steps = sum(int(line["step"]) for line in self.course.own())
        training = {"images": self.course.images, "seconds": self.course.seconds, "core_seconds": self.course.core_seconds, "steps": steps}
        return {("", name): value for name, value in training.items()} | {key: one.value for key, one in self.scored().items()}

    def scored(self) -> dict[tuple[str, str], Score | Part]:
        """Every score and every part of one, by split and name."""
        found: dict[tuple[str, str], Score | Part] = {}
        for score in self.scores:
            found[score.protocol.split, score.name] = score
            found |= {(score.protocol.split, f"{score.name}/{name}"): part for name, part in score.parts.items()}
        return found


@dataclass(frozen=True)
class Mean:
    """One measure of one entry, over its seeds."""

    data: str
    entry: str
    split: str
    measure: str
    estimate: Estimate


def read_result(study: Study, run: Planned) -> Result:
    """What a run that is done left on disk."""
    reached = course(run.folder)
    return Result(run, reached, asked_for(read_scores(run.folder / "scores.json"), study.evaluation), reached.spent(study.budget))


def check_alike(results: Sequence[Result]) -> None:
    """Raise SettingsError where two runs on one data set were scored under unlike protocols: nothing may stand side by side then."""
    first: dict[tuple[str, str, str], tuple[Result, Score]] = {}
    for result in results:
        for score in result.scores:
            other, theirs = first.setdefault((result.run.recipe.data, score.protocol.split, score.name), (result, score))
            reason = comparable(theirs, score)
            if reason:
                raise SettingsError(
                    f"{score.name} of {other.run.folder} and {result.run.folder} cannot stand side by side: {reason}; "
                    "remove the scores.json of the older one and go on, or choose another --out where the data has changed"
                )


def means(results: Sequence[Result]) -> list[Mean]:
    """Means over the seeds of each entry, with 95 % intervals by the spread of all; a number that is not finite makes the mean so."""
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    errors: dict[tuple[str, str, str], dict[str, list[float | None]]] = {}
    shares: set[tuple[str, str, str]] = set()
    for result in results:
        data, title, scored = result.run.recipe.data, result.run.entry.title, result.scored()
        for (split, measure), value in result.measures().items():
            key, one = (data, split, measure), scored.get((split, measure))
            values.setdefault(key, {}).setdefault(title, []).append(value)
            errors.setdefault(key, {}).setdefault(title, []).append(one.error if one else None)
            if one and one.chance is not None:
                shares.add(key)
    found: dict[tuple[str, str, str, str], Estimate] = {}
    for key, groups in values.items():
        share = key in shares
        estimated = estimates([*groups.values()], [*errors[key].values()] if share else None, relative=not share)
        found |= {(key[0], title, *key[1:]): one for title, one in zip(groups, estimated, strict=True) if one}
    entries = dict.fromkeys((result.run.recipe.data, result.run.entry.title) for result in results)
    return [Mean(*key, one) for entry in entries for key, one in found.items() if key[:2] == entry]


def write_results(study: Study, runs: Sequence[Planned], results: Sequence[Result], out: Path) -> str:
    """Write results.json, results.csv and results.md into the study's folder; returns the table."""
    found = means(results)
    done = {result.run.name for result in results}
    content = {
        "format": FORMAT,
        "study": plain(dataclasses.asdict(study)),
        "missing": [run.name for run in runs if run.name not in done],
        "runs": [_told(result, out) for result in results],
        "means": [_mean_told(mean) for mean in found],
    }
    write_whole(out / "results.json", json.dumps(content, indent=1) + "\n")
    write_whole(out / "results.csv", _lines(results, found))
    table = _tables(study, results, found)
    write_whole(out / "results.md", table)
    return table


def _told(result: Result, out: Path) -> dict[str, Any]:
    run, reached = result.run, result.course
    phases = {phase: {key: line[key] for key in ("step", "images", "seconds")} for phase, line in reached.named().items()}
    return {
        "data": run.recipe.data,
        "entry": run.entry.title,
        "method": run.entry.method,
        "seed": run.seed,
        "folder": run.folder.relative_to(out).as_posix(),
        "images": reached.images,
        "seconds": reached.seconds,
        "core_seconds": reached.core_seconds,
        "phases": phases,
        "ended by": "the budget" if result.spent else "the method's own number of epochs",
        "scores": msgspec.to_builtins(result.scores),
    }


def _mean_told(mean: Mean) -> dict[str, Any]:
    low, high = mean.estimate.bounds or (None, None)
    told = {"data": mean.data, "entry": mean.entry, "split": mean.split or None, "measure": mean.measure}
    return told | {"mean": mean.estimate.mean, "low": low, "high": high, "runs": mean.estimate.runs}


def _lines(results: Iterable[Result], found: Iterable[Mean]) -> str:
    """A line for each number of each run, then for each mean, whose seed is called "mean"."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        run = result.run
        for (split, measure), value in result.measures().items():
            writer.writerow([run.recipe.data, run.entry.title, run.seed, split, measure, value, "", "", 1])
    for mean in found:
        bounds = mean.estimate.bounds or ("", "")
        writer.writerow([mean.data, mean.entry, "mean", mean.split, mean.measure, mean.estimate.mean, *bounds, mean.estimate.runs])
    return text.getvalue()


def _tables(study: Study, results: Sequence[Result], found: Sequence[Mean]) -> str:
    """A table for each data set and split, the best by its first score first."""
    tables, scored = [], {score.name for result in results for score in result.scores}
    for data in study.data:
        for split in dict.fromkeys(mean.split for mean in found if mean.data == data and mean.split):
            own = {(mean.entry, mean.measure): mean.estimate for mean in found if mean.data == data and mean.split in ("", split)}
            first = next(score for result in results for score in result.scores if score.protocol.split == split)
            parts = {f"{first.name}/{name}" for name in first.parts}  # of the first score alone: a table must fit on a page
            measures = [name for name in dict.fromkeys(measure for _, measure in own) if name in parts or name in scored]
            entries = list(dict.fromkeys(entry for entry, _ in own))
            sign = -1.0 if first.higher_is_better else 1.0
            entries.sort(key=lambda entry: sign * own[entry, first.name].mean if (entry, first.name) in own else math.inf)
            titles = [f"{data}/{split}", "runs", "images", "minutes", "core minutes", *(name.rpartition("/")[2] for name in measures)]
            rows = [titles, ["---"] + ["---:"] * (len(titles) - 1)]
            for entry in entries:
                cells = [
                    entry,
                    str(own[entry, "images"].runs),
                    f"{own[entry, 'images'].mean:,.0f}",
                    _minutes(own[entry, "seconds"].mean),
                    _minutes(own[entry, "core_seconds"].mean),
                ]
                rows.append(cells + [_shown(own.get((entry, name))) for name in measures])
            tables.append("".join(f"| {' | '.join(map(_cell, row))} |\n" for row in rows))
    return "\n".join(tables)


def _cell(text: str) -> str:
    """Text as a cell of a table in Markdown."""
    return text.replace("|", r"\|")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if seconds >= 60 else f"{seconds / 60:.2g}"


def _shown(value: Estimate | None) -> str:
    """A mean with half its interval, in as many digits as tell."""
    if value is None:
        return ""
    digits = 1 if abs(value.mean) >= 10 else 3
    return f"{value.mean:.{digits}f}" + ("" if value.margin is None else f" ± {value.margin:.{digits}f}")
