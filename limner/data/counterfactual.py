"""Word substitution: captions of real pictures that are wrong in exactly one visual word.

Words stand in groups (colours, numbers, sizes, ...), and within a group in sets of near synonyms: "big" may become "tiny" but not
"large", for that would still be true. Positions, parts and everyday nouns have groups of their own, singular and plural apart, so that
the sentence stays a sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np

from limner.core import random
from limner.text.number_rows import numbers_of
from limner.text.words import split_words

_GROUPS: Mapping[str, str] = {
    "colours": "red crimson scarlet | orange peach | yellow golden gold | green olive | blue navy | turquoise teal aqua | "
    "purple violet lavender lilac mauve | pink rose fuchsia magenta | white cream ivory | black | brown tan beige | gray grey silver | "
    "maroon burgundy",
    "coloured": "reddish | yellowish | greenish | bluish | purplish | pinkish | whitish | blackish | brownish | grayish greyish",
    "lightness": "light pale | dark deep | bright vivid vibrant",
    "numbers": "two | three | four | five | six | seven | eight | nine | ten",
    "digits": "2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10",
    "amounts": "many several numerous multiple | few",
    "sizes": "big large huge giant | small tiny little mini | medium",
    "lengths": "long lengthy elongated | short stubby",
    "widths": "wide broad thick fat | narrow thin slender skinny",
    "shapes": "round rounded circular | pointed pointy sharp | square | triangular | oval | rectangular | curved hooked | straight flat",
    "patterns": "striped streaked | spotted speckled dotted mottled | checkered | plain solid",
    "textures": "smooth silky | rough coarse | fuzzy fluffy furry hairy | shiny glossy | ruffled wavy frilly | veined",
    "ages": "young | old elderly",
    "positions": "left | right",
    "heights": "top upper | bottom lower",
    "relations": "above over | below under beneath underneath | behind | beside",
    "sides": "inside | outside",
    "flower parts": "petal | leaf | stem stalk | stigma pistil | stamen anther filament | sepal | bud",
    "flower parts, plural": "petals | leaves | stems stalks | stigmas pistils | stamens anthers filaments | sepals | buds",
    "bird parts": "beak bill | wing | belly abdomen | breast chest | crown | tail | head | neck nape | throat",
    "bird parts, plural": "wings | eyes | feet legs tarsuses tarsus | feathers | cheeks",
    "people": "man guy | woman lady | boy | girl | baby",
    "people, plural": "men | women | boys | girls",
    "animals": "dog puppy | cat kitten | horse | cow | sheep | bird | bear | elephant | giraffe | zebra",
    "vehicles": "car | bus | truck | train | boat | airplane plane | bicycle bike | motorcycle",
    "grounds": "grass | sand | snow | water",
}


def words_of_groups(*names: str) -> frozenset[str]:
    """All words of some of the groups."""
    return frozenset(word for name in names for word in _GROUPS[name].replace("|", " ").split())


def _sets() -> dict[str, list[tuple[frozenset[str], ...]]]:
    """For each word the groups it stands in, each as its sets of near synonyms."""
    found: dict[str, list[tuple[frozenset[str], ...]]] = {}
    for line in _GROUPS.values():
        group = tuple(frozenset(part.split()) for part in line.split("|"))
        for word in frozenset().union(*group):
            found.setdefault(word, []).append(group)
    return found


_SETS = _sets()


def replacements(word: str, others: Container[str] = (), known: Container[str] | None = None) -> list[str]:
    """Words that make a caption wrong in the place of `word`, in a fixed order.

    others: words of the caption; what they already say (in any synonym) is not offered, lest "pink and purple" become "pink and pink".
    known: words in use in the data; no others are offered.
    """
    offered = {
        candidate
        for group in _SETS.get(word, ())
        for synonyms in group
        if word not in synonyms and not any(synonym in others for synonym in synonyms)
        for candidate in synonyms
    }
    return sorted(candidate for candidate in offered if known is None or candidate in known)


def said(text: str) -> tuple[str, ...]:
    """What a caption says: its words, whose order makes no difference, or the row of numbers that it is, whose order does."""
    return (text,) if numbers_of(text) is not None else tuple(sorted(split_words(text)))


def true_changes(text: str, others: Iterable[str]) -> set[tuple[str, str]]:
    """Words of a caption, each with another word, by whose exchange it would say what one of the others says."""
    own, found = split_words(text), set[tuple[str, str]]()
    for other in others:
        words = split_words(other)
        if len(words) == len(own) and len({*words} ^ {*own}) <= 2:  # else more than one word differs
            old, new = Counter(own) - Counter(words), Counter(words) - Counter(own)
            if old.total() == 1:
                found.add((next(iter(old)), next(iter(new))))
    return found


def substitute(
    text: str, *draw_key: int, draw: int = 0, known: Mapping[str, int] | None = None, barred: Container[tuple[str, str]] = ()
) -> str | None:
    """The text with exactly one visual word changed to another of its group; None where it holds no such word.

    draw_key: integers (a seed, the picture, the caption) that decide the order of the changes; `draw` counts through them, changing
    a different word first, then to a different one. "a" and "an" before the word limit what may stand there.
    known: words in use in the data, with their counts; no others are put in, and frequent ones first, so that what is wrong cannot be told
    by how rare its words are. barred: words, each with another that must not be put in its place.
    """
    pieces = _pieces(text)
    words = [word for _, _, word in pieces]
    present = set(words)
    choices = []
    for number, (start, end, word) in enumerate(pieces):
        offered = [candidate for candidate in replacements(word, present, known) if (word, candidate) not in barred]
        if number and words[number - 1] in ("a", "an"):
            offered = [candidate for candidate in offered if (candidate[0] in "aeio") == (words[number - 1] == "an")]
        if offered:
            choices.append((start, end, offered))
    if not choices:
        return None
    places = random.permutation(len(choices), *draw_key, "which word")
    round_number, turn = divmod(draw, len(choices))
    start, end, offered = choices[int(places[turn])]
    order = _weighted_order([known[word] if known else 1 for word in offered], *draw_key, int(places[turn]))
    new = offered[order[round_number % len(offered)]]
    old = text[start:end]
    return text[:start] + (new.upper() if old.isupper() and len(old) > 1 else new.capitalize() if old[0].isupper() else new) + text[end:]


def _weighted_order(weights: Sequence[int], *draw_key: int) -> list[int]:
    """Places in the order in which weighted draws without replacement take them (Efraimidis and Spirakis, 2006)."""
    waits = -np.log1p(-random.uniform(*draw_key, "to which", np.arange(len(weights)))) / np.asarray(weights, dtype=np.float64)
    order: list[int] = np.argsort(waits, kind="stable").tolist()
    return order


def _pieces(text: str) -> list[tuple[int, int, str]]:
    """(start, end, word) of each word that `split_words` finds in the text as it is written."""
    lowered, place, pieces = text.lower(), 0, []
    for word in split_words(text):
        start = lowered.find(word, place)
        if start >= 0 and len(lowered) == len(text):  # a few letters change their length, or their spelling, when normalised
            place = start + len(word)
            pieces.append((start, place, word))
    return pieces
