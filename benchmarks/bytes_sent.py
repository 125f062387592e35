"""How much processes send each other in a step: the gradients of all players of the phase that paints, once each, as float32.

    python benchmarks/bytes_sent.py

Networks are built and not trained; nothing is sent. Each method has its published sizes where it has a preset for them.
"""

from __future__ import annotations

import torch

from limner.core.recipes import from_preset, trainable
from limner.core.registry import built_in, get
from limner.training.choices import settled
from limner.training.plan import make_plan, training_pictures

HOSTS = (8, 64)
NETWORKS = {"1 Gbit/s": 1e9 / 8, "25 Gbit/s": 25e9 / 8}


def ring(size: float, processes: int, bandwidth: float) -> float:
    """Seconds of an all-reduce in a ring, without latency: each process sends 2 (n - 1) / n times what is reduced."""
    return 2 * (processes - 1) / processes * size / bandwidth


def main() -> None:
    columns = [f"{network}, {hosts} hosts" for network in NETWORKS for hosts in HOSTS]
    print("| method, preset | pictures a step | parameters that learn | sent a step | " + " | ".join(columns) + " |")
    print("|---|---:|---:|---:|" + "---:|" * len(columns))
    for name in built_in("method"):
        preset = next((known for known in ("as-published", "gpu") if known in get(name, "method").presets), "cpu")
        recipe = settled(from_preset(name, preset, trainable(name).world), None)
        try:
            plan = make_plan(recipe, training_pictures(recipe), torch.device("cpu"), 1)
        except Exception as error:  # a preset that wants a model of the user's
            print(f"| {name}, {preset} | not built: {str(error)[:80]} |")
            continue
        last = plan.phases[-1]
        count = sum(value.numel() for player in last.players().values() for value in player.module.parameters())
        times = [f"{1000 * ring(4 * count, hosts, bandwidth):,.0f} ms" for bandwidth in NETWORKS.values() for hosts in HOSTS]
        cells = [f"{name}, {preset}", str(last.phase.batch_size), f"{count / 1e6:,.1f} M", f"{4 * count / 1e6:,.0f} MB", *times]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
