"""The character-level convolutional-recurrent text encoder of Reed et al.

"Learning Deep Representations of Fine-grained Visual Descriptions" (CVPR 2016, arXiv:1605.05395); "Generative Adversarial Text to Image
Synthesis" (ICML 2016, arXiv:1605.05396) widened it. Convolutions over one-hot characters make a few stretches of text, a recurrent network
reads these in order, and the mean of its states becomes the sentence embedding.

Where the paper is silent this follows the authors' code (Torch7): values up to 1e-6 are cut after each convolution, padding is read like
text, the first recurrent step has no hidden term (not even its bias), and the gated network resets before it projects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import SettingsError, unknown_name
from limner.core.text import TextFeatures
from limner.text.encoder import Limit, TextEncoder
from limner.text.tokenizers import CharacterTokenizer, Tokens

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
"""The 70 published characters. The hyphen stands there twice: its later place is the one that text uses."""

LENGTH = 201
"""Characters that the published networks read; longer captions are cut."""

_KERNEL, _POOL, _THRESHOLD = 4, 3, 1e-6


@dataclass(frozen=True, kw_only=True)
class CharCnnRnnSettings:
    """Widths and parts of a `CharCnnRnn`; the defaults are those of the CVPR paper."""

    convolutions: tuple[int, int, int] = (384, 512, 256)
    """Channels of the three convolutions; the last is also the width of the recurrent state."""
    recurrent: str = "relu"
    """The recurrent network: `relu`, a plain one, or `gru`, a gated one."""
    third_pool: bool = True
    """Whether the third convolution is pooled too, which leaves 8 recurrent steps of 201 characters; 18 without."""
    sentence_width: int = 1024
    """Width of the sentence embedding."""

    def __post_init__(self) -> None:
        if self.recurrent not in READERS:
            raise unknown_name("recurrent network of a char-CNN-RNN", self.recurrent, READERS)
        if len(self.convolutions) != 3 or min(*self.convolutions, self.sentence_width) < 1:
            raise SettingsError(f"convolutions {self.convolutions} to {self.sentence_width}: give three widths and one, all at least 1")

    def with_width(self, sentence_width: int) -> CharCnnRnnSettings:
        """The same network with another width of the sentence embedding."""
        return dataclasses.replace(self, sentence_width=sentence_width)

    def steps(self, length: int) -> int:
        """How many recurrent steps are made of `length` characters; 0 or less where that is too few to read."""
        for stride in (3, 3, 2 if self.third_pool else 0):
            length -= _KERNEL - 1
            if stride:
                length = (length - _POOL) // stride + 1
        return length


class ReluReader(nn.Module):
    """The plain recurrent network: stretches [B, T, W] -> states [B, T, W].

    `torch.nn.RNN` adds the hidden bias at the first step too, which this one must not.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(width, width)
        self.hidden = nn.Linear(width, width)

    def forward(self, stretches: Tensor) -> Tensor:
        first, *others = self.input(stretches).unbind(1)
        states = [F.relu(first)]
        for heard in others:
            states.append(F.relu(heard + self.hidden(states[-1])))
        return torch.stack(states, dim=1)


class GatedReader(nn.Module):
    """The gated recurrent network: stretches [B, T, W] -> states [B, T, W].

    Not `torch.nn.GRU`: the reset gate works before the hidden projection, and the update gate is the share of the new state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(width, width)
        self.hidden = nn.Linear(width, width)
        self.input_update = nn.Linear(width, width)
        self.hidden_update = nn.Linear(width, width)
        self.input_reset = nn.Linear(width, width)
        self.hidden_reset = nn.Linear(width, width)

    def forward(self, stretches: Tensor) -> Tensor:
        candidates = self.input(stretches).unbind(1)
        updates, resets = self.input_update(stretches).unbind(1), self.input_reset(stretches).unbind(1)
        states = [torch.tanh(candidates[0])]
        for candidate, update, reset in zip(candidates[1:], updates[1:], resets[1:]):
            state = states[-1]  # [B, W]
            share = torch.sigmoid(update + self.hidden_update(state))
            kept = torch.sigmoid(reset + self.hidden_reset(state)) * state
            states.append(share * torch.tanh(candidate + self.hidden(kept)) + (1 - share) * state)
        return torch.stack(states, dim=1)


READERS: dict[str, type[nn.Module]] = {"relu": ReluReader, "gru": GatedReader}

VARIANTS: dict[str, CharCnnRnnSettings] = {
    "birds/cvpr": CharCnnRnnSettings(),
    "flowers/cvpr": CharCnnRnnSettings(),
    "flowers/icml": CharCnnRnnSettings(convolutions=(384, 512, 512)),
    "birds/icml": CharCnnRnnSettings(convolutions=(384, 512, 512), recurrent="gru", third_pool=False),
}
"""The published networks, by data set and paper; COCO's is that of birds/icml."""


class CharCnnRnn(TextEncoder):
    """sentence [B, sentence_width], of free length; no word embeddings, since a stretch of characters is not a word.

    tokenizer: by default the published alphabet and length in lower case, where any other character reads as a space. The authors' ICML
    demo leaves case as it is and reads other characters, capitals among them, as nothing:
    `CharacterTokenizer(ALPHABET, LENGTH, unknown=None, lower_case=False)`.
    """

    kind: ClassVar[str] = "char-cnn-rnn"

    def __init__(self, settings: CharCnnRnnSettings = CharCnnRnnSettings(), tokenizer: CharacterTokenizer | None = None) -> None:
        super().__init__()
        self.settings = settings
        self.tokenizer = tokenizer or CharacterTokenizer(ALPHABET, LENGTH)
        if settings.steps(self.tokenizer.length) < 1:
            raise SettingsError(f"a char-CNN-RNN cannot read captions of {self.tokenizer.length} characters: give more, such as {LENGTH}")
        self.sentence_width = settings.sentence_width
        self.word_width = None
        widths = len(self.tokenizer.alphabet), *settings.convolutions
        self.convolutions = nn.ModuleList(nn.Conv1d(before, after, _KERNEL) for before, after in zip(widths, widths[1:]))
        self.reader = READERS[settings.recurrent](widths[-1])
        self.to_sentence = nn.Linear(widths[-1], settings.sentence_width)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.08, 0.08)  # as published, biases too

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        return self.tokenizer(captions)

    def read(self, ids: Tensor, mask: Tensor | None = None) -> TextFeatures:
        """Features of character ids [B, T]; the mask changes nothing, since padding is read like text."""
        ids = ids.to(self.to_sentence.weight.device)
        states: Tensor = self.reader(self.stretches(ids).transpose(1, 2))
        return TextFeatures(self.to_sentence(states.mean(1)))

    def stretches(self, ids: Tensor) -> Tensor:
        """What the convolutions make of character ids [B, T]: [B, last width, steps]."""
        one_hot = F.one_hot(ids, len(self.tokenizer))[..., 1:]  # [B, T, 70]; id 0, where there is nothing, becomes a row of zeros
        heard = one_hot.transpose(1, 2).to(self.to_sentence.weight.dtype)
        strides = (3, 3, 2) if self.settings.third_pool else (3, 3)
        for place, convolution in enumerate(self.convolutions):
            heard = F.threshold(convolution(heard), _THRESHOLD, 0.0)
            if place < len(strides):
                heard = F.max_pool1d(heard, _POOL, strides[place])
        return heard

    def words(self, caption: str) -> list[str]:
        """What stands between spaces, punctuation included, in the case in which it is read."""
        return (caption.lower() if self.tokenizer.lower_case else caption).split()

    def unknown_words(self, caption: str) -> list[str]:
        """The words of which no letter or digit is known; of a word without any, no character."""
        strange = set(self.tokenizer.unknown_characters(caption))
        unknown = (word for word in self.words(caption) if strange.issuperset([part for part in word if part.isalnum()] or word))
        return list(dict.fromkeys(unknown))

    def was_cut(self, caption: str) -> bool:
        return self.tokenizer.was_cut(caption)

    @property
    def limit(self) -> Limit:
        return Limit(self.tokenizer.length, "characters")

    def config(self) -> dict[str, Any]:
        settings = dataclasses.asdict(self.settings) | {"convolutions": list(self.settings.convolutions)}
        return {"settings": settings, "tokenizer": self.tokenizer.config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CharCnnRnn:
        settings = dict(config["settings"])
        settings["convolutions"] = tuple(settings["convolutions"])
        return cls(CharCnnRnnSettings(**settings), CharacterTokenizer.from_config(config["tokenizer"]))
