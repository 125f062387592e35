"""Layers that compute the same as PyTorch's own, and how they save time doing so."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.attentive.attention import WordAttention
from limner.families.stacked import Head, picture_code, upsampling
from limner.families.tree import NextStage
from limner.methods.dm_gan import after_response
from limner.nn.fast import convolution
from limner.nn.fast.convolution import Convolution, PictureConvolution
from limner.nn.fast.layers import _FOLDED, BatchNorm, GatedUnit
from limner.nn.spectral import SpectralConv2d


@pytest.mark.parametrize(("kernel", "stride", "padding", "bias"), [(4, 2, 1, False), (3, 1, 1, True), (5, 3, 0, True)])
def test_a_matrix_product_is_a_convolution(kernel: int, stride: int, padding: int, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, gradients, and gradients of gradients, as penalties need them."""
    torch.manual_seed(0)
    layer = Convolution(3, 5, kernel, stride, padding, bias=bias).double()
    x = torch.randn(2, 3, 8, 11, dtype=torch.float64, requires_grad=True)
    found = []
    for heavy in (0, 10**9):
        monkeypatch.setattr(convolution, "HEAVY", heavy)
        y = layer(x)
        (slope,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        found.append([y, slope, *torch.autograd.grad(slope.square().sum(), [x, layer.weight])])
    monkeypatch.undo()
    assert found[0][0].shape == found[1][0].shape
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [1, 3])
def test_a_picture_s_convolution_is_nine_products(size: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    layer, x = PictureConvolution(7), torch.randn(size, 7, 9, 12).contiguous(memory_format=layout)
    expected = F.conv2d(x, layer.weight, padding=1)
    with torch.inference_mode():
        painted = layer(x)
    assert painted.shape == expected.shape == (size, 3, 9, 12)
    torch.testing.assert_close(painted, expected, rtol=1e-5, atol=1e-5)
    assert layer(x).requires_grad and torch.equal(layer(x), expected)


def test_few_places_and_many_weights_make_a_matrix_product() -> None:
    layer = Convolution(256, 512, 3, padding=1)
    few, many = torch.randn(2, 256, 4, 4), torch.randn(2, 256, 32, 32)
    assert "Convolution" not in graph(layer(few)) and "Convolution" in graph(layer(many))
    torch.testing.assert_close(layer(few), F.conv2d(few, layer.weight, layer.bias, padding=1), rtol=1e-4, atol=1e-5)


def graph(value: Tensor) -> str:
    names, open_nodes = [], [value.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is not None:
            names.append(node.name())
            open_nodes += [following for following, _ in node.next_functions]
    return " ".join(names)


def warmed(layers: nn.Module, *shape: int) -> nn.Module:
    """With batch statistics and gains that are not those of the start."""
    for layer in layers.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.3)
            nn.init.normal_(layer.bias, 0.0, 0.3)
            layer.momentum = 0.7
    layers.train()(3 * torch.randn(*shape) + 1)
    return layers.eval()


@pytest.mark.parametrize(
    ("layers", "channels", "side"),
    [(upsampling(6, 4, gated=True), 6, 16), (upsampling(6, 4), 6, 16), (picture_code(2, 32), 3, 32), (NextStage(6, 6, 1), 6, 16)],
)
def test_normalisation_becomes_part_of_convolutions_where_nothing_is_trained(layers: nn.Module, channels: int, side: int) -> None:
    torch.manual_seed(0)
    warmed(layers, 5, channels, side, side)
    calls = []
    for layer in layers.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(2, channels, side, side)
    with torch.no_grad():
        painted = layers(x)
    folded = len(calls)
    torch.testing.assert_close(painted, layers(x), rtol=1e-4, atol=1e-5)
    assert folded < len(calls) - folded


@pytest.mark.parametrize("gated", [True, False])
def test_what_was_folded_for_painting_follows_its_weights(gated: bool) -> None:
    """Whatever changes them in between: optimisers, training's statistics, files, types, averages."""
    torch.manual_seed(0)
    layers, x = upsampling(6, 4, gated=gated), torch.randn(2, 6, 16, 16)
    warmed(layers, 5, 6, 16, 16)
    other = warmed(upsampling(6, 4, gated=gated), 5, 6, 16, 16)
    weights, theirs = list(layers.parameters()), list(other.parameters())
    changes = (
        lambda: layers,
        lambda: torch.optim.SGD([weights[0].requires_grad_()], lr=1.0).step(lambda: weights[0].square().sum().backward()),
        lambda: torch._foreach_lerp_([weight.detach() for weight in weights], [weight.detach() for weight in theirs], 0.5),
        lambda: layers.train()(5 * x) is layers.eval(),
        lambda: layers.train()(7 * x.contiguous(memory_format=torch.channels_last)) is layers.eval(),
        lambda: layers.bfloat16().float(),
        lambda: layers.load_state_dict(other.state_dict()),
    )
    painted = [torch.zeros(())]
    for change in changes:
        change()
        for _ in range(2):
            with torch.inference_mode():
                painted.append(layers(x))
            torch.testing.assert_close(painted[-1], layers(x), rtol=1e-4, atol=1e-5)
        assert torch.equal(painted[-1], painted[-2])
        assert painted[-1].shape != painted[-3].shape or not torch.equal(painted[-1], painted[-3])
    assert any(layer in _FOLDED for layer in layers)
    assert not any(layer in _FOLDED for layer in layers.bfloat16())  # its tensors may stand where others stood
    layers.float()
    with torch.inference_mode():
        painted.append(layers(x))
        torch.testing.assert_close(copy.deepcopy(layers)(x), painted[-1])
        torch.testing.assert_close(layers(x[:1]), painted[-1][:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("spectral", [True, False])
def test_batches_side_by_side_are_as_one_after_another(mode: bool, normalize: bool, spectral: bool) -> None:
    """Values, gradients, batch statistics and the vectors of spectral normalisation."""
    torch.manual_seed(0)
    layers = picture_code(2, 32, normalize=normalize).train(mode)
    if spectral:
        layers[2] = SpectralConv2d(2, 4, 4, 2, 1).train(mode)
    twin = copy.deepcopy(layers)
    batches = [torch.randn(size, 3, 32, 32) + size for size in (3, 2, 4)]
    together, alone = layers.apart(*batches), [twin(batch) for batch in batches]
    for mine, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    weights = [
        torch.autograd.grad(sum(y.square().sum() * place for place, y in enumerate(ys, start=1)), list(net.parameters()))
        for net, ys in ((layers, together), (twin, alone))
    ]
    for mine, theirs in zip(*weights, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    for (name, mine), theirs in zip(layers.state_dict().items(), twin.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6, msg=name)


def test_heads_judge_batches_side_by_side() -> None:
    torch.manual_seed(0)
    head = Head(4, 3)
    twin = copy.deepcopy(head)
    pairs = [(torch.randn(size, 4, 4, 4), torch.randn(size, 3)) for size in (4, 2, 3)]
    for mine, pair in zip(head.apart(*pairs), pairs, strict=True):
        torch.testing.assert_close(mine, twin(*pair), rtol=1e-4, atol=1e-5)
    assert torch.equal(head.joint[1].num_batches_tracked, twin.joint[1].num_batches_tracked)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_gated_unit_is_pytorchs_with_its_gradient_laid_out_as_its_input(layout: torch.memory_format) -> None:
    x = torch.randn(2, 6, 4, 5, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    slopes = []
    for unit in (GatedUnit(), nn.GLU(dim=1)):
        y = unit(x)
        (first,) = torch.autograd.grad(y.pow(2).sum(), x, create_graph=True)
        slopes.append([y, first, *torch.autograd.grad(first.pow(2).sum(), x)])
    for mine, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(mine, theirs)
    (gradient,) = torch.autograd.grad(GatedUnit()(x).sum(), x)
    assert gradient.is_contiguous(memory_format=layout)
    assert torch.autograd.gradcheck(GatedUnit(), (x,))


@pytest.mark.parametrize("residuals", [0, 1])
def test_a_map_beside_itself_takes_half_the_arithmetic(residuals: int) -> None:
    """DM-GAN's stage: the layers and names of any other, and its values."""
    torch.manual_seed(0)
    ours, plain = after_response(4, residuals), NextStage(8, 4, residuals)
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in plain.state_dict().items()
    }
    plain.load_state_dict(ours.state_dict())
    half = torch.randn(2, 4, 6, 6)
    x = torch.cat([half, half], dim=1)
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 8, 160, 160)])
def test_batch_statistics_are_exact_with_channels_last(size: tuple[int, ...]) -> None:
    """Values, gradients and running statistics, against float64; and gradients of gradients."""
    torch.manual_seed(0)
    ours = BatchNorm(size[1])
    nn.init.normal_(ours.weight, 1.0, 0.3)
    exact = copy.deepcopy(ours).double()
    x = (torch.randn(size) * 3 + 20).contiguous(memory_format=torch.channels_last).requires_grad_()
    wide = x.detach().double().contiguous().requires_grad_()
    weights = torch.randn(size)
    y, right = ours(x), exact(wide)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y.double(), right, rtol=0, atol=1e-5)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(ours, name).to(getattr(exact, name).dtype), getattr(exact, name), rtol=1e-6, atol=0)
    slopes = []
    for value, given, layer in ((y, x, ours), (right, wide, exact)):
        first = torch.autograd.grad((value * weights).sum(), [given, *layer.parameters()], create_graph=True)
        slopes.append([*first, *torch.autograd.grad((first[0] * weights).sum(), given)])
    for mine, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-4 * theirs.abs().max().item())


@pytest.mark.parametrize("mode", [True, False])
def test_a_stage_computes_the_same_in_both_layouts(mode: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its gradients: a tree's stage with words beside its map, from maps channels first and last."""
    torch.manual_seed(0)
    stage, attention = NextStage(8, 4, 1).train(mode), WordAttention(6, 4)
    words, mask = torch.randn(2, 5, 6), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    maps, weights = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 32, 32)
    found = []
    for last in (True, False):
        if not last:
            monkeypatch.setattr("limner.families.tree.for_convolutions", lambda x: x)
            monkeypatch.setattr("limner.nn.fast.upsampling.for_convolutions", lambda x: x)
        hidden = maps.clone(memory_format=torch.channels_last if last else torch.contiguous_format).requires_grad_()
        context, seen = attention(hidden, words, mask)
        alone, _ = attention(hidden[:1], words[:1], mask[:1])
        assert all(value.stride()[1:] == (1, 64, 4) and value.stride(0) == 1024 for value in (context, alone))
        y = copy.deepcopy(stage)(torch.cat([hidden, context], dim=1))
        found.append([y, seen, *torch.autograd.grad((y * weights).sum(), hidden)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
