"""CLEVR-SV: sentences and categories from the vectors of attributes that its frames come with.

A vector has 75 numbers: four objects of 18, and which way the camera's right is (3). An object has its shape (3), colour (8), material (2)
and size (2), each one-hot, and its place (3); an object that is not there yet has zeros. Frame n shows the first n objects.
"""

from __future__ import annotations

from collections.abc import Sequence

NUMBERS = 75
_OBJECT, _OBJECTS = 18, 4
PROPERTIES: tuple[tuple[str, ...], ...] = (
    ("cube", "sphere", "cylinder"),
    ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow"),
    ("rubber", "metal"),
    ("large", "small"),
)
"""Values in the order of the one-hot numbers; their count is 15, as many categories as the released code has."""
_ASIDE, _FRONT, _BACK = 0.8, 1.0, -0.7
_FORMS = (
    ("there is {thing} {where}", "{thing} stands {where}", "{where} there is {thing}", "{thing} is {where}"),
    ("then {thing} comes {where}", "{thing} is added {where}", "{where} comes {thing}", "now {thing} stands {where}"),
)


def is_clevr(values: Sequence[float]) -> bool:
    """Whether numbers are a vector of CLEVR-SV: each of its objects has one of each property, or is not there; and one is."""
    if len(values) != NUMBERS:
        return False
    there = [_sums(own) == [1.0] * len(PROPERTIES) for own in _objects(values)]
    return any(there) and all(is_there or not any(own) for own, is_there in zip(_objects(values), there, strict=True))


def categories(values: Sequence[float]) -> tuple[str, ...]:
    """The properties of all objects that are there."""
    found = {name for own in _objects(values) if any(own) for name in _properties(own)}
    return tuple(name for names in PROPERTIES for name in names if name in found)


def sentences(values: Sequence[float]) -> tuple[str, ...]:
    """Four wordings of what the newest object is, and where it stands.

    The grammar: "there is THING WHERE" of a first object and "then THING comes WHERE" of others, THING being "a SIZE COLOUR MATERIAL SHAPE"
    and WHERE "in front on the left": in front or at the back, on the left, in the middle or on the right, as the camera sees it.
    """
    there = [own for own in _objects(values) if any(own)]
    shape, colour, material, size = _properties(there[-1])
    words = {"thing": f"a {size} {colour} {material} {shape}", "where": _where(there[-1], values[-3:])}
    return tuple(form.format_map(words) for form in _FORMS[len(there) > 1])


def _where(own: Sequence[float], right: Sequence[float]) -> str:
    x, y = own[15:17]
    aside, front = x * right[0] + y * right[1], x * right[1] - y * right[0]
    depth = "in front " if front > _FRONT else "at the back " if front < _BACK else ""
    return depth + ("on the left" if aside < -_ASIDE else "on the right" if aside > _ASIDE else "in the middle")


def _objects(values: Sequence[float]) -> list[Sequence[float]]:
    return [values[start : start + _OBJECT] for start in range(0, _OBJECT * _OBJECTS, _OBJECT)]


def _parts(own: Sequence[float]) -> list[Sequence[float]]:
    ends = [sum(map(len, PROPERTIES[:place])) for place in range(len(PROPERTIES) + 1)]
    return [own[start:stop] for start, stop in zip(ends, ends[1:])]


def _sums(own: Sequence[float]) -> list[float]:
    """How much of each property an object has, where all its numbers are 0 or 1."""
    return [sum(part) if set(part) <= {0.0, 1.0} else -1.0 for part in _parts(own)]


def _properties(own: Sequence[float]) -> list[str]:
    return [names[list(part).index(1.0)] for names, part in zip(PROPERTIES, _parts(own), strict=True)]
