"""DALL-E: a dVAE turns pictures into codes, and a transformer writes them after the caption's tokens (Ramesh et al., ICML 2021).

Aditya Ramesh, Mikhail Pavlov, Gabriel Goh, Scott Gray, Chelsea Voss, Alec Radford, Mark Chen and Ilya Sutskever, "Zero-Shot Text-to-Image
Generation", arXiv:2102.12092. OpenAI released the dVAE's networks alone. The transformer follows DALLE-pytorch
(github.com/lucidrains/DALLE-pytorch, version 1.6.6), which people train themselves, and so does the second dVAE:

- the transformer learns the text too, at a seventh of the codes' weight; each padded place has a padding token of its own;
- the rotary angles, off in the port's script and on in its class, turn values as well as queries and keys;
- the port divides its KL term by 1, so that it is a sum over pictures and places (`divergence_sum`);
- its guidance erases the text after the first code (`released_guidance`); here it does not, unless that is asked for.

The paper's sizes, schedules and learning rates were taken from quotations of its appendices, and not checked against the paper.
Left out of it: 16-bit training with scales for each block, PowerSGD, BPE dropout, halving the learning rate by hand, and its wider square
of convolution-like attention, which is the port's here (5 x 5).

The codes of the training pictures are computed once, before the second phase's first step: of the centre of each picture, and with `views`
of further crops and mirror images, of which each step draws one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from limner.core import random
from limner.core.abilities import Tell
from limner.core.batch import Batch
from limner.core.errors import LimnerWarning, SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import Noise, switched, uniform
from limner.core.optimizers import Adam
from limner.core.pictures import CaptionedPictures
from limner.core.schedules import warmed
from limner.core.settings import Preset, above_zero, at_least, place
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.codes.bank import CodeBank
from limner.families.codes.dvae import DVAE, divergence, gumbel, relaxed
from limner.families.codes.layout import Line
from limner.families.codes.memory import refuse_what_does_not_fit
from limner.families.codes.sampling import Given, write_codes
from limner.families.codes.settings import DVAESettings, SamplingSettings, TransformerSettings
from limner.families.codes.transformer import CodeTransformer
from limner.text.byte_pair_ids import BytePairIds
from limner.text.encoder import TextEncoder

DVAE_PHASE, WRITING = "dvae", "transformer"
"""The two phases; each has one player, of the same name."""
FEW = 0.02
"""Below this share of the codes in use, something went wrong with the dVAE."""
WATCHED = 500
"""Steps of the first phase over which the codes in use are counted before a warning."""
SMALL: dict[str, Any] = {
    "dvae": "discrete-vae",
    "codes": 128,
    "halvings": 2,
    "dvae_width": 64,
    "dvae_blocks": 1,
    "code_width": 64,
    "reconstruction": "l2",
    "gumbel_steps": 1_050,
    "divergence_weight": 0.05,
    "divergence_steps": 0,
    "dvae_learning_rate": 1e-3,
    "dvae_final_rate": 5e-5,
    "dvae_rate_steps": 1_500,
    "dvae_weight_decay": 0.0,
    "dvae_batch_size": 16,
    "dvae_steps": 1_500,
    "vocabulary": 1024,
    "context_length": 32,
    "width": 128,
    "depth": 4,
    "heads": 2,
    "attention": ("axial-row", "axial-column", "axial-row", "full"),
    "token_shift": True,
    "unconditional": 0.1,
    "guidance": 2.0,
    "learning_rate": 1e-3,
    "warm_up_steps": 200,
    "cooled": True,
    "beta2": 0.98,
    "weight_decay": 0.01,
    "gradient_clip": 1.0,
    "batch_size": 16,
    "steps": 5_000,
}
"""The preset for two CPU cores."""


@dataclass(frozen=True, kw_only=True)
class DALLESettings(SamplingSettings, TransformerSettings, DVAESettings):
    """Settings of DALL-E; the defaults are OpenAI's. Those here are how the transformer is trained."""

    vocabulary: int = 16_384
    """The most ids of byte pairs that are learned from the training captions; the transformer has room for as many."""
    vocabulary_file: str | None = place(None)
    """Byte pairs to use instead: CLIP's bpe_simple_vocab_16e6.txt.gz, or a .json file of the tokenizers library."""
    context_length: int = 256
    """Byte pairs of a caption that are read."""
    picture_weight: float = 7.0
    """Weight of the codes' loss, where the text's is 1."""
    unconditional: float = 0.0
    """Share of the training pictures that are shown without their caption, which guidance needs."""
    learning_rate: float = 4.5e-4
    """Learning rate of the transformer's AdamW, after warming up."""
    warm_up_steps: int = 5_000
    """Steps over which the learning rate rises."""
    cooled: bool = False
    """Let the learning rate fall to 0 along a half cosine over the phase's budget, in steps or in minutes."""
    beta2: float = 0.96
    """Second-moment decay of the transformer's AdamW."""
    weight_decay: float = 0.045
    """Decoupled weight decay of the transformer."""
    gradient_clip: float = 4.0
    """Largest norm of the transformer's gradient."""
    batch_size: int = 1024
    """Pictures a step of the second phase, over all processes."""
    steps: int = 430_000
    """Steps of the second phase."""
    views: int = 2
    """Views of each training picture whose codes are kept: the centre, then other crops, of which every other one is mirrored; only those
    that the data allow."""

    def check(self) -> None:
        at_least(self, "method", 1, "vocabulary", "context_length", "views", "steps")
        at_least(self, "method", 2, "batch_size")
        at_least(self, "method", 0, "weight_decay", "warm_up_steps", "picture_weight")
        above_zero(self, "method", "learning_rate", "gradient_clip")
        shared.share(self, "unconditional")
        shared.below_one(self, "beta2")
        if self.guidance != 1.0 and not self.unconditional:
            raise SettingsError(
                "method.guidance needs a transformer that was trained without text too: set method.unconditional, such as 0.1"
            )


@dataclass(frozen=True)
class CodeNoise(Noise):
    """u: [B, W * W] float64, a uniform number for each code, which decides where in the distribution it is drawn."""

    u: Tensor = field(metadata={"between": switched})


class DALLE(Method[CodeNoise]):
    """The dVAE, which makes codes of pictures and pictures of codes, and the transformer, which writes codes."""

    Settings = DALLESettings
    title = "DALL-E"
    paper = "Ramesh et al., Zero-Shot Text-to-Image Generation, ICML 2021, arXiv:2102.12092"
    presets: ClassVar[dict[str, Preset]] = {
        "as-published": Preset(
            sentence="OpenAI's sizes at 256 px, for the record: a cluster of GPUs.",
            resolution=256,
            training={"ema_half_life": 709_430.0},  # images: 0.999 a step of 1,024
        ),
        "dalle-pytorch": Preset(
            sentence="The defaults of DALLE-pytorch's scripts: its own dVAE at 128 px, two layers of full attention, for a GPU.",
            resolution=128,
            method={
                "dvae": "discrete-vae",
                "dvae_width": 256,
                "code_width": 512,
                "reconstruction": "l2",
                "dvae_course": "port",
                "gumbel_end": 0.5,
                "divergence_weight": 0.0,
                "divergence_steps": 0,
                "divergence_sum": True,
                "dvae_learning_rate": 1e-3,
                "dvae_weight_decay": 0.0,
                "dvae_batch_size": 8,
                "dvae_steps": 100_000,
                "vocabulary": 10_000,
                "width": 512,
                "depth": 2,
                "heads": 8,
                "attention": ("full",),
                "learning_rate": 3e-4,
                "warm_up_steps": 0,
                "beta2": 0.999,
                "weight_decay": 0.0,
                "gradient_clip": 0.5,
                "batch_size": 4,
                "steps": 200_000,
            },
            training={"ema_half_life": 0.0},
        ),
        "cpu": Preset(
            sentence="16 x 16 codes at 64 px and a narrow transformer: an hour of one CPU core.",
            resolution=64,
            method=SMALL,
        ),
    }
    sampling: tuple[str, ...] = ("temperature", "top_k", "top_p", "guidance")
    tell: Tell | None = None
    settings: DALLESettings
    dvae: DVAE
    transformer: CodeTransformer

    def __init__(self, settings: DALLESettings, conditions: Conditions, encoder: TextEncoder | None = None) -> None:
        super().__init__(settings, conditions)
        side, rest = divmod(conditions.resolution, 2**settings.halvings)
        if rest or not side:
            raise SettingsError(
                f"dall-e cannot halve {conditions.resolution} px {settings.halvings} times: give a multiple of {2**settings.halvings}"
            )
        if isinstance(encoder, BytePairIds) and len(encoder) > settings.vocabulary:
            raise SettingsError(f"the byte pairs have {len(encoder):,} ids: set method.vocabulary to that number")
        self.line = Line(settings.context_length, side)
        shape = settings.shape(self.line, settings.vocabulary, settings.codes)
        refuse_what_does_not_fit(shape, settings.dvae_network, copies=1)
        self.dvae = settings.dvae_network()
        self.transformer = CodeTransformer(shape)
        self._pictures: CaptionedPictures | None = None
        self._bank: CodeBank | None = None
        self._counted = torch.zeros(settings.codes, dtype=torch.int64)

    @classmethod
    def own_encoder(cls, settings: DALLESettings, captions: Iterable[str]) -> TextEncoder:
        shape = settings.shape(Line(settings.context_length, 32), settings.vocabulary, settings.codes)
        refuse_what_does_not_fit(shape, settings.dvae_network, copies=5)  # weights, gradients, their averages and two moments
        if settings.vocabulary_file is not None:
            return BytePairIds.from_file(Path(settings.vocabulary_file), settings.context_length, settings.vocabulary)
        return BytePairIds.learn(captions, settings.vocabulary, settings.context_length)

    def players(self) -> dict[str, Player]:
        s = self.settings
        first = Adam(learning_rate=s.dvae_learning_rate, betas=(0.9, 0.999), weight_decay=s.dvae_weight_decay, decoupled=True)
        second = Adam(learning_rate=s.learning_rate, betas=(0.9, s.beta2), weight_decay=s.weight_decay, decoupled=True)
        return {
            DVAE_PHASE: Player(module=self.dvae, optimizer=first, averaged=True, learning_rate_factor=s.dvae_rate),
            WRITING: Player(
                module=self.transformer, optimizer=second, averaged=True, learning_rate_factor=self._rate, gradient_clip=s.gradient_clip
            ),
        }

    def _rate(self, progress: Progress) -> float:
        return warmed(progress, self.settings.warm_up_steps, cooled=self.settings.cooled)

    def phases(self) -> list[Phase]:
        s, side = self.settings, self.conditions.resolution
        first = Phase(
            name=DVAE_PHASE,
            resolution=side,
            batch_size=s.dvae_batch_size,
            steps=s.dvae_steps,
            players=(DVAE_PHASE,),
            share=s.dvae_share,
            paints=False,
            captions=0,
            encoded=False,
        )
        second = Phase(
            name=WRITING,
            resolution=side,
            batch_size=s.batch_size,
            steps=s.steps,
            players=(WRITING,),
            share=1.0 - s.dvae_share,
            words=True,  # the ids of byte pairs are words of no numbers
        )
        return [first, second]

    def prepare(self, phase: Phase, pictures: CaptionedPictures) -> None:
        """Note the pictures whose codes the second phase computes before its first step, when the dVAE is known to be trained."""
        self._pictures, self._bank = pictures, None

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        yield self._dvae_update(batch, progress.step) if progress.phase == DVAE_PHASE else self._writing_update(batch)

    def _dvae_update(self, batch: Batch, step: int) -> Update:
        """The error of the reconstruction, and the divergence of the codes from the uniform distribution (Eq. 1, appendix A.2)."""
        s, pictures = self.settings, batch.pictures
        logits = self.dvae.logits(pictures).float()  # [B, V, h, w]
        temperature, weight = s.gumbel_temperature(step), s.divergence_at(step)
        error = self.dvae.error(self.dvae.decode_weights(relaxed(logits, gumbel(logits), temperature, s.estimator)), pictures)
        apart = divergence(logits)
        loss = error + weight * (apart if s.divergence_sum else apart / pictures.numel())
        count = torch.bincount(logits.detach().argmax(1).flatten(), minlength=s.codes)
        self._watch(count, step)
        metrics = {
            "error": error.detach(),
            "divergence": apart.detach() * s.codes / logits.numel(),  # in nats, of a place
            "codes_in_use": (count > 0).float().mean(),
            "temperature": loss.new_tensor(temperature),
        }
        return Update(DVAE_PHASE, loss, metrics)

    def _watch(self, count: Tensor, step: int) -> None:
        """Warn where hardly any code is in use."""
        self._counted = self._counted.to(count.device) + count
        if step and step % WATCHED == 0:
            used = int((self._counted > 0).sum())
            if used < max(2, FEW * self.settings.codes):
                self._warn(f"the dVAE uses {used:,} of {self.settings.codes:,} codes")
            self._counted.zero_()

    @staticmethod
    def _warn(what: str) -> None:
        fix = "lower method.divergence-weight or method.dvae-learning-rate, or raise method.gumbel-end"
        warnings.warn(f"{what}: its pictures will be poor; {fix}", LimnerWarning, stacklevel=2)

    def _writing_update(self, batch: Batch) -> Update:
        """Cross-entropy of the next token, text : codes = 1 : `picture_weight` (section 2.2)."""
        s, codes = self.settings, self._codes(batch)
        ids = self.transformer.ids(tokens_of(batch.text))
        if s.unconditional:
            without = random.uniform(batch.seed, "without text", batch.samples) < s.unconditional
            dropped = torch.from_numpy(without).to(ids.device)
            ids = torch.where(dropped[:, None], self.transformer.ids(None, len(ids)), ids)
        text, pictures = self.transformer.losses(ids, codes)
        loss = (text + s.picture_weight * pictures) / (1.0 + s.picture_weight)
        return Update(WRITING, loss, {"text": text.detach(), "codes": pictures.detach()})

    def _codes(self, batch: Batch) -> Tensor:
        """The codes of a batch's pictures, [B, W * W]: those that were computed of all training pictures, where these are known."""
        if self._pictures is None:
            with torch.no_grad():
                return self.dvae.encode(batch.pictures).flatten(1)
        if self._bank is None:
            self._bank = CodeBank.of(self.dvae, self._pictures, self.conditions.resolution, self.settings.views)
            used = int((self._bank.used(self.settings.codes) > 0).sum())
            if used < max(2, FEW * self.settings.codes):
                self._warn(f"all training pictures together have {used:,} of {self.settings.codes:,} codes")
        return self._bank.draw(batch.indices, batch.samples, batch.seed).to(batch.pictures.device)

    def couples_rows(self) -> str | None:
        if self.settings.divergence_sum and self.settings.divergence_weight:
            return "the divergence is a sum over the pictures of a batch (not so with --method.no-divergence-sum)"
        return None

    def preview(self, batch: Batch) -> Painting:
        """Reconstructions."""
        return Painting(self.dvae.pictures(self.dvae.decode(self.dvae.encode(batch.pictures))))

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> CodeNoise:
        return CodeNoise(uniform((self.line.codes,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: CodeNoise) -> Painting:
        return self._painted(self._written(text, noise, None))

    def complete(self, text: TextFeatures, noise: CodeNoise, pictures: Tensor, keep: Tensor) -> Painting:
        """Write the codes of the places that are not wholly kept, given those before them; the kept part stays pixel by pixel.

        A kept code that comes after a place, below it or to its right, cannot be seen from there: it is kept, and not prepared for.
        """
        side = self.line.side
        whole = -torch.nn.functional.adaptive_max_pool2d(-keep.float(), side).flatten(1) == 1.0  # [B, W * W]: all of the place is kept
        if not whole.any():
            warnings.warn(f"no place of the {side} x {side} codes is wholly kept: the model sees none of it", LimnerWarning, stacklevel=2)
        leading = int(whole.all(0).long().cumprod(0).sum())
        given = Given(self.dvae.encode(pictures).flatten(1), whole, min(leading, self.line.codes - 1))
        painted = self._painted(self._written(text, noise, given))
        return replace(painted, images=torch.where(keep, pictures, painted.images))

    def _written(self, text: TextFeatures, noise: CodeNoise, given: Given | None) -> Tensor:
        """Codes [B, W * W] for each row of the text; captions that are alike are read once."""
        s, ids = self.settings, self.transformer.ids(tokens_of(text))
        rows = torch.arange(len(ids), device=ids.device)
        if text.captions is not None:
            first = {caption: row for row, caption in reversed(list(enumerate(text.captions)))}
            own = sorted(first.values())
            place = {row: number for number, row in enumerate(own)}
            rows = torch.tensor([place[first[caption]] for caption in text.captions], device=ids.device)
            ids = ids[torch.tensor(own, device=ids.device)]
        choice = s.choice
        return write_codes(
            self.transformer,
            ids,
            rows,
            lambda logits, number: choice.drawn(logits, noise.u[:, number]),
            given=given,
            guidance=s.guidance,
            released=s.released_guidance,
            tell=self.tell,
        )

    def _painted(self, codes: Tensor) -> Painting:
        grid = codes.unflatten(1, (self.line.side, self.line.side))
        return Painting(self.dvae.pictures(self.dvae.decode(grid)), extras={"codes": grid})


def tokens_of(text: TextFeatures) -> Tensor:
    """The ids of byte pairs, [B, T]. Raises SettingsError for features of an encoder that has none."""
    if text.tokens is None:
        raise SettingsError(
            "DALL-E reads byte pairs: encode captions with the encoder that it was trained with (limner.text.byte_pair_ids)"
        )
    return text.tokens
