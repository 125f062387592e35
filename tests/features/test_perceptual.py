"""Perceptual losses: which stage is compared, at which size, and that the network itself stands still."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.core.errors import SettingsError
from limner.features.garden_judge import load_judge
from limner.features.perceptual import PerceptualLoss
from limner.features.squeezenet import SqueezeNet


def test_it_is_the_squared_difference_of_a_stage_beside_its_square() -> None:
    pictures = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    real = pictures.flip(0).requires_grad_()
    pictures.requires_grad_()
    loss = PerceptualLoss("garden", "layer2").eval().requires_grad_(False)  # as a method's guide is
    trunk = load_judge().trunk[:6]
    value = loss(pictures, real)
    torch.testing.assert_close(value, (trunk(pictures) - trunk(real)).square().sum() / trunk(real).square().sum())
    value.backward()
    assert pictures.grad is not None and pictures.grad.any() and real.grad is None
    assert not any(parameter.requires_grad for parameter in loss.network.parameters()) and not loss.network.training
    assert not loss(real, real).detach()


def test_the_plain_form_is_the_difference_of_pictures_as_they_are() -> None:
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    loss, network = PerceptualLoss("garden", "layer2", plain=True), SqueezeNet().eval()
    loss.network, loss.tap = network, network.tap_names()[0]
    (name, first), *_ = network.stages()
    assert name == loss.tap
    torch.testing.assert_close(loss(pictures, pictures.flip(0)), (first(pictures) - first(pictures.flip(0))).square().mean())


def test_the_judges_last_stage_is_its_features() -> None:
    judge = load_judge()
    pictures = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    last = judge.taps(judge.prepare(pictures), ["embedding"])["embedding"]
    torch.testing.assert_close(last, judge(pictures)[0])


def test_squeezenet_takes_pictures_at_their_own_size() -> None:
    network = SqueezeNet()
    pictures = torch.rand(1, 3, 227, 227, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(network.scaled(pictures), network.prepare(pictures))
    assert network.scaled(pictures[..., :64, :64]).shape == (1, 3, 64, 64)


def test_what_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no stage of the feature network 'garden' called 'layer22': did you mean 'layer2'"):
        PerceptualLoss("garden", "layer22")
    with pytest.raises(SettingsError, match="no weights of the feature network 'vgg19' at .*absent.pth: give an existing file"):
        PerceptualLoss(f"vgg19={tmp_path / 'absent.pth'}", "relu5_4")
    with pytest.raises(SettingsError, match="there is no feature network 'vgg20'"):
        PerceptualLoss("vgg20", "relu5_4")
