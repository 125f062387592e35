"""One request at a time: each waits for its turn, and can be stopped in the middle of a painting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from limner.core.abilities import WritesCodes
from limner.model import Model

Tell = Callable[[int, int, str], None]
"""Told how much of how much is done, and of what."""
CODES = "codes"
"""What models write that write codes."""


class Stopped(Exception):
    """The request was stopped by whoever made it."""


class Turns:
    """The turns of all requests. A request is known by its visitor, and a visitor's requests are stopped together."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._asked: dict[str, list[threading.Event]] = {}

    @contextmanager
    def turn(self, visitor: str, models: Callable[[], Sequence[Model]], tell: Tell | None = None) -> Iterator[Tell]:
        """Wait for the turn, and have it within the block. Raises Stopped there as soon as one of the models' layers is asked for.

        models: asked once it is the turn. tell: told how many codes of how many are written, by models that write codes. Yields what work
        can tell of its own progress, which raises Stopped too: for what goes through no layer of the models.
        """
        stop = threading.Event()

        def told(done: int, total: int, what: str = CODES) -> None:
            if stop.is_set():
                raise Stopped
            if tell is not None:
                tell(done, total, what)

        with self._guard:
            self._asked.setdefault(visitor, []).append(stop)
        try:
            with self._turn, ExitStack() as stack:
                for model in models():
                    stack.enter_context(_watched(model, stop, told))
                if stop.is_set():
                    raise Stopped
                yield told
        finally:
            with self._guard:
                self._asked[visitor].remove(stop)
                if not self._asked[visitor]:
                    del self._asked[visitor]

    def stop(self, visitor: str) -> bool:
        """Stop a visitor's requests; whether there were any."""
        with self._guard:
            asked = list(self._asked.get(visitor, ()))
        for stop in asked:
            stop.set()
        return bool(asked)


@contextmanager
def _watched(model: Model, stop: threading.Event, told: Callable[[int, int], None]) -> Iterator[None]:
    """Every layer of a model looks whether it should go on: whatever a method does to paint, it goes through its layers."""

    def look(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if stop.is_set():
            raise Stopped

    method = model.method
    hooks = [module.register_forward_pre_hook(look) for part in (method, model.style) if part is not None for module in part.modules()]
    if isinstance(method, WritesCodes):
        method.tell = told
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        if isinstance(method, WritesCodes):
            method.tell = None
