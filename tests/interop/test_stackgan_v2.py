"""The importer of the authors' StackGAN-v2 files: models without captions, branches it has no golden set for, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from limner.cli.main import main
from limner.core.errors import LimnerError
from limner.core.trainable import Conditions
from limner.interop.networks import load_networks
from limner.interop.stackgan_v2 import import_stackgan_v2, read_stackgan_v2
from limner.methods.stackgan_v2 import StackGANv2, StackGANv2Settings
from limner.model import load
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

GENERATOR = {"augmentation.linear.": "ca_net.fc.", "first.linear.": "h_net1.fc."}
GENERATOR |= {f"first.layers.{level}.": f"h_net1.upsample{level + 1}." for level in range(4)}
for _branch in range(4):
    GENERATOR |= {f"pictures.{_branch}.": f"img_net{_branch + 1}.img.", f"later.{_branch}.join.": f"h_net{_branch + 2}.jointConv."}
    GENERATOR[f"later.{_branch}.upsampling."] = f"h_net{_branch + 2}.upsample."
    GENERATOR |= {f"later.{_branch}.residuals.{block}.layers.": f"h_net{_branch + 2}.residual.{block}.block." for block in range(3)}


def written(method: StackGANv2, folder: Path) -> dict[str, Path]:
    """The method's networks under the authors' names, by player."""
    paths = {player: folder / f"{player}.pth" for player in method.players()}
    folder.mkdir()
    for player, path in paths.items():
        state = method.players()[player].module.state_dict()
        torch.save({f"module.{theirs(player, key, method)}": value for key, value in state.items()}, path)
    return paths


def theirs(player: str, key: str, method: StackGANv2) -> str:
    if player == "generator":
        return next(after + key.removeprefix(before) for before, after in GENERATOR.items() if key.startswith(before))
    free = method.settings.unconditional
    heads = {
        "matching.joint.": "jointConv.",
        "matching.logits.": "logits.0.",
        "reality.logits.": "logits.0." if free else "uncond_logits.0.",
    }
    if not key.startswith("picture."):
        return next(after + key.removeprefix(before) for before, after in heads.items() if key.startswith(before))
    _, layer, rest = key.split(".")
    if int(layer) < 11:
        return f"img_code_s16.{layer}.{rest}"
    block, place = divmod(int(layer) - 11, 3)
    doublings = {64: 0, 128: 1, 256: 2, 512: 3}[int(player.removeprefix("discriminator-"))]
    top = 16 * 2**doublings
    return f"img_code_s{32 * 2**block if block < doublings else f'{top}_{block - doublings + 1}'}.{place}.{rest}"


def tiny(branches: int, **values: object) -> StackGANv2:
    settings = StackGANv2Settings(
        branches=branches,
        noise_width=5,
        condition_width=6,
        generator_channels=8,
        discriminator_channels=2,
        residual_blocks=2,
        **values,  # type: ignore[arg-type]
    )
    sentence_width = 0 if settings.unconditional else 7
    return StackGANv2(settings, Conditions(resolution=64 * 2 ** (branches - 1), sentence_width=sentence_width)).eval()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[key]) for key, value in a.items())


@pytest.mark.parametrize("branches", [1, 4])
def test_other_numbers_of_branches(branches: int, tmp_path: Path) -> None:
    """The fourth, which the authors never tried, has one residual block."""
    method = tiny(branches)
    found, players = read_stackgan_v2(list(written(method, tmp_path / "files").values()))
    wanted = method.settings if branches > 1 else StackGANv2Settings(**vars(method.settings) | {"residual_blocks": 2})
    assert found.settings == wanted and found.conditions == method.conditions and players[0] == "generator"
    assert same(found.state_dict(), method.state_dict())


def test_a_model_without_captions_paints_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The authors' dogs and churches: no augmentation, one head, and no text encoder to be given."""
    method = tiny(2, unconditional=True)
    files = written(method, tmp_path / "files")
    import_stackgan_v2([files["generator"]], tmp_path / "model")
    model = load(tmp_path / "model")
    assert not model.reads_text and model.generate(n=2)[0].size == (128, 128)
    assert same(model.method.generator.state_dict(), method.generator.state_dict())  # type: ignore[operator, union-attr]
    import_stackgan_v2([files["discriminator-128"]], tmp_path / "judge")
    judge, players = load_networks(tmp_path / "judge")
    assert players == ["discriminator-128"] and judge.settings.unconditional
    assert same(judge.players()[players[0]].module.state_dict(), method.players()[players[0]].module.state_dict())
    for player, words in (
        ("generator", "a model that reads no text; use it: limner generate"),
        ("discriminator-128", "the networks, without"),
    ):
        out = tmp_path / f"by-command-{player}"
        assert main(["import", "stackgan-v2", str(files[player]), "--out", str(out)]) == 0
        assert capsys.readouterr().out.startswith(f"{out}: {words}")


def test_what_is_refused(tmp_path: Path) -> None:
    encoder = RecurrentEncoder(WordTokenizer.build(["a red flower"]), RecurrentSettings(sentence_width=8))
    files, free = written(tiny(2), tmp_path / "files"), written(tiny(2, unconditional=True), tmp_path / "free")
    wider = written(tiny(3), tmp_path / "wider")
    state = torch.load(files["generator"], weights_only=True)
    other, short = tmp_path / "other.pth", tmp_path / "short.pth"
    torch.save({"weight": torch.zeros(2)}, other)
    torch.save({key: value for key, value in state.items() if "img_net2" not in key}, short)
    generator, judge, out = files["generator"], files["discriminator-128"], tmp_path / "out"
    cases = [
        (([other], out), "not a network of the authors' StackGAN-v2"),
        (([short], out), "the generator is not the authors' StackGAN-v2"),
        (([generator, generator], out), "a second generator"),
        (([], out), "no file to import"),
        (([generator, free["discriminator-64"]], out), "another unconditional than the other files"),
        (([generator, wider["discriminator-256"]], out), "looks at 256 px and the generator paints 128 px"),
        (([judge], out, encoder), "a model folder holds what paints"),
        (([generator], out, encoder), "8 numbers, the generator wants 7"),
        (([free["generator"]], out, encoder), "reads no text: give no text encoder"),
    ]
    for arguments, words in cases:
        with pytest.raises(LimnerError, match=words) as caught:
            import_stackgan_v2(*arguments)
        assert "\n" not in str(caught.value) and not out.exists()
