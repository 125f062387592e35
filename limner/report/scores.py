"""The scores of one run as a table, then the protocol of each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from limner.metrics.scoring.protocol import NOT_COMPARED, Part, Protocol, Score
from limner.report.html import caption, scrolling, text

COLUMNS = {"error": "±", "chance": "chance", "shuffled": "other captions", "real": "real pictures"}
"""Figures next to a score, which have a column where any score has them."""


def score_table(scores: Sequence[Score]) -> str:
    """All scores of a run, each with the network that looked; a column that would be empty is left out."""
    if not scores:
        return ""
    parts: list[Score | Part] = [*scores, *(part for score in scores for part in score.parts.values())]
    columns = [name for name in COLUMNS if any(getattr(part, name) is not None for part in parts)]
    bars = any(part.chance is not None and math.isfinite(part.value) for part in parts)
    titles = ["metric", "score", *(COLUMNS[name] for name in columns), *(['<span class="hidden">score as a bar</span>'] if bars else [])]
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    rows = "".join(_score_rows(score, _unlike(score, scores), columns, bars) for score in scores)
    notes = [f"{score.name}: {note}" for score in scores for note in score.notes]
    protocols = dict.fromkeys([score.protocol.line() for score in scores] + notes)
    listed = "".join(f"<li>{text(line)}</li>" for line in protocols)
    known = [COLUMNS[name] for name in columns if name != "error"]
    words = caption(f"Scores, with what these score: {', '.join(known)}" if known else "Scores")
    table = f"<table>{words}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<h2>Scores</h2>{scrolling("Scores", table)}<ul class="protocols">{listed}</ul>\n'


def _unlike(score: Score, scores: Sequence[Score]) -> list[str]:
    """In what a score's protocol differs from others of the same name, network and split, in words."""
    own = score.protocol
    rivals = [
        other.protocol
        for other in scores
        if other is not score and (other.name, other.protocol.features, other.protocol.split) == (score.name, own.features, own.split)
    ]
    names = [item.name for item in dataclasses.fields(Protocol) if item.name not in NOT_COMPARED]
    differing = [name for name in names if any(getattr(rival, name) != getattr(own, name) for rival in rivals)]
    return [f"{name.replace('_', ' ')} {_words(getattr(own, name))}" for name in differing]


def _words(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(f"{key} {own}" for key, own in value.items()) or "none" if isinstance(value, dict) else str(value)


def _score_rows(score: Score, unlike: Sequence[str], columns: Sequence[str], bars: bool) -> str:
    arrow = "higher is better" if score.higher_is_better else "lower is better"
    network = [score.protocol.features] if score.protocol.features else []
    about = ", ".join([*network, *unlike, score.protocol.split, arrow])
    name = f'{text(score.name)} <span class="faint">{text(about)}</span>'
    parts = "".join(_row(text(part_name), part, "part", columns, bars) for part_name, part in score.parts.items())
    return _row(name, score, "whole" if score.parts else "", columns, bars) + parts


def _row(name: str, score: Score | Part, kind: str, columns: Sequence[str], bars: bool) -> str:
    share = score.chance is not None
    values = (score.value, *(getattr(score, column) for column in columns))
    cells = "".join(f"<td>{_shown(value, share)}</td>" for value in values)
    bar = ""
    if share and score.chance is not None and math.isfinite(score.value):
        filled = f'<i style="width:{100 * min(max(score.value, 0), 1):.1f}%"></i>'
        bar = f'<span class="bar">{filled}<b style="left:{100 * score.chance:.1f}%"></b></span>'
    return f'<tr class="{kind}"><th scope="row">{name}</th>{cells}{f"<td>{bar}</td>" if bars else ""}</tr>'


def _shown(value: float | None, share: bool) -> str:
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if share else f"{value:.4g}"
