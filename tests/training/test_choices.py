"""What a recipe leaves to the device, and networks that are compiled."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from limner import methods
from limner.core.errors import SettingsError
from limner.core.recipes import from_preset, load_recipe, save_recipe
from limner.core.settings import Recipe
from limner.model import load
from limner.study.plan import RECORD, check_folder, plan
from limner.study.settings import Budget, Study, StudyEntry, write_study
from limner.training import choices
from limner.training.checkpoints import Checkpoints
from limner.training.launch import going_on
from limner.training.run import train

FAST = ["attngan", "controlgan", "df-gan", "dm-gan", "mirrorgan"]


@pytest.mark.parametrize("name", FAST)
def test_a_fast_preset_is_the_published_one_with_choices_left_to_the_device(name: str) -> None:
    fast, published = from_preset(name, "fast", "garden"), from_preset(name, "as-published", "garden")
    assert (fast.training.precision, fast.training.compile) == ("auto", "auto")
    same = dataclasses.replace(fast.training, precision="32-true", compile="nothing")
    assert same == published.training and fast.resolution == published.resolution
    lazier = {"penalty_every": 1} if name == "df-gan" else {}
    assert dataclasses.replace(fast.method_settings, **lazier) == published.method_settings
    assert {"as-published", "fast", "cpu"} == set(methods.get(name).presets)


def test_choices_follow_the_device_and_stay_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = from_preset("attngan", "fast", "garden")

    def chosen(recipe: Recipe, before: Path | None = None) -> tuple[str, str]:
        found = choices.settled(recipe, before).training
        return found.precision, found.compile

    for has_bfloat16, expected in ((True, ("bf16-mixed", "networks")), (False, ("32-true", "networks"))):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has_bfloat16: has)
        assert chosen(recipe) == expected
        on_cpu = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, device="cpu"))
        assert chosen(on_cpu) == ("32-true", "nothing")
    save_recipe(choices.settled(on_cpu, None), tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml").training.compile == "nothing"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert chosen(recipe, tmp_path) == ("32-true", "nothing")  # as the run began
    monkeypatch.setattr(choices, "_can_compile", lambda: False)
    assert chosen(recipe) == ("bf16-mixed", "nothing")
    with pytest.raises(SettingsError, match="PyTorch 2.6"):
        chosen(dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, compile="networks")))


def test_a_run_that_has_not_begun_has_chosen_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study leaves its runs a recipe with `auto`, and asks for the same when it goes on."""
    study = Study(entries=(StudyEntry(method="df-gan"),), budget=Budget(images=8), seeds=(0,), preset="fast")
    (run,) = plan(study, tmp_path)
    run.begin()
    write_study(study, tmp_path / RECORD)
    stored = load_recipe(run.folder / "recipe.yaml")
    assert stored.training.precision == stored.training.compile == "auto"
    monkeypatch.setattr(choices, "on_gpu", lambda recipe: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    settled = choices.settled(stored, run.folder)
    assert (settled.training.precision, settled.training.compile) == ("bf16-mixed", "networks")
    assert going_on(settled, run.folder).recipe.training == settled.training
    save_recipe(settled, run.folder / "recipe.yaml")
    assert check_folder(study, [run], tmp_path) == []
    with pytest.raises(SettingsError, match="begun with training.precision bf16-mixed, not 32-true"):
        going_on(dataclasses.replace(settled, training=dataclasses.replace(settled.training, precision="32-true")), run.folder)
    save_recipe(stored, run.folder / "recipe.yaml")
    (run.folder / "checkpoints").mkdir()  # which was trained with what a study's runs took `auto` for
    settled = choices.settled(stored, run.folder)
    assert (settled.training.precision, settled.training.compile) == ("32-true", "nothing")


def tiny(steps: int, **training: Any) -> Recipe:
    recipe = from_preset("attngan", "cpu", "garden", 16)
    narrow = {"condition_width": 4, "generator_channels": 2, "discriminator_channels": 2, "noise_width": 4, "batch_size": 4}
    kept = {"log_every": 2, "checkpoint_every": 2, "sample_every": 1000, "device": "cpu"}
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, **narrow, penalty_every=2),
        training=dataclasses.replace(recipe.training, steps=steps, **kept, **training),
        data_settings=dataclasses.replace(recipe.data_settings, garden_pictures=40),
    )


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been compiled; by the back end that generates no code, which takes a C++ compiler and minutes."""
    seen: list[str] = []

    def compile(module: nn.Module) -> None:
        def call(*given: Any) -> Any:
            seen.append(type(module).__name__)
            return inner(*given)

        inner = torch.compile(module._call_impl, backend="aot_eager")
        module._compiled_call_impl = call

    monkeypatch.setattr(nn.Module, "compile", compile)
    return seen


def test_compiled_networks_train_alike_and_resume_bit_for_bit(tmp_path: Path, compiled: list[str]) -> None:
    """With gradient penalties among the steps, which compiled networks could not take; names stay what they are."""
    train(tiny(4), tmp_path / "plain")
    assert not compiled
    train(tiny(4, compile="networks"), tmp_path / "whole")
    assert "AttentiveGenerator" in compiled and "Layers" in compiled
    train(tiny(2, compile="networks"), tmp_path / "parts")
    train(tiny(4, compile="networks"), tmp_path / "parts", resume=True)
    plain, whole, parts = (Checkpoints(tmp_path / name).load() for name in ("plain", "whole", "parts"))
    assert plain is not None and whole is not None and parts is not None
    names = plain["modules"]["method"].keys()
    assert names == whole["modules"]["method"].keys() and not any("_orig_mod" in name for name in names)
    for name, value in whole["modules"]["method"].items():
        torch.testing.assert_close(value, parts["modules"]["method"][name], rtol=0, atol=0, msg=name)
    lines = [json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[0]) for name in ("plain", "whole")]
    for player in ("discriminator-8", "discriminator-16", "generator"):
        assert lines[1][f"{player}/loss"] == pytest.approx(lines[0][f"{player}/loss"], rel=1e-3)
    assert load(tmp_path / "whole").generate("a red flower")[0].size == (16, 16)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told to keep memory")
def test_freed_memory_is_kept() -> None:
    """A process that asks for the same pieces again gets no new pages."""
    program = """
import resource, torch
from limner.training.memory import keep_memory
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        pieces = [torch.ones(10_000_000) for _ in range(2)]
        del pieces
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first = pages()
keep_memory()
for _ in range(8):  # until the heap has grown to what is asked for
    last = pages()
print(first, last)
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    before, after = map(int, found.stdout.split())
    assert after < before / 10
