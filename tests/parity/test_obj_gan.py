"""Obj-GAN against stored results of the released code: its box, shape and image checkpoints, read through the importer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from shared.golden_set import GoldenSet
from shared.obj_gan_golden import Given, computation, learning, read_given, read_names, stored_arrays, stored_gradients, stored_losses
from shared.rounding import KINKS, ROUNDINGS, SPREADS, UNIT
from shared.rounding_more import BROKEN, Realized, realized, scaled

import limner


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("obj-gan", "extra.json")


@pytest.fixture(scope="module")
def facts(golden: GoldenSet) -> dict[str, Any]:
    """golden.json, whose arrays lie in a file for each part."""
    found: dict[str, Any] = json.loads((golden.folder / "golden.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def given(golden: GoldenSet, facts: dict[str, Any]) -> Given:
    read_names(golden)
    return read_given(golden, facts)


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, given: Given) -> Realized:
    return realized(computation(golden), given, batch_losses=False)


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    print(f"\n{everything.same_arrays(stored_arrays(golden)).count} arrays")


def test_arrays_in_half_precision(golden: GoldenSet, everything: Realized) -> None:
    """They agree to half a unit in the last place that half precision keeps, and to what float32 rounds before that."""
    stored = stored_arrays(golden, half=True)
    for name, theirs in stored.items():
        ours = everything.double.arrays[name]
        moves = max(float((probe.arrays[name] - ours).abs().max()) for probe in everything.probes)
        rounded = 2.0 * moves + ROUNDINGS * UNIT * float(ours.abs().max())
        assert theirs.shape == ours.shape
        assert ((theirs.double() - ours).abs() <= 1.01 * 2.0**-11 * ours.abs().clamp_min(2.0**-14) + rounded).all(), name
    print(f"\n{len(stored)} arrays in half precision")


def test_every_loss(golden: GoldenSet, facts: dict[str, Any], everything: Realized) -> None:
    print(f"\n{everything.same_losses(stored_losses(golden, facts)).count} losses")


def test_every_gradient(golden: GoldenSet, given: Given) -> None:
    """Biases before an instance normalisation have no gradient: what is stored of theirs is rounding, below what the set calls noise."""
    found, stored = realized(learning(golden), given, roundings=KINKS * SPREADS, batch_losses=False), stored_gradients(golden)
    nothing = [(net, name) for net, own in found.double.gradients.items() for name, value in own.items() if float(value.norm()) < 1e-12]
    for net, name in nothing:
        assert name == "shp_code.1.bias" and stored[net].pop(name) < NOISE
        for part in (found.single, found.double, *found.probes):
            part.gradients[net].pop(name)
    print(f"\n{found.same_gradients(stored).count} gradients, and {len(nothing)} that are 0")


NOISE = 1e-5
"""Norms of gradients below this are noise, as the set's notes say."""
BREAKS: dict[str, tuple[str, Callable[[tuple[Given]], Any]]] = {
    "object attention": ("arrays", lambda given: scaled(given[0].networks["generator"].stages[1].objects.project.weight)),
    "label map code": ("arrays", lambda given: scaled(given[0].networks["generator"].stages[0].maps.halve[0].weight)),
    "regions": ("arrays", lambda given: given[0].factors.update(region=1 + BROKEN)),
    "box generator's reader": ("arrays", lambda given: scaled(given[0].networks["boxes"].reader.weight_ih)),
    "backward convolutional LSTM": ("arrays", lambda given: scaled(given[0].networks["shapes"].backwards.gates.weight)),
    "object discriminator's region code": ("losses", lambda given: scaled(given[0].networks["small"].region[0].weight)),
    "weight of the text": ("losses", lambda given: given[0].factors.update(text=1 + BROKEN)),
    "label weights": ("losses", lambda given: scaled(given[0].extra["box_class_weight"])),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, facts: dict[str, Any], given: Given, everything: Realized, name: str) -> None:
    kind, change = BREAKS[name]
    stored = stored_arrays(golden) if kind == "arrays" else stored_losses(golden, facts)
    everything.notices(kind, stored, change, computation(golden), given)


def test_sizes_of_the_released_networks(facts: dict[str, Any]) -> None:
    """The defaults, for COCO's 80 labels, have as many weights as the released networks."""
    labels = [f"label {number}" for number in range(80)]
    with torch.device("meta"):
        method = limner.create("obj-gan", sentence_width=512, word_width=306, labels=labels, released_text=True, released=True)
    numbers = {name: sum(value.numel() for value in player.module.parameters()) for name, player in method.players().items()}
    whole = {
        **facts["image"]["full_param_counts"],
        **facts["shape"]["full_param_counts"],
        **facts["box"]["full_param_counts"],
    }
    expected = {
        "generator": "G_NET (GF 48, 80 classes)",
        **{f"patches-{side}": f"PAT_D_NET{side}" for side in (64, 128, 256)},
        **{f"shapes-{side}": f"SHP_D_NET{side}" for side in (64, 128, 256)},
        "small-objects": "OBJ_SS_D_NET",
        "large-objects": "OBJ_LS_D_NET",
        "shapes": "G_NET(80)",
        "shape-single": "INS_D_NET(80)",
        "shape-whole": "GLB_D_NET(80)",
        "boxes": "decoder (83 labels: pad,sos,eos + 80)",
    }
    assert {name: numbers[name] for name in expected} == {name: whole[key] for name, key in expected.items()}
