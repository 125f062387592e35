"""DCGAN-CLS and WGAN-CLS: the port's sizes, losses by independent formulas, the critic's clipping and its schedule."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.batches import PROGRESS, WIDTH, make_batch

from limner.core.errors import SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.methods.dcgan_cls import DCGANCLS, DCGANCLSSettings, MinibatchDiscrimination, is_generator_turn
from limner.training.players import PlayerTraining, Statistics

SMALL = DCGANCLSSettings(noise_width=6, text_width=8, generator_channels=4, discriminator_channels=4)


def build(resolution: int = 16, **values: object) -> DCGANCLS:
    torch.manual_seed(0)
    return DCGANCLS(dataclasses.replace(SMALL, **values), Conditions(resolution=resolution, sentence_width=WIDTH))  # type: ignore[arg-type]


def test_published_sizes() -> None:
    """Parameters of the port's conditional networks, with the authors' sentences of 1,024 numbers."""
    method = DCGANCLS(DCGANCLSSettings(), Conditions(resolution=64, sentence_width=1024))
    counts = [sum(value.numel() for value in network.parameters()) for network in (method.generator, method.discriminator)]
    assert counts == [4_756_736, 2_899_072]


@pytest.mark.parametrize("objective", ["cross-entropy", "wasserstein"])
@pytest.mark.parametrize("mismatch", ["picture", "caption", "none"])
def test_discriminator_loss(objective: str, mismatch: str) -> None:
    """Each kind of pair weighs one; real pairs have the target 0.9; a critic's loss is a sum of means."""
    method, batch = build(objective=objective, mismatch=mismatch).eval(), make_batch()
    update = next(method.training_step(batch, PROGRESS))
    judge, sentence, other = method.discriminator, batch.text.sentence, batch.mismatched
    fake = method.generator(method.noise(batch, "discriminator").z, sentence)
    real, generated = judge(batch.pictures, sentence), judge(fake, sentence)
    wrong = judge(other.pictures, sentence) if mismatch == "picture" else judge(batch.pictures, other.text.sentence)
    if objective == "wasserstein":
        loss = generated.mean() - real.mean() + (0 if mismatch == "none" else wrong.mean())
    else:
        loss = (0.9 * F.softplus(-real) + 0.1 * F.softplus(real)).mean() + F.softplus(generated).mean()
        loss = loss + (0 if mismatch == "none" else F.softplus(wrong).mean())
    assert update.player == "discriminator"
    torch.testing.assert_close(update.loss, loss)


def test_halved_negatives_are_the_paper_s_loss() -> None:
    real, fake, wrong = torch.randn(3, 5, generator=torch.Generator().manual_seed(2))
    loss = build(real_target=1.0, negative_weight=0.5).discriminator_loss(real, fake, wrong)
    paper = -(real.sigmoid().log() + 0.5 * ((1 - wrong.sigmoid()).log() + (1 - fake.sigmoid()).log())).mean()
    torch.testing.assert_close(loss, paper)


def test_generator_loss() -> None:
    """BCE against 1, not 0.9, plus 100 times the distance of batch-mean features, plus 50 times the mean distance of pixels."""
    method, batch = build().eval(), make_batch()
    _, update = method.training_step(batch, PROGRESS)
    sentence = batch.text.sentence
    fake = method.generator(method.noise(batch, "generator").z, sentence)
    difference = method.discriminator.look(fake).mean(0) - method.discriminator.look(batch.pictures).mean(0)
    loss = (
        F.softplus(-method.discriminator(fake, sentence)).mean()
        + 100 * difference.square().mean()
        + 50 * (fake - batch.pictures).abs().mean()
    )
    assert update.player == "generator"
    torch.testing.assert_close(update.loss, loss)


def test_the_critic_is_clipped_and_the_generator_waits() -> None:
    """After each of its steps every weight of the critic lies within the bound; the generator moves only at the end of a run."""
    method, batch = build(objective="wasserstein", weight_clip=0.01, critic_steps=2, long_critic_steps=3), make_batch()
    statistics = Statistics(method)
    turns = {name: PlayerTraining(player, statistics) for name, player in method.players().items()}
    played = []
    for step in range(6):
        before = [value.clone() for value in method.generator.parameters()]
        for update in method.training_step(batch, dataclasses.replace(PROGRESS, step=step)):
            if update.player == "generator":
                fake = method.generator(method.noise(batch, "generator").z, batch.text.sentence)
                torch.testing.assert_close(update.loss, -method.discriminator(fake, batch.text.sentence).mean())
            turns[update.player].take(update.loss, PROGRESS, len(batch))
            played.append((step, update.player))
        largest = max(value.detach().abs().max().item() for value in method.discriminator.parameters())
        assert largest == pytest.approx(0.01)
        assert (step in (2, 5)) == any(not torch.equal(a, b) for a, b in zip(before, method.generator.parameters(), strict=True))
    assert [step for step, player in played if player == "generator"] == [2, 5]
    assert [step for step, player in played if player == "discriminator"] == list(range(6))


@pytest.mark.parametrize(("short", "long"), [(5, 100), (2, 3), (1, 1)])
def test_generator_turns_are_those_of_the_port_s_loop(short: int, long: int) -> None:
    ends, steps, turn = set(), 0, 0
    while turn < 1_510:
        steps += long if turn < 25 or turn % 500 == 0 else short
        ends.add(steps - 1)
        turn += 1
    assert {step for step in range(steps) if is_generator_turn(step, short, long)} == ends


def test_minibatch_discrimination_sees_repetition() -> None:
    """Alike pictures are as close as can be; the sum counts a picture itself; and the discriminator has it where it is asked for."""
    layer = MinibatchDiscrimination(7, kernels=3, width=2)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 7, generator=generator) * 30
    torch.testing.assert_close(layer(features[:1].expand(4, -1)), torch.full((4, 3), 4.0))
    vectors = (features @ layer.projection).view(4, 3, 2)
    expected = sum(torch.exp(-(vectors[1, 2] - vectors[row, 2]).abs().sum()) for row in range(4))
    torch.testing.assert_close(layer(features)[1, 2], expected)
    method, batch = build(minibatch_kernels=5), make_batch()
    updates = {update.player: update.loss for update in method.training_step(batch, PROGRESS)}
    updates["discriminator"].backward()
    assert method.discriminator.closeness is not None and method.discriminator.closeness.projection.grad is not None


@pytest.mark.parametrize("resolution", [16, 128])
def test_other_resolutions(resolution: int) -> None:
    method = build(resolution).eval()
    images = method.paint(TextFeatures(torch.zeros(2, WIDTH)), method.draw_noise(0, np.arange(2))).images
    assert images.shape == (2, 3, resolution, resolution)
    assert method.discriminator(images, torch.zeros(2, WIDTH)).shape == (2,)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"real_target": 1.5}, "real-target"),
        ({"counterfactual": 0.5, "mismatch": "none"}, "counterfactual"),
        ({"weight_clip": 0}, "weight-clip"),
    ],
)
def test_settings_that_cannot_work(values: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=f"method.{words}"):
        build(**values)
