"""The Keras DCGAN against stored results of its code: three versions read from their .h5 files, and one step of each player."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shared.golden_set import GoldenSet
from shared.keras_files import glove_file, write_weights
from shared.rounding_more import BROKEN, Found, Realized, realized, scaled
from torch import Tensor

from limner.core.noise import UniformNoise
from limner.core.optimizers import SGD
from limner.core.text import TextFeatures
from limner.interop.glove import Options as GloveOptions
from limner.interop.glove import import_glove
from limner.interop.keras_text_to_image import import_keras_text_to_image, read_keras
from limner.interop.networks import load_networks
from limner.methods.keras_text_to_image import KerasTextToImage
from limner.model import load
from limner.text.glove import Glove
from limner.text.saving import load_encoder

pytest.importorskip("h5py", reason="the .h5 files are read by h5py: pip install -e '.[dev]'")

INPUTS = {"text", "noise", "noise2", "real"}
Given = tuple[dict[str, KerasTextToImage], dict[str, Glove], dict[str, Tensor], dict[str, float]]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("keras-text-to-image")


def is_state(name: str) -> bool:
    """Whether an array is part of a network's state, before or after a step: version/network/layer/array."""
    return name.count("/") == 3


@pytest.fixture(scope="module")
def stored(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """All that is to be found again, in our order of numbers: states through the importer, pictures with channels first."""
    folder = tmp_path_factory.mktemp("stored")
    found = {}
    for version, entry in golden.facts["models"].items():
        for network, player in (("G", "generator"), ("D", "discriminator")):
            for state in (network, f"{network}_after"):
                layers: dict[str, dict[str, Any]] = {layer: {} for layer in entry[f"layer_order_{player}"]}
                for name, value in golden.arrays.items():
                    if is_state(name) and name.startswith(f"{version}/{state}/"):
                        layers[name.split("/")[2]][name.split("/")[3]] = value.numpy()
                method, _ = read_keras([write_weights(folder / f"{version}-{state}.h5", layers)])
                found |= states_of(method, player, f"{version}/{state}")
    plain = {name: value for name, value in golden.arrays.items() if name not in INPUTS and not is_state(name)}
    assert len(found) + len(plain) + len(INPUTS) == len(golden.arrays), "every stored array, and none twice"
    found |= {
        name: value.permute(0, 3, 1, 2) if "fake" in name.split("/")[1].split("_") and value.ndim == 4 else value
        for name, value in plain.items()
    }
    return {name: value for name, value in found.items() if name != "glove/table"}


def states_of(method: KerasTextToImage, player: str, prefix: str) -> dict[str, Tensor]:
    state = method.players()[player].module.state_dict()
    return {f"{prefix}/{name}": value.clone() for name, value in state.items() if value.is_floating_point()}


@pytest.fixture(scope="module")
def given(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """The three methods, each from its two files to a folder and back; encoders of the stored word vectors; inputs; a factor of 1."""
    folder = tmp_path_factory.mktemp("keras")
    methods = {}
    for version, entry in golden.facts["models"].items():
        import_keras_text_to_image([golden.folder / name for name in entry["files"]], folder / version)
        method, players = load_networks(folder / version)
        assert isinstance(method, KerasTextToImage) and players == ["generator", "discriminator"]
        assert method.settings.version == version
        methods[version] = method
    facts = golden.facts["glove"]
    vectors = glove_file(folder / "vectors.txt", facts["words"], golden.arrays["glove/table"].numpy())
    (folder / "words.txt").write_text("\n".join(facts["words"]))
    encoders = {}
    for name, most in {"encode_doc": 100, "encode_docs": 100, "encode_doc_max3": facts["max_allowed_doc_length"]}.items():
        out = folder / name
        import_glove(GloveOptions(file=vectors, vocabulary=folder / "words.txt", out=out, cutting="spaces", maximum_words=most))
        encoder = load_encoder(out)
        assert isinstance(encoder, Glove)
        encoders[name] = encoder
    arrays = {name: value for name, value in golden.arrays.items() if name in INPUTS}
    return methods, encoders, arrays | {"real": arrays["real"].permute(0, 3, 1, 2)}, {"step": 1.0}


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, given: Given) -> Realized:
    return realized(computation(golden), *given)


def stepped(method: KerasTextToImage, player: str, loss: Tensor, factor: float) -> None:
    """One step of a player's own optimiser."""
    found = method.players()[player]
    parameters = list(found.module.parameters())
    optimizer = found.optimizer
    assert isinstance(optimizer, SGD) and optimizer.nesterov
    stepping = SGD(learning_rate=optimizer.learning_rate * factor, momentum=optimizer.momentum, nesterov=True).build(parameters)
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    stepping.step()


def computation(golden: GoldenSet) -> Callable[..., Found]:
    def compute(
        methods: dict[str, KerasTextToImage], encoders: dict[str, Glove], arrays: dict[str, Tensor], factors: dict[str, float]
    ) -> Found:
        found = Found({})
        text, real = arrays["text"], arrays["real"]
        for version, given in methods.items():
            method = copy.deepcopy(given).train()
            found.arrays |= states_of(method, "generator", f"{version}/G") | states_of(method, "discriminator", f"{version}/D")
            with torch.no_grad():
                found.arrays[f"{version}/fake_train_mode"] = copy.deepcopy(method).generator(arrays["noise"], text)
                fake = method.generator(arrays["noise"], text, moving=True)
                found.arrays[f"{version}/fake"] = fake
                for name, pictures in {"real": real, "fake": fake}.items():
                    found.arrays[f"{version}/D_{name}"] = method.discriminator(pictures, text).sigmoid()[:, None]
            update = method.discriminator_update(real, fake, text)
            found.losses[f"{version}/d_loss"] = update.loss
            stepped(method, update.player, update.loss, factors["step"])
            update = method.generator_update(arrays["noise2"], text)
            found.losses[f"{version}/g_loss"] = update.loss
            stepped(method, update.player, update.loss, factors["step"])
            found.arrays |= states_of(method, "generator", f"{version}/G_after") | states_of(method, "discriminator", f"{version}/D_after")
        for name, encoder in encoders.items():
            found.arrays[f"glove/{name}"] = encoder(golden.facts["glove"]["docs"]).sentence
        return Found(**vars(found))

    return compute


def losses(golden: GoldenSet) -> dict[str, float]:
    return {f"{version}/{name}": entry[name] for version, entry in golden.facts["models"].items() for name in ("d_loss", "g_loss")}


def test_every_array(stored: dict[str, Tensor], everything: Realized) -> None:
    everything.same_arrays(stored)


def test_every_loss(golden: GoldenSet, everything: Realized) -> None:
    everything.same_losses(losses(golden))


BREAKS: dict[str, tuple[str, Callable[[Given], Any]]] = {
    "generator's text": ("arrays", lambda given: scaled(given[0]["v1"].generator.text.weight)),
    "normalisation's variance": ("arrays", lambda given: scaled(given[0]["v2"].generator.normalization.running_var)),
    "normalisation's momentum": ("arrays", lambda given: _slower(given[0]["v3"].generator.normalization)),
    "discriminator's second convolution": ("losses", lambda given: scaled(given[0]["v3"].discriminator.picture[3].weight)),
    "word vectors": ("arrays", lambda given: scaled(given[1]["encode_doc_max3"].table.vectors)),
    "no Nesterov": ("arrays", lambda given: given[3].update(step=1 / 1.9)),  # the first step by plain momentum is 1 lr g, and not 1.9
}
"""A step's change is a thousandth of a weight, of which float32 keeps three digits: a learning rate that is wrong by 1e-3 of itself cannot
be seen in the stored weights, and one by a hundredth can."""


def _slower(normalization: Any) -> None:
    normalization.momentum *= 1 + BROKEN


@pytest.mark.parametrize("name", [*BREAKS, "learning rate"])
def test_a_broken_coefficient_is_noticed(
    golden: GoldenSet, given: Given, stored: dict[str, Tensor], everything: Realized, name: str
) -> None:
    kind, change = BREAKS.get(name, ("arrays", lambda given: given[3].update(step=1.01)))
    everything.notices(kind, stored if kind == "arrays" else losses(golden), change, computation(golden), *given)


def test_parameters_of_the_whole_width(golden: GoldenSet, given: Given) -> None:
    """Nothing of a file is left behind, and the published networks have the code's sizes."""
    from limner.core.trainable import Conditions
    from limner.methods.keras_text_to_image import KerasSettings

    def counted(method: KerasTextToImage) -> list[int]:
        moving = sum(value.numel() for value in method.generator.buffers() if value.is_floating_point())
        return [
            sum(value.numel() for value in method.generator.parameters()) + moving,
            sum(value.numel() for value in method.discriminator.parameters()),
        ]

    for version, entry in golden.facts["models"].items():
        assert counted(given[0][version]) == [entry["parameters"]["G"], entry["parameters"]["D"]]
    for name, counts in golden.facts["parameter_counts"].items():
        version, side, *_ = name.replace(",", "").split()
        noise = name.rpartition(" ")[2]
        settings = KerasSettings(version=version, **({} if noise == "none" else {"noise_width": int(noise)}))
        method = KerasTextToImage(settings, Conditions(resolution=int(side.split("x")[0]), sentence_width=100))
        assert counted(method) == list(counts.values())


def test_with_its_text_encoder_it_paints(
    golden: GoldenSet, given: Given, stored: dict[str, Tensor], everything: Realized, tmp_path: Path
) -> None:
    """A generator with word vectors of its width becomes a model folder; the pictures are the stored ones."""
    words = golden.facts["glove"]["words"]
    width = golden.facts["config"]["text_input_dim"]
    vectors = glove_file(tmp_path / "vectors.txt", words, torch.randn(len(words), width, generator=torch.Generator().manual_seed(0)))
    (tmp_path / "words.txt").write_text("\n".join(words))
    import_glove(GloveOptions(file=vectors, vocabulary=tmp_path / "words.txt", out=tmp_path / "encoder"))
    for version, entry in golden.facts["models"].items():
        generator = next(golden.folder / name for name in entry["files"] if "generator" in name)
        import_keras_text_to_image([generator], tmp_path / version, load_encoder(tmp_path / "encoder"))
        model = load(tmp_path / version)
        noise = UniformNoise(golden.arrays["noise"] if version != "v2" else torch.zeros(len(golden.arrays["noise"]), 0))
        images = model.method.paint(TextFeatures(golden.arrays["text"]), noise).images
        assert everything.holds_for(stored, {f"{version}/fake": images}) == 1
        assert model.generate("a small red bird", n=1, seed=1)[0].size == (entry["config_npy"]["img_width"],) * 2
