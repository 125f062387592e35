"""DCGAN-CLS and WGAN-CLS against stored results of the port: its own checkpoints, read through the importer."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shared.golden_set import GoldenSet
from shared.rounding_more import BROKEN, Found, Realized, realized, scaled
from torch import Tensor

from limner.core.noise import VectorNoise
from limner.core.text import TextFeatures
from limner.interop.dcgan_cls import import_dcgan_cls
from limner.interop.networks import load_networks
from limner.methods.dcgan_cls import DCGANCLS, DCGANCLSSettings, MinibatchDiscrimination, generator_terms
from limner.model import load
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

INPUTS = {"embed", "z", "real", "wrong", "mbd_T", "mbd_x"}
Given = tuple[dict[str, DCGANCLS], dict[str, Tensor], dict[str, float]]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("dcgan-cls")


def outputs(golden: GoldenSet) -> dict[str, Tensor]:
    return {name: value for name, value in golden.arrays.items() if name not in INPUTS}


def losses(golden: GoldenSet) -> dict[str, float]:
    return {name: value for name, value in golden.part("losses").items() if name != "mode"}


@pytest.fixture(scope="module")
def given(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """The set's models, each from its two files to a folder and back; its inputs; a factor of every loss's weights, which is 1."""
    methods = {}
    for name, entry in golden.facts["models"].items():
        folder = tmp_path_factory.mktemp("dcgan-cls") / name
        objective = "wasserstein" if name.startswith("wgan") else "cross-entropy"
        files = [golden.folder / entry[f"{network}_file"] for network in ("discriminator", "generator")]
        import_dcgan_cls(files, folder, objective=objective)
        method, players = load_networks(folder)
        assert isinstance(method, DCGANCLS) and players == ["generator", "discriminator"]
        methods[name] = method
    return methods, {name: value for name, value in golden.arrays.items() if name in INPUTS}, {"weights": 1.0}


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, given: Given) -> Realized:
    return realized(computation(golden), *given, batch_losses=False)  # their losses are of evaluation mode


def scores(method: DCGANCLS, logits: Tensor) -> Tensor:
    """What the port's discriminators return: probabilities [B], or the critic's mean score [1]."""
    return logits.mean().view(1) if method.settings.objective == "wasserstein" else logits.sigmoid()


def answers(method: DCGANCLS, arrays: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Every array of a model's one mode, computed here."""
    sentence, z = arrays["embed"], arrays["z"].flatten(1)
    fake = method.paint(TextFeatures(sentence), VectorNoise(z)).images
    results = {f"{prefix}_fake": fake}
    for name, value in {"real": arrays["real"], "wrong": arrays["wrong"], "fake": fake}.items():
        results[f"{prefix}_D_{name}"] = scores(method, method.discriminator(value, sentence))
        results[f"{prefix}_D_{name}_features"] = method.discriminator.look(value)
    return results


def closeness(golden: GoldenSet, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """Minibatch discrimination, which has arrays of its own."""
    if "mbd_out" not in golden.arrays:
        return {}
    flat = arrays["mbd_x"].flatten(1)
    kernels = golden.arrays["mbd_out"].shape[1] - flat.shape[1]
    layer = MinibatchDiscrimination(flat.shape[1], kernels, arrays["mbd_T"].shape[1] // kernels)
    layer.projection.data.copy_(arrays["mbd_T"])
    return {"mbd_out": torch.cat([flat, layer(flat)], dim=1)}


def each_loss(method: DCGANCLS, arrays: dict[str, Tensor], factor: float, stored: dict[str, float]) -> dict[str, Tensor]:
    """The losses of the GAN form, each by the method's own functions; weights and targets stand in their names."""
    sentence = arrays["embed"]
    fake = method.generator(arrays["z"].flatten(1), sentence)
    shown = {"real": arrays["real"], "wrong": arrays["wrong"], "fake": fake}
    logits = {name: method.discriminator(value, sentence) for name, value in shown.items()}
    (real_key,) = (key for key in stored if key.startswith("d_real_label"))
    target = float(real_key.removeprefix("d_real_label"))

    def loss(*, wrong: bool = True, negative_weight: float = 1.0, real_target: float = target) -> Tensor:
        settings = DCGANCLSSettings(real_target=real_target, negative_weight=negative_weight * factor)
        return DCGANCLS(settings, method.conditions).discriminator_loss(logits["real"], logits["fake"], logits["wrong"] if wrong else None)

    terms = generator_terms(logits["fake"], *(method.discriminator.look(shown[name]) for name in ("fake", "real")), fake, arrays["real"])
    found = {}
    for key in stored:
        if key == real_key:
            found[key] = loss(negative_weight=0.0)
        elif key == "d_fake":
            found[key] = loss(wrong=False) - loss(negative_weight=0.0)
        elif key == "d_wrong":
            found[key] = loss() - loss(wrong=False)
        elif key.startswith("d_loss_cls_total"):
            found[key] = loss()
        elif key.startswith("paper_GAN_CLS_D"):
            numbers = re.search(r"bce\(real,([\d.]+)\)\+([\d.]+)\*", key)
            assert numbers
            found[key] = loss(real_target=float(numbers[1]), negative_weight=float(numbers[2]))
        elif key.startswith("g_total"):
            feature_weight, picture_weight = (float(number) * factor for number in re.findall(r"\+([\d.]+)\*", key))
            settings = DCGANCLSSettings(feature_matching=feature_weight, picture_distance=picture_weight)
            found[key] = DCGANCLS(settings, method.conditions).generator_loss(terms)
        else:
            part = {"g_bce": "fooling", "g_feature_matching_mse": "features", "g_l1": "pictures"}[key.split("(")[0]]
            found[key] = terms[part]
    return found


def computation(golden: GoldenSet) -> Callable[..., Found]:
    @torch.no_grad()
    def compute(methods: dict[str, DCGANCLS], arrays: dict[str, Tensor], factors: dict[str, float]) -> Found:
        found = Found(closeness(golden, arrays))
        for name, method in methods.items():
            found.arrays |= answers(method.eval(), arrays, name)
            if method.settings.objective != "wasserstein" and "losses" in golden.facts:
                found.losses |= each_loss(method, arrays, factors["weights"], losses(golden))
            found.arrays |= answers(method.train(), arrays, f"{name}_train")
        return Found(**vars(found))

    return compute


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(outputs(golden))


def test_every_loss(golden: GoldenSet, everything: Realized) -> None:
    everything.same_losses(losses(golden))


BREAKS: dict[str, tuple[str, Callable[[Given], Any]]] = {
    "generator's first layer": ("arrays", lambda given: scaled([*given[0].values()][0].generator.layers[0].weight)),
    "text's projection": ("arrays", lambda given: scaled([*given[0].values()][-1].discriminator.text[0].weight)),
    "normalisation's statistics": ("arrays", lambda given: scaled([*given[0].values()][-1].generator.layers[1].running_var)),
    "discriminator's head": ("losses", lambda given: scaled([*given[0].values()][0].discriminator.joint.weight)),
    "weights of the loss": ("losses", lambda given: given[2].update(weights=1 + BROKEN)),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, given: Given, everything: Realized, name: str) -> None:
    kind, change = BREAKS[name]
    everything.notices(kind, outputs(golden) if kind == "arrays" else losses(golden), change, computation(golden), *given)


def test_parameters_under_the_port_s_names(golden: GoldenSet, given: Given) -> None:
    """Nothing of a file is left behind, and the whole-width networks have the port's sizes."""
    for name, entry in golden.facts["models"].items():
        method = given[0][name]
        for network, keys in ((method.generator, entry["keys_G"]), (method.discriminator, entry["keys_D"])):
            assert sorted(map(list, (value.shape for value in network.state_dict().values()))) == sorted(keys.values())


def test_with_its_text_encoder_it_paints(golden: GoldenSet, everything: Realized, tmp_path: Path) -> None:
    """A generator alone, with an encoder of its width, becomes a model folder; the pictures are the stored ones."""
    for name, entry in golden.facts["models"].items():
        encoder = RecurrentEncoder(WordTokenizer.build(["a red flower"]), RecurrentSettings(sentence_width=entry["config"]["embed_dim"]))
        import_dcgan_cls([golden.folder / entry["generator_file"]], tmp_path / name, encoder.eval())
        model = load(tmp_path / name)
        noise = VectorNoise(golden.arrays["z"].flatten(1))
        images = model.method.paint(TextFeatures(golden.arrays["embed"]), noise).images
        assert everything.holds_for(outputs(golden), {f"{name}_fake": images}) == 1
        assert model.generate("a red flower", n=1, seed=1)[0].size == (entry["config"]["image"],) * 2
