"""Verbs, exit codes and one-line errors."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import limner
from limner.cli import main as command
from limner.cli.main import VERBS, main


def test_help_version_and_mistakes_answer_without_torch() -> None:
    code = (
        "import sys\nfrom limner.cli.main import main\n"
        "codes = [main(words) for words in ([], ['--help'], ['--version'], ['trian'], ['methods'])]\n"
        "assert codes == [0, 0, 0, 2, 0], codes\n"
        "heavy = {'torch', 'lightning_fabric', 'torchmetrics'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"limner {limner.__version__}" in done.stdout and re.search(r"^  gan-cls +GAN-CLS", done.stdout, re.MULTILINE)
    assert done.stderr == "limner: there is no verb 'trian': did you mean 'train'? known: " + ", ".join(sorted(VERBS)) + "\n"


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "limner", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"limner {limner.__version__}\n")


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "example" in shown and f"limner {verb}" in shown


def raising(error: BaseException) -> types.SimpleNamespace:
    def fail(argv: list[str]) -> int:
        raise error

    return types.SimpleNamespace(main=fail)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (limner.DataError("a\nb"), 2, "limner: a b\n"),
        (KeyboardInterrupt(), 130, "limner: stopped\n"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 2, "limner: no space left on the disk while writing runs/x: "),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 2, "limner: no space left on the disk: "),
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), 2, "limner: cannot use runs/x: Permission denied: "),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(
    error: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command.importlib, "import_module", lambda name: raising(error))
    assert main(["doctor"]) == code
    told = capsys.readouterr().err
    assert told.startswith(text) and told.count("\n") == 1


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.importlib, "import_module", lambda name: raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    code = "import sys\nfrom limner.cli.main import main\nsys.stdin.read()\nsys.exit(main(['--help']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stdin and process.stderr
    process.stdout.close()
    process.stdin.close()
    assert process.wait() == 141
    assert process.stderr.read() == b""
    process.stderr.close()
