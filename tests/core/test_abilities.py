"""Abilities: a class has one by defining its functions, and no stub stands in for one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from shared.batches import make_conditions

import limner
from limner.core import registry
from limner.core.abilities import ABILITIES, Describes, Edits, Inverts, LaysOut, Looks, Paints, TellsStories, abilities_of
from limner.core.errors import SettingsError
from limner.explore.nearest import look_with_method
from limner.explore.redescribe import read
from limner.methods.df_gan import DFGAN
from limner.methods.mirrorgan import MirrorGAN
from limner.model import Model
from limner.parts.style import StyleInversion


def test_a_class_and_what_is_made_of_it_have_the_same() -> None:
    method = DFGAN(DFGAN.Settings(), make_conditions())
    assert abilities_of(DFGAN) == abilities_of(method) == ["paints", "looks"]
    assert isinstance(method, Paints) and isinstance(method, Looks)
    assert not any(isinstance(method, ability) for ability in (Describes, Inverts, Edits, LaysOut, TellsStories))
    assert "describes" in abilities_of(MirrorGAN)


def test_every_method_paints_and_nothing_else_does() -> None:
    for name in registry.built_in():
        found = abilities_of(registry.get(name))
        assert ("paints" in found) == (name in registry.built_in("method")), name
    assert abilities_of(StyleInversion) == []


def test_new_abilities_are_had_by_defining_them() -> None:
    class Teller:
        frames = 4

        def tell(self, text: object, noise: object) -> None: ...

    class Half:
        def layout(self, text: object, noise: object) -> None: ...

    assert abilities_of(Teller) == abilities_of(Teller()) == ["tells stories"]
    assert isinstance(Teller(), TellsStories) and abilities_of(Half) == []  # it cannot paint what it lays out
    assert list(ABILITIES) == [
        "paints", "looks", "describes", "inverts", "edits", "lays out", "completes", "tells stories", "writes codes",
        "takes sampling settings", "mixes styles",
    ]  # fmt: skip


def test_who_lacks_one_is_refused_in_a_line(tiny_model: Model) -> None:
    class Blind:
        title = "Blind"

    with pytest.raises(SettingsError, match="Blind has no discriminator that looks at pictures"):
        look_with_method(Blind())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="this model has no captioner that describes pictures"):
        read(tiny_model, tiny_model.pictures(["a red flower"], [0]))


def test_no_stub_is_left_in_what_is_trained() -> None:
    """Who calls what is not there finds no function of that name, instead of one that refuses."""
    rooms = ("core", "families", "methods", "parts", "matching", "model", "training", "explore")
    found = []
    for room in rooms:
        for path in (Path(limner.__file__).parent / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Name) and node.id == "NotImplementedError":
                    found.append(path.name)
    assert found == []
