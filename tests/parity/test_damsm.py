"""DAMSM's image encoder against stored results of AttnGAN's: weights by the set's recipe, read through the importer.

Text encoder and losses have a set of their own: test_attngan_text.py.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.interop.damsm import read_damsm
from limner.matching.models.damsm import DAMSM
from limner.matching.saving import load_matching, save_matching

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "damsm"
EVALUATION = 2e-5


def recipe_weight(name: str, shape: list[int], factor: float) -> torch.Tensor:
    """A tensor by the recipe that golden.json states in words."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    generator = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    if name.endswith("running_var"):
        value = generator.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        value = 0.1 * generator.standard_normal(shape)
    elif len(shape) < 2:
        value = float(name.endswith("weight")) + 0.1 * generator.standard_normal(shape)
    else:
        value = generator.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    tensor = torch.from_numpy(np.asarray(value).astype(np.float32))
    return tensor * factor if len(shape) > 1 else tensor


def text_tensors(words: int, width: int) -> dict[str, torch.Tensor]:
    """A text encoder of any weights in the authors' form, which the image encoder is imported with."""
    lstm = torch.nn.LSTM(3, width // 2, batch_first=True, bidirectional=True)
    return {"encoder.weight": torch.rand(words + 1, 3), **{f"rnn.{name}": value for name, value in lstm.state_dict().items()}}


@pytest.fixture(scope="module")
def golden():
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    facts = json.loads((FOLDER / "golden.json").read_text())
    with np.load(FOLDER / facts["arrays_file"], allow_pickle=False) as arrays:
        return facts, {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@torch.no_grad()
def test_every_array(golden, tmp_path: Path) -> None:
    facts, arrays = golden
    factor = float(re.search(r"multiplied by ([0-9.]+[0-9])", facts["state_dict"]["recipe"])[1])
    weights = {name: recipe_weight(name, shape, factor) for name, shape in facts["state_dict"]["keys_and_shapes"]}
    torch.save({name: value for name, value in weights.items() if "num_batches" not in name}, tmp_path / "image.pth")  # as old files are
    torch.save(text_tensors(4, facts["config"]["nef"]), tmp_path / "text.pth")
    inputs = {name for name, entry in facts["arrays"].items() if entry["role"] == "input"}
    expected, compared, largest = set(facts["arrays"]) - inputs, 0, 0.0
    (image,) = inputs
    pictures = arrays[image].float() / 127.5 - 1
    for corners, resize in ((False, "align_false"), (True, "align_true")):
        model = read_damsm(tmp_path / "text.pth", tmp_path / "image.pth", ["a", "bird", "that", "sings"], align_corners=corners)
        trained = model.picture_side.players()
        assert sum(value.numel() for value in trained.parameters()) == facts["params"]["trainable (emb_features + emb_cnn_code)"]
        assert sum(value.numel() for value in model.picture_side.parameters()) == facts["params"]["all"]
        if corners:  # once as what is read back from disk
            save_matching(tmp_path / "model", "damsm", model, {}, "a card")
            loaded = load_matching(tmp_path / "model")
            assert isinstance(loaded, DAMSM)
            model = loaded
        regions, code = model.picture_side(pictures)
        for name, value in ((f"features_{resize}", regions.unflatten(2, (17, 17))), (f"code_{resize}", code)):
            assert list(value.shape) == facts["arrays"][name]["shape"], name
            torch.testing.assert_close(value, arrays[name], rtol=0, atol=EVALUATION, msg=lambda text, name=name: f"{name}: {text}")
            largest, compared = max(largest, float((value - arrays[name]).abs().max())), compared + 1
            expected.discard(name)
    assert compared and not expected, f"not compared: {sorted(expected)}"
    print(f"\n{compared} arrays, largest difference {largest:.1e}")
