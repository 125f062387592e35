"""StackGAN++ against stored results of the authors' code: its own checkpoints, read through the importer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shared.golden_set import GoldenSet
from shared.rounding_more import BROKEN, Found, Realized, kinks_explain, realized, scaled
from torch import Tensor

from limner.core.noise import ConditionedNoise
from limner.core.text import TextFeatures
from limner.families.tree import ScaleDiscriminator, discriminator_name
from limner.interop import stackgan_v2 as interop
from limner.interop.networks import load_networks
from limner.interop.state_dicts import read_state_dict
from limner.methods.stackgan_v2 import (
    StackGANv2,
    StackGANv2Settings,
    colour_difference,
    colour_statistics,
    discriminator_loss,
    fooling_loss,
)

Compute = Callable[[StackGANv2, dict[str, Tensor], dict[str, float]], Found]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("stackgan_v2")


@pytest.fixture(scope="module")
def method(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> StackGANv2:
    """All of the set's networks, from its files to a folder and back."""
    folder = tmp_path_factory.mktemp("stackgan-v2") / "networks"
    interop.import_stackgan_v2([golden.folder / name for name in reversed(golden.facts["checkpoints"])], folder)
    method, players = load_networks(folder)
    assert isinstance(method, StackGANv2) and sorted(players) == sorted(method.players())
    return method


@pytest.fixture(scope="module")
def weights(golden: GoldenSet) -> dict[str, float]:
    """Weights of loss terms: of judging pictures alone and of the divergence; colour's stand in the losses' names."""
    return {"reality": golden.config["UNCOND_LOSS"], "divergence": golden.config["KL"]}


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, method: StackGANv2, weights: dict[str, float]) -> Realized:
    return realized(computation(golden), method, golden.inputs, weights)


def judges(method: StackGANv2) -> dict[int, ScaleDiscriminator]:
    return dict(zip(method.sides, method.discriminators, strict=True))


@torch.no_grad()
def paint(golden: GoldenSet, method: StackGANv2, given: dict[str, Tensor], sentence: str, prefix: str) -> dict[str, Tensor]:
    """Pictures of every scale, mean and log variance."""
    text, noise = TextFeatures(given[sentence]), ConditionedNoise(given["z"], given["eps"])
    painting = method.paint(text, noise)
    condition = method.generator.condition(text.sentence)
    assert len(painting.stages) == method.settings.branches - 1
    found = {"mu": condition.mean, "logvar": condition.log_variance, "train_mu": condition.mean, "train_logvar": condition.log_variance}
    for side, image in zip(method.sides, (*painting.stages, painting.images), strict=True):
        found |= golden.views(f"{prefix}img{side}", image)
    return found


@torch.no_grad()
def answers(golden: GoldenSet, method: StackGANv2, given: dict[str, Tensor]) -> dict[str, Tensor]:
    computed: dict[str, Tensor] = {}
    for mode in ("eval", "train"):
        method.train(mode == "train")
        computed |= paint(golden, method, given, "text_embedding", f"{mode}_")
        for side, judge in judges(method).items():
            code = judge.look(given[f"real{side}"])
            computed[f"{mode}_D{side}_cond"] = judge.match(code, given["d_condition"]).sigmoid()
            computed[f"{mode}_D{side}_uncond"] = judge.realism(code).sigmoid()
    for side in method.sides:
        if f"train_img{side}" in computed:
            mean, covariance = colour_statistics(computed[f"train_img{side}"])
            computed |= {f"colour_mean_img{side}": mean[:, :, None, None], f"colour_cov_img{side}": covariance}
    return computed


def learning(golden: GoldenSet, method: StackGANv2, given: dict[str, Tensor], weights: dict[str, float]) -> Found:
    """Every loss and its gradient, in training mode, under the set's names."""
    found, stored = Found({}), golden.facts.get("grad_l2_norms", {})
    condition = method.train().generator.condition(given["text_embedding"])
    mean = condition.mean.detach()
    fakes = method.generator(ConditionedNoise(given["z"], given["eps"]), condition)
    for branch, ((side, judge), fake) in enumerate(zip(judges(method).items(), fakes, strict=True)):
        shown = {"real": given[f"real{side}"], "mismatched": given[f"wrong{side}"], "fake": fake.detach()}
        codes = {name: judge.look(pictures) for name, pictures in shown.items()}
        matching = {name: judge.match(code, mean) for name, code in codes.items()}
        loss = discriminator_loss(matching, {name: judge.realism(code) for name, code in codes.items()}, weights["reality"])
        found.losses[f"D_loss_{side}"] = loss
        if f"netD{branch}" in stored:
            found.gradients[f"netD{branch}"] = gradients(judge, loss, discriminator_names(golden, branch))
    codes = [judge.look(fake) for judge, fake in zip(judges(method).values(), fakes, strict=True)]
    terms = [
        fooling_loss(judge.match(code, condition.mean), judge.realism(code), weights["reality"])
        for judge, code in zip(judges(method).values(), codes, strict=True)
    ]
    divergence = weights["divergence"] * condition.divergence()
    colours = {name for known in (golden.facts.get("loss_values", {}), stored) for name in re.findall(r"color[\d.]+", " ".join(known))}
    for colour in sorted(colours):
        total = torch.stack(terms).sum() + divergence + float(colour.removeprefix("color")) * colour_difference(fakes)
        found.losses |= {f"kl_times_{golden.config['KL']:g}_{colour}": divergence, f"G_total_{colour}": total}
        if f"netG_{colour}" in stored:
            names = {key: interop._generator_name(key) for key in stored[f"netG_{colour}"]}
            found.gradients[f"netG_{colour}"] = gradients(method.generator, total, names)
    return Found(**vars(found))


def discriminator_names(golden: GoldenSet, branch: int) -> dict[str, str]:
    plain = {name.removeprefix("module."): value for name, value in read_state_dict(golden.folder / f"netD{branch}.pth").items()}
    stored = golden.facts["grad_l2_norms"][f"netD{branch}"]
    return {key: name for key, name in interop._discriminator_names(plain, False).items() if key in stored}


def gradients(network: torch.nn.Module, loss: Tensor, names: dict[str, str]) -> dict[str, Tensor]:
    """Every parameter's gradient, under the authors' names."""
    ours = dict(network.named_parameters())
    assert set(names.values()) == set(ours)
    return dict(zip(names, torch.autograd.grad(loss, [ours[name] for name in names.values()], retain_graph=True), strict=True))


def computation(golden: GoldenSet, *kinds: str) -> Compute:
    """kinds: of results, all where none is given."""

    def compute(method: StackGANv2, given: dict[str, Tensor], weights: dict[str, float]) -> Found:
        arrays = answers(golden, method, given) if not kinds or "arrays" in kinds else {}
        found = learning(golden, method, given, weights) if kinds != ("arrays",) else Found({})
        return Found(arrays, found.losses, found.gradients)

    return compute


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(golden.stored("arrays"))


def test_every_loss(golden: GoldenSet, everything: Realized) -> None:
    everything.same_losses(golden.stored("losses"))


def test_every_gradient(golden: GoldenSet, everything: Realized) -> None:
    everything.same_gradients(golden.stored("gradients"))


def test_kinks_explain_what_gradients_differ_by(golden: GoldenSet, method: StackGANv2, weights: dict[str, float]) -> None:
    golden.stored("gradients")
    kinks_explain(computation(golden, "gradients"), method, golden.inputs, weights)


BREAKS: dict[str, tuple[str, Callable[[tuple[StackGANv2, dict[str, Tensor], dict[str, float]]], None]]] = {
    "first layer": ("arrays", lambda given: scaled(given[0].generator.first.linear[0].weight)),
    "last residual block": ("arrays", lambda given: scaled(given[0].generator.later[-1].residuals[-1].layers[0].weight)),
    "normalisation's statistics": ("arrays", lambda given: scaled(given[0].generator.later[0].join[1].running_var)),
    "last discriminator": ("arrays", lambda given: scaled(given[0].discriminators[-1].picture[0].weight)),
    "noise": ("arrays", lambda given: scaled(given[1]["eps"])),
    "weight of judging pictures alone": ("losses", lambda given: given[2].update(reality=given[2]["reality"] * (1 + BROKEN))),
    "weight of the divergence": ("losses", lambda given: given[2].update(divergence=given[2]["divergence"] * (1 + BROKEN))),
    "a discriminator's head": ("losses", lambda given: scaled(given[0].discriminators[-1].matching.logits.weight)),
    "weight of judging, in gradients": ("gradients", lambda given: given[2].update(reality=given[2]["reality"] * (1 + BROKEN))),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(
    golden: GoldenSet, method: StackGANv2, weights: dict[str, float], everything: Realized, name: str
) -> None:
    kind, change = BREAKS[name]
    everything.notices(kind, golden.stored(kind), change, computation(golden, kind), method, golden.inputs, weights)


def test_any_files_alone(golden: GoldenSet, tmp_path: Path) -> None:
    """Each file by itself gives its network the same weights as all together, and sizes that its shapes tell."""
    config, counts = golden.config, golden.part("params_this_config")
    for name, entry in golden.facts["checkpoints"].items():
        interop.import_stackgan_v2([golden.folder / name], tmp_path / name)
        method, (player,) = load_networks(tmp_path / name)
        state = method.players()[player].module.state_dict()
        assert len(state) == entry["tensors"]
        count = sum(value.numel() for value in method.players()[player].module.parameters())
        assert count == counts[name.split("_")[0].removesuffix(".pth")]
        if player == "generator":
            assert method.settings == StackGANv2Settings(
                branches=config["BRANCH_NUM"],
                noise_width=config["Z_DIM"],
                condition_width=config["EMBEDDING_DIM"],
                generator_channels=config["GF_DIM"],
                residual_blocks=config["R_NUM"],
            )


def test_published_width(tmp_path: Path) -> None:
    """The authors' whole layout: pictures of weights by a recipe, and the names, shapes and numbers of all parameters."""
    whole = GoldenSet("stackgan_v2", "published_width.json")
    path = tmp_path / "netG_1.pth"
    torch.save({f"module.{key}": value for key, value in whole.by_recipe("G_state_dict").items()}, path)
    method, players = interop.read_stackgan_v2([path])
    assert players == ["generator"] and method.settings == StackGANv2Settings()

    def compute(generator: torch.nn.Module, given: dict[str, Tensor]) -> Found:
        method.generator = generator
        return Found(paint(whole, method, given, "sent_emb", ""))

    # All that the discriminators do is compared at reduced width; two moves keep this test short.
    realized(compute, method.generator, whole.inputs, probes=2).same_arrays(whole.outputs)
    assert sum(value.numel() for value in method.generator.parameters()) == whole.facts["params"]["netG"]
    for branch, side in enumerate(method.sides):
        judge = method.players()[discriminator_name(side)].module
        assert sum(value.numel() for value in judge.parameters()) == whole.facts["params"]["netD"][branch]
        theirs = {key: torch.empty(shape, device="meta") for key, shape in whole.facts["D_keys_and_shapes"][f"netD{branch}"]}
        names = interop._discriminator_names(theirs, False)
        shapes = {key: value.shape for key, value in judge.state_dict().items()}
        assert {names[key]: value.shape for key, value in theirs.items()} == shapes
