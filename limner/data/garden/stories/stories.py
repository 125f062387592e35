"""The garden's stories: an endless, seeded set of them, a sentence and a picture a frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from limner.core.errors import SettingsError
from limner.core.random import hash64, uniform_of
from limner.data.garden.attributes import SPLIT_LENGTHS, check_split, decode
from limner.data.garden.bouquets.painting import paint_bouquets
from limner.data.garden.seeded import SeededSet
from limner.data.garden.stories.cast import CHARACTERS, HELD_OUT_CASTS, HELD_OUT_EVENTS, THEMES
from limner.data.garden.stories.frames import Frames, Stage, frames_of, set_stage
from limner.data.garden.stories.plots import BEGINS, MORNING, NIGHT, PLACES, Event, Plot, draw_plots, is_shown, possible
from limner.data.garden.stories.sentences import DRAWS, speak

FRAMES = 4
"""Frames of a story, where nobody asks for five."""


@dataclass(frozen=True, kw_only=True)
class Shows:
    """A character in one frame."""

    name: str
    attributes: dict[str, str]
    box: tuple[float, float, float, float]
    """Left, top, width and height of the whole blossom, as shares of the picture's sides."""


@dataclass(frozen=True, kw_only=True)
class StoryItem:
    """One story."""

    key: str
    pixels: NDArray[np.uint8]
    """Its pictures, [F H W 3]."""
    sentences: tuple[tuple[str, ...], ...]
    """For each frame its captions: several wordings of what happens in it."""
    shown: tuple[tuple[Shows, ...], ...]
    """For each frame who is there, from the rearmost to the one in front."""
    plot: Plot
    """Who is in it, and what happens."""

    @property
    def pictures(self) -> list[Image.Image]:
        """Its pictures as PIL images."""
        return [Image.fromarray(pixels) for pixels in self.pixels]

    @property
    def held_out(self) -> str | None:
        """What training never showed: "cast" or "event"; None for nothing."""
        return THEMES[self.plot.theme] if self.plot.theme >= 0 else None


class Stories(SeededSet[StoryItem]):
    """The garden's third world: stories of two or three named flowers who come, go, grow, close at night and turn to autumn colours.

    Everything about story `index` follows from (split, seed, index). Plots, sentences, places and boxes are exact on every machine; pixels
    agree within one level. What training does not show of casts and events is in `HELD_OUT_CASTS` and `HELD_OUT_EVENTS`.
    """

    thing, things, stream, keyed = "story", "stories", "stories", "stories"

    def __init__(
        self,
        split: str = "train",
        seed: int = 0,
        length: int | None = None,
        resolution: int = 64,
        captions_per_picture: int = 4,
        frames: int = FRAMES,
    ) -> None:
        """Open the stories; nothing is painted before it is asked for.

        Args:
            split: "train", "val", "test", or "all", where nothing is held out.
            seed: another seed is another set of stories.
            length: how many stories; by default as many as give 20,000 (train, all), 2,000 (val) or 4,000 (test) pictures.
            resolution: width and height of the pictures in pixels.
            captions_per_picture: wordings of each frame's sentence.
            frames: frames of a story, four or five.

        Raises:
            SettingsError: an unknown split, or a number out of range.
        """
        if frames not in (4, 5):
            raise SettingsError(f"the garden's stories have 4 or 5 frames, not {frames}")
        length = SPLIT_LENGTHS[check_split(split)] // frames if length is None else length
        super().__init__(split, seed, length, resolution, captions_per_picture)
        self.frames = frames

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, frames={self.frames})"

    def __getitem__(self, index: int) -> StoryItem:  # type: ignore[override,unused-ignore]
        story = self.checked(index)
        rows = story * self.frames + np.arange(self.frames)
        arranged = self.arranged[rows]
        shown = tuple(
            tuple(
                Shows(name=CHARACTERS[who], attributes=decode(codes), box=tuple(box))
                for who, codes, box in zip(*(part[row, :number].tolist() for part in (arranged.who, arranged.codes, arranged.boxes)))
            )
            for row, number in enumerate(arranged.number.tolist())
        )
        return StoryItem(
            key=self.key(story),
            pixels=self.paint(rows),
            sentences=tuple(tuple(self.captions(int(row))) for row in rows),
            shown=shown,
            plot=self.plots[story],
        )

    @cached_property
    def plots(self) -> list[Plot]:
        """All plots."""
        return draw_plots(np.arange(self.length), self.seed, self.split, self.frames)

    @cached_property
    def stage(self) -> Stage:
        """Where everybody stands."""
        return set_stage(self.plots, np.atleast_1d(hash64(self.seed, self._stream, "scene", np.arange(self.length))))

    @cached_property
    def arranged(self) -> Frames:
        """What all frames show, [S * F] rows."""
        return frames_of(self.plots, self.stage)

    def exchanged(self) -> Frames:
        """What all frames show where the names of the first two of each cast are exchanged."""
        return frames_of([plot.exchanged() for plot in self.plots], self.stage)

    def paint(self, rows: ArrayLike) -> NDArray[np.uint8]:
        """The pictures of some frames, counted over all stories: uint8 [n, resolution, resolution, 3]."""
        return paint_bouquets(self.arranged[np.atleast_1d(np.asarray(rows, dtype=np.int64))], self.resolution)

    def caption(self, row: int, k: int = 0) -> str:
        """Caption k of a frame; any k is allowed."""
        return self.captions(row, [k])[0]

    def captions(self, row: int, ks: Sequence[int] | None = None) -> list[str]:
        """Captions of a frame, counted over all stories."""
        story, frame = divmod(row, self.frames)
        plot, draws = self.plots[story], self._draws(row, range(self.captions_per_picture) if ks is None else ks)
        states, left = plot.states(), self.stage.left[story].tolist()
        return [speak(plot, states, left, frame, own) for own in draws]

    def counterfactual(self, row: int, k: int, draw: int = 0) -> str:
        """Caption k of a frame with something else in it: another of the cast, another event, or, in the first frame, another name or
        place; it is false of the picture. In the train split it does not speak of what is held out."""
        story, frame = divmod(row, self.frames)
        changes = self._changes(self.plots[story], frame)
        place = hash64(self.seed, self._stream, "counterfactual", row, k) % np.uint64(len(changes))
        plot = changes[(int(place) + draw) % len(changes)]
        (own,) = self._draws(row, [k])
        return speak(plot, plot.states(), self.stage.left[story].tolist(), frame, own)

    def _changes(self, plot: Plot, frame: int) -> list[Plot]:
        """Plots that go on differently in a frame."""
        told = plot.events[frame]
        held_events = (
            frozenset[tuple[int, str]]().union(*HELD_OUT_EVENTS.values()) if self.split == "train" else frozenset[tuple[int, str]]()
        )
        held_casts = frozenset[frozenset[int]]().union(*HELD_OUT_CASTS.values()) if self.split == "train" else frozenset[frozenset[int]]()
        if told.kind == BEGINS:
            found = [replace(plot, place=place) for place in PLACES if place != plot.place]
            for who in told.who:
                for other in range(len(CHARACTERS)):
                    cast = (*plot.cast[:who], other, *plot.cast[who + 1 :])
                    if other not in plot.cast and not any(frozenset((other, own)) in held_casts for own in plot.cast):
                        found.append(replace(plot, cast=cast))
            return found
        before, now = (plot.states()[at] for at in (frame - 1, frame))

        def with_event(event: Event) -> Plot:
            return replace(plot, events=(*plot.events[:frame], event, *plot.events[frame + 1 :]))

        ways = dict.fromkeys((*possible(plot.cast, before, held_events), Event(NIGHT), Event(MORNING)))
        return [with_event(event) for event in ways if not is_shown(now, event)]

    def _draws(self, row: int, ks: Sequence[int]) -> list[list[float]]:
        draws: list[list[float]] = uniform_of(
            hash64(self.seed, self._stream, "caption", row, np.array(list(ks)))[:, None], 0, DRAWS
        ).tolist()
        return draws
