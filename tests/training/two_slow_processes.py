"""Run by test_processes.py in two processes whose steps are slow: one is asked to stop, or the time is up. Prints after which step."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

from shared.tiny_runs import tiny

from limner.methods.gan_cls import GANCLS
from limner.training.run import train

STOPPED = 2
"""The step in which the second process is asked to stop."""


def main(out: Path, reason: str) -> None:
    step = GANCLS.training_step

    def slow(self, batch, progress):  # type: ignore[no-untyped-def]
        time.sleep(1.2)
        if reason == "signal" and progress.step == STOPPED and os.environ.get("LOCAL_RANK", "0") == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        yield from step(self, batch, progress)

    GANCLS.training_step = slow  # type: ignore[method-assign]
    recipe = tiny("gan-cls", 30, 16, devices=2, minutes=4 / 60 if reason == "time" else 60.0)
    settings = dataclasses.replace(recipe.method_settings, generator_channels=4, discriminator_channels=4)
    result = train(dataclasses.replace(recipe, method_settings=settings), out)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print("steps", result.steps)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
