"""What the importer of BMSG-GAN's files refuses, in one line each, and the prefixes of a GPU's files; that it reads them right is for
tests/parity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from limner.cli.main import main
from limner.core.errors import LimnerError
from limner.core.trainable import Conditions
from limner.interop.msg_gan import import_msg_gan
from limner.interop.networks import load_networks
from limner.methods.msg_gan import MSGGAN, MSGGANSettings
from limner.model import load

OURS = {
    "blocks.0.transposed.": "layers.0.conv_1.",
    "blocks.0.convolution.": "layers.0.conv_2.",
    "last.first.": "final_block.conv_1.",
    "last.second.": "final_block.conv_2.",
    "last.score.": "final_block.conv_3.",
}


def theirs(player: str, name: str) -> str:
    """BMSG-GAN's name of a weight, as a file of a CPU has it."""
    for ours, their in OURS.items():
        if name.startswith(ours):
            return name.replace(ours, their)
    name = re.sub(r"^blocks\.(\d+)\.first\.", r"layers.\1.conv_1.", name)
    name = re.sub(r"^blocks\.(\d+)\.second\.", r"layers.\1.conv_2.", name)
    if player == "generator":
        return name.replace("pictures.", "rgb_converters.")
    name = name.replace("pictures.0.", "final_converter.")
    return re.sub(r"^pictures\.(\d+)\.", lambda found: f"rgb_to_features.{int(found[1]) - 1}.", name)


def of_a_gpu(player: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with `module.`: before a whole generator, and in each of a discriminator's layers."""
    if player == "generator":
        return {f"module.{name}": value for name, value in state.items()}
    return {re.sub(r"^(layers|rgb_to_features)\.(\d+)\.", r"\1.\2.module.", name): value for name, value in state.items()}


def made(depth: int = 4, channels: int = 8) -> MSGGAN:
    torch.manual_seed(0)
    settings = MSGGANSettings(noise_width=channels, generator_channels=channels, discriminator_channels=channels)
    return MSGGAN(settings, Conditions(resolution=4 * 2 ** (depth - 1), sentence_width=0)).eval()


def files_of(method: MSGGAN, folder: Path, gpu: bool = False) -> dict[str, Path]:
    folder.mkdir()
    paths = {}
    for player, stem in (("generator", "GAN_GEN_SHADOW_7"), ("discriminator", "GAN_DIS_7")):
        state = {theirs(player, name): value for name, value in method.players()[player].module.state_dict().items()}
        paths[player] = folder / f"{stem}.pth"
        torch.save(of_a_gpu(player, state) if gpu else state, paths[player])
    return paths


@pytest.mark.parametrize("gpu", [False, True])
def test_files_of_a_cpu_and_of_a_gpu(gpu: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method = made()
    files = files_of(method, tmp_path / "files", gpu)
    assert any(".module." in name for name in torch.load(files["discriminator"], weights_only=True)) == gpu
    assert main(["import", "msg-gan", *map(str, files.values()), "--out", str(tmp_path / "model")]) == 0
    assert "a model that reads no text" in capsys.readouterr().out
    model = load(tmp_path / "model")
    assert model.resolution == 32 and not model.reads_text and model.method.conditions == method.conditions
    own, found = method.generator.state_dict(), model.method.generator.state_dict()
    assert own.keys() == found.keys() and all(torch.equal(own[name], found[name]) for name in own)
    assert main(["generate", str(tmp_path / "model"), "-n", "2", "--out", str(tmp_path / "pictures")]) == 0
    assert import_msg_gan([files["discriminator"]], tmp_path / "networks") == "networks"
    judge, players = load_networks(tmp_path / "networks")
    assert isinstance(judge, MSGGAN) and players == ["discriminator"]
    kept = judge.discriminator.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in method.discriminator.state_dict().items())


def test_what_is_refused(tmp_path: Path) -> None:
    files, deeper = files_of(made(), tmp_path / "files"), files_of(made(depth=5), tmp_path / "deeper")
    generator, out, optimizer, odd = files["generator"], tmp_path / "out", tmp_path / "GAN_GEN_OPTIM_7.pth", tmp_path / "odd.pth"
    torch.save({"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.003}]}, optimizer)
    state = torch.load(generator, weights_only=True)
    torch.save({name: value[..., :1] if name == "layers.2.conv_1.weight" else value for name, value in state.items()}, odd)
    cases = [
        ([optimizer], "not a network of BMSG-GAN|holds no tensors"),
        ([generator, deeper["generator"]], "GAN_GEN_SHADOW_7.pth is a second generator"),
        ([generator, deeper["discriminator"]], "different numbers of scales"),
        ([odd], "the generator is not BMSG-GAN's"),
        ([], "no file to import"),
    ]
    for paths, words in cases:
        with pytest.raises(LimnerError, match=words) as caught:
            import_msg_gan(paths, out)
        assert "\n" not in str(caught.value) and not out.exists()
