from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.cli.import_ import main
from limner.core.errors import CheckpointError, DataError
from limner.features.inception import TorchvisionInception
from limner.matching.models.damsm import DAMSM
from limner.matching.saving import load_matching
from limner.text.saving import load_encoder

WORDS = ["a", "bird", "sings"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The authors' two files with weights of this moment, and a list of words."""
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(5, 4, batch_first=True, bidirectional=True)
    text = {"encoder.weight": torch.rand(4, 5), **{f"rnn.{name}": value for name, value in lstm.state_dict().items()}}
    torch.save(text, tmp_path / "text.pth")
    image = TorchvisionInception(classifier=False).state_dict()
    heads = {
        "emb_features.weight": torch.rand(8, 768, 1, 1),
        "emb_cnn_code.weight": torch.rand(8, 2048),
        "emb_cnn_code.bias": torch.rand(8),
    }
    torch.save({**image, **heads}, tmp_path / "image.pth")
    (tmp_path / "words.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


@torch.no_grad()
def test_both_files_become_a_matching_model(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = files / "model"
    arguments = [str(files / "text.pth"), str(files / "image.pth"), "--words", str(files / "words.txt"), "--out", str(out)]
    assert main(["damsm", *arguments]) == 0
    assert "3 words" in capsys.readouterr().out and "their corners" in (out / "README.md").read_text()
    model = load_matching(out)
    assert isinstance(model, DAMSM) and model.looks_with == ""
    assert "picture_side.network.Mixed_6e.branch1x1.conv.weight" in model.kept()  # no other file holds these batch statistics
    stored = torch.load(files / "image.pth", weights_only=True)
    assert torch.equal(model.state_dict()["picture_side.to_picture.weight"], stored["emb_cnn_code.weight"])
    assert not model.train().picture_side.network.training


@torch.no_grad()
def test_the_text_encoder_alone(files: Path) -> None:
    out = files / "encoder"
    assert main(["damsm", str(files / "text.pth"), "--words", str(files / "words.txt"), "--out", str(out)]) == 0
    encoder = load_encoder(out)
    assert encoder(["a bird sings"]).tokens.tolist() == [[1, 2, 3]]
    assert encoder.unknown_words("a bird swims") == ["swims"]


def test_what_does_not_fit_is_refused_in_one_line(files: Path) -> None:
    text, words = str(files / "text.pth"), files / "words.txt"
    wrong = [
        ([str(files / "image.pth"), "--words", str(words)], CheckpointError, "has no matrix 'encoder.weight'"),
        ([text, text, "--words", str(words)], CheckpointError, "not the image encoder of AttnGAN"),
        ([text, "--words", str(files / "none.txt")], DataError, "cannot read words"),
    ]
    for arguments, error, message in wrong:
        with pytest.raises(error, match=message) as raised:
            main(["damsm", *arguments, "--out", str(files / "out")])
        assert "\n" not in str(raised.value) and not (files / "out").exists()
    words.write_text("a\nbird\n")
    with pytest.raises(CheckpointError, match="knows 3 words besides padding and the list has 2"):
        main(["damsm", text, "--words", str(words), "--out", str(files / "out")])
    words.write_text("a\n\nbird\n")
    with pytest.raises(DataError, match="not a word"):
        main(["damsm", text, "--words", str(words), "--out", str(files / "out")])
