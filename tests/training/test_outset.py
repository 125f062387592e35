"""What is said when a run begins: how long all of it will take, and what is too small."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from shared.pictures import prepared
from shared.tiny_runs import same, state_of

from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.core.trainable import Phase
from limner.training import outset
from limner.training.outset import whole_run
from limner.training.plan import Act, PlannedPhase
from limner.training.run import train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    captions = [("val" if number % 5 == 0 else "train", f"a {number} bird") for number in range(20)]
    return str(prepared(tmp_path_factory.mktemp("sets") / "mine", captions))


def recipe(data: str, **training: Any) -> Recipe:
    made = from_preset("limner-gan", "cpu", data, 16)
    small = {"generator_channels": 2, "discriminator_channels": 2, "text_width": 4, "noise_width": 4, "batch_size": 4}
    values = {"steps": 4, "log_every": 2, "checkpoint_every": 4, "sample_every": 1000, "device": "cpu"} | training
    return dataclasses.replace(
        made,
        method_settings=dataclasses.replace(made.method_settings, **small),
        text=dataclasses.replace(made.text, batch_size=4, width=8, steps=4),
        training=dataclasses.replace(made.training, **values),
    )


def test_an_estimate_changes_nothing_and_covers_all_phases(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(recipe(data), tmp_path / "silent")
    assert "about" not in capsys.readouterr().err.partition("about 4 steps")[0]  # 8 steps are not worth an estimate
    monkeypatch.setattr(outset, "SHORTEST", 1)
    train(recipe(data), tmp_path / "told")
    said = " ".join(capsys.readouterr().err.split())
    assert "seconds: words " in said and ", paint " in said and said.index("words ") < said.index("training one first")
    assert same(state_of(tmp_path / "told"), state_of(tmp_path / "silent"))


def test_what_is_too_small_is_said(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(outset, "SHORTEST", 1)
    train(recipe(data), tmp_path / "run")
    said = " ".join(capsys.readouterr().err.split())
    assert "warning: 16 training pictures are too few to learn from" in said and "50 are the least" in said
    assert "--preset small-set" in said
    assert "warning: about 4 steps are too few to paint more than coloured fog: from 2,000 on pictures show shapes; raise --steps" in said
    train(recipe(data, steps=None, minutes=1e-4), tmp_path / "hasty")
    said = " ".join(capsys.readouterr().err.split())
    assert "an epoch counts as one of 2,000, so that gan takes 20,000 steps at most" in said
    assert "steps are too few to paint more than coloured fog" in said and "raise --training.minutes" in said
    train(recipe(data, steps=None, images=16), tmp_path / "few")
    said = " ".join(capsys.readouterr().err.split())
    assert "steps are too few to paint more than coloured fog" in said and "raise --training.images" in said
    assert "an epoch counts as" not in said  # which is not what ends it
    train(
        dataclasses.replace(recipe("garden"), data_settings=dataclasses.replace(recipe("garden").data_settings, garden_pictures=8)),
        tmp_path / "g",
    )
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "paint", "expected"),
    [
        (120.0, 720.0, "about 14 minutes: words 2, paint 12"),
        (4.0, 33.2, "about 37 seconds: words 4, paint 33"),
        (600.0, 9000.0, "about 2.7 hours: words 0.2, paint 2.5"),
    ],
)
def test_times_are_said_in_one_unit(words: float, paint: float, expected: str) -> None:
    from limner.core.trainable import Conditions
    from limner.methods.limner_gan import LimnerGAN, LimnerGANSettings
    from limner.text.no_text import NoText

    trained = LimnerGAN(LimnerGANSettings(generator_channels=2, discriminator_channels=2), Conditions(resolution=16, sentence_width=4))
    text, method = (Act(name=name, registered=name, trained=trained, encoder=NoText()) for name in ("text", "method"))
    phases = [
        PlannedPhase(act=text, phase=Phase(name="text", resolution=16, batch_size=4, paints=False), steps=4),
        PlannedPhase(act=method, phase=Phase(name="gan", resolution=16, batch_size=4), steps=4),
    ]
    assert whole_run(list(zip(phases, (words, paint), strict=True))).startswith(expected + " (")
