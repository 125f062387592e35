"""Captions as ids of byte pairs and nothing else, for methods that learn what the ids mean themselves (DALL-E).

The pairs are learned from the training captions by the `tokenizers` library, whose description of a tokenizer is kept in the model; or they
are those of a published vocabulary, such as CLIP's, which need no library.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.core.errors import CheckpointError, DataError, SettingsError
from limner.core.json_text import parse_json
from limner.core.text import TextFeatures
from limner.text.byte_pairs import WORD_END, BytePairTokenizer
from limner.text.encoder import Limit, TextEncoder
from limner.text.tokenizers import Tokens
from limner.text.words import not_text

PADDING = "<|padding|>"
"""The token with the id 0, which stands for nothing."""
BYTES = 256


class BytePairIds(TextEncoder):
    """tokens [B, T] are ids, 0 where there is nothing; sentence [B, 0] and words [B, T, 0] have no numbers.

    description: a tokenizer of the `tokenizers` library, as its JSON says it, or the `config` of a `BytePairTokenizer`, which has "merges".
    context_length: ids of a caption that are read.
    """

    kind: ClassVar[str] = "byte-pair-ids"
    sentence_width = 0
    word_width = 0

    def __init__(self, description: dict[str, Any], context_length: int) -> None:
        super().__init__()
        if context_length < 1:
            raise SettingsError(f"context_length is {context_length}: a caption needs room for at least one token")
        self.description, self.context_length = description, context_length
        self._clip = BytePairTokenizer.from_config(description) if "merges" in description else None
        self._learned: Any = None if self._clip else _tokenizer(description)

    @classmethod
    def learn(cls, captions: Iterable[str], vocabulary: int, context_length: int) -> BytePairIds:
        """Learn pairs from captions, in lower case, until there are `vocabulary` ids or no pair is left that was found twice."""
        if vocabulary <= BYTES:
            raise SettingsError(f"method.vocabulary is {vocabulary}: it must hold {BYTES} bytes and a padding token; give 512 or more")
        library = _library()
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.normalizer = library.normalizers.Sequence([library.normalizers.NFKC(), library.normalizers.Lowercase()])
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocabulary,
            min_frequency=2,
            special_tokens=[PADDING],
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        distinct = sorted({" ".join(caption.split()) for caption in captions})
        if not distinct:
            raise DataError("the data have no captions from which byte pairs could be learned: give captions")
        tokenizer.train_from_iterator(distinct, trainer)
        return cls(parse_json(tokenizer.to_str()), context_length)

    @classmethod
    def from_file(cls, path: Path, context_length: int, size: int | None = None) -> BytePairIds:
        """The ids of a vocabulary file: CLIP's `bpe_simple_vocab_16e6.txt.gz` (of which `size` ids are used), or a .json file that the
        `tokenizers` library wrote. Raises DataError for another file."""
        if path.suffix != ".json":
            return cls(BytePairTokenizer.from_file(path, size).config(), context_length)
        try:
            description = parse_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(f"there is no vocabulary file {path}: give a .json file of the tokenizers library, or CLIP's") from None
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read the vocabulary file {path} ({error}): give a .json file of the tokenizers library") from None
        if not isinstance(description, dict) or "model" not in description:
            raise DataError(f"{path} does not describe a tokenizer: give a .json file of the tokenizers library")
        return cls(description, context_length)

    def __len__(self) -> int:
        """How many ids there are."""
        return len(self._clip) if self._clip else int(self._learned.get_vocab_size())

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        rows = [self.encode(caption)[: self.context_length] for caption in captions]
        longest = max(map(len, rows), default=0)
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows], dtype=torch.int64).view(len(rows), longest)
        mask = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
        return Tokens(tokens, mask)

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        return TextFeatures(torch.zeros(len(ids), 0), torch.zeros(*ids.shape, 0), mask, ids)

    def encode(self, caption: str) -> list[int]:
        """The ids of a whole caption."""
        return self._clip.encode(caption) if self._clip else list(self._encoded(caption).ids)

    def _encoded(self, caption: str) -> Any:
        if wrong := not_text(caption):
            raise DataError(wrong)
        return self._learned.encode(" ".join(caption.split()), add_special_tokens=False)

    def words(self, caption: str) -> list[str]:
        if self._clip:
            return [token.removesuffix(WORD_END) for token in self._clip.tokens(caption)]
        return [caption[start:end].strip().lower() or token for token, (start, end) in zip(*self._pieces(caption), strict=True)]

    def _pieces(self, caption: str) -> tuple[list[str], list[tuple[int, int]]]:
        encoded = self._encoded(caption)
        return encoded.tokens, encoded.offsets

    def read_words(self, caption: str) -> list[str]:
        return self.words(caption)[: self.context_length]

    def unknown_words(self, caption: str) -> list[str]:
        return []  # whatever is written is spelled in bytes

    def was_cut(self, caption: str) -> bool:
        return len(self.encode(caption)) > self.context_length

    @property
    def limit(self) -> Limit:
        return Limit(self.context_length, "byte pairs")

    def config(self) -> dict[str, Any]:
        return {"description": self.description, "context_length": self.context_length}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BytePairIds:
        return cls(config["description"], config["context_length"])


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise SettingsError(
            "DALL-E's byte pairs need the tokenizers library: pip install tokenizers, or the extra limner[tokens]"
        ) from error
    return tokenizers


def _tokenizer(description: dict[str, Any]) -> Any:
    library = _library()
    try:
        found = library.Tokenizer.from_str(json.dumps(description))
    except Exception as error:  # the library raises plain ones
        raise CheckpointError(f"the tokenizer cannot be read ({error}): give one that the tokenizers library wrote") from error
    found.encode_special_tokens = True  # a caption that spells the padding's name is text like any other
    found.no_padding()
    found.no_truncation()
    return found
