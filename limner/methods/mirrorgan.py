"""MirrorGAN: describing a generated picture should give back its caption (Qiao et al., CVPR 2019, arXiv:1903.05854).

Tingting Qiao, Jing Zhang, Duanqing Xu and Dacheng Tao, "MirrorGAN: Learning Text-to-image Generation by Redescription". The text encoder
(STEM) is AttnGAN's; the generator (GLAM) is AttnGAN's tree with attention to the sentence as well as to words; a captioner (STREAM), which
is trained first and then frozen, describes the final pictures. This file follows the authors' code (github.com/qiaott/MirrorGAN,
commit deb220f) where it says more than the paper, or something else:

- "sentence attention" is a softmax over a map's channels, not its places, and reads the condition, which is drawn for the sentence;
- map, words and sentence are concatenated and go through a 1x1 convolution to twice the map's channels;
- the caption loss weighs 10 (the paper: 20) and is a mean over words, without the end of the caption;
- there is no matching term: the code computes none, whatever its weight. With `matching`, there is one here.

Everything else is as in `limner.methods.attngan`, with the same differences from the code. Never published: the captioner's training (the
authors took a trained one; here it is a first phase, in which it also learns when a caption ends), the compact network for pictures, sizes
other than 256 px, and mismatched pairs from outside the batch. The authors' captioner reads features of a ResNet-152, a network that Limner
does not have; `caption_features` names those it has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.optimizers import Adam
from limner.core.pictures import CaptionedPictures
from limner.core.settings import FAST, Preset, above_zero, at_least, place
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.adversarial import added
from limner.families.attentive.generator import AttentiveGenerator
from limner.families.attentive.method import AttentiveMethod
from limner.families.conditioning import GaussianCondition
from limner.families.tree import ScaleDiscriminator
from limner.features.inception import TorchvisionInception
from limner.features.network import FeatureNetwork, resized
from limner.features.registry import load_feature_network
from limner.text.lstm import Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self

NAME = "mirrorgan"
EYES = "captions"
CAPTIONER, GAME = "captioner", "game"
"""The two phases; the only player of the first one has its name."""
LONGEST = 30
"""The most words of a description."""


@dataclass(frozen=True, kw_only=True)
class MirrorGANSettings(
    shared.AttentionSettings,
    shared.AugmentationSettings,
    shared.TreeSettings,
    shared.GuideSettings,
    shared.MismatchSettings,
    shared.NormalizationSettings,
    shared.PenaltySettings,
    shared.HalvingSettings,
    shared.AdamSettings,
    shared.ScheduleSettings,
    shared.NoiseSettings,
):
    """Settings of MirrorGAN; the defaults are those of the authors' birds model, except for the network that reads its pictures."""

    sentence_attention: bool = True
    """Let later branches attend to the sentence as well as to the words; without it, they are AttnGAN's."""
    caption_weight: float = 10.0
    """Weight of the caption loss: 10 in the authors' code, 20 in the paper. With 0, there is no captioner."""
    caption_features: str | None = place("tv-inception", named=True)
    """Network that encodes pictures for the captioner, as NAME or NAME=FILE (the authors' ResNet-152 is not among them); none for a compact
    one that is trained with the captioner."""
    caption_channels: int = 16
    """Channels of the compact network's first map."""
    caption_width: int = 256
    """Numbers of a picture's features, and of a word, as the captioner's decoder reads them."""
    caption_hidden: int = 512
    """Numbers of the decoder's state."""
    caption_learning_rate: float = 1e-3
    """Learning rate of the captioner's Adam."""
    caption_epochs: float = 20.0
    """Passes over the training pictures of the first phase, which trains the captioner."""
    caption_batch_size: int = 128
    """Pictures a step of the captioner's training."""
    caption_share: float = 0.15
    """The captioner's share of a budget in minutes."""
    mismatch: shared.Mismatch = "neighbour"
    """What a mismatched pair is made of: a picture and the caption of the batch's next one, as in the authors' code; or another picture or
    caption, of another class where classes are known."""
    epochs: float = 650.0
    """Passes over the training pictures of the second phase, which trains generator and discriminators."""
    batch_size: int = 12
    """Pictures a step of the second phase, over all processes."""

    def check(self) -> None:
        at_least(self, "method", 1, "caption_channels", "caption_width", "caption_hidden")
        at_least(self, "method", 2, "caption_batch_size")
        at_least(self, "method", 0, "caption_weight")
        above_zero(self, "method", "caption_learning_rate", "caption_epochs")
        shared.part(self, "caption_share")

    @property
    def reads_words(self) -> bool:
        """Whether the generator attends to words."""
        return self.branches > 1


class MirrorGAN(AttentiveMethod):
    """The attentive tree, its discriminators, and the captioner that describes its pictures."""

    Settings = MirrorGANSettings
    title = "MirrorGAN"
    paper = "Qiao et al., MirrorGAN: Learning Text-to-image Generation by Redescription, CVPR 2019, arXiv:1903.05854"
    presets = {
        "as-published": Preset(
            sentence="The authors' networks and schedule for birds at 256 px, for a GPU, with Inception for their ResNet-152.",
            resolution=256,
            training={"ema_half_life": 8_310.0},  # images: 0.999 a step of 12 pictures
        ),
        "fast": Preset(
            sentence="As published, but as fast as the device allows: compiled networks and bfloat16 where a GPU has them.",
            resolution=256,
            training={"ema_half_life": 8_310.0, **FAST},
        ),
        "cpu": Preset(
            sentence="Narrow networks, a captioner from nothing and counterfactual captions, sized for two CPU cores.",
            resolution=64,
            method={
                **shared.SMALL_PAIRS,
                "branches": 2,
                "caption_weight": 2.0,
                "caption_features": None,
                "caption_width": 64,
                "caption_hidden": 96,
                "caption_epochs": 6.0,
                "caption_batch_size": 32,
                "condition_width": 64,
                "generator_channels": 12,
                "discriminator_channels": 16,
                "residual_blocks": 0,
                "divergence_weight": 0.05,
            },
        ),
    }
    settings: MirrorGANSettings

    def __init__(self, settings: MirrorGANSettings, conditions: Conditions) -> None:
        super().__init__(settings, conditions, NAME, words=settings.reads_words, without="--method.branches 1")
        self.generator = AttentiveGenerator(
            conditions,
            self.sides,
            NAME,
            noise_width=settings.noise_width,
            condition_width=settings.condition_width,
            channels=settings.generator_channels,
            residual_blocks=settings.residual_blocks,
            sentence=settings.sentence_attention,
            mixed_padding=settings.mixed_padding,
        )
        normalize = settings.discriminator_normalization
        self.discriminators = nn.ModuleList(
            ScaleDiscriminator(settings.discriminator_channels, side, conditions.sentence_width, unconditional=True, normalize=normalize)
            for side in self.sides
        )
        self.begin_weights(normalized=normalize)
        self.captioner: Captioner | None = None
        if settings.caption_weight:
            compact = settings.caption_features is None
            self.captioner = Captioner(settings.caption_width, settings.caption_hidden, settings.caption_channels if compact else 0)
        self._vocabulary = Vocabulary(())

    def players(self) -> dict[str, Player]:
        players = super().players()
        if self.captioner is not None:
            optimizer = Adam(learning_rate=self.settings.caption_learning_rate, betas=(0.9, 0.999))
            players[CAPTIONER] = Player(module=self.captioner, optimizer=optimizer, kept=True)
        return players

    def phases(self) -> list[Phase]:
        settings = self.settings
        (game,) = super().phases()
        game = replace(game, name=GAME, players=tuple(name for name in self.players() if name != CAPTIONER))
        if not settings.caption_weight:
            return [game]
        captioner = Phase(
            name=CAPTIONER,
            resolution=game.resolution,
            batch_size=settings.caption_batch_size,
            epochs=settings.caption_epochs,
            players=(CAPTIONER,),
            share=settings.caption_share,
            paints=False,
            encoded=False,
        )
        return [captioner, replace(game, share=1.0 - settings.caption_share)]

    def prepare(self, phase: Phase, pictures: CaptionedPictures) -> None:
        """Collect the captioner's words: all words of the training captions."""
        if self.captioner is None or self.captioner.words:
            return
        eyes = self._eyes()
        captions = (caption for index in range(len(pictures)) for caption in pictures.captions(index))
        self.captioner.learn(Vocabulary.build(captions).words, None if eyes is None else eyes.width)

    def load_guides(self, phase: Phase) -> None:
        super().load_guides(phase)
        self._eyes()

    def begin(self, phase: Phase) -> None:
        if self.captioner is not None:
            self.captioner.freeze(phase.name != CAPTIONER)
        super().begin(phase)

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """In the first phase an update of the captioner with real pictures; in the second AttnGAN's updates."""
        if progress.phase == CAPTIONER:
            yield self._captioner_update(batch)
        else:
            yield from super().training_step(batch, progress)

    def _captioner_update(self, batch: Batch) -> Update:
        ids, mask = self._ids(batch)
        ids, mask = F.pad(ids, (0, 1)), F.pad(mask, (1, 0), value=True)  # with the end, which is learned as a word
        assert self.captioner is not None and self.captioner.decoder is not None
        logits = self.captioner.decoder(self._seen(batch.pictures), ids)
        right = ((logits.argmax(2) == ids) & mask).sum() / mask.sum()
        return Update(CAPTIONER, caption_loss(logits, ids, mask), {"words_right": right})

    def generator_update(self, batch: Batch, fakes: Sequence[Tensor], condition: GaussianCondition) -> Update:
        """AttnGAN's update with the captioner's loss of the last scale's pictures (Eq. 6 to 9)."""
        update = super().generator_update(batch, fakes, condition)
        if self.captioner is None:
            return update
        assert self.captioner.decoder is not None
        ids, mask = self._ids(batch)
        said = caption_loss(self.captioner.decoder(self._seen(fakes[-1]), ids), ids, mask)
        return added(update, self.settings.caption_weight * said, {"caption": said.detach()})

    def _ids(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The captioner's ids of the batch's first captions, and their mask: [B, T] each."""
        assert self.captioner is not None
        if self._vocabulary.words is not self.captioner.words:
            self._vocabulary = Vocabulary(self.captioner.words, LONGEST)
        tokens = self._vocabulary([own[0] for own in batch.captions])
        device = batch.pictures.device
        return tokens.ids.to(device, non_blocking=True), tokens.mask.to(device, non_blocking=True)

    def _eyes(self) -> FeatureNetwork | None:
        """The network that reads pictures for the captioner; None where the captioner has a compact one."""
        if self.settings.caption_features is None:
            return None
        if EYES not in self.guides:
            network = load_feature_network(self.settings.caption_features)
            self.guide(EYES, network.for_losses() if isinstance(network, TorchvisionInception) else network)
        eyes = self.guides[EYES]
        assert isinstance(eyes, FeatureNetwork)
        return eyes

    def _seen(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] -> what the decoder reads, [B, caption_width], with gradients to pictures that want them."""
        assert self.captioner is not None
        eyes = self._eyes()
        if eyes is None:
            return self.captioner.see(pictures)
        return self.captioner.see(eyes(pictures)[0] if pictures.requires_grad else eyes.look(pictures)[0])

    @torch.no_grad()
    def describe(self, pictures: Tensor) -> list[str]:
        """What the captioner says of pictures [B, 3, R, R] in [-1, 1]. Raises SettingsError where there is none."""
        if self.captioner is None or self.captioner.decoder is None:
            raise SettingsError("this model has no captioner: train one with --method.caption-weight above 0")
        words = self.captioner.words
        rows = self.captioner.decoder.say(self._seen(pictures), LONGEST).tolist()
        ends = [row.index(0) if 0 in row else len(row) for row in rows]
        return [" ".join(words[number - 1] for number in row[:end]) for row, end in zip(rows, ends, strict=True)]


SIDE = 64
"""Side of the pictures that a compact reader sees."""


class CaptionDecoder(nn.Module):
    """Picture features [B, width] to words. ids: number of words and the end; hidden: width of the LSTM's state."""

    def __init__(self, ids: int, width: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(ids, width)
        self.reader = nn.LSTM(width, hidden, batch_first=True)
        self.to_words = nn.Linear(hidden, ids)
        for weight in (self.embedding.weight, self.to_words.weight):
            nn.init.uniform_(weight, -0.1, 0.1)
        nn.init.zeros_(self.to_words.bias)

    def forward(self, features: Tensor, ids: Tensor) -> Tensor:
        """[B, width] and ids [B, T] -> logits [B, T, ids] of the word at each place, given the picture and the words before."""
        steps = torch.cat([features[:, None], self.embedding(ids[:, :-1])], dim=1)
        logits: Tensor = self.to_words(self.reader(steps)[0])
        return logits

    @torch.no_grad()
    def say(self, features: Tensor, longest: int) -> Tensor:
        """Greedy decoding: ids [B, longest]. Words after the first end mean nothing."""
        step, state, said = features[:, None], None, []
        for _ in range(longest):
            output, state = self.reader(step, state)
            said.append(self.to_words(output[:, 0]).argmax(1))
            step = self.embedding(said[-1])[:, None]
        return torch.stack(said, dim=1)


def caption_loss(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of logits [B, T, ids] against the true ids [B, T], the mean over all places of the mask [B, T]."""
    each = F.cross_entropy(logits.flatten(0, 1).float(), ids.flatten(), reduction="none").view_as(mask)
    return (each * mask).sum() / mask.sum()


class CompactReader(nn.Sequential):
    """[B, 3, H, W] in [-1, 1] -> [B, 128 channels]: pictures are resized to 64 px, then four strided convolutions."""

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
        return super().forward(resized(pictures, SIDE))


class Captioner(nn.Module):
    """Pictures, or features of them, to captions. `learn` must give it words first; its state dict holds them.

    width: width of the features and word embeddings that the decoder reads. hidden: width of its state. channels: channels of a compact
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
        """Build the decoder for these words, with fresh weights. features: width of a picture's features; None with a compact reader."""
        found = self.reader.width if features is None and self.reader is not None else features
        assert found is not None
        if tuple(words) == self.words and self.to_width is not None and self.to_width.in_features == found:
            return
        width, device = self.normalization.num_features, self.normalization.weight.device
        self.words = tuple(words)
        self.to_width = nn.Linear(found, width).to(device)
        self.decoder = CaptionDecoder(len(words) + 1, width, self.hidden).to(device)

    def freeze(self, frozen: bool) -> None:
        """Freeze or unfreeze weights and statistics. Gradients flow to the pictures either way."""
        self.frozen = frozen
        self.requires_grad_(not frozen).train(not frozen)

    def train(self, mode: bool = True) -> Self:
        """As `nn.Module.train`, but while frozen it stays in evaluation mode."""
        super().train(mode and not self.frozen)
        if self.decoder is not None:
            self.decoder.train()  # the result is the same, but cuDNN computes an LSTM's gradients only in this mode
        return self

    def see(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [-1, 1], or another network's features of them [B, D] -> [B, width]."""
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
