"""What a set of captioned pictures holds, in numbers: its words, its classes, what stands in it twice, and what is cut."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.core.pictures import CaptionedPictures
from limner.data.counterfactual import words_of_groups
from limner.data.sides import is_sided
from limner.text.words import MAXIMUM_WORDS, split_words

CHARACTERS = 201
"""What char-CNN-RNN reads of a caption, as `limner.text.char_cnn_rnn.LENGTH` has it, which would bring PyTorch with it."""
DAMSM_WORDS = 18
"""What DAMSM reads of a caption as published."""
THUMBNAIL = 12
"""Side, in pixels, at which pictures are compared."""
ALIKE = 4.0
"""Pictures are nearly alike whose thumbnails differ by no more than this, of 255 levels, in the root mean square."""
_COLOURS = words_of_groups("colours", "coloured")
_THINGS = words_of_groups(
    *("flower parts", "flower parts, plural", "bird parts", "bird parts, plural", "people", "people, plural", "animals", "vehicles"),
    "grounds",
)
_FUNCTION = frozenset(
    "a an the this that these those it its is are was be been being has have had with without and or but of on in at to from for by as "
    "into over under up down out off there which who whose what some all any no not very more most than also while his her he she they "
    "their them him i you we s t".split()
)
"""Words that say nothing of a picture."""


class Encoder(Protocol):
    """What is asked of a model's text encoder."""

    def was_cut(self, caption: str) -> bool:
        """Whether a caption is longer than it reads."""

    def unknown_words(self, caption: str) -> list[str]:
        """The words of a caption that it never met."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a model's text encoder reads the captions."""

    cut: int
    """Captions that it cuts."""
    with_unknown: int
    """Captions with words that it does not know."""
    unknown: dict[str, int]
    """Those words, with how many captions hold them."""


@dataclass(frozen=True, kw_only=True)
class Twins:
    """Pictures that stand in a set more than once."""

    equal: int
    """Pictures whose pixels are those of an earlier one."""
    near: int
    """Pictures nearly like an earlier one, but not equal to it."""
    across_splits: int
    """How many of both have the earlier picture in another split, so that a test asks for what was trained."""
    pairs: list[tuple[str, str]]
    """Some of them by name: the earlier one, the later one."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is counted of a set."""

    name: str
    split: str
    pictures: int
    captions: int
    captions_a_picture: tuple[int, float, int]
    """Fewest, mean and most."""
    words: dict[str, int]
    """How often each word is said, most frequent first."""
    colours: dict[str, int]
    """How many captions name each colour."""
    things: dict[str, int]
    """How many captions name parts of flowers and birds, people, animals, vehicles and grounds."""
    others: dict[str, int]
    """How many captions hold each of the other words that say something."""
    lengths: tuple[int, int, int, int]
    """Words of a caption: the fewest, the median, what nine of ten do not exceed, the most."""
    longest: str
    """The picture with the longest caption."""
    left: int
    """Captions with words such as left."""
    right: int
    over_words: dict[str, int]
    """Captions over so many words: 18, where DAMSM cuts them as published, and 48, where other word encoders do."""
    over_characters: int
    """Captions over 201 characters, which char-CNN-RNN cuts."""
    encoder: Reading | None
    """How the text encoder of a model reads the captions; None where no model was given."""
    equal_captions: int
    """Captions that an earlier one of another picture says word for word."""
    near_captions: int
    """Captions with the words of an earlier one of another picture in another order."""
    classes: dict[str, int] | None
    """Pictures of each class, most first; None without classes."""
    twins: Twins

    def as_json(self) -> dict[str, Any]:
        """All numbers."""
        return asdict(self)


def describe(
    pictures: CaptionedPictures,
    *,
    class_names: Sequence[str] | None = None,
    splits: Sequence[tuple[str, int]] = (),
    encoder: Encoder | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Description:
    """Count what a set holds.

    splits: names and sizes of the splits that it is made of, in their order. encoder: of a model, to count what it would cut.
    """
    tell = progress or (lambda done, total, text: None)
    words, in_captions, unknown = Counter[str](), Counter[str](), Counter[str]()
    cut = strangers = 0
    lengths: list[int] = []
    longest, equal, near, left, right, over_characters = "", 0, 0, 0, 0, 0
    said: dict[tuple[str, ...], int] = {}
    shuffled: dict[tuple[str, ...], int] = {}
    for index in range(len(pictures)):
        tell(index, len(pictures), "reading captions")
        for caption in pictures.captions(index):
            spoken = split_words(caption)
            words.update(spoken)
            in_captions.update(set(spoken))
            if len(spoken) > max(lengths, default=-1):
                longest = pictures.key(index)
            lengths.append(len(spoken))
            left += is_sided(spoken, "left")
            right += is_sided(spoken, "right")
            over_characters += len(caption) > CHARACTERS
            if encoder is not None:
                strange = set(encoder.unknown_words(caption))
                cut, strangers = cut + encoder.was_cut(caption), strangers + bool(strange)
                unknown.update(strange)
            text, bag = tuple(spoken), tuple(sorted(spoken))
            if said.setdefault(text, index) != index:
                equal += 1
            elif shuffled.setdefault(bag, index) != index:
                near += 1
    counts = pictures.caption_counts
    lines = np.asarray(lengths or [0])
    ranked = dict(sorted(words.items(), key=lambda item: (-item[1], item[0])))
    return Description(
        name=pictures.name,
        split=pictures.split,
        pictures=len(pictures),
        captions=len(lengths),
        captions_a_picture=(int(counts.min()), float(counts.mean()), int(counts.max())),
        words=ranked,
        colours=_among(in_captions, _COLOURS),
        things=_among(in_captions, _THINGS),
        others=_among(in_captions, {word for word in words if word not in _FUNCTION | _COLOURS | _THINGS and len(word) > 1}),
        lengths=(int(lines.min()), int(np.median(lines)), int(np.quantile(lines, 0.9)), int(lines.max())),
        longest=longest,
        left=left,
        right=right,
        over_words={str(most): int((lines > most).sum()) for most in (DAMSM_WORDS, MAXIMUM_WORDS)},
        over_characters=over_characters,
        encoder=None if encoder is None else Reading(cut=cut, with_unknown=strangers, unknown=_among(unknown, set(unknown))),
        equal_captions=equal,
        near_captions=near,
        classes=_classes(pictures, class_names),
        twins=_twins(pictures, splits, tell),
    )


def _among(counts: Counter[str], words: frozenset[str] | set[str]) -> dict[str, int]:
    found = {word: count for word, count in counts.items() if word in words}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _classes(pictures: CaptionedPictures, names: Sequence[str] | None) -> dict[str, int] | None:
    if pictures.class_ids is None:
        return None
    ids, counts = np.unique(pictures.class_ids, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {names[int(ids[row])] if names else str(ids[row]): int(counts[row]) for row in order}


def _twins(pictures: CaptionedPictures, splits: Sequence[tuple[str, int]], tell: Callable[[int, int, str], None]) -> Twins:
    thumbnails = _thumbnails(pictures, tell)
    parts = np.repeat(np.arange(len(splits)), [count for _, count in splits]) if splits else np.zeros(len(pictures), np.int64)
    same = near = across = 0
    pairs: list[tuple[str, str]] = []
    for later, earlier in _first_alike(thumbnails, tell):
        both = pictures.read([earlier, later])
        equal = bool((both[0] == both[1]).all())
        same, near = same + equal, near + (not equal)
        across += int(parts[earlier] != parts[later])
        if len(pairs) < 100:
            pairs.append((pictures.key(earlier), pictures.key(later)))
    return Twins(equal=same, near=near, across_splits=across, pairs=pairs)


def _thumbnails(pictures: CaptionedPictures, tell: Callable[[int, int, str], None]) -> NDArray[np.float32]:
    """[N, 432] each picture at 12 x 12 px."""
    found = np.empty((len(pictures), THUMBNAIL * THUMBNAIL * 3), np.float32)
    for start in range(0, len(pictures), 256):
        tell(start, len(pictures), "reading pictures")
        for row, picture in enumerate(pictures.read(range(start, min(start + 256, len(pictures)))), start):
            small = Image.fromarray(picture).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
            found[row] = np.asarray(small, np.float32).reshape(-1)
    return found


def _first_alike(thumbnails: NDArray[np.float32], tell: Callable[[int, int, str], None]) -> Iterator[tuple[int, int]]:
    """Each picture that is alike to an earlier one, with the nearest of the earlier ones that is no twin itself.

    Two points are no nearer to each other than their projections are, so only those are compared that lie together along the directions in
    which the set spreads most.
    """
    count, reach = len(thumbnails), ALIKE * thumbnails.shape[1] ** 0.5
    if count < 2:
        return
    centred = thumbnails - thumbnails.mean(axis=0)
    _, _, directions = np.linalg.svd(centred[:: max(1, count // 2000)], full_matrices=False)
    along = centred @ directions[:8].T
    order = np.argsort(along[:, 0], kind="stable")
    sorted_along = along[order]
    starts = np.searchsorted(sorted_along[:, 0], along[:, 0] - reach)
    ends = np.searchsorted(sorted_along[:, 0], along[:, 0] + reach, side="right")
    taken = np.zeros(count, dtype=bool)
    for row in range(count):
        tell(row, count, "comparing pictures")
        window = slice(int(starts[row]), int(ends[row]))
        near = order[window][((sorted_along[window] - along[row]) ** 2).sum(axis=1) <= reach**2 * 1.001]
        near = near[(near < row) & ~taken[near]]
        if len(near):
            distances = np.sqrt(((thumbnails[near] - thumbnails[row]) ** 2).mean(axis=1))
            if distances.min() <= ALIKE:
                taken[row] = True
                yield row, int(near[np.lexsort((near, distances))[0]])


def sentences(about: Description, most: int = 12) -> Iterator[str]:
    """What a user should see of a description, line by line. most: words of a list that are shown."""
    listed = functools.partial(_listed, most=most)
    few, mean, many = about.captions_a_picture
    each = f"{few} a picture" if few == many else f"{few} to {many} a picture, {mean:.1f} on average"
    yield f"{about.name}, {about.split}: {about.pictures:,} pictures, {about.captions:,} captions ({each}), {len(about.words):,} words"
    if about.captions:
        short, median, nine, long = about.lengths
        yield f"lengths      {short} to {long} words, median {median}, nine of ten up to {nine}; the longest is of '{about.longest}'"
        yield f"words        {listed(about.words)}"
        once = [word for word, count in about.words.items() if count == 1]
        if once:
            yield f"said once    {len(once):,} of {len(about.words):,} words, such as {', '.join(once[:6])}: a model can hardly learn them"
        yield f"colours      {listed(about.colours) or 'none is named'}"
        yield f"things       {listed(about.things) or 'none that is known here (parts of flowers and birds, people, animals, vehicles)'}"
        yield f"other words  {listed(about.others) or 'none'}"
        yield f"sides        left in {about.left:,} captions, right in {about.right:,}"
        over = about.over_words
        yield (
            f"cut          {over[str(DAMSM_WORDS)]:,} captions have over {DAMSM_WORDS} words, where DAMSM cuts as published, "
            f"{over[str(MAXIMUM_WORDS)]:,} over {MAXIMUM_WORDS}, where the encoders that a run trains do (--text.maximum-words), and "
            f"{about.over_characters:,} over {CHARACTERS} characters, where char-CNN-RNN does"
        )
        if about.encoder is not None:
            read = about.encoder
            strange = f": {listed(read.unknown)}" if read.unknown else ""
            yield f"the model    cuts {read.cut:,} captions; {read.with_unknown:,} hold words that it does not know{strange}"
        yield (
            f"captions     {about.equal_captions:,} say what a caption of another picture says, word for word; "
            f"{about.near_captions:,} in another order"
        )
    if about.classes is None:
        yield "classes      none"
    else:
        first, last = next(iter(about.classes.items())), list(about.classes.items())[-1]
        yield f"classes      {len(about.classes):,}: the smallest '{last[0]}' ({last[1]:,}), the largest '{first[0]}' ({first[1]:,})"
    twins = about.twins
    example = f", such as '{twins.pairs[0][1]}' of '{twins.pairs[0][0]}'" if twins.pairs else ""
    across = f"; {twins.across_splits:,} of them are in another split than the first" if twins.across_splits else ""
    yield f"duplicates   {twins.equal:,} pictures are equal to an earlier one, {twins.near:,} nearly{example}{across}"


def _listed(counts: dict[str, int], most: int) -> str:
    shown = ", ".join(f"{word} {count:,}" for word, count in list(counts.items())[:most])
    return shown + (f", and {len(counts) - most:,} more" if len(counts) > most else "")
