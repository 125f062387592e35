"""DM-GAN's generator, discriminators and losses against stored results of the authors' code: its own checkpoints, through the importer."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared.attentive_golden import (
    Golden,
    imported,
    matching_arrays,
    notices,
    same_at_published_width,
    same_discriminator_turns,
    same_family_arrays,
    same_generator_turn,
    same_matching_losses,
)
from shared.rounding import results

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


def test_every_array(golden: Golden, method: DMGAN) -> None:
    right, _ = read_dm_gan(golden.files(r"netG.*"))  # which hides padding rightly
    same_family_arrays(golden, method, right, results(matching_arrays, golden))


def test_matching_losses(golden: Golden) -> None:
    same_matching_losses(golden)


def test_discriminators_learn_alike(golden: Golden, method: DMGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""
    same_discriminator_turns(golden, method)


def test_the_generator_learns_alike(golden: Golden, method: DMGAN) -> None:
    """The last turn of a whole training step, with stored noise and a matching model that gives the stored regions."""
    same_generator_turn(golden, method)


def test_published_width(golden: Golden, tmp_path: Path) -> None:
    same_at_published_width(golden, tmp_path, read_dm_gan)


WEIGHTS = ("generator.first", "generator.memories", "generator.later", "generator.pictures", "discriminators.0.reality", "slope")


@pytest.mark.parametrize("coefficient", [*WEIGHTS, "GAMMA1", "GAMMA2", "GAMMA3", "LAMBDA"])
def test_a_broken_coefficient_is_noticed(golden: Golden, method: DMGAN, coefficient: str) -> None:
    notices(golden, method, coefficient, turn=same_generator_turn if coefficient == "LAMBDA" else None)
