"""The worked example of docs/add-a-method.md: its code and its commands, as they stand there, with fewer steps and pictures."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import limner
from limner.cli.main import main
from limner.core import registry
from limner.training.checkpoints import Checkpoints

PAGE = (Path(__file__).parents[2] / "docs" / "add-a-method.md").read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)[0]
COMMANDS = [line for line in PAGE.splitlines() if line.startswith("limner ")]
LESS = {
    "train": "--data.garden-pictures 80 --method.channels 4 --device cpu",
    "evaluate": "--count 64 --split train --device cpu",
    "generate": "--device cpu",
}


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """A line of the page, run as a process of its own would: with no file given before."""
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setenv(registry.VARIABLE, "")
    command = command.replace("--steps 500", "--steps 3").replace("--steps 1000", "--steps 5")
    verb = next(verb for verb in LESS if f" {verb} " in command)
    return main(shlex.split(f"{command} {LESS[verb]}")[1:])


def test_the_code_is_short() -> None:
    assert len([line for line in CODE.splitlines() if line.strip()]) <= 60


def test_the_page_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hinge_gan.py").write_text(CODE, encoding="utf-8")
    verbs = [next(word for word in command.split() if word in LESS) for command in COMMANDS]
    assert verbs == ["train", "generate", "train", "evaluate"]

    assert run(COMMANDS[0], monkeypatch) == 0
    assert "limner --with hinge_gan.py generate runs/hinge" in capsys.readouterr().out
    assert steps("runs/hinge") == 3
    assert run(COMMANDS[1], monkeypatch) == 0
    assert Path("hinge.png").stat().st_size > 1000
    assert run(COMMANDS[2], monkeypatch) == 0
    assert "going on with runs/hinge after step 3" in capsys.readouterr().err
    assert steps("runs/hinge") == 5
    assert run(COMMANDS[3], monkeypatch) == 0
    assert json.loads(Path("runs/hinge/scores.json").read_text(encoding="utf-8"))

    # What is shared says which method it needs, and holds no code.
    config = json.loads(Path("runs/hinge/model/config.json").read_text(encoding="utf-8"))
    assert (config["name"], config["source"]) == ("hinge-gan", "hinge_gan.py")
    assert "hinge_gan.py" in Path("runs/hinge/model/README.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in Path("runs/hinge/model").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert Path("runs/hinge/hinge_gan.py").read_text(encoding="utf-8") == CODE

    # Without the method, each verb says what to give, and what the run keeps is not executed.
    capsys.readouterr()
    assert run("limner generate runs/hinge 'a red flower' --out one", monkeypatch) == 2
    assert "needs the method 'hinge-gan', which is not part of Limner: give that file: limner --with hinge_gan.py" in capsys.readouterr().err
    assert run("limner train runs/hinge/recipe.yaml --out again", monkeypatch) == 2
    assert f"limner --with {Path('runs/hinge/hinge_gan.py')} VERB" in capsys.readouterr().err

    # From Python.
    assert limner.methods.register_file("hinge_gan.py") == "hinge-gan"
    (picture,) = limner.load("runs/hinge").generate("a red flower", seed=1)
    assert picture.size == (32, 32)
    assert limner.create("hinge-gan", resolution=64, preset="cpu").resolution == 64


def test_a_file_that_changed_since_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hinge_gan.py").write_text(CODE, encoding="utf-8")
    assert run(COMMANDS[0], monkeypatch) == 0
    Path("hinge_gan.py").write_text(CODE.replace("refused / 2", "refused / 3"), encoding="utf-8")
    assert run(COMMANDS[2], monkeypatch) == 0
    assert "warning: the method's file is not the one that runs/hinge was begun with" in " ".join(capsys.readouterr().err.split())


def steps(folder: str) -> int:
    state = Checkpoints(Path(folder)).load()
    assert state is not None
    return int(state["position"]["total_step"])
