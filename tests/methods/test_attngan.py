"""AttnGAN: every setting's branch, words that matter, the matching term. That it is the authors' is for tests/parity."""

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
    make_batch,
    make_text,
    paints_without_its_guide,
    save_damsm,
    turns_of_a_step,
)

from limner.core.errors import CheckpointError, SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.families.attentive.losses import as_seen
from limner.families.attentive.method import GUIDE
from limner.matching.models.damsm import DAMSM, TRAINED, DAMSMSettings
from limner.methods.attngan import AttnGAN, AttnGANSettings
from limner.nn.penalties import zero_centred_penalty
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary

SMALL = AttnGANSettings(
    branches=2, noise_width=3, condition_width=4, generator_channels=2, discriminator_channels=2, residual_blocks=1, batch_size=4
)


def build(resolution: int = 32, **values: Any) -> AttnGAN:
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL, **values)
    return AttnGAN(settings, Conditions(resolution=resolution, **CONDITIONS))


@pytest.mark.parametrize(
    ("resolution", "values"),
    [
        (32, {}),
        (64, {"branches": 3}),
        (16, {"branches": 1}),
        (32, {"last_picture_only": True, "residual_blocks": 0, "unconditional_loss": False}),
        (32, {"attention": False}),
        (32, {"mixed_padding": True}),
        (32, {"mismatch": "picture", "counterfactual": 0.5}),
        (32, {"mismatch": "caption", "counterfactual": 0.5, "gradient_penalty": 1.0, "discriminator_normalization": False}),
        (32, {"mismatch": "neighbour", "counterfactual": 1.0, "divergence_weight": 0.0}),
    ],
)
def test_every_setting_takes_a_step_that_moves_its_player_alone(resolution: int, values: dict[str, Any]) -> None:
    method, batch = build(resolution, **values), make_batch(resolution)
    turns = turns_of_a_step(method, batch)
    branches, single = method.settings.branches, method.settings.last_picture_only
    sides = [resolution // 2**level for level in range(branches)][::-1][-1 if single else 0 :]
    assert [turn.player for turn in turns] == [*(f"discriminator-{side}" for side in sides), "generator"]
    painting = method.eval().paint(batch.text, method.draw_noise(0, np.arange(4)))
    assert [picture.shape[-1] for picture in (*painting.stages, painting.images)] == sides
    attended = [f"attention-{resolution // 2**level}" for level in range(branches - 1, 0, -1)] if method.settings.attention else []
    assert list(painting.extras) == attended
    for name, maps in painting.extras.items():
        assert maps.shape == (4, LONGEST, *[int(name.split("-")[1])] * 2)


def test_the_penalty_is_of_each_scale_s_pictures() -> None:
    method, batch = build(gradient_penalty=2.0, penalty_every=3, discriminator_normalization=False), make_batch()
    plain = build(discriminator_normalization=False)
    penalised, without = (next(one.training_step(batch, PROGRESS)).loss for one in (method, plain))
    judge, sentence = method.discriminators[0], batch.text.sentence
    penalty = zero_centred_penalty(
        lambda seen: (judge.match(judge.look(seen), sentence) + judge.realism(judge.look(seen))) / 2, batch.image(16)
    )
    torch.testing.assert_close(penalised, without + 2.0 * 3 * penalty)
    later = dataclasses.replace(PROGRESS, step=1)
    torch.testing.assert_close(next(method.training_step(batch, later)).loss, next(plain.training_step(batch, later)).loss)


@pytest.mark.parametrize("mismatch", ["neighbour", "picture", "caption"])
def test_mismatched_pairs(mismatch: str) -> None:
    """(real_u + real_c) / 2 + (fake_u + fake_c + mismatched_c) / 3, with the mismatched pairs that were asked for."""
    method, batch = build(mismatch=mismatch, counterfactual=0.5).eval(), make_batch()
    update = next(method.training_step(batch, PROGRESS))
    judge, sentence = method.discriminators[0], batch.text.sentence
    (fake, _), _ = method.generator(method.noise(batch, "generator"), method.generator.condition(sentence), batch.text)
    real, seen, pictures = judge.look(batch.image(16)), judge.look(fake), batch.image(16)
    changed = batch.counterfactual.sentence[:2]  # type: ignore[union-attr]
    if mismatch == "neighbour":
        wrong = judge.match(real[:3], torch.cat([changed, sentence[3:]]))
    elif mismatch == "caption":
        wrong = judge.match(real, torch.cat([changed, batch.mismatched.text.sentence[2:]]))
    else:
        wrong = judge.match(judge.look(torch.cat([pictures[:2], batch.mismatched.image(16)[2:]])), torch.cat([changed, sentence[2:]]))
    yes, no = (
        F.softplus(-judge.realism(real)).mean() + F.softplus(-judge.match(real, sentence)).mean(),
        F.softplus(judge.realism(seen)).mean(),
    )
    expected = yes / 2 + (no + F.softplus(judge.match(seen, sentence)).mean() + F.softplus(wrong).mean()) / 3
    torch.testing.assert_close(update.loss, expected)


def test_words_matter_and_padding_does_not() -> None:
    method, text = build().eval(), make_text(3, torch.Generator().manual_seed(5))
    noise = method.draw_noise(0, np.arange(3))
    painting = method.paint(text, noise)
    longer = TextFeatures(text.sentence, F.pad(text.words, (0, 0, 0, 2), value=9.0), F.pad(text.mask, (0, 2)))  # type: ignore[arg-type]
    torch.testing.assert_close(method.paint(longer, noise).images, painting.images)
    other = method.paint(dataclasses.replace(text, words=-text.words), noise)  # type: ignore[operator]
    torch.testing.assert_close(other.stages[0], painting.stages[0])
    assert not torch.allclose(other.images, painting.images)


def test_the_matching_term_reaches_the_last_picture_alone(tmp_path: Path) -> None:
    method, batch = build(matching=str(save_damsm(tmp_path / "damsm")), matching_weight=2.0), make_batch()
    method.begin(method.phases()[0])
    guide = method.guides[GUIDE]
    method.begin(method.phases()[0])
    assert method.guides[GUIDE] is guide and not any(name.startswith("guide") for name in method.state_dict())
    *_, guided = method.training_step(batch, PROGRESS)
    unguided = build()
    *_, plain = unguided.training_step(batch, PROGRESS)
    added = 2.0 * (guided.metrics["matching_words"] + guided.metrics["matching_sentences"])
    torch.testing.assert_close(guided.loss, plain.loss + added)
    gradients = [
        torch.autograd.grad(loss, [picture[0].weight for picture in one.generator.pictures])  # type: ignore[index]
        for one, loss in ((method, guided.loss), (unguided, plain.loss))
    ]
    torch.testing.assert_close(gradients[0][0], gradients[1][0])  # the coarse picture's
    assert not torch.allclose(gradients[0][1], gradients[1][1])


@pytest.mark.parametrize("side", [8, 16, 32])
def test_a_guide_sees_pictures_as_it_was_trained_to(side: int) -> None:
    settings = DAMSMSettings(pictures=TRAINED, width=8, picture_channels=2, word_embedding=3)
    encoder = LSTMEncoder(Vocabulary(["a"]), LSTMSettings(width=8, word_embedding=3))
    guide = DAMSM(settings, Conditions(resolution=16, sentence_width=8, word_width=8), encoder)
    pictures = torch.rand(2, 3, side, side)
    seen = as_seen(guide, pictures)
    assert seen.shape == (2, 3, 16, 16) and guide.picture_side(seen)[0].shape == (2, 8, 16)
    torch.testing.assert_close(seen.mean(), pictures.mean(), rtol=0.05, atol=0)


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
        AttnGAN(SMALL, Conditions(resolution=32, sentence_width=SENTENCE))
    AttnGAN(dataclasses.replace(SMALL, attention=False), Conditions(resolution=32, sentence_width=SENTENCE))
    with pytest.raises(CheckpointError, match="does not hold a matching model"):
        build(matching=str(tmp_path)).begin(build().phases()[0])


def test_a_model_paints_without_its_guide(tmp_path: Path) -> None:
    paints_without_its_guide("attngan", tmp_path, condition_width=4)
