"""Gradients of a batch in parts: a step of the whole batch on a fraction of its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.trainable import Progress, Trainable, Update
from limner.training.players import PlayerTraining

NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def coupling(trained: Trainable) -> str | None:
    """Why training on a part of a batch at a time would not be training on the whole; None where it would."""
    networks = [player.module for player in trained.players().values()]
    if any(isinstance(module, NORMALIZATIONS) for network in networks for module in network.modules()):
        return "its networks normalise over the pictures of a batch"
    return trained.couples_rows()


def refuse_coupled_rows(trained: Trainable) -> None:
    """Raise SettingsError where a batch cannot be trained on in parts."""
    if why := coupling(trained):
        raise SettingsError(f"training.micro-batch would change {trained.title}: {why}; leave it out, or lower --training.batch-size")


def accumulated(
    trained: Trainable,
    parts: Sequence[Batch],
    players: Mapping[str, PlayerTraining],
    progress: Progress,
    following: Callable[[Iterator[Update]], Update | None],
) -> Iterator[Update]:
    """The updates of a step on a whole batch, each made of those on its parts, whose gradients are added to the player's.

    For every update, the step is begun anew on each part and goes on up to it: what is computed for a part is freed before the next part,
    and the earlier updates, which have been taken, are computed again without effect. Layers draw the same numbers each time.
    """
    whole = sum(map(len, parts))
    seed, number = torch.initial_seed(), 0
    while True:
        found: list[tuple[float, Update]] = []
        for place, part in enumerate(parts):
            torch.manual_seed(seed + place)
            update = _nth(following, trained.training_step(part, progress), number)
            if update is None:
                break
            share = len(part) / whole
            players[update.player].add(update.loss * share)
            found.append((share, replace(update, loss=update.loss.detach())))
        if not found:
            return
        yield _joined(found)
        number += 1


def _nth(following: Callable[[Iterator[Update]], Update | None], updates: Iterator[Update], number: int) -> Update | None:
    for _ in range(number):
        if following(updates) is None:
            return None
    return following(updates)


def _joined(found: Sequence[tuple[float, Update]]) -> Update:
    """One update with the parts' means, weighted by their rows."""

    def mean(values: Sequence[Tensor]) -> Tensor:
        return torch.stack([share * value for (share, _), value in zip(found, values, strict=True)]).sum(0)

    first = found[0][1]
    metrics = {name: mean([update.metrics[name] for _, update in found]) for name in first.metrics}
    return replace(first, loss=mean([update.loss for _, update in found]), metrics=metrics)
