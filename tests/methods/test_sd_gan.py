"""SD-GAN: every setting's branch, Siamese pairs, both levels of normalisation, the matching term. There is no reference."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.attentive_family import (
    CAPTIONS,
    CONDITIONS,
    PROGRESS,
    SENTENCE,
    WORD,
    make_batch,
    make_text,
    paints_without_its_guide,
    save_damsm,
    turns_of_a_step,
)

from limner.core.errors import SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.methods.sd_gan import SDGAN, SDGANSettings, SemanticNormalization, contrastive_loss
from limner.nn.penalties import zero_centred_penalty

SMALL = SDGANSettings(
    branches=2, feature_width=3, noise_width=3, generator_channels=2, discriminator_channels=2, residual_blocks=1, batch_size=4
)


def build(resolution: int = 32, **values: Any) -> SDGAN:
    """A method whose words and sentences change its maps already, as after some training."""
    torch.manual_seed(0)
    method = SDGAN(dataclasses.replace(SMALL, **values), Conditions(resolution=resolution, **CONDITIONS))
    for layer in method.modules():
        if isinstance(layer, SemanticNormalization):
            for last in (layer.words, layer.sentence[-1] if layer.sentence is not None else None):
                if last is not None:
                    torch.nn.init.normal_(last.weight, 0.0, 0.3)
    return method


@pytest.mark.parametrize(
    ("resolution", "values"),
    [
        (32, {}),
        (64, {"branches": 3, "residual_blocks": 0}),
        (16, {"branches": 1, "contrastive_weight": 0.0}),
        (32, {"word_level": False}),
        (32, {"sentence_level": False, "mismatch": "picture", "counterfactual": 0.5}),
        (32, {"sentence_level": False, "word_level": False, "counterfactual": 1.0}),
        (32, {"mismatch": "caption", "counterfactual": 0.5, "gradient_penalty": 1.0, "discriminator_normalization": False}),
    ],
)
def test_every_setting_takes_a_step_that_moves_its_player_alone(resolution: int, values: dict[str, Any]) -> None:
    method, batch = build(resolution, **values), make_batch(resolution, second=True)
    turns, settings = turns_of_a_step(method, batch), method.settings
    assert all(("contrast" in turn.metrics) == (settings.contrastive_weight > 0) for turn in turns)
    sides = [resolution // 2**level for level in range(settings.branches)][::-1]
    assert [turn.player for turn in turns] == [*(f"discriminator-{side}" for side in sides), "generator"]
    painting = method.eval().paint(batch.text, method.draw_noise(0, np.arange(4)))
    assert [picture.shape[-1] for picture in (*painting.stages, painting.images)] == sides
    assert list(painting.extras) == (
        [f"attention-{2**level}" for level in range(3, resolution.bit_length())] if settings.word_level else []
    )
    for name, maps in painting.extras.items():
        assert maps.shape == (4, 4, *[int(name.split("-")[1])] * 2)


def test_the_contrastive_loss() -> None:
    """Near enough is near enough, far enough is far enough; in between, squares."""
    same, different = torch.tensor([0.05, 0.5]), torch.tensor([0.4, 1.5])
    expected = 0.5 * torch.tensor([0.1**2, 0.5**2, 0.6**2, 0.0]).mean()
    torch.testing.assert_close(contrastive_loss(same, different, tolerance=0.1, margin=1.0), expected)


def test_pairs_are_of_one_picture_or_of_two() -> None:
    """Row b of the first branch belongs with row b of the second, and not with row b + 1; both players have the loss, of each scale."""
    method, batch = build(contrastive_weight=3.0).eval(), make_batch(second=True)
    text = TextFeatures.cat(batch.texts)
    z = torch.cat([method.noise(batch, stream).z for stream in ("generator", "generator second")])
    assert not torch.equal(z[:4], z[4:])
    fakes, _ = method.generator(z, text)
    total = torch.zeros(())
    *turns, last = method.training_step(batch, PROGRESS)
    for turn, judge, fake in zip(turns, method.scale_discriminators(), fakes, strict=True):
        code = judge.look(fake)
        seen = F.normalize(judge.place(code).flatten(1))  # type: ignore[misc]
        terms = []
        for b in range(4):
            near, far = (seen[b] - seen[4 + b]).norm(), (seen[b] - seen[4 + (b + 1) % 4]).norm()
            terms += [near.clamp(min=0.1) ** 2, (1.0 - far).clamp(min=0.0) ** 2]
        contrast = torch.stack(terms).mean() / 2
        torch.testing.assert_close(turn.metrics["contrast"], contrast)
        real = judge.look(batch.image(fake.shape[-1]))
        yes = F.softplus(-judge.realism(real)).mean() + F.softplus(-judge.match(real.repeat(2, 1, 1, 1), text.sentence)).mean()
        no = F.softplus(judge.realism(code)).mean() + F.softplus(judge.match(code, text.sentence)).mean()
        wrong = F.softplus(judge.match(real[:3], text.sentence[1:4])).mean()
        torch.testing.assert_close(turn.loss, yes / 2 + (no + wrong) / 3 + 3.0 * contrast)
        total = total + F.softplus(-judge.realism(code)).mean() + F.softplus(-judge.match(code, text.sentence)).mean() + 3.0 * contrast
    torch.testing.assert_close(last.loss, total)
    torch.testing.assert_close(last.metrics["contrast"], contrast)


def test_normalisation_place_by_place() -> None:
    """(gamma + sentence's + words') x + (beta + sentence's + words'), with the words' numbers from a mean by softmax, as in the paper."""
    torch.manual_seed(0)
    layer, text = SemanticNormalization(3, sentence_width=SENTENCE, word_width=WORD), make_text(2, torch.Generator().manual_seed(2))
    x = torch.randn(2, 3, 4, 4) * 3 + 1
    plain, _ = layer(x, text)
    torch.testing.assert_close(plain, F.batch_norm(x, None, None, training=True))  # at first
    for value in layer.parameters():
        torch.nn.init.normal_(value)
    found, attention = layer(x, text)
    normal = F.batch_norm(x, None, None, training=True)
    for b in range(2):
        shown = layer.project(text.words[b, text.mask[b]])  # type: ignore[index,misc]
        for row, column in ((0, 0), (3, 1)):
            place = normal[b, :, row, column]
            weights = (shown @ place).softmax(0)
            gamma, beta = (layer.sentence(text.sentence[b]) + layer.words(weights @ shown)).chunk(2)  # type: ignore[misc]
            torch.testing.assert_close(found[b, :, row, column], (layer.gamma + gamma) * place + layer.beta + beta)
            torch.testing.assert_close(attention[b, : len(shown), row, column], weights)


def test_the_penalty_is_of_the_first_caption() -> None:
    method, batch = build(gradient_penalty=2.0, penalty_every=3, discriminator_normalization=False), make_batch(second=True)
    plain = build(discriminator_normalization=False)
    penalised, without = (next(one.training_step(batch, PROGRESS)).loss for one in (method, plain))
    judge, sentence = method.discriminators[0], batch.text.sentence
    penalty = zero_centred_penalty(
        lambda seen: (judge.match(judge.look(seen), sentence) + judge.realism(judge.look(seen))) / 2, batch.image(16)
    )
    torch.testing.assert_close(penalised, without + 2.0 * 3 * penalty)
    later = dataclasses.replace(PROGRESS, step=1)
    torch.testing.assert_close(next(method.training_step(batch, later)).loss, next(plain.training_step(batch, later)).loss)


def test_words_matter_at_every_stage_and_padding_does_not() -> None:
    method, text = build().eval(), make_text(3, torch.Generator().manual_seed(5))
    noise = method.draw_noise(0, np.arange(3))
    painting = method.paint(text, noise)
    longer = TextFeatures(text.sentence, F.pad(text.words, (0, 0, 0, 2), value=9.0), F.pad(text.mask, (0, 2)))  # type: ignore[arg-type]
    torch.testing.assert_close(method.paint(longer, noise).images, painting.images)
    other = method.paint(dataclasses.replace(text, words=-text.words), noise)  # type: ignore[operator]
    assert not torch.allclose(other.stages[0], painting.stages[0]) and not torch.allclose(other.images, painting.images)


def test_the_matching_term_judges_the_branches_one_by_one(tmp_path: Path) -> None:
    method, batch = build(matching=str(save_damsm(tmp_path / "damsm")), matching_weight=2.0), make_batch(second=True)
    method.begin(method.phases()[0])
    *_, guided = method.training_step(batch, PROGRESS)
    *_, plain = build().training_step(batch, PROGRESS)
    added = 2.0 * (guided.metrics["matching_words"] + guided.metrics["matching_sentences"])
    torch.testing.assert_close(guided.loss, plain.loss + added)
    swapped = dataclasses.replace(batch, captions=[[caption, caption] for caption in CAPTIONS])
    *_, other = build_again(method).training_step(swapped, PROGRESS)
    assert not torch.allclose(other.metrics["matching_words"], guided.metrics["matching_words"])  # the second captions are read


def build_again(method: SDGAN) -> SDGAN:
    again = build(matching=method.settings.matching, matching_weight=2.0)
    again.begin(again.phases()[0])
    return again


def test_what_is_refused() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"matching_weight": 5.0}, "matching-weight is 5.0 with no matching model: give --method.matching"),
        ({"counterfactual": 1.5}, "counterfactual is 1.5"),
        ({"gradient_penalty": 1.0}, "add --method.no-discriminator-normalization"),
        ({"margin": 0.1}, "margin is 0.1, but must lie above method.tolerance, 0.1, and be at most 2"),
        ({"margin": 2.5}, "margin is 2.5"),
        ({"contrastive_weight": -1.0}, "contrastive-weight is -1.0, but must be at least 0"),
        ({"branches": 4}, "with 4 branches: the first would be below 8 px, give 3"),
    ]
    for values, words in cases:
        with pytest.raises(SettingsError, match=words):
            build(**values)
    with pytest.raises(SettingsError, match="reads words, which this text encoder does not give: .* or --method.no-word-level"):
        SDGAN(SMALL, Conditions(resolution=32, sentence_width=SENTENCE))
    SDGAN(dataclasses.replace(SMALL, word_level=False), Conditions(resolution=32, sentence_width=SENTENCE))


def test_a_model_paints_without_its_guide(tmp_path: Path) -> None:
    paints_without_its_guide("sd-gan", tmp_path, feature_width=4)
