"""`limner generate --rerank`: many candidates are painted, and the best by a judge are kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from limner.cli.models import matching_model
from limner.cli.outputs import check_file
from limner.cli.sampling import writing_told
from limner.core.errors import SettingsError

if TYPE_CHECKING:
    from limner.cli.generate import GenerateArguments
    from limner.explore.rerank import Ranked
    from limner.metrics.scoring.matching import Placed
    from limner.model import Model

CANDIDATES = 32
"""Candidates of each caption where nobody says how many."""


@dataclass(frozen=True, kw_only=True)
class RerankArguments:
    """Which pictures of many are kept."""

    rerank: Annotated[str | None, arg(metavar="JUDGE")] = None
    """Paint more pictures of each caption and keep those that fit it best, best first, by a matching model (limner train clip): its run
    folder or model folder."""
    of: Annotated[int | None, arg(metavar="N")] = None
    """With --rerank: how many are painted of each caption, 32 by default; -n of them are kept."""


def check_reranking(arguments: GenerateArguments) -> None:
    """Raise SettingsError for options that do not go together, and for records that cannot be written."""
    if arguments.rerank is None:
        if arguments.of is not None:
            raise SettingsError("--of says how many pictures a judge chooses from: give --rerank JUDGE too, or leave it out")
        return
    from limner.explore.rerank import check_counts

    if arguments.stages:
        raise SettingsError("--stages shows all pictures on the way, and --rerank ranks the final ones: leave one of the two out")
    check_counts(arguments.count, candidates(arguments))
    if is_page(arguments.out):
        check_file(record_of(arguments.out))


def candidates(arguments: RerankArguments) -> int:
    """How many pictures of each caption are painted."""
    return CANDIDATES if arguments.of is None else arguments.of


def open_judge(arguments: RerankArguments, model: Model) -> Placed | None:
    """Who ranks, on the model's device; None where nobody shall. Raises SettingsError for a model without text."""
    if arguments.rerank is None:
        return None
    if not model.reads_text:
        raise SettingsError("--rerank asks how well pictures fit their caption, and the model reads no text: leave it out")
    return matching_model(arguments.rerank, "cuda" if model.device.type == "cuda" else "cpu")


def reranked(model: Model, captions: Sequence[str], judge: Placed, arguments: GenerateArguments) -> list[Ranked]:
    """The best pictures of each caption, with a progress bar."""
    from limner.cli.progress import progress_bar
    from limner.explore.rerank import Similarity, rerank

    asked = {"count": arguments.count, "candidates": candidates(arguments), "seed": arguments.seed}
    with progress_bar() as bar, writing_told(model, bar):
        return rerank(model, captions, Similarity(judge), **asked, progress=bar)


def is_page(out: Path) -> bool:
    """Whether all pictures go onto one page, and not into a folder."""
    return out.suffix.lower() == ".png"


def record_of(out: Path) -> Path:
    """Where the scores go: next to a page, or within a folder."""
    return out.with_name(f"{out.stem}-ranked.json") if is_page(out) else out / "ranked.json"


def keep_ranked(found: Sequence[Ranked], names: Sequence[str], judge: Placed, arguments: GenerateArguments) -> None:
    """Write pictures and scores, and print the scores: one page, or a file for each picture and a strip for each caption.

    names: how the files of each caption begin.
    """
    from PIL import Image

    from limner.core.files import save_whole, write_whole
    from limner.explore.rerank import strip

    out, page = arguments.out, is_page(arguments.out)
    (out.parent if page else out).mkdir(parents=True, exist_ok=True)
    if page:
        save_whole(strip(found), out)
    rows, lines = [], []
    for each, name in zip(found, names, strict=True):
        pictures = []
        for place, (score, number) in enumerate(zip(each.scores.tolist(), each.numbers.tolist(), strict=True)):
            path = out / f"{name}-{place + 1:02}.png"
            if not page:
                save_whole(Image.fromarray(each.pictures[place]), path)
            pictures.append({"score": score, "candidate": number + 1} | ({} if page else {"file": path.name}))
            lines.append(f"{score:8.4f}  no. {number + 1} of {each.candidates}  {each.caption if page else path}")
        if not page:
            save_whole(strip([each]), out / f"{name}-ranked.png")
            lines.append(str(out / f"{name}-ranked.png"))
        rows.append({"caption": each.caption, "pictures": pictures})
    facts = {"model": arguments.model, "judge": judge.name, "judge hash": judge.content_hash}
    record = facts | {"seed": arguments.seed, "candidates": found[0].candidates, "captions": rows}
    write_whole(record_of(out), json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print("\n".join([*lines, *([str(out)] if page else []), str(record_of(out))]))
