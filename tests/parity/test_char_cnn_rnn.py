"""char-CNN-RNN against stored results of its PyTorch port, from the port's files by way of `limner import`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limner.cli.main import main
from limner.core.errors import DataError
from limner.interop.char_cnn_rnn import port_name
from limner.matching.losses.joint_embedding import joint_embedding_loss, partners_found, symmetric_joint_embedding_loss
from limner.text.char_cnn_rnn import VARIANTS, CharCnnRnn
from limner.text.saving import load_encoder

GIVEN = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "char-cnn-rnn"
KEPT = Path(__file__).parent / "golden" / "char-cnn-rnn"
FOLDER = GIVEN if (GIVEN / "golden.json").exists() else KEPT  # this set is small enough to come with the tests
ABSOLUTE, RELATIVE = 2e-5, 1e-5  # arrays; losses

Golden = tuple[dict[str, Any], dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def golden() -> Golden:
    arrays = np.load(FOLDER / "golden.npz", allow_pickle=False)
    return json.loads((FOLDER / "golden.json").read_text(encoding="utf-8")), {name: arrays[name] for name in arrays.files}


def imported(file: Path, out: Path) -> CharCnnRnn:
    assert main(["import", "char-cnn-rnn", str(file), "--out", str(out)]) == 0
    encoder = load_encoder(out)
    assert isinstance(encoder, CharCnnRnn)
    return encoder


def ids_of(encoder: CharCnnRnn, captions: list[str]) -> torch.Tensor:
    """Our ids of the captions; an empty one, which Limner refuses, is nothing but padding."""
    ids = torch.zeros(len(captions), encoder.tokenizer.length, dtype=torch.int64)
    for row, caption in enumerate(captions):
        if caption:
            ids[row] = encoder.tokenizer([caption]).ids[0]
        else:
            with pytest.raises(DataError, match="is empty"):
                encoder([caption])
    return ids


def agrees(found: torch.Tensor, expected: np.ndarray, name: str, tolerance: float = ABSOLUTE) -> None:
    assert tuple(found.shape) == expected.shape, name
    difference = float(np.abs(found.numpy().astype(np.float64) - expected).max())
    print(f"{name}: largest difference {difference:.1e}")
    assert difference <= tolerance, (name, difference)


def compare_characters(golden: Golden) -> set[str]:
    facts, arrays = golden
    encoder = CharCnnRnn()
    assert encoder.tokenizer.alphabet == facts["alphabet"]
    ids = ids_of(encoder, facts["captions"])
    heard: list[torch.Tensor] = []
    handle = encoder.convolutions[0].register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
    encoder.read(ids)
    handle.remove()
    found = {name: value for name, value in (("labels", ids), ("onehot", heard[0])) if name in arrays}
    for name, value in found.items():
        agrees(value, arrays[name], name, tolerance=0)
    return set(found)


@torch.no_grad()
def compare_reduced(golden: Golden, tmp_path: Path) -> set[str]:
    facts, arrays = golden
    compared = set()
    for name, variant in facts["variants"].items():
        encoder = imported(FOLDER / variant["file"], tmp_path / name)
        ids = ids_of(encoder, facts["captions"])
        stretches, sentences = encoder.stretches(ids), encoder.read(ids)  # all captions in one batch; the stored ones one at a time
        assert stretches.shape[2] == variant["rnn_steps"] and sentences.shape == tuple(variant["batched_call_shape"])
        for key, found in ((f"{name}_conv_features", stretches), (f"{name}_emb", sentences)):
            if key in arrays:
                agrees(found, arrays[key], key)
                compared.add(key)
    return compared


@torch.no_grad()
def compare_full_width(golden: Golden, tmp_path: Path) -> set[str]:
    facts, arrays = golden
    formula = facts["weights_fill_for_full_width"]
    matched = re.search(r"float64: ([\d.]+)\*sin\(([\d.]+)\*i \+ ([\d.]+)\*ph\).* mod (\d+)\)/(\d+)", formula)
    assert matched, formula
    height, step, turn, modulus, divisor = (float(part) for part in matched.groups())
    compared = set()
    for variant, count in facts["full_param_counts"].items():
        network = CharCnnRnn(VARIANTS[variant])
        assert sum(parameter.numel() for parameter in network.parameters()) == count
        key = f"full_{variant.replace('/', '_')}_emb"
        if key not in arrays:
            continue
        weights = {}
        for name, value in ((port_name(name), value) for name, value in network.state_dict().items()):
            phase = sum(map(ord, name)) % modulus / divisor
            filled = height * np.sin(step * np.arange(value.numel()) + turn * phase)
            weights[name] = torch.from_numpy(filled.astype(np.float32)).view_as(value)
        file = tmp_path / f"{key}.pth"
        torch.save(weights, file)
        encoder = imported(file, tmp_path / key)
        assert encoder.settings == VARIANTS[variant]
        ids = ids_of(encoder, facts["captions"][: len(arrays[key])])
        agrees(encoder.read(ids), arrays[key], key)
        compared.add(key)
    return compared


def compare_loss(golden: Golden) -> set[str]:
    facts, arrays = golden
    expected = facts["sje_loss"]
    text, pictures = (torch.from_numpy(arrays[name]).requires_grad_() for name in ("sje_txt", "sje_img"))
    losses = {
        "loss_txt_img": joint_embedding_loss(pictures, text),
        "loss_img_txt": joint_embedding_loss(text, pictures),
        "symmetric_total": symmetric_joint_embedding_loss(text, pictures),
        "acc1_percent": 100 * partners_found(pictures, text).float().mean(),
        "acc2_percent": 100 * partners_found(text, pictures).float().mean(),
    }
    assert set(losses) <= set(expected)
    for name, value in losses.items():
        assert value.item() == pytest.approx(expected[name], rel=RELATIVE), name
    losses["symmetric_total"].backward()
    compared = {"sje_txt", "sje_img"}
    for name, leaf in (("sje_grad_txt", text), ("sje_grad_img", pictures)):
        if name in arrays:
            assert leaf.grad is not None
            agrees(leaf.grad, arrays[name], name)
            compared.add(name)
    return compared


def test_every_array_agrees(golden: Golden, tmp_path: Path) -> None:
    compared = compare_characters(golden) | compare_reduced(golden, tmp_path) | compare_full_width(golden, tmp_path)
    if "sje_loss" in golden[0]:
        compared |= compare_loss(golden)
    assert compared == set(golden[1]) and len(compared) > 0
