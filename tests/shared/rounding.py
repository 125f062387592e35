"""Whether numbers that were computed elsewhere in float32 agree with ours, by a tolerance that the arithmetic gives.

Two right programs in float32 differ because each rounds in its own order, which differs between processors too. In float64 we have the
result that both of them round, a billion times as exact. With the same weights and inputs,

    theirs   is the stored result,
    single   is our result in float32,
    double   is our result in float64, and
    probes   are our results in float64 with weights and inputs moved by as much as float32 rounds,

of which `results` computes the last three. Theirs and single must both be as near to double as float32 can be expected to come:

    with probes:     |x - double| <= 2 max |probe - double| + ROUNDINGS UNIT magnitude,             where x is theirs or single
    without probes:  |theirs - double| <= SPREADS max |single - double| + ROUNDINGS UNIT magnitude, and the same with the two exchanged

The largest difference is of a whole array, so that no single number's luck decides. Where an array has few numbers (a loss, a norm, three
probabilities) all of them may be lucky together: those need probes. The magnitude is the scale of what is summed: the largest number of the
array by default, and the sum of magnitudes where numbers are sums or cancel.

A tolerance with probes does not depend on the machine: float64 agrees between machines to 1e-15 or so, and the moves are drawn from a seed.
Why moves of weights stand for rounding: a sum of n products in float32 is the exact sum with every weight times 1 + d, |d| <= n UNIT in
whatever order it is added up, and near sqrt(n) UNIT in practice (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). A
ReLU whose input is that near to 0 opens or closes by such a move as it does by rounding, so gradients with kinks need nothing special.

`Comparison` counts what it compared and keeps the worst share of a tolerance; `Comparison.finish` fails where nothing was compared.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

UNIT = 2.0**-24
"""Half the distance from 1 to the next number of float32: what one rounding may add, relative to its result."""
SPREADS = 8.0
"""How much further astray one order of summation may go than another, and by how many roundings probes are moved. The error of n roundings
is between sqrt(n) UNIT (at random) and n UNIT (all one way); vector units add up in 8 to 16 partial sums, a plain loop in one, which makes
their errors differ by up to sqrt(16) = 4; twice that because the largest of one draw of errors may be twice the largest of another."""
ROUNDINGS = 32.0
"""Roundings one after another that every result may have undergone, however lucky the others were: two a layer (the sum and what is applied
to it) in networks of about 16 layers. 32 UNIT is 1.9e-6, so that an error of 1e-3 is 500 times as large."""


class Results(NamedTuple):
    """What one function computed in float32, in float64, and in float64 from moved weights and inputs."""

    single: Any
    double: Any
    probes: Sequence[Any] = ()


def results(function: Callable[..., Any], *given: Any, probes: int = 0) -> Results:
    """What `function` computes of `given` (copies of it: modules, tensors, dataclasses, see `in_double`) in each precision.

    probes: how many results from moved weights and inputs; each costs as much as the one in float64.
    """
    single = function(*copy.deepcopy(given))
    with double_precision():
        double = function(*in_double(given))
        return Results(single, double, [function(*moved(given, seed)) for seed in range(probes)])


class Disagreement(AssertionError):
    """Numbers that rounding does not explain."""


class Comparison:
    """What was compared in a test. count: arrays. worst: the largest difference, as a share of its tolerance, and where it was."""

    def __init__(self) -> None:
        self.count, self.worst, self.where = 0, 0.0, "nothing"

    def array(
        self,
        name: str,
        theirs: Any,
        single: Any,
        double: Any,
        probes: Sequence[Any] = (),
        magnitude: float | None = None,
    ) -> None:
        """Compare arrays of one shape, or numbers. Raises `Disagreement` where rounding does not explain a difference.

        magnitude: the scale of what is summed, by default the largest number.
        """
        theirs, single, double, *probes = (torch.as_tensor(value).detach() for value in (theirs, single, double, *probes))
        if not theirs.shape == single.shape == double.shape:
            raise Disagreement(f"{name}: {list(theirs.shape)}, and ours {list(single.shape)} and {list(double.shape)}")
        if not theirs.is_floating_point():
            self._judge(name, float((theirs != single).sum() + (theirs != double).sum()), 0.5)
            return
        assert double.dtype == torch.float64, f"{name}: our exact result is in {double.dtype}"
        errors = {"theirs": _farthest(theirs, double), "ours": _farthest(single, double)}
        floor = ROUNDINGS * UNIT * (float(double.abs().max()) if magnitude is None else magnitude)
        if probes:
            spread = max(_farthest(probe, double) for probe in probes)
            allowed = dict.fromkeys(errors, 2 * spread + floor)
        else:
            allowed = {"theirs": SPREADS * errors["ours"] + floor, "ours": SPREADS * errors["theirs"] + floor}
        for whose, error in errors.items():
            self._judge(f"{name}, {whose}", error, allowed[whose])
        self.count += 1

    def arrays(
        self, theirs: Mapping[str, Any], single: Mapping[str, Any], double: Mapping[str, Any], probes: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        """Compare all arrays that we computed, by name; those in `theirs` alone are left out.

        The last axis of names that end in `_stats` holds mean, deviation and (mostly) the sum of magnitudes of a picture's channel: each is
        compared by itself. The first two are at most as large as what they are taken of, which the third says or else 1 does (pictures).
        """
        for name in single:
            values = [theirs[name], single[name], double[name], *(probe[name] for probe in probes)]
            if name.endswith("_stats") and values[0].shape[-1] in (2, 3):
                _same_shape(name, *values[:3])
                for column, figure in enumerate(("mean", "deviation", "sum")[: values[0].shape[-1]]):
                    columns = [value[..., column] for value in values]
                    self.array(f"{name}, {figure}", *columns[:3], columns[3:], None if figure == "sum" else 1.0)
                self.count += 1 - values[0].shape[-1]
            else:
                self.array(name, *values[:3], values[3:])

    def norms(
        self,
        theirs: Mapping[str, float],
        single: Mapping[str, Tensor],
        double: Mapping[str, Tensor],
        probes: Sequence[Mapping[str, Tensor]] = (),
    ) -> None:
        """Compare stored norms of gradients with the gradients that we computed.

        Norms differ by no more than the norm of the gradients' difference, which no number's luck decides: kinks of ReLUs show in it. The
        norm of all gradients together is compared too.
        """
        square = dict.fromkeys(("theirs", "single", "double"), 0.0)
        everything = 0.0
        for name, norm in theirs.items():
            exact = double[name].double()
            moves = [float((probe[name] - exact).norm()) for probe in probes]
            own = float((single[name] - exact).norm())
            spread = 2 * max(moves) if moves else SPREADS * own
            length = float(exact.norm())
            tolerance = spread + ROUNDINGS * UNIT * length
            self._judge(f"norm of {name}, theirs", abs(norm - length), tolerance)
            if moves:
                self._judge(f"gradient of {name}, ours", own, tolerance)
            self.count += 1
            square["theirs"] += norm**2
            square["single"] += float(single[name].double().norm()) ** 2
            square["double"] += length**2
            everything += spread**2
        total = {whose: value**0.5 for whose, value in square.items()}
        tolerance = everything**0.5 + ROUNDINGS * UNIT * total["double"]
        for whose in ("theirs", "single"):
            self._judge(f"norm of all gradients, {whose}", abs(total[whose] - total["double"]), tolerance)

    def tensor(self, name: str, one: Tensor, other: Tensor, double: Tensor) -> None:
        """Compare two float32 results of ours (one process and two, say) whose numbers cancel, by the scale of the tensor's norm.

        A gradient is a sum over a batch of terms that nearly cancel here and there: rounding is relative to the terms, of which the norm of
        the whole tensor, spread over all numbers, is a modest measure, and no number's own size is.
        """
        scale = float(double.norm())
        self.array(name, one, other, double, magnitude=scale)

    def finish(self, count: int | None = None) -> None:
        """Fails if nothing was compared, or not `count` arrays."""
        assert self.count > 0, "nothing was compared"
        assert count is None or self.count == count, f"{self.count} arrays were compared, and {count} are stored"
        print(f"\n{self.count} arrays, at worst {self.worst:.2f} of the tolerance: {self.where}")

    def _judge(self, name: str, error: float, tolerance: float) -> None:
        share = error / tolerance if tolerance > 0 else (0.0 if error == 0 else float("inf"))
        if not share <= 1.0:  # NaN is a disagreement
            raise Disagreement(f"{name}: {error:.3g} from the exact result, where rounding explains {tolerance:.3g}")
        if share >= self.worst:
            self.worst, self.where = share, name


def in_double(value: Any) -> Any:
    """A copy in float64 of a tensor, of a module, or of all that are in a dictionary, a sequence or a dataclass (text, noise).

    Another class can say by a method `mapped(function)` what it is with `function` of its tensors.
    """
    return _mapped(value, lambda tensor: tensor.double())


def moved(value: Any, seed: int, roundings: float = SPREADS) -> Any:
    """The same in float64 with every floating number times 1 + d, |d| <= `roundings` UNIT, drawn from `seed`."""
    draw = torch.Generator().manual_seed(seed)

    def move(tensor: Tensor) -> Tensor:
        noise = torch.rand(tensor.shape, generator=draw, dtype=torch.float64) * 2 - 1
        return tensor.double() * (1 + roundings * UNIT * noise)

    return _mapped(value, move)


@contextmanager
def double_precision() -> Iterator[None]:
    """Within it tensors are made in float64, and code that asks for float32 by `Tensor.float()`, as losses do, has float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    try:
        yield
    finally:
        del torch.Tensor.float  # what it inherits is there again
        torch.set_default_dtype(before)


def _mapped(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value) if value.is_floating_point() else value
    if hasattr(value, "mapped"):
        return value.mapped(function)
    if isinstance(value, nn.Module):
        made = copy.deepcopy(value)
        with torch.no_grad():
            for tensor in (*made.parameters(), *made.buffers()):
                if tensor.is_floating_point():
                    tensor.data = function(tensor.data)
        return made
    if isinstance(value, Mapping):
        return {name: _mapped(item, function) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_mapped(item, function) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {item.name: _mapped(getattr(value, item.name), function) for item in dataclasses.fields(value) if item.init}
        return dataclasses.replace(value, **fields)
    return value


def _farthest(value: Tensor, exact: Tensor) -> float:
    return float((value.double() - exact).abs().max()) if exact.numel() else 0.0


def _same_shape(name: str, *values: Tensor) -> None:
    if len({value.shape for value in values}) > 1:
        raise Disagreement(f"{name}: shapes {[list(value.shape) for value in values]}")
