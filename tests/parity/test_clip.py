"""CLIP against stored results of the authors' code, from their checkpoints by way of `limner import`.

Captions' ids are compared where the published vocabulary is at hand: LIMNER_CLIP_VOCABULARY=.../bpe_simple_vocab_16e6.txt.gz
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limner.cli.main import main
from limner.core.trainable import Conditions
from limner.interop.clip import their_name
from limner.matching.models.clip import CLIP, CLIPSettings, contrastive_loss, text_settings
from limner.matching.saving import load_matching
from limner.matching.towers.clip import DEVIATION, MEAN
from limner.text.byte_pairs import BytePairTokenizer
from limner.text.clip_text import ClipText

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "clip"
ABSOLUTE, RELATIVE = 2e-5, 1e-5  # arrays; losses
TOWERS = ("vit", "rn")

Golden = tuple[dict[str, Any], dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def golden() -> Golden:
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    arrays = np.load(FOLDER / "golden.npz", allow_pickle=False)
    return json.loads((FOLDER / "golden.json").read_text(encoding="utf-8")), {name: arrays[name] for name in arrays.files}


def imported(file: Path, out: Path) -> CLIP:
    words = ["import", "clip", str(file), "--out", str(out), "--activation", "quick-gelu", "--vocabulary", "none"]
    assert main(words) == 0
    model = load_matching(out)
    assert isinstance(model, CLIP)
    return model


def agrees(found: torch.Tensor, expected: np.ndarray, name: str) -> None:
    assert tuple(found.shape) == expected.shape, name
    difference = float(np.abs(found.numpy().astype(np.float64) - expected).max())
    print(f"{name}: largest difference {difference:.1e}")
    assert difference <= ABSOLUTE, (name, difference)


@torch.no_grad()
def compare(tower: str, golden: Golden, tmp_path: Path) -> set[str]:
    facts, arrays = golden
    model = imported(FOLDER / facts[tower]["file"], tmp_path / tower)
    assert sum(parameter.numel() for parameter in model.parameters()) == facts[tower]["n_params"]
    assert {their_name(name): list(value.shape) for name, value in model.state_dict().items()} == facts[tower]["keys"]
    images, ids = torch.from_numpy(arrays[f"{tower}_image"]), torch.from_numpy(arrays["text"])
    text, features = model.encoder.read(ids), model.picture_side(images)
    pictures, sentences = torch.nn.functional.normalize(features), torch.nn.functional.normalize(text.sentence)
    logits = model.scale * model.similarity(pictures, sentences)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    agrees(model.embed_pictures(2 * (images * deviation + mean) - 1), pictures.numpy(), f"{tower} pictures in [-1, 1]")
    found = {"image_features": features, "text_features": text.sentence, "logits_per_image": logits, "logits_per_text": logits.T}
    compared = {"text", f"{tower}_image"}
    for name, value in found.items():
        if f"{tower}_{name}" in arrays:
            agrees(value, arrays[f"{tower}_{name}"], f"{tower}_{name}")
            compared.add(f"{tower}_{name}")
    loss, _ = contrastive_loss(pictures, sentences[:, None], model.scale)
    assert loss.item() == pytest.approx(facts[tower]["clip_loss"], rel=RELATIVE)
    return compared


def test_every_array_agrees(golden: Golden, tmp_path: Path) -> None:
    towers = [tower for tower in TOWERS if tower in golden[0]]
    compared = {name for tower in towers for name in compare(tower, golden, tmp_path)}
    assert compared == set(golden[1]) and len(compared) > 0


def test_published_sizes_have_the_published_counts(golden: Golden) -> None:
    sizes: dict[str, tuple[dict[str, Any], int]] = {
        "ViT-B/32": ({}, 224),
        "ViT-B/16": ({"patch": 16}, 224),
        "RN50": (resnet((3, 4, 6, 3), 64, 1024), 224),
        "RN101": (resnet((3, 4, 23, 3), 64, 512), 224),
        "RN50x4": (resnet((4, 6, 10, 6), 80, 640, text=640), 288),
        "ViT-L/14": (
            {"patch": 14, "width": 768, "picture_width": 1024, "picture_layers": (24,), "picture_heads": 16}
            | {"text_width": 768, "text_heads": 12},
            224,
        ),
    }
    counts = golden[0]["full_param_counts"]
    assert counts and set(counts) <= set(sizes)
    for name, expected in counts.items():
        values, resolution = sizes[name]
        settings = CLIPSettings(**values)
        with torch.device("meta"):
            encoder = ClipText(None, text_settings(settings, 49_408))
            model = CLIP(settings, Conditions(resolution=resolution, sentence_width=settings.width), encoder)
        assert sum(parameter.numel() for parameter in model.parameters()) == expected["total"], name
        assert sum(parameter.numel() for parameter in model.picture_side.parameters()) == expected["visual"], name


def resnet(layers: tuple[int, ...], stem: int, width: int, text: int = 512) -> dict[str, Any]:
    picture = {"tower": "resnet", "picture_width": stem, "picture_layers": layers, "picture_heads": stem * 32 // 64}
    return picture | {"width": width, "text_width": text, "text_heads": text // 64}


def test_captions_get_the_published_ids(golden: Golden) -> None:
    path = os.environ.get("LIMNER_CLIP_VOCABULARY")
    if not path:
        pytest.skip("set LIMNER_CLIP_VOCABULARY to bpe_simple_vocab_16e6.txt.gz of github.com/openai/CLIP")
    facts = golden[0]["tokenizer"]
    tokenizer = BytePairTokenizer.from_file(Path(path), facts["vocab_size"])
    rows = zip(facts["captions"], facts["bpe_encode"], facts["ids_77_truncate_true"], strict=True)
    for caption, encoded, ids in rows:
        assert tokenizer.encode(caption) == encoded, caption
        own = tokenizer([caption]).ids[0].tolist()
        assert own + [0] * (len(ids) - len(own)) == ids, caption
        assert tokenizer.was_cut(caption) == (len(encoded) + 2 > len(ids))
    assert facts["captions"]
