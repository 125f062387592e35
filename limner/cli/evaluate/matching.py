"""`limner evaluate` of a matching model: retrieval both ways and, where there are classes, zero-shot classification."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.datasets import ModelsData
from limner.cli.models import Device, chosen_device
from limner.cli.outputs import check_file
from limner.core.errors import DataError, SettingsError

DESCRIPTION = """Score a matching model on pictures it was not trained on: retrieval among pools of 100, both ways.
Where there are classes, also zero-shot classification (top-1) and retrieval by class (AP@k), as published: a class is the mean embedding of
all its captions. On the garden, also how often a picture's caption comes before 99 that each contradict the picture.

examples:
  limner evaluate runs/words
  limner evaluate runs/words --data prepared/mine --split val"""


@dataclass(frozen=True, kw_only=True)
class EvaluateMatchingArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """The run folder or model folder of a matching model."""
    data: ModelsData = None
    split: Annotated[str, arg(metavar="NAME")] = "test"
    """The split to score on."""
    count: Annotated[int, arg(metavar="N")] = 1000
    """The most pictures for retrieval."""
    pool: Annotated[int, arg(metavar="N")] = 100
    """Pictures and captions among which each finds its own."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Decides which caption of each picture is drawn, and the pools."""
    out: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Where the scores go, in place of matching-SPLIT.json in the run or model folder."""
    device: Device = "auto"
    """Where to look: `auto` takes a GPU if there is one."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(EvaluateMatchingArguments, argv, prog="limner evaluate", description=DESCRIPTION)
    if arguments.count < 2 or arguments.pool < 2:
        raise SettingsError("--count and --pool must be at least 2: one picture alone finds itself")
    if arguments.out is not None:
        check_file(arguments.out)
    from limner.core.files import write_whole
    from limner.matching.saving import load_matching
    from limner.training.trained import trained_on

    model = load_matching(arguments.model, chosen_device(arguments.device))
    data = arguments.data or trained_on(arguments.model, model.about)
    record = measured(model, data, arguments)
    print(table(record))
    target = arguments.out or Path(arguments.model) / f"matching-{arguments.split}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, json.dumps(record, indent=1) + "\n")
    print(f"\nscores  {target}")
    return 0


def measured(model: Any, data: str, arguments: EvaluateMatchingArguments) -> dict[str, Any]:
    """Every figure, with what it was taken on."""
    import limner
    from limner.data.catalog import GardenPictures, open_data
    from limner.matching.scores.distractors import distractor_retrieval
    from limner.matching.scores.retrieval import r_precision, retrieval
    from limner.matching.scores.zero_shot import zero_shot

    pictures = open_data(data, arguments.split, model.resolution)
    captioned = int((pictures.caption_counts > 0).sum())
    if captioned < 2:
        raise DataError(f"the {arguments.split} split of {data} has {captioned} captioned pictures: choose another --split")
    pool = min(arguments.pool, captioned)
    if arguments.count < pool:
        raise SettingsError(f"--count {arguments.count} is less than a pool of {pool}: give --pool {arguments.count}, or a larger --count")
    record: dict[str, Any] = {
        "protocol": {
            "data": pictures.name,
            "split": pictures.split,
            "fingerprint": pictures.fingerprint,
            "model": model.content_hash,
            "pictures through": model.looks_with or "its own network",
            "resolution": model.resolution,
            "seed": arguments.seed,
            "pool": pool,
            "version": limner.__version__,
        },
        "retrieval": retrieval(model, pictures, count=arguments.count, pool=pool, seed=arguments.seed),
    }
    with suppress(DataError):  # a small split has too few different captions for it
        record["r_precision"] = r_precision(model, pictures, count=arguments.count, seed=arguments.seed)
    if pictures.class_ids is not None:
        record["zero_shot"] = zero_shot(model, pictures)
    if isinstance(pictures, GardenPictures):
        record["distractors"] = distractor_retrieval(model, pictures, count=arguments.count, seed=arguments.seed)
    return record


def table(record: dict[str, Any]) -> str:
    """The figures as lines of text, with chance next to them."""
    protocol, found = record["protocol"], record["retrieval"]
    pool = protocol["pool"]
    lines = [f"retrieval among {pool} ({found['count']:,.0f} pictures, one drawn caption each)", f"{'':24}{'R@1':>8}{'R@5':>8}{'R@10':>8}"]
    for name, text in (("picture_to_caption", "a picture's caption"), ("caption_to_picture", "a caption's picture")):
        lines.append(f"  {text:<22}" + "".join(f"{100 * found[f'{name}_{depth}']:>7.1f}%" for depth in (1, 5, 10)))
    lines.append(f"  {'chance':<22}" + "".join(f"{100 * min(depth / pool, 1):>7.1f}%" for depth in (1, 5, 10)))
    if "r_precision" in record:
        hits = record["r_precision"]
        shares = [(f"{hits['wrong']:.0f} of other pictures", hits["r_precision"])]
        if "r_precision_other_classes" in hits:
            shares.append((f"{hits['wrong']:.0f} of other classes", hits["r_precision_other_classes"]))
        lines.append(f"\nR-precision of real pictures, one true caption and ({hits['count']:,.0f} pictures)")
        lines += [f"  {text:<22}{100 * share:>7.1f}%" for text, share in (*shares, ("chance", hits["chance"]))]
    if "zero_shot" in record:
        shot = record["zero_shot"]
        lines += [
            f"\nzero-shot over {shot['classes']:.0f} classes ({shot['pictures']:,.0f} pictures)",
            f"{'':24}{'top-1':>8}{'AP@1':>8}{'AP@5':>8}{'AP@10':>8}{'AP@50':>8}",
            f"  {'this model':<22}" + "".join(f"{100 * shot[name]:>7.1f}%" for name in ("top_1", "ap_1", "ap_5", "ap_10", "ap_50")),
            f"  {'chance':<22}{100 * shot['chance']:>7.1f}%" + 4 * f"{100 * shot['chance_ap']:>7.1f}%",
            f"  {'a perfect one':<22}{100:>7.1f}%" + "".join(f"{100 * shot[f'most_ap_{depth}']:>7.1f}%" for depth in (1, 5, 10, 50)),
        ]
    if "distractors" in record:
        lines.append(distractors_table(record["distractors"]))
    facts = ", ".join(f"{name} {value}" for name, value in protocol.items())
    return "\n".join([*lines, f"\nprotocol: {facts}"])


def distractors_table(found: dict[str, float]) -> str:
    """The figures of `distractor_retrieval` as lines of text."""
    named = {name.removeprefix("right_first_of_"): share for name, share in found.items() if name.startswith("right_first_of_")}
    return "\n".join(
        [
            f"\none true caption and {found['distractors']:.0f} that contradict the picture ({found['count']:,.0f} pictures)",
            f"  {'the true one first':<22}{100 * found['right_first']:>7.1f}%   mean rank {found['mean_rank']:.2f}",
            f"  {'chance':<22}{100 * found['chance']:>7.1f}%",
            "  by the attributes that the true one names: " + ", ".join(f"{number}: {100 * share:.1f}%" for number, share in named.items()),
        ]
    )
