"""A bag of words: what a caption says, without the order in which it says it. The baseline that readers of sentences have to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from limner.core.settings import at_least
from limner.core.text import TextFeatures
from limner.text.tokenizers import WordTokenizer
from limner.text.word_encoder import WordEncoder


@dataclass(frozen=True, kw_only=True)
class BagOfWordsSettings:
    """Widths of the encoder."""

    word_embedding: int = 512
    """Width of each word's embedding; a caption's words are averaged."""
    sentence_width: int = 1024
    """Width of the sentence embedding."""

    def __post_init__(self) -> None:
        at_least(self, "bag-of-words", 1, "word_embedding", "sentence_width")


class BagOfWords(WordEncoder):
    """sentence [B, sentence_width]: a linear map of the mean of the known words' embeddings. No word embeddings in context."""

    kind: ClassVar[str] = "bag-of-words"

    def __init__(self, tokenizer: WordTokenizer, settings: BagOfWordsSettings = BagOfWordsSettings()) -> None:
        super().__init__()
        self.tokenizer, self.settings = tokenizer, settings
        self.sentence_width, self.word_width = settings.sentence_width, None
        self.embedding = nn.Embedding(len(tokenizer), settings.word_embedding, padding_idx=0)
        self.to_sentence = nn.Linear(settings.word_embedding, settings.sentence_width)

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        weight = self.to_sentence.weight
        shown = mask.to(weight.device)[..., None].to(weight.dtype)  # [B, T, 1]
        words = self.embedding(ids.to(weight.device)) * shown
        return TextFeatures(self.to_sentence(words.sum(1) / shown.sum(1).clamp_min(1.0)))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BagOfWords:
        return cls(WordTokenizer.from_config(config["tokenizer"]), BagOfWordsSettings(**config["settings"]))
