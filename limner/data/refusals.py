"""What was left out of a set, and the one line that refuses a set with too much left out: the cause, and a way on that works."""

from __future__ import annotations

import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from limner.core.errors import DataError
from limner.data.readers.known import nearest
from limner.data.sources import BARE_TABLE, NO_CAPTION, NO_PICTURE, NOT_TEXT, SHARED, Sample

MOST_SUGGESTED = 0.5
"""Above this share of a set no --max-rejected is suggested: what is wrong is wrong with the whole of it."""

_WAYS = {
    NOT_TEXT: "save the texts again as UTF-8",
    "file_name fits ": "write the pictures' folders into file_name, as in images/a.jpg",
}
"""How reasons begin that do not say what to do, and what that is."""


@dataclass(frozen=True)
class Reject:
    """A sample that was left out, or a file that was left alone."""

    key: str
    source: str
    reason: str
    where: str = ""
    """The line, or the file, that the reason speaks of, where it is not the picture itself."""

    @classmethod
    def of(cls, sample: Sample, reason: str) -> Reject:
        """The reject of a sample."""
        return cls(sample.key, sample.source, reason, sample.where)

    def as_json(self) -> dict[str, str]:
        """What stands in rejects.jsonl."""
        return {name: value for name, value in asdict(self).items() if value or name != "where"}


def counted(rejects: Sequence[Reject], most: int = 6) -> str:
    """The reasons with their numbers, the most frequent first."""
    reasons = Counter(reject.reason for reject in rejects).most_common()
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons[:most])
    rest = sum(count for _, count in reasons[most:])
    return told + (f", {rest:,} for other reasons" if rest else "")


def too_many(rejects: Sequence[Reject], total: int, max_rejected: float) -> bool:
    """Whether more samples are left out than allowed."""
    return len(rejects) > max_rejected * total + 1e-9  # a share such as 0.29 of 100 is not 29 to the digit


def refuse(rejects: Sequence[Reject], total: int, max_rejected: float, ignored: Sequence[Reject], sources: Sequence[Path]) -> None:
    """Raise the DataError of a set with too many rejects, among which damaged pictures have been counted."""
    share = math.ceil(len(rejects) / total * 1000) / 1000
    reasons = {reject.reason for reject in rejects}
    ways = ["correct or remove them"]
    if NO_CAPTION in reasons:
        ways.append("pass --uncaptioned to keep those without captions")
    if share <= MOST_SUGGESTED:
        ways.append(f"pass --max-rejected {share:.3g}")
    first = rejects[0]
    where = f" ({first.where})" if first.where else ""
    cause = explain(rejects, ignored, sources)
    raise DataError(
        f"{len(rejects):,} of {total:,} samples cannot be used ({counted(rejects)}), such as '{first.key}' in {first.source}{where}; "
        f"allowed are {max_rejected:.3g} of all: {f'{cause}; else ' if cause else ''}{', or '.join(ways)}"
    )


def explain(rejects: Sequence[Reject], ignored: Sequence[Reject], sources: Sequence[Path]) -> str:
    """What may be behind the rejects, with what to do; empty where the reasons say all."""
    hints = []
    reasons = {reject.reason for reject in rejects}
    bare = not reasons.isdisjoint((NO_CAPTION, NO_PICTURE))
    if parted := _parted(rejects, sources) or _astray(rejects, sources):
        hints.append(parted)
    elif bare and (near := nearest(sources)):
        hints.append(near)
    tables = [file for file in ignored if not file.reason.startswith(("note", "link", "second"))]
    if bare and tables:
        kinds = {file.reason: file for file in reversed(tables)}
        first = sorted(kinds.values(), key=tables.index)[:2]
        hints.append(", ".join(f"{file.key} is a {file.reason}".replace("is a a ", "is a ") for file in first))
        if any(file.reason.startswith(BARE_TABLE) for file in first):
            hints[-1] += " (call the one with the captions 'text')"
    shared = next((reject for reject in rejects if reject.reason == SHARED), None)
    if shared:
        own = f"{PurePosixPath(shared.key).name}.txt"
        hints.append(f"keep one picture of each name, such as '{shared.key}', or give each captions of its own in a file such as {own}")
    hints.extend(way for sign, way in _WAYS.items() if any(reason.startswith(sign) for reason in reasons))
    return "; ".join(hints)


def _parted(rejects: Sequence[Reject], sources: Sequence[Path]) -> str | None:
    """Pictures in one folder and their captions in another, and the command that brings them together."""
    pictures: dict[str, list[PurePosixPath]] = defaultdict(list)
    for reject in rejects:
        if reject.reason == NO_CAPTION and not reject.where:
            key = PurePosixPath(reject.key)
            pictures[key.name].append(key)
    texts = [reject for reject in rejects if reject.reason == NO_PICTURE and not reject.where]
    pairs = Counter[tuple[str, str]]()
    homes: set[str] = set()
    for text in texts:
        key = PurePosixPath(text.key)
        if key.name in pictures:
            picture = max(pictures[key.name], key=lambda picture: _common_tail(picture, key))
            tail = _common_tail(picture, key)
            pairs["/".join(picture.parts[:-tail]), "/".join(key.parts[:-tail])] += 1
            homes.add(picture.parent.as_posix())
    if 2 * pairs.total() < len(texts) or not texts:
        return None
    root = next((source for source in sources if (source.name or source.resolve().name) == texts[0].source), Path(texts[0].source))
    (images, captions), count = pairs.most_common(1)[0]
    of_images, of_captions = (shlex.quote(str(root / folder)) for folder in (images, captions))
    if 2 * count < len(texts):
        home, common = homes.pop(), PurePosixPath(captions).parts[0]
        if homes:
            return f"captions lie in other folders than their pictures, such as {captions} and {images}: put each next to its picture"
        there, here = shlex.quote(str(root / common)), shlex.quote(str(root / home))
        return (
            f"captions lie in {common} and pictures in {home}: bring them together, "
            f"`find {there} -name '*.txt' -exec cp {{}} {here} ';'`, and prepare {root / home}"
        )
    if images and captions:
        together = shlex.quote(f"{root}-together")
        return (
            f"captions lie in {captions} and pictures in {images}: bring them together, "
            f"`mkdir {together} && cp -r {of_images}/. {of_captions}/. {together}`, and prepare {together}"
        )
    apart, of = (of_images, "pictures") if images else (of_captions, "captions")
    return f"{of} lie in {images or captions} and the rest above it: bring them together, `mv {apart}/* {shlex.quote(str(root))}`"


def _astray(rejects: Sequence[Reject], sources: Sequence[Path]) -> str | None:
    """A table that lies in another folder than the pictures it names, and the command that puts it there."""
    pictures = {PurePosixPath(reject.key).name: reject.key for reject in rejects if reject.reason == NO_CAPTION}
    lost = [reject for reject in rejects if reject.reason == NO_PICTURE and reject.where]
    moves = Counter[tuple[str, str, str]]()
    for reject in lost:
        named, own = PurePosixPath(reject.key), PurePosixPath(pictures.get(PurePosixPath(reject.key).name, ""))
        tail = _common_tail(named, own)
        if tail:
            table = reject.where.partition(",")[0]
            moves[table, "/".join(named.parts[:-tail]), "/".join(own.parts[:-tail])] += 1
    if 2 * moves.total() <= len(lost):
        return None
    (table, here, there), _ = moves.most_common(1)[0]
    root = next((source for source in sources if (source.name or source.resolve().name) == lost[0].source), Path(lost[0].source))
    move = f"mv {shlex.quote(str(root / here / table))} {shlex.quote(str(root / there))}"
    return f"{table} lies in {here or '.'} and its pictures in {there or '.'}: bring them together, `{move}`"


def _common_tail(one: PurePosixPath, other: PurePosixPath) -> int:
    """How many of the last parts of two paths are the same."""
    pairs = list(zip(reversed(one.parts), reversed(other.parts)))
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), len(pairs))
