"""What Obj-GAN's released networks read: AttnGAN's encoder with the cells of its reader, and a GloVe vector for each word.

Li et al., CVPR 2019, arXiv:1902.10740. Labels and words are compared as GloVe vectors; the box generator begins with hidden states and
cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from limner.core.errors import DataError
from limner.core.text import TextFeatures
from limner.text.encoder import Limit, TextEncoder
from limner.text.lstm import LSTMEncoder
from limner.text.tokenizers import Tokens
from limner.text.word_vectors import WordVectors


class JoinedEncoder(TextEncoder):
    """words [B, T, D + G], those of an `LSTMEncoder` and then GloVe vectors; sentence [B, 2 D], its own and then the last cells.

    Ids are those of the encoder's vocabulary, and after them those of words that have a GloVe vector alone, such as labels; these are read
    only where a caption has no word of the vocabulary.
    """

    kind: ClassVar[str] = "attngan-glove"
    rows: Tensor

    def __init__(self, encoder: LSTMEncoder, table: WordVectors) -> None:
        super().__init__()
        self.encoder, self.table = encoder, table
        self.sentence_width = 2 * encoder.sentence_width
        self.word_width: int = encoder.word_width + table.width
        vocabulary = [*encoder.vocabulary.words, *(word for word in table.words if word not in set(encoder.vocabulary.words))]
        self._ids = {word: place + 1 for place, word in enumerate(vocabulary)}
        self.register_buffer("rows", torch.tensor([0, *table.ids(vocabulary)]), persistent=False)

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        vocabulary = self.encoder.vocabulary
        rows = []
        for place, caption in enumerate(captions):
            spoken = vocabulary.split(caption)
            if not spoken:
                raise DataError(f"caption number {place + 1} holds no word: write at least one word")
            known = vocabulary.known(caption) or [word for word in spoken if word in self._ids]
            rows.append([self._ids[word] for word in known][: vocabulary.maximum_words] or [0])
        longest = max(map(len, rows), default=0)
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], dtype=torch.int64).view(len(rows), longest)
        return Tokens(ids, torch.arange(longest)[None] < torch.tensor([len(row) for row in rows])[:, None])

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        encoder, device = self.encoder, self.rows.device
        own = torch.where(ids <= len(encoder.vocabulary.words), ids, 0).to(device)
        packed = pack_padded_sequence(encoder.embedding(own), mask.sum(1), batch_first=True, enforce_sorted=False)
        states, (hidden, cell) = encoder.reader(packed)
        words = pad_packed_sequence(states, batch_first=True, total_length=ids.shape[1])[0]
        sentence = torch.cat([value.transpose(0, 1).flatten(1) for value in (hidden, cell)], 1)
        ids, mask = ids.to(device), mask.to(device)
        return TextFeatures(sentence, torch.cat([words, self.table(self.rows[ids]) * mask[..., None]], 2), mask, ids)

    def words(self, caption: str) -> list[str]:
        return self.encoder.words(caption)

    def known_words(self) -> Sequence[str]:
        return self.encoder.known_words()

    def unknown_words(self, caption: str) -> list[str]:
        return self.encoder.unknown_words(caption)

    def read_words(self, caption: str) -> list[str]:
        return self.encoder.read_words(caption)

    def was_cut(self, caption: str) -> bool:
        return self.encoder.was_cut(caption)

    @property
    def limit(self) -> Limit | None:
        return self.encoder.limit

    def read_at_most(self, words: int) -> None:
        self.encoder.read_at_most(words)

    def config(self) -> dict[str, Any]:
        return {"encoder": self.encoder.config(), "vectors": self.table.config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> JoinedEncoder:
        return cls(LSTMEncoder.from_config(config["encoder"]), WordVectors.empty(config["vectors"]))
