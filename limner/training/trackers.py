"""Where else a run's figures go: TensorBoard, Weights & Biases, trackio. Each is an extra, imported when a run asks for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from limner.core.errors import SettingsError
from limner.core.settings import TrainingSettings


class Tracker(ABC):
    """Takes a run's figures as they are logged."""

    @abstractmethod
    def write(self, figures: Mapping[str, float], step: int) -> None:
        """Figures by name, such as "gan/generator/loss", after a step of the run."""

    @abstractmethod
    def close(self) -> None:
        """The run has ended."""


class TensorBoard(Tracker):
    """Event files in the run's folder `tensorboard`."""

    def __init__(self, run: Path, writer: Any) -> None:
        self._events = writer(str(run / "tensorboard"))

    def write(self, figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        self._events.close()


class Service(Tracker):
    """Weights & Biases, or trackio, which has the same functions; the run is called as its folder is, and goes on under that name."""

    def __init__(self, run: Path, module: Any, project: str, config: Mapping[str, Any], **more: Any) -> None:
        self._module = module
        module.init(project=project, name=run.resolve().name, config=dict(config), resume="allow", **more)

    def write(self, figures: Mapping[str, float], step: int) -> None:
        self._module.log(dict(figures), step=step)

    def close(self) -> None:
        self._module.finish()


def trackers(settings: TrainingSettings, run: Path, config: Mapping[str, Any]) -> dict[str, Callable[[], Tracker]]:
    """What makes each tracker that a run asks for, once there is a first figure, by the setting that asks for it.

    config: the run's settings by name. Raises SettingsError where the library of one is not installed.
    """
    return dict(_asked(settings, run, config))


def _asked(settings: TrainingSettings, run: Path, config: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Tracker]]]:
    if settings.tensorboard:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise SettingsError("training.tensorboard needs TensorBoard: pip install 'limner[log]', or leave the setting out") from error
        yield "training.tensorboard", lambda: TensorBoard(run, SummaryWriter)
    if (project := settings.wandb) is not None:
        try:
            import wandb
        except ImportError as error:
            raise SettingsError("training.wandb needs its library: pip install 'limner[wandb]', or leave the setting out") from error
        # An id keeps a resumed run in one place; no character of it may be special there.
        known = "".join(letter if letter.isalnum() else "-" for letter in str(run.resolve()))[-60:].strip("-")
        yield "training.wandb", lambda: Service(run, wandb, project, config, id=known)
    if (space := settings.trackio) is not None:
        try:
            import trackio
        except ImportError as error:
            raise SettingsError("training.trackio needs its library: pip install 'limner[trackio]', or leave the setting out") from error
        yield "training.trackio", lambda: Service(run, trackio, space, config)
