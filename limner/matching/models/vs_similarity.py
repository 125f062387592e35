"""Visual-semantic similarity: HDGAN's measure of how well a picture fits its caption.

Zhang, Xie, Yang, "Photographic Text-to-Image Synthesis with a Hierarchically-nested Adversarial Network", CVPR 2018, arXiv:1802.09178,
section 4.1; the authors' code is ypxie/HDGan. Fixed features of pictures and embeddings of captions go each through one linear map into a
common space; their cosine is the similarity. It is trained by the pairwise ranking loss: each own pair must lead, by a margin, what its
caption scores with other pictures and what its picture scores with other captions.

The authors' features are those of an Inception-ResNet-v2 and their captions a frozen char-CNN-RNN's; here any feature network and any text
encoder serve, frozen or trained along. As in the code, hinges are summed over the batch, not averaged. Unlike the code, which draws its
batches from the training and the test pictures, training sees only training pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from limner.core import random
from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.optimizers import Adam
from limner.core.pictures import CaptionedPictures
from limner.core.settings import Preset, above_zero, at_least, place
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.matching.losses.joint_embedding import partners_found, symmetric_joint_embedding_loss
from limner.matching.model import EVALUATIONS, MatchingModel, device_of
from limner.matching.models.sje import new_encoder
from limner.matching.towers.views import CROPS, fixed_features
from limner.text.char_cnn_rnn import VARIANTS
from limner.text.encoder import TextEncoder
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.text.saving import load_encoder, load_shipped_encoder, shipped_encoders

if TYPE_CHECKING:
    from typing_extensions import Self

TRAINED_KINDS = ("recurrent", "bag-of-words", "attngan", *VARIANTS)


@dataclass(frozen=True, kw_only=True)
class VSSimilaritySettings:
    """Settings of visual-semantic similarity; the defaults are those of the authors' code, except for the two networks."""

    pictures: str = place("tv-inception", named=True)
    """Where pictures' features come from: a feature network (`garden`, `tv-inception`, `squeezenet=FILE`, ...), or FILE.npz."""
    encoder: str = place("recurrent", words=TRAINED_KINDS)
    """The text encoder. Trained along: recurrent, bag-of-words, attngan or a char-CNN-RNN such as flowers/cvpr; frozen: a shipped
    encoder's name, or the folder of an encoder or of a matching model."""
    text_width: int = 256
    """Width of the sentence embedding of an encoder that is trained along."""
    width: int = 512
    """Width of the common space."""
    views: int = 10
    """Crops and mirrored crops of each picture whose features are kept: 1, 2 or 10; training draws among them."""
    margin: float = 0.2
    """Margin by which the matching pair's cosine must lead."""
    epochs: float = 600.0
    """Passes over the training pictures."""
    steps: int | None = None
    """Steps of training, in place of `epochs`."""
    batch_size: int = 64
    """Pictures in a batch, each with one caption."""
    learning_rate: float = 2e-4
    """Learning rate of Adam at the start."""
    halve_every: float = 100.0
    """Passes over the training pictures after which the learning rate is halved."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "width", "text_width", "steps")
        at_least(self, "method", 2, "batch_size")
        above_zero(self, "method", "margin", "epochs", "learning_rate", "halve_every")
        if self.views not in (1, 2, 2 * CROPS):
            raise SettingsError(f"method.views is {self.views}: choose 1 (the middle), 2 (and mirrored) or {2 * CROPS} (corners too)")


class VSSimilarity(MatchingModel):
    """Two linear maps over fixed picture features and a text encoder, trained by ranking. Embeddings have length 1."""

    Settings: ClassVar[type] = VSSimilaritySettings
    title: ClassVar[str] = "Visual-semantic similarity"
    paper: ClassVar[str] = "Zhang et al., HDGAN, CVPR 2018, arXiv:1802.09178"
    presets: ClassVar[Mapping[str, Preset]] = {
        "as-published": Preset(
            sentence="The authors' settings, over Inception-v3; theirs reads captions by a frozen char-CNN-RNN: --method.encoder FOLDER.",
            resolution=299,
        ),
        "cpu": Preset(
            sentence="For the garden, over its judge's features, on two CPU cores.",
            resolution=32,
            method={"pictures": "garden", "views": 1, "text_width": 128, "steps": 3000, "learning_rate": 1e-3, "halve_every": 3.0},
        ),
    }
    settings: VSSimilaritySettings

    def __init__(self, settings: VSSimilaritySettings, conditions: Conditions, encoder: TextEncoder) -> None:
        super().__init__(settings, conditions, encoder)
        self.fixed = fixed_features(settings.pictures)
        self.looks_with = f"{settings.pictures.partition('=')[0]} {self.fixed.content_hash}"
        self.to_pictures = nn.Linear(self.fixed.width, settings.width)
        self.to_captions = nn.Linear(encoder.sentence_width, settings.width)
        for layer in (self.to_pictures, self.to_captions):
            nn.init.normal_(
                layer.weight, std=(6 / (layer.in_features + layer.out_features)) ** 0.5
            )  # as the code: Glorot's bound as deviation
            nn.init.zeros_(layer.bias)
        self.table: Tensor | None = None

    @classmethod
    def own_encoder(cls, settings: VSSimilaritySettings, captions: Iterable[str]) -> TextEncoder:
        return _trained_encoder(settings, captions) if settings.encoder in TRAINED_KINDS else _frozen_encoder(settings.encoder)

    def players(self) -> dict[str, Player]:
        parts: list[nn.Module] = [self.to_pictures, self.to_captions]
        if self._trains_encoder():
            parts.append(self.encoder)
        optimizer = Adam(learning_rate=self.settings.learning_rate, betas=(0.5, 0.999))
        return {"matching": Player(module=nn.ModuleList(parts), optimizer=optimizer, learning_rate_factor=self._halved)}

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="ranking",
                evaluations=EVALUATIONS,
                resolution=self.resolution,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                steps=settings.steps,
                encoded=False,
            )
        ]

    def prepare(self, phase: Phase, pictures: CaptionedPictures) -> None:
        self.table = self.fixed.views(pictures, self.settings.views).to(device_of(self))

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        text = self.embed_captions([own[0] for own in batch.captions])  # [B, D]
        pictures = self._embed_features(self._drawn(batch))  # [B, D]
        loss = len(batch) ** 2 * symmetric_joint_embedding_loss(text, pictures, self.settings.margin)  # a sum, where DS-SJE has B * B
        found = {
            "picture_to_caption": partners_found(pictures, text).float().mean(),
            "caption_to_picture": partners_found(text, pictures).float().mean(),
            "similarity": (pictures * text).sum(1).mean().detach(),
        }
        yield Update("matching", loss, found)

    def _drawn(self, batch: Batch) -> Tensor:
        """One view's features of each of the batch's pictures: [B, width of the features]."""
        if self.table is None:
            raise RuntimeError("prepare(phase, pictures) comes before training")
        views = random.integers(self.table.shape[1], batch.seed, "view", batch.samples)
        return self.table[torch.from_numpy(batch.indices).to(self.table.device), torch.from_numpy(views).to(self.table.device)]

    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        return F.normalize(self.to_captions(self.encoder(captions).sentence), dim=1)

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        return self._embed_features(self.fixed.of(pictures.cpu()).to(device_of(self)))  # the fixed network stays on the CPU

    def _embed_features(self, features: Tensor) -> Tensor:
        return F.normalize(self.to_pictures(features), dim=1)

    def embed_stored(self, pictures: CaptionedPictures, indices: NDArray[np.int64]) -> Tensor:
        return self._embed_features(self.fixed.of_stored(pictures, indices).to(device_of(self)))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if not self._trains_encoder():
            self.encoder.eval()
        return self

    def _trains_encoder(self) -> bool:
        return self.settings.encoder in TRAINED_KINDS

    def _halved(self, progress: Progress) -> float:
        return float(0.5 ** int(progress.epoch / self.settings.halve_every))


def _trained_encoder(settings: VSSimilaritySettings, captions: Iterable[str]) -> TextEncoder:
    if settings.encoder != "attngan":
        return new_encoder(settings.encoder, settings.text_width, captions)
    return LSTMEncoder(Vocabulary.build(captions, maximum_words=48), LSTMSettings(width=settings.text_width))


def _frozen_encoder(name: str) -> TextEncoder:
    """An encoder that is read from a folder, or ships with Limner; its weights no longer change."""
    if not Path(name).exists():
        if name not in shipped_encoders():
            known = ", ".join((*TRAINED_KINDS, *shipped_encoders()))
            raise SettingsError(f"method.encoder is '{name}': give the folder of a text encoder, or one of {known}")
        return load_shipped_encoder(name).requires_grad_(False)
    return load_encoder(name).requires_grad_(False)
