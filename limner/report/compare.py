"""`compare.html` and `compare.png`: several runs on one page: the same captions by all, scores, costs, learning curves, protocols."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image

from limner.core.errors import SettingsError
from limner.core.files import write_whole
from limner.report.cost import machine
from limner.report.entries import ComparedEntry, Contender, read_entries
from limner.report.gallery import NOISES, Asked, Shown, drawn_captions, own_captions, paint, save_sheet
from limner.report.html import caption as caption_of
from limner.report.html import commands, document, header, image, scrolling, text
from limner.report.plots import curves
from limner.report.tables import cost_table, score_tables

LARGEST = 256
"""Pictures are shown in the page at no more pixels than this."""
ROOM, SMALLEST, SHOWN = 800, 104, 220
"""What the pictures of a row share on a wide screen, and their smallest and largest side there, in pixels of the page."""


def write_comparison(
    runs: Sequence[Path],
    out: Path,
    *,
    captions: Sequence[str] | None = None,
    seed: int = 0,
    count: int = 6,
    entries: Mapping[Path, str] | None = None,
    resume_note: str | None = None,
    data: str | None = None,
    device: str = "cpu",
) -> Path:
    """Paint the same captions by every run and write `compare.html` and `compare.png` into `out`; returns the page's path.

    Args:
        runs: Run folders, model folders or names of shipped models, at least two. Those that differ in their seed alone are one entry:
            one column, whose pictures are those of the lowest seed, and one row of scores with a 95 % confidence interval.
        out: A folder, made where there is none.
        captions: What is painted; by default the longest captions of `count` pictures of the test split (or else val) of the data that all
            were trained on.
        seed: Decides those captions, and the noise.
        count: How many captions are drawn.
        entries: The name of each run's entry, where somebody knows better than the recipes; equal names are one entry.
        resume_note: A remark above all, such as what a study has still to do.
        data: The data set to draw captions from, in place of what the runs were trained on.
        device: Where to paint and to measure.

    Raises:
        SettingsError: Fewer than two runs, a run twice, one that reads no text, or unlike data and no captions.
        CheckpointError: A run that has no model yet, or a folder that does not hold a model that paints.
        DataError: Data without a held-out split.
    """
    runs = [Path(run) for run in runs]
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file: give a folder for compare.html and compare.png")
    compared = read_entries(runs, entries and {Path(run): name for run, name in entries.items()})
    asked = own_captions(captions) if captions is not None else drawn_captions(_runs(compared), count, seed, data)
    shown = [paint(entry, asked, seed, device) for entry in compared]
    title = f"{len(compared)} entries side by side"
    sections = [
        _head(title, compared, asked, seed),
        f'<p class="note" role="note">{text(resume_note)}</p>\n' if resume_note else "",
        _pictures(compared, asked, shown),
        score_tables(compared),
        cost_table(compared, [own.cost for own in shown], machine(torch.device(device))),
        curves(compared),
        _again(compared, asked, seed, data),
    ]
    out.mkdir(parents=True, exist_ok=True)
    save_sheet(compared, asked, shown, out / "compare.png")
    write_whole(out / "compare.html", document(title, sections))
    return out / "compare.html"


def _runs(entries: Sequence[ComparedEntry]) -> list[Contender]:
    return [run for entry in entries for run in entry.runs]


def _head(title: str, entries: Sequence[ComparedEntry], asked: Asked, seed: int) -> str:
    runs = _runs(entries)
    sides = sorted({run.resolution for run in runs})
    facts = {
        "entries": str(len(entries)),
        "runs": str(len(runs)),
        "pixels": ", ".join(map(str, sides)),
        "captions": str(len(asked.captions)),
        "seed of the noise": str(seed),
    }
    data = list(dict.fromkeys(str(run.about.get("data", "data that nobody wrote down")) for run in runs))
    return header(title, f"{'; '.join(entry.name for entry in entries)}. Trained on {' and '.join(data)}.", facts)


def _pictures(entries: Sequence[ComparedEntry], asked: Asked, shown: Sequence[Shown]) -> str:
    names = [entry.name for entry in entries]
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in [*names, *(["real picture"] if asked.real else [])])
    bodies = []
    for number, caption in enumerate(asked.captions):
        rows = []
        for noise in range(NOISES):
            first = f'<th scope="rowgroup" rowspan="{NOISES}">{text(caption)}</th>' if noise == 0 else ""
            cells = "".join(
                f"<td>{_cell(own.pictures[number][noise], f'{name}: {caption}, noise {noise + 1}')}</td>"
                for name, own in zip(names, shown, strict=True)
            )
            if asked.real and noise == 0:
                cells += f'<td rowspan="{NOISES}">{_cell(asked.real[number], f"real picture: {caption}")}</td>'
            rows.append(f'<tr>{first}<th scope="row"><span class="hidden">noise </span>{noise + 1}</th>{cells}</tr>')
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    side = min(max(ROOM // (len(names) + bool(asked.real)) - 6, SMALLEST), SHOWN)
    words = caption_of(f"Captions and noises down the side, entries across: {asked.source}")
    table = (
        f'<table class="painted" style="--side: {side}px">{words}<thead><tr><th scope="col">Caption</th>'
        f'<th scope="col"><span class="hidden">Noise</span></th>{heads}</tr></thead>{"".join(bodies)}</table>'
    )
    several = any(len(entry.runs) > 1 for entry in entries)
    chosen = " Where an entry has several runs, the one with the lowest seed paints." if several else ""
    return (
        f"<h2>What they paint</h2><p>Every row is one caption and one noise, the same for all; none was chosen for its looks.{chosen}</p>"
        f"{scrolling('The same captions painted by every entry', table, 'card hugging')}\n"
    )


def _cell(picture: Image.Image, alt: str) -> str:
    if picture.width > LARGEST:
        picture = picture.resize((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    return image(picture, alt)


def _again(entries: Sequence[ComparedEntry], asked: Asked, seed: int, data: str | None) -> str:
    rows = "".join(
        f'<tr><th scope="row">{text(entry.name)}</th><td>{text(run.title)}</td>'
        f"<td>{'unknown' if run.seed is None else text(str(run.seed))}</td><td>{text(str(run.resolution))} px</td>"
        f"<td><code>{text(str(run.path))}</code></td></tr>"
        for entry in entries
        for run in entry.runs
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Entry", "Method", "Seed", "Paints", "Folder"))
    table = f'<table class="words">{caption_of("The runs")}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    first = entries[0].runs[0].path
    painted = f"limner generate {shlex.quote(str(first))} {shlex.quote(asked.captions[0])} --count {NOISES} --seed {seed} --out pictures"
    words = ["limner", "compare", *(str(run.path) for run in _runs(entries)), "--seed", str(seed), "--out", "DIR"]
    if asked.real:
        words += ["--count", str(len(asked.captions)), *(["--data", data] if data is not None else [])]
    else:
        words += ["--captions", *asked.captions]
    steps = [("A row of the pictures again, of one run:", painted), ("This page again:", shlex.join(words))]
    return f"<h2>What was compared</h2>{scrolling('The runs', table)}{commands(steps)}\n"
