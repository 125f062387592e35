"""DCGAN-CLS and WGAN-CLS against stored results of the port: its own checkpoints, read through the importer."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.core.noise import VectorNoise
from limner.core.text import TextFeatures
from limner.interop.dcgan_cls import import_dcgan_cls
from limner.interop.networks import load_networks
from limner.methods.dcgan_cls import DCGANCLS, DCGANCLSSettings, MinibatchDiscrimination, generator_terms
from limner.model import load
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "dcgan-cls"
EVALUATION, TRAINING = 2e-5, 3e-4
"""Absolute tolerances for arrays of either mode; losses agree to 1e-5 of their value."""
INPUTS = {"embed", "z", "real", "wrong", "mbd_T", "mbd_x"}


@pytest.fixture(scope="module")
def golden():
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    with np.load(FOLDER / "golden.npz", allow_pickle=False) as arrays:
        return json.loads((FOLDER / "golden.json").read_text()), {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def imported(facts, name: str, folder: Path) -> DCGANCLS:
    """One of the set's models, from its two files to a folder and back."""
    entry = facts["models"][name]
    objective = "wasserstein" if name.startswith("wgan") else "cross-entropy"
    import_dcgan_cls([FOLDER / entry["discriminator_file"], FOLDER / entry["generator_file"]], folder, objective=objective)
    method, players = load_networks(folder)
    assert isinstance(method, DCGANCLS) and players == ["generator", "discriminator"]
    return method


def scores(method: DCGANCLS, logits: torch.Tensor) -> torch.Tensor:
    """What the port's discriminators return: probabilities [B], or the critic's mean score [1]."""
    return logits.mean().view(1) if method.settings.objective == "wasserstein" else logits.sigmoid()


@torch.no_grad()
def answers(method: DCGANCLS, arrays, prefix: str):
    """Every array of a model's one mode, computed here."""
    sentence, z = arrays["embed"], arrays["z"].flatten(1)
    fake = method.paint(TextFeatures(sentence), VectorNoise(z)).images
    pictures = {"real": arrays["real"], "wrong": arrays["wrong"], "fake": fake}
    results = {f"{prefix}_fake": fake}
    for name, value in pictures.items():
        results[f"{prefix}_D_{name}"] = scores(method, method.discriminator(value, sentence))
        results[f"{prefix}_D_{name}_features"] = method.discriminator.look(value)
    return results


def test_every_array(golden, tmp_path: Path) -> None:
    facts, arrays = golden
    computed = {}
    for name in facts["models"]:
        method = imported(facts, name, tmp_path / name)
        computed |= answers(method.eval(), arrays, name) | answers(method.train(), arrays, f"{name}_train")
    if "mbd_out" in arrays:
        flat = arrays["mbd_x"].flatten(1)
        kernels = arrays["mbd_out"].shape[1] - flat.shape[1]
        layer = MinibatchDiscrimination(flat.shape[1], kernels, arrays["mbd_T"].shape[1] // kernels)
        layer.projection.data.copy_(arrays["mbd_T"])
        computed["mbd_out"] = torch.cat([flat, layer(flat)], dim=1).detach()
    expected = set(facts["arrays"]) - INPUTS
    assert expected and expected <= set(computed), f"not computed: {sorted(expected - set(computed))}"
    for name in sorted(expected):
        assert list(arrays[name].shape) == facts["arrays"][name]["shape"], name
        tolerance = TRAINING if "_train_" in name else EVALUATION
        torch.testing.assert_close(computed[name], arrays[name], rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


@torch.no_grad()
def test_every_loss(golden, tmp_path: Path) -> None:
    """The losses of the GAN form, each by the method's own functions; weights and targets stand in their names."""
    facts, arrays = golden
    (name,) = (name for name in facts["models"] if not name.startswith("wgan"))
    method = imported(facts, name, tmp_path / name)
    sentence = arrays["embed"]
    fake = method.generator(arrays["z"].flatten(1), sentence)
    logits = {key: method.discriminator(value, sentence) for key, value in (*((k, arrays[k]) for k in ("real", "wrong")), ("fake", fake))}

    def loss(*, wrong: bool = True, **values: float) -> torch.Tensor:
        changed = DCGANCLS(DCGANCLSSettings(**values), method.conditions)
        return changed.discriminator_loss(logits["real"], logits["fake"], logits["wrong"] if wrong else None)

    features = (method.discriminator.look(value) for value in (fake, arrays["real"]))
    terms = generator_terms(logits["fake"], *features, fake, arrays["real"])
    compared = 0
    for key, value in facts["losses"].items():
        if key == "mode":
            continue
        if key.startswith("d_real_label"):
            ours = loss(real_target=float(key.removeprefix("d_real_label")), negative_weight=0.0)
        elif key == "d_fake":
            ours = loss(wrong=False) - loss(negative_weight=0.0)
        elif key == "d_wrong":
            ours = loss() - loss(wrong=False)
        elif key.startswith("d_loss_cls_total"):
            ours = loss()
        elif key.startswith("paper_GAN_CLS_D"):
            ours = loss(real_target=1.0, negative_weight=0.5)
        elif key.startswith("g_total"):
            feature_weight, picture_weight = map(float, re.findall(r"\+(\d+)\*", key))
            settings = DCGANCLSSettings(feature_matching=feature_weight, picture_distance=picture_weight)
            ours = DCGANCLS(settings, method.conditions).generator_loss(terms)
        else:
            part = {"g_bce": "fooling", "g_feature_matching_mse": "features", "g_l1": "pictures"}[key.split("(")[0]]
            ours = terms[part]
        assert float(ours) == pytest.approx(value, rel=1e-5), key
        compared += 1
    assert compared == len(facts["losses"]) - 1 > 0


def test_parameters_under_the_port_s_names(golden, tmp_path: Path) -> None:
    """Nothing of a file is left behind, and the whole-width networks have the port's sizes."""
    facts, _ = golden
    for name, entry in facts["models"].items():
        method = imported(facts, name, tmp_path / name)
        for network, keys in ((method.generator, entry["keys_G"]), (method.discriminator, entry["keys_D"])):
            assert sorted(map(list, (value.shape for value in network.state_dict().values()))) == sorted(keys.values())


def test_with_its_text_encoder_it_paints(golden, tmp_path: Path) -> None:
    """A generator alone, with an encoder of its width, becomes a model folder; the pictures are the stored ones."""
    facts, arrays = golden
    for name, entry in facts["models"].items():
        encoder = RecurrentEncoder(WordTokenizer.build(["a red flower"]), RecurrentSettings(sentence_width=entry["config"]["embed_dim"]))
        import_dcgan_cls([FOLDER / entry["generator_file"]], tmp_path / name, encoder.eval())
        model = load(tmp_path / name)
        images = model.method.paint(TextFeatures(arrays["embed"]), VectorNoise(arrays["z"].flatten(1))).images
        torch.testing.assert_close(images, arrays[f"{name}_fake"], rtol=0, atol=EVALUATION)
        assert model.generate("a red flower", n=1, seed=1)[0].size == (entry["config"]["image"],) * 2
