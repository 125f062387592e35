"""The importer of AttnGAN's files and the reader of its captions.pickle: what they make and refuse. Numbers are for tests/parity."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from limner.cli.import_ import main
from limner.core.errors import CheckpointError, DataError, LimnerError
from limner.core.trainable import Conditions
from limner.interop.attngan import read_attngan
from limner.interop.captions_pickle import read_captions_pickle
from limner.methods.attngan import AttnGAN, AttnGANSettings
from limner.model import load

WORDS = ["a", "bird", "sings"]
SENTENCE = 4


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A generator, a discriminator, a text encoder and captions in the authors' form, as old files have them."""
    torch.manual_seed(0)
    settings = AttnGANSettings(branches=2, noise_width=3, condition_width=2, generator_channels=2, discriminator_channels=2)
    method = AttnGAN(settings, Conditions(resolution=128, sentence_width=SENTENCE, word_width=SENTENCE))
    renamed = {}
    for key, value in method.generator.state_dict().items():
        part, *rest = key.split(".")
        if part == "augmentation":
            key = f"ca_net.fc.{rest[-1]}"
        elif part == "first":
            key = "h_net1." + (f"fc.{'.'.join(rest[1:])}" if rest[0] == "linear" else f"upsample{int(rest[1]) + 1}.{'.'.join(rest[2:])}")
        elif part == "attention":
            key, value = "h_net2.att.conv_context.weight", value[:, :, None, None]
        elif part == "later":
            key = "h_net2." + ".".join(rest[1:]).replace("residuals", "residual").replace("layers", "block").replace(
                "upsampling", "upsample"
            )
        else:
            key = f"img_net{int(rest[0]) + 1}.img.{'.'.join(rest[1:])}"
        if not key.endswith("num_batches_tracked"):
            renamed[f"module.{key}"] = value
    torch.save(renamed, tmp_path / "netG.pth")
    judge = method.discriminators[0].state_dict()
    names = {"picture.": "img_code_s16.", "matching.joint.": "COND_DNET.jointConv.", "matching.logits.": "COND_DNET.outlogits.0."}
    names["reality.logits."] = "UNCOND_DNET.outlogits.0."
    for ours, theirs in names.items():
        judge = {theirs + key.removeprefix(ours) if key.startswith(ours) else key: value for key, value in judge.items()}
    torch.save(judge, tmp_path / "netD0.pth")
    lstm = torch.nn.LSTM(5, SENTENCE // 2, batch_first=True, bidirectional=True)
    text = {"encoder.weight": torch.rand(len(WORDS) + 1, 5), **{f"rnn.{name}": value for name, value in lstm.state_dict().items()}}
    torch.save(text, tmp_path / "text.pth")
    write_captions(tmp_path / "captions.pickle", WORDS)
    return tmp_path


def write_captions(path: Path, words: list[str]) -> None:
    named = dict(enumerate(["<end>", *words]))
    path.write_bytes(pickle.dumps([[[1, 2]], [[2, 3]], named, {word: number for number, word in named.items()}], protocol=2))


def run(files: Path, *more: str, out: str = "model") -> int:
    return main(["attngan", *(str(files / name) for name in ("netG.pth", "netD0.pth")), "--out", str(files / out), *more])


def test_a_model_that_paints(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "--text", str(files / "text.pth"), "--words", str(files / "captions.pickle"), "--mixed-padding") == 0
    assert "limner generate" in capsys.readouterr().out
    model = load(files / "model")
    assert isinstance(model.method, AttnGAN) and model.method.settings.mixed_padding and model.resolution == 128
    assert model.method.settings.discriminator_channels == 2 and model.unknown_words("a bird swims") == ["swims"]
    stages = model.stages(["a bird sings"], [0])
    assert [stage.shape[1] for stage in stages] == [64, 128]
    assert (files / "model" / "README.md").read_text().count("sha256") == 2


def test_networks_alone(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files) == 0
    assert "needs --text and --words" in capsys.readouterr().out
    method, players = read_attngan([files / "netD0.pth", files / "netG.pth"])
    assert players == ["generator", "discriminator-64"] and not method.settings.mixed_padding
    stored = torch.load(files / "netD0.pth", weights_only=True)
    assert torch.equal(method.discriminators[0].state_dict()["picture.8.weight"], stored["img_code_s16.8.weight"])


def test_what_is_refused(files: Path) -> None:
    def refused(words: str, *more: str) -> None:
        with pytest.raises(LimnerError, match=words) as caught:
            run(files, *more)
        assert "\n" not in str(caught.value) and not (files / "model").exists()

    text, captions = ["--text", str(files / "text.pth")], files / "captions.pickle"
    refused("belong together: give --text and --words", *text)
    write_captions(captions, [*WORDS, "loudly"])
    refused("knows 3 words besides padding and the list has 4", *text, "--words", str(captions))
    with pytest.raises(LimnerError, match="no generator among the files"):
        read_attngan([files / "netD0.pth"])
    with pytest.raises(LimnerError, match="is a second discriminator of side 64"):
        read_attngan([files / "netD0.pth", files / "netD0.pth", files / "netG.pth"])
    with pytest.raises(CheckpointError, match="text.pth is not a network of AttnGAN"):
        read_attngan([files / "text.pth"])
    state = torch.load(files / "netG.pth", weights_only=True)
    for changed, words in (
        ({key: value for key, value in state.items() if "upsample3" not in key}, "not AttnGAN's"),
        (state | {"module.h_net2.upsample.1.weight": torch.zeros(4, 5, 3, 3)}, "size mismatch for later.0.upsampling.1.weight"),
        (state | {"module.extra": torch.zeros(1)}, "'extra' in .* is of not a network of AttnGAN"),
        ({key: value for key, value in state.items() if "img_net" not in key}, "it lacks 'pictures.0.0.weight'"),
    ):
        torch.save(changed, files / "changed.pth")
        with pytest.raises(CheckpointError, match=words) as caught:
            read_attngan([files / "changed.pth"])
        assert "\n" not in str(caught.value)


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


def test_captions_pickle(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = files / "captions.pickle"
    found = read_captions_pickle(path)
    assert (found.words, found.train, found.test) == (WORDS, [[1, 2]], [[2, 3]])
    # As Python 2 wrote text: byte strings, which need an encoding to be read.
    path.write_bytes(b"\x80\x02]q\x00(]q\x01]q\x02K\x01a]q\x03}q\x04(K\x00U\x05<end>K\x01U\x04birdu}q\x05(U\x05<end>K\x00U\x04birdK\x01ue.")
    with pytest.raises(CheckpointError):
        read_captions_pickle(path)  # its first list holds a number
    path.write_bytes(b"\x80\x02](]]K\x01aa]}(K\x00U\x05<end>K\x01U\x04birdu}(U\x05<end>K\x00U\x04birdK\x01ue.")
    assert read_captions_pickle(path).words == ["bird"]
    for content, words in (
        ([[], [], {0: "<end>", 2: "bird"}, {"<end>": 0, "bird": 2}], "are not numbered from 0 to 1"),
        ([[], [], {0: "<end>", 1: "bird"}, {"<end>": 0, "bird": 2}], "contradict each other"),
        ([[], [], {0: "<end>", 1: "bird"}], "does not hold two lists"),
        ([Harm(), [], {}, {}], "holds more than captions"),
    ):
        path.write_bytes(pickle.dumps(content, protocol=2))
        with pytest.raises(CheckpointError, match=words) as caught:
            read_captions_pickle(path)
        assert "\n" not in str(caught.value) and capsys.readouterr().out == ""
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="cut short"):
        read_captions_pickle(path)
    with pytest.raises(DataError, match="cannot read"):
        read_captions_pickle(files / "none.pickle")


@pytest.mark.parametrize("change", [torch.flatten, lambda value: value.new_zeros(()), lambda value: value[None]])
def test_tensors_of_another_shape_are_refused(files: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    content = torch.load(files / "netG.pth")
    name = "module.h_net2.att.conv_context.weight"
    torch.save({**content, name: change(content[name])}, files / "netG.pth")
    with pytest.raises(CheckpointError, match="the generator is not AttnGAN's"):
        read_attngan([files / "netG.pth"])
