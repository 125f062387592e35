"""MirrorGAN: every setting's branch, a captioner that learns first and stands still then, and what a model keeps of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared.attentive_family import CAPTIONS, CONDITIONS, SENTENCE, make_batch, make_text, tiny
from shared.pictures import Captioned
from shared.tiny_runs import state_of
from torch import Tensor

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.trainable import Conditions, Progress
from limner.methods.mirrorgan import CAPTIONER, GAME, Captioner, MirrorGAN, MirrorGANSettings
from limner.model import load
from limner.training.run import train

PROGRESS = Progress(phase=GAME, step=0, steps=10, images=0, epoch=0.0)
SMALL = MirrorGANSettings(
    branches=2,
    caption_features=None,
    caption_channels=2,
    caption_width=8,
    caption_hidden=8,
    caption_batch_size=4,
    noise_width=3,
    condition_width=4,
    generator_channels=2,
    discriminator_channels=2,
    residual_blocks=1,
    batch_size=4,
)


SMALLER = {"condition_width": 4, "caption_channels": 2, "caption_width": 8, "caption_hidden": 8, "caption_batch_size": 8}


def build(resolution: int = 32, **values: Any) -> MirrorGAN:
    torch.manual_seed(0)
    settings = dataclasses.replace(SMALL, **values)
    method = MirrorGAN(settings, Conditions(resolution=resolution, **CONDITIONS))
    method.prepare(method.phases()[0], Captioned(CAPTIONS))
    return method


def in_phase(method: MirrorGAN, number: int) -> MirrorGAN:
    method.begin(method.phases()[number])
    method.train()
    return method


def step(method: MirrorGAN, batch: Batch, progress: Progress = PROGRESS) -> dict[str, dict[str, float]]:
    """A step as the trainer takes it; returns each player's metrics."""
    players, found = method.players(), {}
    optimizers = {name: torch.optim.Adam(player.module.parameters(), lr=1e-3) for name, player in players.items()}
    for update in method.training_step(batch, progress):
        modules = {name: player.module for name, player in players.items()}
        before = {name: [value.clone() for value in module.parameters()] for name, module in modules.items()}
        parameters = [value for value in modules[update.player].parameters() if value.requires_grad]
        optimizers[update.player].zero_grad()
        update.loss.backward(inputs=parameters)
        optimizers[update.player].step()
        assert torch.isfinite(update.loss)
        for name, module in modules.items():
            moved = any(not torch.equal(old, new) for old, new in zip(before[name], module.parameters(), strict=True))
            assert moved == (name == update.player), name
        found[update.player] = {name: float(value) for name, value in update.metrics.items()}
    return found


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"branches": 1},
        {"branches": 3, "mixed_padding": True},
        {"sentence_attention": False},
        {"caption_weight": 0.0},
        {"mismatch": "caption", "counterfactual": 0.5, "gradient_penalty": 1.0, "discriminator_normalization": False},
        {"mismatch": "picture"},
    ],
)
def test_a_step_moves_each_player_in_turn(values: dict[str, Any]) -> None:
    method = in_phase(build(**values), -1)
    metrics = step(method, make_batch())
    sides = method.sides
    assert list(metrics) == [*(f"discriminator-{side}" for side in sides), "generator"]
    assert {"real", "fake", "mismatched"} <= metrics[f"discriminator-{sides[-1]}"].keys()
    assert ("caption" in metrics["generator"]) == bool(method.settings.caption_weight)
    painting = method.eval().paint(make_text(3, torch.Generator().manual_seed(0)), method.draw_noise(0, np.arange(3)))
    assert [stage.shape[-1] for stage in (*painting.stages, painting.images)] == list(sides)
    assert list(painting.extras) == [f"attention-{side}" for side in sides[:-1]]
    assert bool(method.generator.glimpses) == (method.settings.sentence_attention and len(sides) > 1)


def test_the_sentence_is_looked_at() -> None:
    """MirrorGAN's Eq. 5 by hand; and what stands beside the map matters at every place."""
    method = build().eval()
    glimpse, hidden, condition = method.generator.glimpses[0], torch.randn(2, 2, 4, 4), torch.randn(2, 4)
    sentence = condition @ glimpse.linear.weight.T + glimpse.linear.bias
    compared = torch.einsum("oc,bchw->bohw", glimpse.compare.weight[:, :, 0, 0], hidden * sentence[:, :, None, None])
    expected = sentence[:, :, None, None] * compared.exp() / compared.exp().sum(1, keepdim=True)
    torch.testing.assert_close(glimpse(hidden, condition), expected)
    text, noise = make_text(2, torch.Generator().manual_seed(2)), method.draw_noise(0, [0, 1])
    images = method.paint(text, noise).images
    with torch.no_grad():
        glimpse.linear.bias.add_(1.0)
    assert not torch.allclose(method.paint(text, noise).images, images)


def striped(number: int) -> Tensor:
    """A picture that shows which caption it has."""
    picture = torch.full((3, 32, 32), -1.0)
    picture[number % 3, :, 8 * number : 8 * number + 8] = 1.0
    return picture


def test_the_captioner_learns_to_read_and_then_stands_still() -> None:
    method, batch = in_phase(build(caption_hidden=32, caption_width=16, caption_channels=4), 0), make_batch()
    batch.pictures = torch.stack([striped(number) for number in range(4)])
    batch.texts = ()  # which this phase does not need
    assert method.captioner is not None and method.phases()[0].players == (CAPTIONER,) and not method.phases()[0].encoded
    optimizer = torch.optim.Adam(method.captioner.parameters(), lr=1e-2)
    losses = []
    for _ in range(120):
        (update,) = method.training_step(batch, dataclasses.replace(PROGRESS, phase=CAPTIONER))
        optimizer.zero_grad()
        update.loss.backward()
        optimizer.step()
        losses.append(update.loss.item())
    assert losses[-1] < 0.1 * losses[0] and update.metrics["words_right"] == 1.0
    in_phase(method, 1)
    method.captioner.normalization.running_mean.zero_().add_(method.captioner.to_width(method.captioner.reader(batch.pictures)).mean(0))  # type: ignore[misc, union-attr, operator]
    before = {name: value.clone() for name, value in method.captioner.state_dict().items()}
    assert method.describe(batch.pictures) == CAPTIONS
    pictures = batch.pictures.clone().requires_grad_()
    method._seen(pictures).sum().backward()
    assert pictures.grad is not None and float(pictures.grad.abs().sum()) > 0
    step(method, make_batch())
    assert all(torch.equal(value, before[name]) for name, value in method.captioner.state_dict().items())


def test_the_caption_loss_is_the_likelihood_of_words_without_the_end() -> None:
    method, batch = in_phase(build(caption_weight=3.0), 1), make_batch()
    *_, with_it = method.training_step(batch, PROGRESS)
    without = in_phase(build(caption_weight=3.0), 1)
    without.captioner = None
    *_, plain = without.training_step(batch, PROGRESS)
    torch.testing.assert_close(with_it.loss, plain.loss + 3.0 * with_it.metrics["caption"])
    fakes, _ = method.generator(method.noise(batch, "generator"), method.generator.condition(batch.text.sentence), batch.text)
    captioner = method.captioner
    assert captioner is not None and captioner.decoder is not None
    logs = []
    for row, caption in enumerate(CAPTIONS):
        ids = torch.tensor([captioner.words.index(word) + 1 for word in caption.split()])
        logits = captioner.decoder(captioner.see(fakes[-1])[row : row + 1], ids[None])[0]
        logs += [logits[place].log_softmax(0)[word] for place, word in enumerate(ids)]
    torch.testing.assert_close(with_it.metrics["caption"], -torch.stack(logs).mean().detach())


def test_a_captioner_takes_its_words_along() -> None:
    one, other = Captioner(8, 8, 2), Captioner(8, 8, 2)
    one.learn(["bird", "na\u00efve"])
    other.load_state_dict(one.state_dict())
    assert other.words == ("bird", "na\u00efve") and other.decoder is not None
    kept = other.decoder
    other.load_state_dict(one.state_dict())
    assert other.decoder is kept  # whose weights an optimiser may hold
    assert json.loads(bytes(Captioner(8, 8, 2).get_extra_state().tolist()))["words"] == []
    with pytest.raises(SettingsError, match="no captioner"):
        build(caption_weight=0.0).describe(torch.zeros(1, 3, 32, 32))


def test_a_feature_network_reads_pictures() -> None:
    method = in_phase(build(caption_features="garden", resolution=64), 0)
    assert method.captioner is not None and method.captioner.reader is None
    batch = make_batch(64)
    assert list(step(method, batch, dataclasses.replace(PROGRESS, phase=CAPTIONER))) == [CAPTIONER]
    in_phase(method, 1)
    assert step(method, batch)["generator"]["caption"] > 0
    assert len(method.describe(batch.pictures)) == 4
    assert not any("guide" in name or "judge" in name for name in method.state_dict())


def test_what_is_refused() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"matching_weight": 5.0}, "matching-weight is 5.0 with no matching model: give --method.matching"),
        ({"caption_share": 1.5}, "caption-share is 1.5"),
        ({"caption_weight": -1.0}, "caption-weight is -1.0"),
        ({"gradient_penalty": 1.0}, "add --method.no-discriminator-normalization"),
        ({"branches": 4}, "with 4 branches: the first would be below 8 px, give 3"),
        ({"caption_features": "resnet"}, "resnet"),
    ]
    for values, words in cases:
        with pytest.raises(SettingsError, match=words):
            build(**values)
    with pytest.raises(SettingsError, match="reads words, which this text encoder does not give: give --text.encoder"):
        MirrorGAN(SMALL, Conditions(resolution=32, sentence_width=SENTENCE))
    MirrorGAN(dataclasses.replace(SMALL, branches=1), Conditions(resolution=32, sentence_width=SENTENCE))


def test_a_model_keeps_the_captioner_and_its_words(tmp_path: Path) -> None:
    train(tiny("mirrorgan", 2, **SMALLER), tmp_path / "run")
    model = load(tmp_path / "run")
    assert isinstance(model.method, MirrorGAN) and model.method.captioner is not None
    trained = state_of(tmp_path / "run")["modules"]["method"]["captioner.to_width.weight"]
    assert torch.equal(model.method.captioner.to_width.weight, trained)  # type: ignore[union-attr]
    assert "petals" in model.method.captioner.words
    (said,) = model.method.describe(torch.zeros(1, 3, 16, 16))
    assert set(said.split()) <= set(model.method.captioner.words)
