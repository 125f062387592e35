"""The importer of MirrorGAN's files: what it makes and refuses. Numbers are for tests/parity."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from limner.cli.import_ import main
from limner.core.errors import CheckpointError, LimnerError
from limner.core.trainable import Conditions
from limner.interop.mirrorgan import read_decoder, read_mirrorgan
from limner.methods.mirrorgan import CaptionDecoder, MirrorGAN, MirrorGANSettings
from limner.model import load

WORDS = ["a", "bird", "sings"]
SENTENCE = 4


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A generator, a discriminator, a text encoder and captions in the authors' form, as old files have them."""
    torch.manual_seed(0)
    settings = MirrorGANSettings(
        branches=2, caption_weight=0.0, noise_width=3, condition_width=2, generator_channels=2, discriminator_channels=2
    )
    method = MirrorGAN(settings, Conditions(resolution=128, sentence_width=SENTENCE, word_width=SENTENCE))
    renamed = {}
    for key, value in method.generator.state_dict().items():
        part, *rest = key.split(".")
        if part == "augmentation":
            key = f"ca_net.fc.{rest[-1]}"
        elif part == "first":
            key = "h_net1." + (f"fc.{'.'.join(rest[1:])}" if rest[0] == "linear" else f"upsample{int(rest[1]) + 1}.{'.'.join(rest[2:])}")
        elif part == "attention":
            key, value = "h_net2.att.conv_context.weight", value[:, :, None, None]
        elif part == "glimpses":
            key = "h_net2.att." + ".".join(rest[1:]).replace("compare", "conv_sentence_vis")
        elif part == "joins":
            key = "h_net2.conv.weight"
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


def run(files: Path, *more: str) -> int:
    return main(["mirrorgan", *(str(files / name) for name in ("netG.pth", "netD0.pth")), "--out", str(files / "model"), *more])


def test_a_model_that_paints(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, "--text", str(files / "text.pth"), "--words", str(files / "captions.pickle"), "--mixed-padding") == 0
    assert "limner generate" in capsys.readouterr().out
    model = load(files / "model")
    assert isinstance(model.method, MirrorGAN) and model.method.settings.mixed_padding and model.method.captioner is None
    assert model.method.settings.discriminator_channels == 2
    stored = torch.load(files / "netG.pth", weights_only=True)["module.h_net2.att.linear.weight"]
    assert torch.equal(model.method.generator.glimpses[0].linear.weight, stored)
    assert [stage.shape[1] for stage in model.stages(["a bird sings"], [0])] == [64, 128]


def test_what_is_refused(files: Path) -> None:
    with pytest.raises(LimnerError, match="belong together: give --text and --words"):
        run(files, "--text", str(files / "text.pth"))
    decoder = CaptionDecoder(5, 3, 2).state_dict()
    names = {"embedding.": "embed.", "reader.": "lstm.", "to_words.": "linear."}
    theirs = {key.replace(ours, names[ours]): value for key, value in decoder.items() for ours in names if key.startswith(ours)}
    torch.save(theirs, files / "rnn_decoder.ckpt")
    assert torch.equal(read_decoder(files / "rnn_decoder.ckpt").to_words.weight, decoder["to_words.weight"])
    state = torch.load(files / "netG.pth", weights_only=True)
    plain = {key: value for key, value in state.items() if not any(part in key for part in ("h_net2.conv", "linear", "sentence_vis"))}
    torch.save(plain, files / "attngan.pth")
    torch.save({key: value for key, value in state.items() if "img_net" not in key}, files / "cut.pth")
    for given, words in (
        (["rnn_decoder.ckpt"], "by a ResNet-152 that Limner has not: leave it out"),
        (["netD0.pth"], "no generator among the files"),
        (["text.pth"], "text.pth is not a network of MirrorGAN"),
        (["attngan.pth"], "no attention to the sentence, as AttnGAN's generators"),
        (["cut.pth"], "it lacks 'pictures.0.0.weight'"),
    ):
        with pytest.raises(LimnerError, match=words) as caught:
            read_mirrorgan([files / name for name in given])
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="no decoder of MirrorGAN"):
        read_decoder(files / "netG.pth")
