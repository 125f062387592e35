"""`limner explore complete`: the parts that can be kept, a page with a row for each caption, and its refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.cli.main import main
from limner.core.errors import SettingsError
from limner.core.trainable import Conditions
from limner.explore.complete import box_of, complete, kept_part
from limner.methods.dall_e import DALLE, SMALL, DALLESettings
from limner.model import Model, save_model
from limner.text.byte_pair_ids import BytePairIds


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    encoder = BytePairIds.learn(["a red flower", "a blue flower"] * 2, 270, 6)
    values = {**SMALL, "dvae_width": 8, "code_width": 8, "width": 16, "depth": 2, "vocabulary": 270, "context_length": 6}
    method = DALLE(DALLESettings(**values), Conditions(resolution=32, sentence_width=0, word_width=0))
    return Model(method, encoder, {"data": "garden"})


def test_parts() -> None:
    assert kept_part(box_of("top"), 8).sum() == kept_part(box_of("left"), 8).sum() == 32
    kept = kept_part(box_of("0.25,0.5,1,1"), 8)[0]
    assert kept[4:, 2:].all() and kept.sum() == 24
    for wrong in ("bottom", "0,0,1", "0,0,2,1", "0.5,0,0.5,1"):
        with pytest.raises(SettingsError, match="is not a part of a picture"):
            box_of(wrong)


def test_what_is_kept_stays(model: Model, tiny_model: Model) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    keep = kept_part(box_of("left"), 32)
    found = complete(model, ["a red flower"] * 2, pictures, keep, [0, 1], 5)
    assert np.array_equal(found[:, :, :16], pictures[:, :, :16]) and not np.array_equal(found[:, :, 16:], pictures[:, :, 16:])
    assert np.array_equal(complete(model, ["a red flower"], pictures[1:], keep, [1], 5), found[1:])
    with pytest.raises(SettingsError, match="completes no pictures"):
        complete(tiny_model, ["a red flower"], pictures, keep, [0, 1])
    with pytest.raises(SettingsError, match="nothing of the picture is kept"):
        complete(model, ["a red flower"], pictures[:1], torch.zeros_like(keep), [0])


def test_the_command(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "model", "dall-e", model.method, model.encoder, model.about, "A card.")
    Image.new("RGB", (70, 50), "red").save(tmp_path / "given.png")
    command = ["explore", "complete", str(tmp_path / "model"), str(tmp_path / "given.png"), "a red flower", "a blue flower"]
    assert main([*command, "--count", "2", "--temperature", "0.5", "--out", str(tmp_path / "page.png")]) == 0
    with Image.open(tmp_path / "page.png") as page:
        assert page.width > 4 * 32 and page.height > 2 * 32
    assert main([*command, "--top-p", "3", "--out", str(tmp_path / "no.png")]) == 2
    assert "limner: --top-p is 3.0" in capsys.readouterr().err and not (tmp_path / "no.png").exists()
    plain = ["generate", str(tmp_path / "model"), "a red flower", "-n", "2", "--out"]
    assert main([*plain, str(tmp_path / "one.png")]) == main([*plain, str(tmp_path / "other.png"), "--temperature", "0"]) == 0
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes()
