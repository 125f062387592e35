"""DAMSM's image encoder against stored results of AttnGAN's: weights by the set's recipe, read through the importer.

Text encoder and losses have a set of their own: test_attngan_text.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shared.attentive_golden import BREAK, compare
from shared.attentive_sets import Golden
from shared.recipe import recipe_weights
from shared.rounding import Comparison, Disagreement, Results, results
from torch import Tensor, nn

from limner.interop.damsm import read_damsm
from limner.matching.models.damsm import DAMSM
from limner.matching.saving import load_matching, save_matching

RESIZES = {"align_false": False, "align_true": True}
"""How stored names end, and if corners were aligned when pictures were resized."""


def text_tensors(words: int, width: int) -> dict[str, Tensor]:
    """A text encoder of any weights in the authors' form, which the image encoder is imported with."""
    lstm = nn.LSTM(3, width // 2, batch_first=True, bidirectional=True)
    return {"encoder.weight": torch.rand(words + 1, 3), **{f"rnn.{name}": value for name, value in lstm.state_dict().items()}}


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("damsm")


@pytest.fixture(scope="module")
def read(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], DAMSM]:
    """The importer of the stored weights. Given: whether corners are aligned."""
    folder = tmp_path_factory.mktemp("damsm")
    weights = recipe_weights(golden.facts, golden.facts["state_dict"])
    torch.save({name: value for name, value in weights.items() if "num_batches" not in name}, folder / "image.pth")  # as old files are
    torch.save(text_tensors(4, golden.facts["config"]["nef"]), folder / "text.pth")
    return lambda corners: read_damsm(folder / "text.pth", folder / "image.pth", ["a", "bird", "that", "sings"], align_corners=corners)


@torch.no_grad()
def seen(golden: Golden, model: DAMSM) -> dict[str, Tensor]:
    """Regions and code of the stored pictures."""
    (name,) = (name for name, facts in golden.facts["arrays"].items() if facts["role"] == "input")
    regions, code = model.picture_side(golden[name.removesuffix("_u8")])
    return {"features": regions, "code": code}


def named(golden: Golden, found: Results, ending: str) -> Results:
    """The same by stored names, those that are stored."""

    def of(values: dict[str, Tensor]) -> dict[str, Tensor]:
        values = {f"{name}_{ending}": value for name, value in values.items() if f"{name}_{ending}" in golden.arrays}
        return {name: value.reshape(golden.facts["arrays"][name]["shape"]) for name, value in values.items()}

    return Results(of(found.single), of(found.double), [of(probe) for probe in found.probes])


def test_every_array(golden: Golden, read: Callable[[bool], DAMSM], tmp_path: Path) -> None:
    comparison, compared = Comparison(), set[str]()
    for ending, corners in RESIZES.items():
        model = read(corners)
        side = model.picture_side
        assert (
            sum(value.numel() for value in side.players().parameters()) == golden.facts["params"]["trainable (emb_features + emb_cnn_code)"]
        )
        assert sum(value.numel() for value in side.parameters()) == golden.facts["params"]["all"]
        if corners:  # once as what is read back from disk
            save_matching(tmp_path / "model", "damsm", model, {}, "a card")
            loaded = load_matching(tmp_path / "model")
            assert isinstance(loaded, DAMSM)
            model = loaded
        compared |= compare(comparison, golden, named(golden, results(seen, golden, model), ending))
    assert compared == golden.outputs()
    comparison.finish(len(compared))


@pytest.mark.parametrize("network", ["to_regions", "network"])
def test_a_broken_weight_is_noticed(golden: Golden, read: Callable[[bool], DAMSM], network: str) -> None:
    ending = next(ending for ending in RESIZES if golden.outputs(f"features_{ending}"))
    model = read(RESIZES[ending])
    weight = next(value for name, value in model.picture_side.named_parameters() if network in name and value.ndim > 1)
    weight.data *= BREAK
    with pytest.raises(Disagreement):
        compare(Comparison(), golden, named(golden, results(seen, golden, model), ending))
