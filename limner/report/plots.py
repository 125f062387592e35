"""Learning curves of several runs, drawn by matplotlib as SVG that takes its colours from the page."""

from __future__ import annotations

import io
import itertools
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limner.report.curves import COLORS, drawable, thinned
from limner.report.entries import ComparedEntry
from limner.report.html import text
from limner.report.phases import of_the_method

Points = Sequence[tuple[float, float]]

INK, FAINT, RULE = "#2b2621", "#7a7064", "#e3d9c6"
THEME = {INK: "var(--ink)", FAINT: "var(--faint)", RULE: "var(--rule)"} | {
    color: f"var(--line-{place})" for place, color in enumerate(COLORS)
}
"""Colours of the drawing that become the page's own, so that they follow it into the dark."""
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
HEALTH = {
    "diversity/captions": "how much pictures of different captions differ",
    "diversity/noises": "how much pictures of one caption differ",
}
"""Figures of the log that mean the same for every method; 1 is how much real pictures do."""
MISSING = "the curves need a plotting library: pip install 'limner[plots]', and compare again"


@dataclass(frozen=True)
class Axis:
    """What a curve runs over."""

    name: str
    """The figure of the log."""
    title: str
    scale: float


AXES = (Axis("seconds", "minutes of training", 1 / 60), Axis("images", "thousand images seen", 1 / 1000))


def plotting() -> bool:
    """Whether matplotlib is here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def curves(entries: Sequence[ComparedEntry]) -> str:
    """Charts over time and over images of what all logs tell: evaluations where there are any, else health; losses at the end."""
    figures = charted(entries)
    if not figures:
        return ""
    if not plotting():
        return f'<h2>How they learned</h2><p class="note" role="note">{text(MISSING[:1].upper() + MISSING[1:])}.</p>\n'
    drawn = ""
    for name, title in figures.items():
        for axis in AXES:
            lines = {entry.name: [line for line in (course(run.log, name, axis) for run in entry.runs) if line] for entry in entries}
            drawn += _figure(title, axis, {entry: own for entry, own in lines.items() if own}, [entry.name for entry in entries])
    return (
        '<h2>How they learned</h2><p class="faint">A line for each seed. Losses say how a game of two networks stands, and not how good '
        f'the pictures are: those of different methods cannot be compared.</p><div class="charts">{drawn}</div>\n'
    )


def charted(entries: Sequence[ComparedEntry]) -> dict[str, str]:
    """The figures that are drawn, with their titles."""
    logged = dict.fromkeys(
        name for entry in entries for run in entry.runs for line in run.log for name, value in line.items() if drawable(value)
    )
    evaluated = {name: f"{name.partition('/')[2]}, evaluated in training" for name in logged if name.startswith("evaluation/")}
    health = {name: title for name, title in HEALTH.items() if name in logged}
    losses = {
        f"{player}/loss": f"loss of the {player}"
        for player in ("generator", "discriminator")
        if any(name.startswith(player) and name.endswith("/loss") for name in logged)
    }
    return evaluated | health | losses


def course(log: Sequence[Mapping[str, Any]], name: str, axis: Axis) -> list[tuple[float, float]]:
    """A figure of a log along an axis that goes on over the method's phases. A loss is the mean over players of that kind."""
    points = []
    before = last = 0.0
    phase = None
    for line in of_the_method(log):
        if line["phase"] != phase:
            before, phase = before + last, line["phase"]
        last = float(line[axis.name])
        value = _value(line, name)
        if value is not None:
            points.append(((before + last) * axis.scale, value))
    return thinned(points)


def _value(line: Mapping[str, Any], name: str) -> float | None:
    player, _, figure = name.rpartition("/")
    names = [key for key in line if key.split("/")[0].split("-")[0] == player and key.endswith("/loss")] if figure == "loss" else [name]
    values = [float(line[key]) for key in names if drawable(line.get(key))]
    return sum(values) / len(values) if values else None


def _figure(title: str, axis: Axis, lines: Mapping[str, Sequence[Points]], order: Sequence[str]) -> str:
    """A chart with what it shows in words."""
    label = f"{title[:1].upper()}{title[1:]}, over {axis.title}"
    ends = "; ".join(f"{name} ends at {', '.join(f'{own[-1][1]:.3g}' for own in courses)}" for name, courses in lines.items())
    return f'<figure class="card"><h3>{text(label)}</h3>{_svg(axis, lines, order, f"{label}. {ends}.")}</figure>'


def _svg(axis: Axis, lines: Mapping[str, Sequence[Points]], order: Sequence[str], alternative: str) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    plain = {"svg.fonttype": "none", "svg.hashsalt": "limner", "text.parse_math": False}  # a $ in a name is a $
    with rc_context({**plain, "font.family": "serif", "font.size": 9.5, "text.color": INK}), warnings.catch_warnings():
        # The page's own fonts draw the text: what those of matplotlib lack only makes its width a guess.
        warnings.filterwarnings("ignore", r"Glyph .* missing from|Matplotlib currently does not support .* natively")
        figure = Figure(figsize=(5.2, 2.8 + 0.17 * math.ceil(len(order) / 2)), layout="constrained", facecolor="none")
        axes = figure.add_subplot(facecolor="none")
        for name, courses in lines.items():
            style = _style(order.index(name))
            for number, own in enumerate(courses):
                axes.plot(*zip(*own, strict=True), **style, label=name if number == 0 else None, markevery=max(1, len(own) // 6))
        axes.set_xlabel(axis.title, color=FAINT)
        axes.tick_params(colors=FAINT, length=0)
        axes.grid(color=RULE, linewidth=0.8)
        axes.spines[:].set_visible(False)
        axes.set_xlim(left=0)
        if len(order) > 1:
            figure.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=INK, fontsize=8.5)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(stream.getvalue(), alternative)


def _style(place: int) -> dict[str, Any]:
    """No two of forty entries look the same, to those who see no colours either."""
    return {
        "color": COLORS[place % len(COLORS)],
        "linestyle": DASHES[place // len(COLORS) % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 3.5,
        "linewidth": 1.3,
        "alpha": 0.9,
    }


_NUMBER = itertools.count()


def _inline(svg: str, alternative: str) -> str:
    """An SVG file as an element of a page: without prologue and fixed size, in the page's colours, its names unlike other drawings'."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    label = text(alternative)  # by a function, since names of entries may hold what a template would take for a group
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', lambda found: f'<svg viewBox="{found[1]}" role="img" aria-label="{label}">', svg, count=1
    )
    for color, variable in THEME.items():
        svg = svg.replace(color, variable)
    prefix = f"c{next(_NUMBER)}-"
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", svg)
