"""MSG-GAN against stored results of BMSG-GAN: its own checkpoints, read through the importer; arrays, losses and gradients of two files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from shared.golden_set import GoldenSet
from shared.rounding_more import BROKEN, Found, Realized, kinks_explain, realized, scaled
from torch import Tensor, nn

from limner.core.noise import VectorNoise
from limner.core.text import TextFeatures
from limner.core.trainable import Player
from limner.families.progressive.layers import with_minibatch_deviation
from limner.interop.msg_gan import import_msg_gan, limner_name
from limner.methods import msg_gan
from limner.methods.msg_gan import MSGGAN, Loss, discriminator_loss, generator_loss, on_sphere, pyramid
from limner.model import load
from limner.training.players import PlayerTraining, Statistics

INPUTS = {"z_raw", "real", "mbstd_in"}
NETWORKS = {"grad_norms_D": "discriminator", "grad_norms_G": "generator"}
SCALES, TOTAL = "grad_norm_of_each_scale", "__total__"
NAMES = {"wgan": "wgan-gp", "lsgan_sigmoid": "lsgan-sigmoid"}
Given = tuple[MSGGAN, dict[str, Tensor], dict[str, float]]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("msg-gan")


@pytest.fixture(scope="module")
def extra() -> GoldenSet:
    return GoldenSet("msg-gan", "extra.json")


@pytest.fixture(scope="module")
def folder(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("msg-gan") / "model"
    assert import_msg_gan([golden.folder / "dis.pth", golden.folder / "gen.pth"], folder) == "method"
    return folder


@pytest.fixture(scope="module")
def given(golden: GoldenSet, extra: GoldenSet, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """The networks, all inputs of both files, and a factor of real pictures' scores in losses, which is 1."""
    method, players = msg_gan_of(golden)
    assert players == ["generator", "discriminator"]
    own = {name: value for name, value in golden.arrays.items() if name in INPUTS} | extra.inputs
    return method, {name: value.float() for name, value in own.items()}, {"real": 1.0}


def msg_gan_of(golden: GoldenSet) -> tuple[MSGGAN, list[str]]:
    from limner.interop.msg_gan import read_msg_gan

    return read_msg_gan([golden.folder / "gen.pth", golden.folder / "dis.pth"])


def outputs(golden: GoldenSet, extra: GoldenSet) -> dict[str, Tensor]:
    """Every array of both files that is not given."""
    own = {name: value for name, value in golden.arrays.items() if name not in INPUTS}
    assert not own.keys() & extra.outputs.keys()
    return own | extra.outputs


def kind_of(entry: str) -> Loss:
    """`wgan_drift(no gp)` -> wgan-gp."""
    name = re.split(r"[_( ,]*(?:drift)?\(|, | \(", entry)[0]
    kind = NAMES.get(name, name)
    assert kind in get_args(Loss), entry
    return kind  # type: ignore[return-value]


def stored_losses(golden: GoldenSet, extra: GoldenSet) -> dict[str, float]:
    """The values of both files, and the total norms of gradients; the file's name comes first, since both have the same entries."""
    found = {}
    for file, facts in (("golden", golden.facts), ("extra", extra.facts)):
        for entry, values in facts["losses"].items():
            found |= {f"{file}/{entry}/{side}": values[side] for side in ("dis", "gen") if side in values}
            found |= {f"{file}/{entry}/{part}": values[part][TOTAL] for part in NETWORKS if part in values}
    return found


def stored_gradients(extra: GoldenSet) -> dict[str, dict[str, float]]:
    return {
        f"{entry}/{part}": {name: norm for name, norm in values[part].items() if name != TOTAL}
        for entry, values in extra.part("losses").items()
        for part in (*NETWORKS, SCALES)
        if part in values
    }


def computation(golden: GoldenSet, extra: GoldenSet) -> Callable[..., Found]:
    def compute(method: MSGGAN, arrays: dict[str, Tensor], factors: Mapping[str, float]) -> Found:
        generator, discriminator = method.generator, method.discriminator
        z, reals = on_sphere(arrays["z_raw"]), pyramid(arrays["real"], method.depth)
        fakes = generator(arrays["z_raw"])
        found = Found({"z": z, "mbstd_out": with_minibatch_deviation(arrays["mbstd_in"])})
        found.arrays |= {f"fake_{fake.shape[-1]}": fake for fake in fakes} | {f"real_{real.shape[-1]}": real for real in reals}
        found.arrays |= dict(followed(method, arrays, extra).items())
        hooks = [
            block.register_forward_hook(lambda _, __, output, name=f"D_block_layers.{number}": found.arrays.setdefault(name, output))
            for number, block in enumerate(discriminator.blocks)
        ]
        found.arrays["D_real"] = found.arrays["D_block_final_block"] = discriminator(reals)
        for hook in hooks:
            hook.remove()
        found.arrays["D_fake"] = discriminator(fakes)
        for file, facts in (("golden", golden.facts), ("extra", extra.facts)):
            for entry, values in facts["losses"].items():
                each_loss(method, f"{file}/{entry}", entry, values, reals, halfway(entry, fakes, reals), factors, found)
        return Found(**vars(found))

    return compute


def halfway(entry: str, fakes: list[Tensor], reals: list[Tensor]) -> list[Tensor]:
    """The generated pictures, or those that the entry's name says."""
    return [0.5 * fake + 0.5 * real for fake, real in zip(fakes, reals, strict=True)] if "half fake + half real" in entry else fakes


def each_loss(
    method: MSGGAN,
    name: str,
    entry: str,
    values: Mapping[str, Any],
    reals: list[Tensor],
    fakes: list[Tensor],
    factors: Mapping[str, float],
    found: Found,
) -> None:
    """One entry's losses by the method's own functions, and their gradients by the file's names."""
    kind, discriminator = kind_of(entry), method.discriminator
    real = factors["real"] * discriminator(reals)
    loss = discriminator_loss(kind, real, discriminator([fake.detach() for fake in fakes]))
    losses = {"discriminator": loss, "generator": generator_loss(kind, discriminator(fakes), real.detach())}
    found.losses |= {f"{name}/dis": losses["discriminator"], f"{name}/gen": losses["generator"]}
    for part, player in NETWORKS.items():
        if part not in values:
            continue
        own = dict(method.players()[player].module.named_parameters())
        names = {theirs: limner_name(player, theirs) for theirs in values[part] if theirs != TOTAL}
        assert sorted(names.values()) == sorted(own), "every parameter has a stored norm"
        slopes = torch.autograd.grad(losses[player], [own[ours] for ours in names.values()], retain_graph=True)
        found.gradients[f"{entry}/{part}"] = dict(zip(names, slopes, strict=True))
        found.losses[f"{name}/{part}"] = torch.stack([slope.norm() for slope in slopes]).norm()
    if SCALES in values:
        slopes = torch.autograd.grad(losses["generator"], fakes, retain_graph=True)
        found.gradients[f"{entry}/{SCALES}"] = {str(slope.shape[-1]): slope for slope in slopes}


def followed(method: MSGGAN, arrays: Mapping[str, Tensor], extra: GoldenSet) -> dict[str, Tensor]:
    """The running average after a step, as training moves it: the decay stands in the array's meaning."""
    found = {}
    weights = dict(method.generator.named_parameters())
    for name in extra.outputs:
        if not name.startswith("ema_after_"):
            continue
        theirs = name.removeprefix("ema_after_")
        decay = re.search(r"beta ([\d.]+)", extra.facts["arrays"][name]["meaning"])
        assert decay
        holder = nn.ParameterList([weights[limner_name("generator", theirs)]])
        training = PlayerTraining(
            Player(module=holder, averaged=True), Statistics(holder), ema_half_life=math.log(0.5) / math.log(float(decay[1]))
        )
        training.average[0].copy_(arrays[f"ema_before_{theirs}"])
        training._follow(1, 10**9)
        found[name] = training.average[0]
    return found


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, extra: GoldenSet, given: Given) -> Realized:
    return realized(computation(golden, extra), *given, batch_losses=False)


def test_every_array(golden: GoldenSet, extra: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(outputs(golden, extra))


def test_every_loss(golden: GoldenSet, extra: GoldenSet, everything: Realized) -> None:
    everything.same_losses(stored_losses(golden, extra))


def test_every_gradient(extra: GoldenSet, everything: Realized) -> None:
    everything.same_gradients(stored_gradients(extra))


def test_kinks_explain_what_gradients_differ_by(golden: GoldenSet, extra: GoldenSet, given: Given) -> None:
    kinks_explain(computation(golden, extra), *given)


def test_the_model_paints_what_the_file_painted(golden: GoldenSet, folder: Path, given: Given, everything: Realized) -> None:
    """The folder that the importer wrote: every scale, cut to [-1, 1]; and the command paints from it."""
    model = load(folder)
    assert isinstance(model.method, MSGGAN) and not model.reads_text and model.resolution == golden.config["resolutions"][-1]
    painting = model.method.paint(TextFeatures(torch.zeros(golden.config["B"], 0)), VectorNoise(given[1]["z_raw"]))
    scales = [*painting.stages, painting.images]
    assert [scale.shape[-1] for scale in scales] == golden.config["resolutions"]
    for scale in scales:
        assert torch.equal(scale, everything.single.arrays[f"fake_{scale.shape[-1]}"].clamp(-1, 1))


def test_published_sizes(golden: GoldenSet) -> None:
    for name, counts in golden.part("full_param_counts").items():
        depth, latent = (int(number) for number in re.findall(r"\d+", name))
        with torch.device("meta"):
            settings = msg_gan.MSGGANSettings(noise_width=latent, generator_channels=latent, discriminator_channels=latent)
            generator, discriminator = msg_gan.Generator(settings, 0, depth), msg_gan.Discriminator(settings, 0, depth)
        found = {"G": generator, "D": discriminator}
        assert {key: sum(value.numel() for value in network.parameters()) for key, network in found.items()} == counts


def louder(given: Given) -> None:
    given[2]["real"] *= 1 + BROKEN


BREAKS: dict[str, tuple[str, Callable[[Given], Any]]] = {
    "a convolution": ("arrays", lambda given: scaled(given[0].generator.blocks[2].second.weight)),
    "noise on the way to the pictures": ("arrays", lambda given: scaled(given[0].generator.blocks[0].transposed.weight)),
    "a picture's layer": ("arrays", lambda given: scaled(given[0].generator.pictures[1].weight)),
    "a lower scale's join": ("arrays", lambda given: scaled(given[0].discriminator.pictures[1].weight)),
    "a lower scale's join, in losses": ("losses", lambda given: scaled(given[0].discriminator.pictures[1].weight)),
    "the score, in gradients": ("gradients", lambda given: scaled(given[0].discriminator.last.score.weight)),
    "real pictures' scores": ("losses", louder),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, extra: GoldenSet, given: Given, everything: Realized, name: str) -> None:
    kind, change = BREAKS[name]
    stored = {"arrays": outputs, "losses": stored_losses}.get(kind, lambda _, extra: stored_gradients(extra))(golden, extra)
    everything.notices(kind, stored, change, computation(golden, extra), *given)
