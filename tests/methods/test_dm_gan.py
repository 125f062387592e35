"""DM-GAN: every setting's branch, words that matter, spectral norms, the matching term. That it is the authors' is for tests/parity."""

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
from limner.families.attentive.method import GUIDE
from limner.families.tree import NextStage
from limner.methods.dm_gan import DMGAN, DMGANSettings, after_response
from limner.nn.spectral import SpectralConv2d

SMALL = DMGANSettings(
    branches=2, noise_width=3, condition_width=4, generator_channels=2, discriminator_channels=2, residual_blocks=1, batch_size=4
)


def build(resolution: int = 32, **values: Any) -> DMGAN:
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL, **values)
    return DMGAN(settings, Conditions(resolution=resolution, **CONDITIONS))


@pytest.mark.parametrize(
    ("resolution", "values"),
    [
        (32, {}),
        (64, {"branches": 3, "residual_blocks": 0, "mixed_padding": True}),
        (16, {"branches": 1}),
        (32, {"memory": False}),
        (32, {"writing_gate": False, "response_gate": False}),
        (32, {"writing_gate": False, "mismatch": "picture", "counterfactual": 0.5}),
        (32, {"response_gate": False, "residual_blocks": 0, "gradient_penalty": 1.0}),
        (32, {"mismatch": "caption", "counterfactual": 0.5, "gradient_penalty": 1.0, "spectral_normalization": False}),
    ],
)
def test_every_setting_takes_a_step_that_moves_its_player_alone(resolution: int, values: dict[str, Any]) -> None:
    method, batch = build(resolution, **values), make_batch(resolution)
    turns = turns_of_a_step(method, batch)
    branches = method.settings.branches
    sides = [resolution // 2**level for level in range(branches)][::-1]
    assert [turn.player for turn in turns] == [*(f"discriminator-{side}" for side in sides), "generator"]
    painting = method.eval().paint(batch.text, method.draw_noise(0, np.arange(4)))
    assert [picture.shape[-1] for picture in (*painting.stages, painting.images)] == sides
    attended = [f"attention-{resolution // 2**level}" for level in range(branches - 1, 0, -1)] if method.settings.memory else []
    assert list(painting.extras) == attended
    for name, maps in painting.extras.items():
        assert maps.shape == (4, LONGEST, *[int(name.split("-")[1])] * 2)


def test_a_memory_is_written_read_and_answered() -> None:
    """Eq. 3 to 9, place by place and word by word."""
    memory, text = build().generator.memories[0], make_text(2, torch.Generator().manual_seed(2))
    hidden = torch.randn(2, 2, 3, 3, requires_grad=True)
    answer, attention = memory(hidden, text.words, text.mask)
    assert answer.shape == (2, 4, 3, 3) and torch.equal(answer[:, :2], answer[:, 2:])
    for row, words in enumerate(text.words):  # type: ignore[arg-type]
        shown, mean = words[text.mask[row]], hidden[row].mean((1, 2))  # type: ignore[index]
        slots = []
        for word in shown:
            gate = torch.sigmoid(memory.gate_words.weight @ word + memory.gate_map.weight @ mean)
            slots.append(gate * memory.write_words(word).relu() + (1 - gate) * memory.write_map(mean).relu())
        keys, values = (torch.stack([layer(slot).relu() for slot in slots]) for layer in (memory.key, memory.value))
        place = hidden[row, :, 1, 2]
        weights = (keys @ place).softmax(0)
        read = weights @ values
        gate = torch.sigmoid(memory.response.weight.flatten() @ torch.cat([place, read]) + memory.response.bias)
        torch.testing.assert_close(answer[row, :2, 1, 2], gate * read + (1 - gate) * place)
        torch.testing.assert_close(attention[row, : len(shown), 1, 2], weights)
    (gradient,) = torch.autograd.grad(memory.write(hidden + 0.0, text.words).sum() + 0.0 * hidden.sum(), hidden)
    assert not gradient.any()  # the mean passes none on


@torch.no_grad()
def test_spectral_norms_iterate_once_a_forward_and_evaluations_leave_no_trace() -> None:
    layer, x = SpectralConv2d(3, 5, 3, padding=1), torch.randn(2, 3, 4, 4)
    layer.weight.mul_(3.0)  # far from orthogonal, and u and v are strangers to it
    matrix, u = layer.weight.flatten(1), layer.u.clone()
    v = F.normalize(matrix.T @ u, dim=0)
    u = F.normalize(matrix @ v, dim=0)
    expected = F.conv2d(x, layer.weight / (u @ matrix @ v), layer.bias, padding=1)
    for _ in range(2):
        torch.testing.assert_close(layer.eval()(x), expected)
    torch.testing.assert_close(layer.train()(x), expected)
    torch.testing.assert_close(layer.u, u)
    torch.testing.assert_close(layer.v, v)
    assert not torch.allclose(layer(x), expected, rtol=1e-6, atol=0.0)
    for _ in range(50):
        layer(x)
    torch.testing.assert_close(torch.linalg.matrix_norm(layer.normalized().flatten(1), 2), torch.tensor(1.0), rtol=1e-3, atol=0)


def test_spectral_norms_are_of_all_but_the_last_layers() -> None:
    for judge in build().discriminators:
        normalized = {name for name, layer in judge.named_modules() if isinstance(layer, SpectralConv2d)}
        others = {name for name, layer in judge.named_modules() if isinstance(layer, torch.nn.Conv2d)} - normalized
        assert others == {"matching.logits", "reality.logits"} and len(normalized) > 2
        assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in judge.modules())
        assert all(name.split(".")[-1] in ("weight", "bias") for name, _ in judge.named_parameters())


@pytest.mark.parametrize("residuals", [0, 2])
def test_an_answer_beside_itself_is_convolved_once(residuals: int) -> None:
    torch.manual_seed(0)
    quick, plain = after_response(3, residuals), NextStage(6, 3, residuals)
    plain.load_state_dict(quick.state_dict())
    half = torch.randn(2, 3, 4, 4)
    found, expected = (stage(torch.cat([half, half], dim=1)) for stage in (quick, plain))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(seen.square().sum(), list(stage.parameters())) for seen, stage in ((found, quick), (expected, plain))]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


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


def test_what_is_refused(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"matching_weight": 5.0}, "matching-weight is 5.0 with no matching model: give --method.matching"),
        ({"counterfactual": 1.5}, "counterfactual is 1.5"),
        ({"branches": 0}, "branches is 0"),
        ({"branches": 4}, "with 4 branches: the first would be below 8 px, give 3"),
    ]
    for values, words in cases:
        with pytest.raises(SettingsError, match=words):
            build(**values)
    with pytest.raises(SettingsError, match="reads words, which this text encoder does not give: give --text.encoder"):
        DMGAN(SMALL, Conditions(resolution=32, sentence_width=SENTENCE))
    DMGAN(dataclasses.replace(SMALL, memory=False), Conditions(resolution=32, sentence_width=SENTENCE))
    with pytest.raises(CheckpointError, match="does not hold a matching model"):
        build(matching=str(tmp_path)).begin(build().phases()[0])


def test_a_model_paints_without_its_guide(tmp_path: Path) -> None:
    paints_without_its_guide("dm-gan", tmp_path, condition_width=4, spectral_normalization=True)
