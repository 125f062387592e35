"""Inception-v3 (Szegedy et al., CVPR 2016, arXiv:1512.00567) twice: as the FID looks through it, and as torchvision offers it.

FID and Inception Score are defined by a graph that was published for TensorFlow in December 2015. Its ports differ from torchvision's
network in their average pools, which leave the padding out of the count, in a maximum where the last block has an average, and in 1,008
classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import unknown_name
from limner.features import inception_blocks as blocks
from limner.features.network import Stage, to_float, to_levels
from limner.features.pretrained import PretrainedNetwork, Published
from limner.features.resize import CORNERS, HALF_PIXEL, TENSORFLOW, half_pixel_resized, tensorflow_resized

if TYPE_CHECKING:
    from typing_extensions import Self

SIDE = 299


class _Inception(PretrainedNetwork):
    """What both have in common: the convolutions, by the names of torchvision's state dict."""

    width = 2048

    def __init__(self, average: blocks.Pool, last: blocks.Pool, classes: int | None) -> None:
        super().__init__()
        convolution = blocks.NormalisedConvolution
        self.Conv2d_1a_3x3 = convolution(3, 32, (3, 3), stride=2)
        self.Conv2d_2a_3x3 = convolution(32, 32, (3, 3))
        self.Conv2d_2b_3x3 = convolution(32, 64, (3, 3), padding=(1, 1))
        self.Conv2d_3b_1x1 = convolution(64, 80, (1, 1))
        self.Conv2d_4a_3x3 = convolution(80, 192, (3, 3))
        self.Mixed_5b = blocks.block_35(192, 32, average)
        self.Mixed_5c = blocks.block_35(256, 64, average)
        self.Mixed_5d = blocks.block_35(288, 64, average)
        self.Mixed_6a = blocks.reduce_to_17(288)
        self.Mixed_6b = blocks.block_17(768, 128, average)
        self.Mixed_6c = blocks.block_17(768, 160, average)
        self.Mixed_6d = blocks.block_17(768, 160, average)
        self.Mixed_6e = blocks.block_17(768, 192, average)
        self.Mixed_7a = blocks.reduce_to_8(768)
        self.Mixed_7b = blocks.block_8(1280, average)
        self.Mixed_7c = blocks.block_8(2048, last)
        self.logit_count = classes
        self.fc = None if classes is None else nn.Linear(self.width, classes)

    def for_losses(self) -> Self:
        """Make it what losses look through, with gradients to the pictures: the same to rounding, a third faster on a CPU.

        Normalisation becomes part of the convolutions, and weights lie as a CPU wants them. What it holds is then not to be saved.
        """
        for module in self.modules():
            if isinstance(module, blocks.NormalisedConvolution):
                module.fold()
        return self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # PyTorch's stubs lack it

    def stages(self) -> list[Stage]:
        """Convolutions, blocks and maximum pools by name, `pool` [B, 2048] and, where there are classes, logits."""
        chain: list[Stage] = []
        for name, module in self.named_children():
            if name != "fc":
                chain.append((name, module))
            if name == "Conv2d_2b_3x3":
                chain.append(("maxpool1", blocks.halving_maximum))
            if name == "Conv2d_4a_3x3":
                chain.append(("maxpool2", blocks.halving_maximum))
        return [*chain, ("pool", _spatial_mean)]


class FIDInception(_Inception):
    """The network of FID, KID and the Inception Score: features [B, 2048] and 1,008 logits, which lack their bias.

    Salimans et al.'s code multiplies by the last layer's weights and leaves its bias out of the Inception Score, as does torch-fidelity;
    the stage `logits` has it. Weights are those of pytorch-fid or torch-fidelity, which are the same. Two conventions of input are in
    use: "tensorflow", the original's and torch-fidelity's, and "pytorch-fid", that code's own resize; figures of the two do not compare.
    """

    published = Published(
        file="pt_inception-2015-12-05-6726825d.pth",
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    )
    logit_count: int

    def __init__(self, convention: str = "tensorflow") -> None:
        super().__init__(blocks.average_inside, blocks.maximum, 1008)
        if convention not in ("tensorflow", "pytorch-fid"):
            raise unknown_name("convention of the FID's input", convention, ("tensorflow", "pytorch-fid"))
        self.convention = convention
        self.name = "fid-inception" if convention == "tensorflow" else "fid-inception-pytorch"
        self.resize = f"{TENSORFLOW if convention == 'tensorflow' else HALF_PIXEL} to {SIDE}x{SIDE}"

    def prepare(self, images: Tensor) -> Tensor:
        """[B, 3, H, W], uint8 or float in [-1, 1] -> [B, 3, 299, 299]; the original scales by 128, pytorch-fid by 127.5."""
        if self.convention == "pytorch-fid":
            return half_pixel_resized(to_float(images), SIDE)
        return (tensorflow_resized(to_levels(images), SIDE) - 128.0) / 128.0

    def stages(self) -> list[Stage]:
        assert self.fc is not None
        weight, bias = self.fc.weight, self.fc.bias
        return [*super().stages(), ("logits_unbiased", lambda x: F.linear(x, weight)), ("logits", lambda x: x + bias)]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        found = self.taps(self.prepare(images), ("pool", "logits_unbiased"))
        return found["pool"], found["logits_unbiased"]


class TorchvisionInception(_Inception):
    """torchvision's Inception-v3: features [B, 2048] and 1,000 ImageNet logits.

    Its input is [-1, 1], not ImageNet-normalised: torchvision's own `transform_input` maps one to the other for these weights. For DAMSM
    (AttnGAN) the stage `Mixed_6e` gives the regions [B, 768, 17, 17] and `pool` the global feature [B, 2048]. Weights of the auxiliary
    head are accepted in a file and left out.
    """

    published = Published(
        file="inception_v3_google-0cc3c7bd.pth",
        url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        sha256="0cc3c7bd",
    )

    def __init__(self, *, classifier: bool = True, align_corners: bool = False) -> None:
        """classifier: whether to have the last layer. align_corners: resize as PyTorch before 0.4 did, when AttnGAN's weights were made."""
        super().__init__(blocks.average, blocks.average, 1000 if classifier else None)
        self.unused = ("AuxLogits.",) if classifier else ("AuxLogits.", "fc.")
        self.align_corners = align_corners
        self.name = "tv-inception"
        self.resize = f"{CORNERS if align_corners else HALF_PIXEL} to {SIDE}x{SIDE}"

    def prepare(self, images: Tensor) -> Tensor:
        """[B, 3, H, W], uint8 or float in [-1, 1] -> [B, 3, 299, 299] in [-1, 1]."""
        return half_pixel_resized(to_float(images), SIDE, align_corners=self.align_corners)

    def stages(self) -> list[Stage]:
        return super().stages() if self.fc is None else [*super().stages(), ("logits", self.fc)]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        found = self.taps(self.prepare(images), ("pool",) if self.fc is None else ("pool", "logits"))
        return found["pool"], found.get("logits")


def _spatial_mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))
