"""`limner train`: its flags, where defaults come from, and what bad input gets."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from shared.pictures import prepared

from limner.cli import train as train_verb
from limner.cli.arguments import options
from limner.cli.main import main
from limner.cli.train import TrainArguments, read_arguments, starting_point
from limner.core.errors import SettingsError
from limner.core.recipes import GROUPS, from_preset, save_recipe, trainable_names
from limner.core.settings import Recipe, TextSettings
from limner.training import presets
from limner.training.launch import going_on
from limner.training.result import RunResult

PUBLIC_FLAGS = """
--data --out --preset --resolution --steps --seed --device --resume --from --memory --dry-run
--method.noise-width --method.text-width --method.generator-channels --method.discriminator-channels --method.residual --method.no-residual
--method.text-normalization --method.no-text-normalization --method.third-activation --method.no-third-activation --method.captions
--method.mismatch-weight --method.mismatch --method.counterfactual --method.interpolation --method.learning-rate --method.beta1
--method.gradient-penalty --method.penalty-every --method.discriminator-normalization --method.no-discriminator-normalization
--method.halve-every --method.epochs --method.batch-size
--training.steps --training.epochs --training.minutes --training.core-minutes --training.images --training.batch-size
--training.epoch-pictures
--training.seed --training.device
--training.devices --training.nodes
--training.precision --training.compile --training.ema-half-life --training.log-every --training.sample-every --training.checkpoint-every
--training.micro-batch --training.recompute --training.no-recompute --training.keep-checkpoints
--training.tensorboard --training.no-tensorboard
--training.wandb --training.trackio
--start.model --start.words --start.neighbours --start.freeze
--data.flip --data.no-flip --data.garden-pictures --data.counterfactuals --data.share --data.trainval --data.no-trainval
--text.encoder --text.standardize --text.no-standardize --text.width --text.maximum-words --text.steps --text.batch-size
--style.steps --style.batch-size --style.channels --style.learning-rate
--evaluation.every --evaluation.split --evaluation.metrics --evaluation.count --evaluation.features
""".split()


def read(*argv: str) -> tuple[Recipe, Path, bool]:
    default, _ = starting_point("gan-cls", argv)
    return read_arguments("gan-cls", default, argv)


def test_the_public_flags_are_these() -> None:
    """Scripts depend on them: a flag that goes or changes its name wants a word in the notes, and this list changed on purpose."""
    recipe = from_preset("gan-cls", "cpu", "garden")
    groups = {name: getattr(recipe, name) for name in GROUPS}
    example = TrainArguments(name="gan-cls", data="garden", out=Path("run"), preset="cpu", resolution=64, **groups)
    assert sorted(options(TrainArguments, example)) == sorted(PUBLIC_FLAGS)


def test_flags_reach_the_recipe() -> None:
    recipe, out, resume = read(
        "gan-cls",
        "--data",
        "garden",
        "--out",
        "run",
        "--preset",
        "as-published",
        "--steps",
        "60",
        "--seed",
        "3",
        "--device",
        "cpu",
        "--resume",
        "--resolution",
        "32",
        "--method.interpolation",
        "0.5",
        "--method.no-residual",
        "--training.checkpoint-every",
        "200",
        "--data.no-flip",
        "--text.width",
        "64",
    )
    published = from_preset("gan-cls", "as-published", "garden", 32)
    assert recipe == dataclasses.replace(
        published,
        method_settings=dataclasses.replace(published.method_settings, interpolation=0.5, residual=False),
        training=dataclasses.replace(published.training, steps=60, seed=3, device="cpu", checkpoint_every=200),
        data_settings=dataclasses.replace(published.data_settings, flip=False),
        text=dataclasses.replace(published.text, width=64),
    )
    assert (out, resume) == (Path("run"), True)


def test_the_preset_follows_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for gpu, device, preset in ((False, "auto", "cpu"), (True, "auto", "as-published"), (True, "cpu", "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert read("gan-cls", "--data", "garden", "--out", "run", "--device", device)[0].preset == preset


def test_a_recipe_file_stands_for_a_method(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    stored = dataclasses.replace(from_preset("gan-cls", "cpu", "prepared/mine"), resolution=16)
    save_recipe(stored, path)
    default, why = starting_point(str(path), [str(path), "--out", "run"])
    recipe, _, _ = read_arguments(str(path), default, [str(path), "--out", "run", "--seed", "4"])
    assert recipe == dataclasses.replace(stored, training=dataclasses.replace(stored.training, seed=4))
    assert str(path) in why


def test_a_resumed_run_keeps_the_settings_that_it_has(tmp_path: Path) -> None:
    stored = from_preset("gan-cls", "cpu", "garden", 32)
    stored = dataclasses.replace(stored, training=dataclasses.replace(stored.training, seed=9, steps=20))
    save_recipe(stored, tmp_path / "recipe.yaml")
    recipe, _, _ = read("gan-cls", "--data", "garden", "--out", str(tmp_path), "--resume", "--steps", "60")
    assert recipe == dataclasses.replace(stored, training=dataclasses.replace(stored.training, steps=60))


def test_a_recipe_file_counts_as_options_where_a_run_goes_on(tmp_path: Path) -> None:
    """Only what it says: the rest is as the run has it."""
    stored = from_preset("gan-cls", "cpu", "garden", 32)
    stored = dataclasses.replace(stored, training=dataclasses.replace(stored.training, seed=9, steps=20), text=TextSettings(width=64))
    (tmp_path / "run").mkdir()
    save_recipe(stored, tmp_path / "run" / "recipe.yaml")
    mine = tmp_path / "mine.yaml"
    words = [str(mine), "--out", str(tmp_path / "run"), "--resume"]
    mine.write_text("method: gan-cls\ndata: garden\ntraining: {steps: 60, seed: 5}\n")
    default, why = starting_point(str(mine), words)
    recipe, _, _ = read_arguments(str(mine), default, words)
    assert recipe == dataclasses.replace(stored, training=dataclasses.replace(stored.training, steps=60, seed=5)) and str(mine) in why
    with pytest.raises(SettingsError, match="begun with training.seed 9, not 5"):
        going_on(recipe, tmp_path / "run")
    mine.write_text("method: gan-cls\ndata: garden\npreset: as-published\n")
    with pytest.raises(SettingsError, match="run was started with preset 'cpu', not 'as-published': change it in .*mine.yaml"):
        starting_point(str(mine), words)


@pytest.mark.parametrize("word", ["--dry-run", "--dry_run"])
def test_an_option_with_underscores_is_the_same_option(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is looked for before all are read. A value with one stays as it is."""
    shown: list[Recipe] = []
    monkeypatch.setattr(train_verb, "show_plan", lambda recipe: shown.append(recipe) or 0)
    monkeypatch.setattr(train_verb, "train_and_report", lambda *given: pytest.fail("it trains"))
    argv = ["train", "gan-cls", "--data", "garden", "--out", str(tmp_path / "my_run"), word, "--training.log_every=7"]
    assert main([*argv, "--training.wandb", "my_project"]) == 0
    assert shown[0].training.log_every == 7 and shown[0].training.wandb == "my_project"
    stored = dataclasses.replace(from_preset("gan-cls", "cpu", "garden", 32))
    (tmp_path / "my_run").mkdir()
    save_recipe(stored, tmp_path / "my_run" / "recipe.yaml")
    assert main([*argv, "--resume"]) == 0
    assert shown[1].resolution == 32


def test_closing_commands_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Names with spaces are quoted, and a part of one that looks like a place is left alone."""
    out, stopped = tmp_path / "DATA of limner" / "a RUN", RunResult(Path("run"), 3, 15)
    recipe = from_preset("sje", "cpu", "my set")
    monkeypatch.setattr(train_verb, "report", lambda out: "")
    monkeypatch.setattr("limner.training.run.train", lambda *given, **named: RunResult(out, 3))
    assert train_verb.train_and_report(recipe, out, False, "") == 0
    lines = [shlex.split(line)[1:] for line in capsys.readouterr().out.splitlines() if " limner " in line]
    assert ["limner", "evaluate", str(out)] in lines
    assert ["limner", "train", "METHOD", "--data", "my set", "--text.encoder", str(out), "--out", "OTHER"] in lines
    monkeypatch.setattr("limner.training.run.train", lambda *given, **named: stopped)
    assert train_verb.train_and_report(recipe, out, False, "") == 143
    again = capsys.readouterr().err.partition("go on with: ")[2]
    assert shlex.split(again) == ["limner", "train", "sje", "--data", "my set", "--out", str(out), "--resume"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", f"limner train needs a METHOD: {', '.join(trainable_names())}, or a recipe.yaml; see limner train --help"),
        (
            "gan-clss --data garden --out run",
            "there is no method 'gan-clss': did you mean 'gan-cls'? known: " + ", ".join(trainable_names()),
        ),
        (
            "gan-cls --data gardn --out run",
            "there is no data set or folder 'gardn': did you mean 'garden'? known: garden, garden-bouquets, garden-stories",
        ),
        ("gan-cls --data garden", "missing: --out; see limner train gan-cls --help"),
        (
            "--data garden gan-cls --out run --preset cup",
            "there is no preset of gan-cls 'cup': did you mean 'cpu'? known: as-published, cpu",
        ),
        ("gan-cls --dta garden --out run", "there is no option '--dta': did you mean '--data'? see limner train gan-cls --help"),
        (
            "gan-cls --data garden --out run --checkpoint-every 5",
            "there is no option '--checkpoint-every': did you mean '--training.checkpoint-every'? see limner train gan-cls --help",
        ),
        ("gan-cls --data garden --out run --steps few", "--steps takes a whole number, not 'few'; see limner train gan-cls --help"),
        ("gan-cls --data garden --out run --steps 0", "training.steps is 0, but must be at least 1"),
        (
            "gan-cls --data garden --out run --device tpu",
            "--device cannot be 'tpu': choose auto or cpu or cuda; see limner train gan-cls --help",
        ),
        ("gan-cls --data garden --out run --method.counterfactual 2", "method.counterfactual is 2.0, but must lie between 0 and 1"),
        (
            "gan-cls --data garden --out run --resolution 48",
            "gan-cls cannot paint at 48 px: choose a power of two from 16 (64 as published)",
        ),
        ("missing.yaml --out run", "there is no recipe missing.yaml: give the path of a recipe.yaml, or the name of a method"),
    ],
)
def test_bad_input_gets_one_line_and_writes_nothing(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words.split()]) == 2
    assert capsys.readouterr().err == f"limner: {message}\n"
    assert not list(tmp_path.iterdir())


LIGHT = """
import sys
from limner.cli.main import main
code = main(sys.argv[1:])
sys.exit(9 if "torch" in sys.modules else code)
"""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train gan-cls --data garden --out there", "there exists already: go on with it by --resume, or choose another --out"),
        ("train gan-cls --data garden --out=there --training.devices 2", "there exists already: go on with it by --resume"),
        ("train sje --data garden --out there --resume", "there holds something that is not a run: choose another --out"),
        ("train gan-cls --data garden --out there/letter", "--out there/letter cannot be written: "),
        ("train gan-cls --data sets/none --out run", "there is no folder sets/none: give one that `limner data prepare` wrote"),
        ("train gan-clss --data garden --out run", "there is no method 'gan-clss': did you mean 'gan-cls'?"),
        ("train none.yaml --out run", "there is no recipe none.yaml"),
    ],
)
def test_what_needs_nothing_of_pytorch_is_refused_before_it_is_loaded(words: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "letter").write_text("dear")
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", LIGHT, *words.split()]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(f"limner: {message}"), (done.returncode, done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_run_of_one_process_loads_nothing_that_is_slow_and_for_others(tmp_path: Path) -> None:
    """lightning_fabric and torch._dynamo take longer to load than PyTorch, and serve several processes and compiled networks."""
    code = (
        "import sys\n"
        "from limner.cli.main import main\n"
        "words = 'train gan-cls --data garden --data.garden-pictures 8 --training.batch-size 4 --steps 1 --resolution 16 --device cpu'\n"
        "assert main([*words.split(), '--out', sys.argv[1]]) == 0\n"
        "sys.exit(' '.join({'lightning_fabric', 'torch._dynamo', 'torchmetrics', 'sympy'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_sets_of_ones_own_have_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(tmp_path / "set", [("train", f"a bird {number}") for number in range(3)])
    for method, expected in (("limner-gan", "small-set"), ("stylegan2", "small-set"), ("gan-cls", "cpu")):
        recipe, why = starting_point(method, [method, "--data", str(data), "--device", "cpu"])
        assert recipe.preset == expected and ("3 training pictures" in why) == (expected == "small-set")
    for data_given in ("garden", str(tmp_path / "nowhere")):
        assert starting_point("limner-gan", ["limner-gan", "--data", data_given, "--device", "cpu"])[0].preset == "cpu"
    assert starting_point("limner-gan", ["limner-gan", "--data", str(data), "--preset", "cpu"])[0].preset == "cpu"
    monkeypatch.setattr(presets, "SMALL", 3)
    for method, expected in (("limner-gan", "photographs"), ("stylegan2", "cpu")):
        recipe, why = starting_point(method, [method, "--data", str(data), "--device", "cpu"])
        assert recipe.preset == expected and ("your own" in why) == (expected == "photographs")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for method, data_given, expected in (
        ("limner-gan", str(data), "photographs"),
        ("limner-gan", "garden", "as-published"),
        ("stylegan2", str(data), "as-published"),
    ):
        assert starting_point(method, [method, "--data", data_given])[0].preset == expected


def test_of_several_processes_the_first_shows_the_plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("limner.training.dry_run.dry_run", lambda recipe: iter(["a line"]))
    command = ["train", "gan-cls", "--data", "garden", "--preset", "cpu", "--training.devices", "2", "--dry-run"]
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main(command) == 0 and capsys.readouterr().out == ""
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert main(command) == 0 and capsys.readouterr().out == "a line\n"


@pytest.mark.parametrize("devices", ["1", "3"])
def test_torchrun_with_another_number_of_processes_is_refused(
    devices: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    command = ["train", "gan-cls", "--data", "garden", "--preset", "cpu", "--out", "run", "--training.devices", devices]
    for more in ([], ["--dry-run"]):
        assert main([*command, *more]) == 2
        told = capsys.readouterr().err
        assert told.startswith("limner: torchrun has started 2 processes on this machine, but --training.devices is")
        assert told.endswith("give --training.devices 2 --training.nodes 1\n")
    assert not Path("run").exists()
