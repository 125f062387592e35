"""A score is a number with a protocol: what was compared with what, how much of it, and by whose arithmetic."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from limner.core.errors import CheckpointError, SettingsError
from limner.core.owner import owned

FORMAT = 1
NOT_COMPARED = ("version",)
"""Fields that are kept for the record: the same formulas (`implementation`) give the same score in another version of Limner."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a score was taken. Scores stand in one ranking only where their protocols agree."""

    metric: str
    """What was measured."""
    data: str
    """Name of the reference set."""
    split: str
    """Its split."""
    fingerprint: str
    """Changes with any picture or caption of the reference."""
    count: int
    """Generated pictures."""
    reference_count: int
    """Reference pictures."""
    captions: str
    """Which captions the pictures were generated from."""
    resolution: int
    """Side of the generated pictures in pixels."""
    seed: int
    """Decides which captions and reference pictures are taken, and the noise."""
    implementation: str
    """Whose formula and accumulation."""
    features: str | None = None
    """The network that looked at the pictures."""
    features_hash: str | None = None
    """Hash of its weights."""
    resize: str | None = None
    """How pictures became its input."""
    settings: Mapping[str, int | float | str] = field(default_factory=dict)
    """Further settings of the metric: splits, subsets."""
    version: str = "unknown"
    """Version of Limner."""

    def line(self) -> str:
        """The protocol in one line, to stand under a table."""
        return f"{self.metric}: {self.compared()}{self._looked()}; seed {self.seed}; {self.implementation}; limner {self.version}"

    def shared(self) -> str:
        """What the scores of one evaluation have in common."""
        return f"{self.compared()}; seed {self.seed}; limner {self.version}"

    def own(self) -> str:
        """What `shared` leaves out: the metric, who looked, and by whose formula."""
        return f"{self.metric}: {f'{self._looked()}; {self.implementation}'.removeprefix('; ')}"

    def compared(self) -> str:
        """Which pictures were held against which."""
        return (
            f"{self.count:,} pictures of {self.resolution} px from {self.captions} of {self.data}/{self.split} ({self.fingerprint})"
            f" against {self.reference_count:,} real ones"
        )

    def _looked(self) -> str:
        network = f"; features {self.features} {self.features_hash} ({self.resize})" if self.features else ""
        return network + "".join(f"; {name} {value}" for name, value in self.settings.items())


@dataclass(frozen=True, kw_only=True)
class Part:
    """One component of a score, such as one attribute's accuracy."""

    value: float
    error: float | None = None
    """Standard error."""
    chance: float | None = None
    """What a generator scores whose pictures take every value equally often, whatever the caption says."""
    shuffled: float | None = None
    """What the same pictures score against each other's captions: what is left where captions are ignored."""
    real: float | None = None
    """What real pictures score: the most that can be hoped for."""
    count: int = 0
    """Captions that it is taken from."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number with the protocol it was taken under."""

    name: str
    value: float
    protocol: Protocol
    higher_is_better: bool
    error: float | None = None
    """Standard error; of KID and IS, as is the custom, the deviation over subsets and over splits."""
    chance: float | None = None
    shuffled: float | None = None
    real: float | None = None
    parts: Mapping[str, Part] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What a reader must know before trusting the number."""

    def __repr__(self) -> str:
        error = "" if self.error is None else f" +- {self.error:.2g}"
        about, eyes = self.protocol, f", {self.protocol.features}" if self.protocol.features else ""
        return f"<{self.name} {self.value:.4g}{error}: {about.count:,} pictures against {about.data}/{about.split}{eyes}>"


def differences(first: Protocol, second: Protocol) -> list[str]:
    """The fields in which two protocols differ, each as `field: this or that`."""
    found = []
    for item in dataclasses.fields(Protocol):
        mine, theirs = getattr(first, item.name), getattr(second, item.name)
        if item.name not in NOT_COMPARED and mine != theirs:
            found.append(f"{item.name}: {mine} or {theirs}")
    return found


def comparable(first: Score, second: Score) -> str | None:
    """None where two scores may stand in one ranking, else the reason why not."""
    if first.name != second.name:
        return f"{first.name} and {second.name} measure different things"
    found = differences(first.protocol, second.protocol)
    return f"their protocols differ in {'; '.join(found)}" if found else None


def ranked(scores: Mapping[str, Score]) -> list[tuple[str, Score]]:
    """Models' scores, the best first, and last what is not a number: `ranked({"gan-cls": score, ...})`.

    Raises SettingsError where two of them cannot be compared.
    """
    entries = list(scores.items())
    for name, score in entries[1:]:
        reason = comparable(entries[0][1], score)
        if reason:
            raise SettingsError(f"{entries[0][0]} and {name} cannot be ranked by {score.name}: {reason}; score both under one protocol")

    def place(entry: tuple[str, Score]) -> tuple[bool, float]:
        value = entry[1].value
        return (True, 0.0) if math.isnan(value) else (False, -value if entry[1].higher_is_better else value)

    return sorted(entries, key=place)


def read_scores(path: Path) -> list[Score]:
    """The scores that a file holds, none where there is no file; raises CheckpointError where it cannot be read."""
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise CheckpointError(f"{path} is of format {content['format']} and {FORMAT} can be read: move it away and evaluate again")
        return msgspec.convert(content["scores"], list[Score])
    except (OSError, ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise CheckpointError(f"{path} cannot be read as scores ({str(error).splitlines()[0]}): move it away and evaluate again") from error


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Add scores to a file; a score replaces one of the same name and protocol. The file is replaced whole, or not at all.

    Of several processes that add to one file, each waits for the one before, so that no score is lost.
    """
    with owned(path.with_name(f".{path.name}.lock"), f"{path} is being written by", wait=60.0):
        _add_scores(path, list(scores))


def _add_scores(path: Path, scores: Sequence[Score]) -> None:
    kept = _merged(read_scores(path), scores)
    text = json.dumps({"format": FORMAT, "scores": msgspec.to_builtins(kept)}, indent=1, allow_nan=True) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path} cannot be written ({error.strerror}): make room or choose another folder") from error


def _merged(old: Sequence[Score], new: Sequence[Score]) -> list[Score]:
    kept = [score for score in old if all(comparable(score, other) is not None for other in new)]
    return [*kept, *new]
