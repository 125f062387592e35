"""What the importer of StackGAN-Pytorch's files refuses, in one line each; that it reads them right is for tests/parity."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from limner.core.errors import LimnerError
from limner.core.trainable import Conditions
from limner.interop.networks import load_networks
from limner.interop.stackgan import import_stackgan
from limner.methods.stackgan import StackGAN, StackGANSettings
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

SETTINGS = StackGANSettings(
    factor=2, noise_width=5, condition_width=6, generator_channels=4, discriminator_channels=4, residual_blocks=1, batch_size=4
)
GENERATOR = {"text.linear.": "ca_net.fc.", "start.": "fc.", "picture.": "img.", "reading.": "encoder.", "joint.": "hr_joint."} | {
    f"up.{level}.": f"upsample{level + 1}." for level in range(6)
}
DISCRIMINATOR = {
    "picture.": "encode_img.",
    "matching.joint.": "get_cond_logits.outlogits.",
    "matching.logits.": "get_cond_logits.outlogits.3.",
    "alone.logits.": "get_uncond_logits.outlogits.0.",
}


def authors(network: nn.Module, names: dict[str, str], prefix: str = "") -> dict[str, torch.Tensor]:
    """A network's tensors under the authors' names."""
    found = {}
    for key, value in network.state_dict().items():
        before = next((before for before in names if key.startswith(before)), "")
        found[prefix + (names[before] + key.removeprefix(before) if before else key.replace(".layers.", ".block."))] = value
    return found


def save(folder: Path, seed: int = 0, resolution: int = 32) -> dict[str, Path]:
    """The four networks of one training as the authors save them, those of Stage-II as DataParallel names them."""
    folder.mkdir()
    torch.manual_seed(seed)
    method = StackGAN(SETTINGS, Conditions(resolution=resolution, sentence_width=7))
    rough = authors(method.generator_1, GENERATOR)
    fine = authors(method.generator_2, GENERATOR) | {f"STAGE1_G.{key}": value for key, value in rough.items()}
    states = {
        "g1": rough,
        "d1": authors(method.discriminator_1, DISCRIMINATOR),
        "g2": {f"module.{key}": value for key, value in fine.items()},
        "d2": {f"module.{key}": value for key, value in authors(method.discriminator_2, DISCRIMINATOR).items()},
    }
    paths = {name: folder / f"{name}.pth" for name in states}
    for name, state in states.items():
        torch.save(state, paths[name])
    return paths


@pytest.mark.parametrize(
    ("names", "players", "side"),
    [
        (["g1"], ["generator-1"], 64),  # with the published factor: nothing says what Stage-II is to make of it
        (["d2"], ["discriminator-2"], 32),
        (["g2"], ["generator-1", "generator-2"], 32),
        (["d1", "d2"], ["discriminator-1", "discriminator-2"], 32),
        (["d2", "g2", "g1", "d1"], ["discriminator-1", "generator-1", "discriminator-2", "generator-2"], 32),
    ],
)
def test_any_subset_is_told_apart_and_keeps_its_sizes(names: list[str], players: list[str], side: int, tmp_path: Path) -> None:
    paths = save(tmp_path / "files")
    import_stackgan([paths[name] for name in names], tmp_path / "out")
    method, held = load_networks(tmp_path / "out")
    assert held == players and method.conditions.resolution == side
    assert method.resolution == (16 if names == ["g1"] else side)
    if len(players) == 4:
        expected = dataclasses.replace(StackGANSettings(), **{key: getattr(SETTINGS, key) for key in dataclasses.asdict(SETTINGS)})
        assert method.settings == dataclasses.replace(expected, batch_size=StackGANSettings().batch_size)


def test_what_is_refused(tmp_path: Path) -> None:
    def encoder(width: int) -> RecurrentEncoder:
        return RecurrentEncoder(WordTokenizer.build(["a red flower"]), RecurrentSettings(sentence_width=width))

    paths, others = save(tmp_path / "files"), save(tmp_path / "others", seed=1)
    large = save(tmp_path / "large", resolution=64)
    broken, other, torn, out = tmp_path / "broken.pth", tmp_path / "other.pth", tmp_path / "torn.pth", tmp_path / "out"
    broken.write_bytes(b"no checkpoint")
    torch.save({"netG.0.weight": torch.zeros(3)}, other)
    state = torch.load(paths["d2"], weights_only=True)
    torch.save({key: value for key, value in state.items() if "encode_img.2" not in key}, torn)
    cases = [
        (([broken], out), "broken.pth is cut short, no PyTorch file, or holds more than tensors"),
        (([other], out), "not a network of StackGAN-Pytorch"),
        (([torn], out), "the discriminator-2 cannot be of the authors' StackGAN"),
        (([], out), "no file to import"),
        (([paths["g1"], others["g1"]], out), "a second generator-1"),
        (([paths["g2"], others["g1"]], out), "not the one that the Stage-II generator was trained on"),
        (([paths["g2"], large["d2"]], out), "of different sizes"),
        (([paths["d1"]], out, encoder(7)), "a model folder holds what paints"),
        (([paths["g2"]], out, encoder(8)), "8 numbers, the generator wants 7"),
    ]
    for arguments, words in cases:
        with pytest.raises(LimnerError, match=words) as caught:
            import_stackgan(*arguments)
        assert "\n" not in str(caught.value) and not out.exists()
