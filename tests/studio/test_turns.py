"""One request at a time, each of which can be stopped in the middle of a painting."""

from __future__ import annotations

import threading

import pytest
import torch
from numpy.typing import ArrayLike
from torch import nn

from limner.core.method import Method, Painting
from limner.core.noise import Noise
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.model import Model
from limner.studio.turns import Stopped, Turns
from limner.text.no_text import NoText


class Endless(Method):
    """Goes through its layer until it is stopped, and then says that it is done."""

    players = phases = training_step = None  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(None, Conditions(resolution=8, sentence_width=0))  # type: ignore[arg-type]
        self.layer, self.begun, self.endless = nn.Linear(1, 1), threading.Event(), True

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> Noise:
        return Noise()

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        while self.endless:
            self.layer(torch.zeros(1, 1))
            self.begun.set()
        return Painting(torch.zeros(len(text), 3, 8, 8))


def test_a_painting_is_stopped_and_the_next_has_its_turn() -> None:
    method, turns, ended = Endless(), Turns(), []
    model = Model(method, NoText())

    def paint() -> None:
        try:
            with turns.turn("one", lambda: [model]):
                model.painting([""], [0])
        except Stopped:
            ended.append("stopped")

    def wait() -> None:
        try:
            with turns.turn("two", lambda: [model]):
                ended.append("two")
        except Stopped:
            ended.append("two was stopped")

    first, second = threading.Thread(target=paint), threading.Thread(target=wait)
    first.start()
    assert method.begun.wait(60)
    second.start()
    assert turns.stop("one") and not turns.stop("nobody")
    for thread in (first, second):
        thread.join(60)
        assert not thread.is_alive()
    assert ended == ["stopped", "two"]

    method.endless = False
    with turns.turn("one", lambda: [model]):
        model.painting([""], [0])
    assert not method.layer._forward_pre_hooks and not turns.stop("one")


def test_who_waits_can_be_stopped_too() -> None:
    turns, entered = Turns(), threading.Event()
    ended: list[str] = []

    def wait() -> None:
        try:
            with turns.turn("two", list):
                entered.set()
        except Stopped:
            ended.append("stopped")

    waiting = threading.Thread(target=wait)
    with turns.turn("one", list):
        waiting.start()
        while not turns.stop("two"):
            pass
    waiting.join(60)
    assert ended == ["stopped"] and not entered.is_set()


def test_a_mistake_gives_the_turn_back() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="mine"), turns.turn("one", list):
        raise ValueError("mine")
    with turns.turn("one", list):
        pass
