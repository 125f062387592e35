"""What panels are made of: the widgets that they share, and a button whose work waits for its turn and can be stopped."""

from __future__ import annotations

import math
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from limner.core.errors import LimnerError, LimnerWarning, SettingsError
from limner.model import Model
from limner.studio.extra import gr
from limner.studio.figures import said
from limner.studio.opened import Opened
from limner.studio.turns import CODES, Stopped, Turns
from limner.studio.uploads import read_upload

MOST_PICTURES = 16
"""Pictures that one request paints of a caption, at most."""
MOST_WAITING = 64
"""Requests that may wait; one more is refused."""
Work = Callable[..., str]
"""What a button does: the values of its inputs -> HTML."""
_LARGEST_SEED = 2**53
"""A number field holds whole numbers up to here exactly."""


class Desk:
    """Makes the widgets of one panel. name: the panel's; blocks: the page."""

    def __init__(self, name: str, opened: Sequence[Opened], turns: Turns, blocks: Any) -> None:
        self.name, self.turns, self.blocks = name, turns, blocks
        self._opened = {one.label: one for one in opened}
        self._choosers: list[Any] = []
        self._right: Any = None

    @contextmanager
    def results(self) -> Iterator[None]:
        """Within the block, widgets go above what is painted."""
        with self._right:
            yield

    @contextmanager
    def inputs(self) -> Iterator[None]:
        """Within the block, widgets go into the column of inputs; what is painted stands next to it."""
        with gr.Row(elem_classes="desk"):
            left = gr.Column(scale=4, min_width=280, elem_classes="inputs")
            self._right = gr.Column(scale=7, min_width=300, elem_classes="results")
        with left:
            yield

    def model(self, models: Sequence[Opened]) -> Any:
        """A choice of one of the models; hidden where there is no choice. Its work is given what was opened."""
        labels = [one.label for one in models]
        chooser = gr.Radio(labels, value=labels[0], label="Model", visible=len(labels) > 1)
        self._choosers.append(chooser)
        return chooser

    def models(self, models: Sequence[Opened]) -> Any:
        """A choice of several of the models, at first all."""
        labels = [one.label for one in models]
        chooser = gr.CheckboxGroup(labels, value=labels, label="Models")
        self._choosers.append(chooser)
        return chooser

    def caption(self, models: Sequence[Opened], label: str = "Caption", value: str | None = None, hint: str = "Say what to paint") -> Any:
        """A caption; hidden where no model reads any."""
        first = next((text for one in models if (text := one.example())), "") if value is None else value
        reads = any(one.reads_text() for one in models)
        return text_of(gr.Textbox(first, label=label, lines=1, max_lines=6, placeholder=hint, visible=reads, max_length=2_000))

    def captions(self, models: Sequence[Opened], label: str = "Captions, one a line") -> Any:
        """Several captions; hidden where no model reads any."""
        reads = any(one.reads_text() for one in models)
        first = next((text for one in models if (text := one.example())), "")
        return text_of(
            gr.Textbox(first, label=label, lines=2, max_lines=8, placeholder="Say what to paint", visible=reads, max_length=20_000)
        )

    def sentences(self, label: str, value: str = "", hint: str = "One a line", lines: int = 3) -> Any:
        """Several sentences or names, one a line."""
        return text_of(gr.Textbox(value, label=label, lines=lines, max_lines=12, placeholder=hint, max_length=20_000))

    def seed(self, label: str = "Seed", value: int = 0) -> Any:
        """A seed."""
        return as_sent(gr.Number(value, label=label, precision=0, minimum=-_LARGEST_SEED, maximum=_LARGEST_SEED, min_width=110))

    def count(self, label: str = "Pictures", value: int = 4, most: int = MOST_PICTURES, least: int = 1) -> Any:
        """How many."""
        return as_sent(gr.Slider(least, most, value=value, step=1, label=label, min_width=150))

    def picture(self, label: str = "Picture") -> Any:
        """A picture to be uploaded; one that cannot be used is refused at once."""
        widget = gr.Image(label=label, type="filepath", sources=["upload", "clipboard"], height=220, buttons=[], elem_classes="upload")
        widget.preprocess = lambda payload: None if payload is None else payload.path  # a file, which the model's own reader decodes
        answer = gr.HTML(elem_classes="answer")

        def look(path: str | None) -> tuple[Any, str]:
            try:
                if path is not None:
                    read_upload(path, 8)
            except LimnerError as error:
                return None, said(str(error), "error")
            return gr.skip(), ""

        widget.upload(look, widget, [widget, answer], queue=False, api_visibility="private", show_progress="hidden")
        return widget

    def task(
        self,
        button: str,
        work: Work,
        inputs: Sequence[Any],
        *,
        submit: Sequence[Any] = (),
        tells: bool = False,
        follow: tuple[Any, Work, Sequence[Any]] | None = None,
    ) -> Any:
        """A button with its result: `work` gets the values of the inputs, opened models for choices of them, and answers with HTML.

        It has the turn while it works, is stopped by a second button, and its errors and warnings are said under the buttons. submit:
        widgets in which Enter does the same. tells: `work` also gets `tell`, for its progress. follow: a widget whose every change is
        answered by work of its own, with its inputs, in the same place; of several changes at once the last counts. Returns the widget of
        the result.
        """
        with gr.Row(elem_classes="buttons"):
            go = gr.Button(button, variant="primary", min_width=120)
            stop = gr.Button("Stop", min_width=90)
        answer = gr.HTML(elem_classes="answer")
        with self._right:
            result = gr.HTML(elem_classes="result")

        def listen(triggers: list[Any], work: Work, inputs: Sequence[Any], tells: bool = False, **more: Any) -> Any:
            def asked(request: gr.Request, progress: Any = gr.Progress(), *values: Any) -> tuple[Any, str]:  # noqa: B008
                return self._answered(request, progress, work, inputs, values, tells)

            asked.__annotations__["request"] = gr.Request
            turn = {"concurrency_id": "turn", "concurrency_limit": 1, "show_progress_on": [result]}
            return gr.on(triggers, asked, list(inputs), [result, answer], **turn, **more)

        triggers = [go.click, *(widget.submit for widget in submit)]
        events = [listen(triggers, work, inputs, tells, api_name=self.name, trigger_mode="once", show_progress="full")]
        if follow is not None:
            changed, answer_it, values = follow
            events.append(
                listen(
                    [changed.change],
                    answer_it,
                    values,
                    api_name=f"{self.name}_followed",
                    trigger_mode="always_last",
                    show_progress="minimal",
                )
            )

        def halt(request: gr.Request) -> str:
            self.turns.stop(_visitor(request))
            return said("Stopped.")

        halt.__annotations__["request"] = gr.Request
        stop.click(halt, None, answer, cancels=events, queue=False, api_visibility="private", show_progress="hidden")
        return result

    def _chosen(self, inputs: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """The values, with what was opened in place of labels."""
        return [self.found(value) if widget in self._choosers else value for widget, value in zip(inputs, values, strict=True)]

    def found(self, label: Any) -> Any:
        """What was opened under a label, or under each of several. Raises SettingsError for another."""
        if isinstance(label, list):
            return [self.found(one) for one in label]
        if label not in self._opened:
            raise SettingsError(f"there is no model '{label}' here: load the page anew")
        return self._opened[label]

    def _answered(
        self, request: gr.Request, progress: Any, work: Work, inputs: Sequence[Any], values: Sequence[Any], tells: bool
    ) -> tuple[Any, str]:
        def tell(done: int, total: int, what: str) -> None:
            progress((done, total), desc=what, unit=CODES if what == CODES else "steps")

        try:
            chosen = self._chosen(inputs, values)
            with self.turns.turn(_visitor(request), lambda: _models(chosen), tell) as told, warnings.catch_warnings(record=True) as met:
                warnings.simplefilter("always", LimnerWarning)
                shown = work(*chosen, tell=told) if tells else work(*chosen)
            remarks = dict.fromkeys(str(one.message) for one in met if issubclass(one.category, LimnerWarning))
            return shown, "".join(said(remark, "remark") for remark in remarks)
        except Stopped:
            return gr.skip(), said("Stopped.")
        except LimnerError as error:
            return "", said(str(error), "error")
        except Exception as error:  # a bug: the page says so, and goes on
            traceback.print_exc(file=sys.stderr)
            return "", said(f"something broke ({type(error).__name__}: {error}): the terminal of limner studio says where", "error")


def _models(values: Sequence[Any]) -> list[Model]:
    """The models among the values, as they are now."""
    given = [one for value in values for one in (value if isinstance(value, list) else [value]) if isinstance(one, Opened)]
    return [one.model() for one in given if one.has_model]


def _visitor(request: gr.Request | None) -> str:
    return str(getattr(request, "session_hash", None))


def as_sent(widget: Any) -> Any:
    """A widget of numbers whose work gets what the browser sends, and says itself what is wrong with it: gradio would round it, or refuse
    it in words of its own."""
    widget.preprocess = lambda payload: payload
    return widget


def text_of(widget: Any) -> Any:
    """A widget of text whose work always gets text: a request may leave it out."""
    widget.preprocess = lambda payload: "" if payload is None else str(payload)
    return widget


def whole(value: Any, name: str, least: int, most: int) -> int:
    """A whole number that a visitor gave. Raises SettingsError for none, another kind, and one out of range."""
    if not is_number(value) or value != int(value):
        raise SettingsError(f"{name} is {'empty' if value is None else shortened(repr(value))}: give a whole number")
    if not least <= value <= most:
        raise SettingsError(f"{name} is {shortened(f'{int(value):,}')}: give {least:,} to {most:,}")
    return int(value)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and (isinstance(value, int) or math.isfinite(value))


def shortened(text: str) -> str:
    """The beginning of what a visitor gave, for a message."""
    return text if len(text) <= 40 else f"{text[:40]}..."


def lines_asked(text: str, most: int, what: str) -> list[str]:
    """The lines that a visitor gave, without empty ones. what: the lines hold, in the plural. Raises SettingsError for too many."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > most:
        raise SettingsError(f"there are {len(lines):,} {what}: give {most} at most")
    return lines


def captions_asked(one: Opened, text: str, most: int) -> list[str]:
    """The captions that a visitor gave, one a line; the empty one alone for a model that reads no text."""
    lines = lines_asked(text, most, "captions") if one.reads_text() else []
    return lines or [""]


def pictures_asked(value: Any, most: int = MOST_PICTURES) -> int:
    """How many pictures a visitor asked for."""
    return whole(value, "the number of pictures", 1, most)


def seed_asked(value: Any) -> int:
    """The seed that a visitor gave."""
    return whole(value, "the seed", -_LARGEST_SEED, _LARGEST_SEED)
