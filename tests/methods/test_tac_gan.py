"""TAC-GAN: the authors' sizes, the terms of their losses and whose class each has, the order of play, and exact resume."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from limner.core.batch import Batch
from limner.core.errors import DataError, SettingsError
from limner.core.recipes import from_preset
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Progress
from limner.methods.tac_gan import TACGAN, ShiftedBatchNorm, TACGANSettings
from limner.training import checkpoints
from limner.training.run import train

WIDTH, CLASSES = 12, 5
PROGRESS = Progress(phase="gan", step=0, steps=10, images=0, epoch=0.0)
SMALL = TACGANSettings(noise_width=6, text_width=8, generator_channels=2, discriminator_channels=2)


def make_batch(size: int = 6, resolution: int = 32) -> Batch:
    """A batch whose mismatched rows are of other classes."""
    generator = torch.Generator().manual_seed(0)

    def one(classes: list[int], counterfactual: bool) -> Batch:
        return Batch(
            pictures=torch.rand(size, 3, resolution, resolution, generator=generator) * 2 - 1,
            captions=[["a"]] * size,
            texts=(TextFeatures(torch.randn(size, WIDTH, generator=generator)),),
            indices=np.arange(size),
            samples=np.arange(size),
            seed=0,
            classes=torch.tensor(classes),
            counterfactual=TextFeatures(torch.randn(size, WIDTH, generator=generator)) if counterfactual else None,
        )

    batch, other = one([0, 1, 2, 0, 1, 2], True), one([3, 4, 3, 4, 3, 4], False)
    batch.make_mismatched = lambda: other
    return batch


def build(resolution: int = 32, **values: Any) -> TACGAN:
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL, **values)
    return TACGAN(settings, Conditions(resolution=resolution, sentence_width=WIDTH, class_count=CLASSES))


def test_published_sizes() -> None:
    """Parameters of the authors' script with its defaults (text 256 wide, skip-thought sentences): 17,234,243 and 9,305,959."""
    method = TACGAN(TACGANSettings(text_width=256), Conditions(resolution=128, sentence_width=4800, class_count=102))
    assert sum(value.numel() for value in method.generator.parameters()) == 17_234_243
    assert sum(value.numel() for value in method.discriminator.parameters()) == 9_305_959


def sigmoid_loss(logits: torch.Tensor, classes: list[int]) -> torch.Tensor:
    """By its definition: - log of each answer's probability, over batch and classes."""
    right = torch.eye(logits.shape[1], dtype=torch.bool)[classes]
    return -torch.where(right, logits.sigmoid(), 1 - logits.sigmoid()).log().mean()


@pytest.mark.parametrize("mismatch, classes", [("picture", [0, 1, 2, 4, 3, 4]), ("caption", [0, 1, 2, 0, 1, 2])])
def test_losses(mismatch: str, classes: list[int]) -> None:
    """Six terms without weights; the mismatched pair has its picture's class, whatever the caption, and the fake that of its caption."""
    of_generated = mismatch == "picture"
    method, batch = build(mismatch=mismatch, counterfactual=0.5, class_of_generated=of_generated).eval(), make_batch()
    steps = method.training_step(batch, PROGRESS)
    update = next(steps)
    own, other = batch.text.sentence, batch.mismatched
    assert batch.counterfactual is not None
    changed = batch.counterfactual.sentence[:3]
    if mismatch == "picture":
        pictures, sentences = torch.cat([batch.pictures[:3], other.pictures[3:]]), torch.cat([changed, own[3:]])
    else:
        pictures, sentences = batch.pictures, torch.cat([changed, other.text.sentence[3:]])
    judge, fake = method.discriminator, method.generator(method.noise(batch, "train").z, own)
    real, wrong, generated = judge(batch.pictures, own), judge(pictures, sentences), judge(fake, own)
    loss = F.softplus(-real.source).mean() + F.softplus(wrong.source).mean() + F.softplus(generated.source).mean()
    loss = loss + sigmoid_loss(real.classes, [0, 1, 2, 0, 1, 2]) + sigmoid_loss(wrong.classes, classes)
    torch.testing.assert_close(update.loss, loss + of_generated * sigmoid_loss(generated.classes, [0, 1, 2, 0, 1, 2]))
    torch.testing.assert_close(next(steps).loss, F.softplus(-generated.source).mean() + sigmoid_loss(generated.classes, [0, 1, 2, 0, 1, 2]))


def test_the_generator_steps_twice_on_the_same_noise() -> None:
    method, batch = build(), make_batch()
    players, turns, losses = method.players(), [], []
    for update in method.training_step(batch, PROGRESS):
        own = {id(value) for value in players[update.player].module.parameters()}
        for value in method.parameters():
            value.grad = None
        update.loss.backward(inputs=list(players[update.player].module.parameters()))
        assert all((value.grad is not None) == (id(value) in own) for value in method.parameters())
        turns.append(update.player)
        losses.append(float(update.loss.detach()))
    assert turns == ["discriminator", "generator", "generator"]
    assert losses[1] == pytest.approx(losses[2], rel=1e-5)  # nothing was stepped: the same captions and noise give the same loss


@pytest.mark.parametrize(
    "values",
    [
        {"class_loss": "softmax", "noise": "normal"},
        {"class_weight": 0.0},
        {"gradient_penalty": 1.0, "discriminator_normalization": False, "generator_steps": 1},
    ],
    ids=lambda values: next(iter(values)),
)
def test_every_setting_takes_a_step(values: dict[str, Any]) -> None:
    method, batch = build(**values), make_batch()
    updates = list(method.training_step(batch, PROGRESS))
    assert all(torch.isfinite(update.loss) for update in updates)
    metrics = updates[0].metrics
    assert ("class_accuracy" in metrics) == (values.get("class_weight") is None)
    assert ("penalty" in metrics) == ("gradient_penalty" in values)


def test_normalisation_has_a_shift_and_no_scale() -> None:
    layer = ShiftedBatchNorm(3, 0.999)
    x = torch.randn(8, 3, 5, 5) * 3 + 1
    assert [name for name, _ in layer.named_parameters()] == ["bias"]
    expected = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.running_mean, 0.001 * x.mean((0, 2, 3)))


def test_noise_is_uniform_unless_normal_is_asked_for() -> None:
    z = build(noise_width=50).draw_noise(0, np.arange(400)).z
    assert z.dtype == torch.float32 and z.min() >= -1 and z.max() < 1
    assert abs(float(z.mean())) < 0.02 and float(z.var()) == pytest.approx(1 / 3, abs=0.01)
    assert float(build(noise_width=50, noise="normal").draw_noise(0, np.arange(400)).z.var()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("resolution", [16, 64])
def test_other_resolutions(resolution: int) -> None:
    method = build(resolution)
    images = method.paint(TextFeatures(torch.zeros(2, WIDTH)), method.draw_noise(0, np.arange(2))).images
    assert images.shape == (2, 3, resolution, resolution)
    verdict = method.discriminator(images, torch.zeros(2, WIDTH))
    assert verdict.source.shape == (2,) and verdict.classes.shape == (2, CLASSES)


def test_what_is_refused() -> None:
    with pytest.raises(SettingsError, match="cannot paint at 48 px.*power of two"):
        build(48)
    with pytest.raises(SettingsError, match="method.counterfactual is 2"):
        build(counterfactual=2.0)
    without = Conditions(resolution=32, sentence_width=WIDTH)
    with pytest.raises(DataError, match="have none.*train gan-cls"):
        TACGAN(SMALL, without)
    TACGAN(dataclasses.replace(SMALL, class_weight=0.0), without)


def test_resume_is_exact(tmp_path: Path) -> None:
    """Six steps in one go, and three and three, on the garden: the same weights, optimisers and averages."""
    recipe = from_preset("tac-gan", "cpu", "garden", 16)
    small = dataclasses.replace(recipe.method_settings, generator_channels=2, discriminator_channels=2, batch_size=8)
    data = dataclasses.replace(recipe.data_settings, garden_pictures=40)

    def run(out: Path, steps: int, resume: bool = False) -> dict[str, Any]:
        training = dataclasses.replace(recipe.training, steps=steps, checkpoint_every=3, sample_every=100, device="cpu")
        train(dataclasses.replace(recipe, method_settings=small, data_settings=data, training=training), out, resume=resume)
        state = checkpoints.Checkpoints(out).load()
        assert state is not None
        return state

    straight = run(tmp_path / "straight", 6)
    run(tmp_path / "halves", 3)
    resumed = run(tmp_path / "halves", 6, resume=True)
    for part in ("modules", "turns"):
        assert str(flat(straight[part])) == str(flat(resumed[part]))


def flat(value: Any) -> Any:
    """Nested state with tensors as exact lists."""
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: flat(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    return [flat(item) for item in value] if isinstance(value, (list, tuple)) else value
