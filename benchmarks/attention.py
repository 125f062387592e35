"""AttnGAN's published birds configuration and the authors' program: `python benchmarks/attention.py train|paint|memory|profile`.

Three branches up to 256 px, published widths, Inception at 299 px as the matching model's eyes. The authors' step and generator are
`published_attngan.py`'s, ours are the trainer's and the method's, from the same weights and inputs. Each runs in a process of its own, and
the two take turns, so that the ratio is fair where the figures are not: seconds of the clock, and of the processor, which a busy machine
lengthens least. The losses of the first step, and pictures, are compared. Weights are random: what they are does not change the time.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
import tyro
from lightning_fabric import Fabric
from published_attngan import ImageEncoder, PublishedStep, taken_over
from torch import Tensor, nn
from tyro.conf import Positional

from limner.core import random
from limner.core.batch import Batch
from limner.core.recipes import from_preset
from limner.core.trainable import Conditions, Progress
from limner.core.weights import weights_loaded_next
from limner.families.attentive.method import GUIDE
from limner.matching.models.damsm import DAMSM, INSIDE, DAMSMSettings
from limner.methods.attngan import AttnGAN
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.training.choices import prepare_networks
from limner.training.memory import keep_memory
from limner.training.plan import Act, PlannedPhase
from limner.training.trainer import Trainer

SIDE, WORDS, LENGTH = 256, 5449, 18
STEPS = 10**6


@dataclass(frozen=True, kw_only=True)
class Arguments:
    what: Annotated[Positional[Literal["train", "paint", "memory", "profile"]], tyro.conf.arg(metavar="train|paint|memory|profile")]
    """Time of a training step, and the most memory meanwhile; time of painting one picture and eight; that memory in three steps alone; or
    where the time of one of our steps goes."""
    batch_size: int = 2
    """Pictures a training step."""
    repeats: int = 4
    """Pairs of measurements, after one that warms up."""
    threads: int = 2
    """Of the processor."""
    preset: str = "as-published"
    """Preset of ours."""
    recompute: bool = False
    """Let ours compute feature maps again instead of keeping them (`--training.recompute`)."""


class Published:
    """The authors' program."""

    def __init__(self, arguments: Arguments, trains: bool) -> None:
        method, guide = make(arguments, trains, "as-published")
        self.draw_noise, self.guide = method.draw_noise, guide
        if trains:
            self.step = PublishedStep(method, guide, ImageEncoder(cast(Any, guide.picture_side.network), guide))
        else:
            self.generator, _ = taken_over(method)
            self.generator.eval()

    def train(self, batch: Batch) -> None:
        noise = self.draw_noise(batch.seed, batch.samples, "generator")
        captions = [own[0] for own in batch.captions]
        assert batch.classes is not None
        self.found = self.step([batch.image(side) for side in (64, 128, 256)], captions, batch.classes, noise.z, noise.epsilon)

    def losses(self) -> list[float]:
        return self.found

    @torch.no_grad()
    def paint(self, batch: Batch) -> Tensor:
        noise, text = self.draw_noise(0, batch.samples), batch.text
        assert text.words is not None and text.mask is not None
        pictures, _, _ = self.generator(noise.z, noise.epsilon, text.sentence, text.words.transpose(1, 2), ~text.mask)
        return pictures[-1]


class Ours:
    """The trainer's own step, and the method's painting."""

    def __init__(self, arguments: Arguments, trains: bool) -> None:
        keep_memory()  # as the trainer's launch does
        self.method, guide = make(arguments, trains, arguments.preset)
        self.guide = guide
        if not trains:
            self.method.eval().requires_grad_(False)
            return
        guide.picture_side.for_losses()  # as the loader of guides does
        self.method.guide(GUIDE, guide)
        training = dataclasses.replace(from_preset("attngan", arguments.preset, "garden").training, recompute=arguments.recompute)
        prepare_networks(self.method, training)
        act = Act(name="method", registered="attngan", trained=self.method, encoder=guide.encoder)
        self.planned = PlannedPhase(act=act, phase=self.method.phases()[0], steps=STEPS)
        fabric = Fabric(accelerator="cpu", devices=1)
        self.players = self.planned.trainings(training, fabric)
        nothing = cast(Any, None)
        self.trainer = Trainer(training, fabric, nothing, nothing, nothing, nothing)

    def train(self, batch: Batch) -> None:
        step = int(batch.samples[0]) // len(batch)
        batch.texts = (self.guide.encoder([own[0] for own in batch.captions]),)  # as the loader reads them
        progress = Progress(phase="gan", step=step, steps=STEPS, images=step * len(batch), epoch=0.0)
        self.trainer.play(self.planned, batch, self.players, progress)

    def losses(self) -> list[float]:
        """Of the steps since the last call, their means."""
        means = self.trainer._means.read(None)
        return [means[f"{player}/loss"] for player in self.players]

    @torch.inference_mode()
    def paint(self, batch: Batch) -> Tensor:
        return self.method.paint(batch.text, self.method.draw_noise(0, batch.samples)).images


def make(arguments: Arguments, trains: bool, preset: str) -> tuple[AttnGAN, DAMSM]:
    """The method by a preset and its matching model, the same random weights in every process."""
    torch.manual_seed(0)
    encoder = LSTMEncoder(Vocabulary([f"word{number}" for number in range(WORDS)], LENGTH), LSTMSettings())
    with weights_loaded_next():  # orthogonal matrices of these sizes take minutes, and their time is not asked for
        settings = dataclasses.replace(
            from_preset("attngan", preset, "garden").method_settings, matching="given", batch_size=arguments.batch_size
        )
        method = AttnGAN(settings, Conditions(resolution=SIDE, sentence_width=256, word_width=256))
    sees, seen = (INSIDE, 299) if trains else ("trained", 32)
    guide = DAMSM(DAMSMSettings(pictures=sees), Conditions(resolution=seen, sentence_width=256, word_width=256), encoder)
    guide.eval().requires_grad_(False)
    for layer in guide.picture_side.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    if not trains:  # statistics of maps as training leaves them, in place of none
        layers = [layer for layer in method.generator.modules() if isinstance(layer, nn.BatchNorm2d)]
        for layer in layers:
            layer.momentum = 1.0
        batch = make_batch(guide, 2, 0)
        with torch.no_grad():
            method.paint(batch.text, method.draw_noise(0, batch.samples))
    return method.train(), guide


def make_batch(guide: DAMSM, size: int, step: int) -> Batch:
    """Random pictures, and captions of 18 words; a function of the step alone."""
    samples = np.arange(size, dtype=np.int64) + step * size
    captions = [" ".join(f"word{number}" for number in random.integers(WORDS, 0, "words", sample, np.arange(LENGTH))) for sample in samples]
    pictures = torch.from_numpy(random.uniform(0, "pictures", samples[:, None], np.arange(3 * SIDE * SIDE))).float() * 2 - 1
    with torch.no_grad():
        text = guide.encoder(captions)
    return Batch(
        pictures=pictures.view(size, 3, SIDE, SIDE),
        captions=[[caption] for caption in captions],
        texts=(text,),
        indices=samples,
        samples=samples,
        seed=0,
        classes=torch.arange(size),
    )


def work(kind: str, arguments: Arguments, wire: Connection) -> None:
    """One side, in a process of its own: measures what it is asked for."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    trains = arguments.what != "paint"
    side = Published(arguments, trains) if kind == "published" else Ours(arguments, trains)
    wire.send("ready")
    while (order := wire.recv()) is not None:
        size, number = order
        batch = make_batch(side.guide, size, number)
        clock, processor = time.perf_counter(), time.process_time()
        pictures = side.train(batch) if trains else side.paint(batch)
        spent = time.perf_counter() - clock, time.process_time() - processor
        result = side.losses() if pictures is None else pictures.numpy()
        wire.send((*spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, result))


class Side:
    """The other end of such a process."""

    def __init__(self, kind: str, arguments: Arguments) -> None:
        context = multiprocessing.get_context("spawn")
        self.wire, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(kind, arguments, theirs), daemon=True)
        self.process.start()
        assert self.wire.recv() == "ready"

    def __call__(self, size: int, number: int) -> tuple[float, float, float, Any]:
        """Seconds of the clock and of the processor, the most MiB so far, and losses or pictures."""
        self.wire.send((size, number))
        return cast(tuple[float, float, float, Any], self.wire.recv())

    def end(self) -> None:
        self.wire.send(None)
        self.process.join()


def measure(sides: Sequence[Side], size: int, repeats: int, check: Callable[[Any, Any, int], None], what: str) -> None:
    """Let both take turns and print medians of each and of the ratios."""
    rows = []
    for number in range(repeats + 1):
        published, ours = (side(size, number) for side in sides)
        check(published[3], ours[3], number)
        rows.append((published, ours))
    for place, unit in ((0, "s"), (1, "s of processor time")):
        theirs, own = ([row[side][place] for row in rows[1:]] for side in (0, 1))
        ratios = [one / other for one, other in zip(theirs, own, strict=True)]
        print(
            f"{what}: published {statistics.median(theirs):.3f}, ours {statistics.median(own):.3f} {unit}, "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    peaks = [max(row[side][2] for row in rows) for side in (0, 1)]
    print(f"{what}: the most memory of the process, published {peaks[0]:.0f}, ours {peaks[1]:.0f} MiB, ratio {peaks[1] / peaks[0]:.2f}")


def same_losses(published: list[float], ours: list[float], step: int) -> None:
    """Of the first step, before and after the discriminators have changed; later ones drift apart by what Adam makes of rounding."""
    differences = [abs(one - other) / abs(one) for one, other in zip(published, ours, strict=True)]
    print(f"step {step}: losses differ by {', '.join(f'{value:.1e}' for value in differences)} of themselves", flush=True)
    if step == 0 and max(differences) > 1e-4:
        raise SystemExit("the losses of the first step are not the same")


def same_pictures(published: Any, ours: Any, _: int) -> None:
    largest = float(np.abs(published - ours).max())
    if largest > 1e-3:
        raise SystemExit(f"pictures differ by {largest:.1e}")


KINDS = {
    "convolutions, forward": ("convolution", "conv_transpose", "_slow_conv", "mkldnn_conv", "thnn_conv"),
    "convolutions, backward": ("convolution_backward",),
    "matrix products": ("mm", "bmm", "addmm", "baddbmm", "im2col", "col2im", "unfold", "fold"),
    "normalisation": ("_Normalization", "batch_norm", "native_batch_norm", "native_batch_norm_backward", "square_", "sub", "sum"),
    "gates and activations": (
        "glu",
        "glu_backward",
        "sigmoid",
        "_Gate",
        "leaky_relu_",
        "leaky_relu_backward",
        "relu_",
        "threshold_backward",
    ),
    "optimisers and averages": ("_fused_adam_", "_foreach_lerp_", "_foreach_norm"),
    "copies and sums of gradients": ("copy_", "cat", "add_", "add", "zero_", "fill_", "empty", "clone"),
}
"""Operations of PyTorch, by what they are for."""


def profile(arguments: Arguments) -> None:
    """Print where the processor time of one of our steps goes."""
    torch.set_num_threads(arguments.threads)
    ours = Ours(arguments, True)
    ours.train(make_batch(ours.guide, arguments.batch_size, 0))
    batch = make_batch(ours.guide, arguments.batch_size, 1)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as watched:
        ours.train(batch)
    spent: dict[str, float] = {}
    kinds = {f"{prefix}{name}": kind for kind, names in KINDS.items() for name in names for prefix in ("aten::", "")}
    for event in watched.key_averages():
        kind = kinds.get(event.key, "convolutions, forward" if "conv" in event.key and "backward" not in event.key else "all else")
        spent[kind] = spent.get(kind, 0.0) + event.self_cpu_time_total / 1e6
    for kind, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{kind}: {seconds:.2f} s, {seconds / sum(spent.values()):.0%}")


def main(arguments: Arguments) -> None:
    if arguments.what == "profile":
        profile(arguments)
        return
    sides = [Side(kind, arguments) for kind in ("published", "ours")]
    if arguments.what == "paint":
        for size in (1, 8):
            measure(sides, size, arguments.repeats, same_pictures, f"{size} picture{'s' * (size > 1)}")
    elif arguments.what == "train":
        measure(sides, arguments.batch_size, arguments.repeats, same_losses, f"a step of {arguments.batch_size} pictures")
    else:
        peaks = [max(side(arguments.batch_size, number)[2] for number in range(3)) for side in sides]
        print(f"the most memory in three steps: published {peaks[0]:.0f}, ours {peaks[1]:.0f} MiB, ratio {peaks[1] / peaks[0]:.2f}")
    for side in sides:
        side.end()


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
