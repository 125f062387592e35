"""The garden's stories: exact, held out where they should be, and sentences that say what the pictures show."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from limner.core.errors import SettingsError
from limner.data.catalog import StoryPictures, open_data
from limner.data.garden import ATTRIBUTES
from limner.data.garden.attributes import BACKGROUND, SHAPE, SIZE
from limner.data.garden.stories import CHARACTERS, HELD_OUT_CASTS, HELD_OUT_EVENTS, LOOKS, Event, Plot, Stories, exchange_names
from limner.data.garden.stories.cast import LOOK_CODES, LOOK_COLUMNS, character
from limner.data.garden.stories.plots import after
from limner.data.garden.stories.sentences import she_before
from limner.metrics.stories import Meeting, read_truly

SMALL = Stories("train", length=300, resolution=32)


def test_stories_are_the_same_everywhere() -> None:
    told = "\n".join(caption for row in range(80) for caption in SMALL.captions(row)) + repr(SMALL.plots[:80])
    found = hashlib.sha256(told.encode() + SMALL.arranged[np.arange(80)].boxes.tobytes()).hexdigest()[:16]
    assert found == "d9bc0f07ecefa855"
    longer = Stories("train", length=900, resolution=16)  # neither length nor resolution matters
    assert longer.plots[:300] == SMALL.plots and longer.captions(1199) == SMALL.captions(1199)
    assert Stories("train", seed=1, length=20).plots != SMALL.plots[:20]


def test_a_known_story_comes_out_as_its_events_say() -> None:
    rosa, iris = 0, 1
    events = ("begins", (0,)), ("comes", (1,)), ("grows", (0,)), ("closes", (0,)), ("morning", ())
    plot = Plot((rosa, iris), ATTRIBUTES["background"].index("sand"), tuple(Event(*event) for event in events))
    states = plot.states()
    codes = [plot.codes(state, 0) for state in states]
    slender, own = ATTRIBUTES["shape"].index("slender"), ATTRIBUTES["shape"].index("heart-shaped")
    assert [code[SIZE] for code in codes] == [0, 0, 1, 0, 1] and [code[SHAPE] for code in codes] == [own, own, own, slender, own]
    assert [ATTRIBUTES["background"][code[BACKGROUND]] for code in codes] == ["sand", "sand", "sand", "night", "sand"]
    assert [state.there for state in states] == [(True, False)] + [(True, True)] * 4
    other = plot.exchanged()
    assert other.codes(states[0], 0)[: SIZE - 1] == [LOOK_CODES[iris][place] for place in range(4)]
    autumn = plot.codes(after(states[2], Event("autumn", (0,))), 0)
    assert ATTRIBUTES["colour"][autumn[0]] == "orange" and autumn[1:] == codes[2][1:]


def test_training_shows_nothing_that_is_held_out_and_the_others_show_it_always() -> None:
    for split in ("train", "val", "test"):
        stories = Stories(split, length=300)
        casts, happenings = [], []
        for plot in stories.plots:
            pairs = [frozenset((a, b)) for a in plot.cast for b in plot.cast if a < b]
            casts.append({own for own, held in HELD_OUT_CASTS.items() if any(pair in held for pair in pairs)})
            events = [(plot.cast[event.who[0]], event.kind) for event in plot.events[1:] if event.who]
            happenings.append({own for own, held in HELD_OUT_EVENTS.items() if any(event in held for event in events)})
            assert all(any(state.there[place] for state in plot.states()) for place in range(len(plot.cast)))
            assert all(any(state.there) for state in plot.states())
        seen = [tuple(cast | events) for cast, events in zip(casts, happenings, strict=True)]
        assert set(seen) == ({()} if split == "train" else {(split,)})
        if split != "train":
            assert 0.3 < np.mean([bool(cast) for cast in casts]) < 0.7


def test_everybody_is_named_first_and_who_she_is_cannot_be_misunderstood() -> None:
    words = {"she": 0, "the other one": 0, "name": 0}
    for story, plot in enumerate(SMALL.plots):
        met: set[int] = set()
        for frame, event in enumerate(plot.events):
            for sentence in SMALL.captions(story * 4 + frame):
                named = {
                    who
                    for who in range(len(plot.cast))
                    if CHARACTERS[plot.cast[who]].lower() in sentence.split()
                    or f"{CHARACTERS[plot.cast[who]].lower()}," in sentence.split()
                }
                assert not any(CHARACTERS[who].lower() in sentence.replace(",", "").split() for who in range(12) if who not in plot.cast)
                assert set(event.who) - met <= named  # whoever is new is named
                if event.kind != "begins" and event.who and not named & set(event.who):
                    she = she_before(plot, frame)
                    meant = she if "she" in sentence.split() else None
                    if "the other one" in sentence:
                        there = [who for who in range(len(plot.cast)) if len(plot.cast) == 2 or plot.states()[frame - 1].there[who]]
                        (meant,) = set(there) - {she}
                        words["the other one"] += 1
                    else:
                        words["she"] += 1
                    assert (meant,) == event.who
                else:
                    words["name"] += 1
            met.update(event.who)
    assert min(words.values()) > 50


def test_left_and_right_are_true() -> None:
    asked = 0
    for row in range(1200):
        story = row // 4
        plot, stage = SMALL.plots[story], SMALL.stage
        for sentence in SMALL.captions(row):
            if "with" in sentence and "to her" in sentence:
                one, other = sentence.split()[0], sentence.split("with ")[1].split()[0]
                side = sentence.split()[-1]
            elif "side" not in sentence and " of " in sentence and "the left of" in sentence.replace("right", "left"):
                other = sentence.replace(",", "").split(" of ")[1].split()[0]
                side = "left" if "the left of" in sentence else "right"
                one = next(CHARACTERS[plot.cast[who]].lower() for who in plot.events[row % 4].who)
                one, other = other, one  # the newcomer stands to that side of the other
            else:
                continue
            first, second = (plot.cast.index(character(name)) for name in (one, other))
            assert (stage.x[story, second] < stage.x[story, first]) == (side == "left")
            asked += 1
    assert asked > 100


def test_who_is_there_stands_where_she_stood_and_as_she_is() -> None:
    shown = SMALL.arranged
    assert shown.visible[shown.there].min() > 0.9
    pictures = SMALL.paint(np.arange(40)).astype(int)
    for row in range(40):
        if row % 4 and SMALL.plots[row // 4].events[row % 4].kind == "comes":
            before = {
                who: tuple(place) for who, *place in zip(shown.who[row - 1], shown.x[row - 1], shown.y[row - 1], strict=True) if who >= 0
            }
            now = {who: tuple(place) for who, *place in zip(shown.who[row], shown.x[row], shown.y[row], strict=True) if who >= 0}
            assert set(now) > set(before) and all(now[who] == before[who] for who in before)
            (new,) = set(now) - set(before)
            left, top, width, height = (shown.boxes[row, list(shown.who[row]).index(new)] * 32).tolist()
            changed = np.abs(pictures[row] - pictures[row - 1]).max(2) > 1
            changed[max(int(top) - 1, 0) :, :] &= True  # her stem reaches down, and may lean
            assert not changed[: max(int(top) - 1, 0)].any() and changed[int(top) : int(top + height), int(left) : int(left + width)].any()


def test_counterfactual_sentences_are_false_and_in_training_speak_of_nothing_held_out() -> None:
    held = {(CHARACTERS[who].lower(), kind) for events in HELD_OUT_EVENTS.values() for who, kind in events}
    different = 0
    for row in range(400):
        for k in range(2):
            changed = {SMALL.counterfactual(row, k, draw) for draw in range(3)}
            different += len(changed)
            assert changed and not changed & set(SMALL.captions(row))
            assert not any(sentence.startswith(f"{who} {kind}") for sentence in changed for who, kind in held)
    assert different > 2 * 800


def test_no_counterfactual_event_is_shown_by_its_picture() -> None:
    """As the story scores see it. They count who is there, so of one who goes away it is asked whether her look is gone."""
    times = {"night": 0, "morning": 0}
    for split in ("train", "test"):
        world = Stories(split, length=25, resolution=16)
        truth = read_truly(world.arranged).reshape(25, 4, 6, -1)
        for story, plot in enumerate(world.plots):
            for frame in range(4):
                changes = world._changes(plot, frame)
                assert changes
                for changed in changes:
                    told = replace(changed, events=changed.events[: frame + 1])
                    event = told.events[frame]
                    if event.kind == "goes":
                        row = list(world.arranged.who[story * 4 + frame])
                        assert plot.cast[event.who[0]] in row
                        continue
                    right = Meeting(told, truth[story, : frame + 1]).faithful()[0, 0]
                    assert right == frame, f"{event} is true of frame {frame} of {plot}"  # what was said before is true
                    if event.kind in times:
                        times[event.kind] += 1
                        assert plot.states()[frame].night == (event.kind == "morning")
    assert min(times.values()) > 10


def test_pictures_of_stories() -> None:
    pictures = open_data("garden-stories", "val", 16, length=41)
    assert isinstance(pictures, StoryPictures) and len(pictures) == 40 and pictures.stories.shape == (10, 4)
    assert pictures.key(5) == "stories-val-0-000001-2" and pictures.read([3, 1]).shape == (2, 16, 16, 3)
    shown = pictures.categories(np.arange(40))
    for index in range(40):
        names = {shows.name for shows in pictures.world[index // 4].shown[index % 4]}
        assert names == {CHARACTERS[number] for number in np.flatnonzero(shown[index])}
    layout = pictures.layouts(np.arange(8))
    assert (layout.counts.numpy() == shown[:8].sum(1)).all() and [pictures.label_names[n] for n in layout.labels[0] if n >= 0]
    assert open_data("garden-stories", "val", 16, length=41).fingerprint == pictures.fingerprint
    assert open_data("garden-stories", "test", 16, length=41).fingerprint != pictures.fingerprint


def test_looks_are_told_apart() -> None:
    assert len(set(LOOKS.values())) == len(LOOKS) and all(len(codes) == len(LOOK_COLUMNS) for codes in LOOK_CODES)
    assert exchange_names("Rosa comes, and iris goes to rosa's roses", "rosa", "Iris") == "Iris comes, and rosa goes to iris's roses"
    with pytest.raises(SettingsError, match="Rosa"):
        character("roza")


@pytest.mark.parametrize(
    ("settings", "message"), [({"frames": 0}, "4 or 5 frames, not 0"), ({"length": 0}, "a garden of 0 stories is empty")]
)
def test_refusals(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Stories(**settings)  # type: ignore[arg-type]


def test_five_frames() -> None:
    item = Stories("val", length=3, resolution=16, frames=5)[-1]
    assert len(item.pictures) == len(item.sentences) == len(item.shown) == 5 and item.held_out in ("cast", "event")
