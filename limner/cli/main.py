"""`limner VERB ...`: finds the verb, and turns what goes wrong into one line and an exit code.

Nothing heavy is imported here: `limner --help`, `limner --version` and a mistyped verb answer at once.
Exit codes: 0 done, 1 a check failed, 2 a mistake in what was asked, 130 stopped by Ctrl-C, 141 done though the reader of what was printed
has gone, 143 stopped by SIGTERM.
Printing never stops the work: `limner.cli.streams`.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import limner
from limner.cli.streams import steady_streams
from limner.core.errors import DataError, LimnerError, LimnerWarning, SettingsError, unknown_name

VERBS = {
    "demo": "watch a generator learn to paint what captions say, from nothing, within minutes",
    "methods": "list what can be trained: methods, and matching models",
    "data": "prepare a folder or shards of captioned pictures, or show a set",
    "train": "train a method or a matching model on captioned pictures",
    "generate": "paint captions with a trained model",
    "evaluate": "score a trained model, or any folder of pictures",
    "compare": "put trained models side by side: the same captions, scores, costs, learning curves",
    "report": "write a run's page anew, with what it does worst and what it may remember",
    "study": "train, score and compare a list of methods within one budget, on one page",
    "studio": "a page in the browser on which trained models are used, and a training is watched",
    "curve": "say how many pictures a set of your own needs, by training on parts of it",
    "explore": "look into a trained model: walks, nearest training pictures, worst captions, style",
    "export": "write a trained model as one file that paints anywhere: ONNX, torch.export, a page for browsers",
    "import": "turn the authors' own checkpoints into Limner models",
    "words": "list the words that a trained model knows, or look some up",
    "completion": "print a script that completes commands in bash, zsh or fish",
    "doctor": "check that everything Limner needs is installed and intact",
}

MODULES = {"import": "import_"}
"""Verbs whose file cannot bear their name, because Python has the word for itself."""

HELP = f"""usage: limner VERB [ARGUMENTS]

Text-to-image synthesis with models that you train yourself.

{chr(10).join(f"  {verb:<11} {sentence}" for verb, sentence in VERBS.items())}

  limner VERB --help shows a verb's options with an example; limner --version shows the version.
  limner --with my_method.py VERB ... also knows the method in that file, which is executed: docs/add-a-method.md.

examples:
  limner demo
  limner generate garden "a pink flower with five round petals" --out pictures
  limner data prepare my-folder --out prepared/mine --resolution 64
  limner train limner-gan --data prepared/mine --out runs/mine"""


FULL = (errno.ENOSPC, errno.EDQUOT)
FIXES = {
    errno.ENOENT: "check the path",
    errno.EACCES: "choose another path or change its permissions",
    errno.EPERM: "choose another path or change its permissions",
    errno.EROFS: "choose a path on another disk",
    errno.ENOTDIR: "choose another path: a part of this one is a file",
    errno.EISDIR: "give a file in place of the folder",
    errno.EEXIST: "choose another path",
    errno.ENOTEMPTY: "choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle: choose another path",
    errno.EMFILE: "raise the number of files that may be open (ulimit -n)",
    errno.EIO: "the disk or its connection may be damaged: copy the file elsewhere",
}
"""What to do about an error of the system, by its number."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. What is not the user's mistake propagates with its traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with steady_streams() as (output, _):
        code = _guarded(arguments)
        output.flush()
        if isinstance(output.failure, BrokenPipeError):  # the reader, such as `head`, has gone
            return code or 141
        if output.failure and not code:
            return _complain(f"what was printed is lost ({output.failure.strerror}), and all else is done: print to another place")
    return code


def _guarded(arguments: list[str]) -> int:
    """The exit code, after a line about what went wrong."""
    try:
        with _warnings_on_one_line(), _cleaning_up_at_the_end():
            return _run(arguments)
    except LimnerError as error:
        if isinstance(error, SettingsError | DataError) and os.environ.get("LOCAL_RANK", "0") != "0":
            return 2  # the machine's first process, which was given the same, says it
        return _complain(str(error))
    except KeyboardInterrupt as stop:
        print("limner: stopped", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    except UnicodeEncodeError as error:
        if not error.reason.startswith("surrogates"):
            raise
        part = error.object[max(error.start - 20, 0) : error.end + 20]
        return _complain(f"{ascii(part)} has characters that this system's encoding lacks: set PYTHONUTF8=1, or give another name")
    except Exception as error:
        told = _of_memory(error) or _of_the_system(error)
        if told is None:
            raise
        return _complain(told)


class Terminated(KeyboardInterrupt):
    """SIGTERM came: as Ctrl-C does, it lets every block that is left clean up."""


@contextmanager
def _cleaning_up_at_the_end() -> Iterator[None]:
    """Within the block, SIGTERM raises `Terminated` instead of ending the process where it stands, unless somebody handles it already."""
    in_main = threading.current_thread() is threading.main_thread()  # handlers can be set only there
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _of_memory(error: Exception) -> str | None:
    """An error of too little memory in words; None for any other. PyTorch has a type for that of a GPU, and none for that of a CPU."""
    on_gpu = type(error).__name__ == "OutOfMemoryError"
    if not on_gpu and not isinstance(error, MemoryError) and "DefaultCPUAllocator" not in str(error):
        return None
    return (
        f"out of memory{' on the GPU' if on_gpu else ''}: --memory SIZE, such as --memory 6GB, finds settings that fit; or give a smaller "
        "--training.batch-size or --resolution; --dry-run says what a run needs"
    )


def _of_the_system(error: Exception) -> str | None:
    """An error of files, disks and connections in words; None for any other."""
    number, name = (error.errno, error.filename) if isinstance(error, OSError) else (None, None)
    if not isinstance(error, OSError):
        # safetensors and torch wrap the system's error in types of their own, so the text decides.
        found = re.search(r"\(os error (\d+)\)", str(error))
        number = int(found[1]) if found else errno.ENOSPC if "No space left on device" in str(error) else None
        if number is None:
            return None
    if number in FULL:
        where = f" while writing {_text(name)}" if name else ""
        return f"no space left on the disk{where}: free some, or choose a folder on another disk"
    reason = os.strerror(number) if number else str(error) or type(error).__name__
    fix = FIXES.get(number or 0, "choose another path, or try again")
    return f"cannot use {_text(name)}: {reason}: {fix}" if name is not None else f"{reason}: {fix}"


def _text(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, bytes) else str(name)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"limner {limner.__version__}")
        return 0
    if arguments[0] == "--with":
        _add_file(arguments[1:2])
        return _run(arguments[2:])
    verb, *rest = arguments
    if verb not in VERBS:
        raise unknown_name("verb", verb, VERBS)
    _show_what_is_logged()
    try:
        return importlib.import_module(f"limner.cli.{MODULES.get(verb, verb)}").main(rest)
    except SystemExit as stop:  # --help of a verb
        return stop.code if isinstance(stop.code, int) else 0


def _add_file(given: list[str]) -> None:
    """Know the method of a file, here and in the processes that this one starts."""
    from limner import methods
    from limner.core.registry import VARIABLE

    if not given:
        raise SettingsError("--with needs the path of a file that holds a method: limner --with my_method.py VERB ...")
    methods.register_file(given[0])
    os.environ[VARIABLE] = os.pathsep.join(filter(None, [os.environ.get(VARIABLE), given[0]]))


@contextmanager
def _warnings_on_one_line() -> Iterator[None]:
    """Limner's own warnings are printed as its mistakes are; others as they would be."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def on_one_line(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, LimnerWarning):
                print(f"limner: {' '.join(str(message).split())}", file=sys.stderr)
            else:
                show(message, category, *place, **more)

        warnings.showwarning = on_one_line
        yield


class _Said(logging.Handler):
    """Shows what Limner logs, such as where in a file weights were found."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"limner: {record.getMessage()}", file=sys.stderr)


def _show_what_is_logged() -> None:
    logger = logging.getLogger("limner")
    if not any(isinstance(handler, _Said) for handler in logger.handlers):
        logger.addHandler(_Said())
        logger.setLevel(logging.INFO)


def _complain(message: str) -> int:
    print(f"limner: {' '.join(message.split())}", file=sys.stderr)
    return 2
