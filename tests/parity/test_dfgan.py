"""DF-GAN against stored results of the authors' code: its own checkpoint, read through the importer."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limner.core.batch import Batch
from limner.core.noise import VectorNoise
from limner.core.text import TextFeatures
from limner.families.matching_aware import mismatched_logits
from limner.interop.df_gan import import_df_gan, limner_name, without_use
from limner.interop.networks import load_networks
from limner.methods.df_gan import DFGAN, generator_loss, hinge

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "dfgan"
EVALUATION, STATISTICS, LOSS, NORM = 2e-5, 1e-6, 1e-5, 1e-3
"""Absolute tolerance of arrays; relative ones of sums over pictures, losses and gradient norms."""
PLAYERS = {"netG": "generator", "netD": "discriminator", "netC": "discriminator"}


class Golden:
    """The stored results, and the same computed here by the step's own functions."""

    def __init__(self, folder: Path) -> None:
        self.facts: dict[str, Any] = json.loads((FOLDER / "golden.json").read_text())
        with np.load(FOLDER / self.facts["arrays_file"], allow_pickle=False) as arrays:
            self.arrays = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        (file,) = self.facts["checkpoints"]
        import_df_gan(FOLDER / file, folder)
        method, players = load_networks(folder)
        assert isinstance(method, DFGAN) and players == ["generator", "discriminator"]
        self.method, self.checkpoint = method, torch.load(FOLDER / file, weights_only=True)["model"]
        side = self.facts["config"]["imsize"]
        self.sentence, judge = self.arrays["sent_emb"], method.discriminator
        self.pictures = self.arrays[f"real{side}_u8"].float() / 127.5 - 1
        self.fake = method.paint(TextFeatures(self.sentence), VectorNoise(self.arrays["noise"])).images
        self.features, self.real, self.penalty = method.penalised(self.pictures, self.sentence)
        count = np.arange(len(self.pictures))
        batch = Batch(self.pictures, [["a"]] * len(count), (TextFeatures(self.sentence),), count, count, 0)
        settings = method.settings
        self.mismatched = mismatched_logits(judge, batch, self.features, self.sentence, settings.mismatch, settings.counterfactual)
        self.refused = judge(self.fake.detach(), self.sentence)
        weighted = settings.gradient_penalty * self.penalty
        self.losses = {
            "errD_real": hinge(self.real, True),
            "errD_mis": hinge(self.mismatched, False),
            "errD_fake": hinge(self.refused, False),
            "MA_GP": weighted,
            "errD": method.discriminator_loss(self.real, self.refused, self.mismatched) + weighted,
            "errG": generator_loss(judge(self.fake, self.sentence)),
        }


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Golden:
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    return Golden(tmp_path_factory.mktemp("dfgan") / "networks")


def test_every_array(golden: Golden) -> None:
    images = golden.fake.detach()
    double = images.double()
    statistics = torch.stack([double.mean((2, 3)), double.std((2, 3), correction=0), double.abs().sum((2, 3))], dim=2)
    side = images.shape[-1]
    computed = {
        f"img{side}_stride4": images[:, :, ::4, ::4],
        f"img{side}_crop": images[:, :, 104:152, 104:152],
        f"img{side}_stats": statistics,
        "D_features": golden.features,
        "C_real": golden.real[:, None, None, None],
        "C_mismatch": golden.mismatched[:, None, None, None],
        "C_fake": golden.refused[:, None, None, None],
    }
    expected = {name for name, fact in golden.facts["arrays"].items() if fact["role"] == "output"}
    assert expected and expected == set(computed)
    largest = 0.0
    for name, value in computed.items():
        stored = golden.arrays[name]
        assert list(value.shape) == golden.facts["arrays"][name]["shape"], name
        relative, absolute = (STATISTICS, STATISTICS) if name.endswith("_stats") else (0.0, EVALUATION)
        torch.testing.assert_close(value, stored, rtol=relative, atol=absolute, msg=lambda text, name=name: f"{name}: {text}")
        if not name.endswith("_stats"):
            largest = max(largest, float((value.detach() - stored).abs().max()))
    print(f"\n{len(computed)} arrays, largest difference {largest:.1e}")


def test_every_loss(golden: Golden) -> None:
    stored = golden.facts["loss_values"]
    found = {name: float(loss.detach()) for name, loss in golden.losses.items()}
    assert stored and set(stored) == set(found)
    for name, value in stored.items():
        assert found[name] == pytest.approx(value, rel=LOSS), name
    print(f"\n{len(stored)} losses, largest relative difference {max(abs(found[name] / value - 1) for name, value in stored.items()):.1e}")


def test_every_gradient(golden: Golden) -> None:
    """Of the whole losses, by the authors' names; what has none there is what the importer leaves out."""
    gradients: dict[str, torch.Tensor] = {}
    for player, loss in (("discriminator", "errD"), ("generator", "errG")):
        named = dict(golden.method.players()[player].module.named_parameters())
        found = torch.autograd.grad(golden.losses[loss], list(named.values()), retain_graph=True)
        gradients |= {f"{player}.{name}": gradient for name, gradient in zip(named, found, strict=True)}
    compared, largest = 0, 0.0
    for network, norms in golden.facts["grad_l2_norms"].items():
        unused = without_use(golden.checkpoint[network])
        for name, norm in norms.items():
            assert (norm is None) == (name in unused), name
            if norm is None or norm < 1e-5:
                continue
            player = PLAYERS[network]
            ours = float(gradients[f"{player}.{limner_name(player, name)}"].norm())
            assert ours == pytest.approx(norm, rel=NORM), name
            compared, largest = compared + 1, max(largest, abs(ours / norm - 1))
    print(f"\n{compared} gradient norms, largest relative difference {largest:.1e}")
    assert compared > 0.9 * len(gradients)


def test_every_parameter(golden: Golden) -> None:
    """Nothing else is left behind."""
    for network, key in (("netG", "G"), ("netD", "D"), ("netC", "C")):
        unused = sum(golden.checkpoint[network][name].numel() for name in without_use(golden.checkpoint[network]))
        method = golden.method
        ours = {"G": method.generator, "D": method.discriminator.picture, "C": method.discriminator.joint}[key]
        assert sum(value.numel() for value in ours.parameters()) == golden.facts["params_this_config"][key] - unused
