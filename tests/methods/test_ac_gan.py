"""AC-GAN: the published sizes and losses, captions painted by their classes, captions asked back, dropout and exact resume."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.batches import CLASSES, PROGRESS, WIDTH, make_batch, turns_of_a_step
from shared.tiny_runs import same, state_of, tiny
from torch import nn

from limner.core.batch import Batch
from limner.core.errors import DataError, SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.methods.ac_gan import ACGAN, ACGANSettings
from limner.model import load
from limner.training.run import train

SMALL = ACGANSettings(noise_width=6, text_width=8, generator_channels=2, discriminator_channels=2, dropout=0.0)
CAPTION = {"condition": "sentence", "auxiliary": "caption"}


def make_batch_of_classes() -> Batch:
    """Six pictures of three classes: 2 and 4 are never met."""
    batch = make_batch(classes=CLASSES)
    batch.classes = torch.tensor([0, 1, 3, 0, 1, 3])
    return batch


def build(resolution: int = 16, **values: Any) -> ACGAN:
    torch.manual_seed(0)
    return ACGAN(dataclasses.replace(SMALL, **values), Conditions(resolution=resolution, sentence_width=WIDTH, class_count=CLASSES))


def test_published_layers() -> None:
    """Ten classes at 128 px: 110 numbers to 768 channels of 4x4, and the two tables of channels."""
    method = ACGAN(ACGANSettings(), Conditions(resolution=128, sentence_width=WIDTH, class_count=10))
    first = method.generator.first[0]
    assert isinstance(first, nn.Linear) and (first.in_features, first.out_features) == (110, 768 * 16)
    up = [module for module in method.generator.modules() if isinstance(module, nn.ConvTranspose2d)]
    assert [module.out_channels for module in up] == [384, 256, 192, 64, 3]
    down = [module for module in method.discriminator.modules() if isinstance(module, nn.Conv2d)]
    assert [module.out_channels for module in down] == [16, 32, 64, 128, 256, 512]
    assert [module.stride[0] for module in down] == [2, 1, 2, 1, 2, 1]
    assert sum(isinstance(module, nn.Dropout) and module.p == 0.5 for module in method.discriminator.modules()) == 6
    assert method.discriminator.heads.source.in_features == 512 * 16 * 16


@pytest.mark.parametrize("condition, of_generated", [("class", True), ("sentence", False)])
def test_losses(condition: str, of_generated: bool) -> None:
    """L_S and L_C by their definitions: of real and generated pictures in the discriminator, of generated ones in the generator."""
    method = build(condition=condition, auxiliary_weight=0.7, auxiliary_of_generated=of_generated).eval()
    batch = make_batch_of_classes()
    steps = method.training_step(batch, PROGRESS)
    update = next(steps)
    classes = batch.classes
    assert classes is not None
    read = torch.eye(CLASSES)[classes] if condition == "class" else batch.text.sentence
    fake = method.generator(method.noise(batch, "train").z, read)
    real, generated = method.discriminator(batch.pictures), method.discriminator(fake)

    def named(logits: torch.Tensor) -> torch.Tensor:
        return -logits.softmax(1)[torch.arange(6), classes].log().mean()

    source = F.softplus(-real.source).mean() + F.softplus(generated.source).mean()
    torch.testing.assert_close(update.loss, source + 0.7 * (named(real.classes) + of_generated * named(generated.classes)))
    torch.testing.assert_close(next(steps).loss, F.softplus(-generated.source).mean() + 0.7 * named(generated.classes))


def test_a_caption_is_one_choice_among_the_batch_and_its_own_made_wrong() -> None:
    """Row by row: the own caption, five others and, for the first half, the counterfactual one."""
    method, batch = build(**CAPTION, counterfactual=0.5).eval(), make_batch_of_classes()
    update = next(method.training_step(batch, PROGRESS))
    sentence, changed = batch.text.sentence, batch.counterfactual
    assert changed is not None
    fake = method.generator(method.noise(batch, "train").z, sentence)
    loss = torch.zeros(())
    for pictures, target in ((batch.pictures, 1.0), (fake, 0.0)):
        verdict = method.discriminator(pictures)
        loss = loss + F.binary_cross_entropy_with_logits(verdict.source, torch.full((6,), target))
        for row in range(6):
            choices = torch.cat([sentence, changed.sentence[row : row + 1]]) if row < 3 else sentence
            fits = (choices - sentence.mean(0)) @ verdict.classes[row]
            loss = loss + (fits.logsumexp(0) - fits[row]) / 6
    torch.testing.assert_close(update.loss, loss)


def test_gradient_penalty_is_of_all_that_pictures_are_judged_by() -> None:
    """R1 by an independent formula, of the source's logit and the right class's, at real pictures, times weight and interval."""
    values: dict[str, Any] = {"discriminator_normalization": False, "auxiliary_weight": 0.7}
    batch = make_batch_of_classes()
    assert batch.classes is not None
    method = build(**values, gradient_penalty=2.0, penalty_every=3)
    without = next(build(**values).training_step(batch, PROGRESS)).loss
    torch.testing.assert_close(next(method.training_step(batch, dataclasses.replace(PROGRESS, step=1))).loss, without)

    def judged(picture: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        verdict = method.discriminator(picture[None])
        return verdict.source[0] + 0.7 * verdict.classes[0, number]

    rows = [
        torch.autograd.functional.jacobian(lambda x, n=number: judged(x, n), picture)
        for picture, number in zip(batch.pictures, batch.classes, strict=True)
    ]
    expected = 0.5 * torch.stack([row.square().sum() for row in rows]).mean()
    torch.testing.assert_close(next(method.training_step(batch, PROGRESS)).loss, without + 2.0 * 3 * expected)


def test_captions_are_painted_as_the_nearest_class_that_was_met() -> None:
    """Means over all training captions, whatever the batches; classes without a caption are never painted."""
    method, batch = build(), make_batch_of_classes()
    with torch.no_grad():
        batch.text.sentence[:] = torch.eye(WIDTH)[torch.tensor([0, 1, 3, 0, 1, 3])] + 10.0  # what all have in common says nothing
    for step in range(2):
        next(method.training_step(batch, dataclasses.replace(PROGRESS, step=step)))
    assert method.class_captions.tolist() == [4, 4, 0, 4, 0]
    torch.testing.assert_close(method.class_sentences[3] / 4, batch.text.sentence[2])
    asked = torch.eye(WIDTH)[torch.tensor([3, 0, 1, 2])] * 0.5 + 10.0
    method.eval()
    noise = method.draw_noise(0, np.zeros(4, dtype=np.int64))
    painting = method.paint(TextFeatures(asked), noise)
    assert painting.extras["classes"][:3].tolist() == [3, 0, 1] and int(painting.extras["classes"][3]) in (0, 1, 3)
    torch.testing.assert_close(painting.images[0], method.generator(noise.z[:1], torch.eye(CLASSES)[3:4])[0])


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"dropout": 0.5},
        {"auxiliary_weight": 0.0},
        CAPTION,
        {"discriminator_layers": "strided", "gradient_penalty": 1.0, "discriminator_normalization": False},
    ],
    ids=["published", "dropout", "no-auxiliary", "caption", "strided"],
)
def test_every_setting_takes_a_step(values: dict[str, Any]) -> None:
    turns = turns_of_a_step(build(**values), make_batch_of_classes())
    assert [turn.player for turn in turns] == ["discriminator", "generator"]


@pytest.mark.parametrize("resolution", [16, 64, 256])
@pytest.mark.parametrize("layers", ["alternating", "strided"])
def test_other_resolutions(resolution: int, layers: str) -> None:
    method = build(resolution, discriminator_layers=layers, generator_channels=1, discriminator_channels=1)
    images = method.paint(TextFeatures(torch.zeros(2, WIDTH)), method.draw_noise(0, np.arange(2))).images
    assert images.shape == (2, 3, resolution, resolution)
    assert method.discriminator(images).classes.shape == (2, CLASSES)


def test_what_is_refused() -> None:
    with pytest.raises(SettingsError, match="cannot paint at 48 px.*power of two"):
        build(48)
    with pytest.raises(SettingsError, match="set method.condition sentence"):
        build(auxiliary="caption")
    with pytest.raises(SettingsError, match="set method.auxiliary caption"):
        build(counterfactual=0.5)
    without = Conditions(resolution=16, sentence_width=WIDTH)
    for values in ({}, {"condition": "sentence"}):
        with pytest.raises(DataError, match="have none.*method.auxiliary caption"):
            ACGAN(dataclasses.replace(SMALL, **values), without)
    method = ACGAN(dataclasses.replace(SMALL, **CAPTION), without)
    batch = make_batch_of_classes()
    batch.classes = None
    assert len(list(method.training_step(batch, PROGRESS))) == 2


def test_dropout_is_drawn_alike_where_a_run_goes_on(tmp_path: Path) -> None:
    """Four steps in one go, and two and two: the same weights, and class means of every caption that was read."""

    def run(out: str, steps: int, resume: bool = False) -> None:
        settings = dataclasses.replace(SMALL, discriminator_layers="strided", dropout=0.3, batch_size=4)
        train(dataclasses.replace(tiny("ac-gan", steps, 16), method_settings=settings), tmp_path / out, resume=resume)

    run("straight", 4)
    run("halves", 2)
    run("halves", 4, resume=True)
    assert same(state_of(tmp_path / "straight"), state_of(tmp_path / "halves"))
    method = load(tmp_path / "halves").method
    assert isinstance(method, ACGAN) and float(method.class_captions.sum()) == 16.0
