"""`limner import`: what it writes, and what wrong files get."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor

import limner.interop
from limner.cli.arguments import options
from limner.cli.main import main
from limner.core.trainable import Conditions
from limner.interop import importer
from limner.interop.char_cnn_rnn import Options, port_name
from limner.interop.dcgan_cls import PREFIXES
from limner.methods.dcgan_cls import DCGANCLS, DCGANCLSSettings
from limner.model import load as limner_load
from limner.text.char_cnn_rnn import CharCnnRnn, CharCnnRnnSettings
from limner.text.saving import load_encoder

SMALL = {
    "relu": CharCnnRnnSettings(convolutions=(5, 6, 4), sentence_width=7),
    "gru": CharCnnRnnSettings(convolutions=(5, 6, 4), recurrent="gru", third_pool=False, sentence_width=7),
}


def port_file(path: Path, recurrent: str = "relu", **changes: Tensor | None) -> CharCnnRnn:
    """A file such as the port's; changes: other tensors by their names with __ for dots, or None to leave one out."""
    torch.manual_seed(0)
    encoder = CharCnnRnn(SMALL[recurrent])
    tensors = OrderedDict((port_name(name), value) for name, value in encoder.state_dict().items())
    for name, value in changes.items():
        tensors.pop(name.replace("__", "."), None)
        if value is not None:
            tensors[name.replace("__", ".")] = value
    torch.save(tensors, path)
    return encoder.eval()


def test_the_public_flags_are_these() -> None:
    assert sorted(options(Options)) == ["--case", "--out", "--unknown", "--within"]


def test_help_and_records_need_no_pytorch() -> None:
    """In a process of their own: what answers a question about options must not wait for PyTorch, nor for NumPy."""
    code = """
import sys
from limner.cli.main import main
from limner.interop import importer
assert main(["import", "--help"]) == 0 and main(["import", "attngan", "--help"]) == 0
assert all(importer.get(name).name == name and importer.get(name).options for name in importer.names())
assert not {"torch", "numpy", "safetensors"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    width = max(map(len, importer.names()))
    for name in importer.names():
        assert f"\n  {name:<{width}}  {importer.get(name).help}\n" in done.stdout


IMPORTER = """
from dataclasses import dataclass
from limner.interop.importer import File, Importer, ImportOptions

@dataclass(frozen=True, kw_only=True)
class Options(ImportOptions):
    file: File
    \"\"\"A file of notes.\"\"\"
    loud: bool = False
    \"\"\"Say it loudly.\"\"\"

def read(options):
    return [f"{options.out}: {options.file.read_text()}{'!' * options.loud}", f"within {options.within}"]

IMPORTER = Importer(
    name="my-notes", help="notes, one a line", description="Turn notes into nothing.",
    examples=("limner import my-notes notes.txt --out notes",), options=Options, read=read,
)
"""


def test_a_new_file_is_a_new_importer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_notes.py").write_text(IMPORTER)
    (tmp_path / "helpers.py").write_text("# a file without a record, such as trees.py")
    (tmp_path / "notes.txt").write_text("heard")
    monkeypatch.setattr(importer, "HERE", tmp_path)
    monkeypatch.setattr(limner.interop, "__path__", [str(tmp_path)])
    assert main(["import"]) == 0
    assert "\n\n  my-notes      notes, one a line\n\n" in capsys.readouterr().out
    assert main(["import", "my-notes", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "limner import my-notes notes.txt --out notes" in shown and "--loud" in shown and "A file of notes." in shown
    assert main(["import", "my-notes", str(tmp_path / "notes.txt"), "--out", str(tmp_path / "out"), "--loud", "--within", "a"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}: heard!\nwithin ('a',)\n"
    assert main(["import", "attngan"]) == 2
    assert "there is no kind of file to import 'attngan': known: my-notes" in capsys.readouterr().err
    sys.modules.pop("limner.interop.my_notes")


def test_help_names_the_verb_and_what_it_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0 and re.search(r"^  import +turn the authors' own checkpoints", capsys.readouterr().out, re.MULTILINE)
    assert main(["import"]) == 0 and "char-cnn-rnn" in capsys.readouterr().out
    assert main(["import", "char-cnn-rnn", "--help"]) == 0
    assert "limner import char-cnn-rnn flowers.pth --out encoders/flowers" in capsys.readouterr().out


@pytest.mark.parametrize("recurrent", sorted(SMALL))
def test_a_file_of_the_port_becomes_an_encoder(recurrent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = port_file(tmp_path / "port.pth", recurrent)
    out = tmp_path / "encoders" / "mine"
    assert main(["import", "char-cnn-rnn", str(tmp_path / "port.pth"), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert f"{8 if recurrent == 'relu' else 18} steps" in told.out and f"--text.encoder {out}" in told.out and not told.err
    encoder = load_encoder(out)
    assert isinstance(encoder, CharCnnRnn) and encoder.settings == SMALL[recurrent]
    captions = ["A red bird", "yellow-green petals"]
    assert torch.equal(encoder(captions).sentence, expected(captions).sentence)
    assert "`port.pth`" in (out / "README.md").read_text()


def test_the_demo_s_way_of_reading(tmp_path: Path) -> None:
    port_file(tmp_path / "port.pth")
    assert main(f"import char-cnn-rnn {tmp_path}/port.pth --out {tmp_path}/demo --unknown nothing --case kept".split()) == 0
    encoder = load_encoder(tmp_path / "demo")
    assert isinstance(encoder, CharCnnRnn)
    assert encoder.tokenizer(["aBé-"]).ids[0, :5].tolist() == [1, 0, 0, 60, 0]


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run by a pickle",)


def _text(path: Path) -> None:
    path.write_text("no weights")


def _cut(path: Path) -> None:
    port_file(path)
    path.write_bytes(path.read_bytes()[:2000])


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Harmful()))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "there is no file"),
        (lambda path: path.mkdir(), "is a folder"),
        (_text, "no PyTorch file"),
        (_cut, "cut short"),
        (_pickled, "more than tensors"),
        (lambda path: torch.save(torch.zeros(3), path), "holds no tensors by name"),
        (lambda path: torch.save({"epoch": 3}, path), "'epoch' in it is not a tensor"),
        (lambda path: torch.save({"weight": torch.zeros(3)}, path), "it lacks 'conv1.weight'"),
        (lambda path: port_file(path, conv3__weight=None), "it lacks 'conv3.weight'"),
        (lambda path: port_file(path, conv1__weight=torch.zeros(5)), "'conv1.weight' has the shape (5,)"),
        (lambda path: port_file(path, conv1__weight=torch.zeros(5, 69, 4)), "it reads 69 characters"),
        (lambda path: port_file(path, rnn__h2h__weight=torch.zeros(3, 4)), "'rnn.h2h.weight' has the shape (3, 4) where (4, 4) fits"),
        (lambda path: port_file(path, extra=torch.zeros(1)), "it holds 'extra' too"),
        (lambda path: port_file(path, "gru", rnn__h2h_reset__bias=None), "it lacks 'rnn.h2h_reset.bias'"),
        (lambda path: port_file(path, rnn__h2h__bias=torch.full((4,), torch.nan)), "'rnn.h2h.bias' in"),
    ],
)
def test_a_wrong_file_gets_one_line_and_leaves_nothing(write, message, tmp_path, capsys):  # type: ignore[no-untyped-def]
    write(tmp_path / "port.pth")
    assert main(["import", "char-cnn-rnn", str(tmp_path / "port.pth"), "--out", str(tmp_path / "new" / "out")]) == 2
    told = capsys.readouterr()
    assert message in told.err and str(tmp_path / "port.pth") in told.err and told.err.count("\n") == 1 and not told.out
    assert not (tmp_path / "new").exists()


def test_mistakes_in_what_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port_file(tmp_path / "port.pth")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("kept")
    for words, message in (
        (["char-cnn-rn"], "did you mean 'char-cnn-rnn'"),
        (["char-cnn-rnn", str(tmp_path / "port.pth")], "missing: --out"),
        (["char-cnn-rnn", str(tmp_path / "port.pth"), "--out", str(tmp_path / "there")], "exists already"),
    ):
        assert main(["import", *words]) == 2
        told = capsys.readouterr().err
        assert message in told and told.count("\n") == 1
    assert (tmp_path / "there" / "notes.txt").read_text() == "kept"


def test_a_generator_of_the_port_paints_with_its_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = DCGANCLSSettings(generator_channels=4, text_width=6, noise_width=5)
    generator = DCGANCLS(settings, Conditions(resolution=64, sentence_width=7)).generator
    state = {}
    for name, value in generator.state_dict().items():
        before, after = next(pair for pair in PREFIXES["generator"].items() if name.startswith(pair[1]))
        state[f"module.{before}{name.removeprefix(after)}"] = value
    torch.save(state, tmp_path / "gen_200.pth")
    port_file(tmp_path / "port.pth")
    encoder, model, networks = (str(tmp_path / name) for name in ("encoder", "model", "networks"))
    assert main(["import", "char-cnn-rnn", str(tmp_path / "port.pth"), "--out", encoder]) == 0
    assert main(["import", "dcgan-cls", str(tmp_path / "gen_200.pth"), "--encoder", encoder, "--out", model]) == 0
    assert limner_load(model).generate("a red bird", n=2)[1].size == (64, 64)
    assert main(["import", "dcgan-cls", str(tmp_path / "gen_200.pth"), "--out", networks]) == 0
    assert "without a text encoder" in capsys.readouterr().out
    assert main(["import", "dcgan-cls", str(tmp_path / "port.pth"), "--out", str(tmp_path / "no")]) == 2
    assert "is no conditional network of the port" in capsys.readouterr().err and not (tmp_path / "no").exists()
    assert main(["import", "dcgan-cls", str(tmp_path / "gen_200.pth"), "--encoder", "garden", "--out", str(tmp_path / "no")]) == 2
    assert "sentences have 128 numbers, the generator wants 7" in capsys.readouterr().err
    assert main(["import", "dcgan-cls", str(tmp_path / "gen_200.pth"), "--encoder", "gardem", "--out", str(tmp_path / "no")]) == 2
    assert "--encoder is 'gardem': there is no such folder, and the shipped encoders are garden" in capsys.readouterr().err
