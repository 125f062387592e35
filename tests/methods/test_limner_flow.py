"""Limner Flow: its losses and paintings against a flow that is known exactly, guidance, its two phases, and settings that cannot be."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from shared.batches import WIDTH, make_batch, make_conditions, make_text
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Progress
from limner.families.flow.network import FlowNetwork, sides_of, waves
from limner.methods.limner_flow import FLOW, NEAREST, ONE_STEP, LimnerFlow, LimnerFlowSettings, between, velocity

SMALL = LimnerFlowSettings(patch=2, channels=16, blocks=1, batch_size=6)
SPREAD = 0.5
"""Standard deviation of the pixels of the known flow's pictures, which are normal and independent."""


def build(**values: Any) -> LimnerFlow:
    torch.manual_seed(0)
    return LimnerFlow(dataclasses.replace(SMALL, **values), make_conditions())


def progress(phase: str) -> Progress:
    return Progress(phase=phase, step=0, steps=10, images=0, epoch=0.0)


def size(time: Tensor) -> Tensor:
    """Standard deviation of what lies on the lines at a time."""
    return ((1.0 - time).square() * SPREAD**2 + time.square()).sqrt()


class Known(nn.Module):
    """The best that a network can do for pictures whose pixels are normal: the mean of the pictures whose lines pass through a point; and
    over a stretch of the way, what leads to the point where the flow arrives, which keeps its distance from 0 in standard deviations."""

    def forward(self, noisy: Tensor, time: Tensor, span: Tensor, text: TextFeatures, told: Tensor | None = None) -> Tensor:
        t, r = time[:, None, None, None], (time - span)[:, None, None, None]
        mean = (1.0 - t) * SPREAD**2 / size(t).square() * noisy
        arrived = noisy * size(r) / size(t)
        over = noisy - t * (noisy - arrived) / torch.where(t == r, 1.0, t - r)
        return torch.where(t == r, mean, over)


def known(**values: Any) -> LimnerFlow:
    method = build(**values)
    method.flow, method.one_step = Known(), Known()  # type: ignore[assignment]
    method.one_step_begun = True
    return method


def test_points_and_velocities_of_lines() -> None:
    pictures, noise = torch.randn(2, 3, 3, 8, 8)
    time = torch.tensor([0.05, 0.4, 1.0])
    noisy = between(pictures, noise, time)
    torch.testing.assert_close(noisy[2], noise[2])
    torch.testing.assert_close(velocity(noisy, pictures, time), noise - pictures, rtol=1e-4, atol=1e-4)
    near = torch.full((3,), NEAREST / 5)
    torch.testing.assert_close(velocity(between(pictures, noise, near), pictures, near), (noise - pictures) / 5, rtol=1e-4, atol=1e-5)


def test_the_flow_s_loss() -> None:
    """A fresh network sees no picture anywhere: its velocity is z / t."""
    method = build(contrastive_weight=0.25)
    batch = make_batch(16, 6)
    (update,) = method.training_step(batch, progress(FLOW))
    time = method._times(batch, "time")
    noise = method.noise(batch, FLOW).z
    noisy = between(batch.pictures, noise, time)
    scale = time.clamp_min(NEAREST)[:, None, None, None]
    found, wanted = noisy / scale, (noisy - batch.pictures) / scale
    torch.testing.assert_close(update.metrics["error"], (found - wanted).square().mean())
    torch.testing.assert_close(update.loss, (found - wanted).square().mean() - 0.25 * (found - wanted.roll(1, 0)).square().mean())
    assert update.player == FLOW and method.couples_rows() and build(contrastive_weight=0.0).couples_rows() is None


def test_times_are_logit_normal() -> None:
    method = build(time_mean=-1.0, time_spread=0.5)
    times = method._times(make_batch(16, 4096, counterfactuals=0), "time")
    logits = times.logit()
    assert abs(float(logits.mean()) + 1.0) < 0.03 and abs(float(logits.std()) - 0.5) < 0.02


@pytest.mark.parametrize("phase", [FLOW, ONE_STEP])
@torch.no_grad()
def test_a_known_flow_has_hardly_any_loss(phase: str) -> None:
    """Of the one-step network nothing but what differences leave; of the flow what no network can know, the spread of lines at a point."""
    method, batch = known(guidance=1.0, contrastive_weight=0.0, unconditional=0.0), make_batch(16, 64, counterfactuals=0)
    batch.pictures = SPREAD * torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    (update,) = method.training_step(batch, progress(phase))
    if phase == ONE_STEP:
        assert float(update.metrics["slope"]) > 0.05 and float(update.metrics["error"]) < 1e-5 and float(update.metrics["whole"]) < 1e-5
    else:
        time = method._times(batch, "time")
        least = (SPREAD * time / size(time) / time.clamp_min(NEAREST)).square().mean()
        torch.testing.assert_close(update.metrics["error"], least, rtol=0.05, atol=0.0)


@torch.no_grad()
def test_a_wrong_mean_velocity_has_a_loss() -> None:
    """The flow's own velocity over a whole stretch would be a straight line, which this flow is not."""
    method = known(guidance=1.0)

    class Straight(Known):
        def forward(self, noisy: Tensor, time: Tensor, span: Tensor, text: TextFeatures, told: Tensor | None = None) -> Tensor:
            return super().forward(noisy, time, torch.zeros_like(span), text, told)

    method.one_step = Straight()  # type: ignore[assignment]
    (update,) = method.training_step(make_batch(16, 64, counterfactuals=0), progress(ONE_STEP))
    assert float(update.metrics["whole"]) > 1e-2


@torch.no_grad()
def test_paintings_of_a_known_flow() -> None:
    """Noise becomes pictures of the right spread: in one step exactly, in many by Heun's method nearly."""
    text, method = make_text(["a", "b"], torch.Generator()), known(guidance=1.0)
    noise = method.draw_noise(5, np.arange(2))
    expected = (SPREAD * noise.z).clamp(-1.0, 1.0)
    torch.testing.assert_close(method.paint(text, noise).images, expected)
    errors = []
    for steps in (4, 8, 16):
        method.settings = dataclasses.replace(method.settings, paint_steps=steps)
        errors.append(float((method.paint(text, noise).images - expected).abs().max()))
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2] and errors[2] < 0.01
    assert method.sampling == ("guidance", "paint_steps")
    method.settings = dataclasses.replace(method.settings, paint_steps=None)
    assert method.sampling == ("paint_steps",)  # one step has its guidance from training
    method.one_step_begun = False
    method.settings = dataclasses.replace(method.settings, paint_steps=1)
    assert method.sampling == ("guidance", "paint_steps") and method._steps() == 2  # nothing paints in one step yet


@torch.no_grad()
def test_guidance() -> None:
    """It moves from what the flow does without text to what it does with it, and beyond, between two times."""
    method = build(guidance=3.0, guidance_from=0.3, guidance_to=0.8)

    class Told(nn.Module):
        def forward(self, noisy: Tensor, time: Tensor, span: Tensor, text: TextFeatures, told: Tensor | None = None) -> Tensor:
            assert not span.any()
            return torch.zeros_like(noisy) if told is not None and not told.any() else torch.ones_like(noisy)

    method.flow = Told()  # type: ignore[assignment]
    time = torch.tensor([0.2, 0.3, 0.5, 0.8, 0.9])
    noisy = torch.zeros(5, 3, 16, 16)
    found = method.guided(noisy, time, make_text(list("abcde"), torch.Generator()))
    picture = torch.tensor([1.0, 1.0, 3.0, 3.0, 1.0])[:, None, None, None]
    torch.testing.assert_close(found, (noisy - picture).div(time[:, None, None, None]))


def test_the_second_phase_begins_as_the_flow() -> None:
    method = build(one_step_share=0.25)
    assert [(phase.name, phase.share, phase.epochs) for phase in method.phases()] == [(FLOW, 0.75, 300.0), (ONE_STEP, 0.25, 100.0)]
    assert method.one_step is not None
    flow, one_step = method.phases()
    with torch.no_grad():
        for value in method.flow.parameters():
            value.normal_()
    text, noise = make_text(["a"], torch.Generator()), method.draw_noise(1, [0])
    method.begin(flow)
    before = method.paint(text, noise).images
    method.settings = dataclasses.replace(method.settings, paint_steps=12)
    assert torch.equal(method.paint(text, noise).images, before)  # only the flow can paint so far
    method.begin(one_step)
    assert all(torch.equal(value, method.flow.state_dict()[name]) for name, value in method.one_step.state_dict().items())
    assert not any(value.requires_grad for value in method.flow.parameters()) and method.one_step_begun
    with torch.no_grad():
        next(method.one_step.parameters()).add_(1.0)
    kept = {name: value.clone() for name, value in method.one_step.state_dict().items()}
    method.begin(one_step)  # where a run goes on
    assert all(torch.equal(value, kept[name]) for name, value in method.one_step.state_dict().items())
    again = build(one_step_share=0.25)
    again.load_state_dict(method.state_dict())
    assert again.one_step_begun
    adopting = build(one_step_share=0.25)
    adopting.adopt(one_step, method.state_dict())
    assert adopting.one_step_begun and adopting.one_step is not None
    assert torch.equal(adopting.one_step.state_dict()["first.weight"], method.one_step.state_dict()["first.weight"])
    alone = build(one_step_share=0.0)
    assert [phase.name for phase in alone.phases()] == [FLOW] and alone.one_step is None and alone.players().keys() == {FLOW}


@torch.no_grad()
def test_the_network_reads_words_times_and_spans() -> None:
    torch.manual_seed(0)
    network = FlowNetwork(32, 4, 16, 1, WIDTH, 5, guided=True).eval()
    for value in network.parameters():  # fresh ones answer nothing
        if not value.any():
            value.normal_(std=0.1)
    assert network.no_text is not None
    network.no_text.fill_(0.5)
    text = make_text(["a red bird", "a bird"], torch.Generator().manual_seed(0), words=5)
    noisy, time, span = torch.randn(2, 3, 32, 32), torch.tensor([0.3, 0.9]), torch.tensor([0.1, 0.9])
    found = network(noisy, time, span, text)
    assert found.shape == noisy.shape
    assert text.words is not None and text.mask is not None

    def apart(*inputs: Any) -> Tensor:
        return (network(*inputs) - found).abs().amax((1, 2, 3))

    assert float(apart(noisy, time, span, dataclasses.replace(text, words=text.words + text.mask[..., None] * 1.0)).min()) > 1e-4
    padding = dataclasses.replace(text, words=text.words + (~text.mask)[..., None] * 1.0)
    torch.testing.assert_close(network(noisy, time, span, padding), found)
    assert float(apart(noisy, time + 0.05, span, text).min()) > 1e-4 and float(apart(noisy, time, span - 0.1, text).min()) > 1e-4
    told = network(noisy, time, span, text, torch.tensor([True, False]))
    torch.testing.assert_close(told[0], found[0])
    other = make_text(["a blue bird", "the"], torch.Generator().manual_seed(7), words=5)
    unknown = network(noisy, time, span, dataclasses.replace(other, mask=other.mask), torch.zeros(2, dtype=torch.bool))
    torch.testing.assert_close(unknown[1], told[1])


def test_sides() -> None:
    assert sides_of(64, 4) == [16, 8, 4] and sides_of(128, 4) == [32, 16, 8, 4] and sides_of(16, 4) == [4] and sides_of(96, 6) == [16, 8, 4]
    for resolution, patch in ((8, 4), (48, 4), (64, 3)):
        with pytest.raises(
            SettingsError, match=f"^limner-flow cannot paint {resolution} px in squares of {patch}: give method.patch [136]"
        ):
            sides_of(resolution, patch)
    assert waves(torch.tensor([0.0, 0.5])).shape == (2, 32)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"channels": 24}, "method.channels is 24, but must be a multiple of 16"),
        ({"unconditional": 0.0}, "method.guidance needs a flow that was trained without text too"),
        ({"one_step_share": 0.0, "paint_steps": 1}, "method.paint-steps is 1, but method.one-step-share is 0"),
        ({"one_step_share": 1.0}, "method.one-step-share is 1.0, but must be"),
        ({"guidance": 0.5}, "method.guidance is 0.5, but must be at least 1"),
        ({"time_mean": float("nan")}, "method.time-mean is nan, but must be a finite number"),
        ({"unconditional": 1.0}, "method.unconditional is 1.0, but must be"),
        ({"whole": 0.7, "instant": 0.7}, "method.whole and method.instant are 1.4 together, but must be at most 1"),
        ({"guidance_from": 0.9, "guidance_to": 0.1}, "method.guidance-from must be below method.guidance-to"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=f"^{said}"):
        dataclasses.replace(SMALL, **values)
