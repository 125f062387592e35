"""Completion in shells: what the verbs take, as real shells complete it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from limner.cli import completion
from limner.cli.main import VERBS, main

TRAINED = ["gan-cls", "sje"]


@pytest.fixture(scope="module")
def found() -> dict[str, completion.Command]:
    """All commands, of two things that are trained instead of all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limner.core.recipes.trainable_names", lambda: TRAINED)
        return completion.commands()


def test_every_verb_is_known_with_its_options(found: dict[str, completion.Command], capsys: pytest.CaptureFixture[str]) -> None:
    assert found[""].words == list(VERBS)
    assert {name.partition(" ")[0] for name in found} - {""} == {*VERBS}
    for command in ("generate", "explore edit", "data prepare", "words", "export"):
        main([*command.split(), "--help"])
        shown = {*re.findall(r"^│? *(?:-\w, )?(--[a-z][\w.-]+)", capsys.readouterr().out, re.MULTILINE)}
        assert shown and shown <= {*found[command].options}, command
    training = found["train gan-cls"]
    assert {"--out", "--method.interpolation", "--training.precision", "--text.encoder", "--resume"} <= {*training.options}
    assert training.choices["--training.precision"] == ["auto", "32-true", "bf16-mixed"]
    assert training.choices["--device"] == ["auto", "cpu", "cuda"] and "garden" in training.choices["--data"]


ASK = """
source "$1"
shift
COMP_WORDS=(limner "$@")
COMP_CWORD=$#
_limner
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ge"], ["generate"]),
        (["explore", "ed"], ["edit"]),
        (["train", "gan-"], ["gan-cls"]),
        (["train", "gan-cls", "--method.interp"], ["--method.interpolation"]),
        (["train", "gan-cls", "--out", "x", "--training.prec"], ["--training.precision"]),
        (["train", "gan-cls", "--training.precision", "bf"], ["bf16-mixed"]),
        (["train", "sje", "--method.interp"], []),
        (["generate", "gard"], ["garden", "garden-attention", "garden-fast"]),
        (["generate", "garden", "--dev"], ["--device"]),
        (["evaluate", "garden", "--device", ""], ["auto", "cpu", "cuda"]),
        (["completion", "z"], ["zsh"]),
    ],
)
def test_bash_completes(words: list[str], offered: list[str], found: dict[str, completion.Command], tmp_path: Path) -> None:
    script = tmp_path / "limner.bash"
    script.write_text(completion.bash(found), encoding="utf-8")
    done = subprocess.run(["bash", "-c", ASK, "ask", str(script), *words], capture_output=True, text=True)
    assert not done.stderr and done.stdout.split() == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_their_scripts(shell: str, found: dict[str, completion.Command], tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    script = tmp_path / "script"
    script.write_text(completion.SCRIPTS[shell](found), encoding="utf-8")
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    if shell == "fish":
        asked = f"source {script}; complete -C'limner train gan-cls --method.interp'"
        assert subprocess.run([shell, "--no-config", "-c", asked], capture_output=True, text=True).stdout.split() == [
            "--method.interpolation"
        ]
