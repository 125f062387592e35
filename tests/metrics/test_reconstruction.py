"""Reconstruction: pictures that come back whole, blurred, and as others; and models that find no codes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.core.errors import SettingsError
from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.metrics.scoring.evaluate import ScoringRequest, evaluate
from limner.metrics.scoring.protocol import Score

COUNT, SIDE = 24, 32
PICTURES = GardenPictures(Garden("test", length=COUNT, resolution=SIDE))


def blurred(pictures: Tensor, numbers: object) -> Tensor:
    halved = torch.nn.functional.avg_pool2d(pictures.float(), 2)
    return torch.nn.functional.interpolate(halved, scale_factor=2.0).round().to(torch.uint8)


def others(pictures: Tensor, numbers: object) -> Tensor:
    return pictures.roll(1, 0)


def taken(rebuild: object, **options: int) -> dict[str, Score]:
    def paint(captions: list[str], samples: object, seed: int) -> Tensor:
        return torch.zeros(len(captions), 3, SIDE, SIDE, dtype=torch.uint8)

    request = ScoringRequest(metrics=["reconstruction"], count=COUNT, rebuild=rebuild, **options)  # type: ignore[arg-type]
    return {score.name.removeprefix("reconstruction-"): score for score in evaluate(paint, [PICTURES], request)}


def test_what_comes_back_is_held_against_the_picture() -> None:
    same, soft, wrong = (taken(rebuild) for rebuild in (lambda pictures, numbers: pictures, blurred, others))
    assert set(same) == {"psnr", "ssim", "distance"}
    assert same["distance"].value == 0.0 and same["ssim"].value == pytest.approx(1.0) and same["psnr"].value == float("inf")
    assert same["psnr"].value > soft["psnr"].value > wrong["psnr"].value and soft["ssim"].value > wrong["ssim"].value
    assert 0.0 < soft["distance"].value < wrong["distance"].value
    assert wrong["distance"].value == pytest.approx(1.0, rel=1e-4), "another picture is as far away as another picture"
    assert not soft["distance"].higher_is_better and soft["distance"].protocol.features == "garden"
    assert soft["psnr"].protocol.features is None and soft["psnr"].error is not None
    assert taken(blurred, batch_size=7)["distance"].value == pytest.approx(soft["distance"].value, rel=1e-4)


def test_the_numbers_of_pictures_are_told() -> None:
    seen: list[int] = []

    def noted(pictures: Tensor, numbers: object) -> Tensor:
        seen.extend(numbers.tolist())  # type: ignore[attr-defined]
        return pictures

    taken(noted, batch_size=10)
    assert seen == list(range(COUNT))


def test_a_model_that_finds_no_codes_is_refused() -> None:
    with pytest.raises(SettingsError, match="reconstruction needs a model that finds codes of pictures, such as ci-gan"):
        taken(None)
