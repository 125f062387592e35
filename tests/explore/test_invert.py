"""Inversion, editing of given pictures and walks between them, on a model that finds its own pictures again, and on the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from limner.cli.explore import edit as edit_command
from limner.cli.explore import interpolate as interpolate_command
from limner.cli.explore import invert as invert_command
from limner.cli.explore import restyle as restyle_command
from limner.cli.main import main
from limner.core.errors import SettingsError
from limner.core.trainable import Conditions
from limner.explore.edit import edit_grid, edit_pictures
from limner.explore.invert import between_pictures, invert, inverted_page
from limner.explore.restyle import by_codes, restyle, restyle_by_codes
from limner.methods.ci_gan import CIGAN, CIGANSettings
from limner.model import Model
from limner.text.recurrent import RecurrentEncoder
from limner.text.tokenizers import WordTokenizer

SIDE = 16


@pytest.fixture(scope="module")
def model() -> Model:
    """An untrained CI-GAN of 16 px."""
    torch.manual_seed(0)
    encoder = RecurrentEncoder(WordTokenizer.build(["a red flower with five petals", "the blue bird at night"]))
    networks = {"noise_width": 6, "style_width": 8, "mapping_layers": 2, "channel_base": 128, "channel_limit": 12}
    settings = CIGANSettings(**networks, perceptual=None, edit_steps=3, edit_rate=0.2)  # type: ignore[arg-type]
    method = CIGAN(settings, Conditions(resolution=SIDE, sentence_width=encoder.sentence_width))
    return Model(method, encoder, {"data": "garden"})


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)


@pytest.fixture
def files(pictures: np.ndarray, tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, picture in zip(paths, pictures):
        Image.fromarray(picture).resize((40, 40), Image.Resampling.NEAREST).save(path)
    return [*map(str, paths)]


def test_what_is_found_again(model: Model, pictures: np.ndarray) -> None:
    found = invert(model, pictures)
    method = model.method
    assert isinstance(method, CIGAN)
    given = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        images = method.paint_codes(method.invert(given), model.noise(0, np.arange(3))).images
    expected = ((images + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(found.rebuilt - expected).max() <= 0.51
    alone = invert(model, pictures[:1])
    assert np.abs(alone.rebuilt[0].astype(int) - found.rebuilt[0]).max() <= 1
    assert "PSNR" in found.lines(["a", "b", "c"])[2] and found.lines(["a", "b", "c"])[2].startswith("c: ")
    assert inverted_page(found, ["a", "b", "c"]).height > 3 * 128


def test_given_pictures_are_edited(model: Model, pictures: np.ndarray) -> None:
    told: list[tuple[int, int, str]] = []
    found = edit_pictures(model, pictures, [("", "a blue bird")] * 3, progress=lambda *words: told.append(words))
    assert told == [(1, 3, "editing"), (2, 3, "editing"), (3, 3, "editing")] and found.change().mean() > 0
    assert found.given is pictures and np.array_equal(found.before, invert(model, pictures).rebuilt)
    named = edit_pictures(model, pictures, [("a red bird", "a blue bird")] * 3)
    assert not np.array_equal(named.after, found.after)
    same = edit_pictures(model, pictures, [("a red bird", "a red bird")] * 3)
    assert same.change().mean() < named.change().mean()
    assert edit_grid(found).width > edit_grid(named).width - 1 > 4 * 128
    with pytest.raises(SettingsError, match="some pictures come with a caption of what they show and some without"):
        edit_pictures(model, pictures[:2], [("", "a blue bird"), ("a red bird", "a blue bird")])


def test_a_walk_between_pictures(model: Model, pictures: np.ndarray) -> None:
    walk, ends = between_pictures(model, pictures[:2], steps=5), invert(model, pictures[:2])
    assert walk.shape == (5, SIDE, SIDE, 3)
    assert np.abs(walk[0].astype(int) - ends.rebuilt[0]).max() <= 1
    long = between_pictures(model, pictures[:2], steps=65)
    assert np.abs(long[[0, 32, 64]].astype(int) - walk[[0, 2, 4]]).max() <= 1, "painted in two parts"
    with pytest.raises(SettingsError, match="--steps is 1"):
        between_pictures(model, pictures[:2], steps=1)


def test_captions_in_the_style_of_a_picture_keep_its_code(model: Model, pictures: np.ndarray) -> None:
    """Without a style encoder: what captions say is changed in each picture's code, under one noise for all captions of a picture."""
    painted = restyle(model, pictures, ["a red bird", "a blue bird"])
    assert by_codes(model) and painted.shape == (3, 2, SIDE, SIDE, 3)
    assert not np.array_equal(painted[0, 0], painted[1, 0]) and not np.array_equal(painted[0, 0], painted[0, 1])
    alone = edit_pictures(model, pictures[:1], [("", "a blue bird")]).after
    assert np.abs(alone[0].astype(int) - painted[0, 1]).max() <= 1


def test_the_seed_draws_the_noise_of_captions_in_a_style(
    model: Model, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, noise = [], Model.noise

    def noted(self: Model, seed: int, samples: Any) -> Any:
        drawn.append(seed)
        return noise(self, seed, samples)

    monkeypatch.setattr(Model, "noise", noted)
    monkeypatch.setattr(restyle_command, "open_model", lambda name, device: model)
    command = ["explore", "restyle", "any", *files, "--captions", "a red bird", "--out", str(tmp_path / "page.png")]
    assert main(command) == 0 and drawn == [0, 0]
    assert main([*command, "--seed", "5"]) == 0 and drawn == [0, 0, 5, 5]


def test_each_picture_is_inverted_once_whatever_is_made_of_it(model: Model, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    method = model.method
    assert isinstance(method, CIGAN)
    monkeypatch.setattr(method, "settings", dataclasses.replace(method.settings, invert_steps=2))
    told: list[tuple[int, int, str]] = []
    found, painted = restyle_by_codes(model, pictures[:2], ["a red bird", "a blue bird"], lambda *words: told.append(words))
    course = [f"{verb} picture {number} of 2" for number in (1, 2) for verb in ("inverting", "inverting", "editing", "editing", "editing")]
    assert [what for *_, what in told] == course and told[0][:2] == (1, 2) and told[2][:2] == (1, 3)
    assert np.abs(found.rebuilt.astype(int) - invert(model, pictures[:2]).rebuilt).max() <= 1 and painted.shape[:2] == (2, 2)

    told.clear()
    edit_pictures(model, pictures[:2], [("", "a blue bird")] * 2, progress=lambda *words: told.append(words))
    assert [what for *_, what in told] == ["inverting"] * 2 + ["editing"] * 3
    told.clear()
    invert(model, pictures, progress=lambda *words: told.append(words))
    between_pictures(model, pictures[:2], progress=lambda *words: told.append(words))
    assert told == [(1, 2, "inverting"), (2, 2, "inverting")] * 2


def test_models_that_cannot_say_so(tiny_model: Model, pictures: np.ndarray) -> None:
    with pytest.raises(SettingsError, match="finds no codes of pictures"):
        invert(tiny_model, pictures)
    with pytest.raises(SettingsError, match="edits no given pictures"):
        edit_pictures(tiny_model, pictures, [("", "a red flower")] * 3)


def test_the_commands(
    model: Model, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (edit_command, interpolate_command, invert_command, restyle_command):
        monkeypatch.setattr(command, "open_model", lambda name, device: model)
    out = tmp_path / "a" / "page.png"
    assert main(["explore", "invert", "any", "--picture", *files, "--out", str(out)]) == 0
    assert "0.png: PSNR" in capsys.readouterr().out and out.exists()
    assert main(["explore", "invert", "any", "--count", "2", "--out", str(out)]) == 0
    assert "picture 2: PSNR" in capsys.readouterr().out
    plain = out.read_bytes()
    assert main(["explore", "invert", "any", "--count", "2", "--invert-steps", "20", "--out", str(out)]) == 0
    assert out.read_bytes() != plain and model.method.settings.invert_steps == 20
    edit = ["explore", "edit", "any", "--out", str(out), "--picture", files[0], "--picture", files[1]]
    before = model.method.settings
    assert main([*edit, "--steps", "0", "--invert-steps", "0", "--aim", "whole", "a blue bird"]) == 0
    assert model.method.settings.invert_steps == 0
    assert "mean change" in capsys.readouterr().out and model.method.settings.edit_steps == 0 and model.method.settings.edit_whole
    model.method.settings = before
    assert main([*edit, "a red flower", "a blue flower"]) == 0
    assert "colour: right before in" in capsys.readouterr().out
    assert main([*edit, "", "a blue flower"]) == 0
    assert "name its colour" not in capsys.readouterr().out
    assert main(["explore", "restyle", "any", *files, "--captions", "a red bird", "a blue bird", "--out", str(out)]) == 0
    assert "0.png: PSNR" in capsys.readouterr().out
    assert main(["explore", "restyle", "any", *files, "--captions", "a red bird", "--invert-steps", "2", "--out", str(out)]) == 0
    assert model.method.settings.invert_steps == 2
    model.method.settings = before
    capsys.readouterr()
    assert main(["explore", "restyle", "any", "--count", "2", "--captions", "a blue bird", "--out", str(out)]) == 0
    assert "picture 2: PSNR" in capsys.readouterr().out
    assert main(["explore", "interpolate", "any", "--pictures", *files, "--steps", "4", "--out", str(out)]) == 0
    with Image.open(out) as strip:
        assert strip.size == (4 * SIDE, SIDE)
    for words, message in (
        ([*edit], "with --picture give what it shall show"),
        ([*edit, "a bird", "--attribute", "colour"], "with --picture give what it shall show"),
        ([*edit, "a red bird", ""], "a caption is empty: say what to paint"),
        ([*edit, "a red bird", "a blue bird", "--aim", "whole"], "--aim is for one caption"),
        ([*edit, "a blue bird", "--count", "3"], "--count is for noises and captions: leave it out with --picture"),
        ([*edit, "zzz"], "knows none of the words"),
        ([*edit, "a blue bird", "--steps", "-1"], "limner: --steps is -1"),
        ([*edit, "a blue bird", "--picture-weight", "-1"], "limner: --picture-weight is -1"),
        (["explore", "edit", "any", "a bird", "a bird", "--aim", "said", "--out", str(out)], "--aim is for given pictures"),
        (["explore", "edit", "any", "a bird", "a bird", "--invert-steps", "3", "--out", str(out)], "--invert-steps is for given pictures"),
        (["explore", "interpolate", "any", "--captions", "a", "b", "--invert-steps", "3", "--out", str(out)], "is for given pictures"),
        (["explore", "invert", "any", "--invert-steps", "-1", "--out", str(out)], "limner: --invert-steps is -1"),
        (["explore", "invert", "any", "--out", str(out), "--picture"], "--picture names no file"),
        (["explore", "invert", "any", "--picture", *files, "--split", "x", "--out", str(out)], "leave it out with --picture"),
        (["explore", "invert", "any", "--picture", *files, "--count", "0", "--out", str(out)], "--count is for pictures of the data"),
        (["explore", "restyle", "any", *files, "--count", "2", "--out", str(out)], "--count is for pictures of the data"),
        (["explore", "restyle", "any", *files, "--split", "x", "--captions", "a bird", "--out", str(out)], "with PICTURE and --captions"),
        (["explore", "invert", "any", "--picture", "none.png", "--out", str(out)], "none.png"),
        (["explore", "interpolate", "any", "--pictures", *files, "--caption", "a bird", "--out", str(out)], "or --pictures A.png B.png"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
