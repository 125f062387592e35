"""What the importer of HDGAN's files reads and refuses; that it reads them right is for tests/parity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.cli.main import main
from limner.core.errors import LimnerError
from limner.core.trainable import Conditions
from limner.interop.hdgan import import_hdgan
from limner.interop.networks import load_networks
from limner.methods.hdgan import HDGAN, HDGANSettings

WIDTHS = HDGANSettings(
    noise_width=5,
    condition_width=3,
    text_width=6,
    generator_channels=32,
    residual_blocks=2,
    nested=(64, 128),
    discriminator_channels=8,
    code_channels=4,
)


def authors_name(key: str) -> str:
    """A discriminator's key as the authors have it: written apart from the importer's table, in the other direction."""
    side, part, *rest = key.split(".")
    if part == "shrink":
        return ".".join(["pre_encode", *rest])
    before = {
        "picture": f"img_encoder_{side}.node",
        "text": f"context_emb_pipe_{side}",
        "joint": f"pair_disc_{side}.node",
        "local": f"local_img_disc_{side}",
    }
    return ".".join([before[part], *rest])


@pytest.fixture
def discriminator(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    method = HDGAN(WIDTHS, Conditions(resolution=256, sentence_width=7))
    path = tmp_path / "D_epoch5.pth"
    torch.save({authors_name(key): value for key, value in method.discriminator.state_dict().items()}, path)
    return path


def test_a_discriminator_alone_keeps_its_sizes(discriminator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line, with DataParallel's prefix, which the authors' own saving strips."""
    state, out = torch.load(discriminator, weights_only=True), tmp_path / "out"
    torch.save({f"module.{key}": value for key, value in state.items()}, discriminator)
    assert main(["import", "hdgan", str(discriminator), "--out", str(out)]) == 0
    assert "needs --encoder" in capsys.readouterr().out
    method, players = load_networks(out)
    assert players == ["discriminator"] and method.conditions == Conditions(resolution=256, sentence_width=7)
    settings = method.settings
    assert (settings.discriminator_channels, settings.code_channels, settings.text_width, settings.nested) == (8, 4, 6, (64, 128))
    own = method.players()["discriminator"].module.state_dict()
    assert len(own) == len(state) and all(torch.equal(own[key], state[authors_name(key)]) for key in own)


def test_what_is_refused(discriminator: Path, tmp_path: Path) -> None:
    state = torch.load(discriminator, weights_only=True)
    second, other, old, out = tmp_path / "G512.pth", tmp_path / "other.pth", tmp_path / "old.pth", tmp_path / "out"
    torch.save({"generator_256.scale_4.0.res_block.0.1.weight": torch.zeros(1)}, second)
    torch.save({"netG.0.weight": torch.zeros(1)}, other)
    # before the published form the largest picture's local verdict was a 1x1 convolution, and nothing shrank its code
    torch.save({key: value for key, value in state.items() if not key.startswith("pre_encode")}, old)
    cases = [
        ([tmp_path / "none.pth"], "there is no file"),
        ([], "no file to import"),
        ([second], "second generator, of 512 px"),
        ([other], "no generator or discriminator of github.com/ypxie/HDGan"),
        ([old], "discriminator is not of HDGAN's published form"),
        ([discriminator, discriminator], "a second discriminator"),
    ]
    for files, words in cases:
        with pytest.raises(LimnerError, match=words) as caught:
            import_hdgan(files, out)
        assert "\n" not in str(caught.value) and not out.exists()
