"""Doubling the side of feature maps."""

import pytest
import torch
import torch.nn.functional as F

from limner.nn.fast.upsampling import DoublingConvolution, doubled


@pytest.mark.parametrize("bias", [True, False])
def test_a_doubling_convolution_is_a_convolution_of_doubled_maps(bias: bool) -> None:
    torch.manual_seed(0)
    layer = DoublingConvolution(5, 7, bias=bias).double()
    x = torch.randn(2, 5, 3, 6, dtype=torch.float64, requires_grad=True)
    ours, plain = layer(x), F.conv2d(doubled(x), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    wanted = [x, *layer.parameters()]
    for mine, theirs in zip(*(torch.autograd.grad(y.pow(3).sum(), wanted) for y in (ours, plain)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-9)


def test_kept_sums_follow_the_weights() -> None:
    layer, x = DoublingConvolution(6, 4), torch.rand(1, 6, 4, 4)
    adam = torch.optim.Adam(layer.parameters(), fused=True)

    def trained() -> None:
        layer.train()
        layer(x).square().sum().backward()
        adam.step()
        with torch.no_grad():
            torch.testing.assert_close(layer(x), F.conv2d(doubled(x), layer.weight, layer.bias, padding=1))
        layer.eval()

    def changed() -> None:
        with torch.no_grad():
            layer.weight.copy_(torch.rand(4, 6, 3, 3))

    other = DoublingConvolution(6, 4).state_dict()
    for change in (layer.eval, trained, changed, trained, lambda: layer.load_state_dict(other), layer.double):
        change()
        x = x.to(layer.weight.dtype)
        for _ in range(2):
            with torch.inference_mode():
                torch.testing.assert_close(layer(x), F.conv2d(doubled(x), layer.weight, layer.bias, padding=1))
