"""DM-GAN's generator, discriminators and losses against stored results of the authors' code: its own checkpoints, through the importer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from shared.attentive_golden import (
    Golden,
    all_arrays,
    guided,
    imported,
    matching_arrays,
    same_arrays,
    same_at_published_width,
    same_discriminator_turns,
    same_generator_turn,
    same_matching_losses,
)

from limner.interop.dm_gan import import_dm_gan, read_dm_gan
from limner.methods.dm_gan import DMGAN


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("dmgan")


@pytest.fixture
def method(golden: Golden, tmp_path: Path) -> DMGAN:
    found = imported(golden, import_dm_gan, tmp_path / "networks")
    assert isinstance(found, DMGAN)
    return found


@torch.no_grad()
def test_every_array(golden: Golden, method: DMGAN) -> None:
    right, _ = read_dm_gan(golden.files(r"netG.*"))  # which hides padding rightly
    same_arrays(golden, matching_arrays(golden) | all_arrays(golden, method, right))


def test_matching_losses(golden: Golden) -> None:
    same_matching_losses(golden)


def test_discriminators_learn_alike(golden: Golden, method: DMGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""
    method.train()
    same_discriminator_turns(
        golden, lambda side, judge: method.discriminator_update(judge, golden.batch(side), golden.pictures("fake", side)), method
    )


def test_the_generator_learns_alike(
    golden: Golden, method: DMGAN, monkeypatch: pytest.MonkeyPatch, authors_upsampling: None, authors_order: None
) -> None:
    """The last turn of a whole training step, with stored noise and a matching model that gives the stored regions."""
    same_generator_turn(golden, guided(golden, method), golden.batch(max(golden.sides)), monkeypatch)


@torch.no_grad()
def test_published_width(golden: Golden, tmp_path: Path) -> None:
    same_at_published_width(golden, tmp_path, read_dm_gan)
