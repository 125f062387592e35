"""OpenAI's dVAE against stored results of its own code: state dicts of its encoder and decoder, read through the importer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from shared.golden_set import GoldenSet
from shared.rounding_more import Found, Realized, realized, scaled
from torch import Tensor

from limner.families.codes.dvae import mapped
from limner.interop.dall_e import read_dall_e
from limner.methods.dall_e import DALLE

Given = tuple[DALLE, dict[str, Tensor]]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("dalle-dvae")


@pytest.fixture(scope="module")
def given(golden: GoldenSet) -> Given:
    method, players = read_dall_e([golden.folder / f"{half}_state.pth" for half in ("decoder", "encoder")])
    assert players == ["dvae"]
    return method, {"x": golden.arrays["x"]}


@pytest.fixture(scope="module")
def everything(given: Given) -> Realized:
    return realized(compute, *given, batch_losses=False)


@torch.no_grad()
def compute(method: DALLE, arrays: dict[str, Tensor]) -> Found:
    dvae, pixels = method.dvae, arrays["x"]
    pictures = pixels * 2.0 - 1.0
    logits = dvae.logits(pictures)
    codes = dvae.encode(pictures)
    said = dvae.decode(codes)
    hard = F.one_hot(codes, dvae.codes).permute(0, 3, 1, 2).to(logits.dtype)
    torch.testing.assert_close(dvae.decode_weights(hard), said, rtol=1e-4, atol=1e-5)
    return Found(
        {
            "mapped": mapped(pixels),
            "encoder_logits": logits,
            "tokens": codes,
            "decoder_stats": said,
            "reconstruction": (dvae.pictures(said) + 1.0) / 2.0,
            "decoder_stats_soft_input": dvae.decode_weights(logits.softmax(1)),
        },
        {next(iter(LOSS)): dvae.error(said, pictures)},
    )


LOSS = {"logit-laplace": "logit_laplace_nll_mean_per_element"}


def stored(golden: GoldenSet) -> dict[str, Tensor]:
    return {name: value for name, value in golden.arrays.items() if name != "x"}


def losses(golden: GoldenSet) -> dict[str, float]:
    (value,) = (value for key, value in golden.part("losses").items() if key.startswith(LOSS["logit-laplace"]))
    return {"logit-laplace": value}


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    assert everything.same_arrays(stored(golden)).count == len(golden.facts["arrays"]) - 1


def test_the_loss(golden: GoldenSet, everything: Realized) -> None:
    everything.same_losses(losses(golden), cancelling={"logit-laplace"})


BREAKS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "encoder's first convolution": ("arrays", lambda given: scaled(given[0].dvae.encoder.input.weight)),
    "a residual block": ("arrays", lambda given: scaled(given[0].dvae.encoder.groups[1][0].shortcut.weight)),
    "decoder's codes": ("arrays", lambda given: scaled(given[0].dvae.decoder.input.weight)),
    "decoder's last convolution": ("losses", lambda given: scaled(given[0].dvae.decoder.output.weight)),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, given: Given, everything: Realized, name: str) -> None:
    kind, change = BREAKS[name]
    everything.notices(kind, stored(golden) if kind == "arrays" else losses(golden), change, compute, *given)


def test_every_parameter(golden: GoldenSet, given: Given) -> None:
    """Nothing is left behind, and the whole-width networks have the published sizes."""
    from limner.families.codes.openai_dvae import OpenAIDVAE

    for half in ("encoder", "decoder"):
        shapes = sorted(list(value.shape) for value in getattr(given[0].dvae, half).state_dict().values())
        assert shapes == sorted(golden.facts[f"keys_{half}"].values())
    with torch.device("meta"):
        whole = OpenAIDVAE()
    counts = {half: sum(value.numel() for value in getattr(whole, half).parameters()) for half in ("encoder", "decoder")}
    assert counts == golden.facts["full_param_counts"]
