"""VGG-16 and VGG-19 (Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556), with stages by the paper's names for perceptual losses."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.features.imagenet import normalised
from limner.features.network import Stage, to_float
from limner.features.pretrained import PretrainedNetwork, Published
from limner.features.resize import TENSORFLOW, tensorflow_resized

SIDE = 224
_WIDTHS = (64, 128, 256, 512, 512)
_CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_FILES = {16: "vgg16-397923af.pth", 19: "vgg19-dcbb9e9d.pth"}
_LINEARS = {"0": ("fc1", 512 * 7 * 7, 4096), "3": ("fc2", 4096, 4096), "6": ("logits", 4096, 1000)}


class VGG(PretrainedNetwork):
    """The network of 16 or 19 layers: features [B, 4096], the second linear layer after its ReLU, and 1,000 ImageNet logits.

    Those are the features of precision and recall (Kynkaanniemi et al., NeurIPS 2019). Stages are conv1_1, relu1_1, ... pool5, avgpool,
    fc1, fc1_relu, fc2, fc2_relu, logits. A perceptual loss takes `network.taps(network.scaled(images), ["relu2_2"])`, pictures at their
    own size; ControlGAN feeds pictures in [-1, 1] as they are.
    """

    def __init__(self, depth: int = 16, *, classifier: bool = True) -> None:
        """classifier: whether to have the three linear layers, nine tenths of the weights; without, features are `pool5`'s mean."""
        super().__init__()
        if depth not in _CONVOLUTIONS:
            raise SettingsError(f"there is no VGG of {depth} layers with published weights here: take 16 or 19")
        self.name = f"vgg{depth}"
        self.published = Published(
            file=_FILES[depth], url=f"https://download.pytorch.org/models/{_FILES[depth]}", sha256=_FILES[depth].split("-")[1].split(".")[0]
        )
        self.resize = f"{TENSORFLOW} to {SIDE}x{SIDE}"
        self.width = 4096 if classifier else 512
        self.logit_count = 1000 if classifier else None
        # Named by torchvision's positions, which count ReLUs, pools and dropouts as well.
        self.features = nn.ModuleDict()
        self.positions: list[tuple[str, int]] = []
        position, channels = 0, 3
        for block, (width, convolutions) in enumerate(zip(_WIDTHS, _CONVOLUTIONS[depth]), start=1):
            for number in range(1, convolutions + 1):
                self.features[str(position)] = nn.Conv2d(channels, width, 3, padding=1)
                self.positions += [(f"conv{block}_{number}", position), (f"relu{block}_{number}", position + 1)]
                position, channels = position + 2, width
            self.positions.append((f"pool{block}", position))
            position += 1
        self.unused = () if classifier else ("classifier.",)
        self.classifier: nn.ModuleDict | None = None
        if classifier:
            self.classifier = nn.ModuleDict({key: nn.Linear(inputs, outputs) for key, (_, inputs, outputs) in _LINEARS.items()})

    def scaled(self, images: Tensor) -> Tensor:
        """Pictures, uint8 or float in [-1, 1], at their own size -> ImageNet-normalised."""
        return normalised(to_float(images))

    def prepare(self, images: Tensor) -> Tensor:
        """[B, 3, H, W], uint8 or float in [-1, 1] -> [B, 3, 224, 224], ImageNet-normalised."""
        return normalised(tensorflow_resized(to_float(images), SIDE))

    def stages(self) -> list[Stage]:
        chain: list[Stage] = []
        for name, position in self.positions:
            if name.startswith("conv"):
                chain.append((name, self.features[str(position)]))
            else:
                chain.append((name, F.relu if name.startswith("relu") else _halved))
        if self.classifier is not None:
            chain.append(("avgpool", _seven_by_seven))
            for key, (name, _, _) in _LINEARS.items():
                chain.append((name, self.classifier[key]))
                if name != "logits":
                    chain.append((f"{name}_relu", F.relu))
        return chain

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        prepared = self.prepare(images)
        if self.classifier is None:
            return self.taps(prepared, ["pool5"])["pool5"].mean((2, 3)), None
        found = self.taps(prepared, ["fc2_relu", "logits"])
        return found["fc2_relu"], found["logits"]


def _halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2)


def _seven_by_seven(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 7).flatten(1)
