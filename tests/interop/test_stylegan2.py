"""What the importers of StyleGAN's and StyleGAN2's files take and refuse; that they read them right is for tests/parity."""

from __future__ import annotations

import argparse
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from limner.cli.main import main
from limner.core.errors import LimnerError
from limner.core.trainable import Conditions
from limner.interop.stylegan import import_stylegan
from limner.interop.stylegan2 import import_stylegan2, read_stylegan2
from limner.methods.stylegan2 import StyleGAN2, StyleGAN2Settings
from limner.model import load


def made(resolution: int = 16) -> StyleGAN2:
    torch.manual_seed(resolution)
    sizes = {"noise_width": 6, "style_width": 8, "mapping_layers": 2, "channel_base": 128, "channel_limit": 12}
    return StyleGAN2(StyleGAN2Settings(**sizes), Conditions(resolution=resolution, sentence_width=0)).eval()


def theirs(player: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network as rosinality's files have it."""
    found = {}
    for name, value in state.items():
        layer = re.match(r"synthesis\.(convolutions|pictures)\.(\d+)\.", name)
        if name == "mapping.mean":
            continue
        if player == "discriminator":
            name = re.sub(r"^colours\.weight", "convs.0.0.weight", re.sub(r"^colours\.bias", "convs.0.1.bias", name))
            name = re.sub(r"^blocks\.(\d+)\.", lambda place: f"convs.{int(place[1]) + 1}.", name)
            name = name.replace(".first.weight", ".conv1.0.weight").replace(".first.bias", ".conv1.1.bias")
            name = name.replace(".second.weight", ".conv2.1.weight").replace(".second.bias", ".conv2.2.bias")
            name = (
                name.replace(".past.", ".skip.1.").replace("last.weight", "final_conv.0.weight").replace("last.bias", "final_conv.1.bias")
            )
            name = name.replace("hidden.", "final_linear.0.").replace("score.", "final_linear.1.")
        elif layer:
            kind, number = layer[1], int(layer[2])
            stem = {"convolutions": ("conv1", "convs"), "pictures": ("to_rgb1", "to_rgbs")}[kind]
            stem_ = stem[0] if number == 0 else f"{stem[1]}.{number - 1}"
            rest = name[layer.end() :]
            if kind == "convolutions":
                rest = {"weight": "conv.weight", "bias": "activate.bias", "noise_strength": "noise.weight"}.get(rest, f"conv.{rest}")
                value = value[None] if rest == "conv.weight" else value.reshape(1) if rest == "noise.weight" else value
            else:
                value = value.reshape(1, *value.shape, *[1] * 2) if rest in ("weight", "bias") else value
                rest = rest if rest == "bias" else f"conv.{rest}"
            name = f"{stem_}.{rest}"
        else:
            name = re.sub(r"^mapping\.layers\.(\d+)\.", lambda place: f"style.{int(place[1]) + 1}.", name)
            name = name.replace("synthesis.constant", "input.input")
        found[name] = value
    return found


def file_of(method: StyleGAN2, path: Path) -> Path:
    """A training's file, with its arguments and the maps of noise; the running average is the method's own generator."""
    generator, discriminator = (
        theirs("generator", method.generator.state_dict()),
        theirs("discriminator", method.discriminator.state_dict()),
    )
    generator["noises.noise_0"] = torch.zeros(1, 1, 4, 4)
    generator["convs.0.conv.blur.kernel"] = torch.ones(4, 4)
    before = {name: value + 1 for name, value in generator.items()}
    arguments = argparse.Namespace(size=method.resolution, device="cuda", path="data", r1=10.0)
    torch.save({"g": before, "d": discriminator, "g_ema": generator, "g_optim": {"state": {}}, "args": arguments, "ada_aug_p": 0.1}, path)
    return path


def test_a_trainings_file_with_its_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method = made()
    file = file_of(method, tmp_path / "000100.pt")
    assert main(["import", "stylegan2", str(file), "--out", str(tmp_path / "model")]) == 0
    assert "a model that reads no text" in capsys.readouterr().out
    model = load(tmp_path / "model")
    assert isinstance(model.method, StyleGAN2) and model.resolution == 16
    own, found = dict(method.generator.named_parameters()), dict(model.method.generator.named_parameters())
    assert own.keys() == found.keys() and all(torch.equal(own[name], found[name]) for name in own)
    mapping = method.generator.mapping
    with torch.no_grad():
        torch.testing.assert_close(model.method.generator.mapping.mean, mapping(torch.randn(20_000, 6)).mean(0), atol=0.02, rtol=0.1)
    other, players = read_stylegan2([file], within=["g"])
    assert players == ["generator"]
    torch.testing.assert_close(other.generator.synthesis.constant, method.generator.synthesis.constant + 1)
    assert main(["generate", str(tmp_path / "model"), "-n", "2", "--truncation", "0.5", "--out", str(tmp_path / "pictures")]) == 0


def test_a_converted_file_has_its_mean_style(tmp_path: Path) -> None:
    method = made()
    torch.save({"g_ema": theirs("generator", method.generator.state_dict()), "latent_avg": torch.arange(8.0)}, tmp_path / "ffhq.pt")
    found, players = read_stylegan2([tmp_path / "ffhq.pt"])
    assert players == ["generator"] and found.generator.mapping.mean.tolist() == list(range(8))


def test_what_is_refused(tmp_path: Path) -> None:
    file, larger, out = file_of(made(), tmp_path / "a.pt"), file_of(made(32), tmp_path / "b.pt"), tmp_path / "out"
    pickled, odd, halves = tmp_path / "ffhq.pkl", tmp_path / "odd.pt", [tmp_path / "g.pt", tmp_path / "d.pt"]
    pickled.write_bytes(pickle.dumps({"G_ema": "torch_utils.persistence"}))
    state = torch.load(file, weights_only=False)
    torch.save({**state["g_ema"], "convs.2.conv.weight": torch.zeros(1, 3, 3, 3, 3)}, odd)
    torch.save(state["g_ema"], halves[0])
    torch.save(torch.load(larger, weights_only=False)["d"], halves[1])
    cases = [
        ([pickled], "holds source code that runs when it is read: in a checkout of stylegan2-ada-pytorch that you trust"),
        ([file, larger], "b.pt is a second"),
        (halves, "generator and discriminator are of different sizes"),
        ([odd], "the generator is not StyleGAN2's"),
        ([], "no file to import"),
    ]
    for paths, words in cases:
        with pytest.raises(LimnerError, match=words) as caught:
            import_stylegan2(paths, out)
        assert "\n" not in str(caught.value) and not out.exists()
    with pytest.raises(LimnerError, match="not a network of StyleGAN: give train_step-N.model.pt"):
        import_stylegan([file], out)
    assert not out.exists()
