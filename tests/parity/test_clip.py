"""CLIP against stored results of the authors' code, from their checkpoints by way of `limner import`.

Captions' ids are compared where the published vocabulary is at hand: LIMNER_CLIP_VOCABULARY=.../bpe_simple_vocab_16e6.txt.gz
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from shared.golden_set import GoldenSet
from shared.rounding_more import Found, Realized, realized, scaled
from torch import Tensor

from limner.cli.main import main
from limner.core.trainable import Conditions
from limner.interop.clip import their_name
from limner.matching.models.clip import CLIP, CLIPSettings, contrastive_loss, text_settings
from limner.matching.saving import load_matching
from limner.matching.towers.clip import DEVIATION, MEAN
from limner.text.byte_pairs import BytePairTokenizer
from limner.text.clip_text import ClipText


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("clip")


def towers(golden: GoldenSet) -> list[str]:
    """The stored models, each with one kind of picture side."""
    return [name for name, entry in golden.facts.items() if isinstance(entry, dict) and "clip_loss" in entry]


@pytest.fixture(scope="module")
def models(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CLIP]:
    folder, found = tmp_path_factory.mktemp("clip"), {}
    for tower in towers(golden):
        file, out = golden.folder / golden.facts[tower]["file"], folder / tower
        assert main(["import", "clip", str(file), "--out", str(out), "--activation", "quick-gelu", "--vocabulary", "none"]) == 0
        model = load_matching(out)
        assert isinstance(model, CLIP)
        found[tower] = model
    return found


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, models: dict[str, CLIP]) -> Realized:
    return realized(compute, models, golden.arrays, batch_losses=False)


@torch.no_grad()
def compute(models: dict[str, CLIP], given: dict[str, Tensor]) -> Found:
    """Every array and loss; the same pictures in [-1, 1], as Limner's models take them, under names of their own."""
    found = Found({})
    for tower, model in models.items():
        images = given[f"{tower}_image"]
        text, features = model.encoder.read(given["text"]), model.picture_side(images)
        pictures, sentences = F.normalize(features), F.normalize(text.sentence)
        logits = model.scale * model.similarity(pictures, sentences)
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        arrays = {"image_features": features, "text_features": text.sentence, "logits_per_image": logits, "logits_per_text": logits.T}
        arrays |= {"embedded": pictures, "embedded_of_scaled": model.embed_pictures(2 * (images * deviation + mean) - 1)}
        found.arrays |= {f"{tower}_{name}": value for name, value in arrays.items()}
        found.losses[tower] = contrastive_loss(pictures, sentences[:, None], model.scale)[0]
    return Found(**vars(found))


def outputs(golden: GoldenSet) -> dict[str, Tensor]:
    return {name: value for name, value in golden.arrays.items() if name != "text" and not name.endswith("_image")}


def losses(golden: GoldenSet) -> dict[str, float]:
    return {tower: golden.facts[tower]["clip_loss"] for tower in towers(golden)}


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(outputs(golden))


def test_every_loss(golden: GoldenSet, everything: Realized) -> None:
    everything.same_losses(losses(golden))


def test_pictures_in_limner_s_range_are_the_authors_normalised_ones(golden: GoldenSet, everything: Realized) -> None:
    for tower in towers(golden):
        everything.same_arrays({f"{tower}_embedded": everything.single.arrays[f"{tower}_embedded_of_scaled"]})


def test_every_parameter(golden: GoldenSet, models: dict[str, CLIP]) -> None:
    for tower, model in models.items():
        assert sum(parameter.numel() for parameter in model.parameters()) == golden.facts[tower]["n_params"]
        assert {their_name(name): list(value.shape) for name, value in model.state_dict().items()} == golden.facts[tower]["keys"]


Given = tuple[dict[str, CLIP], dict[str, Tensor]]
BREAKS: dict[str, tuple[str, Callable[[Given], None]]] = {
    "a weight of the text side": ("arrays", lambda given: scaled([*given[0].values()][0].encoder.get_parameter(last_matrix(given)))),
    "the pictures": ("arrays", lambda given: scaled(given[1][f"{[*given[0]][-1]}_image"])),
    "the temperature": ("losses", lambda given: scaled([*given[0].values()][0].log_scale)),
}


def last_matrix(given: Given) -> str:
    encoder = [*given[0].values()][0].encoder
    return [name for name, value in encoder.named_parameters() if value.ndim == 2][-1]


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, models: dict[str, CLIP], everything: Realized, name: str) -> None:
    kind, change = BREAKS[name]
    everything.notices(kind, outputs(golden) if kind == "arrays" else losses(golden), change, compute, models, golden.arrays)


def test_published_sizes_have_the_published_counts(golden: GoldenSet) -> None:
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
    counts = golden.part("full_param_counts")
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


def test_captions_get_the_published_ids(golden: GoldenSet) -> None:
    path = os.environ.get("LIMNER_CLIP_VOCABULARY")
    if not path:
        pytest.skip("set LIMNER_CLIP_VOCABULARY to bpe_simple_vocab_16e6.txt.gz of github.com/openai/CLIP")
    facts = golden.part("tokenizer")
    tokenizer = BytePairTokenizer.from_file(Path(path), facts["vocab_size"])
    rows = zip(facts["captions"], facts["bpe_encode"], facts["ids_77_truncate_true"], strict=True)
    for caption, encoded, ids in rows:
        assert tokenizer.encode(caption) == encoded, caption
        own = tokenizer([caption]).ids[0].tolist()
        assert own + [0] * (len(ids) - len(own)) == ids, caption
        assert tokenizer.was_cut(caption) == (len(encoded) + 2 > len(ids))
    assert facts["captions"]
