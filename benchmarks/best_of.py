"""What choosing gains: faithfulness and diversity of the best of N pictures, as a table, a picture and JSON.

    python benchmarks/best_of.py runs/dalle runs/clip --captions 200 --of 1 4 16 32 --out docs/images/best-of.svg

For captions of the garden's test split, whose pairs of colour and shape no training picture had, MODEL paints candidates and the matching
model JUDGE chooses. Another network, the garden's judge of attributes, reads what was chosen. For comparison: one candidate taken at
random, and what that network would have chosen itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tyro.conf import Positional

import limner
from limner.cli.progress import progress_bar
from limner.core import random
from limner.core.errors import LimnerError
from limner.core.files import write_whole
from limner.data.catalog import open_data
from limner.data.garden import paint
from limner.explore.captions import distinct_captions, paintable
from limner.explore.rerank import Similarity
from limner.explore.worst import Scorer
from limner.features.garden_judge import AttributeJudge, load_judge
from limner.metrics.faithfulness import UNNAMED, Agreement, Spread, diversity_parts, fitting_scenes, named_codes, read_codes
from limner.metrics.judge import to_tensor
from limner.metrics.scoring.matching import Placed
from limner.metrics.scoring.metric import NOISES
from limner.model import Model

CHUNK = 64


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")]
    """A shipped name, run folder or model folder of a model that was trained on the garden."""
    judge: Annotated[Positional[str], tyro.conf.arg(metavar="JUDGE")]
    """The run folder or model folder of a matching model."""
    captions: int = 200
    """Captions whose best picture is read for its attributes."""
    varied: int = 16
    """Captions of which 16 pictures are chosen, each from candidates of its own, to see how much they differ."""
    of: tuple[int, ...] = (1, 4, 16, 32)
    """Numbers of candidates."""
    seed: int = 0
    """Decides captions and noise."""
    out: Path = Path("best-of.svg")
    """The picture, .svg or .png; the figures go to a .json of the same name."""


@dataclass(frozen=True)
class Candidates:
    """Pictures of one caption, and what both judges say of them."""

    pictures: NDArray[np.uint8]
    """[n, H, W, 3]."""
    scores: NDArray[np.float64]
    """[n]."""
    read: NDArray[np.int64]
    """[n, 6] codes of the attributes that the garden's judge reads."""


@torch.inference_mode()
def candidates(model: Model, score: Scorer, reader: AttributeJudge, caption: str, count: int, seed: int) -> Candidates:
    """The first `count` pictures of a caption."""
    pictures, scores, read = [], [], []
    for start in range(0, count, CHUNK):
        numbers = np.arange(start, min(start + CHUNK, count))
        painted = model.pictures([caption] * len(numbers), numbers, seed)
        pictures.append(painted)
        scores.append(score([caption] * len(numbers), to_tensor(painted)).double().cpu().numpy())
        read.append(read_codes(reader.read(to_tensor(painted))))
    return Candidates(np.concatenate(pictures), np.concatenate(scores), np.concatenate(read))


def measured(
    model: Model, score: Scorer, reader: AttributeJudge, texts: Sequence[str], varied: int, of: Sequence[int], seed: int
) -> dict[str, Any]:
    """Every figure of `texts`, of which the first `varied` show how much chosen pictures differ."""
    most = max(of)
    chosen, best = {n: Agreement() for n in of}, {n: Agreement() for n in of}
    every = Agreement()
    kinds: tuple[int | str, ...] = (*of, "random", "real")
    spreads: dict[int | str, list[Spread]] = {kind: [] for kind in kinds}
    with progress_bar() as bar:
        for number, caption in enumerate(texts):
            named = named_codes([caption])  # [1, 6]
            groups = NOISES if number < varied else 1
            found = candidates(model, score, reader, caption, groups * most, seed)
            right = ((found.read == named) & (named != UNNAMED)).sum(1)
            every.add(named.repeat(most, 0), found.read[:most])
            for n in of:
                for agreement, by in ((chosen[n], found.scores), (best[n], right)):
                    agreement.add(named, found.read[[by[:n].argmax()]])
            if number < varied:
                starts = np.arange(groups) * most
                places: dict[int | str, NDArray[np.int64]] = {}
                for n in of:
                    places[n] = starts + found.scores.reshape(groups, most)[:, :n].argmax(1)
                places["random"] = starts + random.integers(most, seed, "one at random", number, np.arange(groups))
                real = paint(fitting_scenes(named[0], "test", NOISES, seed, number), model.resolution)
                for name, pictures in (*((name, found.pictures[place]) for name, place in places.items()), ("real", real)):
                    with torch.inference_mode():
                        images = to_tensor(pictures)
                        spreads[name].append(Spread.of(images, reader.read(images), named[0]))
            bar(number + 1, len(texts), "captions")
    random_choice, diverse = every.overall(), _diversity(spreads["random"], spreads["real"])
    return {
        "random choice": {"faithfulness": random_choice.value, "diversity": diverse[0], "diversity error": diverse[1]},
        "chance": random_choice.chance,
        "best of": [_row(n, chosen[n], best[n], _diversity(spreads[n], spreads["real"])) for n in of],
    }


def _diversity(chosen: list[Spread], real: list[Spread]) -> tuple[float | None, float | None]:
    part = diversity_parts(chosen, real)["features"] if chosen else None
    return (part.value, part.error) if part is not None else (None, None)


def _row(n: int, chosen: Agreement, best: Agreement, diversity: tuple[float | None, float | None]) -> dict[str, Any]:
    overall = chosen.overall()
    return {
        "of": n,
        "faithfulness": overall.value,
        "faithfulness error": overall.error,
        "attributes": {name: part.value for name, part in chosen.parts().items()},
        "chosen by the reader itself": best.overall().value,
        "diversity": diversity[0],
        "diversity error": diversity[1],
    }


def table(figures: dict[str, Any]) -> str:
    """The figures in lines of text."""
    lines = ["| best of | faithfulness | chosen by the reader itself | diversity |", "| ---: | ---: | ---: | ---: |"]
    shown = figures["random choice"]
    lines.append(f"| one at random | {_percent(shown['faithfulness'])} | | {_share(shown)} |")
    for row in figures["best of"]:
        value = f"{_percent(row['faithfulness'])} ± {100 * row['faithfulness error']:.1f}"
        lines.append(f"| {row['of']} | {value} | {_percent(row['chosen by the reader itself'])} | {_share(row)} |")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _share(row: dict[str, Any]) -> str:
    return "" if row["diversity"] is None else f"{row['diversity']:.3f} ± {row['diversity error']:.3f}"


def draw(figures: dict[str, Any], out: Path) -> None:
    """Faithfulness, and where it was measured diversity, over the number of candidates."""
    rows, at_random = figures["best of"], figures["random choice"]
    of = [row["of"] for row in rows]
    names = ["faithfulness", *(["diversity"] if rows[0]["diversity"] is not None else [])]
    with rc_context({"svg.hashsalt": "limner", "font.size": 9.5}):
        figure = Figure(figsize=(4.2 * len(names), 3.6), layout="constrained")
        for place, name in enumerate(names):
            axes = figure.add_subplot(1, len(names), place + 1)
            errors = [row[f"{name} error"] for row in rows]
            axes.errorbar(of, [row[name] for row in rows], errors, label="chosen by the judge", linewidth=1.3, marker=".", capsize=2)
            axes.axhline(at_random[name], label="one at random", color="C7", linestyle="--", linewidth=1.0)
            if name == "faithfulness":
                most = [row["chosen by the reader itself"] for row in rows]
                axes.plot(of, most, label="chosen by the reader itself", color="C2", linestyle=":", linewidth=1.3, marker=".")
            axes.set_xscale("log", base=2)
            axes.set_xticks(of, [str(n) for n in of])
            axes.minorticks_off()
            axes.set(xlabel="candidates", ylabel=name)
            axes.grid(linewidth=0.5, alpha=0.5)
            axes.spines[["top", "right"]].set_visible(False)
            if place == 0:
                axes.legend(frameon=False)
        figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


def main(arguments: Arguments) -> None:
    of = sorted(set(arguments.of))
    if not of or of[0] < 1 or arguments.captions < 2 or not 2 <= arguments.varied <= arguments.captions:
        raise SystemExit("give --of numbers of at least 1, --captions of at least 2, and --varied of at least 2 and at most as many")
    if arguments.out.suffix not in (".svg", ".png"):
        raise SystemExit(f"--out {arguments.out}: give a name that ends in .svg or .png")
    try:
        model, judge = limner.load(arguments.model), Placed.load(arguments.judge)
        pictures = open_data("garden", "test", model.resolution)
        texts = paintable(model, distinct_captions(pictures, arguments.captions, arguments.seed))
        figures = measured(model, Similarity(judge), load_judge(), texts, arguments.varied, of, arguments.seed)
    except LimnerError as error:
        raise SystemExit(str(error)) from None
    protocol = {"model": arguments.model, "judge": judge.name, "judge hash": judge.content_hash, "captions": len(texts)}
    protocol |= {"varied captions": arguments.varied, "split": "garden/test", "seed": arguments.seed, "version": limner.__version__}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out.with_suffix(".json"), json.dumps({"protocol": protocol, **figures}, indent=1) + "\n")
    draw(figures, arguments.out)
    print(f"{table(figures)}\n\n{arguments.out}\n{arguments.out.with_suffix('.json')}")


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
