"""char-CNN-RNN against stored results of its PyTorch port, from the port's files by way of `limner import`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.golden_set import ROOT, GoldenSet
from shared.rounding_more import Found, Realized, realized, scaled
from torch import Tensor

from limner.cli.main import main
from limner.core.errors import DataError
from limner.interop.char_cnn_rnn import port_name
from limner.matching.losses.joint_embedding import joint_embedding_loss, partners_found, symmetric_joint_embedding_loss
from limner.text.char_cnn_rnn import VARIANTS, CharCnnRnn
from limner.text.saving import load_encoder

KEPT = Path(__file__).parent / "golden"  # this set is small enough to come with the tests
SYSTEM = "char-cnn-rnn"
INPUTS = {"sje_txt", "sje_img"}
EXACT = {"labels", "onehot"}


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet(SYSTEM, root=ROOT if (ROOT / SYSTEM / "golden.json").exists() else KEPT)


def imported(file: Path, out: Path) -> CharCnnRnn:
    assert main(["import", "char-cnn-rnn", str(file), "--out", str(out)]) == 0
    encoder = load_encoder(out)
    assert isinstance(encoder, CharCnnRnn)
    return encoder


@pytest.fixture(scope="module")
def encoders(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CharCnnRnn]:
    """The stored ones of reduced width, and those of full width whose weights a formula gives, by the beginnings of their arrays' names."""
    folder, found = tmp_path_factory.mktemp("char-cnn-rnn"), {}
    for name, variant in golden.facts["variants"].items():
        found[name] = imported(golden.folder / variant["file"], folder / name)
    for variant in golden.facts.get("full_param_counts", {}):
        name = f"full_{variant.replace('/', '_')}"
        if f"{name}_emb" in golden.arrays:
            torch.save(by_formula(golden, CharCnnRnn(VARIANTS[variant])), folder / f"{name}.pth")
            found[name] = imported(folder / f"{name}.pth", folder / name)
            assert found[name].settings == VARIANTS[variant]
    return found


def by_formula(golden: GoldenSet, network: CharCnnRnn) -> dict[str, Tensor]:
    """Weights for a network of full width, under the port's names."""
    formula = golden.facts["weights_fill_for_full_width"]
    matched = re.search(r"float64: ([\d.]+)\*sin\(([\d.]+)\*i \+ ([\d.]+)\*ph\).* mod (\d+)\)/(\d+)", formula)
    assert matched, formula
    height, step, turn, modulus, divisor = (float(part) for part in matched.groups())
    weights = {}
    for name, value in ((port_name(name), value) for name, value in network.state_dict().items()):
        phase = sum(map(ord, name)) % modulus / divisor
        filled = height * np.sin(step * np.arange(value.numel()) + turn * phase)
        weights[name] = torch.from_numpy(filled.astype(np.float32)).view_as(value)
    return weights


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, encoders: dict[str, CharCnnRnn]) -> Realized:
    return realized(
        computation(golden), encoders, {name: golden.arrays[name] for name in INPUTS if name in golden.arrays}, batch_losses=False
    )


def ids_of(encoder: CharCnnRnn, captions: list[str]) -> Tensor:
    """Our ids of the captions; an empty one, which Limner refuses, is nothing but padding."""
    ids = torch.zeros(len(captions), encoder.tokenizer.length, dtype=torch.int64)
    for row, caption in enumerate(captions):
        if caption:
            ids[row] = encoder.tokenizer([caption]).ids[0]
        else:
            with pytest.raises(DataError, match="is empty"):
                encoder([caption])
    return ids


def computation(golden: GoldenSet) -> Callable[..., Found]:
    """Every array and loss but the characters' own. All captions stand in one batch; the stored results are of one at a time."""

    def compute(encoders: dict[str, CharCnnRnn], given: dict[str, Tensor]) -> Found:
        arrays, losses = {}, {}
        for name, encoder in encoders.items():
            count = len(golden.arrays[f"{name}_emb"]) if f"{name}_emb" in golden.arrays else None
            ids = ids_of(encoder, golden.facts["captions"][:count])
            arrays |= {f"{name}_conv_features": encoder.stretches(ids), f"{name}_emb": encoder.read(ids).sentence}
        if given.keys() == INPUTS:
            text, pictures = (given[name].requires_grad_() for name in ("sje_txt", "sje_img"))
            losses = {
                "loss_txt_img": joint_embedding_loss(pictures, text),
                "loss_img_txt": joint_embedding_loss(text, pictures),
                "symmetric_total": symmetric_joint_embedding_loss(text, pictures),
                "acc1_percent": 100 * partners_found(pictures, text).float().mean(),
                "acc2_percent": 100 * partners_found(text, pictures).float().mean(),
            }
            slopes = torch.autograd.grad(losses["symmetric_total"], (text, pictures))
            arrays |= {"sje_grad_txt": slopes[0], "sje_grad_img": slopes[1]}
        return Found(arrays, losses)

    return compute


def outputs(golden: GoldenSet) -> dict[str, Tensor]:
    return {name: value for name, value in golden.arrays.items() if name not in INPUTS | EXACT}


def losses(golden: GoldenSet) -> dict[str, float]:
    return {name: value for name, value in golden.part("sje_loss").items() if name != "note"}


def test_characters(golden: GoldenSet) -> None:
    """Ids and what the convolutions hear, to the bit, where the set has them."""
    encoder = CharCnnRnn()
    assert encoder.tokenizer.alphabet == golden.facts["alphabet"]
    ids = ids_of(encoder, golden.facts["captions"])
    heard: list[Tensor] = []
    encoder.convolutions[0].register_forward_pre_hook(lambda module, inputs: heard.append(inputs[0]))
    encoder.read(ids)
    stored = [name for name in EXACT if name in golden.arrays]
    if not stored:
        pytest.skip(f"{golden.folder} has no {' and no '.join(sorted(EXACT))}")
    for name in stored:
        assert torch.equal({"labels": ids, "onehot": heard[0]}[name].double(), golden.arrays[name].double()), name


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(outputs(golden))


def test_every_loss(golden: GoldenSet, everything: Realized) -> None:
    everything.same_losses(losses(golden))


def test_shapes_and_counts(golden: GoldenSet, everything: Realized) -> None:
    for name, variant in golden.facts["variants"].items():
        assert everything.single.arrays[f"{name}_conv_features"].shape[2] == variant["rnn_steps"]
        assert everything.single.arrays[f"{name}_emb"].shape[1] == variant["emb_dim"]
    for variant, count in golden.part("full_param_counts").items():
        with torch.device("meta"):
            assert sum(parameter.numel() for parameter in CharCnnRnn(VARIANTS[variant]).parameters()) == count


Given = tuple[dict[str, CharCnnRnn], dict[str, Tensor]]
BREAKS: dict[str, tuple[str, Callable[[Given], None]]] = {
    "a convolution": ("arrays", lambda given: scaled([*given[0].values()][0].convolutions[1].weight)),
    "a recurrent weight": ("arrays", lambda given: scaled([*[*given[0].values()][-1].reader.parameters()][-2])),
    "a bias of the projection": ("arrays", lambda given: scaled([*given[0].values()][1].to_sentence.bias)),
    "the sentences of the loss": ("losses", lambda given: scaled(given[1]["sje_txt"])),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, encoders: dict[str, CharCnnRnn], everything: Realized, name: str) -> None:
    kind, change = BREAKS[name]
    stored = outputs(golden) if kind == "arrays" else losses(golden)
    given = {name: golden.arrays[name] for name in INPUTS if name in golden.arrays}
    everything.notices(kind, stored, change, computation(golden), encoders, given)
