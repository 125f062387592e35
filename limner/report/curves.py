"""Line charts of a run's log as SVG, written by hand: a page must not need a plotting library."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.core.figures import PENALTIES, is_verdict, verdict_label

Points = Sequence[tuple[float, float]]

COLORS = ("#9b2335", "#1f5f8b", "#4d7c3a", "#b8860b", "#6b4c8a", "#2a7f7f")
WIDTH, HEIGHT = 520, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 22, 12, 34
MOST_POINTS = 300
NOT_DRAWN = {"phase", "act", "stage", "step", "total_step", "images", "epoch", "seconds", "core_seconds"}

OF_PLAYERS = {"loss", "gradient_norm", "skipped", "seconds"} | PENALTIES
"""Figures that are drawn with one line for each player."""


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log.jsonl; a line that is damaged, or that a crash cut short, is left out, and so is a missing file."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "phase" in line:
            lines.append(line)
    return lines


def charts(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Every chart of a log, as (title, SVG): for each phase its losses, each player's other figures, and the speed."""
    drawn = []
    phases = list(dict.fromkeys(line["phase"] for line in lines))
    for phase in phases:
        rows = [line for line in lines if line["phase"] == phase]
        prefix = f"{phase}: " if len(phases) > 1 else ""
        for title, names in _groups(rows).items():
            series = {_label(name): [(row["step"], row[name]) for row in rows if drawable(row.get(name))] for name in names}
            drawn.append((prefix + title, line_chart(series)))
    return drawn


def _groups(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Names of figures by the chart they belong on: those of one chart have one scale."""
    groups: dict[str, list[str]] = {}
    drawn = dict.fromkeys(name for row in rows for name, value in row.items() if name not in NOT_DRAWN and drawable(value))
    judges = {name.rpartition("/")[0] for name in drawn if is_verdict(name)}
    for name in drawn:
        player, _, figure = name.rpartition("/")
        if figure == "loss":
            title = "losses"
        elif name == "images_per_second":
            title = "images a second"
        elif player == "evaluation":
            title = f"evaluation: {figure}" if figure in ("fid", "kid", "is") else "evaluation"
        elif "gradient_norm" in figure:
            title = "gradient norms"
        elif figure == "seconds":
            title = "seconds a step"
        elif name == "memory_mib":
            title = "most memory, MiB"
        elif figure == "skipped":
            title = "updates left out"
        elif figure in PENALTIES:
            title = "gradient penalties"
        elif is_verdict(name):
            title = f"what the {player} says"
        elif player in judges:
            title = f"further figures of the {player}"
        else:
            title = player or figure.replace("_", " ")
        groups.setdefault(title, []).append(name)
    return dict(sorted(groups.items(), key=lambda group: (group[0] != "losses", group[0] == "images a second")))


def _label(name: str) -> str:
    """`discriminator/real` -> D(real); `generator/loss` -> generator."""
    if is_verdict(name):
        return verdict_label(name)
    player, _, figure = name.rpartition("/")
    return (player if figure in OF_PLAYERS else figure).replace("_", " ")


def drawable(value: Any) -> bool:
    """Whether a logged value is a number that has a place on a chart."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def line_chart(series: Mapping[str, Points], x_title: str = "step") -> str:
    """One chart of several named lines, with ticks, a grid and a legend, as an SVG element."""
    series = {name: thinned(points) for name, points in series.items() if points}
    every = [point for points in series.values() for point in points]
    if not every:
        return ""
    x_ticks, y_ticks = ticks(min(x for x, _ in every), max(x for x, _ in every)), ticks(min(y for _, y in every), max(y for _, y in every))
    x_low, x_high = min(x_ticks[0], min(x for x, _ in every)), max(x_ticks[-1], max(x for x, _ in every))
    y_low, y_high = min(y_ticks[0], min(y for _, y in every)), max(y_ticks[-1], max(y for _, y in every))

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for tick in y_ticks:
        height = place(x_low, tick)[1]
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
            f'<text class="tick" x="{LEFT - 7}" y="{height + 4:.1f}" text-anchor="end">{_number(tick)}</text>'
        )
    for tick in x_ticks:
        parts.append(
            f'<text class="tick" x="{place(tick, y_low)[0]:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{_number(tick)}</text>'
        )
    parts.append(f'<text class="tick" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 3}" text-anchor="middle">{html.escape(x_title)}</text>')
    for color, points in zip(_colors(len(series)), series.values(), strict=True):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.8" stroke-linejoin="round" points="{path}"/>')
        if len(points) == 1:
            x, y = place(*points[0])
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>')
    ends = "; ".join(f"{name} ends at {points[-1][1]:.3g}" for name, points in series.items())
    words = html.escape(f"Over {x_title} {x_low:g} to {x_high:g}: {ends}", quote=True)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{"".join(parts)}</svg>{_legend(series)}'


def _legend(series: Mapping[str, Points]) -> str:
    if len(series) < 2:
        return ""
    entries = (
        f'<span><i style="background:{color}"></i>{html.escape(name)}</span>'
        for color, name in zip(_colors(len(series)), series, strict=True)
    )
    return f'<div class="legend">{"".join(entries)}</div>'


def _colors(count: int) -> list[str]:
    return [COLORS[number % len(COLORS)] for number in range(count)]


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most MOST_POINTS points: the means of stretches of equal length."""
    stretch = math.ceil(len(points) / MOST_POINTS)
    groups = [points[start : start + stretch] for start in range(0, len(points), max(stretch, 1))]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round numbers that enclose [low, high]."""
    largest = max(abs(low), abs(high))
    if high - low <= 1e-12 * largest or largest < 1e-100:  # one value, or numbers whose halves no longer exist
        margin = 0.5 * largest if largest >= 1e-100 else 0.5
        low, high = low - margin, high + margin
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [number * step for number in range(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1)]


def _number(value: float) -> str:
    if abs(value) >= 10_000:
        return f"{value / 1000:,.4g}k"
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}"
