"""Story scores: does each frame show what its sentence says, and what was said before; do characters stay as they are; and does exactly
that change when two names are exchanged?

The judge of bouquets finds and reads the flowers of every frame. In each, the characters who should be there are looked for among them,
so that most of their attributes agree, and no flower is taken twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from limner.core.pictures import CaptionedPictures
from limner.data.built_in import StoryPictures
from limner.data.garden import ATTRIBUTES
from limner.data.garden.attributes import BACKGROUND
from limner.data.garden.bouquets.painting import paint_bouquets
from limner.data.garden.stories import Plot, Stories, exchanged_caption
from limner.data.garden.stories.frames import Frames, frames_of
from limner.data.garden.stories.plots import BEGINS, CLOSES, GOES, MORNING, NIGHT
from limner.features.bouquet_judge import MOST, SceneReading
from limner.metrics.judge import to_tensor
from limner.metrics.scenes import share
from limner.metrics.scoring.metric import Figure, Found, Metric, ScoringTask, SeenBatch
from limner.metrics.scoring.protocol import Part

NEAR = 0.08
"""A character stands where she stood within this share of the picture's side."""

FAITHFUL = ("sentence", "carried", "frames", "stories")
"""Frames that show what their own sentence says; that show everything else that the story has said; both; and stories of which all frames
do."""
CONSISTENT = ("looks", "places")
"""Of a character in two frames, one after the other in which she is: whether what the story leaves as it was is read alike in both, and
whether she stands where she stood. One whom the picture lacks is not consistent."""
EXCHANGED = ("changed", "kept", "exactly")
"""Where two names are exchanged: characters of these names who now look like the other, each where she stood before; frames in which all
else stays: background, number of flowers, how others look, and where everybody stands; and frames of which both is true."""

_COLUMNS = tuple(column for column in range(len(ATTRIBUTES)) if column != BACKGROUND)
_NAMES = tuple(name for name in ATTRIBUTES if name != "background")
_OWN, _X, _GROUND = len(_COLUMNS), 1 + len(_COLUMNS), 3 + len(_COLUMNS)

Readings = NDArray[np.float32]
"""[N, 6, 9] what is in N frames: for each flower found whether it is there, its five codes, its place from the left and the top, and the
background of the frame."""


def read_from(reading: SceneReading) -> Readings:
    """What the judge reads, as `Readings`."""
    count = len(reading.counts)
    found = np.zeros((count, MOST, _GROUND + 1), np.float32)
    found[..., 0] = np.arange(MOST) < reading.counts.cpu().numpy()[:, None]
    for place, name in enumerate(_NAMES):
        found[..., 1 + place] = reading.codes[name].cpu().numpy()
    found[..., _X:_GROUND] = reading.places.cpu().numpy()
    found[..., _GROUND] = reading.codes["background"].cpu().numpy()[:, None]
    return found


def read_truly(frames: Frames) -> Readings:
    """What frames truly show."""
    found = np.zeros((len(frames), MOST, _GROUND + 1), np.float32)
    places = frames.there.shape[1]
    found[:, :places, 0] = frames.there
    found[:, :places, 1:_X] = frames.codes[:, :, list(_COLUMNS)]
    found[:, :places, _X] = frames.x
    found[:, :places, _X + 1] = frames.y
    found[..., _GROUND] = frames.codes[:, :1, BACKGROUND]
    return found


class Meeting:
    """The frames of one story, and which flower of each is who."""

    def __init__(self, plot: Plot, seen: Readings) -> None:
        """seen: [F, 6, 9], a frame each."""
        self.plot, self.states, self.seen = plot, plot.states(), seen
        self.wanted = [
            {who: [plot.codes(state, who)[column] for column in _COLUMNS] for who, is_there in enumerate(state.there) if is_there}
            for state in self.states
        ]
        self.found = [_matched(wanted, frame) for wanted, frame in zip(self.wanted, seen, strict=True)]

    def count(self, frame: int) -> int:
        """How many flowers are seen in a frame."""
        return int(self.seen[frame, :, 0].sum())

    def ground(self, frame: int) -> int:
        """The background that is seen in a frame."""
        return int(self.seen[frame, 0, _GROUND])

    def codes(self, frame: int, who: int) -> list[int] | None:
        """The five codes that are read of one of the cast; None where she is not found."""
        flower = self.found[frame].get(who)
        return None if flower is None else self.seen[frame, flower, 1:_X].astype(int).tolist()

    def place(self, frame: int, who: int) -> NDArray[np.float32] | None:
        """Where one of the cast is seen."""
        flower = self.found[frame].get(who)
        return None if flower is None else self.seen[frame, flower, _X:_GROUND]

    def right(self, frame: int, who: int) -> bool:
        """Whether one of the cast looks as she should."""
        return self.codes(frame, who) == self.wanted[frame][who]

    def faithful(self) -> NDArray[np.float32]:
        """[4, 2] of `FAITHFUL`: how much is right, of how much."""
        says, carries = [], []
        for frame, event in enumerate(self.plot.events):
            wanted = self.wanted[frame]
            spoken = [who for who in event.who if who in wanted]
            ground = self.ground(frame) == self.plot.ground(self.states[frame])
            as_many = self.count(frame) == len(wanted)
            falls = event.kind == CLOSES and not self.states[frame - 1].night
            says_ground = event.kind in (BEGINS, NIGHT, MORNING) or falls
            right = all(self.right(frame, who) for who in spoken)
            says.append(right and (ground or not says_ground) and (as_many or event.kind != GOES))
            others = all(self.right(frame, who) for who in wanted if who not in spoken)
            carries.append(others and (ground or says_ground) and (as_many or event.kind == GOES))
        both = [one and other for one, other in zip(says, carries, strict=True)]
        count = len(both)
        return np.array([(sum(says), count), (sum(carries), count), (sum(both), count), (all(both), 1)], np.float32)

    def consistent(self) -> NDArray[np.float32]:
        """[2, 2] of `CONSISTENT`."""
        looks, places, pairs = 0, 0, 0
        for who in range(len(self.plot.cast)):
            frames = [frame for frame, wanted in enumerate(self.wanted) if who in wanted]
            for before, after in zip(frames, frames[1:]):
                kept = [old == new for old, new in zip(self.wanted[before][who], self.wanted[after][who], strict=True)]
                first, second = self.codes(before, who), self.codes(after, who)
                pairs += 1
                if first is not None and second is not None:
                    looks += all(one == other for one, other, stays in zip(first, second, kept, strict=True) if stays)
                    places += _near(self.place(before, who), self.place(after, who))
        return np.array([(looks, pairs), (places, pairs)], np.float32)


def exchange(before: Meeting, after: Meeting) -> NDArray[np.float32]:
    """[3, 2] of `EXCHANGED`: a story, and the same story told with the first two names of its cast exchanged."""
    changed, characters, kept, exactly, frames = 0, 0, 0, 0, 0
    for frame, wanted in enumerate(after.wanted):
        renamed, others = [who for who in wanted if who < 2], [who for who in wanted if who > 1]
        if not renamed:
            continue
        right = sum(after.right(frame, who) and _near(before.place(frame, who), after.place(frame, who)) for who in renamed)
        stays = before.ground(frame) == after.ground(frame) and before.count(frame) == after.count(frame)
        stays = stays and all(before.codes(frame, who) == after.codes(frame, who) is not None for who in others)
        stays = stays and all(_near(before.place(frame, who), after.place(frame, who)) for who in wanted)
        changed, characters, frames = changed + right, characters + len(renamed), frames + 1
        kept, exactly = kept + stays, exactly + (stays and right == len(renamed))
    return np.array([(changed, characters), (kept, frames), (exactly, frames)], np.float32)


def _near(one: NDArray[np.float32] | None, other: NDArray[np.float32] | None) -> bool:
    return one is not None and other is not None and float(np.hypot(*(one - other))) <= NEAR


def _matched(wanted: Mapping[int, Sequence[int]], frame: NDArray[np.float32]) -> dict[int, int]:
    """Which flower of a frame is which of those who should be there: with most attributes in common, and then most who have them all."""
    there = np.flatnonzero(frame[:, 0]).tolist()
    flowers: list[int | None] = [*there, *[None] * max(len(wanted) - len(there), 0)]
    agree = {
        (who, flower): int((frame[flower, 1:_X] == codes).sum())
        for who, codes in wanted.items()
        for flower in flowers
        if flower is not None
    }
    best: tuple[tuple[int, int], dict[int, int]] = ((-1, -1), {})
    for chosen in permutations(flowers, len(wanted)):
        pairs = [(who, flower) for who, flower in zip(wanted, chosen, strict=True) if flower is not None]
        points = [agree[pair] for pair in pairs]
        value = sum(points), sum(point == _OWN for point in points)
        if value > best[0]:
            best = value, dict(pairs)
    return best[1]


class _OfStories(Metric):
    """What the scores of stories have in common."""

    gives: ClassVar[Mapping[str, tuple[str, ...]]]

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        if not task.painted:
            return f"{cls.name} takes whole stories, which a folder of pictures does not promise: leave it out, or score a model"
        return None

    def __init__(self, task: ScoringTask) -> None:
        super().__init__(task)
        self.world = _world(task.pictures)

    def _story(self, number: int) -> int:
        """The story whose frame a picture of the evaluation is."""
        return int(self.task.indices[number]) // self.world.frames

    def _plots(self, rows: NDArray[Any]) -> list[Plot]:
        """The plots of the stories of the first pictures."""
        return [self.world.plots[self._story(number)] for number in range(0, len(rows), self.world.frames)]

    def _meetings(self, rows: Readings) -> list[Meeting]:
        told = rows.reshape(-1, self.world.frames, *rows.shape[1:])
        return [Meeting(plot, seen) for plot, seen in zip(self._plots(rows), told, strict=True)]

    def _unrelated(self, count: int) -> Readings:
        """What the frames of stories show that have nothing to do with these."""
        frames = self.world.frames
        return read_truly(Stories("all", seed=self.task.seed + 1, length=count // frames, frames=frames).arranged)

    def _read(self, images: NDArray[np.uint8]) -> Readings:
        judge = self.task.scene_judge
        assert judge is not None
        with torch.no_grad():
            return read_from(judge.read(to_tensor(images).to(next(judge.parameters()).device)))

    def _figure(self, name: str, sides: Mapping[str, NDArray[np.float32]], headline: Sequence[str], what: str) -> Figure:
        """sides: for "mine", "real" and "chance" rows of stories [S, P, 2]."""
        parts = {}
        for place, part in enumerate(self.gives[name]):
            value, error, count = share(sides["mine"], place)
            others = {side: share(sides[side], place)[0] for side in ("real", "chance")}
            parts[part] = Part(value=value, error=error, count=count, **others)
        chosen = [parts[part] for part in headline]
        return Figure(
            name=name,
            value=float(np.mean([part.value for part in chosen])),
            error=float(np.mean([part.error or 0.0 for part in chosen])),  # parts of one story go together: at most their mean
            chance=float(np.mean([part.chance for part in chosen if part.chance is not None])),
            real=float(np.mean([part.real for part in chosen if part.real is not None])),
            parts=parts,
            higher_is_better=True,
            implementation=f"limner: {what}",
            network="scenes",
        )


class StoryFaithfulness(_OfStories):
    """How much of stories the judge reads in their frames, and whether characters stay as they are."""

    name: ClassVar[str] = "story-faithfulness"
    needs = frozenset({"scenes", "captions"})
    gives: ClassVar[Mapping[str, tuple[str, ...]]] = {"story-faithfulness": FAITHFUL, "story-consistency": CONSISTENT}

    def generated(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        assert batch.scenes is not None
        return {"story": read_from(batch.scenes)}

    def real(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        assert batch.scenes is not None
        return {"story": read_from(batch.scenes)}

    def figures(self, found: Found) -> list[Figure]:
        mine, real = np.asarray(found.generated["story"]), np.asarray(found.real["story"])
        sides = {side: self._meetings(rows) for side, rows in (("mine", mine), ("real", real), ("chance", self._unrelated(len(mine))))}
        faithful = {side: np.stack([meeting.faithful() for meeting in own]) for side, own in sides.items()}
        consistent = {side: np.stack([meeting.consistent() for meeting in own]) for side, own in sides.items()}
        told = "mean of the shares of frames that show their sentence, and all that was said before"
        stays = "mean of the shares of characters' frames that follow each other with the same look, and the same place"
        return [
            self._figure("story-faithfulness", faithful, ("sentence", "carried"), told),
            self._figure("story-consistency", consistent, CONSISTENT, stays),
        ]


class NameExchange(_OfStories):
    """Whether exactly that changes which must, when stories are told with two names exchanged."""

    name: ClassVar[str] = "name-exchange"
    needs = frozenset({"scenes", "captions", "exchanged"})
    gives: ClassVar[Mapping[str, tuple[str, ...]]] = {"name-exchange": EXCHANGED}

    def retold(self, numbers: NDArray[np.int64], captions: Sequence[str]) -> list[str]:
        """The captions of some pictures, with the first two names of each story's cast exchanged, and the colours that they turn to."""
        plots = [self.world.plots[self._story(number)] for number in numbers.tolist()]
        frames = (self.task.indices[numbers] % self.world.frames).tolist()
        return [exchanged_caption(*told) for told in zip(plots, frames, captions, strict=True)]

    def generated(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        assert batch.scenes is not None and batch.exchanged is not None
        return {"as told": read_from(batch.scenes), "exchanged": read_from(batch.exchanged)}

    def real(self, batch: SeenBatch) -> Mapping[str, NDArray[Any]]:
        assert batch.scenes is not None
        stories = sorted({self._story(number) for number in batch.numbers.tolist()})
        stage = self.world.stage
        frames = frames_of([self.world.plots[story].exchanged() for story in stories], stage[np.array(stories, dtype=np.int64)])
        frame = self.task.indices[batch.numbers] % self.world.frames
        places = [stories.index(self._story(number)) for number in batch.numbers.tolist()]
        rows = np.array(places, dtype=np.int64) * self.world.frames + frame
        return {"as told": read_from(batch.scenes), "exchanged": self._read(paint_bouquets(frames[rows], self.world.resolution))}

    def figures(self, found: Found) -> list[Figure]:
        sides = {}
        for side, columns in (("mine", found.generated), ("real", found.real)):
            before, after = (np.asarray(columns[name]) for name in ("as told", "exchanged"))
            sides[side] = self._exchanged(before, after)
            if side == "mine":
                sides["chance"] = self._exchanged(before, self._unrelated(len(before)))
        what = "share of frames in which exactly the looks of the two change whose names, and colours told of them, are exchanged"
        return [self._figure("name-exchange", sides, ("exactly",), what)]

    def _exchanged(self, before: Readings, after: Readings) -> NDArray[np.float32]:
        frames = self.world.frames
        renamed = [Meeting(plot.exchanged(), after[row * frames : (row + 1) * frames]) for row, plot in enumerate(self._plots(after))]
        return np.stack([exchange(*pair) for pair in zip(self._meetings(before), renamed, strict=True)])


def _world(pictures: CaptionedPictures) -> Stories:
    """The stories that pictures are of, whatever stands around them."""
    while not isinstance(pictures, StoryPictures):
        pictures = pictures.pictures  # type: ignore[attr-defined]
    return pictures.world
