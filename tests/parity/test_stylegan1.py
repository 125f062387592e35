"""StyleGAN, the first version, against stored results of rosinality's code: its checkpoints, read through the importer; arrays, losses with
second derivatives, gradients."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from shared.golden_set import GoldenSet
from shared.rounding_more import BROKEN, Found, Realized, kinks_explain, realized, scaled
from torch import Tensor, nn

from limner.core.text import TextFeatures
from limner.core.trainable import Update
from limner.families.adversarial import smoothed
from limner.families.progressive.losses import critic_loss, fooling_loss, wasserstein_penalty
from limner.families.style.adaptive import AdaptiveDiscriminator, AdaptiveGenerator
from limner.families.style.generator import SLOWER, mixed
from limner.families.style.layers import GAIN
from limner.families.style.noise import StyleNoise
from limner.interop.stylegan import import_stylegan, limner_name, read_stylegan
from limner.methods.stylegan import StyleGAN
from limner.model import load

FILES = {"file": "train_step-4.model.pt", "plain": "discriminator_no_from_rgb_activate.pt"}
TOTAL = "__total__"
DRIFT = 1e-3
Given = tuple[nn.ModuleDict, dict[str, Tensor], dict[str, float]]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("stylegan1")


@pytest.fixture(scope="module")
def given(golden: GoldenSet) -> Given:
    """Generator, its running average, the discriminator with an activation after its first layer and the one without; all inputs; a factor
    of the losses' real logits."""
    method, players = read_stylegan([golden.folder / FILES["file"]], within=["generator", "discriminator"])
    assert players == ["generator", "discriminator"] and method.resolution == 64
    running, _ = read_stylegan([golden.folder / FILES["file"]])
    plain, players = read_stylegan([golden.folder / FILES["plain"]])
    assert players == ["discriminator"] and not plain.settings.colour_activation and method.settings.colour_activation
    networks = {"G": method.generator, "D": method.discriminator, "running": running.generator, "D0": plain.discriminator}
    return nn.ModuleDict(networks), golden.inputs, {"real": 1.0}


def entries(golden: GoldenSet) -> dict[str, tuple[str, dict[str, float]]]:
    """Of each entry of losses the player and the stored norms of its gradients."""
    found = {}
    for entry, values in golden.facts["losses"].items():
        (norms,) = (value for name, value in values.items() if name.startswith("grad_norms"))
        found[entry] = ("discriminator" if entry.endswith("_D") else "generator", norms)
    return found


def stored_losses(golden: GoldenSet) -> dict[str, float]:
    found = {}
    for entry, (_, norms) in entries(golden).items():
        found |= {f"{entry}/{name}": value for name, value in golden.facts["losses"][entry].items() if not name.startswith("grad_norms")}
        if TOTAL in norms:
            found[f"{entry}/{TOTAL}"] = norms[TOTAL]
    return found


def stored_gradients(golden: GoldenSet) -> dict[str, dict[str, float]]:
    return {entry: {name: norm for name, norm in norms.items() if name != TOTAL} for entry, (_, norms) in entries(golden).items()}


def computation(golden: GoldenSet) -> Callable[..., Found]:
    meanings = {name: entry["meaning"] for name, entry in golden.facts["arrays"].items()}

    def compute(networks: nn.ModuleDict, arrays: dict[str, Tensor], factors: Mapping[str, float]) -> Found:
        generator, discriminator = networks["G"], networks["D"]
        assert isinstance(generator, AdaptiveGenerator) and isinstance(discriminator, AdaptiveDiscriminator)
        maps = [arrays[f"noise_{number}"] for number in range(sum(name.startswith("noise_") for name in arrays))]
        first, second = (generator.mapping(arrays[name]) for name in ("z", "z2"))
        found = Found({"w": first})
        for name in golden.outputs:
            if stands := re.fullmatch(r"s(\d+)_a([-.\d]+)_img(_first)?", name):
                depth, alpha, rows = int(stands[1]), alpha_of(stands[2]), 1 if stands[3] else len(first)
                picture = painted(generator, first[:rows], maps, depth, alpha)
                found.arrays[name] = picture
                for kind in ("D", "D0"):
                    judged = name.replace("_img", f"_{kind}")
                    if judged in golden.outputs:
                        found.arrays[judged] = networks[kind](picture, depth, alpha)[:, None]
        found.arrays |= mixtures(networks, arrays, meanings, first, second, maps)
        losses(golden, generator, discriminator, arrays, first, maps, factors, found)
        return Found(**vars(found))

    return compute


def alpha_of(text: str) -> float:
    """-1 stands for no fade."""
    return 1.0 if float(text) < 0 else float(text)


def painted(generator: AdaptiveGenerator, styles: Tensor, maps: list[Tensor], depth: int, alpha: float = 1.0) -> Tensor:
    if styles.ndim == 2:
        styles = styles[:, None].expand(-1, depth + 1, -1)
    return generator.synthesize(styles, [noise[: len(styles)] for noise in maps], depth, alpha)


def mixtures(
    networks: nn.ModuleDict, arrays: Mapping[str, Tensor], meanings: Mapping[str, str], first: Tensor, second: Tensor, maps: list[Tensor]
) -> dict[str, Tensor]:
    """Truncated, mixed, and painted by the running average; the numbers stand in the arrays' meanings, the depth in their names."""
    generator, found = networks["G"], {}
    for name, meaning in meanings.items():
        ends = re.fullmatch(r"(truncated|mix_range|mix_inject\d+|running)_s(\d+)", name)
        if not ends:
            continue
        kind, depth = ends[1], int(ends[2])
        numbers = [float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?=[ .]|$)", meaning)]
        if kind == "truncated":
            before = generator.mapping.mean.clone()
            generator.mapping.mean.copy_(arrays["mean_style"][0])
            found[name] = painted(generator, generator.mapping.truncated(first, numbers[0]), maps, depth)
            generator.mapping.mean.copy_(before)
        elif kind == "mix_range":  # z2 in blocks 0..n
            last = re.search(r"blocks 0\.\.(\d+)", meaning)
            assert last
            found[name] = painted(generator, mixed(second, first, depth + 1, int(last[1]) + 1), maps, depth)
        elif kind.startswith("mix_inject"):
            found[name] = painted(generator, mixed(first, second, depth + 1, int(kind.removeprefix("mix_inject")) + 1), maps, depth)
        else:
            running = networks["running"]
            found[name] = painted(running, running.mapping(arrays["z"]), maps, depth)
    return found


def losses(
    golden: GoldenSet,
    generator: AdaptiveGenerator,
    discriminator: AdaptiveDiscriminator,
    arrays: Mapping[str, Tensor],
    styles: Tensor,
    maps: list[Tensor],
    factors: Mapping[str, float],
    found: Found,
) -> None:
    setting = golden.facts["loss_setting"]
    depth, alpha = setting["step"], setting["alpha"]
    fake = painted(generator, styles, maps, depth, alpha)

    def scores(pictures: Tensor) -> Tensor:
        return factors["real"] * discriminator(pictures, depth, alpha)

    for entry, (player, norms) in entries(golden).items():
        kind = "wgan-gp" if entry.startswith("wgan-gp") else "non-saturating"
        if player == "generator":
            loss = fooling_loss(kind, scores(fake))  # type: ignore[arg-type]
            figures = {"loss": loss}
        else:
            real, generated = scores(arrays[f"real_s{depth}"]), scores(fake.detach())
            loss = critic_loss(kind, real, generated, None, 0.0, DRIFT)  # type: ignore[arg-type]
            if kind == "wgan-gp":
                figures = {"real_mean_minus_drift": real.mean() - DRIFT * real.square().mean(), "fake_mean": generated.mean()}
                penalty = 10 * wasserstein_penalty(scores, arrays[f"real_s{depth}"], fake.detach(), arrays["gp_eps"])
                figures["penalty_x10"] = penalty
            else:
                figures = {"real": nn.functional.softplus(-real).mean(), "fake": nn.functional.softplus(generated).mean()}
                penalty = smoothed(Update("discriminator", loss), 10.0, (scores, arrays[f"real_s{depth}"])).loss - loss
                figures["penalty_x5"] = penalty
            loss = loss + penalty
        network = discriminator if player == "discriminator" else generator
        own = dict(network.named_parameters())
        names = {theirs: limner_name(player, theirs, norms) for theirs in norms if theirs != TOTAL}
        slopes = dict(zip(own, torch.autograd.grad(loss, list(own.values()), retain_graph=True, allow_unused=True), strict=True))
        assert {name for name, slope in slopes.items() if slope is not None} == set(names.values()), "every gradient is stored"
        found.gradients[entry] = {theirs: slopes[ours] / larger(theirs) for theirs, ours in names.items() if ours is not None}
        found.losses |= {f"{entry}/{name}": value for name, value in figures.items()}
        if TOTAL in norms:
            found.losses[f"{entry}/{TOTAL}"] = torch.stack([slope.norm() for slope in found.gradients[entry].values()]).norm()


def larger(theirs: str) -> float:
    """How many times smaller a weight is in the file than here, so that its gradient is as many times larger."""
    if not theirs.startswith("style."):
        return 1.0
    return SLOWER * GAIN if theirs.endswith("bias") else SLOWER


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, given: Given) -> Realized:
    return realized(computation(golden), *given, batch_losses=False)


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(golden.outputs)


def test_every_loss(golden: GoldenSet, everything: Realized) -> None:
    everything.same_losses(stored_losses(golden))


def test_every_gradient(golden: GoldenSet, everything: Realized) -> None:
    everything.same_gradients(stored_gradients(golden))


def test_kinks_explain_what_gradients_differ_by(golden: GoldenSet, given: Given) -> None:
    kinks_explain(computation(golden), *given)


def test_the_model_paints_what_the_file_painted(golden: GoldenSet, given: Given, everything: Realized, tmp_path: Path) -> None:
    """The folder that the importer wrote: the running average at the depth that the file's name says, or that is asked for."""
    name = next(name for name in golden.outputs if name.startswith("running_s"))
    depth = int(name.removeprefix("running_s"))
    assert import_stylegan([golden.folder / FILES["file"]], tmp_path / "model", depth=depth) == "method"
    model, arrays = load(tmp_path / "model"), given[1]
    assert isinstance(model.method, StyleGAN) and not model.reads_text and model.resolution == 4 << depth
    maps = torch.cat([arrays[f"noise_{number}"].flatten(1) for number in range(depth + 1)], dim=1)
    images = model.method.paint(TextFeatures(torch.zeros(len(maps), 0)), StyleNoise(arrays["z"], maps)).images
    assert torch.equal(images, everything.single.arrays[name].clamp(-1, 1))


def test_published_sizes(golden: GoldenSet) -> None:
    counts, widths = golden.part("parameter_counts"), (512, 512, 512, 512, 256, 128, 64, 32, 16)
    with torch.device("meta"):
        generator, discriminator = AdaptiveGenerator(widths, 512, 8), AdaptiveDiscriminator(widths)
    found = {"StyledGenerator": generator, "of which mapping": generator.mapping, "Discriminator": discriminator}
    sizes = {name: sum(value.numel() for value in network.parameters()) for name, network in found.items()}
    for name, count in counts.items():
        if isinstance(count, list):
            assert [sum(value.numel() for value in block.parameters()) for block in generator.blocks] == count
        else:
            assert next(size for stem, size in sizes.items() if name.startswith(stem)) == count


def louder(given: Given) -> None:
    given[2]["real"] *= 1 + BROKEN


BREAKS: dict[str, tuple[str, Callable[[Given], Any]]] = {
    "a style": ("arrays", lambda given: scaled(given[0]["G"].blocks[2].first.style.weight)),
    "the noise's strength": ("arrays", lambda given: scaled(given[0]["G"].blocks[1].second.noise_strength)),
    "a doubling convolution": ("arrays", lambda given: scaled(given[0]["G"].blocks[3].doubling.weight[:, 0])),
    "a blur": ("arrays", lambda given: scaled(given[0]["G"].blocks[2].blur.kernel[0])),
    "a halving convolution": ("arrays", lambda given: scaled(given[0]["D"].halvings[1].weight)),
    "the first layer of colours": ("arrays", lambda given: scaled(given[0]["D0"].colours[3].weight)),
    "real pictures' logits, and what is differentiated twice": ("losses", louder),
    "a halving convolution, in gradients": ("gradients", lambda given: scaled(given[0]["D"].halvings[1].weight)),
    "the mapping, in gradients": ("gradients", lambda given: scaled(given[0]["G"].mapping.layers[1].weight)),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, given: Given, everything: Realized, name: str) -> None:
    kind, change = BREAKS[name]
    stored = {"arrays": lambda golden: golden.outputs, "losses": stored_losses, "gradients": stored_gradients}[kind](golden)
    everything.notices(kind, stored, change, computation(golden), *given)
