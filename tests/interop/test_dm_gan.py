"""The importer of DM-GAN's files: what it makes and refuses. Numbers are for tests/parity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.cli.import_ import main
from limner.core.errors import CheckpointError, LimnerError
from limner.core.trainable import Conditions
from limner.interop.dm_gan import read_dm_gan
from limner.methods.dm_gan import DMGAN, DMGANSettings
from limner.model import load

WORDS = ["a", "bird", "sings"]
SENTENCE = 4
MEMORY = {"gate_words": "A", "gate_map": "B", "write_words": "M_w.0", "write_map": "M_r.0", "key": "key.0", "value": "value.0"}
WRAPPED = {"weight": "weight_bar", "bias": "bias", "u": "weight_u", "v": "weight_v"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A generator, a discriminator, a text encoder and its words in the authors' form, as old files have them."""
    torch.manual_seed(0)
    settings = DMGANSettings(
        branches=2, noise_width=3, condition_width=2, generator_channels=2, discriminator_channels=2, residual_blocks=1
    )
    method = DMGAN(settings, Conditions(resolution=128, sentence_width=SENTENCE, word_width=SENTENCE))
    theirs = {generator_name(key): value for key, value in method.generator.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(
        {key: value[..., None] if "M_" in key and value.dim() == 2 else value for key, value in theirs.items()}, tmp_path / "netG.pth"
    )
    torch.save({judge_name(key): value for key, value in method.discriminators[0].state_dict().items()}, tmp_path / "netD0.pth")
    lstm = torch.nn.LSTM(5, SENTENCE // 2, batch_first=True, bidirectional=True)
    text = {"encoder.weight": torch.rand(len(WORDS) + 1, 5), **{f"rnn.{name}": value for name, value in lstm.state_dict().items()}}
    torch.save(text, tmp_path / "text.pth")
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    return tmp_path


def generator_name(key: str) -> str:
    part, *rest = key.split(".")
    if part == "augmentation":
        return f"ca_net.fc.{rest[-1]}"
    if part == "first":
        return "h_net1." + (f"fc.{'.'.join(rest[1:])}" if rest[0] == "linear" else f"upsample{int(rest[1]) + 1}.{'.'.join(rest[2:])}")
    if part == "memories":
        return f"h_net2.{'response_gate.0' if rest[1] == 'response' else MEMORY[rest[1]]}.{rest[2]}"
    if part == "later":
        return "h_net2." + ".".join(rest[1:]).replace("residuals", "residual").replace("layers", "block").replace("upsampling", "upsample")
    return f"img_net{int(rest[0]) + 1}.img.{'.'.join(rest[1:])}"


def judge_name(key: str) -> str:
    part, *rest = key.split(".")
    if part == "picture":
        return f"img_code_s16.{rest[0]}.module.{WRAPPED[rest[1]]}"
    if rest[0] == "joint":
        return f"COND_DNET.jointConv.0.module.{WRAPPED[rest[2]]}"
    return f"{'COND' if part == 'matching' else 'UNCOND'}_DNET.outlogits.0.{rest[1]}"


def run(files: Path, *more: str) -> int:
    return main(["dm-gan", *(str(files / name) for name in ("netG.pth", "netD0.pth")), "--out", str(files / "model"), *more])


def test_a_model_that_paints(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "--text", str(files / "text.pth"), "--words", str(files / "words.txt"), "--mixed-padding") == 0
    assert "limner generate" in capsys.readouterr().out
    model = load(files / "model")
    assert isinstance(model.method, DMGAN) and model.method.settings.mixed_padding and model.resolution == 128
    assert model.method.settings.discriminator_channels == 2 and model.method.settings.residual_blocks == 1
    assert [stage.shape[1] for stage in model.stages(["a bird sings"], [0])] == [64, 128]


def test_networks_alone(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files) == 0
    assert "needs --text and --words" in capsys.readouterr().out
    method, players = read_dm_gan([files / "netD0.pth", files / "netG.pth"])
    assert players == ["generator", "discriminator-64"] and not method.settings.mixed_padding
    stored = torch.load(files / "netD0.pth", weights_only=True)
    held = method.discriminators[0].state_dict()
    assert torch.equal(held["picture.6.u"], stored["img_code_s16.6.module.weight_u"])
    assert torch.equal(held["matching.joint.0.weight"], stored["COND_DNET.jointConv.0.module.weight_bar"])


def test_what_is_refused(files: Path) -> None:
    with pytest.raises(LimnerError, match="no generator among the files"):
        read_dm_gan([files / "netD0.pth"])
    with pytest.raises(LimnerError, match="is a second discriminator of side 64"):
        read_dm_gan([files / "netD0.pth", files / "netD0.pth", files / "netG.pth"])
    with pytest.raises(CheckpointError, match="text.pth is not a network of DM-GAN"):
        read_dm_gan([files / "text.pth"])
    judge = torch.load(files / "netD0.pth", weights_only=True)
    plain = {key.replace("module.weight_bar", "weight"): value for key, value in judge.items() if not key.endswith(("_u", "_v"))}
    state = torch.load(files / "netG.pth", weights_only=True)
    for changed, words in (
        (plain, "has no spectral norms"),
        ({key: value for key, value in state.items() if "response_gate" not in key}, "the generator is not DM-GAN's"),
        (state | {"h_net2.upsample.1.weight": torch.zeros(4, 5, 3, 3)}, "size mismatch for later.0.upsampling.1.weight"),
        (state | {"h_net2.att.conv_context.weight": torch.zeros(2, 4, 1, 1)}, "conv_context.weight' in .* is of not a network of DM-GAN"),
        ({key: value for key, value in state.items() if "img_net1" not in key}, "it lacks 'pictures.0.0.weight'"),
    ):
        torch.save(changed, files / "changed.pth")
        with pytest.raises(CheckpointError, match=words) as caught:
            read_dm_gan([files / "changed.pth"])
        assert "\n" not in str(caught.value)
