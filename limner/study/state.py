"""Where a run stands, by what lies on disk alone: nothing else is kept that a crash could leave wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.metrics.scoring.protocol import Score, read_scores
from limner.metrics.scoring.registry import chosen, network_of, scores_of
from limner.report.phases import act_of, is_of_the_method
from limner.study.plan import Planned
from limner.study.settings import Budget, Evaluation
from limner.training.checkpoints import Checkpoints


def standing(run: Planned, evaluation: Evaluation) -> str:
    """What is left to do for a run: "train", "go on" (with a training that was begun), "score", or nothing: "done"."""
    if not is_trained(run.folder):
        return "go on" if Checkpoints(run.folder).position() else "train"
    return "done" if is_scored(run.folder, evaluation) else "score"


def is_trained(folder: Path) -> bool:
    """Whether the training has come to its end. The recipe, which was compared before, says which end that is."""
    return bool(Checkpoints(folder).position().get("finished")) and (folder / "model" / "model.safetensors").is_file()


def is_scored(folder: Path, evaluation: Evaluation) -> bool:
    """Whether scores.json holds every metric that is asked for, under the protocol that is asked for, of the model as it is now."""
    path = folder / "scores.json"
    if not path.is_file() or path.stat().st_mtime < (folder / "model" / "model.safetensors").stat().st_mtime:
        return False
    return _holds(asked_for(read_scores(path), evaluation), evaluation)


def asked_for(scores: Iterable[Score], evaluation: Evaluation) -> list[Score]:
    """Those of a run's scores that were taken as the study asks."""
    features = evaluation.features.partition("=")[0] if evaluation.features else None
    matching = f" of {Path(evaluation.matching).name}" if evaluation.matching else None
    wanted = {score for metric in chosen(evaluation.metrics) for score in scores_of(metric)}

    def fits(score: Score) -> bool:
        protocol = score.protocol
        place = (protocol.split in _splits(evaluation), protocol.count == evaluation.count, protocol.seed == evaluation.seed)
        network = protocol.features or ""
        looked = features is None or network_of(score.name) != "features" or network == features
        matched = matching is None or network_of(score.name) != "matching" or network.endswith(matching)
        return score.name in wanted and all(place) and looked and matched

    return [score for score in scores if fits(score)]


def _holds(scores: Iterable[Score], evaluation: Evaluation) -> bool:
    """Whether every metric was taken on a split at least, as `limner evaluate` promises, and something was on every split."""
    found = {(score.name, score.protocol.split) for score in scores}
    names = {scores_of(metric)[0] for metric in evaluation.metrics}
    return names <= {name for name, _ in found} and set(_splits(evaluation)) <= {split for _, split in found}


def _splits(evaluation: Evaluation) -> list[str]:
    return [split.strip() for split in evaluation.split.split(",") if split.strip()]


@dataclass
class Course:
    """How far a training has come, from its log.jsonl, of which each look reads what is new."""

    path: Path
    phases: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """The last line of numbers of each phase, by what it belongs to, "text", "method" or "style", and by its name."""
    _read: int = 0

    def look(self) -> Course:
        """Read on; from the beginning, where a resumed run has cut its log."""
        try:
            size = self.path.stat().st_size
            if size < self._read:
                self.phases, self._read = {}, 0
            with self.path.open("rb") as stream:
                stream.seek(self._read)
                new = stream.read()
        except OSError:
            return self
        whole = new.rpartition(b"\n")[0] + b"\n" if b"\n" in new else b""
        self._read += len(whole)
        for text in whole.splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if "images_per_second" in line:
                self.phases[act_of(line), line["phase"]] = line
        return self

    @property
    def phase(self) -> str:
        """The phase that is being trained, if any has begun."""
        return list(self.phases)[-1][1] if self.phases else ""

    @property
    def step(self) -> int:
        """Steps of it so far."""
        return int(self._newest["step"]) if self.phases else 0

    @property
    def images(self) -> int:
        """Training pictures that the method's phases have seen."""
        return int(self._sum("images"))

    @property
    def seconds(self) -> float:
        """Time that the method's phases have spent."""
        return self._sum("seconds")

    @property
    def core_seconds(self) -> float:
        """Processor time that they have spent; 0 in logs from before it was written."""
        return float(sum(line.get("core_seconds", 0.0) for line in self.own()))

    @property
    def images_per_second(self) -> float:
        """How fast it goes, if that is known."""
        return float(self._newest["images_per_second"]) if self.phases else 0.0

    def left(self, budget: Budget) -> float | None:
        """Seconds until the budget is spent, by the newest line; None where nothing tells yet."""
        found = [] if budget.minutes is None else [budget.minutes * 60 - self.seconds]
        if budget.images is not None and self.seconds > 0 and self.images:
            found.append((budget.images - self.images) * self.seconds / self.images)
        if budget.core_minutes is not None:  # before the first line, as if one core were at work all the time
            slowness = self.seconds / self.core_seconds if self.core_seconds > 0 else 1.0
            found.append((budget.core_minutes * 60 - self.core_seconds) * slowness)
        return max(0.0, min(found)) if found else None

    def spent(self, budget: Budget) -> bool:
        """Whether the budget ended the training, and not the method's own number of epochs."""
        if budget.minutes is not None and self.seconds >= budget.minutes * 60 - 0.1:
            return True
        if budget.core_minutes is not None and self.core_seconds >= budget.core_minutes * 60 - 0.1:
            return True
        steps = sum(line["images"] / max(line["step"], 1) for line in self.own())  # each phase has a whole number of steps
        return budget.images is not None and self.images > budget.images - steps

    def _sum(self, name: str) -> float:
        return float(sum(line[name] for line in self.own()))

    def own(self) -> list[Mapping[str, Any]]:
        """The last line of each of the method's own phases: those of a text or a style encoder have no part in its budget."""
        return [line for line in self.phases.values() if is_of_the_method(line)]

    def named(self) -> dict[str, Mapping[str, Any]]:
        """The last line of each phase by its name; where two have one name, by what they belong to as well: "text/text", "method/text"."""
        names = [name for _, name in self.phases]
        return {name if names.count(name) == 1 else f"{act}/{name}": line for (act, name), line in self.phases.items()}

    @property
    def _newest(self) -> Mapping[str, Any]:
        return list(self.phases.values())[-1]


def course(folder: Path) -> Course:
    """How far the training in a run folder has come."""
    return Course(folder / "log.jsonl").look()
