"""MSG-GAN's step compared with that of BMSG-GAN's own code, whose checkout is given: `python benchmarks/bmsg_gan.py BMSG-GAN/sourcecode`.

Both have the same widths, batch, losses (relativistic average hinge) and optimisers (Adam), and no data to read. Each is measured in a
process of its own, in turns, by processor time, which a busy machine lengthens least; memory is the most that a process has held.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

import torch
from next_to import compare, measured


def ours(resolution: int, channels: int, rows: int) -> Callable[[], None]:
    """A step of Limner's as its trainer takes it: both players' turns with optimiser, running average and checks."""
    import numpy as np

    import limner
    from limner.core.batch import Batch
    from limner.core.trainable import Progress
    from limner.training.players import PlayerTraining, Statistics

    widths = dict.fromkeys(("noise_width", "generator_channels", "discriminator_channels"), channels)
    method = limner.create("msg-gan", preset="as-published", resolution=resolution, sentence_width=0, **widths).train()
    statistics_, players = Statistics(method), method.players()
    turns = {name: PlayerTraining(player, statistics_, ema_half_life=13_860.0) for name, player in players.items()}
    pictures, count = torch.rand(rows, 3, resolution, resolution) * 2 - 1, np.arange(rows)
    progress = Progress(phase="gan", step=1, steps=100, images=0, epoch=0.0)

    def step() -> None:
        for update in method.training_step(Batch(pictures, [[]] * rows, (), count, count, 0), progress):
            turns[update.player].take(update.loss, progress, rows)

    return step


def theirs(code: str, resolution: int, channels: int, rows: int) -> Callable[[], None]:
    """A step of BMSG-GAN's `train`: the pyramid, the discriminator's turn, the generator's turn with its running average."""
    sys.path.insert(0, code)
    from MSG_GAN.GAN import MSG_GAN  # type: ignore[import-not-found]
    from MSG_GAN.Losses import RelativisticAverageHingeGAN  # type: ignore[import-not-found]
    from torch.nn.functional import avg_pool2d

    depth = resolution.bit_length() - 2
    gan = MSG_GAN(depth=depth, latent_size=channels)
    optimizers = [torch.optim.Adam(network.parameters(), 0.003, (0.0, 0.99)) for network in (gan.gen, gan.dis)]
    loss, pictures = RelativisticAverageHingeGAN(gan.dis), torch.rand(rows, 3, resolution, resolution) * 2 - 1

    def step() -> None:
        reals = [*(avg_pool2d(pictures, 2**level) for level in range(depth - 1, 0, -1)), pictures]
        latent = torch.randn(rows, channels)
        latent = latent / latent.norm(dim=-1, keepdim=True) * channels**0.5
        gan.optimize_discriminator(optimizers[1], latent, reals, loss)
        gan.optimize_generator(optimizers[0], latent, reals, loss)

    return step


def measure(who: str, code: str, resolution: int, channels: int, rows: int, steps: int) -> dict[str, float]:
    """Median milliseconds of processor time of a step, and the process's peak in MB."""
    torch.set_num_threads(1)
    step = ours(resolution, channels, rows) if who == "limner" else theirs(code, resolution, channels, rows)
    return measured(step, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("code", help="the folder `sourcecode` of a checkout of akanimax/BMSG-GAN")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channels", type=int, default=128, help="latent size, and channels of the coarsest maps")
    parser.add_argument("--rows", type=int, default=16, help="pictures a step")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--who", choices=["limner", "bmsg-gan"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.who:
        print(json.dumps(measure(given.who, given.code, given.resolution, given.channels, given.rows, given.steps)))
        return
    compare(__file__, ("limner", "bmsg-gan"), given.turns)


if __name__ == "__main__":
    main()
