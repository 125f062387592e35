"""The models that the documentation keeps can be loaded, and paint in colours that captions name."""

from __future__ import annotations

from pathlib import Path

import pytest

import limner

MODELS = sorted(path.parent for path in (Path(__file__).parents[2] / "docs" / "models").glob("*/config.json"))


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_documented_model_paints_what_it_is_told(folder: Path) -> None:
    model = limner.load(folder)
    of_garden, of_photographs = "a large {} flower with five round petals at night", "this flower has bright {} petals"  # in words it knows
    caption = of_garden if folder.name.startswith("garden") else of_photographs
    captions = {colour: [caption.format(colour)] * 8 for colour in ("red", "yellow")}
    red, yellow = (model.pictures(texts, range(8)).mean((0, 1, 2)) for texts in captions.values())  # mean colours [3], 0 to 255
    assert red[0] > red[1] + 40 and yellow[1] > red[1] + 40 and yellow[0] > yellow[2] + 40
