"""`limner explore restyle`, and the model folder that it needs."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from PIL import Image

from limner.cli.explore import restyle as command
from limner.cli.main import main
from limner.core.errors import CheckpointError, DataError, SettingsError
from limner.core.noise import Noise, VectorNoise
from limner.core.recipes import from_preset, save_recipe
from limner.explore.restyle import inversion, page, read_picture, restyle
from limner.model import Model, load, save_model
from limner.parts.style import StyleEncoder, noise_fields


@pytest.fixture
def styled(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The tiny model with a style encoder, which the exploration finds whatever the name."""
    torch.manual_seed(1)
    style, method = StyleEncoder({"z": 100}, 4, 16), copy.deepcopy(tiny_model.method)
    torch.nn.init.normal_(style.to_noise.weight)  # as if it had learned to answer
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.mul_(4)  # so that pictures differ to the eye
    model = Model(method, tiny_model.encoder, {"data": "garden"}, style)
    monkeypatch.setattr(command, "open_model", lambda name, device: model)
    return model


def test_a_model_folder_holds_it(styled: Model, tmp_path: Path) -> None:
    save_model(tmp_path / "with", "gan-cls", styled.method, styled.encoder, {}, "", style=styled.style)
    save_model(tmp_path / "without", "gan-cls", styled.method, styled.encoder, {}, "")
    again, without = load(tmp_path / "with"), load(tmp_path / "without")
    pictures = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    found, expected = again.invert(pictures).z, styled.invert(pictures).z  # type: ignore[attr-defined]
    assert torch.equal(found, expected) and found.shape == (3, 100)
    assert torch.equal(again.invert(pictures / 127.5 - 1).z, expected)  # type: ignore[attr-defined]
    assert without.style is None
    with pytest.raises(SettingsError, match="no style encoder: .*--resume"):
        without.invert(pictures)
    config = (tmp_path / "with" / "config.json").read_text()
    (tmp_path / "with" / "config.json").write_text(config.replace('"channels": 4\n', '"channels": 8\n'))
    with pytest.raises(CheckpointError, match="cannot read a model that paints captions from .*StyleEncoder"):
        load(tmp_path / "with")


def test_a_row_a_picture_and_a_column_a_caption(styled: Model) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    captions = ["a red flower", "the blue bird", "five petals in one tree"]
    painted = restyle(styled, pictures, captions)
    assert painted.shape == (2, 3, 16, 16, 3)
    style = styled.invert(torch.from_numpy(pictures[1:]).permute(0, 3, 1, 2))
    expected = styled.paint(styled.encode(captions[2:]), style)[0].permute(1, 2, 0).numpy()
    assert np.abs(painted[1, 2].astype(int) - expected).max() <= 1  # the same picture in another batch
    assert not np.array_equal(painted[0, 0], painted[1, 0]) and not np.array_equal(painted[0, 0], painted[0, 1])
    sheet = page(pictures, painted, captions)
    assert sheet.width > 4 * 144 and 2 * 144 < sheet.height < sheet.width


def test_how_well_it_inverts(styled: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 for who knows z, 0 for who says 0, 3/4 for who says half of it."""
    captions = ["a red flower", "the blue bird"]
    drawn: list[VectorNoise] = []
    honest = styled.method.draw_noise

    def kept(seed: int, samples: ArrayLike) -> Noise:
        drawn.append(VectorNoise(**noise_fields(honest(seed, samples))))
        return drawn[-1]

    monkeypatch.setattr(styled, "noise", kept)
    off = []
    for factor, share in ((1.0, 1.0), (0.0, 0.0), (0.5, 0.75)):
        monkeypatch.setattr(styled, "invert", lambda pictures, factor=factor: VectorNoise(drawn[-2].z * factor))  # drawn before another
        found = inversion(styled, captions, count=70)
        assert found.noise == pytest.approx(share)
        off.append(found.picture)
        assert found.picture == found.mean or factor
    assert off[0] == 0 and 0 < off[2] < off[1] < 1
    monkeypatch.setattr(styled, "invert", lambda pictures: drawn[-1])  # who answers with other noise
    assert inversion(styled, captions, count=70).picture == pytest.approx(1)


def test_pictures_of_any_size_are_cut_to_their_centre(tmp_path: Path) -> None:
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = (200, 100, 50)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    middle = read_picture(tmp_path / "wide.png", 16)[:, 2:-2].astype(int)  # the edge is smoothed
    assert np.abs(middle - (200, 100, 50)).max() <= 3
    (tmp_path / "letter.png").write_text("dear")
    for name, message in (("letter.png", "not a picture"), ("none.png", "cannot read the picture"), (".", "cannot be used")):
        with pytest.raises(DataError, match=message):
            read_picture(tmp_path / name, 16)


def test_it_writes_a_page_and_says_how_well_s_inverts(styled: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (90, 60), "green").save(tmp_path / "one.png")
    Image.new("RGB", (20, 60), "red").save(tmp_path / "two.jpg")
    out = tmp_path / "new" / "restyle.png"
    given = [str(tmp_path / "one.png"), str(tmp_path / "two.jpg"), "--captions", "a red flower", "the blue bird"]
    assert main(["explore", "restyle", "any", *given, "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "In 256 pictures painted of these captions, the style encoder finds" in told
    assert main(["explore", "restyle", "any", *given, "--seed", "1", "--out", str(out)]) == 0
    assert capsys.readouterr().out != told  # the pictures that it is judged by are others
    with Image.open(out) as sheet:
        assert sheet.width > 3 * 144 and 2 * 144 < sheet.height < 3 * 144
    assert main(["explore", "restyle", "any", "--split", "val", "--count", "3", "--captions", "a red flower", "--out", str(out)]) == 0
    with Image.open(out) as sheet:
        assert 2 * 144 < sheet.width < 3 * 144 and sheet.height > 3 * 144


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.png", "--captions", "a red flower", "--out", "x.png"], "cannot read the picture none.png"),
        (["--captions", "", "--out", "x.png"], "a caption is empty"),
        (["--captions", "xyzzy", "--out", "x.png"], "knows none of the words"),
        (["--out", "x.gif"], "ends in .png"),
        (["--count", "0", "--out", "x.png"], "--count is 0"),
        (["--split", "vall", "--out", "x.png"], "did you mean 'val'"),
        (["--captions", "a red flower"], "missing: --out"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    words: list[str], message: str, styled: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explore", "restyle", "any", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_model_without_one_says_how_to_add_it(
    tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "open_model", lambda name, device: tiny_model)
    save_recipe(from_preset("gan-cls", "cpu", "garden"), tmp_path / "recipe.yaml")
    for name, message in (
        (str(tmp_path), f"add one by `limner train gan-cls --out {tmp_path} --resume --style.steps 3000`"),
        ("garden", "garden has no style encoder: give a run folder"),
    ):
        assert main(["explore", "restyle", name, "--out", str(tmp_path / "x.png")]) == 2
        told = capsys.readouterr().err
        assert message in told and told.count("\n") == 1
    method = copy.deepcopy(tiny_model.method)
    monkeypatch.setattr(method, "draw_noise", lambda seed, samples: VectorNoise(z=torch.rand(len(samples), 100)))
    monkeypatch.setattr(command, "open_model", lambda name, device: Model(method, tiny_model.encoder, {}))
    assert main(["explore", "restyle", "any", "--out", str(tmp_path / "x.png")]) == 2
    assert "any has no style encoder, and can have none: it paints from a noise 'z' that is not a vector" in capsys.readouterr().err
