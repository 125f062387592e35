"""DS-SJE: deep symmetric structured joint embedding, with which the char-CNN-RNN was trained.

Reed, Akata, Schiele, Lee, "Learning Deep Representations of Fine-grained Visual Descriptions", CVPR 2016, arXiv:1605.05395, Eq. 1 to 4;
the authors' code is reedscot/cvpr2016. A batch holds one picture and one caption of each of `batch_size` different classes; a caption's
score with a picture is the dot product of their embeddings; each must beat, by a margin, what its partner scores with any other class.

As published, pictures are fixed features of an ImageNet network, and captions are embedded into their space. There are two other
ways without such a network: a small network of our own for pictures, trained from scratch with the captions, and features from a file.

Where code and paper differ, this follows the code: the sum of hinges is divided by batch x batch; RMSprop decays its rate by 0.98 every
"epoch" of as many batches as there are training classes. RMSprop is Adam without its first moment; Adam's correction of the
second moment's start is the only difference left, and avoids first steps of ten times the size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from limner.core import random
from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.optimizers import Adam
from limner.core.pictures import CaptionedPictures
from limner.core.settings import Preset, above_zero, at_least, place
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.matching.losses.joint_embedding import joint_embedding_loss, partners_found, symmetric_joint_embedding_loss
from limner.matching.model import EVALUATIONS, MatchingModel, device_of
from limner.matching.scores.zero_shot import zero_shot
from limner.matching.towers.compact import PictureEncoder
from limner.matching.towers.views import CROPS, FixedFeatures, fixed_features
from limner.text.bag_of_words import BagOfWords, BagOfWordsSettings
from limner.text.char_cnn_rnn import VARIANTS, CharCnnRnn
from limner.text.encoder import TextEncoder
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

if TYPE_CHECKING:
    pass

TRAINED_PICTURES = "trained"


@dataclass(frozen=True, kw_only=True)
class SJESettings:
    """Settings of DS-SJE; the defaults are those of the authors' scripts for flowers, except for the picture network."""

    encoder: Literal["birds/cvpr", "flowers/cvpr", "flowers/icml", "birds/icml", "recurrent", "bag-of-words"] = "flowers/cvpr"
    """The text encoder: one of the four published char-CNN-RNNs, a compact word-level recurrent network, or a bag of words."""
    pictures: str = place(TRAINED_PICTURES, named=True)
    """The picture side: `trained`, a small network trained from scratch; a feature network (`squeezenet=FILE`, ...); features in
    FILE.npz."""
    projected: bool = False
    """Whether fixed features pass a trained linear map to `width`; as published, captions are embedded into the features' own space."""
    width: int = 1024
    """Width of the joint space, where fixed features do not set it."""
    views: int = 10
    """Crops and mirrored crops of each picture that fixed features are taken of: 1, 2 or 10 as published; training draws among them."""
    picture_channels: int = 32
    """Channels of the trained picture network's first stage; the later ones have up to four times as many."""
    symmetric: bool = True
    """Whether captions must find their picture, too (DS-SJE); without it, only pictures find their caption (DA-SJE)."""
    margin: float = 1.0
    """Margin by which the matching pair's score must lead."""
    batch_size: int = 40
    """Classes in a batch, each with one picture and one caption; all classes where there are fewer."""
    learning_rate: float = 7e-4
    """Learning rate of RMSprop at the start."""
    decay: float = 0.98
    """Factor of the learning rate after each `decay_every` steps."""
    decay_every: int = 82
    """Steps between two decays: the number of training classes, as published."""
    steps: int = 16_400
    """Steps of training: 200 times the 82 training classes of flowers."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "width", "picture_channels", "decay_every", "steps")
        at_least(self, "method", 2, "batch_size")
        above_zero(self, "method", "margin", "learning_rate", "decay")
        if self.views not in (1, 2, 2 * CROPS):
            raise SettingsError(f"method.views is {self.views}: choose 1 (the middle), 2 (and mirrored) or {2 * CROPS} (corners too)")


class SJE(MatchingModel):
    """A text encoder and a picture side in one space, trained by DS-SJE."""

    Settings: ClassVar[type] = SJESettings
    title: ClassVar[str] = "DS-SJE"
    paper: ClassVar[str] = "Reed et al., Learning Deep Representations of Fine-grained Visual Descriptions, CVPR 2016, arXiv:1605.05395"
    presets: ClassVar[Mapping[str, Preset]] = {
        "as-published": Preset(sentence="The authors' settings for flowers; pictures at 128 px.", resolution=128),
        "cpu": Preset(
            sentence="A quarter of the steps, and two views of each picture, for two CPU cores.",
            resolution=64,
            method={"steps": 4000, "decay_every": 20, "views": 2},
        ),
    }
    settings: SJESettings
    scale: Tensor
    classes: int | None = None
    """Classes with captions among the training pictures, where these have classes."""

    def __init__(self, settings: SJESettings, conditions: Conditions, encoder: TextEncoder) -> None:
        super().__init__(settings, conditions, encoder)
        self.fixed: FixedFeatures | None = None
        self.table: Tensor | None = None
        self.picture_side: nn.Module = nn.Identity()
        if settings.pictures == TRAINED_PICTURES:
            self.picture_side = PictureEncoder(encoder.sentence_width, settings.picture_channels, conditions.resolution, normalize=False)
            return
        self.fixed = fixed_features(settings.pictures)
        self.looks_with = f"{settings.pictures.partition('=')[0]} {self.fixed.content_hash}"
        self.register_buffer("scale", torch.ones(()))
        if settings.projected:
            self.picture_side = nn.Linear(self.fixed.width, encoder.sentence_width)
        elif self.fixed.width != encoder.sentence_width:
            raise SettingsError(
                f"captions are embedded into {encoder.sentence_width} numbers and {settings.pictures} gives {self.fixed.width}: "
                "use the features that the model was trained with"
            )

    @classmethod
    def own_encoder(cls, settings: SJESettings, captions: Iterable[str]) -> TextEncoder:
        raw = settings.pictures != TRAINED_PICTURES and not settings.projected
        return new_encoder(settings.encoder, fixed_features(settings.pictures).width if raw else settings.width, captions)

    def players(self) -> dict[str, Player]:
        optimizer = Adam(learning_rate=self.settings.learning_rate, betas=(0.0, 0.99))
        return {"matching": Player(module=self, optimizer=optimizer, learning_rate_factor=self._decay)}

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="sje",
                evaluations=EVALUATIONS,
                resolution=self.resolution,
                batch_size=min(settings.batch_size, self.classes or settings.batch_size),
                steps=settings.steps,
                encoded=False,
                distinct_classes=True,
            )
        ]

    def prepare(self, phase: Phase, pictures: CaptionedPictures) -> None:
        if pictures.class_ids is not None:
            self.classes = len(np.unique(pictures.class_ids[pictures.caption_counts > 0]))
        if self.fixed is not None:
            table = self.fixed.views(pictures, self.settings.views)
            self.scale.fill_(self.fixed.width**0.5 / float(table.norm(dim=-1).mean()))
            self.table = table.to(device_of(self))

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        settings = self.settings
        text = self.embed_captions([own[0] for own in batch.captions])  # [B, D]
        pictures = self.embed_pictures(batch.pictures) if self.fixed is None else self._embed_features(self._drawn(batch))  # [B, D]
        loss = symmetric_joint_embedding_loss if settings.symmetric else _pictures_alone
        found = {
            "picture_to_caption": partners_found(pictures, text).float().mean(),
            "caption_to_picture": partners_found(text, pictures).float().mean(),
        }
        yield Update("matching", loss(text, pictures, settings.margin), found)

    def _drawn(self, batch: Batch) -> Tensor:
        """One view's features of each of the batch's pictures: [B, width of the features]."""
        if self.table is None:
            raise RuntimeError("prepare(phase, pictures) comes before training")
        views = random.integers(self.table.shape[1], batch.seed, "view", batch.samples)
        return self.table[torch.from_numpy(batch.indices).to(self.table.device), torch.from_numpy(views).to(self.table.device)]

    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        return self.encoder(captions).sentence

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        if self.fixed is not None:
            return self._embed_features(self.fixed.of(pictures))
        embedded: Tensor = self.picture_side(pictures)
        return embedded

    def _embed_features(self, features: Tensor) -> Tensor:
        """Fixed features [B, W], scaled so that their entries are about 1, whatever network they come from -> [B, D]."""
        embedded: Tensor = self.picture_side(features * self.scale)
        return embedded

    def embed_stored(self, pictures: CaptionedPictures, indices: NDArray[np.int64]) -> Tensor:
        if self.fixed is None:
            return super().embed_stored(pictures, indices)
        return self._embed_features(self.fixed.of_stored(pictures, indices).to(device_of(self)))

    @torch.no_grad()
    def validate(self, pictures: CaptionedPictures) -> dict[str, float]:
        if pictures.class_ids is None:
            return super().validate(pictures)
        found = zero_shot(self, pictures)
        return {"score": (found["top_1"] + found["ap_50"]) / 2, **found}

    def _decay(self, progress: Progress) -> float:
        return float(self.settings.decay ** (progress.step // self.settings.decay_every))


def _pictures_alone(text: Tensor, pictures: Tensor, margin: float) -> Tensor:
    return joint_embedding_loss(pictures, text, margin)


def new_encoder(kind: str, width: int, captions: Iterable[str]) -> TextEncoder:
    """A text encoder with fresh weights; those that read words know the words of these captions."""
    if kind in VARIANTS:
        return CharCnnRnn(VARIANTS[kind].with_width(width))
    tokenizer = WordTokenizer.build(captions)
    if kind == "bag-of-words":
        return BagOfWords(tokenizer, BagOfWordsSettings(sentence_width=width))
    return RecurrentEncoder(tokenizer, RecurrentSettings(word_embedding=128, hidden=128, sentence_width=width))
