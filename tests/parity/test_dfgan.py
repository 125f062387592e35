"""DF-GAN against stored results of the authors' code: its own checkpoint, read through the importer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from shared.golden_set import GoldenSet
from shared.rounding_more import BROKEN, Found, Realized, kinks_explain, realized, scaled
from torch import Tensor

from limner.core.batch import Batch
from limner.core.noise import VectorNoise
from limner.core.text import TextFeatures
from limner.families.matching_aware import mismatched_logits
from limner.interop.df_gan import import_df_gan, limner_name, without_use
from limner.interop.networks import load_networks
from limner.methods.df_gan import DFGAN, generator_loss, hinge

PLAYERS = {"netG": "generator", "netD": "discriminator", "netC": "discriminator"}
LOSSES = {"generator": "errG", "discriminator": "errD"}
Given = tuple[DFGAN, dict[str, Tensor]]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("dfgan")


@pytest.fixture(scope="module")
def checkpoint(golden: GoldenSet) -> dict[str, dict[str, Tensor]]:
    (file,) = golden.facts["checkpoints"]
    return torch.load(golden.folder / file, weights_only=True)["model"]


@pytest.fixture(scope="module")
def given(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Given:
    folder = tmp_path_factory.mktemp("dfgan") / "networks"
    (file,) = golden.facts["checkpoints"]
    import_df_gan(golden.folder / file, folder)
    method, players = load_networks(folder)
    assert isinstance(method, DFGAN) and players == ["generator", "discriminator"]
    return method, golden.inputs


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, given: Given, checkpoint: dict[str, dict[str, Tensor]]) -> Realized:
    return realized(computation(golden, checkpoint), *given, batch_losses=False)


def computation(golden: GoldenSet, checkpoint: dict[str, dict[str, Tensor]], learning: bool = True) -> Callable[..., Found]:
    """All of it by the step's own functions. learning: with gradients."""

    def compute(method: DFGAN, arrays: dict[str, Tensor]) -> Found:
        (side,) = golden.sides("real")
        sentence, pictures, judge, settings = arrays["sent_emb"], arrays[f"real{side}"], method.discriminator, method.settings
        fake = method.paint(TextFeatures(sentence), VectorNoise(arrays["noise"])).images
        features, real, penalty = method.penalised(pictures, sentence)
        count = np.arange(len(pictures))
        batch = Batch(pictures, [["a"]] * len(count), (TextFeatures(sentence),), count, count, 0)
        mismatched = mismatched_logits(judge, batch, features, sentence, settings.mismatch, settings.counterfactual)
        refused = judge(fake.detach(), sentence)
        weighted = settings.gradient_penalty * penalty
        verdicts = {"C_real": real, "C_mismatch": mismatched, "C_fake": refused}
        found = Found(
            golden.views(f"img{side}", fake) | {"D_features": features} | {k: v[:, None, None, None] for k, v in verdicts.items()}
        )
        found.losses = {
            "errD_real": hinge(real, True),
            "errD_mis": hinge(mismatched, False),
            "errD_fake": hinge(refused, False),
            "MA_GP": weighted,
            "errD": method.discriminator_loss(real, refused, mismatched) + weighted,
            "errG": generator_loss(judge(fake, sentence)),
        }
        for network, norms in golden.facts.get("grad_l2_norms", {}).items() if learning else ():
            player = PLAYERS[network]
            own = dict(method.players()[player].module.named_parameters())
            # What has no gradient there is what the importer leaves out.
            unused = without_use(checkpoint[network])
            assert {name for name, norm in norms.items() if norm is None} == {name for name in norms if name in unused}
            names = {name: limner_name(player, name) for name, norm in norms.items() if norm is not None}
            slopes = torch.autograd.grad(found.losses[LOSSES[player]], [own[name] for name in names.values()], retain_graph=True)
            found.gradients[network] = dict(zip(names, slopes, strict=True))
        return Found(**vars(found))

    return compute


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(golden.stored("arrays"))


def test_every_loss(golden: GoldenSet, everything: Realized) -> None:
    everything.same_losses(golden.stored("losses"), cancelling={"errG"})


def test_every_gradient(golden: GoldenSet, given: Given, everything: Realized) -> None:
    """Of the whole losses, by the authors' names; every parameter of ours has a stored norm."""
    stored = golden.stored("gradients")
    counts = {player: sum(len(everything.double.gradients[net]) for net in stored if PLAYERS[net] == player) for player in LOSSES}
    assert counts == {player: len([*given[0].players()[player].module.parameters()]) for player in LOSSES}
    everything.same_gradients(stored)


def test_kinks_explain_what_gradients_differ_by(golden: GoldenSet, given: Given, checkpoint: dict[str, dict[str, Tensor]]) -> None:
    golden.stored("gradients")
    kinks_explain(computation(golden, checkpoint), *given)


def changed(method: DFGAN, name: str) -> None:
    method.settings = dataclasses.replace(method.settings, **{name: getattr(method.settings, name) * (1 + BROKEN)})


BREAKS: dict[str, tuple[str, Callable[[Given], Any]]] = {
    "a convolution": ("arrays", lambda given: scaled(given[0].generator.blocks[2].second.weight)),
    "noise": ("arrays", lambda given: scaled(given[1]["noise"])),
    "a residual's weight": ("arrays", lambda given: scaled(given[0].discriminator.picture[1].gamma)),
    "the sentence": ("losses", lambda given: scaled(given[1]["sent_emb"])),
    "weight of the gradient penalty": ("losses", lambda given: changed(given[0], "gradient_penalty")),
    "power of the gradient penalty": ("losses", lambda given: changed(given[0], "penalty_power")),
    "weight of mismatched pairs": ("losses", lambda given: changed(given[0], "mismatch_weight")),
    "weight of mismatched pairs, in gradients": ("gradients", lambda given: changed(given[0], "mismatch_weight")),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(
    golden: GoldenSet, given: Given, checkpoint: dict[str, dict[str, Tensor]], everything: Realized, name: str
) -> None:
    kind, change = BREAKS[name]
    everything.notices(kind, golden.stored(kind), change, computation(golden, checkpoint, kind == "gradients"), *given)


def test_every_parameter(golden: GoldenSet, given: Given, checkpoint: dict[str, dict[str, Tensor]]) -> None:
    """Nothing else is left behind."""
    method, stored = given[0], golden.part("params_this_config")
    ours = {"G": method.generator, "D": method.discriminator.picture, "C": method.discriminator.joint}
    for network, count in stored.items():
        state = checkpoint[f"net{network}"]
        unused = sum(state[name].numel() for name in without_use(state))
        assert sum(value.numel() for value in ours[network].parameters()) == count - unused
