"""Scene faithfulness on readings whose right score is known: a perfect reader gives 1, and readings of other pictures give chance."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from limner.core import folder
from limner.core.errors import SettingsError
from limner.data.built_in import BouquetPictures
from limner.data.catalog import open_data
from limner.data.garden import ATTRIBUTES
from limner.data.garden.attributes import BACKGROUND, COLOUR
from limner.data.garden.bouquets import Bouquets, Mention, Said, Shown, parse_bouquet
from limner.data.garden.bouquets.arranging import RADII, Bouquet
from limner.data.garden.bouquets.scenes import shown_by
from limner.features.bouquet_judge import MOST, SHIPPED, SceneReading
from limner.metrics.scene_judge import COLUMNS, tally
from limner.metrics.scenes import PARTS, share, shown_in, verdicts
from limner.metrics.scoring.evaluate import ScoringRequest, evaluate


def true_reading(found: Bouquet, off: float = 0.0) -> SceneReading:
    """What a judge would read that sees everything; off: by how much it sees flowers too far right and too high."""
    count = len(found)
    order = torch.tensor([2, 0, 3, 1])  # whatever the order in which it finds them
    there = torch.from_numpy(found.there)[:, order]
    first = (~there).long().argsort(dim=1, stable=True)
    chosen = torch.gather(order.expand(count, 4), 1, first)

    def placed(values: torch.Tensor) -> torch.Tensor:
        rows = torch.gather(values, 1, chosen.view(count, 4, *[1] * (values.dim() - 2)).expand(-1, -1, *values.shape[2:]))
        return torch.cat([rows, torch.zeros(count, MOST - 4, *values.shape[2:], dtype=values.dtype)], 1)

    codes = torch.from_numpy(found.codes)
    front = torch.from_numpy(found.hides.swapaxes(1, 2) > 0)  # [B, front, back]
    front = placed(placed(front).transpose(1, 2)).transpose(1, 2)
    places = placed(torch.from_numpy(np.stack([found.x, found.y], 2))).float() + torch.tensor([off, -off])
    read = {name: placed(codes[:, :, column]) for column, name in enumerate(ATTRIBUTES)}
    read["background"] = codes[:, 0, BACKGROUND]
    radii = placed(torch.from_numpy(RADII[found.codes[:, :, 5]])).float()
    features = torch.zeros(count, 4)
    return SceneReading(features, torch.from_numpy(found.number), places, radii, placed(torch.from_numpy(found.boxes)), read, front)


class TrueJudge(nn.Module):
    """Knows the pictures of a set by heart."""

    name, content_hash, resize = "true", "0", "none"

    def __init__(self, bouquets: Bouquets) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.bouquets = bouquets
        self.rows = {picture.tobytes(): row for row, picture in enumerate(bouquets.pictures(np.arange(len(bouquets))))}

    def read(self, images: torch.Tensor) -> SceneReading:
        rows = [self.rows[picture.permute(1, 2, 0).contiguous().numpy().tobytes()] for picture in images]
        return true_reading(self.bouquets.bouquets(rows), off=0.015)


@pytest.fixture(scope="module")
def pictures() -> BouquetPictures:
    made = open_data("garden-bouquets", "test", 16, length=120)
    assert isinstance(made, BouquetPictures)
    return made


def test_a_perfect_reader_finds_everything_true() -> None:
    bouquets = Bouquets("all", seed=3)
    rows = np.arange(400)
    found = bouquets.bouquets(rows)
    said = [parse_bouquet(caption.text) for caption in bouquets.captions(rows, 2)]
    for off in (0.0, 0.02):
        result = verdicts(said, shown_in(true_reading(found, off)))
        for part, name in enumerate(PARTS):
            value, error, count = share(result, part)
            assert value == 1.0 and error == 0.0 and count > 100, name


def test_readings_of_other_pictures_give_chance() -> None:
    bouquets = Bouquets("all", seed=3)
    rows = np.arange(900)
    said = [parse_bouquet(caption.text) for caption in bouquets.captions(rows, 0)]
    truths = shown_by(bouquets.bouquets(rows))
    shuffled = verdicts(said, [*truths[1:], *truths[:1]])
    unrelated = verdicts(said, shown_by(Bouquets("all", seed=4).bouquets(rows)))
    for part, name in enumerate(PARTS):
        (mine, error, _), (chance, other, _) = share(shuffled, part), share(unrelated, part)
        assert abs(mine - chance) < 5 * (error**2 + other**2) ** 0.5, name
        assert chance < 0.5, name
    assert share(unrelated, PARTS.index("everything"))[0] < 0.03
    # One in three pictures has as many flowers, one in four the background.
    assert abs(share(unrelated, PARTS.index("count"))[0] - 1 / 3) < 0.1
    assert abs(share(unrelated, PARTS.index("background"))[0] - 1 / 4) < 0.1


def test_shares_count_what_was_said_and_their_errors_take_pictures_as_independent() -> None:
    named = [Mention({COLOUR: 0}), Mention({COLOUR: 1})]
    red, blue = [0, 0, 0, 0, 1, 0], [1, 0, 0, 0, 1, 0]
    picture = Shown([red, blue], frozenset({("left", (0, 1))}), 1)
    said = [
        Said(tuple(named), (("left", (0, 1)),), total=2, background=1),
        Said(tuple(named), (("left", (1, 0)), ("above", (0, 1)))),
        Said((Mention({COLOUR: 2}),), total=3, background=0),
    ]
    rows = verdicts(said, [picture] * 3)
    expected = {"flowers": (4, 5), "relations": (1, 3), "count": (1, 2), "background": (1, 2), "everything": (1, 3)}
    for part, name in enumerate(PARTS):
        right, whole = expected[name]
        value, error, count = share(rows, part)
        assert (value, count) == (pytest.approx(right / whole), whole)
        residuals = rows[:, part, 0] - value * rows[:, part, 1]
        assert error == pytest.approx(np.sqrt((residuals**2).sum()) / whole)


def test_a_score_has_its_parts_its_chance_and_real_pictures_beside_it(pictures: BouquetPictures) -> None:
    judge = TrueJudge(pictures.bouquets)
    of_caption = {caption: row for row in range(len(pictures)) for caption in pictures.captions(row)}

    def faithful(captions: list[str], samples: np.ndarray, seed: int) -> torch.Tensor:
        return torch.from_numpy(pictures.read(np.array([of_caption[caption] for caption in captions]))).permute(0, 3, 1, 2)

    def deaf(captions: list[str], samples: np.ndarray, seed: int) -> torch.Tensor:
        return torch.from_numpy(pictures.read(samples * 7 % len(pictures))).permute(0, 3, 1, 2)

    request = ScoringRequest(metrics=["scene-faithfulness"], count=100, scene_judge=judge)  # type: ignore[arg-type]
    (good,), (bad,) = (evaluate(painter, [pictures], request) for painter in (faithful, deaf))
    assert good.value == 1.0 and good.real == 1.0 and good.error == 0.0 and set(good.parts) == set(PARTS)
    assert good.chance is not None and good.chance < 0.4 and good.shuffled is not None and good.shuffled < 0.45
    assert bad.value < 0.5 and bad.real == 1.0 and bad.parts["everything"].value < 0.1 and bad.chance == good.chance
    assert bad.error is not None and abs(bad.value - good.shuffled) < 6 * bad.error
    assert good.protocol.features == "true" and good.protocol.data == "garden-bouquets"
    for size in (1, 99):
        (again,) = evaluate(faithful, [pictures], dataclasses.replace(request, batch_size=size))
        assert again == good, "the other captions do not depend on the batches"


def test_where_it_cannot_be_taken_it_says_why(pictures: BouquetPictures, monkeypatch: pytest.MonkeyPatch) -> None:
    def painter(captions: list[str], samples: np.ndarray, seed: int) -> torch.Tensor:
        return torch.zeros(len(captions), 3, 16, 16, dtype=torch.uint8)

    request = ScoringRequest(metrics=["scene-faithfulness"], count=10)
    with pytest.raises(SettingsError, match="evaluate with --data garden-bouquets"):
        evaluate(painter, [open_data("garden", "test", 16, length=10)], request)
    with pytest.raises(SettingsError, match="evaluate with --data garden"):
        evaluate(painter, [pictures], ScoringRequest(metrics=["faithfulness"], count=10))
    there = [name for name in folder.shipped() if name != SHIPPED]
    monkeypatch.setattr("limner.core.folder.shipped", lambda *kinds: there)
    with pytest.raises(SettingsError, match="limner train bouquet-judge"):
        evaluate(painter, [pictures], request)


def test_a_reader_is_checked_against_everything_that_is_known() -> None:
    bouquets = Bouquets("all", seed=6, length=60, resolution=16)
    rows = np.arange(60)
    right, whole = tally(TrueJudge(bouquets).read, bouquets, rows).T
    assert (right == whole).all() and whole.min() > 20

    def short_sighted(images: torch.Tensor) -> SceneReading:
        reading = TrueJudge(bouquets).read(images)
        codes = {**reading.codes, "colour": (reading.codes["colour"] + 1) % 8}
        parts = {**vars(reading), "codes": codes, "counts": reading.counts - 1, "front": ~reading.front}
        return SceneReading(**parts)

    right, whole = tally(short_sighted, bouquets, rows).T
    shares = dict(zip(COLUMNS, right / whole, strict=True))
    assert shares["colour"] == shares["all of it"] == shares["how many"] == shares["in front"] == 0.0
    assert shares["shape"] == shares["background"] == 1.0 and 0.5 < shares["found"] < 0.9
