"""CLIP: contrastive language-image pre-training.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, arXiv:2103.00020; the authors published
the networks (github.com/openai/CLIP) and pseudocode of the training (Figure 3), not its code. A picture tower and a causal text transformer
embed pictures and captions into one space; in each batch, every picture must find its own caption, and every caption its picture, by cosine
similarity and a softmax whose temperature is learned.

With several processes each picture meets the captions of all of them, as published: embeddings are gathered, with gradients. Four
additions are not in the paper and off in `as-published`: pairs with the same caption or class can be left out of the wrong answers;
captions with one attribute or word changed can be added to them; a picture can have several captions; and some pictures can lose their
colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.optimizers import Adam
from limner.core.schedules import warmed
from limner.core.settings import Preset, above_zero, at_least
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.matching.losses.contrast import caption_losses, same_captions
from limner.matching.losses.gathering import gathered, own_rows
from limner.matching.model import EVALUATIONS, MatchingModel
from limner.matching.towers.clip import ModifiedResNet, VisionTransformer, normalized
from limner.matching.towers.colourless import some_colourless
from limner.matching.towers.compact import PictureEncoder
from limner.text.byte_pairs import BytePairTokenizer
from limner.text.clip_text import ClipText, ClipTextSettings
from limner.text.encoder import TextEncoder
from limner.text.transformer import Activation

if TYPE_CHECKING:
    pass

HIGHEST_SCALE = 100.0


@dataclass(frozen=True, kw_only=True)
class CLIPSettings:
    """Settings of CLIP; the defaults are those of the published ViT-B/32 (Tables 18 and 19 of the paper)."""

    tower: Literal["vit", "resnet", "compact"] = "vit"
    """The picture tower: a vision transformer, the modified residual network, or a small residual network of our own."""
    width: int = 512
    """Width of the space that pictures and captions share."""
    picture_width: int = 768
    """Width of the vision transformer, or channels of a residual network's first stage."""
    picture_layers: tuple[int, ...] = (12,)
    """Blocks of the vision transformer, or of each stage of the residual network."""
    picture_heads: int = 12
    """Heads of each attention in the picture tower."""
    patch: int = 32
    """Side in pixels of the vision transformer's patches."""
    text_width: int = 512
    """Width of the text transformer."""
    text_layers: int = 12
    """Blocks of the text transformer."""
    text_heads: int = 8
    """Heads of each attention in the text transformer."""
    context_length: int = 77
    """Byte pairs of a caption that are read, its start and end included."""
    merges: int = 48_894
    """The most byte pairs that are learned from the training captions; small sets hold fewer."""
    activation: Activation = "quick-gelu"
    """Nonlinearity of the transformers: `quick-gelu` as published, or the `gelu` of most open_clip weights."""
    temperature: float = 0.07
    """Temperature of the softmax at the start; it is learned, and kept from falling below 0.01."""
    leave_out: Literal["nothing", "captions", "classes"] = "nothing"
    """Which pairs of a batch do not count as wrong answers: those with the same caption, or also those of the same class."""
    captions: int = 1
    """Captions of each picture in a batch. Each must win by itself; those of the same picture do not count as wrong answers."""
    counterfactual: bool = False
    """Whether each picture's captions must also win against every caption of the batch with one attribute or word changed."""
    colourless: float = 0.0
    """Share of the training pictures that lose their colour, so that the model learns everything else without it."""
    batch_size: int = 32_768
    """Pictures in a batch, over all processes: each caption must find its own among them."""
    epochs: float = 32.0
    """Passes over the training pictures."""
    steps: int | None = None
    """Steps of training, in place of passes."""
    learning_rate: float = 5e-4
    """Highest learning rate of AdamW; it rises over the first steps and falls to nothing along a half cosine."""
    warm_up_steps: int = 2000
    """Steps over which the learning rate rises."""
    weight_decay: float = 0.2
    """Decoupled weight decay, only of matrices and convolutions: gains, biases and the temperature have none."""
    beta2: float = 0.98
    """Second-moment decay of AdamW: 0.98 for vision transformers, 0.999 for residual networks."""
    epsilon: float = 1e-6
    """What AdamW adds to the root of the second moment: 1e-6 for vision transformers, 1e-8 for residual networks."""
    gradient_clip: float | None = None
    """Largest norm of the whole gradient; the paper names none."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "width", "picture_width", "picture_heads", "patch", "text_width", "text_layers", "text_heads", "steps")
        at_least(self, "method", 1, "captions")
        at_least(self, "method", 0, "merges", "warm_up_steps", "weight_decay", "colourless")
        at_least(self, "method", 2, "batch_size")
        at_least(self, "method", 3, "context_length")
        above_zero(self, "method", "temperature", "learning_rate", "epochs", "epsilon", "gradient_clip")
        if self.tower == "vit" and len(self.picture_layers) != 1:
            raise SettingsError(f"method.picture-layers is {list(self.picture_layers)}: a vision transformer has one number of blocks")


class CLIP(MatchingModel):
    """A picture tower and a text transformer in one space. Embeddings have length 1; a score is their cosine."""

    Settings: ClassVar[type] = CLIPSettings
    title: ClassVar[str] = "CLIP"
    paper: ClassVar[str] = (
        "Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, arXiv:2103.00020"
    )
    presets: ClassVar[Mapping[str, Preset]] = {
        "as-published": Preset(sentence="ViT-B/32 at 224 px, 32,768 pictures a batch.", resolution=224, data={"flip": False}),
        "cpu": Preset(
            sentence="A small residual network of our own and two text blocks: fifteen minutes of two CPU cores.",
            resolution=32,
            method={
                "tower": "compact",
                "width": 128,
                "picture_width": 32,
                "text_width": 96,
                "text_layers": 2,
                "text_heads": 4,
                "leave_out": "captions",
                "captions": 3,
                "counterfactual": True,
                "colourless": 0.25,
                "batch_size": 48,
                "steps": 4200,
                "learning_rate": 2e-3,
                "warm_up_steps": 100,
                "weight_decay": 0.05,
                "gradient_clip": 1.0,
            },
        ),
    }
    settings: CLIPSettings
    encoder: ClipText

    def __init__(self, settings: CLIPSettings, conditions: Conditions, encoder: TextEncoder) -> None:
        if not isinstance(encoder, ClipText):
            raise SettingsError(f"CLIP reads with a text encoder of its own kind, not with {encoder.kind}")
        super().__init__(settings, conditions, encoder)
        if encoder.sentence_width != settings.width:
            raise SettingsError(f"sentences have {encoder.sentence_width} numbers and pictures {settings.width}: make them equal")
        self.picture_side: nn.Module
        if settings.tower == "vit":
            self.picture_side = VisionTransformer(
                conditions.resolution,
                settings.patch,
                settings.picture_width,
                settings.picture_layers[0],
                settings.picture_heads,
                settings.width,
                settings.activation,
            )
        elif settings.tower == "compact":
            self.picture_side = PictureEncoder(settings.width, settings.picture_width, conditions.resolution, normalize=False)
        else:
            self.picture_side = ModifiedResNet(
                conditions.resolution, settings.picture_layers, settings.picture_width, settings.picture_heads, settings.width
            )
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / settings.temperature)))

    @classmethod
    def own_encoder(cls, settings: CLIPSettings, captions: Iterable[str]) -> TextEncoder:
        tokenizer = BytePairTokenizer.train(captions, settings.merges, settings.context_length)
        return ClipText(tokenizer, text_settings(settings, len(tokenizer)))

    @property
    def scale(self) -> Tensor:
        """The factor of cosines before a softmax: one over the temperature."""
        return self.log_scale.exp().clamp(max=HIGHEST_SCALE)

    def players(self) -> dict[str, Player]:
        settings = self.settings
        optimizer = Adam(
            learning_rate=settings.learning_rate,
            betas=(0.9, settings.beta2),
            epsilon=settings.epsilon,
            weight_decay=settings.weight_decay,
            decoupled=True,
        )
        factor, clip = self._learning_rate_factor, settings.gradient_clip
        return {"matching": Player(module=self, optimizer=optimizer, learning_rate_factor=factor, gradient_clip=clip)}

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="clip",
                evaluations=EVALUATIONS,
                resolution=self.resolution,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                steps=settings.steps,
                captions=settings.captions,
                counterfactuals=int(settings.counterfactual),
                encoded=False,
            )
        ]

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        wrong = batch.counterfactual_captions if self.settings.counterfactual else None
        captions = batch.captions if wrong is None else [[*own, *changed] for own, changed in zip(batch.captions, wrong, strict=True)]
        pictures = self.embed_pictures(some_colourless(batch.pictures, self.settings.colourless, batch.seed, batch.samples))  # [b, D]
        texts = self.embed_captions([caption for own in captions for caption in own]).unflatten(0, (len(batch), -1))  # [b, K or 2K, D]
        with torch.autocast(pictures.device.type, enabled=False):  # differences of cosines times 100 want all their digits
            true, changed = (texts, None) if wrong is None else texts.chunk(2, dim=1)
            no_mistakes = None
            if self.settings.leave_out != "nothing":
                classes = batch.classes if self.settings.leave_out == "classes" else None
                no_mistakes = same_captions(captions, true.shape[1], pictures.device, classes)
            loss, metrics = contrastive_loss(pictures, true, self.scale, changed, no_mistakes)
        yield Update("matching", loss, metrics | {"temperature": 1 / self.scale.detach()})

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        return F.normalize(self.picture_side(normalized(pictures)).float(), dim=1)

    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        return F.normalize(self.encoder(captions).sentence.float(), dim=1)

    def _learning_rate_factor(self, progress: Progress) -> float:
        warm_up = min(self.settings.warm_up_steps, max(progress.steps // 2, 1))
        return warmed(progress, warm_up)


def text_settings(settings: CLIPSettings, vocabulary: int) -> ClipTextSettings:
    """Sizes of the text side for a vocabulary of so many ids."""
    return ClipTextSettings(
        vocabulary=vocabulary,
        context_length=settings.context_length,
        width=settings.text_width,
        layers=settings.text_layers,
        heads=settings.text_heads,
        sentence_width=settings.width,
        activation=settings.activation,
    )


def contrastive_loss(
    pictures: Tensor, texts: Tensor, scale: Tensor, changed: Tensor | None = None, no_mistakes: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The symmetric loss of Figure 3 over all processes' pairs, and how often the right one scores highest: scalars, of this process's
    rows.

    pictures: [b, D] of length 1, this process's; texts: [b, K, D], captions of each, which must win one by one; changed: [b, K, D],
    captions that are wrong for their picture, which pictures must not take for their own either; no_mistakes: [b, K, B, K] or, with
    changed captions, [b, K, B, 2K] bool, candidates that may stand in an own caption's place. The published loss has K = 1 and no more.
    Averaged over processes, the loss and its gradients are those of one process that has the whole batch.
    """
    everything = gathered(torch.cat([pictures[:, None], texts] if changed is None else [pictures[:, None], texts, changed], dim=1))
    all_pictures, candidates = everything[:, 0], everything[:, 1:]  # [B, D], [B, K or 2K, D], in one exchange
    to_texts = scale * torch.einsum("bd,ckd->bck", pictures, candidates)
    to_pictures = scale * torch.einsum("bkd,cd->bkc", texts, all_pictures)
    by_pictures, by_captions, metrics = caption_losses(to_texts, to_pictures, own_rows(len(pictures)), no_mistakes)
    return (by_pictures + by_captions) / 2, metrics
