"""The importer of ControlGAN's files: what it makes, what it leaves out and what it refuses. Numbers are for tests/parity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from limner.cli.import_ import main
from limner.core.errors import CheckpointError, LimnerError
from limner.core.trainable import Conditions
from limner.interop.attngan import read_attngan
from limner.interop.controlgan import read_controlgan
from limner.methods.controlgan import ControlGAN, ControlGANSettings
from limner.model import load

WORDS = ["a", "bird", "sings"]
SENTENCE = 4
THEIRS = [
    (r"augmentation\.linear\.(.+)", r"ca_net.fc.\1"),
    (r"first\.linear\.(.+)", r"h_net1.fc.\1"),
    (r"first\.layers\.(\d)\.(.+)", r"h_net1.upsample{\1+1}.\2"),
    (r"spatial\.(\d)\.project\.weight", r"h_net{\1+2}.att.conv_context.weight"),
    (r"channel\.(\d)\.project\.weight", r"h_net{\1+2}.channel_att.conv_context{\1+2}.weight"),
    (r"later\.(\d)\.residuals\.(\d)\.layers\.(.+)", r"h_net{\1+2}.residual.\2.block.\3"),
    (r"later\.(\d)\.upsampling\.(.+)", r"h_net{\1+2}.upsample.\2"),
    (r"pictures\.(\d)\.(.+)", r"img_net{\1+1}.img.\2"),
]


def renamed(key: str) -> str:
    for ours, theirs in THEIRS:
        if found := re.fullmatch(ours, key):
            return re.sub(r"\{(\d)\+(\d)\}", lambda sum: str(int(sum[1]) + int(sum[2])), found.expand(theirs))
    raise AssertionError(key)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A generator of two scales, a discriminator and a text encoder in the authors' form."""
    torch.manual_seed(0)
    settings = ControlGANSettings(branches=2, noise_width=3, condition_width=2, generator_channels=2, discriminator_channels=2)
    method = ControlGAN(settings, Conditions(resolution=128, sentence_width=SENTENCE, word_width=SENTENCE))
    state = {renamed(key): value for key, value in method.generator.state_dict().items()}
    state = {key: value[:, :, None, None] if "conv_context" in key else value for key, value in state.items()}
    for part, number, places in (("att", 2, 64), ("att", 3, 128), ("channel_att", 3, 128)):
        state[f"h_net2.{part}.conv_context{number}.weight"] = torch.rand(places**2, SENTENCE, 1, 1)
    torch.save(state, tmp_path / "netG.pth")
    judge = {key: value for key, value in method.discriminators[0].state_dict().items() if not key.startswith("words.")}
    names = {"picture.": "img_code_s16.", "matching.joint.": "COND_DNET.jointConv.", "matching.logits.": "COND_DNET.outlogits.0."}
    names["reality.logits."] = "UNCOND_DNET.outlogits.0."
    for ours, theirs in names.items():
        judge = {theirs + key.removeprefix(ours) if key.startswith(ours) else key: value for key, value in judge.items()}
    torch.save(judge, tmp_path / "netD0.pth")
    lstm = torch.nn.LSTM(5, SENTENCE // 2, batch_first=True, bidirectional=True)
    text = {"encoder.weight": torch.rand(len(WORDS) + 1, 5), **{f"rnn.{name}": value for name, value in lstm.state_dict().items()}}
    torch.save(text, tmp_path / "text.pth")
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    return tmp_path


def run(files: Path, *more: str) -> int:
    return main(["controlgan", *(str(files / name) for name in ("netG.pth", "netD0.pth")), "--out", str(files / "model"), *more])


def test_a_model_that_paints(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "--text", str(files / "text.pth"), "--words", str(files / "words.txt"), "--mixed-padding") == 0
    assert "limner generate" in capsys.readouterr().out
    model = load(files / "model")
    assert isinstance(model.method, ControlGAN) and model.resolution == 128
    settings = model.method.settings
    assert settings.mixed_padding and settings.padded_channels and settings.word_discriminator == "none"
    assert [stage.shape[1] for stage in model.stages(["a bird sings"], [0])] == [64, 128]


def test_weights_that_are_never_called_stay_in_the_file(files: Path) -> None:
    method, players = read_controlgan([files / "netD0.pth", files / "netG.pth"])
    assert players == ["generator", "discriminator-64"]
    assert not method.settings.mixed_padding and not method.settings.padded_channels
    stored = torch.load(files / "netG.pth", weights_only=True)
    assert torch.equal(method.generator.channel[0].project.weight, stored["h_net2.channel_att.conv_context2.weight"].flatten(1))  # type: ignore[union-attr, arg-type]
    unused = sum(
        stored[f"h_net2.{name}.weight"].numel() for name in ("att.conv_context2", "att.conv_context3", "channel_att.conv_context3")
    )
    own = sum(value.numel() for value in method.generator.state_dict().values())
    assert unused == (2 * 128**2 + 64**2) * SENTENCE and own + unused == sum(value.numel() for value in stored.values())


def test_what_is_refused(files: Path) -> None:
    with pytest.raises(LimnerError, match="belong together: give --text and --words"):
        run(files, "--text", str(files / "text.pth"))
    assert not (files / "model").exists()
    with pytest.raises(CheckpointError, match="text.pth is not a network of ControlGAN"):
        read_controlgan([files / "text.pth"])
    with pytest.raises(CheckpointError, match="is of not a network of AttnGAN"):
        read_attngan([files / "netG.pth"])
    state = torch.load(files / "netG.pth", weights_only=True)
    for changed, words in (
        ({key: value for key, value in state.items() if "channel_att" not in key}, "no channel attention: .* limner import attngan"),
        ({key: value for key, value in state.items() if "img_net1" not in key}, "lacks|not ControlGAN's"),
        ({key: value for key, value in state.items() if "upsample3" not in key}, "not ControlGAN's"),
        (state | {"extra": torch.zeros(1)}, "'extra' in .* is of not a network of ControlGAN"),
    ):
        torch.save(changed, files / "changed.pth")
        with pytest.raises(CheckpointError, match=words) as caught:
            read_controlgan([files / "changed.pth"])
        assert "\n" not in str(caught.value)
