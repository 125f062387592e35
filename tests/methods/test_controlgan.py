"""ControlGAN: every setting's branch, losses by words, the perceptual term. That it is the authors' is for tests/parity."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.attentive_family import (
    CONDITIONS,
    LONGEST,
    PROGRESS,
    SENTENCE,
    WORD,
    make_batch,
    make_text,
    paints_without_its_guide,
    save_damsm,
    turns_of_a_step,
)
from torch import Tensor

from limner.core.errors import CheckpointError, SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.families.attentive.word_discriminator import WordDiscriminator, WordScaleDiscriminator
from limner.features.garden_judge import load_judge
from limner.matching.losses.words import Gammas
from limner.methods.controlgan import ChannelAttention, ControlGAN, ControlGANSettings

SMALL = ControlGANSettings(
    branches=2,
    noise_width=3,
    condition_width=4,
    generator_channels=2,
    discriminator_channels=2,
    residual_blocks=1,
    perceptual=0.0,
    batch_size=4,
)


def build(resolution: int = 32, **values: Any) -> ControlGAN:
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL, **values)
    return ControlGAN(settings, Conditions(resolution=resolution, **CONDITIONS))


@pytest.mark.parametrize(
    ("resolution", "values"),
    [
        (32, {}),
        (64, {"branches": 3}),
        (16, {"branches": 2}),
        (16, {"branches": 1, "word_discriminator": "none"}),
        (32, {"spatial_attention": False, "residual_blocks": 0, "unconditional_loss": False}),
        (32, {"channel_attention": False, "word_discriminator": "none"}),
        (32, {"spatial_attention": False, "channel_attention": False, "word_fooling_weight": 0.0}),
        (32, {"mixed_padding": True, "padded_channels": True}),
        (32, {"mismatch": "picture", "counterfactual": 0.5}),
        (32, {"mismatch": "caption", "counterfactual": 0.5, "gradient_penalty": 1.0, "discriminator_normalization": False}),
        (32, {"mismatch": "neighbour", "counterfactual": 1.0, "divergence_weight": 0.0}),
        (32, {"perceptual": 1.0, "perceptual_network": "garden", "perceptual_stage": "layer2"}),
    ],
)
def test_every_setting_takes_a_step_that_moves_its_player_alone(resolution: int, values: dict[str, Any]) -> None:
    method, batch = build(resolution, **values), make_batch(resolution)
    method.begin(method.phases()[0])
    turns = turns_of_a_step(method, batch)
    settings, branches = method.settings, method.settings.branches
    sides = [resolution // 2**level for level in range(branches)][::-1]
    assert [turn.player for turn in turns] == [*(f"discriminator-{side}" for side in sides), "generator"]
    painting = method.eval().paint(batch.text, method.draw_noise(0, np.arange(4)))
    assert [picture.shape[-1] for picture in (*painting.stages, painting.images)] == sides
    attended = [f"attention-{side}" for side in sides[:-1]] if settings.spatial_attention else []
    channels = [f"channels-{side}" for side in sides[:-1]] if settings.channel_attention else []
    assert list(painting.extras) == attended + channels
    for name in attended:
        assert painting.extras[name].shape == (4, LONGEST, *[int(name.split("-")[1])] * 2)
    assert all(painting.extras[name].shape == (4, LONGEST, settings.generator_channels) for name in channels)


def test_a_weight_of_0_leaves_the_word_level_discriminators_out() -> None:
    """The generator's loss is not that of heads which never learn; without words in the generator, none are read."""
    method = build(word_weight=0.0)
    assert all(isinstance(judge, WordScaleDiscriminator) and judge.words is None for judge in method.discriminators)
    assert not any("words" in name for turn in turns_of_a_step(method, make_batch()) for name in turn.metrics)
    settings = dataclasses.replace(SMALL, word_weight=0.0, spatial_attention=False, channel_attention=False)
    ControlGAN(settings, Conditions(resolution=32, sentence_width=SENTENCE))


def words_of(text: TextFeatures, rows: slice) -> tuple[Tensor, Tensor]:
    assert text.words is not None and text.mask is not None
    return text.words[rows], text.mask[rows]


def test_the_word_level_discriminator_learns_and_teaches() -> None:
    """Half of what it says of own and other words, in real pictures; and the generator wants to hear 1."""
    method, batch = build(counterfactual=0.5, word_fooling_weight=2.0), make_batch()
    plain = build(counterfactual=0.5, word_discriminator="none")
    plain.load_state_dict({name: value for name, value in method.state_dict().items() if name in plain.state_dict()})
    updates, without = ([*one.training_step(batch, PROGRESS)] for one in (method, plain))
    judge, changed = method.discriminators[0], batch.counterfactual
    assert isinstance(judge, WordScaleDiscriminator) and judge.words is not None and changed is not None
    (regions,) = judge.look_at_regions(batch.image(16))
    own = judge.words(regions, *words_of(batch.text, slice(4)))
    others = judge.words(regions[2:], *words_of(batch.mismatched.text, slice(2, 4)))
    wrong = torch.cat([judge.words(regions[:2], *words_of(changed, slice(2))), others])
    expected = without[0].loss + (F.softplus(-own).mean() + F.softplus(wrong).mean()) / 2
    torch.testing.assert_close(updates[0].loss, expected)
    torch.testing.assert_close(updates[-1].loss, without[-1].loss + 2.0 * updates[-1].metrics["fooling_words"])
    gradient = torch.autograd.grad(updates[0].loss, [judge.words.regions.weight, judge.words.importance.weight])
    assert all(value.abs().max() > 0 for value in gradient)


def test_a_verdict_is_the_weighted_mean_of_its_words() -> None:
    torch.manual_seed(0)
    layer = WordDiscriminator(3, WORD, 4, Gammas())
    text, regions = make_text(3, torch.Generator().manual_seed(5)), torch.randn(3, 3, 4, 4)
    assert text.words is not None and text.mask is not None
    found = layer(regions, text.words, text.mask).sigmoid()
    for row, length in enumerate(text.mask.sum(1).tolist()):
        words = text.words[row : row + 1, :length]
        weights = layer.importance(words)[0, :, 0].softmax(0)
        alone = layer.by_word(regions[row : row + 1], words, torch.ones(1, length, dtype=torch.bool))[0].sigmoid()
        torch.testing.assert_close(found[row], (weights * alone).sum())


def test_channels_look_at_words_alone_unless_asked() -> None:
    torch.manual_seed(0)
    layer = ChannelAttention(WORD, 4)
    maps, words, mask = torch.randn(2, 3, 4, 4), torch.randn(2, 5, WORD), torch.arange(5) < torch.tensor([5, 2])[:, None]
    context, attention = layer(maps, words, mask)
    for row, channel in ((0, 1), (1, 2)):
        patterns = layer.project(words[row, mask[row]])  # [T, 16]
        expected = (patterns @ maps[row, channel].flatten()).softmax(0) @ patterns
        torch.testing.assert_close(context[row, channel].flatten(), expected)
    torch.testing.assert_close(attention.sum(1), torch.ones(2, 3))
    layer.sees_padding = True
    seen, _ = layer(maps, words, mask)
    torch.testing.assert_close(seen[0], context[0])
    assert not torch.allclose(seen[1], context[1])


def test_the_perceptual_term_is_a_mean_over_scales() -> None:
    method, batch = build(perceptual=3.0, perceptual_network="garden", perceptual_stage="layer2"), make_batch()
    method.begin(method.phases()[0])
    trunk = load_judge().trunk[:6]
    fakes, _, _ = method.generator(method.noise(batch, "generator"), method.generator.condition(batch.text.sentence), batch.text)
    expected = torch.stack([F.mse_loss(trunk(fake), trunk(batch.image(fake.shape[-1]))) for fake in fakes]).mean()
    *_, update = build(perceptual=3.0, perceptual_network="garden", perceptual_stage="layer2").training_step(batch, PROGRESS)
    assert "perceptual" not in update.metrics  # whose network comes with the phase
    *_, update = method.training_step(batch, PROGRESS)
    torch.testing.assert_close(update.metrics["perceptual"], expected.detach())
    assert not any("perceptual" in name for name in method.state_dict())


def test_words_matter_and_padding_does_not() -> None:
    method, text = build().eval(), make_text(3, torch.Generator().manual_seed(5))
    noise = method.draw_noise(0, np.arange(3))
    painting = method.paint(text, noise)
    longer = TextFeatures(text.sentence, F.pad(text.words, (0, 0, 0, 2), value=9.0), F.pad(text.mask, (0, 2)))  # type: ignore[arg-type]
    torch.testing.assert_close(method.paint(longer, noise).images, painting.images)
    other = method.paint(dataclasses.replace(text, words=-text.words), noise)  # type: ignore[operator]
    torch.testing.assert_close(other.stages[0], painting.stages[0])
    assert not torch.allclose(other.images, painting.images)


def test_the_inert_loss_adds_a_number_that_teaches_nothing(tmp_path: Path) -> None:
    given = {"matching": str(save_damsm(tmp_path / "damsm")), "matching_weight": 2.0}
    method, without, batch = build(**given, word_discriminator="inert"), build(**given, word_discriminator="none"), make_batch()
    for one in (method, without):
        one.begin(one.phases()[0])
    updates, plain = ([*one.training_step(batch, PROGRESS)] for one in (method, without))
    assert "matching_words" in updates[-1].metrics and not any(name.startswith("guide") for name in method.state_dict())
    assert updates[0].loss.item() > plain[0].loss.item() and torch.equal(updates[-1].loss, plain[-1].loss)
    gradients = [
        torch.autograd.grad(turn[0].loss, list(one.discriminators[0].parameters())) for one, turn in ((method, updates), (without, plain))
    ]
    assert all(map(torch.equal, *gradients))


def test_what_is_refused(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"matching_weight": 5.0}, "matching-weight is 5.0 with no matching model: give --method.matching"),
        ({"counterfactual": 1.5}, "counterfactual is 1.5"),
        ({"gradient_penalty": 1.0}, "add --method.no-discriminator-normalization"),
        ({"branches": 0}, "branches is 0"),
        ({"branches": 4}, "with 4 branches: the first would be below 8 px, give 3"),
    ]
    for values, words in cases:
        with pytest.raises(SettingsError, match=words):
            build(**values)
    with pytest.raises(SettingsError, match="reads words, which this text encoder does not give: give --text.encoder"):
        ControlGAN(SMALL, Conditions(resolution=32, sentence_width=SENTENCE))
    free = dataclasses.replace(SMALL, spatial_attention=False, channel_attention=False, word_discriminator="none")
    ControlGAN(free, Conditions(resolution=32, sentence_width=SENTENCE))
    with pytest.raises(SettingsError, match="inert word loss is a matching model's: give --method.matching"):
        build(word_discriminator="inert").begin(build().phases()[0])
    with pytest.raises(CheckpointError, match="does not hold a matching model"):
        build(matching=str(tmp_path)).begin(build().phases()[0])


def test_a_model_paints_without_its_guide(tmp_path: Path) -> None:
    paints_without_its_guide("controlgan", tmp_path, condition_width=4)
