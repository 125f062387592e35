"""Pictures a second through each feature network, on one thread, as scores use it and in torch's usual memory format.

    python benchmarks/features.py                  # every network
    python benchmarks/features.py squeezenet       # some

Weights are random, so that no file is needed. The two formats take turns, and the best round of each counts.
"""

from __future__ import annotations

import argparse
import time

import torch

from limner.features.network import FeatureNetwork
from limner.features.registry import FEATURE_NETWORKS, load_feature_network


def built(name: str) -> FeatureNetwork:
    """The network without its published weights."""
    build = FEATURE_NETWORKS[name].build
    return load_feature_network(name) if build is None else build().freeze()


@torch.no_grad()
def seconds(network: FeatureNetwork, pictures: torch.Tensor) -> float:
    """Wall time of one batch."""
    begin = time.perf_counter()
    network(pictures)
    return time.perf_counter() - begin


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(FEATURE_NETWORKS))
    parser.add_argument("--side", type=int, default=64, help="pixels of the pictures given")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures = torch.randint(0, 256, (arguments.batch, 3, arguments.side, arguments.side), dtype=torch.uint8)
    for name in arguments.names:
        formats = [torch.channels_last, torch.contiguous_format]
        networks = [built(name).to(memory_format=layout) for layout in formats]
        times = [[seconds(network, pictures) for network in networks] for _ in range(arguments.rounds)]
        last, usual = (arguments.batch / min(column) for column in zip(*times))
        print(f"{name:22} {last:8.1f} pictures/s, {usual:8.1f} in the usual format", flush=True)
