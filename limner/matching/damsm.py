"""DAMSM: the deep attentional multimodal similarity model that AttnGAN trains first and is then trained by.

Xu, Zhang, Huang, Zhang, Gan, Huang, He, "AttnGAN", CVPR 2018, arXiv:1711.10485, section 3.2; the authors' code is taoxugit/AttnGAN. A
bidirectional LSTM gives words and a sentence, a frozen Inception-v3 regions and a whole picture. In each batch, pictures must find their
captions and captions their pictures, once by sentences and once by words, each of which looks at the regions that fit it
(`limner.nn.damsm`). Pictures of one class are no mistakes for each other.

Where no Inception weights can be had, a compact picture network is trained with the text from nothing (`pictures=trained`).

Where code and paper differ, this follows the code: gamma1 is 4 and the log-sum-exp over words is not divided by gamma2. Unlike the code,
Adam keeps its moments from one pass to the next (the authors make it anew each), and Inception's batch statistics stay those of its file
(the authors leave them running). With several processes, each contrasts the rows of its own share of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from limner.core import random
from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Adam, Conditions, Phase, Player, Progress, Update
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.data.pictures import CaptionedPictures
from limner.features.inception import TorchvisionInception
from limner.matching.model import MatchingModel
from limner.matching.regions import CompactRegions, InceptionRegions, load_inception
from limner.nn import damsm
from limner.text.encoder import TextEncoder
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self

TRAINED, INSIDE = "trained", "inside"


@dataclass(frozen=True, kw_only=True)
class DAMSMSettings:
    """Settings of DAMSM; the defaults are those of the authors' configuration for birds (CUB)."""

    pictures: str = "tv-inception"
    """Who looks at pictures: `tv-inception` or `tv-inception=FILE`, frozen; or `trained`, a small network from nothing."""
    align_corners: bool = True
    """Whether pictures of other sizes come to Inception's 299 px as PyTorch enlarged them when the authors trained; without, as today."""
    picture_channels: int = 32
    """Channels of the trained picture network's first stage; the later ones have up to four times as many."""
    width: int = 256
    """Width of the space that words, regions, sentences and pictures share."""
    word_embedding: int = 300
    """Width of each word's embedding before it is read in context."""
    dropout: float = 0.5
    """Share of the word embeddings' entries that training leaves out."""
    maximum_words: int = 18
    """Words of a caption that are read: in training as many drawn from a longer one, in their order; else the first ones."""
    gamma_attention: float = 4.0
    """gamma1: how sharply each word looks at regions. The paper says 5, the authors' configurations 4."""
    gamma_words: float = 5.0
    """gamma2: how much the word that fits best counts among a caption's."""
    gamma_pairs: float = 10.0
    """gamma3: how sharply the right caption must stand out among the batch's."""
    mask_classes: bool = True
    """Whether pictures of the same class are left out of each other's wrong answers."""
    mask_captions: bool = False
    """Whether pictures whose captions read the same are left out, too."""
    counterfactual: bool = False
    """Whether each picture's caption must also win against itself with one attribute or word changed."""
    epochs: float = 600.0
    """Passes over the training pictures."""
    steps: int | None = None
    """Steps of training, in place of `epochs`."""
    batch_size: int = 48
    """Pictures in a batch."""
    learning_rate: float = 2e-3
    """Learning rate of Adam at the start."""
    decay: float = 0.98
    """Factor of the learning rate after each pass over the training pictures."""
    lowest_rate: float = 0.1
    """The share of the learning rate at which its decay ends."""
    gradient_clip: float = 0.25
    """Largest norm of the text encoder's gradient."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "picture_channels", "maximum_words", "steps")
        at_least(self, "method", 2, "batch_size")
        above_zero(self, "method", "gamma_attention", "gamma_words", "gamma_pairs", "epochs", "learning_rate", "decay", "gradient_clip")
        LSTMSettings(width=self.width, word_embedding=self.word_embedding, dropout=self.dropout)


class DAMSM(MatchingModel):
    """A bidirectional LSTM and a picture side with regions, trained by the attention-driven matching losses.

    Captions and pictures are embedded by sentence and whole picture, of length 1, as AttnGAN's R-precision ranks them; `word_scores`
    compares words with regions.
    """

    Settings: ClassVar[type] = DAMSMSettings
    title: ClassVar[str] = "DAMSM"
    paper: ClassVar[str] = "Xu et al., AttnGAN, CVPR 2018, arXiv:1711.10485"
    presets: ClassVar[Mapping[str, Preset]] = {
        "as-published": Preset(sentence="The authors' settings for birds; Inception-v3 sees pictures at 299 px.", resolution=299),
        "cpu": Preset(
            sentence="A small picture network from nothing and changed captions as wrong ones, for two CPU cores and a few minutes.",
            resolution=32,
            method={
                "pictures": TRAINED,
                "width": 128,
                "word_embedding": 64,
                "dropout": 0.1,
                "maximum_words": 32,
                "mask_captions": True,
                "counterfactual": True,
                "steps": 4000,
                "learning_rate": 1e-3,
                "decay": 0.8,
            },
        ),
    }
    settings: DAMSMSettings

    def __init__(self, settings: DAMSMSettings, conditions: Conditions, encoder: TextEncoder) -> None:
        super().__init__(settings, conditions)
        if not conditions.sentence_width == encoder.sentence_width == encoder.word_width == settings.width:
            raise SettingsError(
                f"widths differ: {settings.width} in the settings of DAMSM; in the text encoder {encoder.sentence_width} a sentence and "
                f"{encoder.word_width} a word: make them equal"
            )
        self.encoder = encoder
        self.gammas = damsm.Gammas(attention=settings.gamma_attention, words=settings.gamma_words, pairs=settings.gamma_pairs)
        self.picture_side: CompactRegions | InceptionRegions
        if settings.pictures == TRAINED:
            self.picture_side = CompactRegions(settings.width, settings.picture_channels, conditions.resolution)
        elif settings.pictures == INSIDE:  # an imported one: its batch statistics are no published file's, so the model holds it
            self.picture_side = InceptionRegions(
                settings.width, TorchvisionInception(classifier=False, align_corners=settings.align_corners)
            )
        else:
            network = load_inception(settings.pictures, settings.align_corners)
            self.looks_with = f"{network.name} {network.content_hash}"
            self.picture_side = InceptionRegions(settings.width, network)

    @classmethod
    def for_data(cls, settings: DAMSMSettings, pictures: CaptionedPictures, resolution: int) -> Self:
        if settings.pictures == INSIDE:
            raise SettingsError(
                "method.pictures is 'inside', as imported models alone are: give tv-inception, tv-inception=FILE or trained"
            )
        captions = (caption for index in range(len(pictures)) for caption in pictures.captions(index))
        widths = LSTMSettings(word_embedding=settings.word_embedding, width=settings.width, dropout=settings.dropout)
        encoder = LSTMEncoder(Vocabulary.build(captions, settings.maximum_words), widths)
        return cls.from_saved(
            settings, Conditions(resolution=resolution, sentence_width=settings.width, word_width=settings.width), encoder
        )

    @classmethod
    def from_saved(cls, settings: DAMSMSettings, conditions: Conditions, encoder: TextEncoder) -> Self:
        return cls(settings, conditions, encoder)

    def players(self) -> dict[str, Player]:
        settings = self.settings
        optimizer = Adam(learning_rate=settings.learning_rate, betas=(0.5, 0.999))
        return {
            "text": Player(
                module=self.encoder, optimizer=optimizer, learning_rate_factor=self._decay, gradient_clip=settings.gradient_clip
            ),  # the authors clip the text encoder alone
            "pictures": Player(module=self.picture_side.players(), optimizer=optimizer, learning_rate_factor=self._decay),
        }

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="damsm",
                resolution=self.resolution,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                steps=settings.steps,
                counterfactual=settings.counterfactual,
                encoded=False,
            )
        ]

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        captions = self._thinned([own[0] for own in batch.captions], batch)
        wrong: list[str] = []
        if self.settings.counterfactual and batch.counterfactual_captions is not None:
            wrong = self._thinned(batch.counterfactual_captions, batch)
        text = self.encoder(captions + wrong)  # [B or 2B, ...]
        assert text.words is not None
        regions, pictures = self.picture_side(batch.image(self.resolution))  # [B, D, R], [B, D]

        # Two players share one loss: its gradient is taken once where text and pictures meet, and each carries its part on.
        met = [value.detach().requires_grad_() for value in (text.words, text.sentence, regions, pictures)]
        losses, metrics = self.losses(TextFeatures(met[1], met[0], text.mask), met[2], met[3], captions, wrong, batch.classes)
        loss = sum(losses.values(), torch.zeros((), device=regions.device))
        words_slope, sentence_slope, regions_slope, pictures_slope = torch.autograd.grad(loss, met)
        metrics |= {f"{name}_loss": value.detach() for name, value in losses.items()}
        yield Update("text", _carried(loss, [(text.words, words_slope), (text.sentence, sentence_slope)]), metrics)
        yield Update("pictures", _carried(loss, [(regions, regions_slope), (pictures, pictures_slope)]))

    def losses(
        self, text: TextFeatures, regions: Tensor, pictures: Tensor, captions: list[str], wrong: list[str], classes: Tensor | None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The four losses, and what was found; rows of the text from B on are the changed captions."""
        count, gammas = len(pictures), self.gammas
        assert text.words is not None and text.mask is not None
        same = self._same(captions, classes, pictures.device)
        by_words = gammas.pairs * damsm.word_scores(regions, text.words[:count], text.mask[:count], gammas)
        by_sentence = gammas.pairs * damsm.sentence_scores(pictures, text.sentence[:count])
        changed_words = changed_sentence = None
        if wrong:
            alike = torch.tensor([true == false for true, false in zip(captions, wrong, strict=True)], device=pictures.device)
            scores = gammas.pairs * damsm.paired_word_scores(regions, text.words[count:], text.mask[count:], gammas)
            cosines = gammas.pairs * F.cosine_similarity(pictures, text.sentence[count:])
            changed_words, changed_sentence = (value.masked_fill(alike, -torch.inf)[:, None] for value in (scores, cosines))
        words = damsm.matching_losses(by_words, same, changed_words)
        sentences = damsm.matching_losses(by_sentence, same, changed_sentence)
        own = torch.arange(count, device=pictures.device)
        found = {
            "picture_to_caption": (by_sentence.argmax(1) == own).float().mean(),
            "picture_to_caption_by_words": (by_words.argmax(1) == own).float().mean(),
        }
        if changed_words is not None and changed_sentence is not None:
            found["counterfactual"] = (by_sentence.diagonal() > changed_sentence[:, 0]).float().mean()
            found["counterfactual_by_words"] = (by_words.diagonal() > changed_words[:, 0]).float().mean()
        return {"words": words[0] + words[1], "sentences": sentences[0] + sentences[1]}, {
            name: value.detach() for name, value in found.items()
        }

    def _same(self, captions: Sequence[str], classes: Tensor | None, device: torch.device) -> Tensor | None:
        """[B, B] bool: pairs that are no mistake, or None."""
        same = damsm.same_class(classes if self.settings.mask_classes else None)
        if self.settings.mask_captions:
            numbers = {caption: number for number, caption in enumerate(captions)}
            alike = damsm.same_class(torch.tensor([numbers[caption] for caption in captions], device=device))
            same = alike if same is None or alike is None else same | alike
        return same

    def _thinned(self, captions: Sequence[str], batch: Batch) -> list[str]:
        """Captions cut to `maximum_words` as the authors cut: words drawn from the whole caption, in their order."""
        return [self._drawn_words(caption, batch.seed, sample) for caption, sample in zip(captions, batch.samples.tolist(), strict=True)]

    def _drawn_words(self, caption: str, seed: int, sample: int) -> str:
        most = self.settings.maximum_words
        if not isinstance(self.encoder, LSTMEncoder) or not self.encoder.was_cut(caption):
            return caption
        words = self.encoder.vocabulary.known(caption)
        places: NDArray[np.int64] = np.argsort(random.uniform(seed, "words", sample, np.arange(len(words))), kind="stable")[:most]
        return " ".join(words[place] for place in np.sort(places))

    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """B captions -> their sentences [B, D], of length 1."""
        return F.normalize(self.encoder(captions).sentence, dim=1)

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] in [-1, 1] -> whole pictures [B, D], of length 1."""
        return F.normalize(self.picture_side(pictures)[1], dim=1)

    def word_scores(self, pictures: Tensor, captions: Sequence[str]) -> Tensor:
        """Scores by words and regions of every picture [P, 3, R, R] with each of C captions: [P, C], not times gamma3."""
        text = self.encoder(captions)
        assert text.words is not None and text.mask is not None
        return damsm.word_scores(self.picture_side(pictures)[0], text.words, text.mask, self.gammas)

    def trained(self) -> dict[str, Tensor]:
        """All that is saved beside the text encoder: without Inception, unless no file but this one holds it."""
        inside = self.settings.pictures == INSIDE
        return {name: value for name, value in super().trained().items() if inside or not name.startswith("picture_side.network.")}

    def _decay(self, progress: Progress) -> float:
        return float(max(self.settings.decay ** int(progress.epoch), self.settings.lowest_rate))


def _carried(loss: Tensor, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """A scalar with the value of `loss` and, through each (value, slope) pair, the gradient that `loss` has there."""
    through = torch.stack([(value.float() * slope.float()).sum() for value, slope in parts]).sum()
    return through - through.detach() + loss.detach()
