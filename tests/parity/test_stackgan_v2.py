"""StackGAN++ against stored results of the authors' code: its own checkpoints, read through the importer."""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

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

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "stackgan_v2"
EVALUATION, TRAINING, STATISTICS = 2e-5, 3e-4, 1e-6
"""Absolute tolerances for arrays of either mode; sums and losses are compared relatively, to 1e-6 and 1e-5."""
NOISE_NORM = 1e-5
"""Gradient norms below are rounding."""


def stored(name: str):
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    facts = json.loads((FOLDER / name).read_text())
    with np.load(FOLDER / facts["arrays_file"], allow_pickle=False) as arrays:
        return facts, {key: torch.from_numpy(arrays[key]) for key in arrays.files}


@pytest.fixture(scope="module")
def golden():
    return stored("golden.json")


@pytest.fixture
def method(golden, tmp_path: Path) -> StackGANv2:
    """All of the set's networks, from its files to a folder and back."""
    facts, _ = golden
    interop.import_stackgan_v2([FOLDER / name for name in reversed(facts["checkpoints"])], tmp_path / "networks")
    method, players = load_networks(tmp_path / "networks")
    assert isinstance(method, StackGANv2) and sorted(players) == sorted(method.players())
    return method


def pictures(arrays, kind: str, side: int) -> torch.Tensor:
    return arrays[f"{kind}{side}_u8"] / 127.5 - 1


def judges(method: StackGANv2) -> dict[int, ScaleDiscriminator]:
    return dict(zip(method.sides, method.discriminators, strict=True))


def views(facts, image: torch.Tensor, name: str) -> dict[str, torch.Tensor]:
    """A picture's stored views: whole or thinned out, a crop, and sums; where they are cut stands in golden.json."""
    found = {name: image}
    pixels = image.double().flatten(2)
    found[f"{name}_stats"] = torch.stack([pixels.mean(2), pixels.std(2, unbiased=False), pixels.abs().sum(2)], dim=2)
    for key, entry in facts["arrays"].items():
        if stride := re.fullmatch(rf"{name}_stride(\d+)", key):
            found[key] = image[:, :, :: int(stride[1]), :: int(stride[1])]
        if key == f"{name}_crop":
            (top, bottom), (left, right) = (map(int, pair) for pair in re.findall(r"(\d+):(\d+)", entry["note"]))
            found[key] = image[:, :, top:bottom, left:right]
    return found


def compare(facts, arrays, computed, modes) -> float:
    """Every output array; returns the largest difference of those that are no sums."""
    expected = {name for name, entry in facts["arrays"].items() if entry["role"] == "output"}
    assert expected and expected <= set(computed), f"not computed: {sorted(expected - set(computed))}"
    worst = 0.0
    for name in sorted(expected):
        assert list(arrays[name].shape) == facts["arrays"][name]["shape"], name
        ours, theirs = computed[name].detach(), arrays[name]
        tolerance = TRAINING if name.startswith(modes) else EVALUATION
        if name.endswith("_stats"):
            torch.testing.assert_close(ours[..., :2], theirs[..., :2], rtol=0, atol=tolerance)
            ours, theirs, tolerance = ours[..., 2] / theirs[..., 2], torch.ones_like(theirs[..., 2]), STATISTICS
        else:
            worst = max(worst, float((ours - theirs).abs().max()))
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")
    return worst


def paint(facts, method: StackGANv2, arrays, sentence: str, prefix: str) -> dict[str, torch.Tensor]:
    """Pictures of every scale, mean and log variance."""
    text, noise = TextFeatures(arrays[sentence]), ConditionedNoise(arrays["z"], arrays["eps"])
    with torch.no_grad():
        painting = method.paint(text, noise)
        condition = method.generator.condition(text.sentence)
    assert len(painting.stages) == method.settings.branches - 1
    found = {"mu": condition.mean, "logvar": condition.log_variance, "train_mu": condition.mean, "train_logvar": condition.log_variance}
    for side, image in zip(method.sides, (*painting.stages, painting.images), strict=True):
        found |= views(facts, image, f"{prefix}img{side}")
    return found


def test_every_array(golden, method: StackGANv2) -> None:
    facts, arrays = golden
    computed = {}
    for mode in ("eval", "train"):
        method.train(mode == "train")
        computed |= paint(facts, method, arrays, "text_embedding", f"{mode}_")
        for side, judge in judges(method).items():
            with torch.no_grad():
                code = judge.look(pictures(arrays, "real", side))
                computed[f"{mode}_D{side}_cond"] = judge.match(code, arrays["d_condition"]).sigmoid()
                computed[f"{mode}_D{side}_uncond"] = judge.realism(code).sigmoid()
    mean, covariance = colour_statistics(computed["train_img64"])
    computed |= {"colour_mean_img64": mean[:, :, None, None], "colour_cov_img64": covariance}
    compare(facts, arrays, computed, ("train_", "colour_"))


def test_every_loss_and_gradient(golden, method: StackGANv2) -> None:
    """Losses to 1e-5 and the gradient norm of every parameter to 1e-3 of its value, in training mode."""
    facts, arrays = golden
    weight, wanted = facts["config"]["UNCOND_LOSS"], facts["loss_values"]
    condition = method.train().generator.condition(arrays["text_embedding"])
    fakes = method.generator(ConditionedNoise(arrays["z"], arrays["eps"]), condition)
    losses, norms = {}, {}
    for branch, ((side, judge), fake) in enumerate(zip(judges(method).items(), fakes, strict=True)):
        codes = {
            "real": judge.look(pictures(arrays, "real", side)),
            "mismatched": judge.look(pictures(arrays, "wrong", side)),
            "fake": judge.look(fake.detach()),
        }
        mean = condition.mean.detach()
        matching = {name: judge.match(code, mean) for name, code in codes.items()}
        losses[f"D_loss_{side}"] = discriminator_loss(matching, {name: judge.realism(code) for name, code in codes.items()}, weight)
        norms[f"netD{branch}"] = gradient_norms(judge, losses[f"D_loss_{side}"], discriminator_names(facts, branch))
    for name in (name for name in facts["grad_l2_norms"] if name.startswith("netG")):
        colour = name.removeprefix("netG_")
        codes = [judge.look(fake) for judge, fake in zip(judges(method).values(), fakes, strict=True)]
        terms = [
            fooling_loss(judge.match(code, condition.mean), judge.realism(code), weight)
            for judge, code in zip(judges(method).values(), codes, strict=True)
        ]
        divergence = facts["config"]["KL"] * condition.divergence()
        losses[f"kl_times_2_{colour}"] = divergence
        total = torch.stack(terms).sum() + divergence + float(colour.removeprefix("color")) * colour_difference(fakes)
        losses[f"G_total_{colour}"] = total
        norms[name] = gradient_norms(method.generator, total, {key: interop._generator_name(key) for key in facts["grad_l2_norms"][name]})
    assert losses.keys() == wanted.keys() and wanted
    for name, value in wanted.items():
        assert float(losses[name].detach()) == pytest.approx(value, rel=1e-5), name
    compared = 0
    for network, values in facts["grad_l2_norms"].items():
        for name, value in values.items():
            assert norms[network][name] == pytest.approx(value, rel=1e-3, abs=NOISE_NORM), f"{network} {name}"
            compared += 1
        assert len(values) == len(norms[network])
    assert compared == sum(map(len, facts["grad_l2_norms"].values())) > 0


def discriminator_names(facts, branch: int) -> dict[str, str]:
    plain = {name.removeprefix("module."): value for name, value in read_state_dict(FOLDER / f"netD{branch}.pth").items()}
    return {key: name for key, name in interop._discriminator_names(plain, False).items() if key in facts["grad_l2_norms"][f"netD{branch}"]}


def gradient_norms(network: torch.nn.Module, loss: torch.Tensor, names: dict[str, str]) -> dict[str, float]:
    """The norm of every parameter's gradient, under the authors' names."""
    ours = dict(network.named_parameters())
    assert set(names.values()) == set(ours)
    gradients = torch.autograd.grad(loss, [ours[name] for name in names.values()], retain_graph=True)
    return {name: float(gradient.norm()) for name, gradient in zip(names, gradients, strict=True)}


def test_any_files_alone(golden, tmp_path: Path) -> None:
    """Each file by itself gives its network the same weights as all together, and sizes that its shapes tell."""
    facts, _ = golden
    for name, entry in facts["checkpoints"].items():
        interop.import_stackgan_v2([FOLDER / name], tmp_path / name)
        method, (player,) = load_networks(tmp_path / name)
        state = method.players()[player].module.state_dict()
        assert len(state) == entry["tensors"]
        assert (
            sum(value.numel() for value in method.players()[player].module.parameters())
            == facts["params_this_config"][name.split("_")[0].removesuffix(".pth")]
        )
        if player == "generator":
            assert method.settings == StackGANv2Settings(
                branches=facts["config"]["BRANCH_NUM"],
                noise_width=facts["config"]["Z_DIM"],
                condition_width=facts["config"]["EMBEDDING_DIM"],
                generator_channels=facts["config"]["GF_DIM"],
                residual_blocks=facts["config"]["R_NUM"],
            )


def by_recipe(key: str, shape: list[int]) -> torch.Tensor:
    """The stored set's weights: a function of the key and shape alone, as golden.json words it."""
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key.endswith("running_var"):
        values = random.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        values = 0.1 * random.standard_normal(shape)
    elif len(shape) < 2:
        values = 0.1 * random.standard_normal(shape) + key.endswith("weight")
    else:
        values = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def test_published_width(tmp_path: Path, authors_order: None) -> None:
    """The authors' whole layout: pictures of weights by a recipe, and the names, shapes and numbers of all parameters."""
    facts, arrays = stored("published_width.json")
    path = tmp_path / "netG_1.pth"
    torch.save({f"module.{key}": by_recipe(key, shape) for key, shape in facts["G_state_dict"]["keys_and_shapes"]}, path)
    method, players = interop.read_stackgan_v2([path])
    assert players == ["generator"] and method.settings == StackGANv2Settings()
    compare(facts, arrays, paint(facts, method, arrays, "sent_emb", ""), ("none",))
    assert sum(value.numel() for value in method.generator.parameters()) == facts["params"]["netG"]
    for branch, side in enumerate(method.sides):
        judge = method.players()[discriminator_name(side)].module
        assert sum(value.numel() for value in judge.parameters()) == facts["params"]["netD"][branch]
        theirs = {key: torch.empty(shape, device="meta") for key, shape in facts["D_keys_and_shapes"][f"netD{branch}"]}
        names = interop._discriminator_names(theirs, False)
        shapes = {key: value.shape for key, value in judge.state_dict().items()}
        assert {names[key]: value.shape for key, value in theirs.items()} == shapes
