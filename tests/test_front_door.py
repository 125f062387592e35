"""The front door: what `import limner` gives, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import limner
from limner import SettingsError


def test_importing_limner_and_naming_its_methods_loads_no_torch() -> None:
    code = (
        "import sys, limner, limner.core.random, limner.core.settings, limner.core.recipes\n"
        "assert 'gan-cls' in limner.methods.names() and limner.SettingsError\n"
        "sys.exit('torch' in sys.modules or 'lightning_fabric' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_public_name_is_there() -> None:
    for name in limner.__all__:
        assert getattr(limner, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        limner.nonsense  # noqa: B018


def test_created_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (limner.create("gan-cls", resolution=16, preset="cpu", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected), "create disturbed the global generator"
    weights = [torch.cat([value.flatten() for value in method.parameters()]) for method in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_create_takes_the_presets_values_and_lays_settings_over_them() -> None:
    method = limner.create("gan-cls", preset="cpu", generator_channels=4)
    assert method.settings.generator_channels == 4
    assert method.settings.mismatch == "caption"
    assert method.conditions.resolution == 64


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("gan-clss", {}), "did you mean 'gan-cls'"),
        (("gan-cls", {"preset": "cup"}), "did you mean 'cpu'"),
        (("gan-cls", {"nois_width": 3}), "did you mean 'noise_width'"),
        (("gan-cls", {"noise_width": "three"}), "noise_width is wrong: expected int"),
        (("gan-cls", {"resolution": 48}), "power of two"),
    ],
)
def test_create_says_what_is_wrong(arguments: tuple[str, dict[str, object]], hint: str) -> None:
    with pytest.raises(SettingsError, match=hint):
        limner.create(arguments[0], **arguments[1])  # type: ignore[arg-type]
