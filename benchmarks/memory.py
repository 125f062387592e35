"""Memory and time of a training step: `python benchmarks/memory.py` for every method by preset `cpu`, or METHOD[:PRESET] ... for some.

Each is tried as `limner train --memory` does it: two real steps of each phase on the garden, or on what the method needs (its stories, its
bouquets), in a process of its own, of which the second is timed; as it is, and with `--training.recompute`. Memory is the most of the whole
process, of which Python and PyTorch are some 300 MiB; time is that of the slowest phase.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated

import tyro
from tyro.conf import Positional

from limner.core import registry
from limner.core.recipes import from_preset, trainable
from limner.training.fitting import Tried, two_steps


@dataclass(frozen=True)
class Arguments:
    methods: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="METHOD[:PRESET] ...")] = ()
    """What to measure; without any, every method by preset `cpu`."""


def measured(method: str, preset: str) -> tuple[Tried, Tried]:
    """A method's steps as they are, and with maps that are computed again."""
    recipe = from_preset(method, preset, trainable(method).world)
    again = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, recompute=True, compile="nothing"))
    return two_steps(recipe), two_steps(again)


def main(arguments: Arguments) -> None:
    print("| method | preset | pictures a step | MiB | seconds | recomputing: MiB | seconds |\n|---|---|---:|---:|---:|---:|---:|")
    for given in arguments.methods or registry.names("method"):
        method, _, preset = given.partition(":")
        plain, again = measured(method, preset or "cpu")
        figures = [f"{found.memory:,} | {found.seconds:.2f}" if found.memory else "more than there is here | " for found in (plain, again)]
        print(f"| `{method}` | `{preset or 'cpu'}` | {plain.rows} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
