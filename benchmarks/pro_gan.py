"""T2F's step compared with that of the package it is built upon, whose checkout is given: `python benchmarks/pro_gan.py pro_gan_pytorch-1`.

The checkout is of akanimax/pro_gan_pytorch at commit dbd0e39 (version 1.x). Both have the sizes of T2F's second configuration (64 px, 256
numbers in the latent and channels), WGAN-GP, the matching-aware term, Adam and a running average; sentences are given, and there are no
data to read. Each is measured in a process of its own, in turns, by processor time, which a busy machine lengthens least; memory is the
most that a process has held.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

import torch
from next_to import compare, measured

RESOLUTION, COMPRESSED, ALPHA = 64, 32, 0.5


def ours(channels: int, sentence_width: int, rows: int) -> Callable[[], None]:
    """A step of Limner's as its trainer takes it: both players' turns with optimiser, running average and checks."""
    import numpy as np

    import limner
    from limner.core.batch import Batch
    from limner.core.text import TextFeatures
    from limner.core.trainable import Progress
    from limner.training.players import PlayerTraining, Statistics

    sizes = {"latent_width": channels, "condition_width": channels // 2, "compressed_width": COMPRESSED, "channels": channels}
    method = limner.create("t2f", preset="as-published-64", resolution=RESOLUTION, sentence_width=sentence_width, **sizes).train()
    method.begin(method.phases()[-1])
    statistics_, players = Statistics(method), method.players()
    turns = {name: PlayerTraining(player, statistics_, ema_half_life=44_340.0) for name, player in players.items()}
    pictures, count = torch.rand(rows, 3, RESOLUTION, RESOLUTION) * 2 - 1, np.arange(rows)
    text = TextFeatures(torch.randn(rows, sentence_width))
    progress = Progress(phase=method.phases()[-1].name, step=1, steps=8, images=0, epoch=0.0)  # in the middle of the fade
    assert method.fading(progress) == ALPHA

    def step() -> None:
        for update in method.training_step(Batch(pictures, [["a"]] * rows, (text,), count, count, 0), progress):
            turns[update.player].take(update.loss, progress, rows)

    return step


def theirs(code: str, channels: int, sentence_width: int, rows: int) -> Callable[[], None]:
    """A step of T2F's loop upon the package: augmentation, the discriminator's turn, the generator's, and the divergence's."""
    sys.path.insert(0, code)
    torch.nn.functional.upsample = torch.nn.functional.interpolate  # type: ignore[attr-defined]  # under its present name
    from pro_gan_pytorch.PRO_GAN import ConditionalProGAN  # type: ignore[import-not-found]

    depth = RESOLUTION.bit_length() - 2
    gan = ConditionalProGAN(sentence_width, depth=depth, latent_size=channels, compressed_latent_size=COMPRESSED, beta_1=0.0)
    augmentation = torch.nn.Linear(sentence_width, channels)
    optimizer = torch.optim.Adam(augmentation.parameters(), 1e-3, (0.0, 0.99))
    pictures, sentences = torch.rand(rows, 3, RESOLUTION, RESOLUTION) * 2 - 1, torch.randn(rows, sentence_width)

    def step() -> None:
        mean, spread = augmentation(sentences).chunk(2, dim=1)
        deviation = torch.relu(spread) + 1e-12
        latent = torch.cat([mean + deviation * torch.randn_like(mean), torch.randn(rows, channels // 2)], dim=1)
        gan.optimize_discriminator(latent, pictures, sentences, depth - 1, ALPHA)
        optimizer.zero_grad()
        divergence = 0.5 * (mean**2 + deviation**2 - torch.log(deviation**2) - 1).sum(1).mean()
        divergence.backward(retain_graph=True)
        gan.optimize_generator(latent, sentences, depth - 1, ALPHA)
        optimizer.step()

    return step


def measure(who: str, code: str, channels: int, sentence_width: int, rows: int, steps: int) -> dict[str, float]:
    """Median milliseconds of processor time of a step, and the process's peak in MB."""
    torch.set_num_threads(1)
    step = ours(channels, sentence_width, rows) if who == "limner" else theirs(code, channels, sentence_width, rows)
    return measured(step, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("code", help="a checkout of akanimax/pro_gan_pytorch, commit dbd0e39")
    parser.add_argument("--channels", type=int, default=256, help="latent size, and channels of the coarsest maps")
    parser.add_argument("--sentence-width", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=8, help="pictures a step")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--who", choices=["limner", "pro_gan_pytorch"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.who:
        print(json.dumps(measure(given.who, given.code, given.channels, given.sentence_width, given.rows, given.steps)))
        return
    compare(__file__, ("limner", "pro_gan_pytorch"), given.turns)


if __name__ == "__main__":
    main()
