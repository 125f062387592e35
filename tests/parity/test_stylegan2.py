"""StyleGAN2 against stored results of rosinality's and NVIDIA's code: their checkpoints, read through the importer; arrays, operators,
losses with second derivatives, gradients."""

from __future__ import annotations

import ast
import math
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
from limner.core.trainable import Player
from limner.families.style.discriminator import Discriminator, discriminator_loss, generator_loss
from limner.families.style.generator import Generator, map_widths, mixed
from limner.families.style.layers import EqualizedConvolution
from limner.families.style.noise import StyleNoise
from limner.families.style.path_length import path_lengths, path_penalty
from limner.families.style.resampling import resampled
from limner.interop.stylegan2 import import_stylegan2, limner_name, read_stylegan2
from limner.methods.stylegan2 import StyleGAN2
from limner.model import load
from limner.nn.penalties import zero_centred_penalty
from limner.training.players import PlayerTraining, Statistics

NVIDIA = {"ada": "ada_state.pt", "adac": "ada_cond_state.pt"}
TOTAL = "__total__"
LOSSES = {"loss", "path_mean_after", "pl_mean_after"}
Given = tuple[nn.ModuleDict, dict[str, Tensor], dict[str, float]]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("stylegan2")


@pytest.fixture(scope="module")
def given(golden: GoldenSet) -> Given:
    """The networks of every file, all that is given with the maps of noise that files hold, and a factor of the losses' real logits."""
    methods = {"ros": read_stylegan2([golden.folder / "ros_000000.pt"], within=["g", "d"])}
    methods["ema"] = read_stylegan2([golden.folder / "ros_converted.pt"])
    methods |= {name: read_stylegan2([golden.folder / file]) for name, file in NVIDIA.items()}
    assert [players for _, players in methods.values()] == [
        ["generator", "discriminator"],
        ["generator"],
        *[["generator", "discriminator"]] * 2,
    ]
    arrays = {name: value for name, value in golden.arrays.items() if golden.facts["arrays"][name]["role"] != "output"}
    stored = torch.load(golden.folder / "ros_000000.pt", weights_only=True)["g"]
    arrays |= {f"ros_{name}": value for name, value in stored.items() if name.startswith("noises.")}
    for name, file in NVIDIA.items():
        stored = torch.load(golden.folder / file, weights_only=True)["G"]
        arrays |= {f"{name}_{key}": value for key, value in stored.items() if key.endswith(("noise_const", "w_avg"))}
    networks = {name: nn.ModuleDict({"G": method.generator, "D": method.discriminator}) for name, (method, _) in methods.items()}
    return nn.ModuleDict(networks).train(), arrays, {"real": 1.0}


def stored_losses(golden: GoldenSet) -> dict[str, float]:
    found = {}
    for entry, values in golden.facts["losses"].items():
        found |= {f"{entry}/{name}": value for name, value in values.items() if name in LOSSES or name.startswith("Loss_")}
        found |= {f"{entry}/lengths {row}": value for row, value in enumerate(values.get("path_lengths", []))}
        found[f"{entry}/{TOTAL}"] = values["grad_norms"][TOTAL]
    return found


def stored_gradients(golden: GoldenSet) -> dict[str, dict[str, float]]:
    entries = golden.facts["losses"].items()
    return {entry: {name: norm for name, norm in values["grad_norms"].items() if name != TOTAL} for entry, values in entries}


def computation(golden: GoldenSet) -> Callable[..., Found]:
    meanings = {name: entry["meaning"] for name, entry in golden.facts["arrays"].items()}

    def compute(networks: nn.ModuleDict, arrays: dict[str, Tensor], factors: Mapping[str, float]) -> Found:
        found = Found(operators(arrays, meanings) | rosinality_arrays(networks, arrays, meanings))
        generator, discriminator, ema = networks["ros"]["G"], networks["ros"]["D"], networks["ema"]["G"]
        assert isinstance(generator, Generator) and isinstance(discriminator, Discriminator) and isinstance(ema, Generator)
        found.arrays["ema_after_conv1_weight"] = followed(generator, arrays, meanings["ema_after_conv1_weight"])
        rosinality_losses(golden, generator, discriminator, arrays, factors, found)
        for prefix in NVIDIA:
            nvidia(golden, prefix, networks[prefix], arrays, meanings, factors, found)
        return Found(**vars(found))

    return compute


def operators(arrays: Mapping[str, Tensor], meanings: Mapping[str, str]) -> dict[str, Tensor]:
    """The operators by themselves: their arguments stand in the arrays' meanings."""
    found, x = {}, arrays["op_x"]
    along = torch.tensor([1.0, 3.0, 3.0, 1.0]).to(x)
    for name, meaning in meanings.items():
        if not name.startswith("op_upfirdn_"):
            continue
        kernel, arguments = torch.outer(along, along) / 64, {}
        if options := re.search(r"\{.*\}", meaning):
            arguments = ast.literal_eval(options[0].partition("}")[0] + "}")
        else:
            listed = re.search(r"\[\[.*\]\]", meaning)
            assert listed
            kernel = torch.tensor(ast.literal_eval(listed[0])).to(x)
            arguments = {"up": 2, "pad": (1, 2)}  # its meaning does not say
        pad = arguments.get("pad", (0, 0))
        pads = (*pad, *pad) if len(pad) == 2 else pad
        found[name] = resampled(x, kernel, up=arguments.get("up", 1), down=arguments.get("down", 1), pads=pads)
    listed = re.search(r"\[[-.\d,]+\]", meanings["op_flrelu"])
    assert listed
    layer = EqualizedConvolution(x.shape[1], x.shape[1], 1).to(x)  # whose scale is taken off again: x + bias, and what follows it
    with torch.no_grad():
        layer.weight.copy_((torch.eye(x.shape[1]) * x.shape[1] ** 0.5)[:, :, None, None])
        layer.bias.copy_(torch.tensor(ast.literal_eval(listed[0])))  # type: ignore[union-attr]
    found["op_flrelu"] = layer(x)
    return found


def maps_of(arrays: Mapping[str, Tensor], generator: Generator, name: str = "noise_{}", rows: int | None = None) -> list[Tensor]:
    found = [arrays[name.format(number)] for number in range(len(generator.synthesis.sides))]
    return [value[: rows if len(value) > 1 else 1] for value in found]


def rosinality_arrays(networks: nn.ModuleDict, arrays: Mapping[str, Tensor], meanings: Mapping[str, str]) -> dict[str, Tensor]:
    generator, discriminator = networks["ros"]["G"], networks["ros"]["D"]
    mapping, synthesis, maps = generator.mapping, generator.synthesis, maps_of(arrays, generator)
    first, second = mapping(arrays["z"]), mapping(arrays["z2"])
    found = {"ros_w": first, "ros_image": generator(arrays["z"], maps)}
    found["ros_image_buffers"] = generator(arrays["z"], maps_of(arrays, generator, "ros_noises.noise_{}"))
    last = re.search(r"latents 0\.\.(\d+) from z", meanings["ros_mixed"])
    share = re.search(r"truncation ([\d.]+)", meanings["ros_truncated"])
    assert last and share
    found["ros_mixed"] = synthesis(mixed(first, second, synthesis.places, int(last[1]) + 1), maps)
    found["ros_image_wplus"] = synthesis(arrays["wplus"], maps)
    before = mapping.mean.clone()
    mapping.mean.copy_(arrays["w_mean"][0])
    found["ros_truncated"] = generator(arrays["z"], maps, truncation=float(share[1]))
    mapping.mean.copy_(before)
    found["ros_ema_image"] = networks["ema"]["G"](arrays["z"], maps)
    found |= features(generator, first[:2], maps_of(arrays, generator, rows=2), meanings)
    for name, entry in meanings.items():
        if name.startswith("ros_D_real"):
            count = re.search(r"\b(?:first |all |of )(\d+)\b", entry)
            assert count
            found[name] = discriminator(arrays["real"][: int(count[1])])[:, None]
    found["ros_D_fake"] = discriminator(found["ros_image"])[:, None]
    return found


def features(generator: Generator, styles: Tensor, maps: list[Tensor], meanings: Mapping[str, str]) -> dict[str, Tensor]:
    """The modules' outputs, by their names in rosinality's code."""
    synthesis, found = generator.synthesis, {}
    x, picture = synthesis.constant.expand(len(styles), -1, -1, -1), None
    for number, layer in enumerate(synthesis.convolutions):
        name = f"convs.{number - 1}" if number else "conv1"
        found[f"ros_feat_{name}.conv"] = layer.modulated(x, styles)
        x = found[f"ros_feat_{name}"] = layer(x, styles, maps[number])
        if number % 2 == 0:
            colours = synthesis.pictures[number // 2](x, styles)
            picture = colours if picture is None else synthesis.enlarged(picture) + colours
            found[f"ros_feat_to_rgbs.{number // 2 - 1}" if number else "ros_feat_to_rgb1"] = picture
    return {name: value for name, value in found.items() if name in meanings}


def followed(generator: Generator, arrays: Mapping[str, Tensor], meaning: str) -> Tensor:
    """The running average after a step, as training moves it: the decay stands in the array's meaning."""
    decay = re.search(r"= ([\d.]+)$", meaning)
    assert decay
    holder = nn.ParameterList([generator.synthesis.convolutions[0].weight])
    half_life = math.log(0.5) / math.log(float(decay[1]))
    training = PlayerTraining(Player(module=holder, averaged=True), Statistics(holder), ema_half_life=half_life)
    training.average[0].copy_(arrays["ema_before_conv1_weight"][0])
    training._follow(1, 10**9)
    return training.average[0][None]


def noted(
    golden: GoldenSet, entry: str, network: nn.Module, player: str, loss: Tensor, weight: float, found: Found, figures: Mapping[str, Tensor]
) -> None:
    """An entry's figures, and the gradients of `weight` times the loss by the file's names."""
    norms = golden.facts["losses"][entry]["grad_norms"]
    own = dict(network.named_parameters())
    names = {theirs: limner_name(player, theirs, norms) for theirs in norms if theirs != TOTAL}
    assert set(names.values()) <= set(own) and len(set(names.values())) == len(names)
    slopes = torch.autograd.grad(weight * loss, list(own.values()), retain_graph=True, allow_unused=True)
    everything = {name: torch.zeros_like(own[name]) if slope is None else slope for name, slope in zip(own, slopes, strict=True)}
    assert all(float(value.norm()) == 0 for name, value in everything.items() if name not in names.values()), "a gradient is not stored"
    found.gradients[entry] = {theirs: everything[ours] for theirs, ours in names.items() if ours is not None}
    found.losses |= {f"{entry}/{name}": value for name, value in figures.items()}
    found.losses[f"{entry}/{TOTAL}"] = torch.stack([value.norm() for value in everything.values()]).norm()


def rosinality_losses(
    golden: GoldenSet,
    generator: Generator,
    discriminator: Discriminator,
    arrays: Mapping[str, Tensor],
    factors: Mapping[str, float],
    found: Found,
) -> None:
    fake, real = found.arrays["ros_image"], arrays["real"]
    for entry, values in golden.facts["losses"].items():
        weight = values.get("weight", 1.0)
        if entry == "ros_d_logistic":
            loss = discriminator_loss(factors["real"] * discriminator(real[: len(fake)]), discriminator(fake))
            noted(golden, entry, discriminator, "discriminator", loss, weight, found, {"loss": loss})
        elif entry == "ros_r1":
            loss = 2 * zero_centred_penalty(lambda pictures: factors["real"] * discriminator(pictures), real[: len(fake)])
            noted(golden, entry, discriminator, "discriminator", loss, weight, found, {"loss": loss})
        elif entry == "ros_g_nonsaturating":
            loss = generator_loss(factors["real"] * discriminator(generator(arrays["z"], maps_of(arrays, generator))))
            noted(golden, entry, generator, "generator", loss, weight, found, {"loss": loss})
        elif entry.startswith("ros_path_mean"):
            rows, mapping, synthesis = values["batch"], generator.mapping, generator.synthesis
            styles = mixed(mapping(arrays["z"][:rows]), mapping(arrays["z2"][:rows]), synthesis.places, values["inject_index"])
            pictures = synthesis(styles, maps_of(arrays, generator, rows=rows))
            lengths = path_lengths(factors["real"] * pictures, styles, arrays["path_noise"])
            loss, mean = path_penalty(lengths, float(entry.removeprefix("ros_path_mean")))
            figures = {"loss": loss, "path_mean_after": mean} | {f"lengths {row}": value for row, value in enumerate(lengths)}
            noted(golden, entry, generator, "generator", loss, weight, found, figures)


def nvidia(
    golden: GoldenSet,
    prefix: str,
    networks: nn.ModuleDict,
    arrays: Mapping[str, Tensor],
    meanings: Mapping[str, str],
    factors: Mapping[str, float],
    found: Found,
) -> None:
    """The arrays and losses of one of NVIDIA's files; with labels where its mapping reads them."""
    config, generator, discriminator = golden.facts["ada_config"], networks["G"], networks["D"]
    mapping, synthesis = generator.mapping, generator.synthesis
    labels = arrays["ada_c"] if mapping.condition is not None else None
    sides, rows = synthesis.sides, len(arrays["z"])
    maps = [arrays[f"{prefix}_synthesis.b{side}.conv{(number + 1) % 2}.noise_const"][None, None] for number, side in enumerate(sides)]
    styles, fewer = mapping(arrays["z"], labels), rows // config["pl_batch_shrink"]
    some = mapping(arrays["z"][:fewer], None if labels is None else labels[:fewer])
    found.arrays |= {f"{prefix}_w": styles, f"{prefix}_image_const": synthesis(generator.repeated(styles), maps)}
    found.arrays[f"{prefix}_image_none"] = synthesis(generator.repeated(styles), [torch.zeros_like(value) for value in maps])
    told = re.search(r"psi ([\d.]+), cutoff (\d+)", meanings[f"{prefix}_w_trunc"])
    assert told
    mapping.mean.copy_(arrays[f"{prefix}_w_avg_before"])
    near = mapping.truncated(styles, float(told[1]))
    found.arrays[f"{prefix}_w_trunc"] = torch.stack([near, near, styles, styles], dim=1)
    for batch in (styles, some, styles):  # of the generator's pass, the path lengths' and the discriminator's
        mapping.follow(batch)
    found.arrays[f"{prefix}_w_avg_after"] = mapping.mean.clone()
    mapping.mean.copy_(arrays[f"{prefix}_w_avg_before"])
    real, fake = arrays["real"][:rows], found.arrays[f"{prefix}_image_const"]
    found.arrays[f"{prefix}_D_real"] = discriminator(real, labels)[:, None]

    loud = factors["real"]
    scores = loud * discriminator(synthesis(generator.repeated(styles), maps), labels)
    loss = generator_loss(scores)
    figures = {"Loss_scores_fake": scores.mean(), "Loss_G_loss": loss}
    noted(golden, f"{prefix}_Gmain", generator, "generator", loss, 1.0, found, figures)
    on_real, on_fake = loud * discriminator(real, labels), discriminator(fake, labels)
    loss = discriminator_loss(on_real, on_fake)
    figures = {"Loss_scores_fake": on_fake.mean(), "Loss_scores_real": on_real.mean(), "Loss_D_loss": loss}
    noted(golden, f"{prefix}_Dmain", discriminator, "discriminator", loss, 1.0, found, figures)
    penalty = zero_centred_penalty(lambda pictures: loud * discriminator(pictures, labels), real)
    loss = config["r1_gamma"] * penalty
    figures = {"Loss_scores_real": on_real.mean(), "Loss_r1_penalty": 2 * penalty, "Loss_D_reg": loss}
    noted(golden, f"{prefix}_Dreg", discriminator, "discriminator", loss, 1.0, found, figures)
    repeated = generator.repeated(some)
    lengths = path_lengths(loud * synthesis(repeated, maps), repeated, arrays["path_noise"])
    penalty, mean = path_penalty(lengths, 0.0)
    loss = config["pl_weight"] * penalty
    figures = {"Loss_pl_penalty": penalty, "Loss_G_reg": loss, "pl_mean_after": mean}
    noted(golden, f"{prefix}_Greg", generator, "generator", loss, 1.0, found, figures)


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
    """The folder that the importer wrote, the running average without being told: pictures cut to [-1, 1], one by one as well."""
    assert import_stylegan2([golden.folder / "ros_000000.pt"], tmp_path / "model") == "method"
    model = load(tmp_path / "model")
    method, arrays = model.method, given[1]
    assert isinstance(method, StyleGAN2) and not model.reads_text and model.resolution == golden.facts["ros_config"]["size"]
    rows = len(arrays["z"])
    maps = [value.expand(rows, -1, -1, -1).flatten(1) for value in maps_of(arrays, method.generator)]
    noise, text = StyleNoise(arrays["z"], torch.cat(maps, dim=1)), TextFeatures(torch.zeros(rows, 0))
    images = model._painted(text, noise).images
    expected = everything.double.arrays["ros_ema_image"].clamp(-1, 1)
    single = torch.cat([model._painted(text[row : row + 1], noise[row : row + 1]).images for row in range(rows)])
    for found in (images, single):
        found = everything.holds_for(
            golden.outputs, {"ros_ema_image": found.clamp(-1, 1).where(expected.abs() < 1, everything.single.arrays["ros_ema_image"])}
        )
        assert found == 1


def test_published_sizes(golden: GoldenSet) -> None:
    for name, counts in golden.part("parameter_counts").items():
        base = {
            "rosinality": lambda text: int(text.split()[-1]) * 16384,
            "ada": lambda text: int(re.findall(r"channel_base (\d+)", text)[0]),
        }
        size = int(re.findall(r"size (\d+)", name)[0]) if "size" in name else 256
        layers = int(found[1]) if (found := re.search(r"(\d+) mapping layers", name)) else 8
        widths = map_widths(size, base[name.split()[0]](name), 512)
        with torch.device("meta"):
            generator, discriminator = Generator(widths, 512, 512, layers), Discriminator(widths)
        found_counts = {"G": generator, "D": discriminator, "of which mapping": generator.mapping}
        for key, count in counts.items():
            assert sum(value.numel() for value in found_counts[key].parameters()) == count, f"{name}: {key}"


def louder(given: Given) -> None:
    given[2]["real"] *= 1 + BROKEN


def ros(given: Given) -> Any:
    return given[0]["ros"]


BREAKS: dict[str, tuple[str, Callable[[Given], Any]]] = {
    "a convolution": ("arrays", lambda given: scaled(ros(given)["G"].synthesis.convolutions[3].weight[:, 0])),
    "a modulation": ("arrays", lambda given: scaled(ros(given)["G"].synthesis.convolutions[2].modulation.weight)),
    "a layer of colours": ("arrays", lambda given: scaled(ros(given)["G"].synthesis.pictures[1].weight)),
    "the noise's strength": ("arrays", lambda given: scaled(ros(given)["G"].synthesis.convolutions[4].noise_strength)),
    "the filter of pictures": ("arrays", lambda given: scaled(ros(given)["G"].synthesis.enlarged.kernel)),
    "the way past a block": ("arrays", lambda given: scaled(ros(given)["D"].blocks[1].past.weight)),
    "the filter on the way past": ("arrays", lambda given: scaled(ros(given)["D"].blocks[0].halved.kernel)),
    "the mapping of labels": ("arrays", lambda given: scaled(given[0]["adac"]["G"].mapping.condition.weight)),
    "the projection": ("losses", lambda given: scaled(given[0]["adac"]["D"].mapping.layers[0].weight)),
    "real pictures' logits, and what is differentiated twice": ("losses", louder),
    "a modulation, in gradients": ("gradients", lambda given: scaled(ros(given)["G"].synthesis.convolutions[2].modulation.weight)),
    "the score, in gradients": ("gradients", lambda given: scaled(ros(given)["D"].score.weight)),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, given: Given, everything: Realized, name: str) -> None:
    kind, change = BREAKS[name]
    stored = {"arrays": lambda golden: golden.outputs, "losses": stored_losses, "gradients": stored_gradients}[kind](golden)
    everything.notices(kind, stored, change, computation(golden), *given)
