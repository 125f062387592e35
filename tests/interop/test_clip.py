"""`limner import clip`: OpenAI's archives, open_clip's files, and what other files get."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from limner.cli.main import main
from limner.core.errors import CheckpointError
from limner.core.trainable import Conditions
from limner.interop.clip import their_name
from limner.interop.torchscript import is_torchscript, read_torchscript
from limner.matching.models.clip import CLIP, CLIPSettings, text_settings
from limner.matching.saving import load_matching
from limner.text.byte_pairs import BytePairTokenizer
from limner.text.clip_text import ClipText

MERGES = [("a", "b"), ("ab", "c</w>")]
TOWERS: dict[str, dict[str, object]] = {
    "vit": {"tower": "vit", "picture_width": 64, "picture_layers": (1,), "picture_heads": 1, "patch": 8},
    "resnet": {"tower": "resnet", "picture_width": 4, "picture_layers": (1, 1, 1, 1), "picture_heads": 2},
}


class Archive(nn.Module):
    """Parameters and buffers under the authors' names, in half precision, as a module that can be saved as TorchScript."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        for name, value in tensors.items():
            place: nn.Module = self
            *path, last = name.split(".")
            for part in path:
                if not hasattr(place, part):
                    place.add_module(part, nn.Module())
                place = getattr(place, part)
            place.register_buffer(last, value)

    def forward(self, value: Tensor) -> Tensor:
        return value


def model_of(tower: str) -> CLIP:
    torch.manual_seed(0)
    tokenizer = BytePairTokenizer(MERGES, context_length=7)
    settings = CLIPSettings(width=6, text_width=64, text_layers=1, text_heads=1, context_length=7, merges=2, **TOWERS[tower])  # type: ignore[arg-type]
    encoder = ClipText(tokenizer, text_settings(settings, len(tokenizer)))
    return CLIP(settings, Conditions(resolution=32, sentence_width=6), encoder).eval()


def tensors_of(model: CLIP) -> dict[str, Tensor]:
    return {their_name(name): value.clone() for name, value in model.state_dict().items()}


def write(kind: str, tensors: dict[str, Tensor], file: Path) -> None:
    """A file as OpenAI or open_clip would have it."""
    if kind == "archive":
        sizes = {"input_resolution": 32, "context_length": 7, "vocab_size": 516}
        halves = {name: value.half() if value.is_floating_point() else value for name, value in tensors.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's words on TorchScript's end
            torch.jit.save(torch.jit.script(Archive(halves | {name: torch.tensor(value) for name, value in sizes.items()})), file)
    elif kind == "checkpoint":
        torch.save({"epoch": 3, "name": "mine", "state_dict": {f"module.{name}": value for name, value in tensors.items()}}, file)
    elif kind == "safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)


@pytest.mark.parametrize(
    ("kind", "name", "tower", "words"),
    [
        ("archive", "ViT.pt", "vit", []),
        ("checkpoint", "epoch_3.pt", "vit", ["--activation", "gelu"]),
        ("safetensors", "open_clip_model.safetensors", "resnet", ["--activation", "quick-gelu"]),
        ("state dict", "open_clip_pytorch_model.bin", "resnet", ["--activation", "quick-gelu"]),
    ],
)
def test_every_kind_of_file_becomes_the_model(kind: str, name: str, tower: str, words: list[str], tmp_path: Path) -> None:
    model, file, out = model_of(tower), tmp_path / name, tmp_path / "model"
    write(kind, tensors_of(model), file)
    pairs = "\n".join(["#version", *(" ".join(pair) for pair in MERGES)])
    (tmp_path / "pairs.txt").write_text(pairs)
    assert main(["import", "clip", str(file), "--out", str(out), "--vocabulary", str(tmp_path / "pairs.txt"), *words]) == 0
    again = load_matching(out)
    assert isinstance(again, CLIP) and again.resolution == 32 and again.settings.activation == (words[-1] if words else "quick-gelu")
    if kind != "checkpoint":  # which was read with another nonlinearity
        pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
        tolerance = 1e-2 if kind == "archive" else 1e-6  # half precision
        assert torch.allclose(again.embed_pictures(pictures), model.embed_pictures(pictures), atol=tolerance)
        assert torch.allclose(again.embed_captions(["abc b"]), model.embed_captions(["abc b"]), atol=tolerance)


def test_an_archive_gives_its_tensors_and_runs_nothing(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2))).half()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), tmp_path / "network.pt")
    found = read_torchscript(tmp_path / "network.pt")
    assert found.keys() == network.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in network.state_dict().items())
    torch.save(network.state_dict(), tmp_path / "plain.pt")
    assert is_torchscript(tmp_path / "network.pt") and not is_torchscript(tmp_path / "plain.pt")

    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "harm").encode() + b"'\ntR."
    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("evil/data.pkl", evil)
        archive.writestr("evil/constants.pkl", b"")
    with pytest.raises(CheckpointError, match="holds more than modules and tensors"):
        read_torchscript(tmp_path / "evil.pt")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ({}, ["--vocabulary", "none"], "the nonlinearity does not show in the file"),
        ({}, ["--activation", "gelu"], "captions need the vocabulary"),
        ({}, ["--activation", "gelu", "--vocabulary", "nowhere.gz"], "there is no vocabulary file nowhere.gz"),
        ({"visual.ln_pre.bias": None}, ["--activation", "gelu", "--vocabulary", "none"], "it lacks 'visual.ln_pre.bias'"),
        ({"more": torch.ones(1)}, ["--activation", "gelu", "--vocabulary", "none"], "it holds 'more' too"),
        ({"logit_bias": torch.ones(1)}, ["--activation", "gelu", "--vocabulary", "none"], "it is a SigLIP model"),
        ({"visual.trunk.x": torch.ones(1)}, ["--activation", "gelu", "--vocabulary", "none"], "a tower of timm's"),
        ({"ln_final.bias": torch.ones(3)}, ["--activation", "gelu", "--vocabulary", "none"], r"'ln_final.bias' has the shape (3,)"),
        ({"token_embedding.weight": torch.ones(3)}, ["--activation", "gelu", "--vocabulary", "none"], "has the shape (3,)"),
    ],
)
def test_other_files_get_one_line(
    change: dict[str, Tensor | None],
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tensors = tensors_of(model_of("vit")) | change
    write("state dict", {name: value for name, value in tensors.items() if value is not None}, tmp_path / "file.pt")
    assert main(["import", "clip", "file.pt", "--out", "model", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file.pt"]
