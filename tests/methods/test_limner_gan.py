"""Limner GAN: what each loss asks for, that each stops where it should, and schedules that follow the budget."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from shared.batches import PROGRESS, WIDTH, make_batch

from limner.core.errors import SettingsError
from limner.core.recipes import from_preset
from limner.core.trainable import Conditions, Progress
from limner.families.projected import FrozenStages
from limner.families.recognition import Recognition
from limner.families.stacked import Halving
from limner.families.steered import SteeredDoubling
from limner.features.squeezenet import SqueezeNet
from limner.methods.limner_gan import LimnerGAN, LimnerGANSettings, distance
from limner.nn.blurring import binomial

SMALL = LimnerGANSettings(
    noise_width=6, text_width=8, generator_channels=4, discriminator_channels=4, choices=3, penalty_every=4, openness_weight=0.0
)


def build(**values: Any) -> LimnerGAN:
    torch.manual_seed(0)
    return LimnerGAN(dataclasses.replace(SMALL, **values), Conditions(resolution=16, sentence_width=WIDTH))


def test_discriminator_loss() -> None:
    """Pairs, pictures alone, the recognition of captions among the batch's and their own wrong ones, and R1 of all logits together."""
    method = build(counterfactual=0.5, recognition_weight=0.7, unconditional_weight=0.4).eval()
    batch = make_batch(counterfactuals=3)
    judge, own = method.discriminator, batch.text.sentence
    noise = method.noise(batch, "gan")
    painted = own[:3].repeat(2, 1)
    fake = method.generator(noise.z, noise.epsilon, painted)[0].detach()
    wrong = torch.cat([batch.counterfactuals[0].sentence[:3], batch.mismatched.text.sentence[3:]])
    first = next(method.training_step(batch, dataclasses.replace(PROGRESS, step=1)))  # no penalty in this step
    expected = F.softplus(-judge(batch.pictures, own)).mean()
    expected = expected + 0.5 * F.softplus(judge(fake, painted)).mean() + 0.5 * F.softplus(judge(batch.pictures, wrong)).mean()
    real_alone, fake_alone = (judge.unconditional(judge.look(pictures)) for pictures in (batch.pictures, fake))
    expected = expected + 0.4 * (F.softplus(-real_alone).mean() + F.softplus(fake_alone).mean())
    seen = judge.recognition.of_picture(judge.look(batch.pictures).flatten(1))
    for row in range(len(batch)):
        choices = torch.cat([own, *(text.sentence[row : row + 1] for text in batch.counterfactuals)])  # [B + 3, D]
        logits = judge.recognition.of_sentence(choices) @ seen[row]
        expected = expected - 0.7 / len(batch) * logits.log_softmax(0)[row]
    torch.testing.assert_close(first.loss, expected)

    penalised = next(method.training_step(batch, dataclasses.replace(PROGRESS, step=4)))
    pictures = batch.pictures.clone().requires_grad_()
    code = judge.look(pictures)
    read = (judge.recognition.of_picture(code.flatten(1)) * judge.recognition.of_sentence(own)).sum(1)
    logit = judge(pictures, own) + judge.unconditional(code).flatten() + read
    (gradient,) = torch.autograd.grad(logit.sum(), pictures)
    torch.testing.assert_close(penalised.loss - first.loss, 4 * 0.5 * gradient.square().sum((1, 2, 3)).mean(), rtol=1e-3, atol=1e-4)


def test_generator_loss() -> None:
    """Fooling with and without caption, divergence, the own caption's margin over its wrong ones, and how far its pictures are apart."""
    method, batch = build(margin=2.5, margin_weight=0.3, spread=0.9, unconditional_weight=0.4).eval(), make_batch(counterfactuals=3)
    judge, noise, painted = method.discriminator, method.noise(batch, "gan"), batch.text.sentence[:3].repeat(2, 1)
    _, update = method.training_step(batch, dataclasses.replace(PROGRESS, step=1))
    fake, divergence = method.generator(noise.z, noise.epsilon, painted)
    code, real = judge.look(fake), judge.look(batch.pictures)
    seen = judge.recognition.of_picture(code.flatten(1))
    wrong = torch.stack([text.sentence[:3].repeat(2, 1) for text in batch.counterfactuals], 1)
    own = (seen * judge.recognition.of_sentence(painted)).sum(1)
    others = (seen[:, None] * judge.recognition.of_sentence(wrong)).sum(2).exp().sum(1).log()
    apart = (code[:3] - code[3:]).square().mean((1, 2, 3)).sqrt()
    really = (real - real.roll(1, 0)).square().mean((1, 2, 3)).sqrt().mean()
    expected = F.softplus(-judge(fake, painted)).mean() + 0.05 * divergence
    expected = expected + 0.3 * (2.5 - own + others).clamp_min(0).mean() + (0.9 - apart / really).clamp_min(0).mean()
    expected = expected + 0.4 * F.softplus(-judge.unconditional(code)).mean()
    torch.testing.assert_close(update.loss, expected)


def test_openness() -> None:
    """Each caption's two pictures answer all the batch's questions; the product of their distances from what is expected is the loss."""
    batch = make_batch(counterfactuals=3)
    method, without = (build(openness_weight=weight, margin_weight=0.0, spread_weight=0.0).eval() for weight in (3.0, 0.0))
    without.load_state_dict(method.state_dict(), strict=False)
    judge, noise, painted = method.discriminator, method.noise(batch, "gan"), batch.text.sentence[:3].repeat(2, 1)
    code = judge.look(method.generator(noise.z, noise.epsilon, painted)[0])
    seen, read = judge.recognition.of_picture(code.flatten(1)), judge.recognition.of_sentence
    products = []
    for own in range(len(batch)):
        for wrong in batch.counterfactuals:
            question = read(batch.text.sentence[own]) - read(wrong.sentence[own])
            said = (seen @ question).sigmoid()
            expected = (judge.recognition.expectation(batch.text.sentence[:3]) @ question).sigmoid()
            products += [(said[row] - expected[row]) * (said[row + 3] - expected[row]) for row in range(3)]
    losses = [[update.loss for update in one.training_step(batch, PROGRESS)][1] for one in (method, without)]
    torch.testing.assert_close(losses[0] - losses[1], 3.0 * torch.stack(products).mean(), rtol=1e-4, atol=1e-5)


def test_only_the_expectation_learns_from_what_is_expected() -> None:
    """It learns to say from the caption alone what real pictures answer, and changes nothing else that the discriminator learns."""
    batch, gradients = make_batch(counterfactuals=3), []
    method, without = build(openness_weight=1.0), build()
    without.load_state_dict(method.state_dict(), strict=False)
    for one in (method, without):
        next(one.eval().training_step(batch, dataclasses.replace(PROGRESS, step=1))).loss.backward()
        gradients.append({name: value.grad for name, value in one.discriminator.named_parameters()})
    learned, plain = gradients
    own = [name for name in learned if name not in plain]
    assert own and all("expectation" in name and learned[name].abs().sum() > 0 for name in own)
    assert all(torch.equal(learned[name], plain[name]) for name in plain)


def test_what_is_reached_is_not_asked_for() -> None:
    """A margin and a spread that are reached add nothing to the loss, and no gradient."""
    batch = make_batch(counterfactuals=3)
    with_both, with_none = build(margin=0.0, spread=0.0), build(margin_weight=0.0, spread_weight=0.0)
    losses = []
    for method in (with_both, with_none):
        method.eval()
        torch.nn.init.zeros_(method.discriminator.recognition.of_picture.weight)  # all captions fit alike
        torch.nn.init.zeros_(method.discriminator.recognition.of_picture.bias)
        losses.append([update.loss for update in method.training_step(batch, PROGRESS)][1])
    torch.testing.assert_close(losses[0], losses[1] + 0.5 * math.log(3))  # the wrong captions' log-sum-exp is log 3 above the own one


def test_pictures_that_are_alike_still_have_a_gradient() -> None:
    first = torch.zeros(2, 3, requires_grad=True)
    distance(first, torch.zeros(2, 3)).sum().backward()
    assert torch.isfinite(first.grad).all()


def test_recognition_among_and_each_agree() -> None:
    head = Recognition(32, WIDTH, 8)
    features, own, wrong = torch.randn(5, 2, 4, 4), torch.randn(5, WIDTH), torch.randn(5, 3, WIDTH)
    among = head.among(features, own, wrong)
    each = head.each(features, torch.cat([own[:, None], wrong], 1))
    torch.testing.assert_close(torch.cat([among[:, :5].diagonal()[:, None], among[:, 5:]], 1), each)


def test_gated_doublings() -> None:
    """Repeated pixels, a 3x3 convolution, normalised, scaled and shifted by the style; half of the channels gate the other half."""
    torch.manual_seed(0)
    doubling = SteeredDoubling(6, 4, 5).train()
    x, style = torch.randn(3, 6, 8, 8), torch.randn(3, 5)
    maps = F.conv2d(x.repeat_interleave(2, 2).repeat_interleave(2, 3), doubling.doubling.weight, padding=1)
    maps = (maps - maps.mean((0, 2, 3), keepdim=True)) / (maps.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
    scale, shift = doubling.steered.scale_and_shift(style)[:, :, None, None].chunk(2, dim=1)
    maps = maps * (1 + scale) + shift
    torch.testing.assert_close(doubling(x, style), maps[:, :4] * maps[:, 4:].sigmoid())

    method = build(doublings="gated", unconditional_weight=1.0, text_first=True)
    assert method.generator.first[0].weight.shape[0] == 6 + 8  # noise and text
    # maps of 4 and 3 channels, and as many gates
    assert [doubling.doubling.weight.shape[:2] for doubling in method.generator.doublings] == [(8, 8), (6, 4)]
    losses = [update.loss for update in method.training_step(make_batch(counterfactuals=3), PROGRESS)]
    sum(losses).backward()
    assert all(parameter.grad is not None for parameter in method.generator.parameters())


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SqueezeNet that has seen nothing, in the place of one that is downloaded."""
    torch.manual_seed(1)
    network = SqueezeNet().freeze()
    monkeypatch.setattr("limner.families.projected.load_feature_network", lambda name: network)


@pytest.mark.usefixtures("frozen")
def test_a_frozen_network_is_looked_through() -> None:
    """Its stages, from coarse to fine, reach the heads; nothing trains or stores it, and the penalty ends before it."""
    stages = FrozenStages("squeezenet", 5, 64)
    assert stages.names == ["fire8", "fire4"]
    seen = stages(torch.randn(2, 3, 64, 64))
    assert [maps.shape for maps in seen] == [(2, 5, 7, 7), (2, 5, 14, 14)]
    assert all(torch.equal(a, b) for a, b in zip(stages.buffers(), FrozenStages("squeezenet", 5, 64).buffers(), strict=True))

    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL, features="squeezenet", feature_channels=5, unconditional_weight=1.0)
    method = LimnerGAN(settings, Conditions(resolution=64, sentence_width=WIDTH))
    method.begin(method.phases()[0])
    assert not any("mixture" in name or "fire" in name for name in method.state_dict())
    batch = make_batch(resolution=64, counterfactuals=3)
    judge = method.discriminator
    code = judge.look(batch.pictures, method.stages(batch.pictures))
    assert code.shape[1] == 4 * 8 + 2 * 5  # the trunk's own, and five of each stage
    for update in method.training_step(batch, dataclasses.replace(PROGRESS, step=4)):
        update.loss.backward()
        if update.player == "generator":
            assert all(weight.grad is not None for weight in method.generator.parameters())
    assert all(weight.grad is not None for weight in judge.codes.parameters())
    assert method.look(batch.pictures).shape == (len(batch), 4 * 8 * 16)  # without the frozen network, which a model does not have

    pictures = batch.pictures.clone().requires_grad_()
    judge.codes.requires_grad_(False)
    (slope,) = torch.autograd.grad(method._verdict(pictures, batch.text.sentence).sum(), pictures)
    (trunk,) = torch.autograd.grad(judge.verdict(pictures, batch.text.sentence, method.stages(batch.pictures)).sum(), pictures)
    torch.testing.assert_close(slope, trunk)


@pytest.mark.usefixtures("frozen")
def test_a_frozen_network_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingsError, match="has maps of 1 sizes from 4x4 on at 16 px, and 2 are needed"):
        FrozenStages("squeezenet", 5, 16)


def test_binomial_filter() -> None:
    x = torch.randn(2, 3, 6, 6)
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    torch.testing.assert_close(binomial(x), F.conv2d(padded, (kernel[:, None] * kernel).expand(3, 1, 3, 3), groups=3))
    checkerboard = torch.ones(1, 1, 6, 6)
    checkerboard[..., ::2, 1::2] = checkerboard[..., 1::2, ::2] = -1.0
    assert binomial(checkerboard)[..., 1:-1, 1:-1].abs().max() < 1e-6  # the grain of transposed convolutions is gone


def test_learning_rates_fall_with_the_budget_in_steps_or_in_minutes() -> None:
    cooling = build(cool_from=0.5, cool_to=0.1).cooling

    def at(step: int, seconds: float, minutes: float | None) -> float:
        place = {"phase": "gan", "steps": 100, "images": 0, "epoch": 0.0}
        return cooling(Progress(step=step, seconds=seconds, minutes=minutes, **place))

    assert at(50, 1e9, None) == 1.0 and at(75, 0.0, None) == pytest.approx(0.55) and at(100, 0.0, None) == pytest.approx(0.1)
    assert at(10, 30.0, 1.0) == 1.0 and at(10, 45.0, 1.0) == pytest.approx(0.55) and at(10, 90.0, 1.0) == pytest.approx(0.1)
    assert at(75, 6.0, 1.0) == pytest.approx(0.55)  # whichever is further


def test_one_painting_a_caption_and_no_heads() -> None:
    """Every part can be left out, as its ablation does."""
    batch = make_batch(counterfactuals=3)
    for values in (
        {"repeated": 0.0},
        {"repeated": 0.2},
        {"last_doubling": "resized"},
        {"unconditional_weight": 1.0},
        {"recognition_weight": 0.0},
        {"residual": False},
        {"noise_style": False},
        {"mapping_layers": 1},
    ):
        method = build(**values)
        updates = list(method.training_step(batch, PROGRESS))
        assert [update.player for update in updates] == ["discriminator", "generator"]
        assert all(torch.isfinite(update.loss) for update in updates)
        assert ("spread" in updates[1].metrics) == (method.settings.repeated > 0.0)
    assert method.paint(batch.text, method.noise(batch, "paint")).images.shape == (6, 3, 16, 16)


def test_captions_are_repeated_from_a_share_of_the_budget_on() -> None:
    method, batch = build(repeated_from=0.5), make_batch(counterfactuals=3)

    def repeats(step: int, seconds: float = 0.0, minutes: float | None = None) -> bool:
        progress = dataclasses.replace(PROGRESS, step=step, steps=10, seconds=seconds, minutes=minutes)
        return "spread" in list(method.training_step(batch, progress))[1].metrics

    assert [repeats(step) for step in (0, 4, 5, 9)] == [False, False, True, True]
    assert not repeats(0, 29.0, 1.0) and repeats(0, 30.0, 1.0)


@pytest.mark.parametrize("values", [{"choices": 0}, {"repeated": 0.6}, {"repeated_from": 2.0}, {"spread": -0.1}, {"cool_from": 1.5}])
def test_settings_that_do_not_work(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"method.{next(iter(values)).replace('_', '-')}"):
        build(**values)


def test_the_discriminator_of_a_small_set_sees_changed_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real and painted ones, and R1's; those of one caption alike. The strength is state where it is used, and adapts."""
    given: list[tuple[torch.Tensor, Any]] = []

    def changed(self: LimnerGAN, pictures: torch.Tensor, alike: Any = None) -> torch.Tensor:
        given.append((pictures, alike))
        return pictures.roll(1, 3)

    monkeypatch.setattr(LimnerGAN, "changed", changed)
    method = build(augmentation=("translation", "cutout"), augmentation_strength=0.4, augmentation_images=100)
    batch = make_batch(counterfactuals=3)
    judge = method.eval().discriminator
    step = method.training_step(batch, dataclasses.replace(PROGRESS, step=4))
    update = next(step)
    real, painted, penalised = given
    assert real[0] is batch.pictures and real[1] is None and painted[1].tolist() == [0, 1, 2, 0, 1, 2] and len(penalised[0]) == len(batch)
    seen = judge.match(judge.look(batch.pictures.roll(1, 3)), batch.text.sentence)
    torch.testing.assert_close(update.metrics["real"], seen.sigmoid().mean())
    sign = float(seen.detach().sign().mean())
    assert method.strength == pytest.approx(0.4 + (0.24 if sign > 0.6 else -0.24))
    assert "strength" in method.state_dict() and "strength" not in build().state_dict()
    with pytest.raises(SettingsError, match="method.augmentation has flip: leave it out"):
        build(augmentation=("flip",), augmentation_strength=0.1)


def test_without_augmentation_nothing_is_drawn_for_it() -> None:
    method, batch = build().eval(), make_batch(counterfactuals=3)
    before = torch.get_rng_state()
    for _ in method.training_step(batch, dataclasses.replace(PROGRESS, step=4)):
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_asks_the_recognition_head_about_painted_pictures() -> None:
    method, batch = build(patience=5).eval(), make_batch(counterfactuals=3)
    (phase,), (unasked,) = method.phases(), build().phases()
    assert (phase.patience, unasked.patience, unasked.evaluations) == (5, 0, 0) and phase.evaluations
    with torch.no_grad():
        figures = method.validate_batches([batch])
    assert 0.0 <= figures["likeness"] <= 1.0 and figures["score"] == pytest.approx((figures["likeness"] + figures["recognised"]) / 2)
    found, repeats = [], 128 // len(batch)
    wrong = torch.stack([text.sentence for text in batch.counterfactuals], dim=1)
    for number in range(repeats):
        pictures = method.paint(batch.text, method.noise(batch, f"validation {number}")).images
        choices = method.discriminator.recognition.among(method.discriminator.look(pictures), batch.text.sentence, wrong)
        found.append((choices.argmax(1) == torch.arange(len(batch))).float())
    assert figures["recognised"] == pytest.approx(float(torch.cat(found).mean()))
    with torch.no_grad():
        assert build(recognition_weight=0.0).eval().validate_batches([batch]).keys() == {"score", "likeness"}


def test_steps_in_bfloat16_are_finite() -> None:
    method, batch = build(augmentation=("translation",), augmentation_strength=0.5), make_batch(counterfactuals=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for update in method.training_step(batch, dataclasses.replace(PROGRESS, step=4)):
            assert torch.isfinite(update.loss)
            update.loss.backward()
    assert all(torch.isfinite(value.grad).all() for value in method.parameters() if value.grad is not None)


@pytest.mark.parametrize("resolution", [128, 256])
def test_the_preset_for_gpus_can_be_built(resolution: int) -> None:
    recipe = from_preset("limner-gan", "gpu", "garden", resolution)
    with torch.device("meta"):
        method = LimnerGAN(recipe.method_settings, Conditions(resolution=resolution, sentence_width=128))
        judged = method.discriminator(torch.empty(2, 3, resolution, resolution), torch.empty(2, 128))
        painted, _ = method.generator(torch.empty(2, 100), torch.empty(2, 128), torch.empty(2, 128))
    assert judged.shape == (2,) and painted.shape == (2, 3, resolution, resolution)
    assert (recipe.training.precision, recipe.training.compile) == ("auto", "auto")


@pytest.mark.parametrize("resolution", [16, 32, 64, 256])
def test_a_residual_trunk(resolution: int) -> None:
    """Pictures end at 4x4 whatever their side; a block is the root of a half of its shortcut and its two convolutions, and all train."""
    settings = dataclasses.replace(SMALL, discriminator_trunk="residual", unconditional_weight=1.0)
    discriminator = LimnerGAN(settings, Conditions(resolution=resolution, sentence_width=WIDTH)).discriminator
    features = discriminator.look(torch.randn(3, 3, resolution, resolution))
    assert features.shape == (3, 8 if resolution == 16 else 16, 4, 4)
    discriminator.verdict(torch.randn(3, 3, resolution, resolution), torch.randn(3, WIDTH)).sum().backward()
    trained = {name for name, value in discriminator.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
    assert {name for name, _ in discriminator.picture.named_parameters(prefix="picture")} <= trained

    torch.manual_seed(0)
    block, x = Halving(4, 8), torch.randn(2, 4, 8, 8)
    mean = x.reshape(2, 4, 4, 2, 4, 2).mean((3, 5))
    inner = F.leaky_relu(F.conv2d(x, block.first.weight, block.first.bias, padding=1), 0.2)
    found = F.conv2d(inner, block.second.weight, block.second.bias, stride=2, padding=1)
    torch.testing.assert_close(block(x), F.leaky_relu((torch.cat([mean, mean], dim=1) + found) / math.sqrt(2), 0.2))
