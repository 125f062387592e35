"""Feature networks: how they are found, what they compute, and that their hash follows their weights."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from limner.core.errors import CheckpointError, SettingsError
from limner.features.garden_judge import AttributeJudge, load_judge, save_judge
from limner.features.network import hash_of, resized
from limner.features.pretrained import load_pretrained
from limner.features.registry import load_feature_network
from limner.features.squeezenet import SqueezeNet

DATA = Path(os.environ.get("LIMNER_FEATURES", Path(__file__).parents[2].parent / "shared" / "data"))
TINY = {"colour": ("red", "blue"), "shape": ("round", "pointed", "slender"), "size": ("small", "large")}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """SqueezeNet's tensors with small deterministic values."""
    path = tmp_path_factory.mktemp("weights") / "squeezenet-test.safetensors"
    state = SqueezeNet().state_dict()
    values = {name: torch.sin(torch.arange(value.numel(), dtype=torch.float32)).view_as(value) * 0.05 for name, value in state.items()}
    save_file(values, path)
    return path


def test_names_and_missing_weights_say_what_to_do(weights, monkeypatch, tmp_path):
    with pytest.raises(SettingsError, match="did you mean 'squeezenet'"):
        load_feature_network("squeezenett")
    with pytest.raises(SettingsError, match="absent.safetensors"):
        load_feature_network(f"squeezenet={tmp_path / 'absent.safetensors'}")
    monkeypatch.setenv("LIMNER_FEATURES", str(weights.parent))
    by_folder, by_path = load_feature_network("squeezenet"), load_feature_network(f"squeezenet={weights}")
    assert by_folder.content_hash == by_path.content_hash == hash_of(by_path.state_dict())
    assert not any(parameter.requires_grad for parameter in by_path.parameters()) and not by_path.training


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_pictures_in_half_precision_are_resized_as_float32(dtype):
    pictures = torch.randn(2, 3, 8, 8).to(dtype)
    found = resized(pictures, 4)
    assert found.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(found.float(), resized(pictures.float(), 4))
    assert resized(pictures, 8) is pictures


def test_weights_of_something_else_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(SettingsError, match="does not hold the weights of 'squeezenet'"):
        load_pretrained(SqueezeNet, path)
    path.write_bytes(b"not a tensor file")
    with pytest.raises(SettingsError, match="no weights can be read"):
        load_pretrained(SqueezeNet, path)


def test_squeezenet_sees_blue_green_red_less_the_means(weights):
    network = load_pretrained(SqueezeNet, weights)
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 227, 227)).astype(np.uint8))
    red, green, blue = picture.float().unbind(1)
    prepared = torch.stack([blue - 104, green - 117, red - 123], dim=1)
    features, logits = network(picture)
    assert features.shape == (1, network.width) and logits.shape == (1, network.logit_count)
    torch.testing.assert_close(features, network.taps(prepared, ["fire9"])["fire9"].mean((2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network(picture.float() / 127.5 - 1)[0], features, rtol=1e-4, atol=1e-4)


def test_squeezenet_with_its_published_weights():
    found = sorted(DATA.glob("squeezenet*.safetensors"))
    if not found:
        pytest.skip(f"no squeezenet*.safetensors in {DATA}: set LIMNER_FEATURES to a folder that holds the weights")
    maps = load_pretrained(SqueezeNet, found[0]).taps(torch.zeros(1, 3, 227, 227), ["fire9", "logits"])
    features, logits = maps["fire9"].mean((2, 3)), maps["logits"]
    np.testing.assert_allclose(features[0, :6].numpy(), [0.0, 0.44506, 0.0, 0.0, 0.09965, 0.0], atol=2e-5)
    assert float(features.sum()) == pytest.approx(123.2125, abs=2e-3)
    assert int(logits.argmax()) == 892 and float(logits.max()) == pytest.approx(0.66295, abs=2e-5)


def test_class_logits_are_the_log_of_the_joint_distribution():
    judge = AttributeJudge(TINY)
    judge.freeze()
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 3, 40, 40)).astype(np.uint8))
    reading = judge.read(images)
    colour, shape = (reading.logits[name].softmax(1).numpy() for name in ("colour", "shape"))
    expected = np.einsum("bi,bj->bij", colour, shape).reshape(4, -1)
    np.testing.assert_allclose(judge(images)[1].exp().numpy(), expected, rtol=1e-5)


def test_a_saved_judge_reads_as_before_and_a_damaged_one_says_so(tmp_path):
    judge = AttributeJudge(TINY)
    for value in judge.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half())
    judge.freeze()
    save_judge(judge, tmp_path)
    loaded = load_judge(tmp_path)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    assert torch.equal(loaded(images)[0], judge(images)[0]) and loaded.content_hash == judge.content_hash
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cut short or changed"):
        load_judge(tmp_path)
