"""What nearly all methods train by holds for each of them, by its own name."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from limner import methods
from limner.core.errors import SettingsError
from limner.core.recipes import from_preset
from limner.core.trainable import Conditions, Progress, Update
from limner.families.adversarial import AdversarialMethod, added, smoothed

NAMES = tuple(name for name in methods.names() if issubclass(methods.get(name), AdversarialMethod))
HALVING = tuple(name for name in NAMES if name not in ("limner-gan", "obj-gan"))  # one's rates fall otherwise, the other's phases have own
LAZY = tuple(name for name in NAMES if name != "msg-gan")  # whose penalty is of several scales, and so its own
TINY = {"noise_width": 3, "generator_channels": 2, "discriminator_channels": 2}
CONDITIONS = Conditions(resolution=32, sentence_width=6, word_width=5, class_count=3, frames=4, labels=("a", "b"))


def build(name: str, **values: Any) -> AdversarialMethod:
    wide = {"hdgan": {"generator_channels": 8}, "msg-gan": {"generator_channels": 16, "discriminator_channels": 16}}
    tiny = TINY | wide.get(name, {})
    settings = dataclasses.replace(from_preset(name, "cpu", "garden", 32).method_settings, **{**tiny, **values})
    method = methods.get(name)(settings, CONDITIONS)
    assert isinstance(method, AdversarialMethod)
    return method


def at(step: int, epoch: float = 0.0) -> Progress:
    return Progress(phase="gan", step=step, steps=9, images=0, epoch=epoch)


def test_who_plays_by_it() -> None:
    assert len(NAMES) == 17 and {"gan-cls", "ac-gan", "stackgan", "attngan", "sd-gan", "limner-gan", "msg-gan"} <= set(NAMES)


@pytest.mark.parametrize("name", HALVING)
def test_one_adam_for_all_whose_rate_halves(name: str) -> None:
    players = [
        player for key, player in build(name, learning_rate=3e-4, beta1=0.2, halve_every=10.0).players().items() if key != "captioner"
    ]
    betas = (0.2, 0.99 if name == "msg-gan" else 0.999)
    assert all(player.optimizer.learning_rate == 3e-4 and player.optimizer.betas == betas for player in players)
    for player in players:
        assert player.learning_rate_factor is not None
        assert [player.learning_rate_factor(at(0, epoch)) for epoch in (0.0, 9.9, 10.0, 35.0)] == [1.0, 1.0, 0.5, 0.125]
    assert all(player.learning_rate_factor is None for player in build(name, halve_every=0.0).players().values())


@pytest.mark.parametrize("name", LAZY)
def test_the_penalty_comes_now_and_then_and_as_much_heavier(name: str) -> None:
    method = build(name, gradient_penalty=0.5, penalty_every=4)
    assert [method.penalty(at(step)) for step in range(9)] == [2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"counterfactual": 1.5}, "method.counterfactual is 1.5, but must lie between 0 and 1"),
        ({"beta1": 1.0}, "method.beta1 is 1.0, but must be at least 0 and below 1"),
        ({"learning_rate": 0.0}, "method.learning-rate is 0.0, but must be above 0"),
        ({"learning_rate": float("inf")}, "method.learning-rate is inf, but must be a finite number"),
        ({"halve_every": float("nan")}, "method.halve-every is nan, but must be a finite number"),
        ({"halve_every": -1.0}, "method.halve-every is -1.0, but must be at least 0"),
        ({"noise_width": 0}, "method.noise-width is 0, but must be at least 1"),
        ({"batch_size": 1}, "method.batch-size is 1, but must be at least 2"),
        ({"penalty_every": 0}, "method.penalty-every is 0, but must be at least 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_none_of_them_takes(name: str, values: dict[str, Any], message: str) -> None:
    if name == "limner-gan" and "halve_every" in values:
        pytest.skip("its learning rate does not halve")
    with pytest.raises(SettingsError, match=message):
        build(name, **values)


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(methods.get(name).Settings, "discriminator_normalization")])
def test_no_penalty_of_pictures_that_are_not_judged_by_themselves(name: str) -> None:
    with pytest.raises(SettingsError, match="add --method.no-discriminator-normalization"):
        build(name, gradient_penalty=1.0, discriminator_normalization=True)


@pytest.mark.parametrize("name", ["gan-cls", "hdgan", "fusedgan", "ppan"])
def test_no_counterfactuals_without_mismatched_pairs(name: str) -> None:
    with pytest.raises(SettingsError, match="set method.mismatch-weight above 0 or this to 0"):
        build(name, counterfactual=0.5, mismatch_weight=0.0)


def test_r1_is_half_the_squared_slope_of_all_that_is_said() -> None:
    """Of 3 x and of x squared at pictures of ones with two numbers each: (9 + 9) / 2 and (4 + 4) / 2, on average over pictures."""
    pictures, update = torch.ones(5, 2, 1, 1), Update("discriminator", torch.tensor(7.0), {"real": torch.tensor(0.5)})
    seen = ((lambda x: 3 * x.sum((1, 2, 3)), pictures), (lambda x: x.square().sum((1, 2, 3)), pictures))
    turn = smoothed(update, 0.1, *seen)
    assert turn.loss.item() == pytest.approx(7.0 + 0.1 * 13.0) and turn.metrics["penalty"].item() == pytest.approx(13.0)
    assert turn.metrics["real"] == 0.5 and "penalty" not in update.metrics
    assert smoothed(update, 0.0, *seen) is update


def test_terms_are_added() -> None:
    turn = added(Update("generator", torch.tensor(1.0), {"a": torch.tensor(2.0)}), torch.tensor(3.0), {"b": torch.tensor(4.0)})
    assert (turn.player, turn.loss.item(), {name: value.item() for name, value in turn.metrics.items()}) == (
        "generator",
        4.0,
        {"a": 2.0, "b": 4.0},
    )
