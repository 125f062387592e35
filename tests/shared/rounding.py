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
ReLU whose input is that near to 0 opens or closes by such a move as it does by rounding; as one alone may turn a gradient, probes of
gradients are moved further (KINKS).

`Comparison` counts what it compared and keeps the worst share of a tolerance; `Comparison.finish` fails where nothing was compared.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
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

KINKS = 16.0
"""How many times as far probes are moved where gradients with kinks are compared. At tiny widths one ReLU in the coarsest map may turn a
gradient by 1e-3 of itself, and whether rounding opens it is chance: of five probes of MirrorGAN's generator, moved by SPREADS, one did.
Moved 16 times as far, each probe has a few such turns, so that the largest says what one of them does. What moves smoothly moves 16 times
as far too, which is near 1e-4 of a gradient."""
PLACES = 256.0
"""Roundings of a gradient by a weight, relative to the gradient by all weights: it is a sum over all places of all pictures, of which there
are 2**16 in four maps of 128 x 128, added up at random to sqrt(2**16) UNIT. Moves of weights leave these sums alone."""


class Results(NamedTuple):
    """What one function computed in float32, in float64, and in float64 from moved weights and inputs."""

    single: Any
    double: Any
    probes: Sequence[Any] = ()


def results(function: Callable[..., Any], *given: Any, probes: int = 0, roundings: float = SPREADS) -> Results:
    """What `function` computes of `given` (copies of it: modules, tensors, dataclasses, see `in_double`) in each precision.

    probes: how many results from moved weights and inputs; each costs as much as the one in float64. roundings: by how many these are
    moved; KINKS times SPREADS where gradients with kinks are compared.
    """
    single = function(*copy.deepcopy(given))
    with double_precision():
        double = function(*in_double(given))
        probed = []
        for seed in range(probes):
            with moved_probabilities(seed, roundings):
                probed.append(function(*moved(given, seed, roundings)))
        return Results(single, double, probed)


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
            self.count += 1
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

    def figures(self, name: str, theirs: Tensor, single: Tensor, double: Tensor) -> None:
        """Compare stored figures [B, C, 2 or 3] (mean, deviation, sum of magnitudes: `figures`) with those of our pictures [B, C, H, W].

        Figures are few, but the pictures' pixels are many: a mean differs by no more than pixels do on average, a sum by as much for each
        pixel, and a deviation by no more than the root of their mean square.
        """
        error = single.double() - double
        mean, root = float(error.abs().mean((2, 3)).max()), float(error.square().mean((2, 3)).sqrt().max())
        pixels, size = error.shape[2] * error.shape[3], double.square().mean((2, 3)).sqrt().max()
        for column, spread in enumerate((mean, root, mean * pixels)[: theirs.shape[-1]]):
            floor = ROUNDINGS * UNIT * float(size if column < 2 else double.abs().sum((2, 3)).max())
            difference = _farthest(theirs[..., column], figures(double)[..., column])
            self._judge(f"{name}, {('mean', 'deviation', 'sum')[column]}", difference, SPREADS * spread + floor)
        self.count += 1

    def norms(
        self,
        theirs: Mapping[str, float],
        single: Mapping[str, Tensor],
        double: Mapping[str, Tensor],
        probes: Sequence[Mapping[str, Tensor]] = (),
    ) -> None:
        """Compare stored norms of gradients with the gradients that we computed.

        Norms differ by no more than the norm of the gradients' difference, which no number's luck decides: kinks of ReLUs show in it, and
        so do sums over places, which moves of weights leave alone. Our own float32 gradients are held to the exact ones by the size of all
        of them, since one that nearly cancels is rounded like its terms. The norm of all gradients together is compared too.
        """
        lengths = {name: float(double[name].norm()) for name in theirs}
        total = sum(length**2 for length in lengths.values()) ** 0.5
        own, spread = {}, {}
        for name, length in lengths.items():
            own[name] = float((single[name].double() - double[name]).norm())
            moves = max((2 * float((probe[name] - double[name]).norm()) for probe in probes), default=0.0)
            spread[name] = max(moves, SPREADS * own[name])
            self._judge(f"gradient of {name}, ours", own[name], max(moves, SPREADS * abs(theirs[name] - length)) + PLACES * UNIT * total)
            self._judge(f"norm of {name}, theirs", abs(theirs[name] - length), spread[name] + ROUNDINGS * UNIT * length)
            self.count += 1
        norm = sum(value**2 for value in theirs.values()) ** 0.5
        tolerance = sum(value**2 for value in spread.values()) ** 0.5 + ROUNDINGS * UNIT * total
        self._judge("norm of all gradients, theirs", abs(norm - total), tolerance)

    def tensor(self, name: str, theirs: Tensor, single: Tensor, double: Tensor, probes: Sequence[Tensor] = ()) -> None:
        """Compare two float32 results of ours (of one process and of two, say) whose numbers may cancel, by the scale of the tensor's norm.

        A gradient is a sum over a batch of terms that nearly cancel here and there. It is rounded like its terms, of which the norm of the
        whole tensor is a measure, and no number's own size is.
        """
        self.array(name, theirs, single, double, probes, magnitude=float(double.norm()))

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


def figures(pictures: Tensor) -> Tensor:
    """Mean, deviation and sum of magnitudes of every channel, in float64: [B, C, H, W] -> [B, C, 3]."""
    wide = pictures.double()
    return torch.stack([wide.mean((2, 3)), wide.std((2, 3), unbiased=False), wide.abs().sum((2, 3))], dim=2)


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


@contextmanager
def moved_probabilities(seed: int, roundings: float = SPREADS) -> Iterator[None]:
    """Within it a cross-entropy of logits is taken from their probabilities, each times 1 + d, |d| <= `roundings` UNIT.

    So the authors' code takes it. Of a probability near 1, float32 holds what is left to 1 to UNIT and no better, as its logarithm shows.
    """
    of_logits, draw = F.binary_cross_entropy_with_logits, torch.Generator().manual_seed(seed)

    def of_probabilities(logits: Tensor, target: Tensor, *given: Any, **named: Any) -> Tensor:
        if given or set(named) - {"reduction"}:
            return of_logits(logits, target, *given, **named)
        noise = torch.rand(logits.shape, generator=draw, dtype=torch.float64) * 2 - 1
        probabilities = (logits.sigmoid() * (1 + roundings * UNIT * noise)).clamp(max=1 - UNIT)
        return F.binary_cross_entropy(probabilities, target, **named)

    F.binary_cross_entropy_with_logits = of_probabilities
    try:
        yield
    finally:
        F.binary_cross_entropy_with_logits = of_logits


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
