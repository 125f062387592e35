"""Limner Flow: a flow from noise to pictures, and a network that goes the whole way in one step.

Limner's own combination of published ideas, next to Limner GAN:

- a rectified flow (Liu et al., arXiv:2209.03003; Lipman et al., arXiv:2210.02747): pictures x and noise e are joined by straight lines
  z = (1 - t) x + t e, and a network learns the mean velocity e - x of all lines through z;
- the network says what the *picture* is, and the loss compares velocities (Li and He, "Back to Basics", arXiv:2511.13720);
- times are drawn from a logit-normal distribution (Esser et al., arXiv:2403.03206);
- contrastive flow matching (Stoica et al., arXiv:2506.05350): away from the velocity of another picture's line, a little;
- classifier-free guidance (Ho and Salimans, arXiv:2207.12598) in the middle of the way (Kynkaanniemi et al., arXiv:2404.07724);
- mean flow (Geng et al., arXiv:2505.13447): a second network learns the mean velocity u(z, t, r) over a stretch of the way, from t down
  to r, by the identity u = v - (t - r) du/dt. Here v is the first network's guided velocity, so that one step makes the guided picture,
  and du/dt is a difference of two evaluations. Nothing was taken from the code of these papers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core import random
from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import VectorNoise, gaussian
from limner.core.optimizers import Adam
from limner.core.schedules import cosine
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.flow.network import FlowNetwork

FLOW, ONE_STEP = "flow", "one-step"
NEAREST = 0.05
"""Smallest time that a velocity is divided by, as in the code of arXiv:2511.13720."""
APART = 0.01
"""Between the times of the two evaluations whose difference gives du/dt, and the time in between."""
STEPS = 12
"""Steps of a painting by the flow, unless the settings say otherwise."""


@dataclass(frozen=True, kw_only=True)
class LimnerFlowSettings(shared.ClipSettings, shared.ScheduleSettings):
    """Settings of Limner Flow."""

    patch: int = 4
    """Side in pixels of the squares that become one place of the network's largest map."""
    channels: int = 128
    """Channels of the largest map; each smaller one has half of them more."""
    blocks: int = 2
    """Residual blocks of each map, on the way down; one more on the way up."""
    time_mean: float = -0.4
    """Mean of the normal distribution whose sigmoid gives the times of a step: below 0, more of them are near the picture."""
    time_spread: float = 1.0
    """Standard deviation of that distribution."""
    contrastive_weight: float = 0.05
    """Weight with which the velocity is moved away from that of the next picture of the batch."""
    unconditional: float = 0.1
    """Share of the training pictures that are shown without their caption, which guidance needs."""
    guidance: float = 2.5
    """How far the text moves the flow, times what it does by itself: 1 leaves it at that. The network for one step learns it; painting with
    another one needs `paint_steps` of 2 or more."""
    guidance_from: float = 0.2
    """Time above which there is guidance; the last details are painted without it."""
    guidance_to: float = 0.9
    """Time up to which there is guidance; where nearly all is noise, there is none."""
    one_step_share: float = 0.4
    """Part of a budget in minutes, and of the passes, in which the network for one step is trained; 0 for none."""
    paint_steps: int | None = None
    """Steps of a painting: 1 by the network for one step, more by the flow, each but the last with two evaluations (Heun). By default 1, or
    12 without that network."""
    whole: float = 0.25
    """Share of the second phase's pictures whose stretch begins at pure noise, as painting does."""
    instant: float = 0.25
    """Share of the second phase's pictures whose stretch has no length, where the mean velocity is the flow's own."""
    learning_rate: float = 3e-4
    """Learning rate of both networks' Adam."""
    beta2: float = 0.99
    """Second-moment decay of Adam."""
    cool_from: float = 0.5
    """Share of each phase's budget after which the learning rate falls to a hundredth, along a half cosine."""
    gradient_clip: float = 1.0
    epochs: float = 400.0
    """Passes over the training pictures, of both phases together."""
    batch_size: int = 128

    def check(self) -> None:
        at_least(self, "method", 1, "patch", "blocks", "paint_steps", "guidance")
        at_least(self, "method", 0, "contrastive_weight")
        at_least(self, "method", -10, "time_mean")
        above_zero(self, "method", "learning_rate", "time_spread")
        shared.share(self, "guidance_from", "guidance_to", "whole", "instant", "cool_from")
        shared.below_one(self, "unconditional", "one_step_share", "beta2")
        if self.whole + self.instant > 1.0:
            raise SettingsError(f"method.whole and method.instant are {self.whole + self.instant:g} together, but must be at most 1")
        if self.guidance_from >= self.guidance_to:
            raise SettingsError("method.guidance-from must be below method.guidance-to: give method.guidance 1 for none")
        if self.channels < 16 or self.channels % 16:
            raise SettingsError(f"method.channels is {self.channels}, but must be a multiple of 16")
        if self.guidance != 1.0 and not self.unconditional:
            fix = "train with method.unconditional, such as 0.1, or give a guidance of 1"
            raise SettingsError(f"method.guidance needs a flow that was trained without text too: {fix}")
        if self.paint_steps == 1 and not self.one_step_share:
            raise SettingsError("method.paint-steps is 1, but method.one-step-share is 0: no network learns to paint in one step")


class LimnerFlow(Method[VectorNoise]):
    """The flow, and then the network that paints in one step."""

    Settings = LimnerFlowSettings
    title = "Limner Flow"
    paper = "Limner's own, of rectified flow (arXiv:2209.03003), x-prediction (arXiv:2511.13720) and mean flow (arXiv:2505.13447)"
    presets = {
        "as-published": Preset(sentence="Wide networks at 64 px, for a GPU.", resolution=64),
        "cpu": Preset(
            sentence="Narrow networks, sized for an hour of two CPU cores.",
            resolution=64,
            method={"channels": 48, "blocks": 1, "batch_size": 16, "learning_rate": 1e-3, "epochs": 60.0},
        ),
    }
    settings: LimnerFlowSettings

    def __init__(self, settings: LimnerFlowSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions)
        sizes = conditions.resolution, settings.patch, settings.channels, settings.blocks, conditions.sentence_width, conditions.word_width
        self.flow = FlowNetwork(*sizes, guided=settings.unconditional > 0)
        self.one_step = FlowNetwork(*sizes) if settings.one_step_share else None
        self.one_step_begun = False
        self.register_state("one_step_begun", False)

    @property
    def sampling(self) -> tuple[str, ...]:
        """What may be chosen for painting: guidance only where the flow paints, as one step has it from training."""
        return ("paint_steps",) if self._steps() == 1 else ("guidance", "paint_steps")

    def players(self) -> dict[str, Player]:
        settings = self.settings
        optimizer = Adam(learning_rate=settings.learning_rate, betas=(0.9, settings.beta2))
        networks = {FLOW: self.flow} | ({} if self.one_step is None else {ONE_STEP: self.one_step})
        return {
            name: Player(
                module=network,
                optimizer=optimizer,
                averaged=True,
                learning_rate_factor=lambda progress: cosine(progress, settings.cool_from, 0.01),
                gradient_clip=settings.gradient_clip or None,
            )
            for name, network in networks.items()
        }

    def phases(self) -> list[Phase]:
        settings, words = self.settings, self.conditions.word_width is not None
        shares = {FLOW: 1.0 - settings.one_step_share, ONE_STEP: settings.one_step_share}
        return [
            Phase(
                name=name,
                resolution=self.conditions.resolution,
                batch_size=settings.batch_size,
                epochs=share * settings.epochs,
                share=share,
                players=(name,),
                words=words,
            )
            for name, share in shares.items()
            if share
        ]

    def begin(self, phase: Phase) -> None:
        """The network for one step begins as the flow's, whose weights are then those of its running average, and stand still."""
        super().begin(phase)
        self.flow.requires_grad_(phase.name == FLOW)
        if phase.name == ONE_STEP and not self.one_step_begun:
            assert self.one_step is not None
            self.one_step.load_state_dict({name: value for name, value in self.flow.state_dict().items() if name != "no_text"})
            self.one_step_begun = True

    def adopt(self, phase: Phase, state: Mapping[str, Tensor]) -> None:
        super().adopt(phase, state)
        self.one_step_begun = self.one_step_begun or phase.name == ONE_STEP

    def couples_rows(self) -> str | None:
        weight = self.settings.contrastive_weight
        return "method.contrastive-weight moves each velocity away from that of the next picture" if weight else None

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        yield self._flow_update(batch) if progress.phase == FLOW else self._one_step_update(batch)

    def _flow_update(self, batch: Batch) -> Update:
        """The mean of ||(z - f(z)) / t - (e - x)||^2, less a part of the distance to the velocity of the next picture's line."""
        settings, pictures = self.settings, batch.pictures
        time = self._times(batch, "time")
        noisy = between(pictures, self.noise(batch, FLOW).z, time)
        told = drawn(batch, "told") >= settings.unconditional if settings.unconditional else None
        found = self._plain(noisy, time, batch.text, told)
        wanted = velocity(noisy, pictures, time)
        error = F.mse_loss(found, wanted)
        loss = error
        if settings.contrastive_weight and len(batch) > 1:
            loss = loss - settings.contrastive_weight * F.mse_loss(found, wanted.roll(1, 0))
        return Update(FLOW, loss, {"error": error.detach()})

    def _one_step_update(self, batch: Batch) -> Update:
        """The mean of ||u - (v - (t - r) du/dt)||^2, each row divided by its own size."""
        assert self.one_step is not None
        settings = self.settings
        kind, share = drawn(batch, "kind"), settings.whole + settings.instant
        time = torch.where(kind < settings.whole, 1.0, self._times(batch, "time"))
        end = drawn(batch, "end")
        end = torch.where(kind < settings.whole / 2, 0.0, end * time)  # half of what begins at pure noise is painting itself
        span = torch.where((kind >= settings.whole) & (kind < share), 0.0, time - end)
        noisy = between(batch.pictures, self.noise(batch, ONE_STEP).z, time)
        with torch.no_grad():
            instant = self.guided(noisy, time, batch.text)
            later, sooner = (
                self._mean_velocity(noisy + apart * instant, time + apart, span + apart, batch.text) for apart in (APART, -APART)
            )
            slope = (later - sooner) / (2 * APART)
            wanted = instant - span[:, None, None, None] * slope
        error = (self._mean_velocity(noisy, time, span, batch.text) - wanted).square().flatten(1).mean(1)  # [B]
        loss = (error / (error.detach() + 1e-3)).mean()
        metrics = {"error": error.mean(), "whole": error[kind < settings.whole].mean(), "slope": slope.square().mean().sqrt()}
        return Update(ONE_STEP, loss, {name: value.detach().nan_to_num() for name, value in metrics.items()})

    def _mean_velocity(self, noisy: Tensor, time: Tensor, span: Tensor, text: TextFeatures) -> Tensor:
        assert self.one_step is not None
        return velocity(noisy, self.one_step(noisy, time, span, text), time)

    def guided(self, noisy: Tensor, time: Tensor, text: TextFeatures) -> Tensor:
        """The flow's velocity at pictures [B, 3, R, R] and times [B], led by the text: [B, 3, R, R]."""
        settings, own = self.settings, self._plain(noisy, time, text)
        if settings.guidance == 1.0:
            return own
        without = self._plain(noisy, time, text, torch.zeros_like(time, dtype=torch.bool))
        led = (time > settings.guidance_from) & (time <= settings.guidance_to)
        more = (settings.guidance - 1.0) * led.to(own.dtype)
        return own + more[:, None, None, None] * (own - without)

    def _plain(self, noisy: Tensor, time: Tensor, text: TextFeatures, told: Tensor | None = None) -> Tensor:
        return velocity(noisy, self.flow(noisy, time, torch.zeros_like(time), text, told), time)

    def _times(self, batch: Batch, stream: str) -> Tensor:
        """A time for each row, [B]: logit-normal."""
        normal = gaussian((1,), batch.seed, batch.samples, stream)[:, 0].to(batch.pictures.device)
        return (self.settings.time_mean + self.settings.time_spread * normal).sigmoid()

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise:
        side = self.conditions.resolution
        return VectorNoise(gaussian((3, side, side), seed, samples, stream))

    def _steps(self) -> int:
        """Steps of a painting; at least 2 until the one-step network is trained."""
        steps = self.settings.paint_steps or (1 if self.one_step_begun else STEPS)
        return steps if self.one_step_begun else max(steps, 2)

    def paint(self, text: TextFeatures, noise: VectorNoise) -> Painting:
        steps, z = self._steps(), noise.z
        if steps == 1:
            assert self.one_step is not None
            one = torch.ones_like(z[:, 0, 0, 0])
            return Painting(self.one_step(z, one, one, text).clamp(-1.0, 1.0))
        times = [1.0 - step / steps for step in range(steps + 1)]
        for now, then in zip(times, times[1:], strict=False):
            z = self._heun(z, now, then, text)
        return Painting(z.clamp(-1.0, 1.0))

    def _heun(self, z: Tensor, now: float, then: float, text: TextFeatures) -> Tensor:
        """A step of Heun's method from one time to a lower one; Euler's, where that is 0."""

        def at(pictures: Tensor, time: float) -> Tensor:
            led = self.settings.guidance_from < time <= self.settings.guidance_to  # else the flow without text need not be asked
            return (self.guided if led else self._plain)(pictures, torch.full_like(pictures[:, 0, 0, 0], time), text)

        first = at(z, now)
        there = z - (now - then) * first
        return there if then == 0.0 else z - (now - then) / 2 * (first + at(there, then))


def between(pictures: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """The points at times [B] on the lines from pictures to noise: (1 - t) x + t e."""
    t = time[:, None, None, None]
    return (1.0 - t) * pictures + t * noise


def velocity(noisy: Tensor, pictures: Tensor, time: Tensor) -> Tensor:
    """The velocity (z - x) / t of the line through z that leads to the pictures, [B, 3, R, R]; time: [B]."""
    return (noisy - pictures) / time.clamp_min(NEAREST)[:, None, None, None]


def drawn(batch: Batch, stream: str) -> Tensor:
    """A number between 0 and 1 for each row of a batch: [B]."""
    return torch.from_numpy(random.uniform(batch.seed, stream, batch.samples)).float().to(batch.pictures.device)
