"""What the importer of DF-GAN's files refuses, in one line each, and what it makes; that it reads them right is for tests/parity."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from limner import load
from limner.cli.main import main
from limner.core.errors import LimnerError
from limner.core.trainable import Conditions
from limner.interop.df_gan import NAMES, import_df_gan, limner_name
from limner.interop.networks import load_networks
from limner.methods.df_gan import DFGAN, DFGANSettings
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.text.saving import save_encoder

WORDS = ["a", "red", "flower"]


def their_names(method: DFGAN) -> dict[str, dict[str, torch.Tensor]]:
    """The networks under the authors' names, with the 1x1 convolution that every block of their discriminator has."""
    theirs: dict[str, dict[str, torch.Tensor]] = {"netG": {}, "netD": {}, "netC": {}}
    for name, value in method.generator.state_dict().items():
        name = re.sub(r"^first\.", "fc.", re.sub(r"^last\.", "to_rgb.", name))
        name = re.sub(r"^blocks\.(\d+)\.", r"GBlocks.\1.", name)
        name = re.sub(r"\.affines\.(\d+)\.(gamma|beta)\.0\.", r".affine\1.fc_\2.linear1.", name)
        name = re.sub(r"\.affines\.(\d+)\.(gamma|beta)\.2\.", r".affine\1.fc_\2.linear2.", name)
        for ours, their in (("first_fusion", "fuse1"), ("second_fusion", "fuse2"), ("first", "c1"), ("second", "c2"), ("shortcut", "c_sc")):
            name = name.replace(f".{ours}.", f".{their}.")
        theirs["netG"][name] = value
    for name, value in method.discriminator.state_dict().items():
        if name.startswith("joint."):
            theirs["netC"][name.replace("joint.", "joint_conv.")] = value
            continue
        name = re.sub(r"^picture\.(\d+)\.", lambda found: f"DBlocks.{int(found[1]) - 1}." if int(found[1]) else "conv_img.", name)
        theirs["netD"][name.replace(".residual.", ".conv_r.").replace(".shortcut.", ".conv_s.")] = value
    last = max(int(name.split(".")[1]) for name in theirs["netD"] if name.startswith("DBlocks."))
    width = theirs["netD"][f"DBlocks.{last}.conv_r.0.weight"].shape[0]
    theirs["netD"] |= {f"DBlocks.{last}.conv_s.weight": torch.ones(width, width, 1, 1), f"DBlocks.{last}.conv_s.bias": torch.ones(width)}
    return theirs


@pytest.fixture
def method() -> DFGAN:
    torch.manual_seed(0)
    settings = DFGANSettings(noise_width=5, generator_channels=3, discriminator_channels=4)
    return DFGAN(settings, Conditions(resolution=64, sentence_width=8)).eval()


@pytest.fixture
def file(method: DFGAN, tmp_path: Path) -> Path:
    path = tmp_path / "state_epoch_007.pth"
    networks = {name: {f"module.{key}": value for key, value in state.items()} for name, state in their_names(method).items()}
    torch.save({"model": networks, "optimizers": {"optimizer_G": {"state": {}, "param_groups": []}}, "epoch": 7}, path)
    return path


def encoder(width: int = 8) -> LSTMEncoder:
    return LSTMEncoder(Vocabulary(WORDS, 18), LSTMSettings(word_embedding=3, width=width))


def test_networks_keep_sizes_and_weights(method: DFGAN, file: Path, tmp_path: Path) -> None:
    import_df_gan(file, tmp_path / "out")
    ours, players = load_networks(tmp_path / "out")
    assert players == ["generator", "discriminator"] and (ours.settings, ours.conditions) == (method.settings, method.conditions)
    assert all(torch.equal(value, method.state_dict()[name]) for name, value in ours.state_dict().items())


def test_a_generator_alone_paints(method: DFGAN, tmp_path: Path) -> None:
    torch.save({"netG": their_names(method)["netG"], "epoch": 7}, tmp_path / "netG.pth")
    import_df_gan(tmp_path / "netG.pth", tmp_path / "out", encoder())
    generator = load(tmp_path / "out").method.state_dict()
    own = {name: value for name, value in method.state_dict().items() if name.startswith("generator.")}
    assert own and all(torch.equal(generator[name], value) for name, value in own.items())
    import_df_gan(tmp_path / "netG.pth", tmp_path / "networks")
    assert load_networks(tmp_path / "networks")[1] == ["generator"]


def test_the_command_makes_a_model_that_paints(method: DFGAN, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_encoder(encoder(), tmp_path / "encoder")
    out = tmp_path / "model"
    assert main(["import", "df-gan", str(file), "--encoder", str(tmp_path / "encoder"), "--out", str(out)]) == 0
    assert f"limner generate {out}" in capsys.readouterr().out
    model = load(out)
    (picture,) = model.generate("a red flower", seed=3)
    assert picture.size == (64, 64) and "tobran/DF-GAN" in (out / "README.md").read_text()


def test_what_is_refused(method: DFGAN, file: Path, tmp_path: Path) -> None:
    def changed(name: str, **networks: Any) -> Path:
        theirs = their_names(method)
        for network, change in networks.items():
            change(theirs[network])
        torch.save({"model": theirs}, tmp_path / name)
        return tmp_path / name

    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no checkpoint")
    plain = tmp_path / "netG.pth"
    torch.save({"conv.weight": torch.ones(2)}, plain)
    out = tmp_path / "out"
    cases: list[tuple[tuple[Any, ...], str]] = [
        ((broken, out), "broken.pth is cut short, no PyTorch file, or holds more than tensors"),
        ((tmp_path / "none.pth", out), "there is no file"),
        ((plain, out), r"netG.pth is no DF-GAN of the authors' CVPR code \(no weights 'fc.weight'"),
        (
            (changed("a.pth", netG=lambda state: state.pop("GBlocks.1.c1.bias")), out),
            "a.pth is no DF-GAN.*generator: .*blocks.1.first.bias",
        ),
        ((changed("b.pth", netD=lambda state: state.pop("conv_img.weight")), out), "no weights 'conv_img.weight'"),
        ((file, out, encoder(10)), "10 numbers, the generator wants 8"),
    ]
    for arguments, words in cases:
        with pytest.raises(LimnerError, match=words) as caught:
            import_df_gan(*arguments)
        assert "\n" not in str(caught.value) and not out.exists()


def test_names_are_unlike_ours_everywhere(method: DFGAN) -> None:
    """No name of the authors passes through unchanged, so that a file of Limner's own is not taken for one of theirs."""
    theirs = their_names(method)
    for player, networks in (("generator", ["netG"]), ("discriminator", ["netD", "netC"])):
        assert player in NAMES and all(limner_name(player, name) != name for network in networks for name in theirs[network])
