"""Verbs, exit codes and one-line errors."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch

import limner
from limner.cli import main as command
from limner.cli.main import VERBS, main
from limner.core.owner import owned


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
        (MemoryError(), 2, "limner: out of memory: --memory SIZE, such as --memory 6GB, "),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 2, "limner: out of memory on the GPU: --memory SIZE, "),
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


def test_a_cpu_without_memory_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command.importlib, "import_module", lambda name: types.SimpleNamespace(main=lambda argv: torch.empty(1 << 50)))
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err.startswith("limner: out of memory: --memory SIZE, such as ")


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


@pytest.mark.parametrize(
    ("number", "name", "text"),
    [
        (errno.ENOTDIR, "x/y", "limner: cannot use x/y: Not a directory: "),
        (errno.EISDIR, "x", "limner: cannot use x: Is a directory: "),
        (errno.EROFS, "x", "limner: cannot use x: Read-only file system: "),
        (errno.ENAMETOOLONG, "x", "limner: cannot use x: File name too long: choose a shorter name"),
        (errno.ELOOP, "x", "limner: cannot use x: "),
        (errno.ENOENT, "x", "limner: cannot use x: No such file or directory: check the path"),
        (errno.EIO, None, "limner: Input/output error: "),
        (errno.EDQUOT, "x", "limner: no space left on the disk while writing x: "),
        (errno.ECONNREFUSED, None, "limner: Connection refused: "),
    ],
)
def test_any_error_of_the_system_is_one_line(
    number: int, name: str | None, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors = [OSError(number, os.strerror(number), name) if name else OSError(number, os.strerror(number))]
    if name is None:
        errors.append(RuntimeError(f"I/O error: {os.strerror(number)} (os error {number})"))  # as safetensors says it
    for error in errors:
        monkeypatch.setattr(command.importlib, "import_module", lambda name, error=error: raising(error))
        assert main(["doctor"]) == 2
        told = capsys.readouterr().err
        assert told.startswith(text) and told.count("\n") == 1


PRINTS = """
import sys
from pathlib import Path
import types
from limner.cli import main as command
def verb(argv):
    for number in range(3):
        Path(argv[0], f"{number}.txt").write_text("kept")
        print("写真 é \\udce9", flush=True)
        print("limner: 写真", file=sys.stderr)
    return 0
command.importlib.import_module = lambda name: types.SimpleNamespace(main=verb)
sys.exit(command.main(["doctor", sys.argv[1]]))
"""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("shell", "environment", "code", "shown"),
    [
        ('"$@"', {"PYTHONIOENCODING": "cp1252"}, 0, b"\\u5199\\u771f \xe9 \\udce9\n" * 3),
        ('"$@"', {"PYTHONIOENCODING": "ascii:strict"}, 0, b"\\u5199\\u771f \\xe9 \\udce9\n" * 3),
        ('"$@"', ASCII, 0, b"\\u5199\\u771f \\xe9 \\udce9\n" * 3),
        ('"$@" >&-', {}, 0, b""),
        ('"$@" 2>&-', {}, 0, "写真 é \\udce9\n".encode() * 3),
        ('"$@" >&- 2>&- <&-', {}, 0, b""),
        ('"$@" >/dev/full', {}, 2, b""),
    ],
)
def test_printing_never_stops_the_work(shell: str, environment: dict[str, str], code: int, shown: bytes, tmp_path: Path) -> None:
    if "full" in shell and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "out").mkdir()
    (tmp_path / "run.py").write_text(PRINTS, encoding="utf-8")
    ours = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "PYTHONIOENCODING", "PYTHONUTF8")}
    done = subprocess.run(
        ["sh", "-c", shell, "sh", sys.executable, str(tmp_path / "run.py"), str(tmp_path / "out")],
        capture_output=True,
        env=ours | {"PYTHONUTF8": "1"} | environment,
    )
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert (done.returncode, done.stdout) == (code, shown) and b"Traceback" not in done.stderr and b"ignored" not in done.stderr


def test_work_goes_on_without_its_reader(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(PRINTS, encoding="utf-8")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, str(tmp_path / "run.py"), str(tmp_path)], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert len(list(tmp_path.glob("*.txt"))) == 3 and done.returncode == 141
    assert b"Traceback" not in done.stderr and b"ignored" not in done.stderr


def test_a_log_of_limner_s_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def said(argv: list[str]) -> int:
        logging.getLogger("limner.core.anything").info("taken from '%s'", "netG")
        return 0

    monkeypatch.setattr(command.importlib, "import_module", lambda name: types.SimpleNamespace(main=said))
    assert main(["doctor"]) == 0 == main(["doctor"])
    assert capsys.readouterr().err == "limner: taken from 'netG'\n" * 2


def test_one_process_of_several_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for rank, lines in (("0", 1), ("1", 0)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert main(["no-such-verb"]) == 2
        assert capsys.readouterr().err.count("\n") == lines


def test_sigterm_lets_every_command_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def work(argv: list[str]) -> int:
        with owned(tmp_path / "run" / ".lock", "being trained by"):
            signal.raise_signal(signal.SIGTERM)
        raise AssertionError("it went on")

    monkeypatch.setitem(sys.modules, "limner.cli.methods", types.SimpleNamespace(main=work))
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        assert main(["methods"]) == 143
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "limner: stopped\n" and not (tmp_path / "run").exists()
