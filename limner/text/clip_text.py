"""CLIP's reader of captions: a causal transformer over byte pairs (Radford et al., ICML 2021, arXiv:2103.00020, section 2.4).

A caption stands between a start and an end mark; the end mark's position, which has seen everything before it, becomes the sentence by a
linear map. The authors read it at the position of the largest id in the row, which is the first end mark's; so does this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.core.settings import at_least
from limner.core.text import TextFeatures
from limner.text.byte_pairs import WORD_END, BytePairTokenizer
from limner.text.encoder import Limit, TextEncoder
from limner.text.tokenizers import Tokens
from limner.text.transformer import Activation, Transformer


@dataclass(frozen=True, kw_only=True)
class ClipTextSettings:
    """Sizes of a `ClipText`; the defaults are those of ViT-B/32."""

    vocabulary: int = 49_408
    """How many ids there are."""
    context_length: int = 77
    """Ids of a caption that are read, its start and end included."""
    width: int = 512
    """Width of the transformer, and of a word's features."""
    layers: int = 12
    """Blocks of the transformer."""
    heads: int = 8
    """Heads of each attention."""
    sentence_width: int = 512
    """Width of the sentence embedding."""
    activation: Activation = "quick-gelu"
    """Nonlinearity of the perceptrons: weights know one of the two."""

    def __post_init__(self) -> None:
        at_least(self, "text", 1, "vocabulary", "context_length", "width", "layers", "heads", "sentence_width")
        if self.width % self.heads:
            raise SettingsError(f"a text width of {self.width} cannot be split among {self.heads} heads: choose a divisor")


class ClipText(TextEncoder):
    """sentence [B, sentence_width] as trained, of no particular length; words [B, T, width], every position's, start and end included.

    tokenizer: may be None where weights came without their vocabulary; `read` then still takes ids, and captions are refused.
    """

    kind: ClassVar[str] = "clip"

    def __init__(self, tokenizer: BytePairTokenizer | None, settings: ClipTextSettings = ClipTextSettings()) -> None:
        super().__init__()
        if tokenizer is not None and (len(tokenizer), tokenizer.context_length) != (settings.vocabulary, settings.context_length):
            raise SettingsError(
                f"the tokenizer has {len(tokenizer):,} ids and reads {tokenizer.context_length} of a caption, the encoder "
                f"{settings.vocabulary:,} and {settings.context_length}: give the vocabulary that the weights were trained with"
            )
        self.tokenizer, self.settings = tokenizer, settings
        self.sentence_width = settings.sentence_width
        self.word_width: int = settings.width
        self.embedding = nn.Embedding(settings.vocabulary, settings.width)
        self.positions = nn.Parameter(torch.empty(settings.context_length, settings.width))
        self.transformer = Transformer(settings.width, settings.layers, settings.heads, settings.activation, causal=True)
        self.norm = nn.LayerNorm(settings.width)
        self.to_sentence = nn.Parameter(torch.empty(settings.width, settings.sentence_width))
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)
        nn.init.normal_(self.to_sentence, std=settings.width**-0.5)

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        return self._tokenizer(captions)

    def read(self, ids: Tensor, mask: Tensor | None = None) -> TextFeatures:
        """Features of ids [B, T], T being at most the context length; without a mask, a row ends at its largest id."""
        ids = ids.to(self.positions.device)
        last = ids.argmax(1)
        mask = torch.arange(ids.shape[1], device=ids.device) <= last[:, None] if mask is None else mask.to(ids.device)
        # What pads the end changes nothing before it: a position sees only what came earlier.
        words = self.norm(self.transformer(self.embedding(ids) + self.positions[: ids.shape[1]]))  # [B, T, width]
        sentence = words[torch.arange(ids.shape[0], device=ids.device), last] @ self.to_sentence
        return TextFeatures(sentence, words * mask[..., None], mask, ids * mask)

    @property
    def _tokenizer(self) -> BytePairTokenizer:
        if self.tokenizer is None:
            raise SettingsError("this model came without its vocabulary and reads no captions: import it again with --vocabulary FILE")
        return self.tokenizer

    def words(self, caption: str) -> list[str]:
        return [token.removesuffix(WORD_END) for token in self._tokenizer.tokens(caption)]

    def read_words(self, caption: str) -> list[str]:
        return ["(start)", *self.words(caption), "(end)"][: self.settings.context_length]

    def unknown_words(self, caption: str) -> list[str]:
        return []  # whatever is written is spelled in bytes

    def was_cut(self, caption: str) -> bool:
        return self._tokenizer.was_cut(caption)

    @property
    def limit(self) -> Limit:
        return Limit(self.settings.context_length - 2, "byte pairs")  # its start and end take two places

    def read_at_most(self, words: int) -> None:
        raise SettingsError(
            f"text.maximum-words cannot be set: CLIP reads {self.limit} of a caption: leave it out, or train CLIP with another "
            "method.context-length"
        )

    def config(self) -> dict[str, Any]:
        tokenizer = None if self.tokenizer is None else self.tokenizer.config()
        return {"settings": dataclasses.asdict(self.settings), "tokenizer": tokenizer}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ClipText:
        tokenizer = None if config["tokenizer"] is None else BytePairTokenizer.from_config(config["tokenizer"])
        return cls(tokenizer, ClipTextSettings(**config["settings"]))
