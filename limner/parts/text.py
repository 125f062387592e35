"""The text encoder that a run trains first, which learns to read by telling whose caption is whose.

A text encoder and a small picture encoder are trained together so that, in each batch, every caption finds its own picture and every
picture its own caption: CLIP's symmetric contrastive objective with a learned temperature (Radford et al., ICML 2021, arXiv:2103.00020),
kin to the joint embedding of DS-SJE (Reed et al., CVPR 2016, arXiv:1605.05395) and to AttnGAN's DAMSM (arXiv:1711.10485). Other pictures'
captions differ in many things, and the easiest ones suffice to tell them apart; a counterfactual caption, in which one attribute or word
is changed, stands in each picture's row as one more candidate, and makes the encoder hear every word that matters.

With several processes, each contrasts the rows of its own share of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.optimizers import Adam
from limner.core.settings import Preset
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.data.garden.words import garden_tokenizer
from limner.matching.losses.contrast import reads_same
from limner.matching.model import MatchingModel
from limner.matching.towers.compact import PictureEncoder
from limner.text.encoder import TextEncoder
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer
from limner.text.words import drop_words, split_words

EVALUATIONS = 10
"""How often the loss on the val split is taken, where training may end by it."""


@dataclass(frozen=True, kw_only=True)
class CaptionMatchingSettings:
    """How captions and pictures are matched, and the size of an encoder that is trained so."""

    sentence_width: int = 128
    """Width of the sentence embedding, which pictures share."""
    word_embedding: int = 64
    """Width of each word's embedding before it is read in context."""
    hidden: int = 64
    """Width of the text encoder's state in each direction; a word's features are twice as wide."""
    minimum_count: int = 1
    """A word that the training captions hold less often is unknown."""
    maximum_words: int = 48
    """Words of a caption that are read; what follows is cut."""
    picture_channels: int = 32
    """Channels of the picture encoder's first stage; the later ones have up to four times as many."""
    resolution: int = 32
    """Side in pixels at which pictures are matched: 32 or 64."""
    steps: int = 3000
    """Steps of training."""
    batch_size: int = 64
    """Pictures in a batch: each caption must find its own among them."""
    learning_rate: float = 1e-3
    """Highest learning rate of Adam; it rises over the first steps and falls to nothing along a half cosine."""
    temperature: float = 0.07
    """Temperature of the softmax at the start; it is learned, and kept above 0.01."""
    word_dropout: float = 0.1
    """Probability that a word is unknown in training, so that words never met do little harm later."""
    patience: int = 0
    """Evaluations on the val split, ten or more in all, without a lower loss that end training; 0 trains to the end."""
    counterfactual: bool = True
    """Whether each picture's caption must also win against itself with one attribute or word changed."""
    mask_classes: bool = False
    """Whether pictures of the same class are left out of each other's wrong answers, as DAMSM does."""
    vocabulary: Literal["captions", "garden"] = "captions"
    """Where the words come from: the training captions, or everything that the built-in garden can say, with synonyms."""


class CaptionMatching(MatchingModel):
    """A text encoder and a picture encoder, trained by matching; `encoder` is what it is trained for, and alone is kept.

    `conditions.sentence_width` must be the encoder's; pictures are matched at `settings.resolution`, whatever the conditions' resolution.
    """

    kind = "text"
    Settings: ClassVar[type] = CaptionMatchingSettings
    title: ClassVar[str] = "Text encoder"
    paper: ClassVar[str] = "after CLIP (Radford et al., ICML 2021, arXiv:2103.00020)"
    presets: ClassVar[Mapping[str, Preset]] = {
        "as-published": Preset(sentence="The library's own defaults: the model is nobody's publication.", resolution=32),
        "cpu": Preset(sentence="Ten minutes on two cores.", resolution=32),
    }

    settings: CaptionMatchingSettings
    warm_up_steps: ClassVar[int] = 100

    def __init__(self, settings: CaptionMatchingSettings, conditions: Conditions, encoder: TextEncoder) -> None:
        super().__init__(settings, conditions, encoder)
        if not conditions.sentence_width == encoder.sentence_width == settings.sentence_width:
            raise SettingsError(
                f"sentence widths differ: {settings.sentence_width} in the matching settings, {encoder.sentence_width} in the text "
                f"encoder, {conditions.sentence_width} in the conditions: make them equal"
            )
        self.picture_encoder = PictureEncoder(settings.sentence_width, settings.picture_channels, settings.resolution)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / settings.temperature)))

    @classmethod
    def own_encoder(cls, settings: CaptionMatchingSettings, captions: Iterable[str]) -> RecurrentEncoder:
        if settings.vocabulary == "garden":
            tokenizer = garden_tokenizer(settings.maximum_words)
        else:
            tokenizer = WordTokenizer.build(captions, settings.minimum_count, settings.maximum_words)
        widths = RecurrentSettings(word_embedding=settings.word_embedding, hidden=settings.hidden, sentence_width=settings.sentence_width)
        return RecurrentEncoder(tokenizer, widths)

    @property
    def resolution(self) -> int:
        return self.settings.resolution

    def players(self) -> dict[str, Player]:
        optimizer = Adam(learning_rate=self.settings.learning_rate, betas=(0.9, 0.99))
        return {"matching": Player(module=self, optimizer=optimizer, learning_rate_factor=self._learning_rate_factor, gradient_clip=1.0)}

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="text",
                resolution=settings.resolution,
                batch_size=settings.batch_size,
                steps=settings.steps,
                evaluations=EVALUATIONS if settings.patience else 0,
                patience=settings.patience,
                counterfactuals=int(settings.counterfactual),
                encoded=False,
            )
        ]

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        loss, metrics = self._matched(batch, self.settings.word_dropout)
        yield Update("matching", loss, metrics)

    def validate_batches(self, batches: Sequence[Batch]) -> dict[str, float]:
        """The loss on held-out pairs, every word heard; "score" is its negative."""
        found = [self._matched(batch, 0.0) for batch in batches]
        loss = float(torch.stack([loss for loss, _ in found]).mean())
        right = float(torch.stack([metrics["picture_to_caption"] for _, metrics in found]).mean())
        return {"score": -loss, "loss": loss, "picture_to_caption": right}

    def _matched(self, batch: Batch, drop: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The contrastive loss of a batch, a scalar, and its figures. drop: probability that a word is unknown."""
        settings = self.settings
        split = self.encoder.words if isinstance(self.encoder, RecurrentEncoder) else split_words
        told, changed_ones = [own[0] for own in batch.captions], []
        captions = drop_words(told, drop, batch.seed, batch.samples, split=split)
        wrong: list[str] = []
        if settings.counterfactual and batch.counterfactual_captions is not None:
            changed_ones = [own[0] for own in batch.counterfactual_captions]
            wrong = drop_words(changed_ones, drop, batch.seed, batch.samples, "counterfactual word dropout", split)

        pictures = self.embed_pictures(batch.image(settings.resolution))  # [B, D]
        texts = self.embed_captions(captions + wrong)  # [B or 2B, D]
        scale = self.log_scale.exp().clamp(max=100.0)
        logits = scale * pictures @ texts[: len(batch)].T  # [B pictures, B captions]
        # What reads the same is no mistake, and neither is what only the words now left out tell apart.
        not_wrong = self._not_wrong(told, batch.classes) | self._not_wrong(captions, None)
        logits = logits.masked_fill(not_wrong.to(logits.device), -torch.inf)
        candidates = logits
        if wrong:
            changed = scale * (pictures * texts[len(batch) :]).sum(1, keepdim=True)  # [B, 1]
            alike = (reads_same(told, changed_ones) | reads_same(captions, wrong)).diagonal().to(changed.device)
            candidates = torch.cat((logits, changed.masked_fill(alike[:, None], -torch.inf)), dim=1)

        own = torch.arange(len(batch), device=logits.device)
        loss = (F.cross_entropy(candidates, own) + F.cross_entropy(logits.T, own)) / 2
        metrics = {
            "picture_to_caption": (logits.argmax(1) == own).float().mean(),
            "caption_to_picture": (logits.argmax(0) == own).float().mean(),
            "temperature": 1 / scale.detach(),
        }
        if wrong:
            metrics["counterfactual"] = (logits.diagonal() > candidates[:, -1]).float().mean()
        return loss, metrics

    def kept(self) -> dict[str, Tensor]:
        """Nothing but the text encoder."""
        return {}

    def description(self) -> dict[str, Any]:
        return {}

    def summary(self) -> str:
        return f"Reads captions: {self.encoder.sentence_width} numbers a sentence."

    def usage(self) -> str:
        return "```\nlimner train gan-cls --data DATA --text.encoder PATH --out RUN\n```\n"

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        return (("use", "limner train METHOD --data DATA --text.encoder RUN --out OTHER_RUN"),)

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] -> [B, D] of length 1, R being `settings.resolution`."""
        return self.picture_encoder(pictures)

    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """B captions -> [B, D] of length 1."""
        return F.normalize(self.encoder(captions).sentence, dim=1)

    def _not_wrong(self, captions: Sequence[str], classes: Tensor | None) -> Tensor:
        """[B, B] bool: pairs off the diagonal that are not mistakes, because captions read the same (or classes, if asked for, are)."""
        same = reads_same(captions, captions)
        if self.settings.mask_classes and classes is not None:
            same |= (classes[:, None] == classes[None]).cpu()
        return same.fill_diagonal_(False)

    def _learning_rate_factor(self, progress: Progress) -> float:
        rise = min((progress.step + 1) / self.warm_up_steps, 1.0)
        return rise * 0.5 * (1 + math.cos(math.pi * progress.spent))
