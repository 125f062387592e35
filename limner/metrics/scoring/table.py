"""Scores as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from limner.metrics.scoring.protocol import Part, Protocol, Score

_COLUMNS = ("value", "+-", "chance", "shuffled", "real", "captions")


def table(scores: Sequence[Score]) -> str:
    """Scores by reference split, each attribute under its score, then notes and every score's protocol.

    chance: every value equally often. shuffled: the same pictures against each other's captions. real: what real pictures score. A column
    in which a split has nothing is left out, and so is what several protocols share, but for the first time.
    """
    blocks = []
    for place in dict.fromkeys((score.protocol.data, score.protocol.split) for score in scores):
        own = [score for score in scores if (score.protocol.data, score.protocol.split) == place]
        rows: list[tuple[str, ...]] = [(f"{place[0]}/{place[1]}", *_COLUMNS)]
        for score in own:
            arrow = "up" if score.higher_is_better else "down"
            whole = Part(value=score.value, error=score.error, chance=score.chance, shuffled=score.shuffled, real=score.real)
            rows.append((f"{score.name} ({arrow})", *_cells(whole)))
            rows += [(f"  {name}", *_cells(part)) for name, part in score.parts.items()]
        filled = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
        widths = {column: max(len(row[column]) for row in rows) for column in filled}
        lines = ["  ".join(row[i].rjust(width) if i else row[i].ljust(width) for i, width in widths.items()) for row in rows]
        lines.insert(1, "-" * len(lines[0]))
        lines += [f"note: {score.name}: {note}" for score in own for note in score.notes]
        lines += _protocols([score.protocol for score in own])
        blocks.append("\n".join(line.rstrip() for line in lines))
    return "\n\n".join(blocks)


def _protocols(protocols: Sequence[Protocol]) -> Iterator[str]:
    """What several protocols share stands once, above what each has of its own."""
    groups: dict[str, dict[str, Protocol]] = {}
    for protocol in protocols:
        groups.setdefault(protocol.shared(), {})[protocol.own()] = protocol
    for shared, group in groups.items():
        if len(group) == 1:
            yield from (f"protocol: {protocol.line()}" for protocol in group.values())
            continue
        yield f"protocol: {shared}"
        yield from (f"  {own}" for own in group)


def _cells(part: Part) -> tuple[str, ...]:
    numbers = (part.value, part.error, part.chance, part.shuffled, part.real)
    return (*("" if number is None else _short(number) for number in numbers), f"{part.count:,}" if part.count else "")


def _short(number: float) -> str:
    return f"{number:.2f}" if abs(number) >= 10 else f"{number:.4f}" if abs(number) < 0.01 else f"{number:.3f}"
