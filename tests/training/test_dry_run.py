"""A dry run: what it says of recipe, players and phases, and that nothing is left of it."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from shared import two_parts as toy
from shared.two_parts import TwoParts, two_parts  # noqa: F401  # a fixture

from limner.cli.main import main
from limner.core.batch import Batch
from limner.core.errors import LimnerError, LimnerWarning
from limner.core.trainable import Progress, Update
from limner.training.dry_run import STEPS, dry_run
from limner.training.run import train


@pytest.fixture
def here(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with cache and home within it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.mktemp("matplotlib")))  # which keeps a list of fonts when first imported
    return tmp_path


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_it_says_what_training_would_be_and_writes_nothing(two_parts: type[TwoParts], here: Path) -> None:  # noqa: F811
    before = listing(here)
    lines = list(dry_run(toy.recipe(batch_size=8)))
    assert listing(here) == before
    assert two_parts.trained_on == ["reading"] * STEPS + ["painting"] * STEPS and two_parts.prepared == ["reading", "painting"]
    blank = lines.index("")
    recipe = yaml.safe_load("\n".join(lines[:blank]))
    assert recipe["method"] == toy.NAME and recipe["method_settings"]["batch_size"] == 8 and recipe["training"]["log_every"] == 1
    rest = "\n".join(lines[blank:])
    reader, painter = 3 * 256 * 5 + 5 + 5 * 3 * 256 + 3 * 256, None
    assert f"player  method: reader, {reader:,} parameters, RMSprop at 0.001\n" in rest
    found = re.search(r"player  method: painter, ([\d,]+) parameters, Adam at 0.01, averaged\n", rest)
    assert found is not None and painter is None
    phases = re.findall(r"phase   method: (\w+), 4 steps of 8 pictures of 16 px; a step takes ([\d.e-]+) s, .* ([\d,]+) MiB", rest)
    assert [name for name, _, _ in phases] == ["reading", "painting"]
    assert all(0 < float(seconds) < 60 and int(memory.replace(",", "")) > 50 for _, seconds, memory in phases)
    assert lines[-1].startswith("in all  about ") and lines[-1].endswith("nothing was written")


def test_what_a_method_warns_of_after_two_steps_is_not_said(
    two_parts: type[TwoParts],  # noqa: F811
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    step, warned = TwoParts.training_step, []

    def warning(self: TwoParts, batch: Batch, progress: Progress) -> Iterator[Update]:
        warned.append(progress.phase)
        warnings.warn("hardly any code is in use", LimnerWarning, stacklevel=1)
        yield from step(self, batch, progress)

    monkeypatch.setattr(two_parts, "training_step", warning)
    list(dry_run(toy.recipe()))
    assert len(warned) == 2 * STEPS and not [each for each in recwarn if issubclass(each.category, LimnerWarning)]


def test_a_phase_from_elsewhere_is_not_among_them(two_parts: type[TwoParts], here: Path) -> None:  # noqa: F811
    train(toy.recipe(), here / "source")
    two_parts.trained_on.clear()
    before = listing(here)
    lines = list(dry_run(toy.recipe({"reading": str(here / "source")})))
    assert listing(here) == before and two_parts.trained_on == ["painting"] * STEPS
    assert f"phase   phase 'reading' comes from {here / 'source'} and is not trained" in lines
    assert sum(line.startswith("phase   method:") for line in lines) == 1


def test_training_after_it_is_as_if_it_had_not_been(two_parts: type[TwoParts], here: Path) -> None:  # noqa: F811
    from shared.tiny_runs import same, state_of

    train(toy.recipe(), here / "one")
    list(dry_run(toy.recipe()))
    train(toy.recipe(), here / "other")
    assert same(state_of(here / "one"), state_of(here / "other"))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"adopted": {"riding": "x"}}, "there is no phase of two-parts 'riding'"),
    ({"adopted": {"reading": "nowhere"}}, "--from reading=nowhere"),
    ({"devices": 2, "batch_size": 7}, "cannot be shared by 2 processes"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG[:2])
def test_what_could_not_be_trained_is_refused(two_parts: type[TwoParts], here: Path, wrong: dict[str, Any], message: str) -> None:  # noqa: F811
    with pytest.raises(LimnerError, match=re.escape(message)) as refused:
        list(dry_run(toy.recipe(**wrong)))
    assert "\n" not in str(refused.value) and not listing(here)


def test_the_command_needs_no_folder_and_makes_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "train gan-cls --data garden --preset cpu --resolution 16 --device cpu --method.batch-size 4 --data.garden-pictures 20".split()
    small = ["--method.generator-channels", "8", "--method.discriminator-channels", "8"]
    assert main([*words, *small, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "method: gan-cls" in out and "player  method: generator, " in out and not listing(here)
    assert main([*words, "--dry-run", "--training.micro-batch", "2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*words, "--dry-run", "--out", "run"]) == 0 and not os.path.exists("run")
    assert torch.is_grad_enabled()
