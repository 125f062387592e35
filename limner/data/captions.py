"""Encoded captions of a split, ready for any batch."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core.files import cache_folder, keep_array, reading_arrays
from limner.core.pictures import CaptionedPictures
from limner.core.text import TextFeatures
from limner.text.encoder import TextEncoder
from limner.text.encoding import encode_all
from limner.text.registry import encoder_config

TABLE_BYTES = 1 << 30
"""All sentence embeddings of a split are kept where they fit in this much memory; else, and for words, captions are encoded anew."""

LISTED = 1_000_000
"""Captions and changed forms of a split, at most, that are encoded before training, which takes a minute; more are encoded by batch."""

SLOW_SECONDS = 20.0
"""Sentences whose encoding takes longer are kept in the user's cache, for the next run that reads the same captions."""


class CaptionFeatures:
    """Features of every caption of a split by a frozen encoder, and of `counterfactuals` changed forms of each.

    words: whether word features are wanted too; they are encoded batch by batch.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        pictures: CaptionedPictures,
        *,
        counterfactuals: int = 0,
        words: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.encoder, self.pictures, self.counterfactuals = encoder.eval(), pictures, counterfactuals
        self.device = torch.device(device)
        counts = pictures.caption_counts
        self.first = np.cumsum(counts) - counts  # [N]: number of a picture's first caption
        self.total = int(counts.sum())
        self.table: Tensor | None = None  # [M, D]: a row for each caption that differs from the others
        width = max(encoder.sentence_width, 1) * 4
        if not words and self.total * (1 + counterfactuals) <= LISTED and self.total * width <= TABLE_BYTES:
            places: dict[str, int] = {}
            rows = np.array([places.setdefault(caption, len(places)) for caption in self._every_caption()], dtype=np.int64)
            if len(places) * width <= TABLE_BYTES:
                self.rows, self.texts = rows, tuple(places)
                self.table = kept_sentences(encoder, self.texts).to(self.device)

    def of(self, indices: NDArray[np.int64], numbers: NDArray[np.int64]) -> TextFeatures:
        """Features of caption `numbers[b]` of picture `indices[b]`, B rows on the device, with the captions themselves."""
        if self.table is not None:
            return self._rows(self.first[indices] + numbers)
        return self._encode([self.pictures.captions(int(index))[number] for index, number in zip(indices, numbers, strict=True)])

    def changed(self, indices: NDArray[np.int64], numbers: NDArray[np.int64], draws: NDArray[np.int64]) -> tuple[TextFeatures, ...]:
        """Features of K changed forms of each of those captions, B rows each, with the changed captions themselves.

        draws: which forms, [K, B], each below `counterfactuals`. Without a table, the K x B captions are encoded as one batch.
        """
        if self.table is not None:
            return tuple(self._rows(self.total + (self.first[indices] + numbers) * self.counterfactuals + row) for row in draws)
        of_each = len(draws)
        changed = self.pictures.counterfactuals(indices.repeat(of_each), numbers.repeat(of_each), draws.T.ravel())  # picture by picture
        places = {caption: place for place, caption in enumerate(dict.fromkeys(changed))}
        found = self._encode(list(places))
        return tuple(found[torch.tensor([places[caption] for caption in changed[form::of_each]])] for form in range(of_each))

    def _rows(self, numbers: NDArray[np.int64]) -> TextFeatures:
        """Features of captions by their numbers, those of the changed forms after those of the captions themselves."""
        assert self.table is not None
        rows = self.rows[numbers]
        return TextFeatures(self.table[torch.from_numpy(rows).to(self.device)], captions=tuple(self.texts[row] for row in rows.tolist()))

    @torch.no_grad()
    def _encode(self, captions: list[str]) -> TextFeatures:
        return self.encoder(captions).to(self.device).with_captions(captions)

    def _every_caption(self) -> list[str]:
        counts = self.pictures.caption_counts
        captions = [caption for index in range(len(self.pictures)) for caption in self.pictures.captions(index)]
        if self.counterfactuals:
            indices = np.repeat(np.arange(len(self.pictures)), counts)
            numbers = np.arange(self.total) - self.first[indices]
            draws = np.tile(np.arange(self.counterfactuals), self.total)
            captions += self.pictures.counterfactuals(indices.repeat(self.counterfactuals), numbers.repeat(self.counterfactuals), draws)
        return captions


def kept_sentences(encoder: TextEncoder, captions: Sequence[str]) -> Tensor:
    """Sentence embeddings [N, D] of captions, on the CPU: from the cache, where the same encoder has read them before, or else anew."""
    digest = hashlib.sha256(json.dumps([encoder_config(encoder), captions], ensure_ascii=False).encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    place = cache_folder() / "sentences" / f"{digest.hexdigest()[:24]}.npy"
    if place.exists():
        try:
            with reading_arrays():
                found = torch.from_numpy(np.load(place, allow_pickle=False))
            if found.shape == (len(captions), encoder.sentence_width):
                return found
        except (OSError, ValueError):
            pass  # damaged: encoded again below
    start = time.monotonic()
    sentences = encode_all(encoder, captions, sentence_only=True).sentence
    if time.monotonic() - start > SLOW_SECONDS:
        keep_array(place, sentences.numpy())
    return sentences
