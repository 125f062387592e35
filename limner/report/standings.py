"""Scores side by side: one table for what was scored under one protocol, and no ranking across."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from limner.metrics.scoring.protocol import Part, Protocol, Score, comparable, differences
from limner.report.entries import ComparedEntry
from limner.report.intervals import Estimate, estimates

NEVER_RANKED = {
    "is": "it never looks at a real picture, and likes a generator that was trained against its network",
    "diversity": "pictures of nothing are diverse too: read it along with faithfulness, where 1 is how much real pictures differ",
}
"""Metrics that choose no best, and why."""


@dataclass(frozen=True)
class Column:
    """One metric under one protocol."""

    score: Score
    """One of them, which has the protocol of all."""
    cells: Sequence[Estimate | None]
    """For each entry the mean over those of its runs that were scored so."""
    parts: Mapping[str, Sequence[Estimate | None]]
    """The same for each component, such as an attribute."""

    @property
    def best(self) -> int | None:
        """The place of the entry with the best mean; None where fewer than two were scored, and for what is never ranked."""
        means = {place: cell.mean for place, cell in enumerate(self.cells) if cell is not None and math.isfinite(cell.mean)}
        if len(means) < 2 or self.score.name in NEVER_RANKED:
            return None
        return (max if self.score.higher_is_better else min)(means, key=means.__getitem__)

    def as_good(self, place: int) -> bool:
        """Whether the interval of an entry that is not the best shares a value with the best one's."""
        best, cell = self.best, self.cells[place]
        if best is None or place == best or cell is None:
            return False
        winner = self.cells[best]
        return winner is not None and bool(cell.overlaps(winner))


@dataclass(frozen=True)
class Standing:
    """A table: entries that were scored on the same pictures of the same split, in the same number."""

    protocol: Protocol
    columns: Sequence[Column]
    elsewhere: dict[int, str]
    """Entries without any score here, by place, and in what theirs differ; an empty text where they have none at all."""

    @property
    def order(self) -> list[int]:
        """The places of the entries scored here, by the first metric that ranks; in the order given where none does."""
        places = [place for place in range(len(self.columns[0].cells)) if place not in self.elsewhere]
        column = next((column for column in self.columns if column.best is not None), None)
        if column is None:
            return places
        means = {place: cell.mean for place, cell in enumerate(column.cells) if cell is not None and math.isfinite(cell.mean)}
        ranked = sorted(means, key=means.__getitem__, reverse=column.score.higher_is_better)
        return [*ranked, *(place for place in places if place not in means)]


def standings(entries: Sequence[ComparedEntry]) -> list[Standing]:
    """All tables, that of the most entries first. Scores stand in one column only where `comparable` finds no difference."""
    every = [score for entry in entries for run in entry.runs for score in run.scores]
    groups: list[list[Score]] = []  # of equal protocols
    for score in every:
        home = next((group for group in groups if comparable(group[0], score) is None), None)
        groups.append([score]) if home is None else home.append(score)
    tables: dict[str, tuple[Protocol, list[Column]]] = {}
    for group in groups:
        frame = _frame(group[0].protocol)
        tables.setdefault(repr(frame), (frame, []))[1].append(_column(entries, group[0]))
    found = [Standing(frame, columns, _elsewhere(entries, frame, columns)) for frame, columns in tables.values()]
    return sorted(found, key=lambda standing: len(standing.elsewhere))


def _frame(protocol: Protocol) -> Protocol:
    """What the scores of one evaluation share: the metrics' own fields are emptied."""
    return dataclasses.replace(
        protocol, metric="", implementation="", features=None, features_hash=None, resize=None, settings={}, version=""
    )


def _column(entries: Sequence[ComparedEntry], model: Score) -> Column:
    own = [[score for run in entry.runs for score in run.scores if comparable(model, score) is None] for entry in entries]
    names = dict.fromkeys(name for scores in own for score in scores for name in score.parts)
    parts = {name: _estimates([[score.parts[name] for score in scores if name in score.parts] for scores in own]) for name in names}
    return Column(model, _estimates(own), parts)


def _estimates(found: Sequence[Sequence[Score | Part]]) -> list[Estimate | None]:
    """For each entry the mean over its runs. Shares know the error over captions as well; other scores spread by their size."""
    share = any(one.chance is not None for scores in found for one in scores)
    errors = [[one.error for one in scores] for scores in found] if share else None
    return estimates([[one.value for one in scores] for scores in found], errors, relative=not share)


def _elsewhere(entries: Sequence[ComparedEntry], frame: Protocol, columns: Sequence[Column]) -> dict[int, str]:
    missing = {}
    for place, entry in enumerate(entries):
        if any(column.cells[place] is not None for column in columns):
            continue
        theirs = [_frame(score.protocol) for run in entry.runs for score in run.scores]
        reasons = ["; ".join(differences(frame, other)) for other in theirs]
        missing[place] = min(reasons, key=len) if reasons else ""
    return missing
