"""More words for a text encoder that is trained already: what it knew keeps its meaning to the bit, and new words begin somewhere sensible.

A word begins at the mean of known words that are likely to mean something like it:

- those that a pretrained encoder puts nearest, where one is given (`limner.text.bert`);
- else a known word that is spelled nearly alike, such as "petal" next to "petals";
- else nothing is known of it, and it begins at the mean of all words, with the deviation that they have, so that no two begin alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from limner.core import random
from limner.core.errors import SettingsError
from limner.text.bag_of_words import BagOfWords
from limner.text.encoder import TextEncoder
from limner.text.encoding import encode_all
from limner.text.lstm import LSTMEncoder, Vocabulary
from limner.text.recurrent import RecurrentEncoder
from limner.text.standardized import Standardized
from limner.text.tokenizers import WordTokenizer
from limner.text.words import UNKNOWN_WORD, nearest_words

NEAREST = 3
"""Known words whose mean a new word begins as, where a pretrained encoder says which are near."""

Extensible = RecurrentEncoder | BagOfWords | LSTMEncoder
"""Encoders with an embedding for each word."""


def new_words(encoder: TextEncoder, captions: Iterable[str]) -> list[str]:
    """The words of captions that an encoder does not know, the most frequent first."""
    counts = Counter(word for caption in captions for word in encoder.words(caption) if UNKNOWN_WORD not in word)
    unknown = {word for word in counts if encoder.unknown_words(word)}
    return sorted(unknown, key=lambda word: (-counts[word], word))


def extend(encoder: TextEncoder, words: Sequence[str], pretrained: TextEncoder | None = None, seed: int = 0) -> dict[str, list[str]]:
    """Let an encoder know more words, in place; returns the known words that each new one begins as.

    pretrained: reads single words, and says which are near. Raises SettingsError for an encoder that has no embedding for each word, to
    which no word can be added.
    """
    inner, words = core(encoder), [word for word in words if encoder.unknown_words(word)]
    if not words:
        return {}
    if not isinstance(inner, Extensible):
        raise SettingsError(f"a text encoder of the kind '{inner.kind}' has no embedding for each word, and cannot learn new ones")
    known = [*inner.known_words()]
    near = _nearest_of(pretrained, words, known) if pretrained is not None else {word: nearest_words(word, known, 1) for word in words}
    old = inner.embedding
    rows = _rows(inner)
    _add(inner, words)
    inner.embedding = nn.Embedding(old.num_embeddings + len(words), old.embedding_dim, padding_idx=old.padding_idx)
    weight = old.weight.detach()
    mean, deviation = weight[1:].mean(0), weight[1:].std(0)
    with torch.no_grad():
        inner.embedding.weight[: old.num_embeddings] = weight
        for place, word in enumerate(words):
            begun = weight[[rows[other] for other in near[word]]].mean(0) if near[word] else mean + deviation * _draws(word, seed, mean)
            inner.embedding.weight[old.num_embeddings + place] = begun
    inner.embedding.to(weight.device)
    return near


def learn_new_words_alone(encoder: TextEncoder, count: int) -> None:
    """Let training change nothing of an encoder but the embeddings of its newest words, of which there are `count`."""
    encoder.requires_grad_(False)
    inner = core(encoder)
    assert isinstance(inner, Extensible)
    weight = inner.embedding.weight.requires_grad_(True)
    weight.register_hook(lambda gradient: torch.cat((torch.zeros_like(gradient[:-count]), gradient[-count:])))


def core(encoder: TextEncoder) -> TextEncoder:
    """The encoder with the words, inside one that shifts and scales its sentences."""
    return core(encoder.encoder) if isinstance(encoder, Standardized) else encoder


def _rows(encoder: Extensible) -> dict[str, int]:
    """The row of the embedding that each known word has."""
    if isinstance(encoder, LSTMEncoder):
        return {word: place + 1 for place, word in enumerate(encoder.vocabulary.words)}
    own = {word: place + 2 for place, word in enumerate(encoder.tokenizer.vocabulary)}
    return {**{word: own[other] for word, other in encoder.tokenizer.synonyms.items()}, **own}


def _add(encoder: Extensible, words: Sequence[str]) -> None:
    """Give an encoder's vocabulary more words, behind those that it has."""
    if isinstance(encoder, LSTMEncoder):
        old = encoder.vocabulary
        encoder.vocabulary = Vocabulary([*old.words, *words], old.maximum_words, old.splitting)
    else:
        known = encoder.tokenizer
        encoder.tokenizer = WordTokenizer([*known.vocabulary, *words], known.maximum_words, known.synonyms, known.splitting)


def _nearest_of(pretrained: TextEncoder, words: Sequence[str], known: Sequence[str]) -> dict[str, list[str]]:
    """For each word the known ones whose sentences, of that one word, point most nearly in its direction."""
    sentences = nn.functional.normalize(encode_all(pretrained, [*words, *known], sentence_only=True).sentence, dim=1)
    alike = sentences[: len(words)] @ sentences[len(words) :].T
    best = alike.topk(min(NEAREST, len(known)), dim=1).indices.tolist()
    return {word: [known[place] for place in row] for word, row in zip(words, best, strict=True)}


def _draws(word: str, seed: int, like: Tensor) -> Tensor:
    """Normal draws that follow from the word alone: the same whatever other words there are."""
    return torch.from_numpy(random.normal((like.numel(),), seed, "new word", word)).to(like)
