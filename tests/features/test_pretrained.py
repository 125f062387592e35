"""Published feature networks: files that fit and files that do not, stages, gradients, and input of any size and kind."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from shared.feature_weights import seeded_weights
from torch import nn

from limner.core.errors import SettingsError
from limner.features.efficientnet import EfficientNetLite0
from limner.features.inception import FIDInception, TorchvisionInception
from limner.features.pretrained import filled, load_pretrained
from limner.features.resize import half_pixel_resized, tensorflow_resized
from limner.features.squeezenet import SqueezeNet, TorchvisionSqueezeNet
from limner.features.vgg import VGG

NETWORKS = {
    "fid-inception": FIDInception,
    "fid-inception-pytorch": partial(FIDInception, "pytorch-fid"),
    "tv-inception": TorchvisionInception,
    "vgg16": partial(VGG, 16, classifier=False),
    "vgg19": partial(VGG, 19, classifier=False),
    "squeezenet": SqueezeNet,
    "tv-squeezenet": TorchvisionSqueezeNet,
    "efficientnet-lite0": EfficientNetLite0,
}


def on_meta(build):
    with torch.device("meta"):
        return build()


@pytest.fixture(scope="module")
def squeezenet_state():
    return seeded_weights(SqueezeNet)


def test_a_frozen_inception_inside_a_model_in_training():
    state = seeded_weights(TorchvisionInception)
    state["AuxLogits.fc.weight"] = torch.zeros(1000, 768)  # as published: the head is left out
    before = torch.get_rng_state()
    inception = filled(partial(TorchvisionInception, classifier=False), state, "a test")
    assert torch.equal(torch.get_rng_state(), before), "loading drew random numbers"
    model = nn.ModuleDict({"inception": inception, "projection": nn.Conv2d(768, 2, 1)}).train()
    assert model["projection"].training and not any(module.training for module in inception.modules())

    images = (torch.rand(2, 3, 40, 56) * 2 - 1).requires_grad_()
    found = inception.taps(inception.prepare(images), ["Mixed_6e", "pool"])
    assert found["Mixed_6e"].shape == (2, 768, 17, 17) and found["pool"].shape == (2, inception.width)
    model["projection"](found["Mixed_6e"]).square().sum().backward()
    assert images.grad is not None and images.grad.isfinite().all() and images.grad.abs().amax((1, 2, 3)).min() > 0
    assert all(parameter.grad is None for parameter in inception.parameters())
    features, logits = inception(images)
    assert logits is None and inception.logit_count is None
    torch.testing.assert_close(features, found["pool"])

    with pytest.raises(
        SettingsError, match=r"'fid-inception' \(fc.weight is \[1000, 2048\], not \[1008, 2048\]\).*pt_inception-2015"
    ) as error:
        filled(FIDInception, {name: value for name, value in state.items() if not name.startswith("Aux")}, "weights.pth")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_bytes_and_floats_are_the_same_picture(name):
    network = on_meta(NETWORKS[name])
    assert network.name == name
    levels = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (2, 3, 30, 50)).astype(np.uint8))
    prepared = network.prepare(levels)
    side = int(network.resize.rsplit("x", 1)[1])
    assert prepared.shape == (2, 3, side, side)
    torch.testing.assert_close(network.prepare(levels.float() / 127.5 - 1), prepared, rtol=0, atol=2e-6 * float(prepared.abs().max()))


def test_ways_to_resize():
    row = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).expand(1, 1, 2, 2)
    assert tensorflow_resized(row, 4)[0, 0, 3].tolist() == [0.0, 0.5, 1.0, 1.0]
    assert half_pixel_resized(row, 4)[0, 0, 3].tolist() == [0.0, 0.25, 0.75, 1.0]
    torch.testing.assert_close(half_pixel_resized(row, 4, align_corners=True)[0, 0, 3], torch.tensor([0.0, 1 / 3, 2 / 3, 1.0]))


def test_stages(squeezenet_state):
    network = filled(SqueezeNet, squeezenet_state, "a test")
    prepared = network.prepare(torch.zeros(1, 3, 64, 64))
    both = network.taps(prepared, ["logits", "fire4"])
    assert set(both) == {"fire4", "logits"}
    torch.testing.assert_close(network.taps(prepared, ["fire4"])["fire4"], both["fire4"])
    tiny = prepared[..., :8, :8]  # too small for what comes later, which nothing computes
    assert network.taps(tiny, ["conv1"])["conv1"].shape == (1, 96, 1, 1)
    with pytest.raises(SettingsError, match="no stage of the feature network 'squeezenet' called 'fire44': did you mean 'fire4'"):
        network.taps(prepared, ["fire44"])
    vgg = on_meta(partial(VGG, 16, classifier=False))
    assert vgg.tap_names()[:5] == ("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1") and vgg.tap_names()[-2:] == ("relu5_3", "pool5")
    with pytest.raises(SettingsError, match="no VGG of 13 layers"):
        VGG(13)


def test_taps_of_vgg_keep_what_comes_before_the_relu():
    build = partial(VGG, 16, classifier=False)
    network = filled(build, seeded_weights(build), "a test")
    found = network.taps(network.scaled(torch.rand(1, 3, 16, 16) * 2 - 1), ["conv1_1", "relu1_1"])
    assert (found["conv1_1"] < 0).any()
    torch.testing.assert_close(found["conv1_1"].relu(), found["relu1_1"])


def test_files_that_fit(squeezenet_state, tmp_path):
    save_file(squeezenet_state, tmp_path / "own.safetensors")
    torch.save({"state_dict": {f"module.{name}": value for name, value in squeezenet_state.items()}, "epoch": 3}, tmp_path / "own.pth")
    names = {"conv1": "features.0", "fire2": "features.3", "fire9": "features.12", "conv10": "classifier.1"}
    names |= {f"fire{number}": f"features.{number + (1 if number < 5 else 2)}" for number in range(3, 9)}
    published = {}
    for name, value in squeezenet_state.items():
        layer, rest = name.split(".", 1)
        published[f"{names[layer]}.{rest.replace('squeeze1x1', 'squeeze')}"] = value
    torch.save(published, tmp_path / "torchvision.pth")
    loaded = load_pretrained(SqueezeNet, tmp_path / "own.safetensors")
    assert load_pretrained(SqueezeNet, tmp_path / "own.pth").content_hash == loaded.content_hash
    assert load_pretrained(TorchvisionSqueezeNet, tmp_path / "torchvision.pth").content_hash == loaded.content_hash
    changed = squeezenet_state | {"conv1.bias": squeezenet_state["conv1.bias"] + 1e-6}
    assert filled(SqueezeNet, changed, "a test").content_hash != loaded.content_hash


def test_files_that_do_not_fit(squeezenet_state, tmp_path):
    def refused(content: object) -> str:
        path = tmp_path / "weights.pth"
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(SettingsError) as error:
            load_pretrained(SqueezeNet, path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
        return str(error.value)

    assert "conv1.bias is float16" in refused(squeezenet_state | {"conv1.bias": squeezenet_state["conv1.bias"].half()})
    assert "fire2.expand1x1.bias is missing" in refused({k: v for k, v in squeezenet_state.items() if k != "fire2.expand1x1.bias"})
    assert "extra has no place" in refused(squeezenet_state | {"extra": torch.zeros(1)})
    assert "and 51 more are missing" in refused({f"other_{name}": value for name, value in squeezenet_state.items()})
    assert "conv1.bias has values that are not numbers" in refused(squeezenet_state | {"conv1.bias": torch.full((96,), float("nan"))})
    assert "holds no tensors by name" in refused([1, 2])
    assert "it asks for" in refused({"network": SqueezeNet})
    torch.save(squeezenet_state, tmp_path / "whole.pth")
    assert "no weights can be read" in refused((tmp_path / "whole.pth").read_bytes()[:50_000])
    assert "no weights can be read" in refused(b"")
