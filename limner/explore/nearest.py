"""Is it remembered or made? Generated pictures next to their nearest training pictures, on scales that real pictures give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from limner.core.abilities import Looks
from limner.core.errors import DataError, SettingsError, unknown_name
from limner.core.pictures import CaptionedPictures
from limner.core.trainable import Trainable
from limner.data.reduced import ReducedPictures
from limner.data.sheet import caption_grid
from limner.explore.captions import distinct_captions, drawn_captions, drawn_pictures, paintable, pool_of
from limner.features.network import to_float
from limner.features.registry import FEATURE_NETWORKS, load_feature_network
from limner.metrics.judge import to_tensor
from limner.model.requests import check_count
from limner.training.trained import trained_method

if TYPE_CHECKING:
    from limner.model import Model

Look = Callable[[Tensor], Tensor]
"""uint8 pictures [B, 3, R, R] -> features [B, D], on any device."""
Progress = Callable[[int, int, str], None]
"""(done, to do, what is being done)."""

PIXEL_SIDE = 16
ROWS = 8
"""Captions that are drawn where none are given."""
_CHUNK = 64


@dataclass(frozen=True)
class Neighbours:
    """The nearest pictures of each query, nearest first."""

    distances: NDArray[np.float32]
    """[Q, N] cosine distances, 0 for the same direction to 2 for the opposite one."""
    indices: NDArray[np.int64]
    """[Q, N] places in the split that was searched."""
    mirrored: NDArray[np.bool_]
    """[Q, N], whether the picture is this near when mirrored, as training may show it."""

    def __getitem__(self, rows: slice) -> Neighbours:
        return Neighbours(self.distances[rows], self.indices[rows], self.mirrored[rows])


@dataclass(frozen=True)
class Scale:
    """Distances of real pictures to their nearest training picture, for comparison."""

    name: str
    """Which real pictures, in the plural."""
    distances: NDArray[np.float32]
    """[H]."""

    @property
    def threshold(self) -> float:
        """What the nearest 1 % of these pictures stay below."""
        return float(np.quantile(self.distances, 0.01))

    def share_nearer(self, distances: NDArray[np.float32]) -> float:
        """The memorisation figure: the share of `distances` below the threshold, about 0.01 for pictures as new as these."""
        return float((distances < self.threshold).mean())

    def farther(self, distance: float) -> float:
        """The share of these pictures whose nearest training picture is farther than `distance`."""
        return float((self.distances > distance).mean())


@dataclass(frozen=True)
class Findings:
    """Pictures, their neighbours, and the scales to judge them by."""

    captions: list[str]
    """One a picture."""
    pictures: NDArray[np.uint8]
    """[Q, R, R, 3], generated."""
    neighbours: Neighbours
    generated: NDArray[np.float32]
    """[G], distances of the generated sample to its nearest training picture."""
    scales: list[Scale]
    """Held-out pictures, where there are any, and training pictures, each to its nearest other one."""
    training: CaptionedPictures
    """The split that was searched, at the model's resolution."""
    unseen_classes: bool
    """Whether no class of the held-out pictures is among those of the searched split."""
    captioned: bool = True
    """Whether captioned pictures alone were searched; all are for a model that reads no text, which was trained on all."""

    def figures(self) -> list[str]:
        """The scales in words, a sentence each."""
        medians = [f"{np.median(self.generated):.4f} for {len(self.generated):,} generated pictures"]
        shares = []
        for scale in self.scales:
            medians.append(f"{np.median(scale.distances):.4f} for {len(scale.distances):,} {scale.name}")
            share = 100 * scale.share_nearer(self.generated)
            shares.append(f"{share:.1f} % are nearer than the nearest 1 % of {scale.name} ({scale.threshold:.4f})")
        sentences = [f"Median distance to the nearest: {', '.join(medians)}.", f"Of the generated, {', '.join(shares)}."]
        if self.unseen_classes:
            sentences.append(
                f"The {self.scales[0].name} are of classes that {self.training.split} lacks, and lie farther off than new pictures of its "
                "own classes would: go by the last figure."
            )
        return sentences

    def note(self, row: int) -> str:
        """Where one picture's nearest distance stands on the scales."""
        distance = float(self.neighbours.distances[row, 0])
        return "nearer than " + ", ".join(f"{100 * scale.farther(distance):.0f} % of {scale.name}" for scale in self.scales)


def feature_space(name: str, run: Path | None = None, device: torch.device | str = "cpu") -> Look:
    """How pictures are seen: "discriminator" (of the run), "pixels", or a feature network as `load_feature_network` takes it.

    Raises SettingsError for an unknown name, and for a discriminator without a run or of a method that has none; CheckpointError for a run
    without a checkpoint.
    """
    if name == "pixels":
        return look_at_pixels
    if name == "discriminator":
        if run is None:
            raise SettingsError("only a run folder keeps its discriminator: give one, or --features garden, squeezenet=FILE or pixels")
        return look_with_method(trained_method(run).to(device))
    if name.partition("=")[0] not in FEATURE_NETWORKS:
        raise unknown_name("feature space", name, ["discriminator", "pixels", *FEATURE_NETWORKS])
    network = load_feature_network(name, device)
    return lambda pictures: network(pictures.to(device))[0]


def look_with_method(method: Trainable) -> Look:
    """The features of a method's discriminator. Raises SettingsError for one that does not look at pictures."""
    if not isinstance(method, Looks):
        title = method.title
        raise SettingsError(f"{title} has no discriminator that looks at pictures: give --features garden, squeezenet=FILE or pixels")
    device, look = next(method.parameters()).device, method.look
    return lambda pictures: look(to_float(pictures.to(device)))


def look_at_pixels(pictures: Tensor) -> Tensor:
    """Plain pixels in [-1, 1], reduced to 16x16, where small shifts count for little: [B, 768]."""
    return F.interpolate(to_float(pictures), size=(PIXEL_SIDE, PIXEL_SIDE), mode="bilinear", antialias=True, align_corners=False).flatten(1)


def remembered_or_made(
    model: Model,
    training: CaptionedPictures,
    held_out: CaptionedPictures | None,
    look: Look,
    captions: Sequence[str] = (),
    *,
    count: int = 5,
    pictures: int | None = None,
    sample: int = 500,
    seed: int = 0,
    mirror: bool = True,
    progress: Progress | None = None,
) -> Findings:
    """Paint captions and find the nearest training pictures of each picture.

    Args:
        training: What is searched; its captioned pictures alone where the model reads text, for no others were trained on. Pictures are
            cut in the middle where training crops at random.
        held_out: Real pictures that were not trained on, which give one scale; the training pictures' distances to each other give another,
            the better one where the held-out pictures are of classes that were not trained on.
        look: The features whose cosine distance is taken.
        captions: By default at most `ROWS` different captions of `held_out`, or of `training` where that is None.
        count: Nearest training pictures for each generated one.
        pictures: Generated pictures of each caption, by default 1, or `ROWS` where the model reads no text; they are those of
            `model.generate` with this seed.
        sample: How many pictures of held-out captions (of `training`, where there are none) are generated for the figures, and at most how
            many real ones they are compared with.
        mirror: Whether training mirrored pictures where the set allows it: then both orientations are compared.

    Raises SettingsError for captions that the model cannot read or counts below 1, DataError for splits without captions or a searched
    split of fewer than two pictures.
    """
    for name, value in (("--count", count), ("--pictures", pictures), ("--sample", sample)):
        if value is not None:
            check_count(name, value)
    source = training if held_out is None else held_out
    reads = model.reads_text
    pictures = pictures or (1 if reads else ROWS)
    if reads:
        captions = captions or paintable(model, distinct_captions(source, 8 * ROWS, seed))[:ROWS]
        painted_for = paintable(model, drawn_captions(source, sample, seed))
    else:
        captions = [""]
        painted_for = [""] * sample
    training = ReducedPictures(training, model.resolution)
    known = drawn_pictures(training, seed, captioned=reads)[:sample]
    if len(known) < 2:
        kind = "captioned picture" if reads else "picture"
        raise DataError(f"{training.name}/{training.split} holds one {kind}: nearest ones need at least 2 to choose from")
    texts = [caption for caption in captions for _ in range(pictures)]
    painted = model.pictures(texts, np.tile(np.arange(pictures), len(captions)), seed)
    with torch.inference_mode():
        features = [
            _seen(look, painted),
            _of_generated(model, painted_for, look, seed, progress),
            _of_real(training, known, look),
        ]
        if held_out is not None:
            held_out = ReducedPictures(held_out, model.resolution)
            features.append(_of_real(held_out, drawn_pictures(held_out, seed, captioned=reads)[:sample], look))
    lengths = [len(part) for part in features]
    but = np.full(sum(lengths), -1)
    but[sum(lengths[:2]) : sum(lengths[:3])] = known
    found = nearest(torch.cat(features), training, look, count, mirror=mirror, but=but, captioned=reads, progress=progress)
    shown, generated, others, *rest = np.split(found.distances[:, 0], np.cumsum(lengths)[:-1])
    scales = [Scale(f"{training.split} pictures to each other", others)]
    if held_out is not None:
        scales.insert(0, Scale(f"real {held_out.split} pictures", rest[0]))
    return Findings(
        captions=texts,
        pictures=painted,
        neighbours=found[: len(shown)],
        generated=generated,
        scales=scales,
        training=training,
        unseen_classes=held_out is not None and _share_no_class(training, held_out),
        captioned=reads,
    )


def _share_no_class(one: CaptionedPictures, other: CaptionedPictures) -> bool:
    if one.class_ids is None or other.class_ids is None:
        return False
    return not set(one.class_ids.tolist()) & set(other.class_ids.tolist())


def _of_generated(model: Model, captions: list[str], look: Look, seed: int, progress: Progress | None) -> Tensor:
    """Features of one picture of each caption, painted and forgotten chunk by chunk: [n, D]."""
    seen = []
    for start in range(0, len(captions), _CHUNK):
        part = captions[start : start + _CHUNK]
        seen.append(_seen(look, model.pictures(part, start + np.arange(len(part)), seed)))
        if progress is not None:
            progress(start + len(part), len(captions), "painting")
    return torch.cat(seen)


def _of_real(pictures: CaptionedPictures, indices: NDArray[np.int64], look: Look) -> Tensor:
    """Features of some real pictures: [n, D]."""
    return torch.cat([_seen(look, pictures.read(indices[start : start + _CHUNK])) for start in range(0, len(indices), _CHUNK)])


def _seen(look: Look, pictures: NDArray[np.uint8]) -> Tensor:
    """Features of stored pictures [n, R, R, 3], on the CPU and in float32: [n, D]."""
    return torch.cat([look(chunk).float().cpu() for chunk in to_tensor(pictures).split(_CHUNK)])


@torch.inference_mode()
def nearest(
    queries: Tensor,
    pictures: CaptionedPictures,
    look: Look,
    count: int = 5,
    *,
    mirror: bool = True,
    but: NDArray[np.int64] | None = None,
    captioned: bool = True,
    progress: Progress | None = None,
) -> Neighbours:
    """The `count` captioned pictures, or pictures of any kind, nearest to each query's features [Q, D], by cosine distance.

    Pictures are read, looked at and forgotten chunk by chunk: memory does not grow with their number. With `mirror`, a picture that may
    be mirrored is as near as the nearer of its two orientations. `but`: for each query a place that is left out, its own, or -1 for none.
    """
    queries = F.normalize(queries, dim=1)
    pool = pool_of(pictures, captioned)
    may_mirror = np.full(len(pictures), mirror and pictures.may_flip)
    if pictures.mirrorable is not None:
        may_mirror &= pictures.mirrorable
    best = torch.zeros(len(queries), 0), torch.zeros(len(queries), 0, dtype=torch.int64), torch.zeros(len(queries), 0, dtype=torch.bool)
    for start in range(0, len(pool), _CHUNK):
        rows = pool[start : start + _CHUNK]
        chunk = to_tensor(pictures.read(rows))
        distances = _distances(queries, look(chunk))  # [Q, n]
        mirrored = torch.zeros_like(distances, dtype=torch.bool)
        turned = torch.from_numpy(np.flatnonzero(may_mirror[rows]))
        if len(turned):
            others = torch.full_like(distances, torch.inf)
            others[:, turned] = _distances(queries, look(chunk[turned].flip(3)))
            mirrored = others < distances
            distances = torch.minimum(distances, others)
        if but is not None:
            distances.masked_fill_(torch.from_numpy(but[:, None] == rows), torch.inf)
        places = torch.from_numpy(rows).expand(len(queries), -1)
        joined = [torch.cat(parts, dim=1) for parts in zip(best, (distances, places, mirrored), strict=True)]
        kept = joined[0].topk(min(count, joined[0].shape[1]), dim=1, largest=False).indices
        best = joined[0].gather(1, kept), joined[1].gather(1, kept), joined[2].gather(1, kept)
        if progress is not None:
            progress(start + len(rows), len(pool), f"searching {pictures.name}/{pictures.split}")
    distances, places, mirrored = best
    return Neighbours(distances.numpy(), places.numpy(), mirrored.numpy())


def _distances(queries: Tensor, features: Tensor) -> Tensor:
    """1 - cosine of normalised queries [Q, D] with features [n, D]: [Q, n]."""
    return (1.0 - queries @ F.normalize(features.float().cpu(), dim=1).T).clamp_min_(0.0)


def strip(findings: Findings, space: str) -> Image.Image:
    """One row a generated picture: the picture, then its nearest training pictures with their distances. `space` names the features."""
    training, neighbours = findings.training, findings.neighbours
    rows, labels = [], []
    for row, picture in enumerate(findings.pictures):
        others, mirrored = training.read(neighbours.indices[row]), neighbours.mirrored[row]
        rows.append([picture, *(other[:, ::-1] if turned else other for other, turned in zip(others, mirrored))])
        distances = zip(neighbours.distances[row], mirrored)
        labels.append(["generated", *(f"{distance:.4f}{' mirrored' if turned else ''}" for distance, turned in distances)])
    searched = len(pool_of(training, findings.captioned))
    heading = [
        f"Generated pictures and the nearest of {searched:,} pictures of {training.name}/{training.split}, by cosine distance of {space}.",
        *findings.figures(),
    ]
    notes = [findings.note(row) for row in range(len(rows))]
    return caption_grid(rows, findings.captions, notes=notes, labels=labels, heading=heading, apart=1)
