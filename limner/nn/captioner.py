"""A network that says what a picture shows, word by word: STREAM of MirrorGAN (Qiao et al., CVPR 2019, section 3.3).

Features of a picture are the first thing that an LSTM reads, and the words said so far are what follows. Words have ids from 1; id 0 is the
end of a caption, and what stands after it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from typing_extensions import Self

SIDE = 64
"""Side of the pictures that a compact reader sees."""


class CaptionDecoder(nn.Module):
    """Picture features [B, width] to words. ids: how many there are, that of the end included; hidden: numbers of the LSTM's state."""

    def __init__(self, ids: int, width: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(ids, width)
        self.reader = nn.LSTM(width, hidden, batch_first=True)
        self.to_words = nn.Linear(hidden, ids)
        for weight in (self.embedding.weight, self.to_words.weight):
            nn.init.uniform_(weight, -0.1, 0.1)
        nn.init.zeros_(self.to_words.bias)

    def forward(self, features: Tensor, ids: Tensor) -> Tensor:
        """[B, width] and ids [B, T] -> logits [B, T, ids]: for each place, of the word there, known the picture and the words before."""
        steps = torch.cat([features[:, None], self.embedding(ids[:, :-1])], dim=1)
        logits: Tensor = self.to_words(self.reader(steps)[0])
        return logits

    @torch.no_grad()
    def say(self, features: Tensor, longest: int) -> Tensor:
        """The likeliest word after the likeliest word: ids [B, longest], which may hold ends with more words after them."""
        step, state, said = features[:, None], None, []
        for _ in range(longest):
            output, state = self.reader(step, state)
            said.append(self.to_words(output[:, 0]).argmax(1))
            step = self.embedding(said[-1])[:, None]
        return torch.stack(said, dim=1)


def caption_loss(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of logits [B, T, ids] with the ids [B, T] that should have been said, the mean over all places of the mask [B, T]."""
    each = F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten(), reduction="none").view_as(mask)
    return (each * mask).sum() / mask.sum()


class CompactReader(nn.Sequential):
    """[B, 3, H, W] in [-1, 1] -> [B, 128 channels], trained from nothing: four strided convolutions at 64 px, whatever H and W are."""

    def __init__(self, channels: int) -> None:
        layers: list[nn.Module] = []
        narrow = 3
        for level in range(4):
            wide = channels << level
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False), nn.BatchNorm2d(wide), nn.LeakyReLU(0.2, inplace=True)]
            narrow = wide
        super().__init__(*layers, nn.Flatten())
        self.width = 128 * channels

    def forward(self, pictures: Tensor) -> Tensor:
        if pictures.shape[-2:] != (SIDE, SIDE):
            pictures = F.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        return super().forward(pictures)


class Captioner(nn.Module):
    """Pictures, or features of them, to captions. It can say nothing before it knows words (`learn`), which its state dict holds.

    width: numbers of a picture's features and of a word, as the decoder reads them. hidden: numbers of its state. channels: of a compact
    reader's first map, or 0 where another network reads the pictures.
    """

    def __init__(self, width: int, hidden: int, channels: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.words: tuple[str, ...] = ()
        """Word i has the id i + 1."""
        self.frozen = False
        self.reader = CompactReader(channels) if channels else None
        self.normalization = nn.BatchNorm1d(width, momentum=0.01)
        self.to_width: nn.Linear | None = None
        self.decoder: CaptionDecoder | None = None

    def learn(self, words: Sequence[str], features: int | None = None) -> None:
        """Give it these words, with fresh weights. features: how many numbers a picture's features have; None with a compact reader."""
        found = self.reader.width if features is None and self.reader is not None else features
        assert found is not None
        if tuple(words) == self.words and self.to_width is not None and self.to_width.in_features == found:
            return
        width, device = self.normalization.num_features, self.normalization.weight.device
        self.words = tuple(words)
        self.to_width = nn.Linear(found, width).to(device)
        self.decoder = CaptionDecoder(len(words) + 1, width, self.hidden).to(device)

    def freeze(self, frozen: bool) -> None:
        """Fix weights and statistics, or let them be trained. Gradients flow to the pictures either way."""
        self.frozen = frozen
        self.requires_grad_(not frozen).train(not frozen)

    def train(self, mode: bool = True) -> Self:
        """As any module's; but while frozen it stays in evaluation."""
        super().train(mode and not self.frozen)
        if self.decoder is not None:
            self.decoder.train()  # the same in both modes, but cuDNN gives an LSTM's gradients in this one alone
        return self

    def see(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1], or what another network saw in them [B, D] -> [B, width]."""
        assert self.to_width is not None
        features = self.reader(pictures) if self.reader is not None else pictures
        found: Tensor = self.normalization(self.to_width(features))
        return found

    def get_extra_state(self) -> Tensor:
        """Its words and the width of what it reads, as bytes of JSON."""
        known = {"words": self.words, "features": self.to_width.in_features if self.to_width is not None else 0}
        return torch.frombuffer(bytearray(json.dumps(known).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        known = json.loads(bytes(state.cpu().tolist()))
        if known["words"]:
            self.learn(known["words"], known["features"])
