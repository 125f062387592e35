"""What the importer of the port's files refuses, in one line each; that it reads them right is for tests/parity."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.core.errors import LimnerError
from limner.core.trainable import Conditions
from limner.interop.dcgan_cls import PREFIXES, import_dcgan_cls
from limner.interop.networks import load_networks
from limner.methods.dcgan_cls import DCGANCLS, DCGANCLSSettings
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Both networks under the port's names, without DataParallel's prefix."""
    settings = DCGANCLSSettings(noise_width=5, text_width=6, generator_channels=4, discriminator_channels=4)
    method = DCGANCLS(settings, Conditions(resolution=32, sentence_width=7))
    paths = {player: tmp_path / f"{player}.pth" for player in PREFIXES}
    for player, names in PREFIXES.items():
        back = {after: before for before, after in names.items()}
        state = method.players()[player].module.state_dict()
        renamed = {next(before + key.removeprefix(after) for after, before in back.items() if key.startswith(after)): key for key in state}
        torch.save({key: state[own] for key, own in renamed.items()}, paths[player])
    return paths


def test_a_network_alone_keeps_its_sizes(files: dict[str, Path], tmp_path: Path) -> None:
    import_dcgan_cls([files["discriminator"]], tmp_path / "out", objective="wasserstein")
    method, players = load_networks(tmp_path / "out")
    assert players == ["discriminator"] and method.conditions == Conditions(resolution=32, sentence_width=7)
    assert (method.settings.discriminator_channels, method.settings.objective) == (4, "wasserstein")
    weights = tmp_path / "out" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(LimnerError, match="not the file its config.json speaks of"):
        load_networks(tmp_path / "out")


def test_what_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    def encoder(width: int) -> RecurrentEncoder:
        return RecurrentEncoder(WordTokenizer.build(["a red flower"]), RecurrentSettings(sentence_width=width))

    broken, other, full = tmp_path / "broken.pth", tmp_path / "other.pth", tmp_path / "full"
    broken.write_bytes(b"no checkpoint")
    state = torch.load(files["generator"], weights_only=True)
    torch.save({key: value for key, value in state.items() if not key.startswith("projection.")}, other)  # the port's type vanilla_gan
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    generator, discriminator, out = files["generator"], files["discriminator"], tmp_path / "out"
    cases = [
        (([broken], out), "broken.pth is cut short, no PyTorch file, or holds more than tensors"),
        (([tmp_path / "none.pth"], out), "there is no file"),
        (([other], out), "no conditional network of the port"),
        (([generator, generator], out), "a second generator"),
        (([], out), "no file to import"),
        (([generator], full), "exists already"),
        (([discriminator], out, encoder(7)), "a model folder holds what paints"),
        (([generator], out, encoder(8)), "8 numbers, the generator wants 7"),
    ]
    for arguments, words in cases:
        with pytest.raises(LimnerError, match=words) as caught:
            import_dcgan_cls(*arguments)
        assert "\n" not in str(caught.value) and not out.exists()
