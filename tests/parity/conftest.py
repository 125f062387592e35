"""What parity tests share."""

import pytest
import torch.nn.functional as F

import limner.families.tree
import limner.methods.dm_gan
import limner.nn.fast.layers
import limner.nn.fast.upsampling
from limner.nn.fast.upsampling import DoublingConvolution, doubled


@pytest.fixture
def authors_upsampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps are doubled and then convolved, as in the authors' code: ours rounds otherwise, which single values of a golden set do not bear.

    That the two differ in rounding alone is for tests/nn/test_upsampling.py.
    """
    monkeypatch.setattr(DoublingConvolution, "forward", lambda layer, x: F.conv2d(doubled(x), layer.weight, layer.bias, padding=1))


@pytest.fixture
def authors_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products are added up in the order of the authors' code: maps channels first, normalisation after convolutions and not within them.

    With channels last oneDNN adds a convolution's products one after the other, and 5e-7 of a map goes astray in place of 2e-7, which some
    golden sets do not bear. That layers compute the same either way is for tests/nn/test_layers.py.
    """
    for module in (limner.methods.dm_gan, limner.families.tree, limner.nn.fast.upsampling):
        monkeypatch.setattr(module, "for_convolutions", lambda x: x)
    monkeypatch.setattr(limner.nn.fast.layers, "_normalized", lambda layer, normalization, x: normalization(layer(x)))
