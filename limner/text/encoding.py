"""Encoding many captions once, before training or scoring begins."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from limner.core.text import TextFeatures
from limner.text.encoder import TextEncoder


@torch.no_grad()
def encode_all(encoder: TextEncoder, captions: Sequence[str], chunk: int = 512, *, sentence_only: bool = False) -> TextFeatures:
    """Features of all captions, in their order, on the CPU, with the encoder in evaluation mode; the same captions give the same bits.

    Captions are encoded once each, in chunks of like length, so that little time goes into padding. Words are padded to the longest
    caption's length T and take B x T x word_width floats: pass `sentence_only` where a method reads the sentence alone.
    """
    if not captions:
        return TextFeatures(torch.zeros(0, encoder.sentence_width))
    distinct = sorted(dict.fromkeys(captions), key=len)
    training = encoder.training
    encoder.eval()
    try:
        parts = [_on_cpu(encoder(distinct[start : start + chunk]), sentence_only) for start in range(0, len(distinct), chunk)]
    finally:
        encoder.train(training)
    features = TextFeatures.cat(parts)
    places = {caption: place for place, caption in enumerate(distinct)}
    return features[torch.tensor([places[caption] for caption in captions])]


def _on_cpu(features: TextFeatures, sentence_only: bool) -> TextFeatures:
    return TextFeatures(features.sentence.cpu()) if sentence_only else features.to("cpu")
