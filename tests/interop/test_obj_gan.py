"""The importer of Obj-GAN's released files: what it makes of them and refuses. Numbers are for tests/parity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from limner.cli.main import main
from limner.explore.layout import lay_out, layout_of
from limner.interop.obj_gan import read_obj_gan
from limner.methods.obj_gan import ObjGAN
from limner.model import load
from limner.text.joined import JoinedEncoder

LABELS, WORDS = ["bird", "tennis racket"], ["a", "bird", "sings"]
GF, D, GLOVE, CONDITION, Z, NBF, HIDDEN = 4, 6, 5, 2, 3, 16, 6


def released_generator() -> dict[str, Tensor]:
    """An image generator of two stages, 64 and 128 px."""
    generator, inner = torch.Generator().manual_seed(0), 3 * GF + GLOVE
    shapes: dict[str, tuple[int, ...]] = {"ca_net.fc.weight": (4 * CONDITION, D), "ca_net.fc.bias": (4 * CONDITION,)}
    norms = {"h_net1_sent.fc.1": 4 * GF * 64 * 2, "h_net1_sent.upsample1.2": 4 * GF, "h_net1_sent.upsample2.2": 2 * GF}
    shapes["h_net1_sent.fc.0.weight"] = (4 * GF * 64 * 2, CONDITION + Z)
    shapes |= {"h_net1_sent.upsample1.1.weight": (4 * GF, 4 * GF, 3, 3), "h_net1_sent.upsample2.1.weight": (2 * GF, 2 * GF, 3, 3)}
    for stage in (1, 2):
        shapes |= {
            f"h_net{stage}_hmap.conv3x3.1.weight": (GF // 2, len(LABELS), 3, 3),
            f"h_net{stage}_hmap.conv3x3.1.bias": (GF // 2,),
            f"h_net{stage}_hmap.downsample1.0.weight": (GF, GF // 2, 3, 3),
            f"h_net{stage}_main.bt_att.conv_context.weight": (GF, D, 1, 1),
            f"h_net{stage}_main.residual.0.block.1.weight": (2 * inner, inner, 3, 3),
            f"h_net{stage}_main.residual.0.block.5.weight": (inner, inner, 3, 3),
            f"h_net{stage}_main.upsample.1.weight": (2 * GF, inner, 3, 3),
            f"img_net{stage}.img.0.weight": (3, GF, 3, 3),
        }
        norms[f"h_net{stage}_main.upsample.2"] = 2 * GF
    shapes["h_net2_main.att.conv_context.weight"] = (GF, D, 1, 1)
    state = {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for name, width in norms.items():
        state |= {f"{name}.{part}": torch.ones(width) for part in ("weight", "running_var")}
        state |= {f"{name}.{part}": torch.zeros(width) for part in ("bias", "running_mean")}
    return state


def released_shapes() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "downsample1.0.weight": (2 * NBF, len(LABELS), 3, 3),
        "downsample2.0.weight": (4 * NBF, 2 * NBF, 3, 3),
        "jointConv.0.weight": (8 * NBF, 8 * NBF, 3, 3),
        "residual.0.block.0.weight": (8 * NBF, 4 * NBF, 3, 3),
        "residual.0.block.3.weight": (8 * NBF, 4 * NBF, 3, 3),
        "residual.0.block.6.weight": (4 * NBF, 4 * NBF, 3, 3),
        "upsample1.1.weight": (4 * NBF, 4 * NBF, 3, 3),
        "upsample2.1.weight": (2 * NBF, 2 * NBF, 3, 3),
        "img_net.img.0.weight": (1, NBF, 1, 1),
    }
    for way in ("fwd", "bwd"):
        shapes |= {f"{way}_convlstm.Gates.weight": (8 * NBF, 6 * NBF, 3, 3), f"{way}_convlstm.Gates.bias": (8 * NBF,)}  # type: ignore[dict-item]
    return {f"module.{name}": 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


class DecoderRNN(nn.Module):
    """The box decoder's parts, under their names; its file holds the module whole. An unknown word comes after the three special ones."""

    def __init__(self) -> None:
        super().__init__()
        known = 4 + len(LABELS)
        self.l_embedding = nn.Embedding(known, HIDDEN)
        self.xy_embedding, self.wh_embedding, self.next_xy_embedding = (nn.Linear(2, 50) for _ in range(3))
        self.rnn = nn.LSTM(HIDDEN + 100, HIDDEN, batch_first=True)
        self.l_out = nn.Linear(HIDDEN, known)
        self.xy_out, self.wh_out = nn.Linear(HIDDEN + known, 12), nn.Linear(HIDDEN + known + 50, 12)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(released_generator(), tmp_path / "netG.pth")
    torch.save(released_shapes(), tmp_path / "shape_gen.pth")
    torch.save(DecoderRNN(), tmp_path / "model.pt")
    lstm = nn.LSTM(5, D // 2, batch_first=True, bidirectional=True)
    text = {"encoder.weight": torch.rand(len(WORDS) + 1, 5), **{f"rnn.{name}": value for name, value in lstm.state_dict().items()}}
    torch.save(text, tmp_path / "text.pth")
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    (tmp_path / "box_labels.txt").write_text("\n".join(reversed(LABELS)))
    (tmp_path / "means.txt").write_text("128 64\n120 60\n80 40\n1.5 0.5\n")
    vectors = {"bird": 1, "tennis": 2, "racket": 4, "a": 8}
    (tmp_path / "glove.txt").write_text("".join(f"{word} {' '.join([str(number)] * GLOVE)}\n" for word, number in vectors.items()))
    return tmp_path


def run(files: Path, *more: str, given: str = "model.pt shape_gen.pth netG.pth") -> int:
    return main(["import", "obj-gan", *(str(files / name) for name in given.split()), "--out", str(files / "out"), *more])


def everything(files: Path, *without: str) -> list[str]:
    named = {"text": "text.pth", "words": "words.txt", "glove": "glove.txt", "labels": "labels.txt", "means": "means.txt"}
    return [part for name, file in named.items() if name not in without for part in (f"--{name}", str(files / file))]


def test_a_model_that_lays_out_and_paints(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, *everything(files), "--box-labels", str(files / "box_labels.txt")) == 0
    assert "limner generate" in capsys.readouterr().out
    model = load(files / "out")
    assert isinstance(model.method, ObjGAN) and isinstance(model.encoder, JoinedEncoder)
    assert model.resolution == 128 and model.method.conditions.labels == tuple(LABELS) and model.method.settings.released
    assert model.method.label_words[:, 0].tolist() == [1.0, 3.0], "the means of their words' vectors"
    laid = lay_out(model, "a bird sings", seed=1)
    assert laid.picture.shape == (128, 128, 3) and {thing["label"] for thing in laid.things} <= set(LABELS)
    given = layout_of([{"label": "bird", "box": [10, 10, 60, 60]}], model)
    assert len(lay_out(model, "a bird sings", layout=given).things) == 1
    theirs, boxes = torch.load(files / "model.pt", weights_only=False), model.method.boxes
    assert torch.equal(boxes.label.weight, theirs.l_embedding.weight[[0, 1, 2, 5, 4]]), "without the unknown word, in the labels' order"
    assert torch.equal(boxes.to_place.weight[:, HIDDEN:], theirs.xy_out.weight[:, HIDDEN:][:, [0, 1, 2, 5, 4]])
    assert boxes.mean.tolist() == pytest.approx([0.5, 0.46875, 0.3125, 1.5]) and boxes.first.tolist() == [128.0, 120.0, 80.0, 1.5]
    features = model.encode(["a bird sings"])
    states, (hidden, cell) = model.encoder.encoder.reader(model.encoder.encoder.embedding(torch.tensor([[1, 2, 3]])))
    assert torch.allclose(features.sentence, torch.cat([hidden.flatten()[None], cell.flatten()[None]], 1), atol=1e-6)
    assert features.words is not None and torch.allclose(features.words[..., :D], states, atol=1e-6)
    assert features.words[0, :, D:].tolist() == [[8.0] * GLOVE, [1.0] * GLOVE, [0.0] * GLOVE]


def test_networks_alone(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(files, given="netG.pth") == 0
    assert "needs box, shape and image checkpoints" in capsys.readouterr().out
    method, players = read_obj_gan([files / "netG.pth", files / "shape_gen.pth"])
    assert players == ["generator", "shapes"] and method.conditions.labels == ("label 1", "label 2")


def test_what_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(message: str, *more: str, given: str = "model.pt shape_gen.pth netG.pth") -> None:
        assert run(files, *more, given=given) == 2
        told = capsys.readouterr().err
        assert message in told and told.count("\n") == 1 and not (files / "out").exists()

    refused("give --glove and --means too", *everything(files, "glove", "means"))
    (files / "three.txt").write_text("bird\ntennis racket\ncar\n")
    refused("different numbers of labels", *everything(files, "labels"), "--labels", str(files / "three.txt"))
    refused("'car' is in one of the two", *everything(files), "--box-labels", str(files / "three.txt"))
    (files / "means.txt").write_text("1 2\n")
    refused("a mean and a deviation in each of four lines", *everything(files))
    refused("not a network of Obj-GAN", given="text.pth")
    refused("2 files hold networks of the kind 'generator'", given="netG.pth netG.pth")
