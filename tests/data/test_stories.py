"""Stories in batches: frames in order and seen alike, whole stories in each process, and refusals in one line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from limner.core.errors import DataError
from limner.core.pictures import CaptionedPictures
from limner.core.trainable import Phase
from limner.data.captions import CaptionFeatures
from limner.data.loader import Loader
from limner.data.stories import ToldSoFar, so_far
from limner.text.number_rows import as_caption, vector_width
from limner.text.numbers import Numbers

FRAMES = 3


class Told(CaptionedPictures):
    """Seven stories of three frames, which do not lie next to each other; a picture says its number, and in green its column."""

    name, split, resolution, stored_resolution, class_count, may_flip, fingerprint = "told", "train", 10, 14, 0, True, "0"
    class_ids = None

    def __init__(self, stories: NDArray[np.int64] | None) -> None:
        self.stories = stories

    def __len__(self) -> int:
        return 23

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        pictures = np.zeros((len(indices), 14, 14, 3), np.uint8)
        pictures[..., 0] = np.asarray(indices)[:, None, None]
        pictures[..., 1] = np.arange(14)
        pictures[..., 2] = np.arange(14)[:, None]
        return pictures

    def captions(self, index: int) -> list[str]:
        return [f"frame {index}"]

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return np.ones(23, np.int64)

    def key(self, index: int) -> str:
        return str(index)

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return "another"


STORIES = np.random.default_rng(0).permutation(23)[: 7 * FRAMES].reshape(7, FRAMES)


def phase(batch_size: int = 12, frames: int = FRAMES) -> Phase:
    return Phase(name="x", resolution=10, batch_size=batch_size, steps=1, frames=frames)


def test_whole_stories_in_order_each_once_a_pass() -> None:
    loader = Loader(Told(STORIES), phase(), seed=1)
    told = []
    for step in range(7):
        batch = loader.batch(step)
        assert batch.frames == FRAMES
        assert [own[0] for own in batch.captions] == [f"frame {index}" for index in batch.indices]
        told += batch.indices.reshape(-1, FRAMES).tolist()
    known = STORIES.tolist()
    assert all(story in known for story in told)
    for start in range(0, 28, 7):  # 4 stories a step: passes of 7 cross the borders of batches
        assert sorted(told[start : start + 7]) == sorted(known)
    assert told[:7] != told[7:14]


def test_the_frames_of_a_story_are_seen_alike() -> None:
    loader = Loader(Told(STORIES), phase(), seed=1)
    seen = set()
    for step in range(6):
        views = ((loader.batch(step).pictures + 1) * 127.5).round()[:, 1:].reshape(-1, FRAMES, 2, 10, 10)
        assert (views == views[:, :1]).all()
        seen |= {(float(view[0, 0, 0]), float(view[0, 0, -1]), float(view[1, 0, 0])) for view in views[:, 0]}
    assert len(seen) > 10  # crops and mirrorings that differ from story to story


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_whole_stories(processes: int) -> None:
    whole = Loader(Told(STORIES), phase(), seed=1)
    parts = [Loader(Told(STORIES), phase(), seed=1, rank=rank, processes=processes) for rank in range(processes)]
    for step in range(3):
        batches = [part.batch(step) for part in parts]
        assert all(len(batch) % FRAMES == 0 for batch in batches)
        assert np.array_equal(np.concatenate([batch.indices for batch in batches]), whole.batch(step).indices)
        joined = np.concatenate([batch.pictures.numpy() for batch in batches])
        assert np.array_equal(joined, whole.batch(step).pictures.numpy())


def test_pictures_one_by_one_come_from_all_of_them() -> None:
    loader = Loader(Told(STORIES), phase(), seed=1)
    alone = [loader.batch(step).draw("pictures") for step in range(2)]
    assert all(batch.frames == 1 for batch in alone)
    indices = np.concatenate([batch.indices for batch in alone])
    assert len(set(indices[:23].tolist())) == 23  # a pass holds each once, those of no story too
    assert [own[0] for own in alone[0].captions] == [f"frame {index}" for index in alone[0].indices]


@pytest.mark.parametrize(
    ("stories", "asked", "processes", "message"),
    [
        (None, phase(), 1, "the train split of 'told' holds no stories: give data with stories"),
        (STORIES[:0], phase(), 1, "holds no stories"),
        (STORIES[:, :2], phase(), 1, "the stories of 'told' have 2 pictures, and 3 are wanted"),
        (STORIES, phase(10), 1, "a batch of 10 pictures does not hold whole stories of 3: make --training.batch-size a multiple of 3"),
        (STORIES, phase(6), 4, "a batch of 6 pictures cannot be shared by 4 processes"),
        (
            STORIES,
            phase(12),
            3,
            "a batch of 12 pictures does not hold whole stories of 3 in each of 3 processes: make --training.batch-size a multiple of 9",
        ),
    ],
)
def test_refusals(stories: NDArray[np.int64] | None, asked: Phase, processes: int, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        Loader(Told(stories), asked, seed=0, processes=processes)
    assert "\n" not in str(refused.value)


def test_an_unknown_kind_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="'mismatched', 'unpaired', 'pictures' or 'frames', not 'stories'"):
        Loader(Told(STORIES), phase(), seed=0).batch(0).draw("stories")


def test_a_frame_without_a_caption_is_named() -> None:
    class Silent(Told):
        @property
        def caption_counts(self) -> NDArray[np.int64]:
            return np.where(np.arange(23) == STORIES[2, 1], 0, 1)

    with pytest.raises(DataError, match=f"'{STORIES[2, 1]}' in a story of 'told' has no caption: give every frame one"):
        Loader(Silent(STORIES), phase(), seed=0)


def test_an_epoch_is_every_picture_of_a_story_once() -> None:
    assert Loader(Told(STORIES), phase(), seed=0).steps_per_epoch == 21 / 12


def test_pictures_one_by_one_are_seen_each_in_its_own_way() -> None:
    alone = Loader(Told(STORIES), phase(), seed=1).batch(0).draw("pictures")
    ways = {tuple(view.flatten().tolist()) for view in alone.pictures[:, 1:]}
    assert len(ways) > 4  # of 12; four stories would have four


class Shown(Told):
    """The same, whose captions are a picture's number twice and its caption's; and of which some things are shown."""

    category_names = ("even", "small")

    def captions(self, index: int) -> list[str]:
        return [f"{index} {index} {caption}" for caption in range(3)]

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return np.full(23, 3, np.int64)

    def categories(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.stack([indices % 2 == 0, indices < 9], axis=1)


@pytest.mark.parametrize("processes", [1, 2])
def test_frames_one_by_one_know_their_whole_story(processes: int) -> None:
    pictures = Shown(STORIES)
    features = CaptionFeatures(Numbers(3), pictures)
    loaders = [Loader(pictures, phase(), seed=1, features=features, rank=rank, processes=processes) for rank in range(processes)]
    seen = []
    for step in range(2):
        for loader in loaders:
            batch = loader.batch(step).draw("frames")
            assert batch.frames == 1 and batch.story is not None and batch.story.frames == FRAMES
            told = batch.story.text.sentence.reshape(len(batch), FRAMES, 3)
            rows = np.arange(len(batch))
            assert np.array_equal(
                STORIES[[STORIES.tolist().index(row) for row in told[:, :, 0].int().tolist()], batch.story.places], batch.indices
            )
            assert np.array_equal(told[rows, batch.story.places], batch.text.sentence)  # its own caption is the one in its story
            assert batch.story.text.captions is not None
            assert batch.story.text.captions[int(batch.story.places[0])] == batch.captions[0][0]
            half = batch.part(slice(1, 3)).story
            assert half is not None and np.array_equal(half.text.sentence, batch.story.text.sentence[FRAMES : 3 * FRAMES])
            seen += batch.indices.tolist()
    assert len(set(seen[:21])) == 21 and set(seen) == set(STORIES.ravel().tolist())  # every frame of a story once a pass


def test_frames_are_not_drawn_where_there_are_no_stories() -> None:
    with pytest.raises(ValueError, match="has no stories"):
        Loader(Told(STORIES), phase(frames=1), seed=0).batch(0).draw("frames")


def test_what_pictures_show_comes_with_them() -> None:
    batch = Loader(Shown(STORIES), phase(), seed=1).batch(0)
    assert batch.categories is not None and batch.categories.tolist() == [[i % 2 == 0, i < 9] for i in batch.indices]
    part = batch.part(slice(3, 6)).categories
    assert part is not None and part.shape == (3, 2)
    assert Loader(Told(STORIES), phase(), seed=1).batch(0).categories is None


def test_single_pictures_are_told_all_that_was_said_before() -> None:
    assert so_far(["rosa comes", "she grows"]) == ["rosa comes", "rosa comes. she grows"]
    pictures = ToldSoFar(Shown(STORIES))
    first, second, third = STORIES[4].tolist()
    assert pictures.captions(third)[1] == f"{first} {first} 1. {second} {second} 1. {third} {third} 1"
    alone = next(index for index in range(23) if index not in STORIES)
    assert pictures.captions(alone) == Shown(STORIES).captions(alone)
    assert pictures.counterfactual(second, 0, 0) == f"{first} {first} 0. another"


class OneSided(Told):
    """The same, of which one frame in the middle of a story speaks of left or right."""

    def __init__(self) -> None:
        super().__init__(STORIES)
        self.mirrorable = np.arange(23) != STORIES[4, 1]


def mirrored(pictures: CaptionedPictures, kind: str | None, frames: int) -> set[int]:
    """Pictures that are mirrored in some of many batches."""
    loader, seen = Loader(pictures, phase(frames=frames), seed=1), set[int]()
    for step in range(40):
        batch = loader.batch(step) if kind is None else loader.batch(step).draw(kind)
        turned = batch.pictures[:, 1, 0, 0] > batch.pictures[:, 1, 0, -1]  # green says the column
        seen.update(batch.indices[turned.numpy()].tolist())
    return seen


def test_frames_are_not_mirrored_where_a_sentence_that_is_read_with_them_speaks_of_sides() -> None:
    pictures, told = OneSided(), set(STORIES.ravel().tolist())
    first, second, third = STORIES[4].tolist()
    assert mirrored(ToldSoFar(pictures), None, 1) == set(range(23)) - {second, third}
    assert mirrored(pictures, "frames", FRAMES) == mirrored(pictures, None, FRAMES) == told - {first, second, third}
    assert mirrored(pictures, "pictures", FRAMES) == set(range(23)) - {second}
    assert pictures.mirrorable is not None and pictures.mirrorable.sum() == 22  # the set's own stay as they are


def test_a_vector_is_text_that_is_read_back_exactly() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    rows[:, :3] = [1, 0, -2]
    captions = [as_caption(row.tolist()) for row in rows]
    assert captions[0].startswith("1 0 -2 ") and vector_width(captions) == 7
    encoder = Numbers.from_config(Numbers(7).config())
    assert np.array_equal(encoder(captions).sentence.numpy(), rows)
    assert vector_width(["1 2", "1 2 3"]) is None and vector_width(["a flower"]) is None and vector_width(["7", "8"]) is None
    for wrong, message in (("1 2", "has 2 numbers"), ("1 2 3 red", "is not a row of numbers"), ("1 nan 2 3 4 5 6", "not a row")):
        with pytest.raises(DataError, match=message):
            encoder([wrong])


def test_single_frames_have_counterfactual_captions_too() -> None:
    asked = Phase(name="x", resolution=10, batch_size=6, steps=1, frames=FRAMES, counterfactuals=1)
    single = Loader(Told(STORIES), asked, seed=1).batch(0).draw("frames")
    assert single.counterfactual_captions == [["another"]] * 6
