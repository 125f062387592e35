"""Failure cases: the captions whose pictures a judge likes least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from limner.core.errors import SettingsError
from limner.core.pictures import CaptionedPictures
from limner.data.garden import ATTRIBUTES
from limner.data.sheet import contact_sheet
from limner.explore.captions import distinct_captions, paintable
from limner.features.garden_judge import AttributeJudge, load_judge
from limner.features.network import to_float
from limner.metrics.faithfulness import UNNAMED, named_codes
from limner.metrics.judge import to_tensor
from limner.metrics.scoring.matching import MatchingJudge
from limner.model.requests import check_count

if TYPE_CHECKING:
    from limner.model import Model

Scorer = Callable[[list[str], Tensor], Tensor]
"""(captions, uint8 pictures [B, 3, H, W]) -> scores [B], higher where they fit better."""
Remark = Callable[[str, NDArray[np.uint8], float], list[str]]
"""(caption, picture [H, W, 3], score) -> what to say under it."""
Progress = Callable[[int, int, str], None]
"""(done, to do, what is being done)."""

_CHUNK = 64
_COLUMNS = 4
_NOUNS = {"count": " petals", "centre": " centre"}
"""Attributes whose values do not say what they are values of."""


@dataclass(frozen=True)
class Case:
    """A caption, what the model painted of it, and how the judge liked that."""

    caption: str
    picture: NDArray[np.uint8]
    """[H, W, 3]; to paint it again: `model.pictures([caption], [number], seed)`."""
    score: float
    number: int
    """Its sample number, which with the seed decides its noise."""
    remarks: list[str]


@dataclass(frozen=True)
class Failures:
    """The worst cases, worst first, and what was judged in all."""

    cases: list[Case]
    judged: int
    """Captions that were painted and judged."""
    mean: float
    """Their mean score."""
    source: str
    """Where the captions are from, as in "garden/test"."""
    unread: int = 0
    """Captions that were drawn and not painted, because the model knows none of their words."""

    def figures(self) -> str:
        """What the worst are the worst of, in a sentence."""
        unread = f" {self.unread:,} more hold no word that the model knows, and were not painted." if self.unread else ""
        return (
            f"The {len(self.cases)} of {self.judged:,} captions of {self.source} whose pictures score lowest, worst first. "
            f"Mean score of all: {self.mean:.3f}.{unread}"
        )


def worst(
    model: Model,
    pictures: CaptionedPictures,
    score: Scorer,
    *,
    remark: Remark | None = None,
    count: int = 16,
    captions: int = 500,
    seed: int = 0,
    progress: Progress | None = None,
) -> Failures:
    """Paint captions of a split, each once, and keep those that score lowest.

    captions: how many are painted and judged, at most; a split may hold fewer that differ.
    score: higher is better; of equal scores the caption drawn first comes first.
    remark: what to say of a case; by default its score. Raises SettingsError for counts below 1, or a score that is not a number.
    """
    for name, value in (("--count", count), ("--captions", captions)):
        check_count(name, value)
    drawn = distinct_captions(pictures, captions, seed)
    texts = paintable(model, drawn)
    captions = len(texts)
    kept: list[tuple[float, int, NDArray[np.uint8]]] = []
    total = 0.0
    for start in range(0, captions, _CHUNK):
        part = texts[start : start + _CHUNK]
        painted = model.pictures(part, start + np.arange(len(part)), seed)
        with torch.inference_mode():
            scores = score(part, to_tensor(painted)).double().cpu()
        if scores.shape != (len(part),) or not bool(torch.isfinite(scores).all()):
            raise SettingsError(f"the judge gave {tuple(scores.shape)} scores, or some that are not numbers, for {len(part)} pictures")
        total += float(scores.sum())
        kept += [(value, start + row, painted[row]) for row, value in enumerate(scores.tolist())]
        kept = sorted(kept, key=lambda case: case[:2])[:count]
        if progress is not None:
            progress(start + len(part), captions, "painting and judging")
    remark = remark or _score_alone
    cases = [Case(texts[number], picture, value, number, remark(texts[number], picture, value)) for value, number, picture in kept]
    return Failures(cases, captions, total / captions, f"{pictures.name}/{pictures.split}", len(drawn) - captions)


def _score_alone(caption: str, picture: NDArray[np.uint8], score: float) -> list[str]:
    return [f"score {score:.3f}"]


def page(failures: Failures) -> Image.Image:
    """The cases as a grid: picture, caption, remarks."""
    cases = failures.cases
    pictures, captions, notes = [case.picture for case in cases], [case.caption for case in cases], [case.remarks for case in cases]
    return contact_sheet(pictures, captions, _COLUMNS, notes=notes, heading=[failures.figures()])


class MatchingScore:
    """Scores pictures by an image-text matching model: the share of other captions that fit the picture less than its own does.

    0.5 is chance. A model's own similarities would not do: some captions fit everything better than others do. A caption that reads like
    its own is left out; where no other is left the score is 1.
    """

    def __init__(self, model: MatchingJudge, others: Sequence[str]) -> None:
        self.model, self.others = model, list(dict.fromkeys(others))
        self._embedded = model.embed_captions(self.others)  # [C, D]

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str], pictures: Tensor) -> Tensor:
        """(B captions, uint8 [B, 3, H, W]) -> [B], from 0 to 1."""
        shown = self.model.embed_pictures(to_float(pictures))
        own = self.model.similarity(shown, self.model.embed_captions(list(captions))).diagonal()[:, None]  # [B, 1]
        others = self.model.similarity(shown, self._embedded)  # [B, C]
        differs = torch.tensor([[caption != other for other in self.others] for caption in captions], device=others.device)
        count = differs.sum(1)
        share = ((others < own) & differs).sum(1) / count.clamp_min(1)
        return torch.where(count > 0, share, torch.ones_like(share))


class GardenScore:
    """Scores garden pictures: the share of the attributes that the caption names and the judge reads in the picture.

    Of two pictures with equal shares, that whose named attributes the judge gives the higher mean probability scores higher, by less than
    0.01: no two different shares of six attributes lie as close. A caption that names nothing the judge could miss scores 1.
    """

    TIE = 0.01

    def __init__(self, judge: AttributeJudge | None = None) -> None:
        self.judge = judge or load_judge()

    @torch.inference_mode()
    def __call__(self, captions: Sequence[str], pictures: Tensor) -> Tensor:
        """(B captions, [B, 3, H, W]) -> [B], from 0 to 1."""
        named = torch.from_numpy(named_codes(captions))  # [B, 6]
        reading = self.judge.read(pictures.to(next(self.judge.parameters()).device))
        probabilities = torch.zeros(named.shape, dtype=torch.float64)
        right = torch.zeros(named.shape, dtype=torch.float64)
        for column, name in enumerate(ATTRIBUTES):
            logits = reading.logits[name].double().cpu()
            asked = named[:, column].clamp_min(0)
            probabilities[:, column] = logits.softmax(1).gather(1, asked[:, None]).squeeze(1)
            right[:, column] = (logits.argmax(1) == asked).double()
        weights = (named != UNNAMED).double()
        count = weights.sum(1)
        share, probability = ((values * weights).sum(1) / count.clamp_min(1) for values in (right, probabilities))
        scores = (1 - self.TIE) * share + self.TIE * probability
        return torch.where(count > 0, scores, torch.ones_like(scores))

    def remark(self, caption: str, picture: NDArray[np.uint8], score: float) -> list[str]:
        """How many of the named attributes were read, and what was read in place of the others."""
        (named,) = named_codes([caption])
        codes = self.judge.read(to_tensor(picture[None]).to(next(self.judge.parameters()).device)).codes()
        asked = {name: code for name, code in zip(ATTRIBUTES, named.tolist()) if code != UNNAMED}
        missed = [name for name, code in asked.items() if int(codes[name]) != code]
        words = [
            f"asked {ATTRIBUTES[name][asked[name]]}{_NOUNS.get(name, '')}, read {ATTRIBUTES[name][int(codes[name])]}" for name in missed
        ]
        return [f"{len(asked) - len(missed)} of {len(asked)} attributes right", *words]
