"""Every importer takes weights wrapped as forks wrap them: one tolerance for generators, discriminators, encoders and vocabularies."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from limner.cli.main import main
from limner.core.errors import CheckpointError, DataError
from limner.core.trainable import Conditions
from limner.features.inception import TorchvisionInception
from limner.interop.captions_pickle import read_vocabulary
from limner.interop.char_cnn_rnn import port_name
from limner.interop.dcgan_cls import PREFIXES
from limner.methods.dcgan_cls import DCGANCLS, DCGANCLSSettings
from limner.text.char_cnn_rnn import CharCnnRnn, CharCnnRnnSettings

State = dict[str, Tensor]
WORDS = ["a", "bird", "sings"]


def moduled(state: State) -> State:
    return {f"module.{name}": value for name, value in state.items()}


WRAPPINGS: dict[str, Callable[[State], object]] = {
    "module": moduled,
    "netG": lambda state: {"netG": state},
    "training": lambda state: {"state_dict": moduled(state), "optimizer": {"state": {0: {"step": torch.zeros(1)}}}, "epoch": 7},
    "nested": lambda state: {"generator": {"state_dict": state}, "other": {"x": torch.zeros(2)}},
}


def text_encoder() -> State:
    lstm = torch.nn.LSTM(5, 4, batch_first=True, bidirectional=True)
    return {"encoder.weight": torch.rand(4, 5), **{f"rnn.{name}": value for name, value in lstm.state_dict().items()}}


def image_encoder() -> State:
    heads = {"emb_features.weight": (8, 768, 1, 1), "emb_cnn_code.weight": (8, 2048), "emb_cnn_code.bias": (8,)}
    return TorchvisionInception(classifier=False).state_dict() | {name: torch.rand(shape) for name, shape in heads.items()}


def sentence_encoder() -> State:
    encoder = CharCnnRnn(CharCnnRnnSettings(convolutions=(5, 6, 4), sentence_width=7))
    return {port_name(name): value for name, value in encoder.state_dict().items()}


def dcgan_cls(player: str) -> State:
    method = DCGANCLS(DCGANCLSSettings(generator_channels=4, text_width=6, noise_width=5), Conditions(resolution=64, sentence_width=7))
    state = {}
    for name, value in method.players()[player].module.state_dict().items():
        before, after = next(pair for pair in PREFIXES[player].items() if name.startswith(pair[1]))
        state[before + name.removeprefix(after)] = value
    return state


@pytest.mark.parametrize("wrapping", [*WRAPPINGS, "safetensors"])
@pytest.mark.parametrize("kind", ["damsm", "char-cnn-rnn", "dcgan-cls"])
def test_wrapped_files_are_those_that_lie_bare(kind: str, wrapping: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    state = {"damsm": text_encoder, "char-cnn-rnn": sentence_encoder, "dcgan-cls": lambda: dcgan_cls("generator")}[kind]()
    more = []
    if kind == "damsm":
        (tmp_path / "words.txt").write_text("\ufeff" + "\n".join(WORDS), encoding="utf-8")
        more = ["--words", str(tmp_path / "words.txt")]
    torch.save(state, tmp_path / "bare.pth")
    if wrapping == "safetensors":
        save_file(state, tmp_path / "wrapped.pth")
    else:
        torch.save(WRAPPINGS[wrapping](state), tmp_path / "wrapped.pth")
    written = []
    for name in ("bare", "wrapped"):
        assert main(["import", kind, str(tmp_path / f"{name}.pth"), *more, "--out", str(tmp_path / name)]) == 0
        written.append(json.loads((tmp_path / name / "config.json").read_text())["weights_sha256"])
    assert written[0] == written[1]
    said = {"netG": "'netG'", "training": "'state_dict'", "nested": "'generator.state_dict'"}.get(wrapping)
    assert (f"weights taken from {said}" in capsys.readouterr().err) is (said is not None)


def test_both_encoders_in_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    file, words = str(tmp_path / "damsm.ckpt"), tmp_path / "words.json"
    torch.save({"text_encoder": moduled(text_encoder()), "image_encoder": {"state_dict": moduled(image_encoder())}}, file)
    words.write_text(json.dumps({"word2id": {word: number for number, word in enumerate(["<end>", *WORDS])}}))
    assert main(["import", "damsm", file, file, "--words", str(words), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert "3 words" in told.out and "'text_encoder'" in told.err and "'image_encoder.state_dict'" in told.err


def test_a_file_with_both_players_and_an_average(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    file = str(tmp_path / "all.pth")
    torch.save({"netG": dcgan_cls("generator"), "netG_ema": dcgan_cls("generator"), "netD": dcgan_cls("discriminator")}, file)
    assert main(["import", "dcgan-cls", file, "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "holds weights of the generator under 'netG' and 'netG_ema': choose one by --within KEY" in told and told.count("\n") == 1
    assert main(["import", "dcgan-cls", "--within", "netG_ema", "--within", "netD", file, "--out", str(tmp_path / "out")]) == 0
    assert "discriminator's weights taken from 'netD'" in capsys.readouterr().err
    assert set(json.loads((tmp_path / "out" / "config.json").read_text())["players"]) == {"generator", "discriminator"}


NUMBERED = dict(enumerate(["<end>", *WORDS]))
IDS = {word: number for number, word in NUMBERED.items()}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.pickle", [[[1]], [[2]], NUMBERED, IDS]),
        ("captions.bin", [[[1]], [[2]], NUMBERED, IDS]),
        ("five.pickle", [[[1]], [[2]], NUMBERED, IDS, {"note": "x"}]),
        ("named.pkl", {"ixtoword": NUMBERED, "wordtoix": IDS, "train": [[1, 2]]}),
        ("pair.pickle", (NUMBERED, IDS)),
        ("from-one.pickle", {"vocab": {word: number for number, word in enumerate(WORDS, start=1)}}),
        ("list.pickle", WORDS),
        ("words.json", NUMBERED),
        ("list.json", WORDS),
    ],
)
def test_vocabularies(name: str, content: object, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(content)) if path.suffix == ".json" else path.write_bytes(pickle.dumps(content))
    assert read_vocabulary(path) == WORDS


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("two.pickle", {"birds": NUMBERED, "coco": {0: "<end>", 1: "dog"}}, "several vocabularies that contradict"),
        ("gap.pickle", {0: "<end>", 2: "bird"}, "no words by their ids"),
        ("none.json", {"train": [1, 2]}, "no words by their ids"),
        ("torn.json", None, "cannot read words"),
    ],
)
def test_what_is_no_vocabulary(name: str, content: object, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(content) if content else "{") if path.suffix == ".json" else path.write_bytes(pickle.dumps(content))
    with pytest.raises((CheckpointError, DataError), match=words):
        read_vocabulary(path)
