"""Starting from a trained model: which weights are taken, which words are learned, and what stands still."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from shared.tiny_runs import same, state_of, tiny

from limner.cli.main import main
from limner.cli.train import starting_point
from limner.core.errors import SettingsError
from limner.core.recipes import from_preset, load_recipe
from limner.core.settings import Recipe, StartSettings, training_fields
from limner.data.prepare import prepare
from limner.model import Model, load
from limner.text.extending import extend, new_words
from limner.text.saving import load_encoder
from limner.training.run import train
from limner.training.starting import starting_recipe

CAPTIONS = ["a red fox", "a blue fox in the wood", "a golden petal", "a red flower and an owl"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the garden, its model in a folder by itself, and a set of sixteen pictures with words that the garden does not know."""
    folder = tmp_path_factory.mktemp("starting")
    train(tiny("gan-cls", steps=2), folder / "run")
    shutil.copytree(folder / "run" / "model", folder / "model")
    (folder / "mine").mkdir()
    for number in range(16):
        Image.new("RGB", (32, 32), (16 * number, 100, 50)).save(folder / "mine" / f"{number}.png")
        (folder / "mine" / f"{number}.txt").write_text(CAPTIONS[number % 4] + "\n")
    prepare([folder / "mine"], folder / "set", resolution=32)
    return folder


def recipe(place: Path, model: str, start: dict[str, Any] | None = None, **training: Any) -> Recipe:
    made = starting_recipe(dataclasses.replace(tiny("gan-cls", steps=2, **training), data=str(place / "set")), str(place / model))
    text = dataclasses.replace(made.text, steps=2, batch_size=4)
    return dataclasses.replace(made, text=text, start=StartSettings(model=str(place / model), **(start or {})))


def begun(made: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The method's weights before its first step."""
    from limner.training.trainer import Trainer

    kept: dict[str, torch.Tensor] = {}
    play = Trainer.play

    def first(self: Trainer, planned: Any, *rest: Any, **more: Any) -> None:
        if planned.act.name == "method" and not kept:
            kept.update({name: value.clone() for name, value in planned.trained.state_dict().items()})
        play(self, planned, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "play", first)
        train(made, out)
    return kept


def test_a_run_gives_all_players_and_a_model_what_paints(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, painter = state_of(place / "run")["modules"]["method"], load(place / "model").method.state_dict()
    for name, own in (("run", source), ("model", {})):
        weights = begun(recipe(place, name), tmp_path / name, monkeypatch)
        taken = {key for key, value in weights.items() if key in painter and torch.equal(value, painter[key])}
        assert {key for key, value in painter.items() if key.startswith("generator.") and value.ndim} <= taken
        same_eyes = [
            torch.equal(value, own[key]) for key, value in weights.items() if key.startswith("discriminator.") and key in own and value.ndim
        ]
        assert all(same_eyes) and bool(same_eyes) == bool(own)
        assert f"discriminator {'whole' if own else 'fresh'}, generator whole" in capsys.readouterr().err
    assert load(tmp_path / "model").about["started_from"] == str(place / "model")
    assert f"- Started from: {place / 'model'}\n" in (tmp_path / "model" / "model" / "README.md").read_text(encoding="utf-8")


def test_new_words_are_learned_and_old_ones_keep_their_meaning(place: Path, tmp_path: Path) -> None:
    train(recipe(place, "model"), tmp_path / "run")
    before, after = load(place / "model"), load(tmp_path / "run")
    strange = new_words(before.encoder, CAPTIONS)
    assert set(strange) == {"fox", "owl", "wood", "petal"} - set(before.encoder.known_words()) and "fox" in strange
    assert not any(after.encoder.unknown_words(caption) for caption in CAPTIONS)
    old = ["a red flower", "a white flower with five petals"]
    assert torch.equal(before.encode(old).sentence, after.encode(old).sentence)
    begun = load_encoder(place / "model")
    extend(begun, strange, seed=0)
    assert not torch.equal(begun(["a fox"]).sentence, after.encode(["a fox"]).sentence), "nothing was learned"


@pytest.mark.parametrize(("words", "learned"), [("all", {"old", "new"}), ("none", set())])
def test_all_words_or_none_are_learned(words: str, learned: set[str], place: Path, tmp_path: Path) -> None:
    train(recipe(place, "model", {"words": words}), tmp_path / "run")
    begun, after = load_encoder(place / "model"), load(tmp_path / "run")
    extend(begun, new_words(begun, CAPTIONS), seed=0)
    changed = {
        name
        for name, caption in (("old", "a red flower"), ("new", "fox"))
        if not torch.equal(begun([caption]).sentence, after.encode([caption]).sentence)
    }
    assert changed == learned
    assert ("text" in {line.partition('"phase": "')[2][:4] for line in (tmp_path / "run/log.jsonl").read_text().splitlines()}) == bool(
        learned
    )


def test_a_run_that_stopped_while_words_were_learned_goes_on_from_the_model(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner.training.trainer import Trainer

    train(recipe(place, "run"), tmp_path / "straight")
    play = Trainer.play

    def killed(self: Trainer, planned: Any, batch: Any, players: Any, progress: Any, **more: Any) -> None:
        if progress.step == 1:
            raise KeyboardInterrupt
        play(self, planned, batch, players, progress, **more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "play", killed)
        train(recipe(place, "run"), tmp_path / "stopped")
    train(load_recipe(tmp_path / "stopped" / "recipe.yaml"), tmp_path / "stopped", resume=True)
    straight, stopped = (state_of(tmp_path / name) for name in ("straight", "stopped"))
    assert all(same(straight[key], stopped[key]) for key in ("modules", "players"))


def test_the_first_convolutions_stand_still(place: Path, tmp_path: Path) -> None:
    train(recipe(place, "run", {"freeze": 1}), tmp_path / "run")
    source, after = (state_of(folder)["modules"]["method"] for folder in (place / "run", tmp_path / "run"))
    convolutions = [name for name, value in after.items() if name.startswith("discriminator.") and value.ndim == 4]
    still = [torch.equal(source[name], after[name]) for name in convolutions]
    assert still[0] and not any(still[1:])


def test_new_words_begin_where_their_neighbours_are(tiny_model: Model) -> None:
    encoder = type(tiny_model.encoder).from_config(tiny_model.encoder.config())
    encoder.load_state_dict(tiny_model.encoder.state_dict())
    rows = encoder.embedding.weight.detach().clone()
    assert extend(encoder, ["petal", "zebra", "quokka"]) == {"petal": ["petals"], "zebra": [], "quokka": []}
    weight = encoder.embedding.weight
    assert torch.equal(weight[: len(rows)], rows)
    assert torch.equal(weight[-3], rows[encoder.tokenizer(["petals"]).ids[0, 0]])
    assert not torch.allclose(weight[-2], weight[-1])
    near = extend(encoder, ["bloom"], pretrained=tiny_model.encoder)["bloom"]
    assert len(near) == 3 and {*near} <= {*tiny_model.encoder.known_words(), "petal", "zebra", "quokka"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("df-gan --from MODEL", "is a gan-cls, not a df-gan: limner train gan-cls --from"),
        ("gan-cls --from nowhere", "there is no"),
        ("gan-cls --from MODEL --from garden", "a run starts from one model"),
        ("gan-cls --start.freeze 2", "start.freeze is for a run that starts from a trained model: give --from MODEL, or leave it out"),
        ("gan-cls --from MODEL --method.generator-channels 6", "of 48 tensors of the generator of"),
    ],
)
def test_what_cannot_start_is_refused(words: str, message: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = words.replace("MODEL", str(place / "model")).split()
    command = ["train", *given, "--data", str(place / "set"), "--out", str(tmp_path / "run"), "--device", "cpu", "--steps", "1"]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_line_takes_the_model_s_settings(place: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    short = ["--text.steps", "1", "--text.batch-size", "4", "--steps", "1", "--device", "cpu"]
    assert main(["train", "gan-cls", "--from", str(place / "model"), "--data", str(place / "set"), "--out", out, *short]) == 0
    made, preset = load_recipe(tmp_path / "run" / "recipe.yaml"), from_preset("gan-cls", "cpu", "garden")
    assert made.start.model == str(place / "model") and made.resolution == 32
    settings = (load(place / "model").method.settings, preset.method_settings, made.method_settings)
    of_model, of_preset, given = (dataclasses.asdict(one) for one in settings)
    how = training_fields(type(made.method_settings))
    assert {"epochs", "batch_size", "learning_rate"} <= how and of_model["batch_size"] != of_preset["batch_size"]
    assert given == of_model | {name: of_preset[name] for name in how}


def test_a_preset_for_small_sets_says_how_to_train_from_a_model(place: Path) -> None:
    model, out = str(place / "champion"), ["--out", "RUN", "--data", str(place / "set")]
    made = tiny("limner-gan", steps=1)
    made = dataclasses.replace(made, method_settings=dataclasses.replace(made.method_settings, generator_channels=4, openness_weight=3.0))
    train(dataclasses.replace(made, text=dataclasses.replace(made.text, encoder="garden")), Path(model))
    default, why = starting_point("limner-gan", ["--from", model, *out, "--device", "cpu"])
    settings: Any = default.method_settings
    assert "small-set" in why and (settings.generator_channels, settings.openness_weight) == (4, 0.0)
    assert settings.augmentation == ("translation", "cutout") and settings.patience == 12 and settings.gradient_penalty == 2.0


def test_methods_with_their_own_encoder_do_not_start(place: Path) -> None:
    from limner.training.plan import make_plan, training_pictures

    base = tiny("dall-e", steps=1)
    made = dataclasses.replace(base, data=str(place / "set"), start=StartSettings(model=str(place / "model")))
    with pytest.raises(SettingsError, match="has a text encoder of its own"):
        make_plan(made, training_pictures(made))


def other_model(place: Path, folder: Path) -> None:
    """A model in which the same networks have other weights, and the text encoder has its words in another order."""
    shutil.rmtree(folder)
    shutil.copytree(place / "run", folder)
    shutil.rmtree(folder / "checkpoints")
    saved = load(place / "model")
    with torch.no_grad():
        for value in saved.method.parameters():
            value.add_(1.0)
    known = saved.encoder.tokenizer
    words = [*reversed(known.vocabulary)]
    saved.encoder.tokenizer = type(known)(words, known.maximum_words, known.synonyms, known.splitting)
    shutil.rmtree(folder / "model")
    saved.save(folder / "model")


@pytest.mark.parametrize("fate", ["changed", "gone"])
@pytest.mark.parametrize("phase", ["text", "method"])
def test_a_run_goes_on_whatever_became_of_the_model(
    phase: str, fate: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner.training.trainer import Trainer

    source = tmp_path / "source"
    shutil.copytree(place / "run", source)
    made = recipe(tmp_path / "source" / "..", "source")
    made = dataclasses.replace(made, data=str(place / "set"))
    train(made, tmp_path / "straight")
    play = Trainer.play

    def killed(self: Trainer, planned: Any, batch: Any, players: Any, progress: Any, **more: Any) -> None:
        if planned.act.name == phase and progress.step == 1:
            raise KeyboardInterrupt
        play(self, planned, batch, players, progress, **more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "play", killed)
        train(made, tmp_path / "stopped")
    if fate == "changed":
        other_model(place, source)
    else:
        shutil.rmtree(source)
    train(load_recipe(tmp_path / "stopped" / "recipe.yaml"), tmp_path / "stopped", resume=True)
    straight, stopped = (state_of(tmp_path / name) for name in ("straight", "stopped"))
    assert all(same(straight[key], stopped[key]) for key in ("modules", "players"))
    before, after = (load(tmp_path / name).encoder for name in ("straight", "stopped"))
    assert before.known_words() == after.known_words()
