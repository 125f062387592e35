"""The models and runs that a studio was opened with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

import limner
from limner.core.abilities import ABILITIES, WritesCodes
from limner.core.errors import CheckpointError, LimnerError, SettingsError
from limner.core.folder import DESCRIPTION, describe
from limner.data.catalog import BUILT_IN, open_data
from limner.data.pngwords import captions_in
from limner.explore.attend import PREFIX
from limner.model import Model
from limner.training.grids import grids_of


class Opened:
    """A trained model, the run that trains it, or both.

    name: as the user gave it; label: as the page shows it. A run that has not saved a model yet has none.
    """

    def __init__(self, name: str, label: str, device: str = "cpu") -> None:
        self.name, self.label, self.device = name, label, device
        self.run = Path(name) if (Path(name) / "recipe.yaml").is_file() else None
        """The run's folder, if it is one."""
        self.stages, self.attends = 1, False
        self._model: Model | None = None
        self._seen = self._stamp()
        if self.run is None or self._seen is not None:
            self._take(self._loaded())

    @property
    def has_model(self) -> bool:
        """Whether there is a model to paint with."""
        return self._model is not None

    def model(self) -> Model:
        """The model as it is now: a run that goes on training saves newer ones. Raises CheckpointError where there is none."""
        stamp = self._stamp()
        if stamp is not None and stamp != self._seen:
            self._seen = stamp
            self._take(self._loaded())
        if self._model is None:
            raise CheckpointError(f"{self.name} has not saved a model yet: it does so with its first checkpoint")
        return self._model

    def paints(self) -> bool:
        """Whether it paints a caption by itself: a story's sentences are painted together."""
        return self._model is not None and self._model.method.rows == 1

    def reads_text(self) -> bool:
        """Whether it paints captions."""
        return self._model is not None and self._model.reads_text

    def can(self, ability: str) -> bool:
        """Whether its method has an ability, by the word of `core.abilities`."""
        return self._model is not None and isinstance(self._model.method, ABILITIES[ability])

    def caption(self, caption: str) -> str:
        """A caption as this model is given it: one that reads no text takes none."""
        return caption.strip() if self.reads_text() else ""

    def example(self) -> str:
        """A caption to begin with, all of whose words it knows: of its sample grids or of its data. Empty where there is none."""
        if not self.reads_text():
            return ""
        model = self.model()
        known = (*self._of_the_run(), *_of_built_in(str(model.about.get("data", ""))))
        return next((caption for caption in known if model.can_paint(caption) and not model.unknown_words(caption)), "")

    def story(self) -> list[str]:
        """A story to begin with, of as many sentences as it tells, all of whose words it knows. Empty where there is none."""
        model = self.model()
        frames = getattr(model.method, "frames", 0)
        for known in (self._of_the_run()[:frames], _story_of_built_in(str(model.about.get("data", "")))):
            if len(known) == frames > 0 and not any(model.unknown_words(sentence) for sentence in known):
                return known
        return []

    def _of_the_run(self) -> list[str]:
        for path in reversed(grids_of(self.run) if self.run else []):
            with suppress(OSError):
                if found := captions_in(path):
                    return found
        return []

    def _loaded(self) -> Model:
        exported = self.name.lower().endswith(limner.EXPORTED)
        return limner.load(self.name, device="cpu" if exported else self.device)

    def _stamp(self) -> int | None:
        """Changes with every model that a run saves; None for a run without one that paints, and for anything else."""
        if self.run is None:
            return None
        folder = self.run / "model"
        try:
            return (folder / DESCRIPTION).stat().st_mtime_ns if describe(folder)["kind"] == "method" else None
        except (OSError, LimnerError):
            return None

    def _take(self, model: Model) -> None:
        self._model = model
        if isinstance(model.method, WritesCodes):  # a painting may take minutes; it has one stage
            return
        count = model.method.rows
        known = sorted(model.encoder.known_words()) if model.reads_text else []
        painting = model.painting([known[0] if known else ""] * count, np.zeros(count, np.int64), check=False)
        self.stages = 1 + len(painting.stages)
        self.attends = any(name.startswith(PREFIX) for name in painting.extras)


def _of_built_in(data: str) -> list[str]:
    """Captions of a built-in world; none of another set."""
    if data not in BUILT_IN:
        return []
    pictures = open_data(data, "test", 16, length=8)
    return [max(pictures.captions(index), key=len) for index in range(len(pictures))]


def _story_of_built_in(data: str) -> list[str]:
    """The sentences of a built-in world's first story; none of a world without stories, or of another set."""
    pictures = open_data(data, "test", 16, length=8) if data in BUILT_IN else None
    if pictures is None or pictures.stories is None:
        return []
    return [pictures.captions(index)[0] for index in pictures.stories[0].tolist()]


def open_all(names: Sequence[str], device: str = "cpu") -> list[Opened]:
    """Open models and runs. Raises SettingsError and CheckpointError for what cannot be opened, and for what is given twice."""
    found: list[Opened] = []
    places = [Path(name).resolve() if Path(name).exists() else name for name in names]
    for number, name in enumerate(names):
        if places[number] in places[:number]:
            raise SettingsError(f"{name} is given twice: leave one out")
        short = Path(name).name or name
        taken = sum((Path(other).name or other) == short for other in names) > 1
        found.append(Opened(name, name if taken else short, device))
    return found
