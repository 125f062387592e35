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
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Adam, Conditions, Method, Painting, Phase, Player, Progress, Update
from limner.core.noise import Noise, gaussian
from limner.core.settings import FAST, Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.features.inception import TorchvisionInception
from limner.features.network import FeatureNetwork
from limner.features.registry import load_feature_network
from limner.matching.damsm import DAMSM
from limner.matching.guidance import load_guide, matching_terms
from limner.nn.attentive import AttentiveGenerator, AttentiveNoise
from limner.nn.captioner import Captioner, caption_loss
from limner.nn.conditioning import GaussianCondition
from limner.nn.initialization import he_initialization, orthogonal_initialization
from limner.nn.joint_losses import Mismatch, discriminator_update, generator_loss
from limner.nn.trees import ScaleDiscriminator, scales
from limner.text.lstm import Vocabulary

NAME = "mirrorgan"
GUIDE, EYES = "matching", "captions"
CAPTIONER, GAME = "captioner", "game"
"""The two phases; the first one's only player has its name."""
LONGEST = 30
"""Words that a picture is read back in at most."""


@dataclass(frozen=True, kw_only=True)
class MirrorGANSettings:
    """Settings of MirrorGAN; the defaults are those of the authors' birds model, but for what reads its pictures."""

    branches: int = 3
    """Scales that are painted, the last at the full resolution and each before it at half of the next."""
    sentence_attention: bool = True
    """Let later branches look at the sentence beside the words; without, they are AttnGAN's."""
    mixed_padding: bool = False
    """Hide padding from the attention as the authors' code does, which mixes the masks of a batch's captions."""
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
    noise_width: int = 100
    """Numbers in the noise vector z."""
    condition_width: int = 100
    """Numbers in the condition that is drawn for a sentence."""
    generator_channels: int = 32
    """Channels of every branch's map."""
    discriminator_channels: int = 64
    """Channels of a discriminator's first map at 64 px and above; later ones double, down to 8 times as many at 4x4."""
    residual_blocks: int = 2
    """Residual blocks in each later branch."""
    divergence_weight: float = 1.0
    """Weight of the KL term that keeps the conditions of a sentence spread like standard normal noise."""
    matching: str | None = None
    """Run or model folder of a trained `damsm`, which judges if the final pictures fit their captions. Left out as published."""
    matching_weight: float | None = None
    """Weight of that term; by default AttnGAN's 5 with a matching model, and 0 without."""
    mismatch: Mismatch = "shift"
    """What a mismatched pair is: a picture with the sentence of the batch's next one, as in the authors' code; or what is exchanged for
    one of elsewhere, of another class where classes are known: the picture or the caption."""
    counterfactual: float = 0.0
    """Share of the mismatched pairs whose caption is wrong in exactly one attribute or word; 0 as published."""
    gradient_penalty: float = 0.0
    """Weight of R1, which keeps discriminators smooth around real pictures (Mescheder et al., ICML 2018); 0 as published."""
    penalty_every: int = 8
    """Steps between two gradient penalties, each that many times as heavy (Karras et al., CVPR 2020)."""
    discriminator_normalization: bool = True
    """Batch normalisation in discriminators, as published; without it, their convolutions have biases and start as He et al. advise."""
    learning_rate: float = 2e-4
    """Learning rate of the game's players' Adam."""
    beta1: float = 0.5
    """First-moment decay of the game's players' Adam."""
    epochs: float = 650.0
    """Passes over the training pictures in the game."""
    batch_size: int = 12
    """Pictures a step of the game, over all processes."""

    def __post_init__(self) -> None:
        at_least(self, "method", 1, "branches", "noise_width", "condition_width", "generator_channels", "discriminator_channels")
        at_least(self, "method", 1, "penalty_every", "caption_channels", "caption_width", "caption_hidden")
        at_least(self, "method", 2, "batch_size", "caption_batch_size")
        at_least(self, "method", 0, "residual_blocks", "divergence_weight", "matching_weight", "gradient_penalty", "caption_weight")
        above_zero(self, "method", "learning_rate", "epochs", "caption_learning_rate", "caption_epochs")
        for name in ("counterfactual", "caption_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SettingsError(f"method.{name.replace('_', '-')} is {getattr(self, name)}, but must lie between 0 and 1")
        if self.matching_weight and self.matching is None:
            raise SettingsError(
                f"method.matching-weight is {self.matching_weight} with no matching model: give --method.matching the run of a damsm"
            )
        if self.gradient_penalty and self.discriminator_normalization:
            raise SettingsError("method.gradient-penalty wants each picture judged by itself: add --method.no-discriminator-normalization")

    @property
    def guidance(self) -> float:
        """`matching_weight`, resolved."""
        return (0.0 if self.matching is None else 5.0) if self.matching_weight is None else self.matching_weight

    @property
    def reads_words(self) -> bool:
        """Whether the generator looks at words."""
        return self.branches > 1


class MirrorGAN(Method):
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
        super().__init__(settings, conditions)
        self.sides = scales(conditions.resolution, settings.branches, NAME)
        """Sides of the pictures that are painted, coarse to fine."""
        if settings.reads_words and conditions.word_width is None:
            raise SettingsError(
                f"{NAME} reads words, which this text encoder does not give: give --text.encoder a damsm run or another that does, "
                "or --method.branches 1"
            )
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
        self.generator.apply(orthogonal_initialization)
        self.discriminators.apply(orthogonal_initialization if normalize else he_initialization)
        self.captioner: Captioner | None = None
        if settings.caption_weight:
            compact = settings.caption_features is None
            self.captioner = Captioner(settings.caption_width, settings.caption_hidden, settings.caption_channels if compact else 0)
        self._vocabulary = Vocabulary(())

    def players(self) -> dict[str, Player]:
        settings = self.settings
        optimizer = Adam(learning_rate=settings.learning_rate, betas=(settings.beta1, 0.999))
        players = {
            discriminator_name(side): Player(module=judge, optimizer=optimizer)
            for side, judge in zip(self.sides, self.discriminators, strict=True)
        }
        players["generator"] = Player(module=self.generator, optimizer=optimizer, averaged=True)
        if self.captioner is not None:
            optimizer = Adam(learning_rate=settings.caption_learning_rate, betas=(0.9, 0.999))
            players[CAPTIONER] = Player(module=self.captioner, optimizer=optimizer, kept=True)
        return players

    def phases(self) -> list[Phase]:
        settings, side = self.settings, self.conditions.resolution
        game = Phase(
            name=GAME,
            resolution=side,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            players=tuple(name for name in self.players() if name != CAPTIONER),
            share=1.0 - settings.caption_share if settings.caption_weight else 1.0,
            counterfactual=settings.counterfactual > 0,
            words=settings.reads_words,
        )
        if not settings.caption_weight:
            return [game]
        captioner = Phase(
            name=CAPTIONER,
            resolution=side,
            batch_size=settings.caption_batch_size,
            epochs=settings.caption_epochs,
            players=(CAPTIONER,),
            share=settings.caption_share,
            encoded=False,
        )
        return [captioner, game]

    def read_captions(self, captions: Iterable[str]) -> None:
        """The captioner's words are all that the training captions hold."""
        if self.captioner is None:
            return
        eyes = self._eyes()
        self.captioner.learn(Vocabulary.build(captions).words, None if eyes is None else eyes.width)

    def begin(self, phase: Phase) -> None:
        if self.captioner is not None:
            self.captioner.freeze(phase.name != CAPTIONER)
        if self.settings.matching is not None and self.settings.guidance and GUIDE not in self.guides:
            self.guide(GUIDE, load_guide(self.settings.matching))

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """A turn of the captioner with real pictures; or one of each discriminator and the generator, all with the same pictures."""
        if progress.phase == CAPTIONER:
            yield self._captioner_update(batch)
            return
        settings = self.settings
        condition = self.generator.condition(batch.text.sentence)
        fakes, _ = self.generator(self.noise(batch, "generator"), condition, batch.text)  # [B, 3, r, r] for each side r
        due = progress.step % settings.penalty_every == 0
        for side, judge, fake in zip(self.sides, self.discriminators, fakes, strict=True):
            assert isinstance(judge, ScaleDiscriminator)
            yield discriminator_update(
                discriminator_name(side),
                judge,
                batch,
                fake,
                batch.text.sentence,
                mismatch=settings.mismatch,
                counterfactual=settings.counterfactual,
                penalty=settings.gradient_penalty * settings.penalty_every if due else 0.0,
            )
        yield self._generator_update(batch, fakes, condition)

    def _captioner_update(self, batch: Batch) -> Update:
        ids, mask = self._ids(batch)
        ids, mask = F.pad(ids, (0, 1)), F.pad(mask, (1, 0), value=True)  # with the end, which is a word to learn
        assert self.captioner is not None and self.captioner.decoder is not None
        logits = self.captioner.decoder(self._seen(batch.pictures), ids)
        right = ((logits.argmax(2) == ids) & mask).sum() / mask.sum()
        return Update(CAPTIONER, caption_loss(logits, ids, mask), {"words_right": right})

    def _generator_update(self, batch: Batch, fakes: Sequence[Tensor], condition: GaussianCondition) -> Update:
        """All scales' fooling losses, what the captioner and the matching model say of the last scale, and the KL term (Eq. 6 to 9)."""
        settings = self.settings
        loss = generator_loss(self.discriminators, fakes, batch.text.sentence)
        divergence = condition.divergence()
        metrics = {"fooling": loss.detach(), "divergence": divergence.detach()}
        loss = loss + settings.divergence_weight * divergence
        if self.captioner is not None:
            assert self.captioner.decoder is not None
            ids, mask = self._ids(batch)
            said = caption_loss(self.captioner.decoder(self._seen(fakes[-1]), ids), ids, mask)
            loss = loss + settings.caption_weight * said
            metrics["caption"] = said.detach()
        if GUIDE in self.guides:
            guide = self.guides[GUIDE]
            assert isinstance(guide, DAMSM)
            terms, found = matching_terms(guide, fakes[-1], [own[0] for own in batch.captions], batch.classes)
            loss = loss + settings.guidance * torch.stack(list(terms.values())).sum()
            metrics |= {f"matching_{name}": value.detach() for name, value in terms.items()} | found
        return Update("generator", loss, metrics)

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

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> AttentiveNoise:
        z = gaussian((self.settings.noise_width,), seed, samples, stream)
        return AttentiveNoise(z, gaussian((self.settings.condition_width,), seed, samples, f"{stream} condition"))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        """With `extras` "attention-S", [B, T, S, S]: how much each place of the map of side S looked at each word, to paint 2 S."""
        assert isinstance(noise, AttentiveNoise)
        (*stages, images), attention = self.generator(noise, self.generator.condition(text.sentence), text)
        return Painting(images, tuple(stages), {f"attention-{maps.shape[-1]}": maps for maps in attention})

    def look(self, pictures: Tensor) -> Tensor:
        """The last discriminator's 4x4 code, place by place: [B, 128 D]."""
        judge = self.discriminators[-1]
        assert isinstance(judge, ScaleDiscriminator)
        return judge.look(pictures).flatten(1)


def discriminator_name(side: int) -> str:
    """The player that judges pictures of this side."""
    return f"discriminator-{side}"
