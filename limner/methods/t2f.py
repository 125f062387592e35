"""T2F: text to faces by a ProGAN that grows while it learns, conditioned as in StackGAN (akanimax, 2018).

Animesh Karnewar, "T2F: text to face generation using deep learning" (github.com/akanimax/T2F), code and article without a paper, upon
ProGAN (Karras et al., ICLR 2018, arXiv:1710.10196) as pro_gan_pytorch 1.x has it. This file follows that code:

- an LSTM that is trained with the generator reads the caption; its last output is the sentence (`limner.text.summary_lstm`);
- the condition is drawn from a Gaussian whose deviation is a ReLU plus 1e-12, not the exponential of a logarithm, and joined with noise to
  the latent; the divergence is a sum over its numbers, and its gradient goes no further than the augmentation;
- networks grow from 4x4, one doubling a phase. A new block fades in over the first half of its phase, and real pictures fade with it;
- the discriminator reads the sentence, compressed, in its last block, and never gives it a gradient;
- WGAN-GP with drift, and the mean score of real pictures under permuted captions added to the critic's loss. A permutation may leave a
  caption in place. The norm in the released penalty is taken over channels at every pixel (`penalty_norm: pixel`), that of the paper
  over the whole picture;
- equalised scales, pixel norm, minibatch deviation, no tanh: see `limner.families.progressive.layers`.

Here the same generated pictures serve both players, and real pictures are reduced to a phase's side with antialiasing.

Not published, for training at small cost: the losses `hinge` and `non-saturating`, with R1 as their penalty; captions of other pictures
and counterfactual ones in place of permuted ones; and a fade that is counted in pictures, since a budget in minutes may end before half
of a phase's steps are done. With `condition_width` 0 this is ProGAN without captions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.noise import ConditionedNoise, gaussian
from limner.core.settings import Preset, above_zero, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Progress, Update
from limner.families import settings as shared
from limner.families.progressive.conditioning import Augmentation, Condition
from limner.families.progressive.growing import Discriminator, Generator, faded, phase_name
from limner.families.progressive.losses import critic_loss, fooling_loss
from limner.families.progressive.method import GrowingMethod, check_numbers
from limner.families.progressive.settings import CriticSettings, NetworkSettings
from limner.text.encoder import TextEncoder
from limner.text.summary_lstm import LetterTokenizer, SummaryLSTM, SummarySettings


@dataclass(frozen=True, kw_only=True)
class T2FSettings(CriticSettings, NetworkSettings):
    """Settings of T2F; the defaults are those of the authors' first configuration: 256 px, captions read by an LSTM."""

    latent_width: int = 512
    """Numbers of the latent: condition and noise."""
    condition_width: int = 256
    """How many of them are the condition that is drawn for a caption; with 0, captions are not read."""
    compressed_width: int = 128
    """Numbers to which the discriminator reduces a sentence."""
    deviation: Literal["relu", "log-variance"] = "relu"
    """How the condition's deviation is computed: as published, by a ReLU plus 1e-12, or as in StackGAN, as a logarithm of the variance."""
    divergence_weight: float = 1.0
    """Weight of the divergence that keeps conditions spread, a sum over the condition's numbers."""
    mismatch_weight: float = 1.0
    """Weight of mismatched pairs, real pictures with other pictures' captions; 0 trains without them."""
    mismatch: Literal["permutation", "caption"] = "permutation"
    """Whose captions those are: the batch's own permuted, as published, or other pictures', of other classes where classes are known."""
    counterfactual: float = 0.0
    """Share of the mismatched pairs whose caption is wrong in exactly one attribute or word; 0 as published."""
    fade: float = 0.5
    """Share of a phase's steps over which its new block fades in."""
    fade_images: int | None = None
    """Pictures over which it fades in, in place of that share; for budgets in minutes."""
    epochs: tuple[float, ...] = (20.0, 40.0, 40.0, 40.0, 40.0, 40.0, 40.0)
    """Passes over the training pictures in each phase, the last number for the full size, the one before for half of that, and so on; the
    first one holds for all phases before it."""
    batch_sizes: tuple[int, ...] = (16, 14)
    """Pictures a step in each phase, over all processes, likewise. --training.batch-size is the largest, and the others keep proportion."""
    shares: tuple[float, ...] = (1.0,)
    """Parts of a budget in minutes or pictures that the phases have, likewise."""
    learning_rate: float = 1e-3
    """Learning rate of both players' Adam."""
    beta1: float = 0.0
    """First-moment decay of both players' Adam."""
    beta2: float = 0.99
    """Second-moment decay of both players' Adam."""
    own_encoder: bool = True
    """Train an LSTM that reads captions together with the generator, as published. Without it, or with --text.encoder, captions are read
    by the run's encoder, which is frozen."""
    encoder_width: int = 512
    """Width of the LSTM's layers and of the sentence."""
    encoder_layers: int = 3
    """Layers of the LSTM."""
    word_embedding: int = 128
    """Width of the embedding of each word."""
    maximum_words: int = 100
    """Words of a caption that the LSTM reads; as published, shorter captions are padded to this length."""
    packed: bool = False
    """Take the LSTM's output at the last word of a caption; without it, after all padding, as published."""

    def check(self) -> None:
        at_least(self, "method", 1, "latent_width", "fade_images", "maximum_words")
        at_least(self, "method", 0, "condition_width", "divergence_weight", "mismatch_weight")
        above_zero(self, "method", "learning_rate")
        shared.below_one(self, "beta1", "beta2")
        shared.share(self, "fade", "counterfactual")
        check_numbers(self, epochs=0, batch_sizes=1, shares=0)
        if self.condition_width > self.latent_width:
            whole = f"the whole latent has {self.latent_width} numbers: raise method.latent-width"
            raise SettingsError(f"method.condition-width is {self.condition_width}, but {whole}")
        if self.condition_width and self.compressed_width < 1:
            raise SettingsError("method.compressed-width is 0, and the discriminator would read no caption: choose 1 or more")
        if self.counterfactual and not self.mismatch_weight:
            raise SettingsError("method.counterfactual needs mismatched pairs: set method.mismatch-weight above 0 or this to 0")
        SummarySettings(word_embedding=self.word_embedding, width=self.encoder_width, layers=self.encoder_layers)

    @property
    def noise_width(self) -> int:
        """Numbers of the latent that are noise."""
        return self.latent_width - self.condition_width


class T2F(GrowingMethod[ConditionedNoise]):
    """The growing networks, one phase for each side from 4 px to the final one."""

    Settings = T2FSettings
    title = "T2F"
    paper = "Karnewar, T2F: text to face generation using deep learning, 2018; ProGAN: Karras et al., ICLR 2018, arXiv:1710.10196"
    presets = {
        "as-published": Preset(
            sentence="The authors' first configuration: an LSTM reads captions, faces grow to 256 px, for a GPU.",
            resolution=256,
            training={"ema_half_life": 11_085.0},  # images: 0.999 a step of 16 pictures
        ),
        "as-published-64": Preset(
            sentence="The authors' second configuration at 64 px; give InferSent, which reads its captions, by --text.encoder.",
            resolution=64,
            method={
                "latent_width": 256,
                "condition_width": 128,
                "compressed_width": 32,
                "channels": 256,
                "epochs": (120.0,),
                "batch_sizes": (64, 32),
                "own_encoder": False,
            },
            training={"ema_half_life": 44_340.0},  # images: 0.999 a step of 64 pictures
        ),
        "cpu": Preset(
            sentence="Narrow networks, a cheaper loss and counterfactual captions at 64 px, sized for two CPU cores.",
            resolution=64,
            method={
                "latent_width": 128,
                "condition_width": 64,
                "compressed_width": 64,
                "channels": 128,
                "full_blocks": 1,
                "scaling": "he",
                "normalize_latent": True,
                "minibatch_deviation": False,
                "deviation": "log-variance",
                "divergence_weight": 1e-3,
                "loss": "non-saturating",
                "gradient_penalty": 1.0,
                "penalty_every": 8,
                "mismatch": "caption",
                "counterfactual": 0.75,
                "fade_images": 4_000,
                "epochs": (1.0, 2.0, 3.0, 6.0, 28.0),
                "batch_sizes": (16,),
                "shares": (0.02, 0.05, 0.08, 0.15, 0.7),
                "learning_rate": 2e-3,
                "own_encoder": False,
                "packed": True,
            },
        ),
    }
    settings: T2FSettings
    generator: Painter
    discriminator: Discriminator

    def __init__(self, settings: T2FSettings, conditions: Conditions, encoder: TextEncoder | None = None) -> None:
        super().__init__(settings, conditions, "t2f")
        reads = self.reads_text(settings)
        self.generator = Painter(settings, conditions, self.doublings + 1, encoder if reads else None)
        self.discriminator = Discriminator(
            settings.channels,
            self.doublings + 1,
            full=settings.full_blocks,
            sentence_width=conditions.sentence_width if reads else 0,
            compressed=settings.compressed_width if reads else 0,
            activation=settings.colour_activation,
            deviation=settings.minibatch_deviation,
            group=settings.deviation_group,
            scaling=settings.scaling,
        )

    @classmethod
    def reads_text(cls, settings: T2FSettings) -> bool:
        return settings.condition_width > 0

    @classmethod
    def own_encoder(cls, settings: T2FSettings, captions: Iterable[str]) -> TextEncoder | None:
        if not settings.own_encoder or not cls.reads_text(settings):
            return None
        sizes = SummarySettings(
            word_embedding=settings.word_embedding, width=settings.encoder_width, layers=settings.encoder_layers, packed=settings.packed
        )
        return SummaryLSTM(LetterTokenizer.build(captions, maximum_words=settings.maximum_words), sizes)

    def phases(self) -> list[Phase]:
        settings, reads = self.settings, self.reads_text(self.settings)
        return [
            self.phase(
                depth,
                epochs=self.number_of(settings.epochs, depth),
                captions=1 if reads else 0,
                counterfactuals=int(reads and settings.counterfactual > 0),
                encoded=self.generator.encoder is None,
                fewest=2 if self.couples_rows() else 1,
                group=(settings.deviation_group or 1) if settings.minibatch_deviation else 1,
            )
            for depth in self.depths()
        ]

    def couples_rows(self) -> str | None:
        if self.settings.minibatch_deviation:
            return "minibatch deviation compares the pictures of a batch (not so with --method.no-minibatch-deviation)"
        if self.reads_text(self.settings) and self.settings.mismatch_weight and self.settings.mismatch == "permutation":
            return "mismatched pairs permute the captions of a batch (not so with --method.mismatch caption)"
        return None

    def fading(self, progress: Progress) -> float:
        """Alpha of a step: how far the phase's new block has faded in, 0 to 1."""
        if progress.phase == phase_name(0):
            return 1.0
        if self.settings.fade_images is not None:
            return min(progress.images / self.settings.fade_images, 1.0)
        return min((progress.step + 1) / max(int(self.settings.fade * progress.steps), 1), 1.0)

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        self.alpha = self.fading(progress)
        sentence, wrong = self._sentences(batch)  # [B, D] each
        noise = self.noise(batch, progress.phase)
        fake, condition = self.generator(noise.z, noise.epsilon, sentence, self.depth, self.alpha)  # [B, 3, R, R]
        seen = sentence.detach()
        yield self._discriminator_update(batch, seen, wrong, fake.detach(), progress)
        yield self._generator_update(fake, seen, condition)

    def _sentences(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Sentences of the batch's captions [B, D], and [B, D] that do not describe its pictures, or None."""
        settings, encoder = self.settings, self.generator.encoder
        if not self.reads_text(settings):
            return batch.pictures.new_zeros(len(batch), 0), None
        sentence: Tensor = batch.text.sentence if encoder is None else encoder([own[0] for own in batch.captions]).sentence
        if not settings.mismatch_weight:
            return sentence, None
        with torch.no_grad():
            if settings.mismatch == "permutation":
                wrong = sentence[torch.randperm(len(batch)).to(sentence.device)]
            elif encoder is None:
                wrong = batch.mismatched.text.sentence
            else:
                wrong = encoder([own[0] for own in batch.mismatched.captions]).sentence
            if count := batch.rows_of(settings.counterfactual):
                if encoder is None:
                    assert batch.counterfactual is not None
                    changed = batch.counterfactual.sentence
                else:
                    changed = encoder([own[0] for own in batch.counterfactual_captions or ()]).sentence
                wrong = torch.cat([changed[:count], wrong[count:]])
        return sentence, wrong.detach()

    def _discriminator_update(self, batch: Batch, sentence: Tensor, wrong: Tensor | None, fake: Tensor, progress: Progress) -> Update:
        settings, discriminator, depth, alpha = self.settings, self.discriminator, self.depth, self.alpha
        pictures = faded(batch.pictures, alpha)
        features = discriminator.look(pictures, depth, alpha)
        real = discriminator.match(features, sentence)
        generated = discriminator(fake, sentence, depth, alpha)
        mismatched = None if wrong is None else discriminator.match(features, wrong)
        loss = critic_loss(settings.loss, real, generated, mismatched, settings.mismatch_weight, settings.drift)
        metrics = {"real": real.detach().mean(), "fake": generated.detach().mean()}
        if mismatched is not None:
            metrics["mismatched"] = mismatched.detach().mean()
        update = Update("discriminator", loss, metrics)

        def scores(shown: Tensor) -> Tensor:
            return discriminator.match(discriminator.look(shown, depth, alpha), sentence.float())

        return self.penalised(update, scores, pictures, fake, progress.step)

    def _generator_update(self, fake: Tensor, sentence: Tensor, condition: Condition | None) -> Update:
        fooling = fooling_loss(self.settings.loss, self.discriminator(fake, sentence, self.depth, self.alpha))
        if condition is None:
            return Update("generator", fooling)
        divergence = self.generator.read(sentence).divergence()  # of sentences that receive no gradient
        metrics = {"fooling": fooling.detach(), "divergence": divergence.detach()}
        return Update("generator", fooling + self.settings.divergence_weight * divergence, metrics)

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> ConditionedNoise:
        return ConditionedNoise(
            z=gaussian((self.settings.noise_width,), seed, samples, stream),
            epsilon=gaussian((self.settings.condition_width,), seed, samples, f"{stream}, condition"),
        )

    def paint(self, text: TextFeatures, noise: ConditionedNoise) -> Painting:
        pictures, _ = self.generator(noise.z, noise.epsilon, text.sentence, self.depth, self.alpha)
        return Painting(pictures.clamp(-1.0, 1.0))

    def kept(self) -> dict[str, Tensor]:
        return {name: value for name, value in super().kept().items() if not name.startswith("generator.encoder.")}

    def look(self, pictures: Tensor) -> Tensor:
        """The discriminator's map before its last block, which may compare the pictures of a batch, place by place: [B, 16 C]."""
        return self.discriminator.reduced(pictures, self.depth, self.alpha).flatten(1)


class Painter(nn.Module):
    """The text encoder, where it is trained too, the augmentation, and the growing generator."""

    def __init__(self, settings: T2FSettings, conditions: Conditions, depth: int, encoder: TextEncoder | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.augmentation: Augmentation | None = None
        if settings.condition_width:
            self.augmentation = Augmentation(
                conditions.sentence_width, settings.condition_width, settings.deviation, scaling=settings.scaling
            )
        self.network = Generator(
            settings.latent_width,
            settings.channels,
            depth,
            full=settings.full_blocks,
            normalize=settings.normalize_latent,
            scaling=settings.scaling,
        )

    def train_at(self, depth: int) -> None:
        """Let the weights of the growing generator learn that pictures of this depth are painted with, and no others of its own."""
        self.network.train_at(depth)

    def read(self, sentence: Tensor) -> Condition:
        """[B, D] -> the Gaussian of conditions of each."""
        assert self.augmentation is not None
        found: Condition = self.augmentation(sentence)
        return found

    def forward(self, z: Tensor, epsilon: Tensor, sentence: Tensor, depth: int, alpha: float) -> tuple[Tensor, Condition | None]:
        """z: [B, Z], epsilon: [B, C], sentence: [B, D] -> pictures [B, 3, R, R], not limited, and the Gaussian of their conditions."""
        condition = None if self.augmentation is None else self.read(sentence)
        latent = z if condition is None else torch.cat([condition.sample(epsilon), z], dim=1)  # condition first, as in the authors' code
        return self.network(latent, depth, alpha), condition
