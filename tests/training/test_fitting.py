"""`--memory`: what is tried in which order, what is chosen, what is said where nothing fits; and with real steps."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from limner.cli.main import main
from limner.core.errors import SettingsError
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.training import fitting
from limner.training.fitting import Tried, bytes_of, fitted

ROWS, FRAMES = 24, 4
TINY = ["--resolution", "32", "--text.width", "8", "--text.batch-size", "4", "--method.generator-channels", "4"]
TINY += ["--method.discriminator-channels", "4", "--data.garden-pictures", "64", "--training.batch-size", "8"]


@pytest.mark.parametrize(("size", "number"), [("6GB", 6e9), ("6.5 GiB", 6.5 * 2**30), ("800MB", 8e8), (" 1MiB ", 2.0**20)])
def test_amounts_of_memory(size: str, number: float) -> None:
    assert bytes_of(size) == number


@pytest.mark.parametrize("size", ["", "6", "6 gb", "-1GB", "0GB", "GB", "6GBs", "1e3MB", "nanGB"])
def test_other_amounts_are_refused(size: str) -> None:
    with pytest.raises(SettingsError, match=r"is not an amount of memory: give one such as 6GB, 800MB or 5.5GiB$"):
        bytes_of(size)


def trying(memory: Callable[[Recipe], int | None], monkeypatch: pytest.MonkeyPatch, coupled: str | None = None) -> None:
    """Let steps take what `memory` says of a recipe, and nothing need be spared."""
    monkeypatch.setattr(fitting, "MARGIN", 1.0)
    monkeypatch.setattr(fitting, "two_steps", lambda recipe: Tried(memory(recipe), 1.0, ROWS, FRAMES, coupled))


def choices(size: str) -> list[tuple[int | None, bool]]:
    """The parts of a batch and recomputing of the recipe that is found, or what it was refused with."""
    return [
        (found.training.micro_batch, found.training.recompute)
        for found in fitted(from_preset("gan-cls", "cpu", "garden"), size)
        if not isinstance(found, str)
    ]


def test_the_first_that_fits_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of what maps take is saved by recomputing them; parts hold whole stories."""

    def memory(recipe: Recipe) -> int:
        return 100 + (recipe.training.micro_batch or ROWS) * (5 if recipe.training.recompute else 10)

    trying(memory, monkeypatch)
    assert choices("340MiB") == [(None, False)]
    assert choices("339MiB") == choices("220MiB") == [(None, True)]
    assert choices("219MiB") == choices("160MiB") == [(12, True)]
    assert choices("159MiB") == choices("120MiB") == [(4, True)]
    with pytest.raises(SettingsError, match="^--memory 119MiB is too little, this recipe takes at least 120 MiB: lower "):
        choices("119MiB")


def test_batches_that_cannot_be_split(monkeypatch: pytest.MonkeyPatch) -> None:
    trying(lambda recipe: 300 if recipe.training.recompute else 500, monkeypatch, "its networks normalise")
    assert choices("400MiB") == [(None, True)]
    with pytest.raises(SettingsError, match=r"least 300 MiB \(its batches cannot be split, because its networks normalise\): lower"):
        choices("200MiB")


def test_less_than_a_process_takes_before_its_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is tried then: no setting of the steps changes it."""
    tried = []
    monkeypatch.setattr(fitting, "two_steps", lambda recipe: tried.append(recipe) or Tried(500, 1.0, ROWS, FRAMES, None, base=300))
    with pytest.raises(SettingsError, match="before the first step, .* take 300 MiB; give 550MiB for these settings, or not much less"):
        choices("290MiB")
    assert len(tried) == 1


def test_small_networks_are_not_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's own part of it may take more than their maps; what is left is a smaller part of the batch."""
    trying(lambda recipe: 100 + (recipe.training.micro_batch or ROWS) + 80 * recipe.training.recompute, monkeypatch)
    assert choices("120MiB") == [(12, False)]


def test_a_tenth_is_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    trying(lambda recipe: 100, monkeypatch)
    monkeypatch.setattr(fitting, "MARGIN", 1.1)
    assert choices("111MiB") == [(None, False)]
    with pytest.raises(SettingsError, match="takes at least 111 MiB"):
        choices("109MiB")


def test_what_this_machine_cannot_try_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    trying(lambda recipe: None if recipe.training.micro_batch != 12 else 50, monkeypatch)
    assert choices("60MiB") == [(12, True)]
    trying(lambda recipe: None, monkeypatch)
    with pytest.raises(SettingsError, match="this recipe takes more than there is here: lower"):
        choices("60GB")


def test_with_real_steps(tmp_path: Path) -> None:
    """From the command line: what fits is tried once and trained; nothing is written but the run."""
    command = [sys.executable, "-m", "limner", "train", "gan-cls", "--data", "garden", "--out", "run", "--memory", "20GB", "--steps", "2"]
    ended = subprocess.run([*command, *TINY], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^memory  as it is: [\d,]+ MiB, of them [\d,]+ in two steps, [\d.e-]+ s a step$", ended.stdout, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    logged = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert logged


def test_refusals(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["train", "gan-cls", "--data", "garden", "--out", str(tmp_path / "run"), *TINY]
    unsmoothed = ["--method.gradient-penalty", "0"]
    for more, said in {
        ("--memory", "much"): "--memory much is not an amount of memory",
        ("--memory", "6GB", "--training.devices", "2"): "--memory tries one process: ",
        ("--memory", "6GB", "--training.recompute", "--training.compile", "networks"): "training.recompute is not for compiled networks",
        (
            "--memory",
            "6GB",
            "--training.micro-batch",
            "2",
            "--method.discriminator-normalization",
            *unsmoothed,
        ): "training.micro-batch would",
    }.items():
        assert main([*words, *more]) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
