"""Initial weights that several papers share."""

from __future__ import annotations

from torch import nn

from limner.core.weights import are_loaded_next


def dcgan_initialization(module: nn.Module) -> None:
    """Radford et al. (ICLR 2016): convolutions N(0, 0.02), batch-norm scales N(1, 0.02) and shifts 0. For `Module.apply`."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def normal_initialization(module: nn.Module) -> None:
    """As `dcgan_initialization`, and linear layers N(0, 0.02) with biases 0, as in StackGAN's programs. For `Module.apply`."""
    dcgan_initialization(module)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def he_initialization(module: nn.Module) -> None:
    """He et al. (ICCV 2015) for convolutions before a LeakyReLU of slope 0.2, with biases 0. For `Module.apply`."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, 0.2)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def orthogonal_initialization(module: nn.Module) -> None:
    """Saxe et al. (ICLR 2014) as StackGAN++ has it: orthogonal matrices, biases of linear layers 0, batch-norm scales N(1, 0.02)."""
    if are_loaded_next():
        return
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.orthogonal_(module.weight)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
