"""Draw the curves of a run's health, and some of its last samples, into one picture: `python benchmarks/health.py RUN OUT.png [TITLE]`."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from limner.report.curves import COLORS, read_log, ticks

WIDE, HIGH, LEFT, TOP, BOTTOM, GAP = 430, 230, 62, 46, 30, 20
CAPTION_ROW = 160  # height of a caption and its pictures in the sample grid
PANELS = {
    "what the discriminator says": (["discriminator/real", "discriminator/fake", "discriminator/mismatched"], False),
    "losses": (["discriminator/loss", "generator/loss"], True),
    "gradient norms": (["discriminator/gradient_norm", "generator/gradient_norm"], True),
    "diversity (real pictures: 1)": (["diversity/noises", "diversity/captions"], False),
}


def panel(lines: list[dict[str, Any]], title: str, names: list[str], logarithmic: bool) -> Image.Image:
    """One chart; a logarithmic one has powers of ten for ticks."""
    floor = 1e-3
    series = {
        name: [
            (line["step"], math.log10(max(line[name], floor)) if logarithmic else line[name])
            for line in lines
            if line.get(name) is not None
        ]
        for name in names
    }
    series = {name: points for name, points in series.items() if points}
    values = [value for points in series.values() for _, value in points]
    if logarithmic:
        y_ticks: list[float] = list(range(math.floor(min(values)), max(math.ceil(max(values)), math.floor(min(values)) + 1) + 1))
        y_ticks = y_ticks[:: math.ceil(len(y_ticks) / 7)] if len(y_ticks) > 7 else y_ticks
    else:
        y_ticks = ticks(0.0, max(1.0, *values), 4)
    x_ticks = ticks(0, max(line["step"] for line in lines))
    low, high = min(y_ticks[0], *values), max(y_ticks[-1], *values)
    image = Image.new("RGB", (WIDE, HIGH), "white")
    draw = ImageDraw.Draw(image)
    font, bold = ImageFont.load_default(12), ImageFont.load_default(14)

    def place(step: float, value: float) -> tuple[float, float]:
        across = LEFT + step / x_ticks[-1] * (WIDE - LEFT - 16)
        return across, HIGH - BOTTOM - (value - low) / (high - low) * (HIGH - TOP - BOTTOM)

    draw.text((LEFT, 4), title, fill="#2b2b30", font=bold)
    for tick in y_ticks:
        _, y = place(0, tick)
        draw.line([(LEFT, y), (WIDE - 16, y)], fill="#dddde2")
        shown = (f"{10**tick:g}" if abs(tick) < 4 else f"1e{tick:g}") if logarithmic else f"{tick:.4g}"
        draw.text((LEFT - 6, y), shown, fill="#74747e", font=font, anchor="rm")
    for tick in x_ticks:
        draw.text((place(tick, low)[0], HIGH - BOTTOM + 6), f"{tick:g}", fill="#74747e", font=font, anchor="ma")
    across = float(LEFT)
    for color, (name, points) in zip(COLORS, series.items(), strict=False):
        draw.line([place(*point) for point in points], fill=color, width=2, joint="curve")
        player, _, figure = name.partition("/")
        label = player if figure in ("loss", "gradient_norm") else f"D({figure})" if player == "discriminator" else f"between {figure}"
        draw.text((across, 24), label, fill=color, font=font)
        across += draw.textlength(label, font=font) + 16
    return image


def health_picture(run: Path, title: str, rows: int = 3) -> Image.Image:
    """Four charts and the first rows of the newest sample grid."""
    lines = read_log(run / "log.jsonl")
    panels = [panel(lines, name, names, logarithmic) for name, (names, logarithmic) in PANELS.items()]
    samples = Image.open(sorted((run / "samples").glob("*.png"))[-1]).convert("RGB")
    samples = samples.crop((0, 0, samples.width, 28 + rows * CAPTION_ROW))
    high = 2 * HIGH + GAP
    samples = samples.resize((round(samples.width * high / samples.height), high), Image.Resampling.LANCZOS)
    page = Image.new("RGB", (2 * WIDE + samples.width + 2 * GAP, high + 56), "white")
    draw = ImageDraw.Draw(page)
    draw.text((GAP, 14), title, fill="#2b2b30", font=ImageFont.load_default(18))
    draw.text((2 * WIDE + 2 * GAP + 16, 16), f"samples after step {lines[-1]['step']:,}", fill="#2b2b30", font=ImageFont.load_default(14))
    for number, chart in enumerate(panels):
        page.paste(chart, (number % 2 * WIDE, 50 + number // 2 * (HIGH + GAP)))
    page.paste(samples, (2 * WIDE + GAP, 44))
    return page


if __name__ == "__main__":
    _, run_folder, out, *name = sys.argv
    page = health_picture(Path(run_folder), name[0] if name else Path(run_folder).name)
    page.quantize(192).save(out, optimize=True)  # a quarter of the size
