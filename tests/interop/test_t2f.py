"""Files of T2F and pro_gan_pytorch: what the importer makes of them and refuses, in one line each; that it reads them right is for
tests/parity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from limner.cli.main import main
from limner.core.errors import CheckpointError, LimnerError
from limner.interop.networks import load_networks
from limner.interop.t2f import EXPECTED, import_t2f, read_encoder, read_t2f
from limner.methods.t2f import T2F
from limner.model import load

WIDTHS, LATENT, SENTENCE, TOKENS = (8, 8, 8, 8, 4), 6, 5, 7
Tensors = dict[str, Tensor]


def layer(name: str, *shape: int, kind: str = "conv", version: int = 1, outputs: int | None = None) -> Tensors:
    """A layer under the package's names; its transposed convolutions count their inputs first."""
    weight = f"{name}.{kind}.weight" if version == 1 else f"{name}.weight"
    return {weight: torch.randn(shape), f"{name}.bias": torch.randn(shape[0] if outputs is None else outputs)}


def generator(version: int = 1) -> Tensors:
    wide = WIDTHS[0]
    found = layer("initial_block.conv_1", LATENT, wide, 4, 4, kind="deconv", version=version, outputs=wide)
    found |= layer("initial_block.conv_2", wide, wide, 3, 3, version=version)
    for place, (before, after) in enumerate(zip(WIDTHS, WIDTHS[1:], strict=False)):
        found |= layer(f"layers.{place}.conv_1", after, before, 3, 3, version=version)
        found |= layer(f"layers.{place}.conv_2", after, after, 3, 3, version=version)
    for place, width in enumerate(WIDTHS):
        found |= layer(f"rgb_converters.{place}", 3, width, 1, 1, version=version)
    return found


def discriminator(version: int = 1, *, reads: bool = True) -> Tensors:
    wide, joined = WIDTHS[0], 3 if reads else 0
    found = layer("final_block.conv_1", wide, wide + 1, 3, 3, version=version)
    if reads:
        found |= layer("final_block.compressor", joined, SENTENCE, kind="linear", version=version)
        found |= layer("final_block.conv_2", wide, wide + joined, 1, 1, version=version)
    found |= layer(f"final_block.conv_{2 + reads}", wide, wide, 4, 4, version=version)
    found |= layer(f"final_block.conv_{3 + reads}", 1, wide, 1, 1, version=version)
    for place, (after, before) in enumerate(zip(WIDTHS, WIDTHS[1:], strict=False)):
        found |= layer(f"layers.{place}.conv_1", before, before, 3, 3, version=version)
        found |= layer(f"layers.{place}.conv_2", after, before, 3, 3, version=version)
    for place, width in enumerate(WIDTHS):
        found |= layer(f"rgb_to_features.{place}", width, 3, 1, 1, version=version)
    return found


def encoder() -> Tensors:
    lstm = torch.nn.LSTM(4, SENTENCE, 3)
    return {"network.0.weight": torch.randn(TOKENS, 4), **{f"network.1.{name}": value for name, value in lstm.state_dict().items()}}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    torch.manual_seed(0)
    networks = {
        "gen": {f"module.{name}": value for name, value in generator().items()},
        "dis": discriminator(),
        "augmentor": layer("transformer", 8, SENTENCE, kind="linear"),
        "encoder": encoder(),
        "gen-2": generator(2),
        "dis-2": discriminator(2, reads=False),
        "classes-2": discriminator(2, reads=False) | {"final_block.label_embedder.weight": torch.randn(3, 8)},
    }
    for name, tensors in networks.items():
        torch.save(tensors, tmp_path / f"{name}.pth")
    (tmp_path / "words.txt").write_text("a\nface\nred\n,\n5\n")
    return {path.stem: path for path in tmp_path.iterdir()}


def test_text_to_face_on_the_command_line(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Generator, augmentor and LSTM with its words become a model that paints captions; what was lost is said."""
    asked = [str(files[name]) for name in ("gen", "augmentor", "encoder")]
    assert main(["import", "t2f", *asked, "--words", str(files["words"]), "--out", str(tmp_path / "model")]) == 0
    assert EXPECTED in capsys.readouterr().out
    model = load(tmp_path / "model")
    assert model.generate("a red face, 5", seed=1)[0].size == (64, 64)
    assert model.method.settings.own_encoder and model.method.settings.condition_width == 4
    assert main(["generate", str(tmp_path / "model"), "a face", "--out", str(tmp_path / "pictures")]) == 0
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 1


def test_a_generator_alone_reads_no_captions(files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "t2f", str(files["gen-2"]), "--depth", "2", "--out", str(tmp_path / "model")]) == 0
    assert EXPECTED not in capsys.readouterr().out
    model = load(tmp_path / "model")
    assert not model.reads_text and model.generate()[0].size == (16, 16)
    assert model.method.settings.scaling == "he" and not model.method.settings.normalize_latent


def test_networks_alone(files: dict[str, Path], tmp_path: Path) -> None:
    assert import_t2f([files["dis"], files["augmentor"], files["gen"]], tmp_path / "out") == "networks"
    method, players = load_networks(tmp_path / "out")
    assert isinstance(method, T2F) and players == ["generator", "discriminator"]
    settings = method.settings
    assert (settings.latent_width, settings.condition_width, settings.compressed_width) == (LATENT, 4, 3)
    assert (settings.channels, settings.full_blocks, settings.scaling) == (8, 4, "unit")
    assert method.conditions.sentence_width == SENTENCE and method.resolution == 64
    theirs = torch.load(files["dis"], weights_only=True)
    assert torch.equal(method.discriminator.blocks[3].second.weight, theirs["layers.3.conv_2.conv.weight"])
    assert torch.equal(method.discriminator.last.second.weight, theirs["final_block.conv_3.conv.weight"])


@pytest.mark.parametrize(
    ("names", "more", "words"),
    [
        (["gen", "gen-2"], {}, "a second generator"),
        (["gen", "dis-2"], {}, "different versions"),
        (["gen", "dis"], {}, "give the Condition_Augmentor file, too"),
        (["dis", "augmentor"], {}, "give that file, too"),
        (["encoder"], {}, "no generator and no discriminator"),
        (["classes-2"], {}, "reads classes and no captions"),
        (["gen", "augmentor"], {"depth": 5}, "choose from 0 to 4"),
        ([], {}, "no generator and no discriminator"),
    ],
)
def test_what_is_refused(files: dict[str, Path], tmp_path: Path, names: list[str], more: dict[str, int], words: str) -> None:
    with pytest.raises(LimnerError, match=words) as caught:
        import_t2f([files[name] for name in names], tmp_path / "out", **more)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_networks_of_other_shapes_are_refused(files: dict[str, Path], tmp_path: Path) -> None:
    tensors = torch.load(files["gen-2"], weights_only=True)
    odd = {re.sub(r"^rgb_converters\.4\b", "rgb_converters.9", name): value for name, value in tensors.items()}
    torch.save(odd, tmp_path / "odd.pth")
    with pytest.raises(LimnerError, match="is not T2F's"):
        read_t2f([tmp_path / "odd.pth"])
    tensors["rgb_converters.2.weight"] = torch.randn(3, 5, 1, 1)
    torch.save(tensors, tmp_path / "odd.pth")
    with pytest.raises(LimnerError, match="are not those of a ProGAN"):
        read_t2f([tmp_path / "odd.pth"])


def _without(tensors: Tensors, name: str) -> Tensors:
    return {other: value for other, value in tensors.items() if other != name}


def test_weights_that_are_missing_or_of_other_dimensions(files: dict[str, Path], tmp_path: Path) -> None:
    whole = {name: torch.load(files[name], weights_only=True) for name in ("gen-2", "gen", "dis", "augmentor", "encoder")}
    cases: list[tuple[dict[str, Tensors], str]] = [
        ({"gen-2": _without(whole["gen-2"], "initial_block.conv_1.weight")}, "first.transposed.weight' of 4"),
        ({"gen-2": whole["gen-2"] | {"rgb_converters.1.weight": torch.randn(3)}}, "colours.1.weight' of 4"),
        ({"dis": whole["dis"] | {"final_block.compressor.linear.weight": torch.randn(3)}}, "last.compression.weight' of 2"),
        ({"gen": whole["gen"], "augmentor": whole["augmentor"] | {"transformer.linear.weight": torch.randn(3)}}, "linear.weight' of 2"),
    ]
    for networks, words in cases:
        for name, tensors in networks.items():
            torch.save(tensors, tmp_path / f"odd-{name}.pth")
        with pytest.raises(CheckpointError, match=words):
            read_t2f([tmp_path / f"odd-{name}.pth" for name in networks])
    for odd in (whole["encoder"] | {"network.0.weight": torch.randn(7)}, _without(whole["encoder"], "network.1.weight_hh_l0")):
        torch.save(odd, tmp_path / "odd.pth")
        with pytest.raises(CheckpointError, match="the Encoder is not T2F's"):
            read_encoder([tmp_path / "odd.pth"], files["words"])


def test_words_of_the_lstm(files: dict[str, Path], tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("a\nface\n")
    with pytest.raises(LimnerError, match="holds 2 words, and T2F's Encoder has 5"):
        read_encoder([files["encoder"]], short)
    with pytest.raises(LimnerError, match="none of the files is T2F's Encoder"):
        read_encoder([files["gen"]], files["words"])
    with pytest.raises(LimnerError, match="give a text file in UTF-8"):
        read_encoder([files["encoder"]], tmp_path / "nowhere.txt")
