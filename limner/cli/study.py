"""`limner study`: methods trained under one budget, scored under one protocol, compared on one page."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import FlagCreatePairsOff, Positional, arg

from limner.cli.arguments import parse
from limner.cli.outputs import check_folder
from limner.core.errors import SettingsError, unknown_name

if TYPE_CHECKING:
    from limner.study.plan import Planned
    from limner.study.results import Result
    from limner.study.settings import Study

DESCRIPTION = """Train, score and compare a list of methods on the same data, from the same seeds, within the same budget.

Each run is a process of its own, several at once where the machine has the room. Whatever stops a study, the same command goes on with it.
What is trained and scored already is left as it is.

  OUT/runs/DATA/ENTRY-seedN/   the run folders
  OUT/logs/                    what their processes said
  OUT/results.json, .csv, .md  every number seed by seed, and means with intervals
  OUT/compare/DATA/            the page, compare.html, and compare.png

examples:
  limner study --example > study.yaml
  limner study study.yaml --out runs/study --dry-run
  limner study study.yaml --out runs/study"""


@dataclass(frozen=True, kw_only=True)
class StudyArguments:
    study: Annotated[Positional[Path | None], arg(metavar="STUDY.yaml")] = None
    """What is compared, and how."""
    out: Annotated[Path | None, arg(metavar="DIR")] = None
    """Folder for the study, new or begun."""
    only: Annotated[tuple[str, ...], arg(metavar="ENTRY")] = ()
    """Make the runs of these entries alone; the page shows all that are done."""
    dry_run: Annotated[bool, FlagCreatePairsOff] = False
    """Say what would be done, and how long it may take; nothing is trained or written."""
    example: Annotated[bool, FlagCreatePairsOff] = False
    """Print a study.yaml to begin with."""


def main(argv: Sequence[str]) -> int:
    from limner.study.settings import EXAMPLE, read_study

    arguments = parse(StudyArguments, argv, prog="limner study", description=DESCRIPTION)
    if arguments.example:
        print(EXAMPLE, end="")
        return 0
    if arguments.study is None or arguments.out is None:
        raise SettingsError("limner study needs STUDY.yaml and --out DIR: begin with limner study --example > study.yaml")
    if not arguments.dry_run:
        check_folder(arguments.out)
    study = read_study(arguments.study)
    again = shlex.join(["limner", "study", str(arguments.study), "--out", str(arguments.out)])
    return dry_run(study, arguments) if arguments.dry_run else carry_out(study, arguments, again)


def carry_out(study: Study, arguments: StudyArguments, again: str) -> int:
    """Make what is not made yet, write results and pages, and say what is missing. Returns the exit code."""
    from limner.study.board import Board
    from limner.study.checks import check_runs
    from limner.study.plan import RECORD, check_folder, plan
    from limner.study.processes import alone_in, make
    from limner.study.settings import write_study
    from limner.study.state import standing

    out = arguments.out
    assert out is not None
    runs = plan(study, out)
    wanted = _wanted(study, runs, arguments.only)
    check_folder(study, runs, out)
    check_runs(study, wanted)
    with alone_in(out):
        remarks = check_folder(study, runs, out)  # as it is now that nobody else changes it
        study = settled(study, runs, out)
        write_study(study, out / RECORD)
        done = sum(standing(run, study.evaluation) == "done" for run in runs)
        with Board(len(runs), done, study.budget, int(study.together)) as board:
            board.say(f"{_summary(study, runs)}; {study.together} at once, {_count(int(study.threads), 'thread')} each; {done} done")
            for remark in remarks:
                board.say(remark)
            outcome = make(study, wanted, board)
        if outcome.signal is not None:
            print(f"limner: stopped and saved; go on with: {again}", file=sys.stderr)
            return 128 + outcome.signal
        write_up(study, runs, out, again)
    for name, log in outcome.failed.items():
        print(f"limner: {name} failed: see {log}", file=sys.stderr)
    if outcome.failed:
        print(f"limner: {_count(len(outcome.failed), 'run')} failed; once that is fixed, go on with: {again}", file=sys.stderr)
    return 1 if outcome.failed else 0


def write_up(study: Study, runs: Sequence[Planned], out: Path, again: str) -> None:
    """Write results and a page for each data set from all runs that are done."""
    from limner.report.compare import write_comparison
    from limner.study.plan import slug
    from limner.study.processes import graphics_cards
    from limner.study.results import check_alike, read_result, write_results
    from limner.study.state import standing

    results = [read_result(study, run) for run in runs if standing(run, study.evaluation) == "done"]
    check_alike(results)
    table = write_results(study, runs, results, out)
    if results:
        print(table)
    _say_what_fell_short(results, study)
    print(f"results {out / 'results.json'}, .csv and .md")
    for data in study.data:
        own = [result.run for result in results if result.run.recipe.data == data]
        missing = [run.name for run in runs if run.recipe.data == data and run not in own]
        if len(own) < 2:
            print(f"page    none yet for {data}: it wants two runs that are done")
            continue
        page = write_comparison(
            [run.folder for run in own],
            out / "compare" / slug(data),
            captions=study.comparison.captions,
            seed=study.comparison.seed,
            count=study.comparison.count,
            entries={run.folder: run.entry.title for run in own},
            device="cuda" if graphics_cards(study.device) else "cpu",
            resume_note=f"Not done yet: {'; '.join(missing)}. To go on: {again}" if missing else None,
        )
        print(f"page    {page}")


def dry_run(study: Study, arguments: StudyArguments) -> int:
    """List the runs, where each stands, and how long the rest may take."""
    from limner.study.board import duration
    from limner.study.checks import check_runs
    from limner.study.plan import check_folder, plan
    from limner.study.state import course, standing

    out = arguments.out
    assert out is not None
    runs = plan(study, out)
    wanted = _wanted(study, runs, arguments.only)
    remarks = check_folder(study, runs, out)
    check_runs(study, wanted)
    study = settled(study, runs, out)
    print(f"{_summary(study, runs)}; {study.together} at once, {_count(int(study.threads), 'thread')} each")
    total, unknown = 0.0, 0
    width = max(len(run.name) for run in wanted)
    for run in wanted:
        state, reached = standing(run, study.evaluation), course(run.folder)
        left = 0.0
        if state in ("train", "go on"):
            known = reached.left(study.budget)  # by minutes; by images, once a line of the log tells the speed
            unknown += known is None
            left = known or 0.0
        total += left
        doing = {"train": "to train", "go on": f"to go on after {reached.images:,} images", "score": "to score", "done": "done"}[state]
        print(f"  {run.name:<{width}}  {doing}" + (f", about {duration(left)}" if left else ""))
    for remark in remarks:
        print(remark)
    time = f"about {duration(total / int(study.together))} of training" if total or not unknown else ""
    if unknown:
        guess = f"the time of {_count(unknown, 'run')} is not known before the first line of a log: the budget is in images"
        time = f"{time}, and {guess}" if time else guess
    print(f"{time}; starting, grids and scores come on top")
    return 0


def settled(study: Study, runs: Sequence[Planned], out: Path) -> Study:
    """The study with `auto` replaced: by what it was begun with, so that it goes on like that, else by what this machine has room for."""
    from limner.study.plan import RECORD
    from limner.study.processes import graphics_cards, room
    from limner.study.settings import read_study

    before = read_study(out / RECORD) if (out / RECORD).is_file() else study
    together = before.together if study.together == "auto" else study.together
    threads = before.threads if study.threads == "auto" else study.threads
    if together == "auto" or threads == "auto":
        most, each = room(len(runs) if together == "auto" else together, None if threads == "auto" else threads)
        cards = graphics_cards(study.device)
        if together == "auto":
            together = max(1, min(len(runs), len(cards))) if cards else most
        threads = each if threads == "auto" else threads
    return dataclasses.replace(study, together=together, threads=threads)


def _wanted(study: Study, runs: Sequence[Planned], only: Sequence[str]) -> list[Planned]:
    titles = [entry.title for entry in study.entries]
    for name in only:
        if name not in titles:
            raise unknown_name("entry of the study", name, titles)
    return [run for run in runs if not only or run.entry.title in only]


def _say_what_fell_short(results: Sequence[Result], study: Study) -> None:
    for result in results:
        if not result.spent:
            print(
                f"note    {result.run.name} ended by its method's own number of epochs, or by validation, after {result.course.images:,} "
                f"images and before its budget of {study.budget}: to compare at equal budgets, raise training.epochs"
            )


def _summary(study: Study, runs: Sequence[Planned]) -> str:
    numbers = [_count(len(study.entries), "entry"), _count(len(study.data), "data set"), _count(len(study.seeds), "seed")]
    return f"{' x '.join(numbers)}: {_count(len(runs), 'run')} of {study.budget}"


def _count(number: int, word: str) -> str:
    plural = word[:-1] + "ies" if word.endswith("y") else word + "s"
    return f"{number} {word if number == 1 else plural}"
