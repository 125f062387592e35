"""Does a matching model find the right caption for a picture, and the right pictures for a class?

R-precision (Xu et al., AttnGAN, CVPR 2018, arXiv:1711.10485) lets one true caption compete with 99 wrong ones. Its published numbers cannot
be compared, because wrong captions were drawn in different ways; here are two, each under its own name:

- `r-precision` (strict): 99 different captions of other pictures, none of them the true caption's text; on the garden each contradicts the
  true one in at least one attribute that both name. Equal similarities share the hit.
- `r-precision-as-published`: DM-GAN's release (Zhu et al., CVPR 2019, arXiv:1904.01310): captions of other classes, drawn with
  replacement, so that some may be alike; a tie counts as a hit; the mean over 10 chunks of the shuffled pictures, each without its last.

AP@k and top-1 are char-CNN-RNN's evaluation (Reed et al., CVPR 2016, arXiv:1605.05395): a class is the mean embedding of its captions;
AP@k is the share of a class's own among the k pictures that fit it best, top-1 the share of pictures whose own class fits best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.core.errors import SettingsError
from limner.metrics.faithfulness import UNNAMED, named_codes
from limner.metrics.scoring.matching import MatchingJudge
from limner.metrics.scoring.metric import Figure, Found, Metric, ScoringTask
from limner.metrics.scoring.protocol import Part
from limner.text.words import plain_words

WRONG = 99
CHUNKS = 10
DEPTHS = (1, 5, 10, 50)
CAPTIONS_A_CLASS = 200
"""Captions at the most whose mean stands for a class."""
_BLOCK = 512
_DRAWS = 1024


def hits(true: Tensor, wrong: Tensor, ties: str = "shared") -> NDArray[np.float64]:
    """[N] similarities of true captions against [N, 99] of wrong ones: [N] 1 where the true one is first, else 0.

    ties: "shared" gives 1 / (1 + n) where n wrong ones are equally good, so that a model that cannot tell scores by chance; "won" gives 1.
    """
    first = (wrong <= true[:, None]).all(1)
    equal = (wrong == true[:, None]).sum(1) if ties == "shared" else torch.zeros(len(true))
    return (first / (1.0 + equal)).double().numpy()


def chunked(found: NDArray[np.float64], chunks: int = CHUNKS) -> tuple[float, float]:
    """Mean and (population) deviation over chunks [i n : (i + 1) n - 1], n = N / chunks, as DM-GAN's release slices them."""
    size = len(found) // chunks
    means = [found[i * size : (i + 1) * size - 1].mean() for i in range(chunks)]
    return float(np.mean(means)), float(np.std(means))


class _RPrecision(Metric):
    """Wrong captions are chosen before the first picture, so that a set too small for them is refused at once."""

    needs = frozenset({"matching", "captions"})
    keeps = frozenset({"embeddings", "captions"})
    ties: ClassVar[str]

    def __init__(self, task: ScoringTask) -> None:
        super().__init__(task)
        chosen = [self.wrong(number) for number in range(task.count)]
        self.tested = np.array([number for number, wrong in enumerate(chosen) if len(wrong) == WRONG], dtype=np.int64)
        if not len(self.tested):
            raise SettingsError(f"{self.name} finds no caption with {WRONG} wrong ones among {task.count}: raise --count, or leave it out")
        self.wrong_ones = torch.from_numpy(np.stack([chosen[number] for number in self.tested.tolist()]))

    def wrong(self, number: int) -> NDArray[np.int64]:
        """The numbers of the 99 pictures whose captions are wrong for this one, or fewer where there are no more."""
        raise NotImplementedError

    def found_hits(self, found: Found) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Hits [N] of generated pictures, and [M] of the real pictures of the same captions, where they are."""
        captions = found.generated.tensor("captions")
        real = self._hits(found.real.tensor("embeddings"), captions) if self.task.painted else None
        return self._hits(found.generated.tensor("embeddings"), captions), real

    def _hits(self, pictures: Tensor, captions: Tensor) -> NDArray[np.float64]:
        assert self.task.matching is not None
        tested = torch.from_numpy(self.tested[self.tested < len(pictures)])
        parts = [np.empty(0)]
        for start in range(0, len(tested), _BLOCK):
            numbers = tested[start : start + _BLOCK]
            similar = compare(self.task.matching, pictures[numbers], captions)  # [n, N]
            own = similar[torch.arange(len(similar)), numbers]
            wrong = self.wrong_ones[start : start + len(numbers)]  # there may be fewer real pictures than captions
            parts.append(hits(own, similar.gather(1, wrong), self.ties))
        return np.concatenate(parts)

    def left_out(self) -> tuple[str, ...]:
        """A note on captions for which too few wrong ones were found."""
        missing = self.task.count - len(self.tested)
        return (
            (f"{missing:,} captions had fewer than {WRONG} wrong ones here and were left out: a larger --count finds more",)
            if missing
            else ()
        )


class RPrecision(_RPrecision):
    """R-precision: how often a picture is nearer to its own caption than to captions that do not fit it; ties are shared."""

    name: ClassVar[str] = "r-precision"
    ties = "shared"

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        if task.count <= WRONG:
            fix = f"--count {WRONG + 1} at least"
            return f"{cls.name} sets {WRONG} wrong captions against each true one, and there are {task.count} pictures: {fix}"
        return None

    def __init__(self, task: ScoringTask) -> None:
        assert task.captions is not None
        texts: dict[str, int] = {}
        for number, caption in enumerate(task.captions):
            texts.setdefault(caption, number)
        self._pool = np.array(list(texts.values()))  # one number for each different text
        self._text = np.unique([plain_words(caption) for caption in task.captions], return_inverse=True)[1]  # a number for each reading
        self._codes = named_codes(task.captions) if task.pictures.holds == "attributes" else None
        super().__init__(task)

    def wrong(self, number: int) -> NDArray[np.int64]:
        seed, size = self.task.seed, len(self._pool)
        if size > _DRAWS:  # enough to find 99 among; only where they are not, the whole pool is put in order
            draws = random.integers(size, seed, "r-precision", number, np.arange(_DRAWS))
            found = self._first_wrong(number, draws[np.sort(np.unique(draws, return_index=True)[1])])
            if len(found) == WRONG:
                return found
        return self._first_wrong(number, random.permutation(size, seed, "r-precision", number))

    def _first_wrong(self, number: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first 99 of the pool's places that hold a wrong caption."""
        others, indices = self._pool[places], self.task.indices
        wrong = (self._text[others] != self._text[number]) & ((indices[others] != indices[number]) | (indices[number] < 0))
        if self._codes is not None:
            mine, theirs = self._codes[number], self._codes[others]
            wrong &= ((mine != UNNAMED) & (theirs != UNNAMED) & (mine != theirs)).any(1)
        return others[wrong][:WRONG]

    def figures(self, found: Found) -> list[Figure]:
        mine, real = self.found_hits(found)
        value = float(mine.mean())
        kind = "contradicting the true one" if self._codes is not None else "of other pictures"
        return [
            Figure(
                name=self.name,
                value=value,
                error=(value * (1 - value) / len(mine)) ** 0.5,
                chance=1 / (1 + WRONG),
                real=float(real.mean()) if real is not None and len(real) else None,
                higher_is_better=True,
                implementation="limner: strict, ties share the hit",
                network="matching",
                settings={"wrong captions": f"{WRONG} different ones of this evaluation, {kind}", "tested": len(mine)},
                notes=self.left_out(),
            )
        ]


class RPrecisionAsPublished(_RPrecision):
    """R-precision as AttnGAN's authors count it: captions of other classes, and ties are won."""

    name: ClassVar[str] = "r-precision-as-published"
    ties = "won"

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        if task.classes is None or len(np.unique(task.classes)) < 2:
            return f"{cls.name} draws captions of other classes, and '{task.pictures.name}' has none: take r-precision"
        if task.count < 2 * CHUNKS:
            return f"{cls.name} takes {CHUNKS} chunks, each without its last picture: --count {2 * CHUNKS} at least"
        return None

    def wrong(self, number: int) -> NDArray[np.int64]:
        classes, seed = self.task.classes, self.task.seed
        assert classes is not None
        draws = random.integers(len(classes), seed, "r-precision as published", number, np.arange(_DRAWS))
        others = draws[classes[draws] != classes[number]][:WRONG]
        if len(others) < WRONG:  # nearly all are of one class
            pool = np.flatnonzero(classes != classes[number])
            others = pool[random.integers(len(pool), seed, "r-precision as published", number, np.arange(WRONG))]
        return others

    def figures(self, found: Found) -> list[Figure]:
        mine, real = self.found_hits(found)
        value, deviation = self._chunked(mine)
        return [
            Figure(
                name=self.name,
                value=value,
                error=deviation,
                chance=1 / (1 + WRONG),
                real=self._chunked(real)[0] if real is not None and len(real) >= 2 * CHUNKS else None,
                higher_is_better=True,
                implementation=f"limner: as DM-GAN's release, {CHUNKS} chunks without their last picture, ties count as hits",
                network="matching",
                settings={"wrong captions": f"{WRONG} of other classes, with replacement"},
            )
        ]

    def _chunked(self, rows: NDArray[np.float64]) -> tuple[float, float]:
        return chunked(rows[random.permutation(len(rows), self.task.seed, "chunks")])


def compare(matching: MatchingJudge, pictures: Tensor, captions: Tensor) -> Tensor:
    """The matching model's similarities [P, C] of embeddings, on the CPU."""
    with torch.no_grad():
        return matching.similarity(pictures, captions).detach().float().cpu()


def without_captions(name: str, task: ScoringTask) -> str | None:
    """Why a score by the captions of classes cannot be taken: pictures of a folder may be of a class that the split knows nothing of."""
    known, pictures = task.pictures.class_ids, task.pictures
    assert known is not None and task.classes is not None
    foreign = int((~np.isin(task.classes, known[pictures.caption_counts > 0])).sum())
    if not foreign:
        return None
    place = f"{pictures.name}/{pictures.split}"
    return f"{name} knows classes by their captions, and {foreign:,} pictures are of classes without any in {place}: take another --split"


def class_texts(task: ScoringTask) -> tuple[NDArray[np.int64], Tensor]:
    """The classes [C] of the reference split, and for each the mean embedding [C, D] of its captions, `CAPTIONS_A_CLASS` at the most."""
    pictures, matching = task.pictures, task.matching
    assert pictures.class_ids is not None and matching is not None
    classes, means = [], []
    for class_id in np.unique(pictures.class_ids).tolist():
        members = np.flatnonzero((pictures.class_ids == class_id) & (pictures.caption_counts > 0))
        members = members[random.permutation(len(members), task.seed, "class captions", class_id)]
        captions: list[str] = []
        for index in members.tolist():
            captions += pictures.captions(index)
            if len(captions) >= CAPTIONS_A_CLASS:
                break
        if captions:
            classes.append(class_id)
            with torch.no_grad():
                means.append(matching.embed_captions(captions[:CAPTIONS_A_CLASS]).float().cpu().mean(0))
    return np.array(classes, dtype=np.int64), torch.stack(means)


def class_retrieval(similar: Tensor, own: NDArray[np.int64], depths: Sequence[int]) -> tuple[dict[int, float], float]:
    """AP@k for every depth k, and top-1: from similarities [N, C] of pictures and classes, and each picture's own class [N], a column.

    A class without pictures is left out of AP's mean; ties go to the earlier picture or class.
    """
    right = torch.from_numpy(own)
    best = (similar.argmax(1) == right).double().mean()
    order = similar.argsort(dim=0, descending=True, stable=True)  # [N, C] pictures, best first
    present = [column for column in range(similar.shape[1]) if (right == column).any()]
    precision = {
        depth: float(np.mean([float((right[order[:depth, column]] == column).double().mean()) for column in present])) for depth in depths
    }
    return precision, float(best)


class ClassRetrieval(Metric):
    """AP@k and top-1; k is the largest of 1, 5, 10 and 50 of which every class has as many pictures."""

    name: ClassVar[str] = "ap"
    needs = frozenset({"matching"})
    keeps = frozenset({"embeddings"})

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        if task.classes is None or task.pictures.class_ids is None or (task.classes < 0).any() or len(np.unique(task.classes)) < 2:
            return f"ap ranks pictures by class, and '{task.pictures.name}' has no two classes: leave it out"
        return without_captions(cls.name, task)

    def figures(self, found: Found) -> list[Figure]:
        classes = self.task.classes
        assert classes is not None and self.task.matching is not None
        names, texts = class_texts(self.task)
        sides = [classes, *([classes[: self.task.reference_count]] if self.task.painted else [])]
        fewest = min(int(np.unique(side, return_counts=True)[1].min()) for side in sides)  # a class may have fewer real pictures
        depths = tuple(depth for depth in DEPTHS if depth <= fewest)
        mine, best = self._retrieved(found.generated.tensor("embeddings"), names, texts, depths)
        real, real_best = None, None
        if self.task.painted:
            real, real_best = self._retrieved(found.real.tensor("embeddings")[: len(classes)], names, texts, depths)
        chance = 1 / len(names)
        settings: dict[str, int | float | str] = {"classes": len(names), "captions a class": f"at most {CAPTIONS_A_CLASS}"}
        return [
            Figure(
                name=self.name,
                value=mine[depths[-1]],
                chance=chance,
                real=real[depths[-1]] if real else None,
                parts={f"ap@{depth}": Part(value=mine[depth], chance=chance, real=real[depth] if real else None) for depth in depths},
                higher_is_better=True,
                implementation="limner: class-level AP@k as char-CNN-RNN's evaluation",
                network="matching",
                settings={"k": depths[-1], **settings},
            ),
            Figure(
                name="top-1",
                value=best,
                error=(best * (1 - best) / len(classes)) ** 0.5,
                chance=chance,
                real=real_best,
                higher_is_better=True,
                implementation="limner: share of pictures whose own class fits best, as char-CNN-RNN's evaluation",
                network="matching",
                settings=settings,
            ),
        ]

    def _retrieved(
        self, pictures: Tensor, names: NDArray[np.int64], texts: Tensor, depths: Sequence[int]
    ) -> tuple[dict[int, float], float]:
        classes, matching = self.task.classes, self.task.matching
        assert classes is not None and matching is not None
        parts = [compare(matching, pictures[start : start + _BLOCK], texts) for start in range(0, len(pictures), _BLOCK)]
        return class_retrieval(torch.cat(parts), np.searchsorted(names, classes[: len(pictures)]), depths)
