"""Story scores, with readers of which it is known how well they read."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.core.errors import SettingsError
from limner.data.catalog import open_data
from limner.data.garden import ATTRIBUTES
from limner.data.garden.phrases import COLOURS
from limner.data.garden.stories import CHARACTERS, Stories, exchange_names
from limner.data.garden.stories.frames import Frames, frames_of
from limner.data.garden.stories.sentences import speak
from limner.data.stories import told_alone
from limner.features.bouquet_judge import MOST, SceneJudge, SceneReading
from limner.metrics.scoring.evaluate import ScoringRequest, evaluate
from limner.metrics.scoring.protocol import Score
from limner.metrics.stories import Meeting, NameExchange, exchange, read_from, read_truly

COLOUR = re.compile(r"turns (?!to )(.+?)(?: as autumn comes)?$")
WORLD = Stories("test", length=40, resolution=16)
TOLD = read_truly(WORLD.arranged).reshape(40, 4, MOST, -1)
RENAMED = read_truly(WORLD.exchanged()).reshape(40, 4, MOST, -1)


def shares(rows: list[np.ndarray]) -> list[float]:
    right, whole = np.sum(rows, axis=0).T
    return (right / whole).tolist()


def test_the_truth_is_right_in_everything() -> None:
    meetings = [Meeting(plot, seen) for plot, seen in zip(WORLD.plots, TOLD, strict=True)]
    assert shares([meeting.faithful() for meeting in meetings]) == [1, 1, 1, 1]
    assert shares([meeting.consistent() for meeting in meetings]) == [1, 1]
    renamed = [Meeting(plot.exchanged(), seen) for plot, seen in zip(WORLD.plots, RENAMED, strict=True)]
    assert shares([exchange(*pair) for pair in zip(meetings, renamed, strict=True)]) == [1, 1, 1]


def test_the_order_in_which_flowers_are_found_does_not_matter() -> None:
    turned = TOLD[:, :, ::-1]
    assert shares([Meeting(plot, seen).faithful() for plot, seen in zip(WORLD.plots, turned, strict=True)]) == [1, 1, 1, 1]


def test_unrelated_stories_are_wrong_and_yet_consistent_where_they_are_alike() -> None:
    other = read_truly(Stories("all", seed=5, length=40).arranged).reshape(40, 4, MOST, -1)
    found = shares([Meeting(plot, seen).faithful() for plot, seen in zip(WORLD.plots, other, strict=True)])
    assert found[0] < 0.3 and found[2] < 0.1 and found[3] == 0


def test_names_that_change_nothing_and_names_that_change_too_much_are_told() -> None:
    plain = [Meeting(plot, seen) for plot, seen in zip(WORLD.plots, TOLD, strict=True)]
    deaf = [Meeting(plot.exchanged(), seen) for plot, seen in zip(WORLD.plots, TOLD, strict=True)]  # paints the same as before
    changed, _, exactly = shares([exchange(*pair) for pair in zip(plain, deaf, strict=True)])
    assert changed == exactly == 0
    moved, elsewhere = RENAMED.copy(), RENAMED.copy()
    moved[..., 6] += 0.2 * moved[..., 0]  # everybody to the right
    elsewhere[..., 8] = (elsewhere[..., 8] + 1) % 4
    for told, wanted in ((moved, [0, 0, 0]), (elsewhere, [1, 0, 0])):
        wild = [Meeting(plot.exchanged(), seen) for plot, seen in zip(WORLD.plots, told, strict=True)]
        assert shares([exchange(*pair) for pair in zip(plain, wild, strict=True)]) == wanted


def test_each_part_notices_its_own_fault() -> None:
    """A story by itself: another look, another place, another background, one too many, each in one frame."""
    story = next(
        place
        for place, plot in enumerate(WORLD.plots)
        if len(plot.cast) == 2
        and [event.kind for event in plot.events][1:2] == ["grows"]
        and plot.states()[2].there == plot.states()[1].there == plot.states()[0].there
        and plot.events[2].kind in ("night", "autumn", "closes", "grows")
    )
    plot, truth = WORLD.plots[story], TOLD[story]
    (who,) = plot.events[1].who
    own = int(np.flatnonzero(WORLD.arranged.who[story * 4 + 1] == plot.cast[who])[0])

    def scores(change: object) -> tuple[list[float], list[float]]:
        seen = truth.copy()
        change(seen)  # type: ignore[operator]
        meeting = Meeting(plot, seen)
        return meeting.faithful()[:, 0].tolist(), (meeting.consistent()[:, 1] - meeting.consistent()[:, 0]).tolist()

    def set_to(place: tuple[int, ...], value: float) -> object:
        def change(seen: np.ndarray) -> None:
            seen[place] = value

        return change

    assert scores(lambda seen: None) == ([4, 4, 4, 1], [0, 0])
    assert scores(set_to((1, own, 1), (truth[1, own, 1] + 1) % 8)) == ([3, 4, 3, 0], [2, 0])  # her colour, as she grows: before and after
    assert scores(set_to((1, own, 6), truth[1, own, 6] + 0.3)) == ([4, 4, 4, 1], [0, 2])
    assert scores(set_to((1, slice(None), 8), 2 if truth[1, 0, 8] != 2 else 0)) == ([4, 3, 3, 0], [0, 0])  # type: ignore[arg-type]
    assert scores(set_to((1, 5, 0), 1.0)) == ([4, 3, 3, 0], [0, 0])  # a flower too many


class TrueJudge(SceneJudge):
    """Reads from the pictures' corner which frame it is, and from the world all that it shows."""

    def __init__(self, frames: dict[int, Frames]) -> None:
        super().__init__({"background": ("a",)} | dict.fromkeys(("colour", "count", "shape", "centre", "size"), ("a",)))
        self.frames = frames

    def read(self, images: Tensor) -> SceneReading:
        marks = images[:, :, 0, 0].int().cpu().numpy()  # which world, and the row in it
        counts, places, codes = [], torch.zeros(len(images), MOST, 2), torch.zeros(len(images), MOST, 6, dtype=torch.int64)
        for row, (world, high, low) in enumerate(marks.tolist()):
            shown = self.frames[world][np.array([high * 256 + low])]
            counts.append(int(shown.number[0]))
            codes[row, :4] = torch.from_numpy(shown.codes[0])
            places[row, :4] = torch.from_numpy(np.stack([shown.x[0], shown.y[0]], 1))
        names = dict(zip(("colour", "count", "shape", "centre", "background", "size"), codes.unbind(2), strict=True))
        names["background"] = codes[:, 0, 4]
        empty = torch.zeros(len(images), MOST)
        return SceneReading(empty, torch.tensor(counts), places, empty, torch.zeros(len(images), MOST, 4), names, empty > 1)


def score(paint: object, judge: SceneJudge, count: int = 40) -> dict[str, Score]:
    pictures = open_data("garden-stories", "test", 16, length=160)
    pictures.read([0])
    assert pictures._pictures is not None  # type: ignore[attr-defined]
    rows = np.arange(160)
    pictures._pictures[:, 0, 0] = np.stack([0 * rows, rows // 256, rows % 256], 1)  # type: ignore[attr-defined]
    request = ScoringRequest(metrics=["story-faithfulness"], count=count, scene_judge=judge)
    return {found.name: found for found in evaluate(paint, [pictures], request)}  # type: ignore[arg-type]


def test_an_evaluation_takes_whole_stories_and_exchanges_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    worlds = {0: WORLD.arranged, 1: WORLD.exchanged()}
    monkeypatch.setattr("limner.metrics.stories.paint_bouquets", lambda frames, side: marked(frames, worlds[1]))
    sentences = {caption: [] for row in range(160) for caption in WORLD.captions(row)}
    for row in range(160):
        for caption in WORLD.captions(row):
            sentences[caption].append(row)
    asked: list[list[str]] = []

    def paint(captions: list[str], samples: np.ndarray, seed: int) -> Tensor:
        asked.append(captions)
        assert len(captions) % 4 == 0
        images = torch.zeros(len(captions), 3, 16, 16, dtype=torch.uint8)
        for start in range(0, len(captions), 4):
            told = captions[start : start + 4]
            for world, exchanged in ((0, False), (1, True)):
                for story in range(40):
                    own = [set(WORLD.captions(story * 4 + frame)) for frame in range(4)]
                    if exchanged:
                        own = [set(told_exchanged(WORLD, story * 4 + frame)) for frame in range(4)]
                    if all(caption in frame for caption, frame in zip(told, own, strict=True)):
                        images[start : start + 4, :, 0, 0] = torch.tensor([[world, 0, story * 4 + frame] for frame in range(4)])
        return images

    scores = score(paint, TrueJudge(worlds), count=42)
    assert set(scores) == {"story-faithfulness", "story-consistency", "name-exchange"}
    for found in scores.values():
        assert found.value == 1.0 and found.real == 1.0 and found.protocol.count == 40
        assert found.chance is not None and found.chance < (0.8 if found.name == "story-consistency" else 0.4)
    assert scores["story-faithfulness"].parts["stories"].count == 10 and set(scores["name-exchange"].parts) == {
        "changed",
        "kept",
        "exactly",
    }


def told_exchanged(world: Stories, row: int) -> list[str]:
    """What the story of the exchanged cast itself says of a frame, from the same draws."""
    story, frame = divmod(row, world.frames)
    plot = world.plots[story].exchanged()
    left = world.stage.left[story].tolist()
    return [speak(plot, plot.states(), left, frame, draws) for draws in world._draws(row, range(world.captions_per_picture))]


def test_a_retold_caption_is_that_of_the_exchanged_story() -> None:
    """Sentence by sentence, and with all sentences so far, as methods read them that paint single pictures; colours among them."""
    colours = 0
    pictures = open_data("garden-stories", "test", 16, length=400)
    alone = told_alone(pictures)
    task = SimpleNamespace(pictures=alone, indices=np.arange(400)[::-1])
    metric = NameExchange(task)  # type: ignore[arg-type]
    world = metric.world
    said = [told_exchanged(world, row) for row in range(400)]
    for number in range(400):
        row = 399 - number
        frame = row % 4
        plot = world.plots[row // 4]
        for k, caption in enumerate(pictures.captions(row)):
            (retold,) = metric.retold(np.array([number]), [caption])
            assert retold == said[row][k]
            (whole,) = metric.retold(np.array([number]), [alone.captions(row)[k]])
            assert whole == ". ".join(said[before][k] for before in range(row - frame, row + 1))
            colours += retold != exchange_names(caption, *(CHARACTERS[who] for who in plot.cast[:2]))
            if plot.events[frame].kind == "autumn" and (turned := COLOUR.search(retold)):
                told = plot.exchanged()
                code = told.codes(told.states()[frame], plot.events[frame].who[0])[0]
                assert turned[1] in COLOURS[ATTRIBUTES["colour"][code]]  # what the score expects of the frame
    assert colours > 20


def marked(frames: Frames, world: Frames) -> np.ndarray:
    """Pictures that say which frames of a world these are."""
    rows = [
        int(np.flatnonzero((world.keys == key) & (world.codes == codes).all((1, 2)) & (world.x == x).all(1))[0])
        for key, codes, x in zip(frames.keys, frames.codes, frames.x, strict=True)
    ]
    images = np.zeros((len(rows), 16, 16, 3), np.uint8)
    images[:, 0, 0] = [[1, 0, row] for row in rows]
    return images


def test_refusals() -> None:
    pictures = open_data("garden", "test", 16, length=8)
    request = ScoringRequest(metrics=["story-faithfulness"], count=8)
    with pytest.raises(SettingsError, match="reads the garden's stories and cannot judge 'garden'"):
        evaluate(lambda *asked: torch.zeros(1), [pictures], request)
    stories = open_data("garden-stories", "test", 16, length=8)
    with pytest.raises(SettingsError, match="ms-ssim looks at many pictures of one caption, and of stories whole ones"):
        evaluate(lambda *asked: torch.zeros(1), [stories], ScoringRequest(metrics=["ms-ssim"], count=8))


def test_readings_are_packed_as_the_truth_is() -> None:
    shown = WORLD.arranged
    judge = TrueJudge({0: shown})
    images = torch.zeros(8, 3, 16, 16, dtype=torch.uint8)
    images[:, 2, 0, 0] = torch.arange(8)
    packed, truth = read_from(judge.read(images)), read_truly(shown[np.arange(8)])
    there = truth[..., 0] > 0
    assert np.array_equal(packed[..., 0], truth[..., 0]) and np.allclose(packed[there], truth[there])
    assert frames_of(WORLD.plots[:1], WORLD.stage[np.arange(1)]).number.tolist() == shown.number[:4].tolist()


def test_a_model_is_asked_for_stories_of_its_own_length() -> None:
    from limner.cli.evaluate.painting import score

    model = SimpleNamespace(method=SimpleNamespace(frames=5), reads_text=True)
    for data, has in (("garden-stories", "stories of 4 frames"), ("garden", "no stories")):
        with pytest.raises(SettingsError, match=f"tells stories of 5 frames, and '{data}' has {has}"):
            score(model, [open_data(data, "test", 16, length=8)], ScoringRequest(metrics=["fid"], count=8))  # type: ignore[arg-type]
