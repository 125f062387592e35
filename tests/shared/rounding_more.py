"""One computation in float32, in float64 and under moves; the same with one coefficient broken; and with the kinks of ReLUs held."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from shared.rounding import ROUNDINGS, SPREADS, UNIT, Comparison, Disagreement, double_precision, in_double, moved, results

PROBES = 3
BROKEN = 1e-3
"""By how much of itself a mutation test changes a coefficient."""
PLACES = 256.0
"""Roundings of a sum over all places of all pictures, as gradients by weights and the statistics of a batch are: near sqrt(n) for n terms,
and there are 2**16 of them in maps of 128 x 128 of four pictures. 256 UNIT is 1.5e-5, so that an error of 1e-3 is 65 times as large. Moves
of single numbers average out in such sums, and rounding does not."""


@dataclass
class Found:
    """What a computation gives, by stored names. gradients: of each network, by the stored names of its parameters."""

    arrays: dict[str, Tensor]
    losses: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for values in (self.arrays, self.losses, *self.gradients.values()):
            values.update({name: value.detach().clone() for name, value in values.items()})

    def through(self, function: Callable[[Tensor, Tensor], Tensor], other: Found) -> Found:
        """function(one, other) of everything."""
        return Found(
            {name: function(value, other.arrays[name]) for name, value in self.arrays.items()},
            {name: function(value, other.losses[name]) for name, value in self.losses.items()},
            {
                net: {name: function(value, other.gradients[net][name]) for name, value in own.items()}
                for net, own in self.gradients.items()
            },
        )


Compute = Callable[..., Found]


@dataclass
class Realized:
    """A computation's results in float32, in float64, and in float64 with weights and inputs moved by as much as float32 rounds.

    batch_losses: whether losses depend on the statistics of a batch, as arrays of training mode do.
    """

    single: Found
    double: Found
    probes: Sequence[Found]
    batch_losses: bool = True

    def notices(self, kind: str, stored: Mapping[str, Any], change: Callable[[Any], None], compute: Compute, *given: Any) -> None:
        """Fails unless the comparison of one kind ("arrays", "losses", "gradients") fails when `change` has broken a copy of what is given.

        Broken results are computed in float64 alone; rounding is taken to spread about them as it did.
        """
        copies = in_double(given)
        change(copies)
        with double_precision():
            double = compute(*copies)
        shift = double.through(lambda one, other: one - other if one.is_floating_point() else torch.zeros_like(one), self.double)
        single, *probes = (shift.through(torch.add, other) for other in (self.single, *self.probes))
        found = replace(self, single=single, double=double, probes=probes)
        with pytest.raises(Disagreement):
            getattr(found, f"same_{kind}")(stored)

    def holds_for(self, stored: Mapping[str, Any], single: Mapping[str, Tensor], kind: str = "arrays") -> int:
        """Compare numbers that were computed in float32 in another way; those that are not stored are left out. Returns how many were."""
        given = {name: value for name, value in single.items() if name in stored}
        for found in (self.single, self.double, *self.probes):
            assert given.keys() <= getattr(found, kind).keys()
        other = replace(self, single=Found(**{"arrays": {}, kind: given}))
        getattr(other, f"same_{kind}")({name: stored[name] for name in given})
        return len(given)

    def same_arrays(self, stored: Mapping[str, Any]) -> Comparison:
        """All stored arrays have been computed, and agree. Those of training mode (`train`) depend on the statistics of a batch."""
        return self._same(stored, "arrays")

    def same_losses(self, stored: Mapping[str, Any], cancelling: Collection[str] = ()) -> Comparison:
        """All stored losses have been computed, and agree. cancelling: those that are means of logits of either sign."""
        return self._same({name: torch.tensor(value, dtype=torch.float64) for name, value in stored.items()}, "losses", cancelling)

    def same_gradients(self, stored: Mapping[str, Mapping[str, float | None]]) -> Comparison:
        """All stored norms agree with our gradients, network by network. None: a parameter without a gradient, which we did not compute."""
        comparison = Comparison()
        for network, norms in stored.items():
            given = {name: norm for name, norm in norms.items() if norm is not None}
            own = self.double.gradients[network]
            assert own.keys() == given.keys(), f"{network}: only in one of the two: {sorted(own.keys() ^ given.keys())}"
            compare_norms(comparison, given, self.single.gradients[network], own, [probe.gradients[network] for probe in self.probes])
        comparison.finish(sum(norm is not None for norms in stored.values() for norm in norms.values()))
        return comparison

    def _same(self, stored: Mapping[str, Any], kind: str, cancelling: Collection[str] = ()) -> Comparison:
        single, double, *probes = (getattr(found, kind) for found in (self.single, self.double, *self.probes))
        missing = stored.keys() - double.keys()
        assert stored and not missing, f"not computed: {sorted(missing)}"
        comparison = Comparison()
        for name, theirs in stored.items():
            training = name.startswith("train") or "_train_" in name or (kind == "losses" and self.batch_losses)
            compare(
                comparison, name, [theirs, single[name], double[name], *(probe[name] for probe in probes)], training, name in cancelling
            )
        comparison.finish(len(stored))
        return comparison


def realized(compute: Compute, *given: Any, probes: int = PROBES, roundings: float = SPREADS, batch_losses: bool = True) -> Realized:
    """compute(*given) in either precision and under moves, on copies. given: modules, tensors, and what holds them."""
    single, double, _ = results(compute, *given)
    with double_precision():
        moves = [compute(*moved(given, seed, roundings)) for seed in range(probes)]
    return Realized(single, double, moves, batch_losses)


def exact(compute: Compute, *given: Any) -> Found:
    """compute(*given) in float64, on copies."""
    with double_precision():
        return compute(*in_double(given))


def scaled(tensor: Tensor) -> None:
    """Break a coefficient, in place."""
    with torch.no_grad():
        tensor.mul_(1.0 + BROKEN)


class Kinks:
    """On which side of 0 every ReLU's inputs were: recorded in one computation, held in another.

    With the sides held a network is smooth, so that its gradients differ by rounding alone. Where gradients agree with the sides held and
    differ without, kinks are all there is to the difference.
    """

    def __init__(self) -> None:
        self.sides: list[Tensor] = []

    @contextmanager
    def recorded(self) -> Iterator[None]:
        def side(x: Tensor) -> Tensor:
            self.sides.append(x.detach() > 0)
            return self.sides[-1]

        with self._patched(side):
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        left = list(self.sides)
        with self._patched(lambda x: left.pop(0)):
            yield
        assert not left, f"{len(left)} of {len(self.sides)} ReLUs were not asked"

    @staticmethod
    @contextmanager
    def _patched(side: Callable[[Tensor], Tensor]) -> Iterator[None]:
        def leaky(x: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
            return torch.where(side(x), x, negative_slope * x)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(F, "leaky_relu", leaky)
            patch.setattr(F, "relu", lambda x, inplace=False: leaky(x, 0.0))
            yield


def kinks_explain(compute: Compute, *given: Any) -> None:
    """Fails unless each network's gradients in float32 and in float64 agree where every ReLU is on the side that it has in float32.

    They agree to 3e-4 of the norm of all; where kinks are crossed gradients differ by up to some 1e-2. (Batch normalisation of two rows, as
    in HDGAN's first layer, magnifies rounding a thousandfold.)
    """
    kinks = Kinks()
    with kinks.recorded():
        single = compute(*copy.deepcopy(given))
    with kinks.held():
        double = exact(compute, *given)
    assert double.gradients, "no gradient was compared"
    for network, own in double.gradients.items():
        share = length(apart(single.gradients[network], own)) / length(own)
        print(f"\n{network}: {share:.1e} of all gradients without kinks")
        assert share <= 3e-4, f"{network}: gradients differ by {share:.1e} with the sides of all ReLUs held"


def layer_norm(gradients: Mapping[str, Tensor], name: str) -> float:
    """The largest norm of the gradients by parameters of one layer."""
    layer = name.rpartition(".")[0]
    return max(float(value.norm()) for other, value in gradients.items() if other.rpartition(".")[0] == layer)


def compare(comparison: Comparison, name: str, values: Sequence[Any], training: bool, cancels: bool = False) -> None:
    """Compare one array: theirs, ours in float32, ours in float64, and probes. The figures of a `_stats` array are compared each by itself.

    training: whether it depends on the statistics of a batch. cancels: whether it is a mean of numbers about 1 of either sign.
    """
    theirs, _, double, *_ = values
    assert list(theirs.shape) == list(double.shape), f"{name}: {list(theirs.shape)}, and ours {list(double.shape)}"
    figures = range(theirs.shape[-1]) if name.endswith("_stats") else []
    for figure in figures or [None]:
        one, other, exact, *probes = values if figure is None else [value[..., figure] for value in values]
        scale = float(exact.abs().max()) if exact.is_floating_point() else 0.0
        if figure in (0, 1) or cancels:
            scale = max(scale, 1.0)  # means and deviations are of pictures up to 1, as some losses are of logits that cancel
        comparison.array(name, one, other, exact, probes, magnitude=scale * (PLACES / ROUNDINGS if training else 1.0))
        comparison.count -= figure not in (None, 0)


def compare_norms(
    comparison: Comparison,
    theirs: Mapping[str, float],
    single: Mapping[str, Tensor],
    double: Mapping[str, Tensor],
    probes: Sequence[Mapping[str, Tensor]],
) -> None:
    """Compare stored norms of gradients with ours in float64, one by one and all together. `kinks_explain` compares our own in float32."""
    moves = [apart(probe, double) for probe in probes]
    own, whole = apart(single, double), length(double)
    spreads = {}
    for name, norm in theirs.items():
        found = float(double[name].norm())
        # Kinks are crossed here and there: by one of the moves, or by our own rounding.
        spreads[name] = max(*(2 * float(move[name].norm()) for move in moves), SPREADS * float(own[name].norm()))
        # A gradient may be small because it cancels, as one by a bias before a normalisation does: its terms are those of its layer's
        # other gradients, and of the size of all others.
        floor = UNIT * (PLACES * found + ROUNDINGS * layer_norm(double, name) + whole)
        comparison._judge(f"norm of {name}, theirs", abs(norm - found), spreads[name] + floor)
        comparison.count += 1
    tolerance = sum(value**2 for value in spreads.values()) ** 0.5 + PLACES * UNIT * whole
    comparison._judge("norm of all gradients, theirs", abs(sum(norm**2 for norm in theirs.values()) ** 0.5 - whole), tolerance)


def apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: one[name].double() - value for name, value in other.items()}


def length(tensors: Mapping[str, Tensor]) -> float:
    """The norm of all their numbers."""
    return sum(float(value.double().norm()) ** 2 for value in tensors.values()) ** 0.5
