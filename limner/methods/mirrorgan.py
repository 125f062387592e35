"""MirrorGAN: a picture should say its caption when it is read back (Qiao et al., CVPR 2019, arXiv:1903.05854).

Tingting Qiao, Jing Zhang, Duanqing Xu and Dacheng Tao, "MirrorGAN: Learning Text-to-image Generation by Redescription". The text encoder
(STEM) is AttnGAN's; the generator (GLAM) is AttnGAN's tree with attention to the sentence beside that to words; a captioner (STREAM) that
was trained before, and stands still since, reads the final pictures. This file follows the authors' code (github.com/qiaott/MirrorGAN,
commit deb220f) where it says more than the paper, or something else:

- "sentence attention" is a softmax over a map's channels, not its places, and reads the condition, which is drawn for the sentence;
- map, words and sentence, side by side, go through a 1x1 convolution to twice the map's channels;
- the caption loss weighs 10 (the paper: 20) and is a mean over words, the end of a caption not being asked for;
- no matching term: the code computes none, whatever its weight. With `matching`, there is one here.

All else is as in `limner.methods.attngan`, and differs from the code as that does. Never published: the captioner's training, which the
authors took from elsewhere (here a first phase, in which it learns when a caption ends, too), its compact network for pictures, sizes other
than 256 px, and mismatched pairs from elsewhere than the batch. The authors' captioner reads what a ResNet-152 saw; that network is not
among Limner's, which are named by `caption_features`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Adam, Conditions, Phase, Player, Progress, Update
from limner.core.settings import FAST, Preset, above_zero, at_least
from limner.features.inception import TorchvisionInception
from limner.features.network import FeatureNetwork
from limner.features.registry import load_feature_network
from limner.games.adversarial import NormalizedSettings, added, share
from limner.games.attentive import AttentiveGame, AttentiveSettings
from limner.nn.attentive import AttentiveGenerator
from limner.nn.captioner import Captioner, caption_loss
from limner.nn.conditioning import GaussianCondition
from limner.nn.trees import ScaleDiscriminator
from limner.text.lstm import Vocabulary

NAME = "mirrorgan"
EYES = "captions"
CAPTIONER, GAME = "captioner", "game"
"""The two phases; the first one's only player has its name."""
LONGEST = 30
"""Words that a picture is read back in at most."""


@dataclass(frozen=True, kw_only=True)
class MirrorGANSettings(AttentiveSettings, NormalizedSettings):
    """Settings of MirrorGAN; the defaults are those of the authors' birds model, but for what reads its pictures."""

    sentence_attention: bool = True
    """Let later branches look at the sentence beside the words; without, they are AttnGAN's."""
    caption_weight: float = 10.0
    """Weight of the caption loss: 10 in the authors' code, 20 in the paper. With 0, there is no captioner."""
    caption_features: str | None = "tv-inception"
    """Network that reads pictures for the captioner, as NAME or NAME=FILE (the authors' ResNet-152 is not among them); none for a compact
    one that is trained with it from nothing."""
    caption_channels: int = 16
    """Channels of the compact network's first map."""
    caption_width: int = 256
    """Numbers of a picture's features, and of a word, as the captioner's decoder reads them."""
    caption_hidden: int = 512
    """Numbers of the decoder's state."""
    caption_learning_rate: float = 1e-3
    """Learning rate of the captioner's Adam."""
    caption_epochs: float = 20.0
    """Passes over the training pictures in which the captioner is trained, before the game."""
    caption_batch_size: int = 128
    """Pictures a step of the captioner's training."""
    caption_share: float = 0.15
    """Its share of a budget in minutes."""
    epochs: float = 650.0
    """Passes over the training pictures in the game."""
    batch_size: int = 12
    """Pictures a step of the game, over all processes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, "method", 1, "caption_channels", "caption_width", "caption_hidden")
        at_least(self, "method", 2, "caption_batch_size")
        at_least(self, "method", 0, "caption_weight")
        above_zero(self, "method", "caption_learning_rate", "caption_epochs")
        share(self, "caption_share")

    @property
    def reads_words(self) -> bool:
        """Whether the generator looks at words."""
        return self.branches > 1


class MirrorGAN(AttentiveGame):
    """The attentive tree, its discriminators, and the captioner that reads its pictures back."""

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
                "mismatch": "caption",
                "counterfactual": 0.75,
                "gradient_penalty": 1.0,
                "discriminator_normalization": False,
                "learning_rate": 8e-4,
                "beta1": 0.0,
                "epochs": 40.0,
                "batch_size": 16,
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
            encoded=False,
        )
        return [captioner, replace(game, share=1.0 - settings.caption_share)]

    def read_captions(self, captions: Iterable[str]) -> None:
        """The captioner's words are all that the training captions hold."""
        if self.captioner is None:
            return
        eyes = self._eyes()
        self.captioner.learn(Vocabulary.build(captions).words, None if eyes is None else eyes.width)

    def begin(self, phase: Phase) -> None:
        if self.captioner is not None:
            self.captioner.freeze(phase.name != CAPTIONER)
        super().begin(phase)

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """A turn of the captioner with real pictures; or one of each discriminator and the generator, all with the same pictures."""
        if progress.phase == CAPTIONER:
            yield self._captioner_update(batch)
        else:
            yield from super().training_step(batch, progress)

    def _captioner_update(self, batch: Batch) -> Update:
        ids, mask = self._ids(batch)
        ids, mask = F.pad(ids, (0, 1)), F.pad(mask, (1, 0), value=True)  # with the end, which is a word to learn
        assert self.captioner is not None and self.captioner.decoder is not None
        logits = self.captioner.decoder(self._seen(batch.pictures), ids)
        right = ((logits.argmax(2) == ids) & mask).sum() / mask.sum()
        return Update(CAPTIONER, caption_loss(logits, ids, mask), {"words_right": right})

    def generator_update(self, batch: Batch, fakes: Sequence[Tensor], condition: GaussianCondition) -> Update:
        """As in AttnGAN, and what the captioner says of the last scale (Eq. 6 to 9)."""
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
        """The network that reads pictures for the captioner, unless that has its own."""
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
        if self.captioner is None or self.captioner.decoder is None:
            raise SettingsError("this model has no captioner: train one with --method.caption-weight above 0")
        words = self.captioner.words
        rows = self.captioner.decoder.say(self._seen(pictures), LONGEST).tolist()
        ends = [row.index(0) if 0 in row else len(row) for row in rows]
        return [" ".join(words[number - 1] for number in row[:end]) for row, end in zip(rows, ends, strict=True)]
