"""Fields for a model's settings that matter to painting or editing alone, and a model with them laid over its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from limner.core.abilities import TakesSampling
from limner.core.errors import SettingsError, by_other_names
from limner.core.recipes import laid_over
from limner.model import Model
from limner.studio.desk import as_sent, is_number, shortened
from limner.studio.extra import gr
from limner.studio.opened import Opened

EDITING = "edit_"
"""How the names of most of those begin that matter to editing pictures."""
_EDITING = (EDITING, "invert_")
_CHOICE = {"yes": True, "no": False}


def sampling_names(models: Sequence[Opened], editing: bool = False) -> list[str]:
    """The names of the models' settings for painting, or of those for editing given pictures."""
    names = dict.fromkeys(name for one in models for name in _known(one.model()))
    return [name for name in names if name.startswith(_EDITING) == editing]


def sampling_fields(models: Sequence[Opened], names: Sequence[str], title: str) -> list[Any]:
    """A field for each name. A field left empty means the model's own value."""
    if not names:
        return []
    with gr.Accordion(title, open=False):
        gr.HTML('<p class="hint">An empty field leaves the model as it is.</p>')
        return [_field(name, [getattr(one.model().method.settings, name, None) for one in models]) for name in names]


def _field(name: str, own: Sequence[Any]) -> Any:
    label = _label(name)
    if any(isinstance(value, bool) for value in own):
        return gr.Dropdown(["", *_CHOICE], value="", label=label, min_width=120)
    return as_sent(gr.Number(None, label=label, min_width=120))


@contextmanager
def sampled(model: Model, values: dict[str, Any]) -> Iterator[None]:
    """Within the block, these settings are laid over the model's own, but for those that are empty.

    Raises SettingsError for one that the model does not have, and for a value that it cannot have.
    """
    given = {
        name: _CHOICE.get(value, value) if isinstance(value, str) else value for name, value in values.items() if value not in (None, "")
    }
    for name in given:
        if name not in _known(model):
            raise SettingsError(f"this model has no {name.removeprefix(EDITING).replace('_', ' ')}: leave it empty")
        if not isinstance(given[name], bool) and not is_number(given[name]):
            raise SettingsError(f"{_label(name)} is {shortened(repr(given[name]))}: give a number, or leave it empty")
    own = model.method.settings
    whole = {name: int(value) if _is_whole(getattr(own, name)) and value == int(value) else value for name, value in given.items()}
    try:
        changed = laid_over(own, whole, "sampling") if whole else own
    except SettingsError as error:
        raise by_other_names(error, whole, _label) from None
    model.method.settings = changed
    try:
        yield
    finally:
        model.method.settings = own


def _label(name: str) -> str:
    return name.removeprefix(EDITING).replace("_", " ").capitalize()


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _known(model: Model) -> tuple[str, ...]:
    return model.method.sampling if isinstance(model.method, TakesSampling) else ()
