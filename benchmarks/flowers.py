"""The figures of docs/flowers.md from its four runs: the same captions and noises side by side, and FID by epoch.

python benchmarks/flowers.py --runs runs --data prepared/flowers64 --out docs/images
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

import limner
from limner.data.catalog import open_data
from limner.data.reduced import at_resolution
from limner.data.sheet import caption_grid
from limner.explore.captions import drawn_pictures
from limner.report.curves import COLORS, line_chart

RUNS = {"gan-cls": "GAN-CLS", "gan": "no mismatch", "dcgan-cls": "DCGAN-CLS", "dcgan": "no mismatch"}
"""Run folders, and what stands over their pictures."""
LINES = {"gan-cls": "GAN-CLS", "gan": "GAN-CLS, no mismatched pairs", "dcgan-cls": "DCGAN-CLS", "dcgan": "DCGAN-CLS, no such pairs"}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    runs: Path
    """Folder of the four runs."""
    data: str
    """The prepared set."""
    out: Path
    """Folder for the pictures."""
    captions: int = 8
    """Captions of the test split."""
    pictures: int = 3
    """Pictures of each caption and run."""
    seed: int = 0
    """Decides captions and noises."""


def grid(arguments: Arguments) -> None:
    models = {name: limner.load(arguments.runs / name) for name in RUNS}
    test = at_resolution(open_data(arguments.data, "test", 64), 64)
    chosen = drawn_pictures(test, arguments.seed)[: arguments.captions]
    captions = [max(test.captions(int(index)), key=len) for index in chosen]
    rows, labels = [], []
    for caption, real in zip(captions, test.read(chosen), strict=True):
        row, names = [real], ["real"]
        for name, model in models.items():
            row += list(model.pictures([caption] * arguments.pictures, np.arange(arguments.pictures), arguments.seed))
            names += [RUNS[name], *[""] * (arguments.pictures - 1)]
        rows.append(row)
        labels.append(names)
    caption_grid(rows, captions, tile=88, labels=labels, apart=1).save(arguments.out / "flowers-grid.jpg", quality=88)


def curves(arguments: Arguments) -> None:
    series = {}
    for name, text in LINES.items():
        lines = [json.loads(line) for line in (arguments.runs / name / "log.jsonl").read_text().splitlines()]
        series[text] = [(line["epoch"], line["evaluation/fid"] / 1000) for line in lines if "evaluation/fid" in line]
    drawn = re.search(r"<svg.*?</svg>", line_chart(series, x_title="passes over the training pictures"), re.S)
    assert drawn is not None
    legend = "".join(
        f'<rect x="{60 + 225 * (place % 2)}" y="{268 + 18 * (place // 2)}" width="16" height="3" fill="{color}"/>'
        f'<text class="tick" x="{82 + 225 * (place % 2)}" y="{273 + 18 * (place // 2)}">{text}</text>'
        for place, (text, color) in enumerate(zip(series, COLORS))
    )
    style = "<style>.grid{stroke:#d8d2c4}.tick{fill:#5d564a;font:12px Georgia,serif}</style><rect width='520' height='300' fill='#fbfaf6'/>"
    svg = drawn[0].replace('viewBox="0 0 520 260"', 'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 300"')
    svg = svg.replace(">", f">{style}", 1).replace("</svg>", f"{legend}</svg>")
    (arguments.out / "flowers-fid.svg").write_text(svg + "\n", encoding="utf-8")


if __name__ == "__main__":
    given = tyro.cli(Arguments, description=__doc__)
    given.out.mkdir(parents=True, exist_ok=True)
    grid(given)
    curves(given)
