"""FusedGAN: who learns from what, what is held when one noise is drawn anew, and that pictures without captions are seen."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from shared.batches import PROGRESS, WIDTH, make_batch
from torch import Tensor

from limner.core.errors import SettingsError
from limner.core.noise import ConditionedNoise
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.data.prepare import prepare
from limner.methods import fusedgan
from limner.methods.fusedgan import FusedGAN, FusedGANSettings
from limner.training.players import PlayerTraining, Statistics
from limner.training.run import train

SMALL = FusedGANSettings(noise_width=6, text_width=8, generator_channels=4, discriminator_channels=4, captions=2)


def build(resolution: int = 16, **values: Any) -> FusedGAN:
    torch.manual_seed(0)
    return FusedGAN(dataclasses.replace(SMALL, **values), Conditions(resolution=resolution, sentence_width=WIDTH))


@pytest.mark.parametrize("unpaired", [True, False])
def test_unconditional_losses(unpaired: bool) -> None:
    """Plain adversarial losses of the trunk and its branch, on pictures of the whole split or of the batch."""
    method, batch = build(unpaired=unpaired).eval(), make_batch(captions=2)
    judge, fake = method.unconditional, method.generator.unconditional(method.generator.structure(method.noise(batch, "unconditional").z))
    real = batch.unpaired.pictures if unpaired else batch.pictures
    first, second, *_ = method.training_step(batch, PROGRESS)
    torch.testing.assert_close(first.loss, F.softplus(-judge(real)).mean() + F.softplus(judge(fake)).mean())
    torch.testing.assert_close(second.loss, F.softplus(-judge(fake)).mean())


@pytest.mark.parametrize("mismatch", ["picture", "caption"])
def test_conditional_losses(mismatch: str) -> None:
    """The matching-aware pairs of D_c; the generator's loss with the divergence of the text's Gaussian."""
    method, batch = build(mismatch=mismatch, mismatch_weight=0.3, divergence_weight=1.5).eval(), make_batch(captions=2)
    sentence = (batch.texts[0].sentence + batch.texts[1].sentence) / 2
    other = (batch.mismatched.texts[0].sentence + batch.mismatched.texts[1].sentence) / 2
    noise, judge, generator = method.noise(batch, "conditional"), method.discriminator, method.generator
    gaussian = generator.augmentation(sentence)
    fake = generator.conditional(generator.structure(noise.z), gaussian.mean + (gaussian.log_variance / 2).exp() * noise.epsilon)
    wrong = judge(batch.mismatched.pictures, sentence) if mismatch == "picture" else judge(batch.pictures, other)
    *_, third, fourth = method.training_step(batch, PROGRESS)
    real, generated = judge(batch.pictures, sentence), judge(fake, sentence)
    torch.testing.assert_close(third.loss, F.softplus(-real).mean() + 0.7 * F.softplus(generated).mean() + 0.3 * F.softplus(wrong).mean())
    mean, variance = gaussian.mean, gaussian.log_variance.exp()
    divergence = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, variance.sqrt()), torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    ).mean()
    torch.testing.assert_close(fourth.loss, F.softplus(-generated).mean() + 1.5 * divergence)


def test_each_branch_has_its_turn_and_both_shape_the_trunk() -> None:
    method, batch = build(), make_batch(captions=2)
    moved = []
    players = method.players()
    for update in method.training_step(batch, PROGRESS):
        parameters = [(name, value) for name, value in method.named_parameters()]
        own = {id(value) for value in players[update.player].module.parameters()}
        for _, value in parameters:
            value.grad = None
        update.loss.backward(inputs=list(players[update.player].module.parameters()), retain_graph=True)
        assert all(value.grad is None or id(value) in own for _, value in parameters)
        moved.append((update.player, {".".join(name.split(".")[:2]) for name, value in parameters if value.grad is not None}))
    assert [player for player, _ in moved] == ["unconditional", "generator", "discriminator", "generator"]
    assert moved[1][1] == {"generator.structure_trunk", "generator.unconditional_branch"}
    assert moved[3][1] == {f"generator.{name}" for name in ("structure_trunk", "augmentation", "style", "conditional_branch")}


@pytest.mark.parametrize(
    "values",
    [
        {"mismatch": "caption", "counterfactual": 0.5, "gradient_penalty": 1.0, "discriminator_normalization": False},
        {"mismatch_weight": 0.0, "residual_blocks": 0, "structure_side": 4},
        {"unconditional": False},
        {"unpaired": False, "structure_side": 16, "halve_every": 0.0},
    ],
)
def test_every_setting_takes_steps(values: dict[str, Any]) -> None:
    """Through the trainer's turns: losses are finite, and a turn moves nobody else."""
    method, batch = build(32, **values).train(), make_batch(32, captions=2)
    statistics = Statistics(method)
    turns = {name: PlayerTraining(player, statistics, ema_half_life=100.0) for name, player in method.players().items()}
    for step in range(2):
        for update in method.training_step(batch, dataclasses.replace(PROGRESS, step=step)):
            before = {name: [value.clone() for value in turn.parameters] for name, turn in turns.items()}
            assert float(turns[update.player].take(update.loss, PROGRESS, 6)) == 0.0 and torch.isfinite(update.loss)
            for name, turn in turns.items():
                still = all(map(torch.equal, turn.parameters, before[name]))
                assert still == (name != update.player)
    assert ("unconditional" in turns) == method.settings.unconditional


def test_one_noise_is_held_while_the_other_is_drawn_anew() -> None:
    """z alone decides what the unconditional branch paints; epsilon, and the caption, change the conditional picture alone."""
    method = build().eval()
    text = TextFeatures(torch.randn(3, WIDTH, generator=torch.Generator().manual_seed(1)))
    noise, other = method.draw_noise(0, np.arange(3)), method.draw_noise(1, np.arange(3))
    assert not torch.equal(noise.z, noise.epsilon[:, :6])
    first = method.paint(text, noise)
    details = method.paint(text, ConditionedNoise(noise.z, other.epsilon))
    posture = method.paint(text, ConditionedNoise(other.z, noise.epsilon))
    caption = method.paint(TextFeatures(text.sentence.flip(0)), noise)
    for held in (details, caption):
        assert torch.equal(held.extras["unconditional"], first.extras["unconditional"]) and not torch.allclose(held.images, first.images)
    assert not torch.allclose(posture.extras["unconditional"], first.extras["unconditional"])
    assert not torch.allclose(posture.images, first.images)


@pytest.mark.parametrize(("resolution", "code"), [(16, 8), (128, 32)])
def test_shapes(resolution: int, code: int) -> None:
    method = build(resolution)
    painting = method.paint(TextFeatures(torch.zeros(2, WIDTH)), method.draw_noise(0, np.arange(2)))
    assert painting.images.shape == painting.extras["unconditional"].shape == (2, 3, resolution, resolution)
    assert method.generator.structure(torch.zeros(2, 6)).shape == (2, 16, 8, 8)
    assert method.discriminator(painting.images, torch.zeros(2, WIDTH)).shape == method.unconditional(painting.images).shape == (2,)
    assert method.look(painting.images).shape == (2, code * 16)


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(SettingsError, match="fusedgan cannot paint at 48 px"):
        build(48)
    with pytest.raises(SettingsError, match="structure-side is 16, but must be one of 4, 8"):
        build(16, structure_side=16)
    with pytest.raises(SettingsError, match="counterfactual needs mismatched pairs"):
        FusedGANSettings(counterfactual=0.5, mismatch_weight=0.0)


def tiny(steps: int, data: str = "garden") -> Recipe:
    recipe = from_preset("fusedgan", "cpu", data, 16)
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, generator_channels=4, discriminator_channels=4, batch_size=8),
        training=dataclasses.replace(
            recipe.training, steps=steps, log_every=2, checkpoint_every=1000, sample_every=1000, device="cpu", seed=3
        ),
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=60),
        text=dataclasses.replace(recipe.text, steps=2, batch_size=4, width=16),
    )


def test_pictures_without_captions_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a prepared set has no captions, and is blue: D_u sees blue pictures, D_c never does."""
    with tarfile.open(tmp_path / "half.tar", "w") as tar:
        for number in range(24):
            stream = io.BytesIO()
            Image.new("RGB", (20, 20), (200, number, 0) if number < 12 else (0, number, 200)).save(stream, "PNG")
            members = {f"{number:03}.png": stream.getvalue()} | ({f"{number:03}.txt": b"a red square\na red thing"} if number < 12 else {})
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    prepare([tmp_path / "half.tar"], tmp_path / "half", resolution=16, uncaptioned=True, split_by="picture", validation=0.0, test=0.2)
    seen: dict[str, list[bool]] = {"unconditional": [], "pair": []}

    def watch(kind: str, made: type, name: str) -> None:
        original = getattr(made, name)

        def watched(self: Any, pictures: Tensor, *more: Tensor) -> Tensor:
            red, blue = pictures[:, 0].mean((1, 2)), pictures[:, 2].mean((1, 2))
            seen[kind].extend(((blue > 0.5) & (red < -0.9)).tolist())  # as no generator paints in its first steps
            return original(self, pictures, *more)

        monkeypatch.setattr(made, name, watched)

    watch("unconditional", fusedgan.UnconditionalDiscriminator, "forward")
    watch("pair", fusedgan.Discriminator, "look")
    recipe = tiny(3, str(tmp_path / "half"))
    settings = dataclasses.replace(recipe.method_settings, batch_size=4, counterfactual=0.0)
    train(dataclasses.replace(recipe, method_settings=settings), tmp_path / "run")
    assert sum(seen["unconditional"]) >= 2, "of 12 pictures drawn from all, about half"
    assert seen["pair"] and not any(seen["pair"])
