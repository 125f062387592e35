"""The front door: what `import limner` gives, and what it does not load."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import limner
from limner import CheckpointError, SettingsError


def test_importing_limner_and_naming_its_methods_loads_no_torch() -> None:
    code = (
        "import sys, limner, limner.core.random, limner.core.settings, limner.core.recipes\n"
        "assert 'gan-cls' in limner.methods.names() and limner.SettingsError\n"
        "sys.exit('torch' in sys.modules or 'lightning_fabric' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_public_name_is_there() -> None:
    for name in limner.__all__:
        assert getattr(limner, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        limner.nonsense  # noqa: B018


def test_created_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (limner.create("gan-cls", resolution=16, preset="cpu", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected), "create disturbed the global generator"
    weights = [torch.cat([value.flatten() for value in method.parameters()]) for method in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_create_takes_the_presets_values_and_lays_settings_over_them() -> None:
    method = limner.create("gan-cls", preset="cpu", generator_channels=4)
    assert method.settings.generator_channels == 4
    assert method.settings.mismatch == "caption"
    assert method.conditions.resolution == 64


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("gan-clss", {}), "did you mean 'gan-cls'"),
        (("gan-cls", {"preset": "cup"}), "did you mean 'cpu'"),
        (("gan-cls", {"nois_width": 3}), "did you mean 'noise_width'"),
        (("gan-cls", {"noise_width": "three"}), "noise_width is wrong: expected int"),
        (("gan-cls", {"resolution": 48}), "power of two"),
    ],
)
def test_create_says_what_is_wrong(arguments: tuple[str, dict[str, object]], hint: str) -> None:
    with pytest.raises(SettingsError, match=hint):
        limner.create(arguments[0], **arguments[1])  # type: ignore[arg-type]


def test_data_are_opened_indexed_and_iterated() -> None:
    from torch.utils.data import DataLoader

    flowers = limner.open_data("garden", "test", resolution=16, length=5)
    assert repr(flowers) == "<garden, test split: 5 pictures of 16 px, 25 captions, 32 classes>"
    first, last = flowers[0], flowers[-1]
    assert first["picture"].shape == (3, 16, 16) and -1 <= first["picture"].min() < first["picture"].max() <= 1
    assert first["caption"] == flowers.captions(0)[0] and last["key"] == flowers.key(4) != first["key"]
    assert [one["key"] for one in flowers] == [flowers.key(index) for index in range(5)]
    (batch,) = DataLoader(flowers, batch_size=5)
    assert batch["picture"].shape == (5, 3, 16, 16) and len(batch["caption"]) == 5 and batch["class"].dtype == torch.int64
    for read in (flowers.__getitem__, flowers.captions):
        with pytest.raises(IndexError):
            read(5)
    assert flowers.captions(-1) == flowers.captions(4)
    with pytest.raises(SettingsError, match="`read` takes several"):
        flowers[0:2]  # type: ignore[index]
    with pytest.raises(SettingsError, match="length is '5': give a whole number"):
        limner.open_data("garden", length="5")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="did you mean 'garden'"):
        limner.open_data("gardn")
    with pytest.raises(SettingsError, match="length is 0: give a whole number, at least 1"):
        limner.open_data("garden", resolution=16, length=0)
    with pytest.raises(SettingsError, match="resolution is 0: give a whole number, at least 1"):
        limner.open_data("garden", resolution=0)
    with pytest.raises(SettingsError, match="length=5 is for built-in sets"):
        limner.open_data(".", length=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count is 0: give a whole number, at least 2"),
        ({"count": "5"}, "count is '5'"),
        ({"seed": -1}, "the seed is -1: give a whole number from 0"),
        ({"seed": "x"}, "the seed is 'x'"),
        ({"device": "banana"}, "device is 'banana', which is none of PyTorch's"),
    ],
)
def test_numbers_and_devices_of_an_evaluation_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        limner.evaluate("garden", **arguments)


def test_numbers_of_fresh_networks_are_checked() -> None:
    with pytest.raises(SettingsError, match="resolution is 0: give a whole number, at least 1"):
        limner.create("gan-cls", preset="cpu", resolution=0)
    with pytest.raises(SettingsError, match="the seed is 'x'"):
        limner.create("gan-cls", preset="cpu", seed="x")  # type: ignore[arg-type]


def test_a_gpu_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = limner.load("garden")
    for asked in (lambda: limner.load("garden", "cuda"), lambda: model.to("cuda"), lambda: limner.evaluate(model, device="cuda")):
        with pytest.raises(SettingsError, match="device is cuda, but PyTorch sees no GPU here: use cpu"):
            asked()


def test_where_a_run_goes_and_what_it_is_of_is_checked(tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("mine")
    for out in (tmp_path / "afile", tmp_path / "afile" / "run"):
        with pytest.raises(CheckpointError, match="afile is a file: give a folder for the run"):
            limner.train("gan-cls", "garden", out, preset="cpu")
    assert (tmp_path / "afile").read_text() == "mine"
    with pytest.raises(SettingsError, match=r"cannot read .*recipe.yaml|there is no .*recipe.yaml"):
        limner.train(tmp_path / "recipe.yaml", out=tmp_path / "run")
    with pytest.raises(SettingsError, match="method is 5: give a name"):
        limner.train(5, "garden", tmp_path / "run")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="resolution is 0"):
        limner.train("gan-cls", "garden", tmp_path / "run", resolution=0)


def test_a_run_is_trained_and_scored(tmp_path: Path) -> None:
    settings = {"training.steps": 2, "training.batch-size": 4, "data.garden-pictures": 12, "training.device": "cpu"}
    run = limner.train("gan-cls", "garden", tmp_path / "run", preset="cpu", resolution=16, settings=settings)
    assert run.steps == 2 and not run.interrupted
    model = run.load()
    assert model.about["steps"] == 2 and model.resolution == 16
    (score,) = limner.evaluate(tmp_path / "run", metrics="kid", count=6)
    assert score.protocol.data == "garden" and repr(score).startswith("<kid ") and "6 pictures against garden/test, garden" in repr(score)
    same = limner.evaluate(model, "garden", ["kid"], count=6)
    assert same[0].value == score.value
    for given, message in (({"training.step": 3}, "did you mean 'steps'"), ({"steps": 3}, "group of settings")):
        with pytest.raises(SettingsError, match=message):
            limner.train("gan-cls", "garden", tmp_path / "other", settings=given)
    assert not (tmp_path / "other").exists()


def test_a_run_goes_on_as_what_it_was_started_with(tmp_path: Path) -> None:
    from limner.core.recipes import from_preset, save_recipe

    recipe = from_preset("gan-cls", "cpu", "garden", 16)
    save_recipe(recipe, tmp_path / "recipe.yaml")
    with pytest.raises(SettingsError, match="was trained with gan-cls, not attngan: give gan-cls, or another folder"):
        limner.train("attngan", "garden", tmp_path, resume=True)
    with pytest.raises(SettingsError, match="was started with preset cpu, not as-published: leave the preset out"):
        limner.train("gan-cls", "garden", tmp_path, resume=True, preset="as-published")
    for given in (recipe, str(tmp_path / "recipe.yaml")):
        with pytest.raises(SettingsError, match="starts from preset 'cpu', not 'as-published': leave preset out"):
            limner.train(given, out=tmp_path / "new", preset="as-published")
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_a_model_of_stories_tells_them_for_its_scores(tmp_path: Path) -> None:
    from limner.cli.evaluate.painting import score as as_the_command_does
    from limner.metrics.scoring.evaluate import ScoringRequest

    told = limner.load(story_model(tmp_path))
    (found,) = limner.evaluate(told, "garden-stories", "kid", count=8)
    pictures = limner.open_data("garden-stories", "test", resolution=16)
    (expected,) = as_the_command_does(told, [pictures], ScoringRequest(metrics=["kid"], count=8))
    assert found.value == expected.value
    with pytest.raises(SettingsError, match="the model tells stories of 4 frames, and 'garden' has no stories"):
        limner.evaluate(told, "garden", "kid", count=8)


def story_model(folder: Path) -> Path:
    from limner.core.trainable import Conditions
    from limner.methods.storygan import StoryGAN, StoryGANSettings
    from limner.model import save_model
    from limner.text.recurrent import RecurrentEncoder
    from limner.text.tokenizers import WordTokenizer

    torch.manual_seed(0)
    stories = limner.open_data("garden-stories", "test", resolution=16, length=40)
    encoder = RecurrentEncoder(WordTokenizer.build([text for index in range(40) for text in stories.captions(index)]))
    settings = StoryGANSettings(noise_width=6, generator_channels=2, discriminator_channels=2)
    method = StoryGAN(settings, Conditions(resolution=16, sentence_width=encoder.sentence_width, frames=4))
    save_model(folder / "model", "storygan", method, encoder, {"data": "garden-stories"}, "")
    return folder / "model"


def test_scores_find_what_the_model_learned_from_and_its_own_judge(
    tiny_model: limner.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner.metrics.scoring.protocol import Score
    from limner.training import scored

    asked = []

    def noted(painter: object, splits: object, request: object, **more: object) -> list[Score]:
        asked.append(request)
        return []

    monkeypatch.setattr(scored, "evaluate", noted)
    monkeypatch.setattr(scored.Placed, "load", lambda place, device: (place, device))
    run = tiny_model.save(tmp_path / "run")
    limner.evaluate(run, metrics="all", count=8)
    (run / "matcher").mkdir()
    limner.evaluate(run, metrics="All", count=8)
    limner.evaluate(run, metrics="r-precision", count=8)
    limner.evaluate(run, metrics="kid", count=8)
    limner.evaluate(tiny_model, metrics="r-precision", count=8)
    assert [one.training is not None for one in asked] == [True, True, False, False, False]
    own = (str(run / "matcher"), "cpu")
    assert [one.matching for one in asked] == [None, own, own, None, None]


def test_a_model_that_finds_codes_is_scored_by_what_it_paints_of_them(tmp_path: Path) -> None:
    from shared.studio_models import write_models

    inverting = write_models(tmp_path)[-1]
    (score,) = limner.evaluate(inverting, "garden", "reconstruction", count=4)[:1]
    assert score.name.startswith("reconstruction")


def test_two_folders_of_pictures_are_compared_in_one_call(tmp_path: Path) -> None:
    from limner.features.registry import load_feature_network
    from limner.metrics.frechet import fid
    from limner.metrics.scoring.rows import Moments

    sides = []
    for number, split in enumerate(("train", "test")):
        garden = limner.open_data("garden", split, resolution=16, length=8)
        (tmp_path / split).mkdir()
        pixels = garden.read(range(8))
        for index, picture in enumerate(pixels):
            Image.fromarray(picture).save(tmp_path / split / f"{index}.png")
        moments = Moments()
        moments.add(load_feature_network("garden").look(torch.from_numpy(pixels).permute(0, 3, 1, 2))[0])
        sides.append(moments)
        assert number == len(sides) - 1
    score = limner.fid(tmp_path / "train", tmp_path / "test", features="garden")
    assert score.value == pytest.approx(fid(sides[1], sides[0]), rel=1e-5)
    assert score.protocol.data == "test" and score.protocol.reference_count == 8
    assert limner.fid(tmp_path / "test", tmp_path / "test", features="garden").value == pytest.approx(
        0, abs=1e-6 * float(sides[1].outer.trace())
    )
    with pytest.raises(SettingsError, match="give data"):
        limner.evaluate(tmp_path / "train")


@pytest.mark.parametrize("wrong", [None, 5, 1.5, True, b"garden", ["garden"]])
def test_anything_but_a_name_or_path_is_refused_by_its_argument(wrong: object, tmp_path: Path) -> None:
    made = limner.open_data("garden", "test", resolution=16, length=8)
    calls: list[tuple[str, Callable[..., object]]] = [
        ("the model is", lambda: limner.load(wrong)),  # type: ignore[arg-type]
        ("model is", lambda: limner.evaluate(wrong, made)),  # type: ignore[arg-type]
        ("first is", lambda: limner.fid(wrong, tmp_path, features="garden")),  # type: ignore[arg-type]
        ("second is", lambda: limner.fid(tmp_path, wrong, features="garden")),  # type: ignore[arg-type]
    ]
    if wrong is not None:  # what may be left out
        calls += [
            ("data is", lambda: limner.evaluate("garden-fast", wrong)),  # type: ignore[arg-type]
            ("matching is", lambda: limner.evaluate("garden-fast", made, matching=wrong)),  # type: ignore[arg-type]
            ("out is", lambda: limner.train("gan-cls", "garden", wrong)),  # type: ignore[arg-type]
        ]
    for told, call in calls:
        with pytest.raises(SettingsError, match=f"^{re.escape(f'{told} {wrong!r}')}: give "):
            call()


@pytest.mark.parametrize("wrong", [None, 5])
def test_anything_but_a_name_is_refused_where_names_are_listed(wrong: object) -> None:
    with pytest.raises(SettingsError, match=f"there is no method {wrong}: give one of ac-gan"):
        limner.create(wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=f"there is no garden split {wrong}: give one of all"):
        limner.open_data("garden", wrong)  # type: ignore[arg-type]
    for metrics in (wrong, [wrong]):
        with pytest.raises(SettingsError, match=f"metrics is {re.escape(repr(metrics))}: give names, such as"):
            limner.evaluate("garden-fast", "garden", metrics)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="no metric is named"):
        limner.evaluate("garden-fast", "garden", " , ")
    with pytest.raises(SettingsError, match=r"settings is \[5\]: give a dict"):
        limner.train("gan-cls", "garden", "out", settings=[5])  # type: ignore[arg-type]
