"""Folders that Limner 0.1 wrote load, and give the numbers that it gave: `written_by_0_1` holds small ones and `expected.npz`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.core import folder
from limner.core.errors import CheckpointError
from limner.core.files import sha256
from limner.interop.networks import load_networks
from limner.matching.models.damsm import DAMSM
from limner.matching.saving import load_matching
from limner.methods.attngan import AttnGAN
from limner.methods.stackgan import StackGAN
from limner.model import load
from limner.text.saving import load_encoder

FOLDERS = Path(__file__).parent / "written_by_0_1"
CAPTIONS = ["a red flower", "two petals of blue"]
ROUNDINGS = 200
"""How far a number may be from that of another machine, in roundings of a float32 as large as the largest of its kind. Computed in float64,
none is further away than 10; a processor that adds in another order may add as many again for each of a dozen layers."""


@pytest.fixture(scope="module")
def expected() -> dict[str, NDArray[np.generic]]:
    with np.load(FOLDERS / "expected.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def assert_same(given: Tensor, expected: NDArray[np.generic]) -> None:
    tolerance = ROUNDINGS * np.finfo(np.float32).eps * np.abs(expected).max()
    np.testing.assert_allclose(given.numpy(), expected, rtol=0, atol=tolerance)


def ramp(side: int) -> Tensor:
    return torch.linspace(-1, 1, 2 * 3 * side * side).view(2, 3, side, side)


@torch.inference_mode()
@pytest.mark.parametrize(("name", "method"), [("model", StackGAN), ("imported", AttnGAN)])
def test_a_model_paints_the_same_pictures(name: str, method: type, expected: dict[str, NDArray[np.generic]]) -> None:
    model = load(FOLDERS / name)
    assert isinstance(model.method, method)
    pictures = model.pictures(CAPTIONS, [0, 1], 3)
    assert np.abs(pictures.astype(int) - expected[name].astype(int)).max() <= 1  # where rounding decides between two levels
    assert_same(model.method.paint(model.encode(CAPTIONS), model.noise(3, [0, 1])).images, expected[f"{name}_float"])


def test_a_model_has_its_style_encoder_and_its_plain_state() -> None:
    model, stored = load(FOLDERS / "model"), load_file(FOLDERS / "model" / "model.safetensors")
    assert model.style is not None and isinstance(model.method, StackGAN)
    assert {f"style.{name}" for name in model.style.state_dict()} == {name for name in stored if name.startswith("style.")}
    assert all(torch.equal(value, stored[f"style.{name}"]) for name, value in model.style.state_dict().items())
    assert stored["method.stage"] == 2 and model.method.stage == 2 and type(model.method.stage) is int


def test_the_stage_that_paints_is_read_and_not_assumed(tmp_path: Path) -> None:
    out = copied("model", tmp_path)
    tensors = load_file(out / "model.safetensors")
    tensors["method.stage"] = torch.ones_like(tensors["method.stage"])
    save_file(tensors, out / "model.safetensors")
    changed(out, weights_sha256=sha256(out / "model.safetensors"))
    assert load(out).resolution == 16


@torch.inference_mode()
def test_a_matching_model_gives_the_same_embeddings(expected: dict[str, NDArray[np.generic]]) -> None:
    model = load_matching(FOLDERS / "matching")
    assert isinstance(model, DAMSM)
    assert_same(model.embed_captions(CAPTIONS), expected["captions"])
    assert_same(model.embed_pictures(ramp(32)), expected["pictures"])


@torch.inference_mode()
def test_a_text_encoder_gives_the_same_sentences(expected: dict[str, NDArray[np.generic]]) -> None:
    assert_same(load_encoder(FOLDERS / "text")(CAPTIONS).sentence, expected["sentence"])
    for name in ("model", "imported", "matching"):  # whatever reads with one can give it away
        assert load_encoder(FOLDERS / name)(CAPTIONS).sentence.shape == (2, 8)


@torch.inference_mode()
def test_networks_alone_give_the_same_maps(expected: dict[str, NDArray[np.generic]]) -> None:
    method, players = load_networks(FOLDERS / "networks")
    assert isinstance(method, AttnGAN) and players == ["discriminator-16"]
    assert_same(method.players()["discriminator-16"].module.look(ramp(16)), expected["code"])


@pytest.mark.parametrize(
    ("name", "kind"), [("model", "method"), ("imported", "method"), ("matching", "matching"), ("text", "text"), ("networks", "networks")]
)
def test_each_is_known_by_its_kind_and_refused_when_damaged(name: str, kind: str, tmp_path: Path) -> None:
    out = copied(name, tmp_path)
    assert folder.kind_of(out) == kind
    (weights,) = out.glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=f"{weights.name} is not the file its config.json speaks of") as caught:
        folder.read(out, kind)
    assert "\n" not in str(caught.value)
    changed(out, version=7)
    with pytest.raises(CheckpointError, match="has version 7 of limner-[a-z-]+: use the Limner that wrote it"):
        folder.read(out, kind)


def copied(name: str, where: Path) -> Path:
    return Path(shutil.copytree(FOLDERS / name, where / name))


def changed(out: Path, **values: object) -> None:
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    (out / "config.json").write_text(json.dumps(config | values), encoding="utf-8")
