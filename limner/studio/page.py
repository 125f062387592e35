"""The page: a header, and a tab for each panel that the opened models and runs can fill."""

from __future__ import annotations

import html
import inspect
from collections.abc import Sequence
from importlib import resources
from typing import Any

from limner.core.errors import SettingsError
from limner.studio.desk import MOST_WAITING, Desk
from limner.studio.extra import gr
from limner.studio.opened import Opened
from limner.studio.panel import Panel, panels
from limner.studio.turns import Turns

_SERIF = ("Iowan Old Style", "Palatino Linotype", "Palatino", "Georgia", "serif")
_MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")


def shown_panels(opened: Sequence[Opened]) -> dict[str, tuple[Panel, list[Opened]]]:
    """The panels that are shown, by name, each with those that it serves. Raises SettingsError where there would be none."""
    found = {name: (panel, served) for name, panel in panels().items() if (served := panel.served(opened))}
    if not found:
        raise SettingsError(f"there is nothing to show of {', '.join(one.name for one in opened)}: give a model that paints, or a run")
    return found


def page(opened: Sequence[Opened]) -> Any:
    """The page as gradio's Blocks."""
    shown, turns = shown_panels(opened), Turns()
    with gr.Blocks(title="Limner studio", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        gr.HTML(_header(opened))
        with gr.Tabs(elem_classes="panels"):
            for name, (panel, served) in shown.items():
                with gr.Tab(panel.title, id=name, elem_id=f"panel-{name}"):
                    gr.HTML(f'<p class="about">{html.escape(panel.sentence)}</p>')
                    panel.build(Desk(name, opened, turns, blocks), served)

        def left(request: gr.Request) -> None:
            turns.stop(str(request.session_hash))

        left.__annotations__["request"] = gr.Request
        blocks.unload(left)
    blocks.queue(max_size=MOST_WAITING, api_open=False)
    return blocks


def style() -> str:
    """The page's style sheet."""
    return resources.files("limner.studio").joinpath("studio.css").read_text(encoding="utf-8")


def script() -> str:
    """What the page's head holds for widgets of the studio's own."""
    return f"<script>{resources.files('limner.studio').joinpath('studio.js').read_text(encoding='utf-8')}</script>"


def theme() -> Any:
    """Gradio's plainest theme in the colours and fonts of Limner's pages; fonts are the visitor's own, and none is fetched."""
    names = {"body_background_fill": "paper", "block_background_fill": "sheet", "background_fill_primary": "sheet"}
    names |= {"background_fill_secondary": "paper", "body_text_color": "ink", "body_text_color_subdued": "faint"}
    names |= {"block_label_text_color": "faint", "block_title_text_color": "faint", "block_info_text_color": "faint"}
    names |= {"border_color_primary": "rule", "block_border_color": "rule", "input_border_color": "rule", "input_background_fill": "sheet"}
    names |= {"input_border_color_focus": "gold", "input_placeholder_color": "faint", "border_color_accent": "gold"}
    names |= {"color_accent": "red", "slider_color": "red", "loader_color": "red", "link_text_color": "red", "color_accent_soft": "paper"}
    names |= {"button_primary_background_fill": "red", "button_primary_background_fill_hover": "red"}
    names |= {"button_primary_text_color": "paper", "button_primary_border_color": "red"}
    names |= {"button_secondary_background_fill": "sheet", "button_secondary_background_fill_hover": "paper"}
    names |= {"button_secondary_text_color": "ink", "button_secondary_border_color": "rule"}
    names |= {"checkbox_label_background_fill": "sheet", "checkbox_label_background_fill_selected": "paper"}
    names |= {"checkbox_label_border_color": "rule", "checkbox_label_text_color": "ink", "checkbox_label_text_color_selected": "ink"}
    names |= {"checkbox_background_color_selected": "red", "checkbox_border_color_selected": "red"}
    values = {name: f"var(--limner-{colour})" for name, colour in names.items()}
    dark = {f"{name}_dark": value for name, value in values.items()}
    more = {"block_shadow": "none", "block_label_shadow": "none", "input_shadow": "none", "button_primary_shadow": "none"}
    more |= {"block_radius": "6px", "input_radius": "6px", "input_border_width": "1px", "block_padding": "12px"}
    plain = gr.themes.Base(font=list(_SERIF), font_mono=list(_MONO))
    known = inspect.signature(plain.set).parameters  # some colours have no dark variant
    return plain.set(**{name: value for name, value in (values | dark | more).items() if name in known})


def _header(opened: Sequence[Opened]) -> str:
    names = " · ".join(f"<b>{html.escape(one.label)}</b>{html.escape(_about(one))}" for one in opened)
    return f'<header class="limner"><p class="mark">Limner</p><h1>Studio</h1><p class="opened">{names}</p></header>'


def _about(one: Opened) -> str:
    if not one.has_model:
        return ", in training"
    model = one.model()
    return f", {model.method.title}, {model.resolution} px"
