"""DAMSM: the deep attentional multimodal similarity model, which is trained before AttnGAN and then used in its loss.

Xu, Zhang, Huang, Zhang, Gan, Huang, He, "AttnGAN", CVPR 2018, arXiv:1711.10485, section 3.2; the authors' code is taoxugit/AttnGAN. A
bidirectional LSTM gives words and a sentence, a frozen Inception-v3 regions and a whole picture. In each batch, pictures must find their
captions and captions their pictures, once by sentences and once by words, each of which attends to the regions that fit it
(`limner.matching.losses.words`). Pictures of one class do not count as mistakes for each other.

Without Inception's weights, a compact picture network can be trained together with the text, from scratch (`pictures=trained`).

Where code and paper differ, this follows the code: gamma1 is 4 and the log-sum-exp over words is not divided by gamma2. Unlike the code,
Adam keeps its moments from one pass to the next (the authors reset it after each), and Inception's batch statistics stay those of its file
(the authors let them run). With several processes, each contrasts the rows of its own share of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from limner.core.settings import Preset, above_zero, at_least, place
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.features.inception import TorchvisionInception
from limner.matching.losses.contrast import caption_losses, reads_same, same_captions
from limner.matching.losses.words import Gammas, matching_losses, paired_word_scores, same_class, sentence_scores, word_scores
from limner.matching.model import EVALUATIONS, MatchingModel
from limner.matching.towers.colourless import some_colourless
from limner.matching.towers.regions import CompactRegions, FrozenRegions, load_regions_network
from limner.text.encoder import TextEncoder
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary

if TYPE_CHECKING:
    pass

HIGHEST_SHARPNESS = 100.0
TRAINED, INSIDE = "trained", "inside"


@dataclass(frozen=True, kw_only=True)
class DAMSMSettings:
    """Settings of DAMSM; the defaults are those of the authors' configuration for birds (CUB)."""

    pictures: str = place("tv-inception", named=True)
    """The picture network: `tv-inception`, `squeezenet` or `tv-squeezenet`, or NAME=FILE, frozen; or `trained`, a small network trained
    from scratch."""
    align_corners: bool = True
    """Whether pictures of other sizes come to Inception's 299 px as PyTorch resized them when the authors trained; without it, as today."""
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
    """gamma1: how sharply each word attends to regions. The paper says 5, the authors' configurations 4."""
    gamma_words: float = 5.0
    """gamma2: how much the word that fits best counts among a caption's."""
    gamma_pairs: float = 10.0
    """gamma3: how sharply the right caption must stand out among the batch's."""
    gamma_sentences: float | None = None
    """gamma3 of the sentence score alone; by default that of both."""
    learned_sharpness: bool = False
    """Whether gamma3 of the sentence score is learned from that value on, as CLIP learns its temperature; it stays below 100."""
    mask_classes: bool = True
    """Whether pictures of the same class are left out of each other's wrong answers."""
    mask_captions: bool = False
    """Whether pictures whose captions read the same are left out, too."""
    captions: int = 1
    """Captions of each picture in a batch, which must win one by one in the sentence score; words take the first."""
    counterfactual: bool = False
    """Whether a picture's captions must also win against captions with one attribute or word changed: the sentence against all of the
    batch's, its words against the same caption changed."""
    colourless: float = 0.0
    """Share of the training pictures that lose their colour, so that the model learns everything else without it."""
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
        at_least(self, "method", 1, "picture_channels", "maximum_words", "captions", "steps")
        at_least(self, "method", 2, "batch_size")
        at_least(self, "method", 0, "colourless")
        above_zero(self, "method", "gamma_attention", "gamma_words", "gamma_pairs", "gamma_sentences")
        above_zero(self, "method", "epochs", "learning_rate", "decay", "gradient_clip")
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
            sentence="A small picture network from nothing and changed captions as wrong ones: fifteen minutes of two CPU cores.",
            resolution=32,
            method={
                "pictures": TRAINED,
                "width": 128,
                "word_embedding": 64,
                "dropout": 0.1,
                "maximum_words": 32,
                "gamma_sentences": 20.0,
                "mask_captions": True,
                "captions": 4,
                "counterfactual": True,
                "steps": 5000,
                "learning_rate": 1e-3,
                "decay": 0.8,
            },
        ),
    }
    settings: DAMSMSettings

    def __init__(self, settings: DAMSMSettings, conditions: Conditions, encoder: TextEncoder) -> None:
        super().__init__(settings, conditions, encoder)
        if not conditions.sentence_width == encoder.sentence_width == encoder.word_width == settings.width:
            raise SettingsError(
                f"widths differ: {settings.width} in the settings of DAMSM; in the text encoder {encoder.sentence_width} a sentence and "
                f"{encoder.word_width} a word: make them equal"
            )
        self.gammas = Gammas(attention=settings.gamma_attention, words=settings.gamma_words, pairs=settings.gamma_pairs)
        sharpness = settings.gamma_pairs if settings.gamma_sentences is None else settings.gamma_sentences
        self.sharpness = sharpness
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(sharpness))) if settings.learned_sharpness else None
        self.picture_side: CompactRegions | FrozenRegions
        if settings.pictures == TRAINED:
            self.picture_side = CompactRegions(settings.width, settings.picture_channels, conditions.resolution)
        elif settings.pictures == INSIDE:  # an imported one: its batch statistics are those of no published file, so the model holds it
            self.picture_side = FrozenRegions(settings.width, TorchvisionInception(classifier=False, align_corners=settings.align_corners))
        else:
            network = load_regions_network(settings.pictures, settings.align_corners)
            self.looks_with = f"{network.name} {network.content_hash}"
            self.picture_side = FrozenRegions(settings.width, network)

    @classmethod
    def own_encoder(cls, settings: DAMSMSettings, captions: Iterable[str]) -> TextEncoder:
        if settings.pictures == INSIDE:
            raise SettingsError("method.pictures is 'inside', as imported models alone are: give a feature network, NAME=FILE or trained")
        widths = LSTMSettings(word_embedding=settings.word_embedding, width=settings.width, dropout=settings.dropout)
        return LSTMEncoder(Vocabulary.build(captions, settings.maximum_words), widths)

    def players(self) -> dict[str, Player]:
        settings = self.settings
        pictures = self.picture_side.players()
        if self.log_sharpness is not None:
            pictures = nn.ModuleList([pictures, nn.ParameterList([self.log_sharpness])])
        optimizer = Adam(learning_rate=settings.learning_rate, betas=(0.5, 0.999))
        return {
            "text": Player(
                module=self.encoder, optimizer=optimizer, learning_rate_factor=self._decay, gradient_clip=settings.gradient_clip
            ),  # the authors clip the text encoder alone
            "pictures": Player(module=pictures, optimizer=optimizer, learning_rate_factor=self._decay),
        }

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="damsm",
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
        captions = _columns(batch.captions)
        if self.settings.counterfactual and batch.counterfactual_captions is not None:
            captions += _columns(batch.counterfactual_captions)
        heard = [self._thinned(own, batch) for own in captions]
        text = self.encoder([caption for column in heard for caption in column])  # K or 2K times [B, ...]
        assert text.words is not None
        shown = some_colourless(batch.image(self.resolution), self.settings.colourless, batch.seed, batch.samples)
        regions, pictures = self.picture_side(shown)  # [B, D, R], [B, D]

        # Two players share one loss: its gradient is taken once where text and pictures meet, and each carries its part on.
        parts = [text.words, text.sentence, regions, pictures]
        if self.log_sharpness is not None:
            parts.append(self.log_sharpness)
        met = [value.detach().requires_grad_() for value in parts]
        sharpness = self._sharpness(met[4] if len(met) > 4 else None, regions.device)
        features = TextFeatures(met[1], met[0], text.mask)
        losses, metrics = self._losses(features, met[2], met[3], [captions, heard], batch.classes, sharpness)
        loss = sum(losses.values(), torch.zeros((), device=regions.device))
        carried = list(zip(parts, torch.autograd.grad(loss, met), strict=True))
        metrics |= {f"{name}_loss": value.detach() for name, value in losses.items()}
        if self.log_sharpness is not None:
            metrics["sharpness"] = sharpness.detach()
        yield Update("text", _carried(loss, carried[:2]), metrics)
        yield Update("pictures", _carried(loss, carried[2:]))

    def _sharpness(self, logarithm: Tensor | None, device: torch.device) -> Tensor:
        """The factor of the sentences' scores."""
        return torch.tensor(self.sharpness, device=device) if logarithm is None else logarithm.exp().clamp(max=HIGHEST_SHARPNESS)

    def losses(
        self, text: TextFeatures, regions: Tensor, pictures: Tensor, captions: Sequence[str], classes: Tensor | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses of B pictures with one caption each, by "words" and "sentences", and how often the right one scores highest.

        text: the captions' features; regions [B, D, R] and pictures [B, D]: the picture side's outputs; classes: [B], or None.
        """
        return self._losses(text, regions, pictures, [[list(captions)]], classes, self._sharpness(self.log_sharpness, regions.device))

    def _losses(
        self,
        text: TextFeatures,
        regions: Tensor,
        pictures: Tensor,
        readings: list[list[list[str]]],
        classes: Tensor | None,
        sharpness: Tensor,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`losses` with several captions.

        readings: the captions as they are and, if long ones lose words, as the encoder reads them. Each holds K lists of one caption for
        each picture, or 2K with changed captions; text has their rows. Captions that are the same in either reading are not mistakes.
        """
        count, of_each = len(pictures), len(readings[0])
        changed = of_each > self.settings.captions
        of_each = of_each // 2 if changed else of_each
        words, mask = text.words, text.mask
        assert words is not None and mask is not None
        same = _either([self._same(captions[0], classes, pictures.device) for captions in readings])
        gammas = self.gammas
        by_words = gammas.pairs * word_scores(regions, words[:count], mask[:count], gammas)
        changed_words = None
        if changed:
            rows = slice(of_each * count, (of_each + 1) * count)
            alike = _either([reads_same(captions[0], captions[of_each]).diagonal().to(pictures.device) for captions in readings])
            assert alike is not None
            scores = gammas.pairs * paired_word_scores(regions, words[rows], mask[rows], gammas)
            changed_words = scores.masked_fill(alike, -torch.inf)[:, None]
        word_losses = matching_losses(by_words, same, changed_words)

        cosines = sharpness * sentence_scores(pictures, text.sentence).unflatten(1, (-1, count)).transpose(1, 2)  # [B, B, K or 2K]
        by_pictures, by_captions, found = caption_losses(
            cosines,
            cosines[..., :of_each].permute(1, 2, 0),
            slice(0, count),
            _either([self._no_mistakes(captions, of_each, classes, pictures.device) for captions in readings]),
        )
        own = torch.arange(count, device=pictures.device)
        found["picture_to_caption_by_words"] = (by_words.argmax(1) == own).float().mean()
        if changed_words is not None:
            found["counterfactual_by_words"] = (by_words.diagonal() > changed_words[:, 0]).float().mean()
        return {"words": word_losses[0] + word_losses[1], "sentences": by_pictures + by_captions}, {
            name: value.detach() for name, value in found.items()
        }

    def _no_mistakes(self, captions: list[list[str]], own: int, classes: Tensor | None, device: torch.device) -> Tensor | None:
        """Which captions in the batch also count as correct for a picture, as `caption_losses` takes it."""
        settings = self.settings
        known = classes if settings.mask_classes else None
        if settings.mask_captions:
            return same_captions(_columns(captions), own, device, known)
        same = same_class(known)  # [B, B]
        if same is None:
            return None
        wrong = len(captions) - own
        return F.pad(same[:, None, :, None].expand(-1, own, -1, own), (0, wrong))

    def _same(self, captions: Sequence[str], classes: Tensor | None, device: torch.device) -> Tensor | None:
        """[B, B] bool: pairs that do not count as mistakes; or None."""
        same = same_class(classes if self.settings.mask_classes else None)
        if self.settings.mask_captions:
            same = _either([same, reads_same(captions, captions).to(device)])
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
        return word_scores(self.picture_side(pictures)[0], text.words, text.mask, self.gammas)

    def kept(self) -> dict[str, Tensor]:
        """The tensors to save in addition to the text encoder: without Inception, unless no other file holds it."""
        inside = self.settings.pictures == INSIDE
        return {name: value for name, value in super().kept().items() if inside or not name.startswith("picture_side.network.")}

    def _decay(self, progress: Progress) -> float:
        return float(max(self.settings.decay ** int(progress.epoch), self.settings.lowest_rate))


def _columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _either(masks: Sequence[Tensor | None]) -> Tensor | None:
    """True where one of the masks, all of one shape, is; None without any."""
    found = [mask for mask in masks if mask is not None]
    return torch.stack(found).any(0) if found else None


def _carried(loss: Tensor, parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """A scalar with the value of `loss` and, through each (value, slope) pair, the gradient that `loss` has there."""
    through = torch.stack([(value.float() * slope.float()).sum() for value, slope in parts]).sum()
    return through - through.detach() + loss.detach()
