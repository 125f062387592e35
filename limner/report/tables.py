"""The tables of a comparison: scores under one protocol at a time, and what each entry cost."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence

from limner.metrics.scoring.protocol import Score
from limner.metrics.scoring.registry import metric_of, network_of
from limner.report.cost import COUNTS, Cost
from limner.report.entries import ComparedEntry
from limner.report.html import caption, commands, duration, scrolling, text
from limner.report.intervals import Estimate, estimate
from limner.report.standings import NEVER_RANKED, Column, Standing, standings


def score_tables(entries: Sequence[ComparedEntry]) -> str:
    """All scores as tables, one for each way in which they were taken, then every protocol in full."""
    found = standings(entries)
    parts = ["<h2>Scores</h2>"]
    if found:
        parts.append(
            f'<p>{_spread(entries)} <b class="best">Best</b> marks the best mean of a column; <b class="near">≈</b> marks those whose '
            "interval reaches the best one's, so that these runs do not tell them apart.</p>"
        )
    if len(found) > 1:
        parts.append(
            "<p>The scores were taken in different ways, and stand in a table for each: a rank across tables would say nothing.</p>"
        )
    parts += [_standing(entries, standing, number, len(found)) for number, standing in enumerate(found, start=1)]
    unscored = [run for entry in entries for run in entry.runs if run.keeps_scores and not run.scores]
    if unscored:
        asked = _options(found[0]) if found else ""
        lines = "\n".join(f"limner evaluate {shlex.quote(str(run.path))}{asked}" for run in unscored)
        parts.append(commands([("Without scores so far. To take them, and then compare again:", lines)]))
    return "".join(parts) + "\n"


def _spread(entries: Sequence[ComparedEntry]) -> str:
    counts = {len(entry.runs) for entry in entries}
    if counts == {1}:
        return "Each entry is one run from one seed, so nothing here says how much chance had its hand in it: there are no intervals."
    return (
        "A score is the mean over an entry's seeds ± half of its 95 % confidence interval, by Student's t with the spread over seeds that "
        "all entries have together; in shares of captions, the choice of captions is counted too."
    )


def _standing(entries: Sequence[ComparedEntry], standing: Standing, number: int, of: int) -> str:
    protocol = standing.protocol
    label = f"Table {number}: " if of > 1 else ""
    words = (
        f"{label}{protocol.count:,} pictures of {protocol.resolution} px from {protocol.captions} of {protocol.data}/{protocol.split}, "
        f"against {protocol.reference_count:,} real ones; seed {protocol.seed}"
    )
    parts = [scrolling(f"Scores, {words}", _whole(entries, standing, words))]
    for column in standing.columns:
        if column.parts:
            by_part = scrolling(f"{column.score.name} by part", _by_part(entries, standing, column))
            told = column.score.chance is not None  # shares say something by themselves, other parts explain their whole
            parts.append(by_part if told else f"<details><summary>{text(column.score.name)}, part by part</summary>{by_part}</details>")
    parts += [_absent(entries, standing)]
    notes = dict.fromkeys(f"{column.score.name}: {note}" for column in standing.columns for note in column.score.notes)
    names = [column.score.name for column in standing.columns]
    notes |= dict.fromkeys(f"{name} is not ranked: {reason}" for name, reason in NEVER_RANKED.items() if name in names)
    listed = "".join(f"<li>{text(line)}</li>" for line in [*(column.score.protocol.line() for column in standing.columns), *notes])
    parts.append(f'<h3>Protocols</h3><ul class="protocols">{listed}</ul>')
    return "".join(parts)


def _whole(entries: Sequence[ComparedEntry], standing: Standing, words: str) -> str:
    titles = [f"{text(_title(column.score))}<br><small>{_arrow(column.score)}</small>" for column in standing.columns]
    rows = "".join(
        _row(entries[place].name, [_cell(column, place, entries[place]) for column in standing.columns]) for place in standing.order
    )
    return _table(words, titles, rows + _references(standing))


def _table(words: str, titles: Sequence[str], rows: str) -> str:
    """titles: HTML of the columns after the first, which names the entries."""
    heads = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return f'<table class="named">{caption(words)}<thead><tr><th scope="col">Entry</th>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _row(name: str, cells: Sequence[str], kind: str = "") -> str:
    return f'<tr{f" class={kind}" if kind else ""}><th scope="row">{text(name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _references(standing: Standing) -> str:
    """What real pictures score, and what chance gives."""
    scores = [column.score for column in standing.columns]
    rows = {"real pictures": [score.real for score in scores], "chance": [score.chance for score in scores]}
    return "".join(
        _row(name, [_number(score, value) for score, value in zip(scores, values, strict=True)], "reference")
        for name, values in rows.items()
        if any(value is not None for value in values)
    )


def _by_part(entries: Sequence[ComparedEntry], standing: Standing, column: Column) -> str:
    score = column.score
    rows = "".join(_row(entries[place].name, [_estimate(score, part[place]) for part in column.parts.values()]) for place in standing.order)
    for name, values in (
        ("real pictures", [part.real for part in score.parts.values()]),
        ("chance", [part.chance for part in score.parts.values()]),
    ):
        if any(value is not None for value in values):
            rows += _row(name, [_number(score, value) for value in values], "reference")
    return _table(f"{_title(score)}, part by part", [text(name) for name in column.parts], rows)


def _absent(entries: Sequence[ComparedEntry], standing: Standing) -> str:
    lines = [
        f"{entries[place].name}: {f'scored under another protocol ({reason})' if reason else 'no scores'}"
        for place, reason in standing.elsewhere.items()
    ]
    return f'<p class="faint">Not in this table: {text("; ".join(lines))}.</p>' if lines else ""


def _cell(column: Column, place: int, entry: ComparedEntry) -> str:
    cell = column.cells[place]
    mark = ""
    if column.best == place:
        mark = ' <b class="best">best</b>'
    elif column.as_good(place):
        mark = ' <b class="near" title="not told apart from the best">≈</b>'
    few = ""
    if cell is not None and cell.runs < len(entry.runs):
        few = f" <small>{cell.runs} of {len(entry.runs)} seeds</small>"
    elif cell is not None and cell.runs == 1:
        few = " <small>one seed</small>"
    return f"{_estimate(column.score, cell)}{few}{mark}"


def _estimate(score: Score, cell: Estimate | None) -> str:
    if cell is None:
        return '<span class="faint">not scored</span>'
    margin = "" if cell.margin is None else f' <span class="faint">± {_number(score, cell.margin, next_to=cell.mean)}</span>'
    return _number(score, cell.mean) + margin


def _title(score: Score) -> str:
    features = score.protocol.features
    return f"{score.name} ({features})" if features else score.name


def _arrow(score: Score) -> str:
    if score.name in NEVER_RANKED:
        return "not ranked"
    return "higher is better" if score.higher_is_better else "lower is better"


def _number(score: Score, value: float | None, next_to: float | None = None) -> str:
    """A share as per cent, else a number with as many decimals as its size asks for, or that of the one it stands next to."""
    if value is None:
        return ""
    if score.chance is not None:
        return f"{100 * value:.1f} %"
    size = abs(value if next_to is None else next_to)
    return f"{value:.{1 if size >= 10 else 4 if 0 < size < 0.01 else 3}f}"


def _options(standing: Standing) -> str:
    """How `limner evaluate` takes the scores of a table."""
    protocol = standing.protocol
    scores = [column.score for column in standing.columns]
    metrics = ",".join(dict.fromkeys(metric_of(score.name) or score.name for score in scores))
    looked = [score.protocol.features for score in scores if network_of(score.name) == "features" and score.protocol.features]
    features = f" --features {shlex.quote(looked[0])}" if looked and looked[0] != "garden" else ""
    place = f"--split {shlex.quote(protocol.split)} --count {protocol.count} --seed {protocol.seed}"
    return f" --metrics {shlex.quote(metrics)}{features} {place}"


def cost_table(entries: Sequence[ComparedEntry], costs: Sequence[Cost], where: str) -> str:
    """Parameters, training, and what a painting takes."""
    titles = ["Paints with", "All networks", "Text encoder", "Training time", "Images seen"]
    titles += [f"Time, {_pictures(count)}" for count in COUNTS] + [f"Memory, {_pictures(count)}" for count in COUNTS]
    rows = ""
    for entry, own in zip(entries, costs, strict=True):
        cells = [_millions(own.painting), _millions(own.all), _millions(own.text)]
        cells += [_over([run.seconds for run in entry.runs], duration), _over([run.images for run in entry.runs], "{:,.0f}".format)]
        cells += [_seconds(own.seconds[count]) for count in COUNTS] + [f"{own.bytes[count] / 2**20:.1f} MB" for count in COUNTS]
        rows += _row(entry.name, cells)
    table = _table(
        "Parameters in millions; training of the method alone, as the mean over seeds; one painting, from captions to pixels", titles, rows
    )
    return (
        f"<h2>What it costs</h2>{scrolling('Parameters, training and painting', table)}"
        f'<p class="faint">Painting was measured when this page was written, on {text(where)}: the median time of repeated paintings, the '
        "text encoder's work included; memory is that of the weights that paint and the most that PyTorch held besides.</p>\n"
    )


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _over(values: Sequence[float | None], shown: Callable[[float], str]) -> str:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return shown(estimate(known).mean) if known else "unknown"
