"""CI-GAN: what each phase minimises, how captions and random codes become pictures, editing, and generators that are taken over."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.batches import PROGRESS, make_batch, make_conditions, turns_of_a_step
from shared.tiny_runs import same, state_of, tiny

from limner.core.abilities import Edits, Inverts, MixesStyles
from limner.core.errors import CheckpointError, SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Progress, Update
from limner.families.inversion.losses import code_contrast, optimized, square_distance
from limner.methods.ci_gan import CIGAN, GAN, INVERSION, TEXT, CIGANSettings
from limner.methods.stylegan2 import StyleGAN2, StyleGAN2Settings
from limner.training.run import train

NETWORKS: dict[str, Any] = {"noise_width": 6, "style_width": 8, "mapping_layers": 2, "channel_base": 128, "channel_limit": 12}
TINY: dict[str, Any] = {
    **NETWORKS, "encoder_width": 12, "batch_size": 4, "inversion_batch_size": 4, "text_batch_size": 4, "perceptual": None,
}  # fmt: skip


def build(**values: Any) -> CIGAN:
    torch.manual_seed(0)
    method = CIGAN(CIGANSettings(**{**TINY, **values}), make_conditions(16))
    method.generator.mapping.mean.normal_()
    return method


def at(phase: str, step: int = 1) -> Progress:
    return dataclasses.replace(PROGRESS, phase=phase, step=step)


def begun(method: CIGAN, name: str) -> CIGAN:
    method.begin(next(phase for phase in method.phases() if phase.name == name))
    return method


def turns(method: CIGAN, phase: str, step: int = 1) -> list[Update]:
    return list(begun(method, phase).training_step(make_batch(size=4), at(phase, step)))


def some_text(rows: int, seed: int = 3) -> TextFeatures:
    return TextFeatures(torch.randn(rows, 12, generator=torch.Generator().manual_seed(seed)))


def test_each_phase_has_its_players() -> None:
    method = build()
    plays = {phase.name: phase.players for phase in method.phases()}
    assert plays == {
        GAN: ("discriminator", "generator"),
        INVERSION: ("picture_adversary", "code_adversary", "inversion"),
        TEXT: ("text",),
    }
    for phase in method.phases():
        turns_of_a_step(begun(method, phase.name), make_batch(size=4), at(phase.name), rate=1e-4)
    alone = build(picture_adversary_weight=0.0, code_adversary_weight=0.0)
    assert alone.phases()[1].players == ("inversion",) and [turn.player for turn in turns(alone, INVERSION)] == ["inversion"]


def test_the_encoder_s_objective() -> None:
    weights = {"pixel": 2.0, "perceptual": 3.0, "code": 5.0, "picture_adversary": 7.0, "code_adversary": 11.0}
    method = build(**{f"{name}_weight": weight for name, weight in weights.items()})
    *others, last = turns(method, INVERSION)
    assert [turn.player for turn in others] == ["picture_adversary", "code_adversary"]
    terms = [float(last.metrics[name]) for name in ("pixel", "perceptual", "code", "picture_fooling", "code_fooling")]
    assert float(last.loss.detach()) == pytest.approx(sum(w * term for w, term in zip(weights.values(), terms, strict=True)), rel=1e-5)
    for left_out in ("code", "perceptual"):
        assert left_out not in turns(build(**{f"{left_out}_weight": 0.0}), INVERSION)[-1].metrics
    assert "penalty" not in others[0].metrics
    assert all("penalty" in turn.metrics for turn in turns(build(), INVERSION, 16)[:2])


def test_a_code_found_again_costs_nothing() -> None:
    """The code term compares E(G(w)) with w: an encoder that always answers the same is off by the codes' spread."""
    method = build()
    with torch.no_grad():
        method.inverter.code.weight.zero_()
        method.generator.mapping.mean.zero_()
    own = method.generator.mapping(method._latent(make_batch(size=4), "inversion", 4))
    torch.testing.assert_close(turns(method, INVERSION)[-1].metrics["code"], own.square().mean().detach())


def test_contrast_is_a_softmax_of_squared_distances() -> None:
    texts, codes = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss, nearest = code_contrast(texts, codes, 2.0)
    distances = torch.stack([square_distance(text.expand(5, 7), codes) for text in texts])
    torch.testing.assert_close(loss, -F.log_softmax(-distances / 2.0, dim=1).diagonal().mean())
    assert float(nearest) == pytest.approx(float((distances.argmin(1) == torch.arange(5)).double().mean()))
    assert float(code_contrast(codes, codes, 2.0)[1]) == 1.0


def test_text_losses_do_not_depend_on_the_scale_of_codes_where_they_are_scaled() -> None:
    for scaled in (True, False):
        found = []
        for scale in (1.0, 3.0):
            method = build(text_scaled=scaled, pair_weight=1.0)
            with torch.no_grad():
                for layer in (method.inverter.code, method.text.code):
                    layer.weight.mul_(scale)
                    layer.bias.mul_(scale)
            found.append(turns(method, TEXT)[0].loss.detach())
        assert torch.isclose(found[0], found[1], rtol=1e-4) == scaled


def test_the_part_that_is_spoken_of_trains_neither_code_nor_encoder() -> None:
    method = build()
    read = method.text(some_text(3).sentence)
    found = method.text.spoken(torch.randn(3, 8), read.gates)
    gradients = torch.autograd.grad(found.sum(), [method.text.code.weight, method.text.gates.weight], allow_unused=True)
    assert gradients[0] is None and gradients[1] is not None
    deep = build(own_encoder=False).text
    used = torch.autograd.grad(deep(some_text(3).sentence).gates.sum(), [*deep.hidden.parameters()], allow_unused=True)
    assert all(gradient is None for gradient in used)
    codes, gates = torch.randn(3, 8), read.gates.detach()
    torch.testing.assert_close(method.text.spoken(2.0 * codes, gates), 2.0 * method.text.spoken(codes, gates))


@torch.no_grad()
def test_a_caption_s_code_and_what_it_leaves_open() -> None:
    method, text = build().eval(), some_text(3)
    noise, read = method.draw_noise(0, np.arange(3)), method.text(text.sentence)
    mean, drawn = method.generator.mapping.mean, method.generator.mapping(noise.z)
    spoken = method.text.spoken(drawn - mean, read.gates)
    torch.testing.assert_close(method.find_styles(text, noise)[:, 2], read.codes + drawn - spoken)
    method.settings = dataclasses.replace(method.settings, truncation=0.0)
    torch.testing.assert_close(method.find_styles(text, noise)[:, 0], mean + read.codes)
    method.settings = dataclasses.replace(method.settings, truncation_layers=1)
    torch.testing.assert_close(method.find_styles(text, noise)[:, 1], read.codes + drawn - spoken)


def test_painting_in_steps_brings_the_picture_s_code_nearer() -> None:
    method, text = build().eval().requires_grad_(False), some_text(2)
    noise = method.draw_noise(0, np.arange(2))
    wanted = method.find_styles(text, noise)[:, 0]
    method.settings = dataclasses.replace(method.settings, paint_steps=15, edit_rate=0.05)
    moved = method.find_styles(text, noise)[:, 0]
    assert (method._misread(moved, wanted, noise) < method._misread(wanted, wanted, noise)).all()


def test_editing() -> None:
    method = build().eval().requires_grad_(False)
    pictures, after, before = make_batch(size=2).pictures, some_text(2), some_text(2, seed=4)
    noise, start, mean = method.draw_noise(0, np.arange(2)), method.invert(pictures), method.generator.mapping.mean
    to, was = method.text(after.sentence), method.text(before.sentence)

    def edited(given: TextFeatures | None = None, **values: Any) -> torch.Tensor:
        method.settings = dataclasses.replace(CIGANSettings(**TINY), **values)
        return painted(method.edit(start, after, noise, pictures=pictures, before=given))

    def painted(codes: torch.Tensor) -> torch.Tensor:
        return method.paint_codes(codes, noise).images

    torch.testing.assert_close(edited(before, edit_steps=0), painted(start + to.codes - was.codes))
    torch.testing.assert_close(edited(edit_steps=0, edit_whole=True), painted(mean + to.codes))
    kept = start - mean - method.text.spoken(start - mean, to.gates)
    torch.testing.assert_close(edited(edit_steps=0), painted(mean + to.codes + kept))
    steps = {"edit_steps": 50, "edit_rate": 0.1, "edit_whole": True}
    by_text = edited(**steps, edit_picture_weight=0.0)
    assert (by_text - painted(mean + to.codes)).abs().mean() < 0.1 * (painted(start) - painted(mean + to.codes)).abs().mean()
    by_picture = edited(**steps, edit_text_weight=0.0)
    assert (method.unlike(by_picture, pictures) < method.unlike(painted(start), pictures)).all()
    told: list[tuple[int, int]] = []
    optimized(start, lambda codes: codes.square().sum(1), 3, 0.1, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_inverting_in_steps_brings_each_picture_nearer_by_itself() -> None:
    method = build(perceptual_weight=0.0, code_weight=0.0).eval().requires_grad_(False)
    noise = method.draw_noise(0, np.zeros(3, np.int64), "invert")
    pictures = method.paint_codes(method.generator.mapping(method.draw_noise(5, np.arange(3)).z), noise).images

    def apart(codes: torch.Tensor) -> torch.Tensor:
        return (method.paint_codes(codes, noise).images - pictures).square().flatten(1).mean(1)

    found = method.invert(pictures)
    assert torch.equal(found, method.encode(pictures))
    method.settings = dataclasses.replace(method.settings, invert_steps=40, edit_rate=0.1)
    moved = method.invert(pictures)
    assert (apart(moved) < 0.5 * apart(found)).all()
    method.settings = dataclasses.replace(method.settings, invert_steps=2)  # more would amplify what a batch of another size rounds
    torch.testing.assert_close(method.invert(pictures[1:2]), method.invert(pictures)[1:2], rtol=0.0, atol=1e-3)
    method.settings = dataclasses.replace(method.settings, invert_steps=40)
    method.settings = dataclasses.replace(method.settings, perceptual_weight=1.0, pixel_weight=0.0)
    assert (method.unlike(method.paint_codes(method.invert(pictures), noise).images, pictures).mean()) < method.unlike(
        method.paint_codes(found, noise).images, pictures
    ).mean()
    method.settings = dataclasses.replace(method.settings, perceptual_weight=0.0, pixel_weight=0.0, code_weight=1.0)
    moved = method.invert(pictures)
    again = method.encode(method.paint_codes(moved, noise).images)
    first = method.encode(method.paint_codes(found, noise).images)
    assert ((again - moved).square().mean(1) < (first - found).square().mean(1)).all()


def test_its_abilities() -> None:
    method = build()
    assert isinstance(method, Inverts) and isinstance(method, Edits) and isinstance(method, MixesStyles)
    assert not isinstance(StyleGAN2(StyleGAN2Settings(**NETWORKS), make_conditions(16)), Inverts)


def test_a_generator_of_stylegan2_is_taken_over() -> None:
    other = StyleGAN2(StyleGAN2Settings(**NETWORKS), make_conditions(16))
    other.generator.mapping.mean.normal_()
    state, method = other.state_dict(), build()
    first = method.phases()[0]
    method.adopt(first, state)
    assert same(dict(method.generator.state_dict()), dict(other.generator.state_dict()))
    painter = {name: value for name, value in state.items() if name.startswith("generator.")}
    with pytest.raises(CheckpointError, match="no weights of the discriminator"):
        method.adopt(first, painter)
    build(perceptual="vgg16").adopt(first, painter)
    with pytest.raises(CheckpointError, match="does not fit this recipe's"):
        build(style_width=9).adopt(first, state)


def test_an_encoder_is_taken_over_with_its_adversaries() -> None:
    method, other = build(), build()
    with torch.no_grad():
        for value in other.parameters():
            value.normal_()
    method.adopt(method.phases()[1], other.state_dict())
    for name in ("inverter", "adversaries"):
        assert same(dict(getattr(method, name).state_dict()), dict(getattr(other, name).state_dict())), name
    assert not same(dict(method.generator.state_dict()), dict(other.generator.state_dict()))


def test_what_editing_needs_is_kept() -> None:
    method = build()
    roots = {name.split(".")[0] for name in method.kept()}
    assert roots == {"discriminator", "generator", "inverter", "path_mean", "strength", "text"}
    assert not any(name.startswith("discriminator.") for name in build(perceptual="vgg16").kept())


def test_augmentation_s_strength_and_path_lengths_go_on(tmp_path: Path) -> None:
    recipe = tiny("ci-gan", 2, resolution=16, keep_checkpoints=10)
    changed = {"augmentation": ("translation",), "augmentation_images": 80, "augmentation_target": -0.999, "path_every": 1}
    recipe = dataclasses.replace(recipe, method_settings=dataclasses.replace(recipe.method_settings, **{**TINY, **changed}))
    train(recipe, tmp_path / "straight")
    shutil.copytree(tmp_path / "straight", tmp_path / "halted")
    shutil.rmtree(tmp_path / "halted" / "model")
    for checkpoint in sorted((tmp_path / "halted" / "checkpoints").iterdir())[1:]:
        shutil.rmtree(checkpoint)
    train(recipe, tmp_path / "halted", resume=True)
    one, other = state_of(tmp_path / "straight"), state_of(tmp_path / "halted")
    state = one["modules"]["method"]
    assert same(one, other) and float(state["path_mean"]) > 0 and float(state["strength"]) > 0


def test_settings_that_cannot_work() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"inversion_share": 0.7, "text_share": 0.3}, "leave nothing for the first phase"),
        ({"pixel_weight": 0.0, "perceptual_weight": 0.0, "code_weight": 0.0}, "the encoder has nothing to learn"),
        ({"contrast_weight": 0.0}, "captions have nothing to learn"),
        ({"contrast_temperature": 0.0}, "method.contrast-temperature is 0"),
        ({"inversion_batch_size": 6}, "method.inversion-batch-size is 6, but must be a multiple of method.deviation-group, 4"),
        ({"edit_rate": 0.0}, "method.edit-rate is 0"),
    ]
    for values, words in cases:
        with pytest.raises(SettingsError, match=words):
            build(**values)
