"""Writing codes with and without the cache of keys and values: `python benchmarks/sampling.py`.

The transformer of `dall-e`'s preset `cpu`, over a grid of 16 x 16 codes by default, with random weights: what they are does not change the
time. Both ways take turns, and must write the same codes.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch
import tyro

from limner.core.trainable import Conditions
from limner.families.codes.sampling import Choice, write_codes
from limner.methods.dall_e import DALLE, SMALL, DALLESettings


@dataclass(frozen=True, kw_only=True)
class Arguments:
    side: int = 16
    """Side of the grid of codes."""
    pictures: int = 1
    """Pictures of one caption that are written together."""
    repeats: int = 3
    """Pairs of measurements, after one that warms up."""
    threads: int = 2
    """Of the processor."""


def main() -> None:
    asked = tyro.cli(Arguments, description=__doc__)
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    method = DALLE(DALLESettings(**SMALL), Conditions(resolution=asked.side << SMALL["halvings"], sentence_width=0, word_width=0)).eval()
    network = method.transformer
    ids, rows = network.ids(torch.arange(1, 21)[None]), torch.zeros(asked.pictures, dtype=torch.int64)
    numbers = torch.rand(asked.pictures, network.line.codes, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    choice = Choice()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    codes: dict[bool, torch.Tensor] = {}
    for turn in range(asked.repeats + 1):
        for cached in (True, False):
            begun = time.perf_counter()
            codes[cached] = write_codes(network, ids, rows, lambda logits, n: choice.drawn(logits, numbers[:, n]), cached=cached)
            if turn:
                seconds[cached].append(time.perf_counter() - begun)
    with_cache, without = (statistics.median(seconds[cached]) for cached in (True, False))
    same = float((codes[True] == codes[False]).float().mean())
    print(f"{asked.pictures} pictures of {network.line.codes} codes, {asked.threads} threads, {same:.1%} of the codes the same")
    print(f"{with_cache:.3f} s with the cache, {without:.3f} s without, ratio {without / with_cache:.1f}")


if __name__ == "__main__":
    main()
