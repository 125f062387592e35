"""CI-GAN: real pictures and captions become codes of a generator that learned from pictures alone (Wang et al., ACM MM 2021).

Hao Wang, Guosheng Lin, Steven C. H. Hoi and Chunyan Miao, "Cycle-Consistent Inverse GAN for Text-to-Image Synthesis", arXiv:2108.01361.
The authors' code was not released. This is written from summaries of the paper (a survey's account of its objective, notes of readers,
the abstract), not from the paper itself; what stands here is marked: (read) in those, or (own), where they say nothing.

Three phases:

1. `gan`: a StyleGAN is trained without conditions (read). Here it is StyleGAN2, in this library's form (own: the paper says "StyleGAN",
   and its list of references has both). `--from gan=RUN` takes one that is trained, or imported.
2. `inversion`: an encoder E finds a picture's code in W, the space of styles, while the generator G stands still (read). Its objective
   (read): ||x - G(E(x))||^2, the same of features F of a trained VGG, ||w - E(G(w))||^2 for codes w of the generator's own, and two
   adversaries, each a new network: D(x) against D(G(E(x))), and D_w(w) against D_w(E(x)). The weights of the terms are not known: they are
   idinvert's (Zhu et al., ECCV 2020) and e4e's (Tov et al., SIGGRAPH 2021) where these have such a term (own). Features are compared as a
   share of their mean square, and may be those of the first phase's discriminator, which is at hand whatever the pictures show and needs
   no download (own).
3. `text`: an LSTM reads captions, as codes (read); a linear layer is added, for an LSTM's output lies within (-1, 1) (own). The loss is
   InfoNCE over the batch of -||t - w||^2 (read). By itself it makes t ever longer, far from where codes are, since that separates
   pictures better: `pair_weight` adds ||t - w||^2, and `text_scaled` makes both independent of W's scale (own; neither by default). Gates
   learn which part of a code a caption speaks of (own, see `TextToCode`): the squared distance of that part from t is minimised over pairs;
   t itself takes no gradient from it.

Painting: the paper optimises a code for the text alone, argmin over w of ||t - w||^2 (read), which t itself solves. A caption would
then have one picture, up to fine noise. Here diversity comes from a random code of the generator's mapping network: the part of it that the
caption describes is replaced by t, and the rest stays (own). `truncation` says how far that rest stays from the mean; at 0 it is the
paper's t.

Editing: argmin over w of ||t - w||^2 + ||F(x) - F(G(w))||^2 from the picture's code (read), by idinvert's steps of Adam (own). Readers of
the paper note that this changes too much. So only the part that the caption describes is replaced by t, unless `edit_whole` is set; with a
caption of the picture as it is, the code moves by the difference of the two captions (own).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core.abilities import Tell
from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Painting
from limner.core.optimizers import Adam
from limner.core.schedules import cosine
from limner.core.settings import Preset
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Player, Progress, Update
from limner.families import settings as shared
from limner.families.inversion.losses import code_contrast, optimized, square_distance, unlike
from limner.families.inversion.networks import CodeDiscriminator, PictureEncoder, Reading, TextToCode, maps_seen
from limner.families.inversion.settings import EditSettings, InversionSettings, TextToCodeSettings
from limner.families.style.discriminator import Discriminator, discriminator_loss, generator_loss
from limner.families.style.method import StyleMethod
from limner.families.style.noise import StyleNoise, drawn_maps
from limner.families.style.settings import SMALL, StyleSettings
from limner.features.perceptual import PerceptualLoss
from limner.nn.penalties import zero_centred_penalty
from limner.text.encoder import TextEncoder
from limner.text.summary_lstm import SummaryLSTM, SummarySettings
from limner.text.tokenizers import WordTokenizer

NAME = "ci-gan"
GAN, INVERSION, TEXT = "gan", "inversion", "text"
"""The three phases."""
PICTURES, CODES = "picture_adversary", "code_adversary"
"""The two adversaries of the second one."""
EYES = "perceptual"
"""The name of the perceptual network among the guides."""


@dataclass(frozen=True, kw_only=True)
class CIGANSettings(EditSettings, TextToCodeSettings, InversionSettings, StyleSettings):
    """Settings of CI-GAN; the defaults of the first phase are StyleGAN2's, and the others' idinvert's where the paper's are not known."""

    truncation: float = 1.0
    """When painting: how far what a caption leaves open may be from the mean style. Below 1 pictures of a caption are more typical and more
    alike; 0 paints the caption's own code, as published."""

    def check(self) -> None:
        shared.part(self, "inversion_share", "text_share")
        if self.inversion_share + self.text_share >= 1.0:
            raise SettingsError("method.inversion-share and method.text-share leave nothing for the first phase: let their sum be below 1")
        if self.inversion_batch_size > self.deviation_group and self.inversion_batch_size % self.deviation_group:
            wanted = f"must be a multiple of method.deviation-group, {self.deviation_group}"
            raise SettingsError(f"method.inversion-batch-size is {self.inversion_batch_size}, but {wanted}")


class CIGAN(StyleMethod):
    """StyleGAN2, the encoder of pictures with its adversaries, and the encoder of captions."""

    Settings = CIGANSettings
    title = "CI-GAN"
    paper = "Wang et al., Cycle-Consistent Inverse GAN for Text-to-Image Synthesis, ACM MM 2021, arXiv:2108.01361"
    sampling: tuple[str, ...] = (
        "truncation", "truncation_layers", "map_noise", "paint_steps", "invert_steps",
        "edit_steps", "edit_rate", "edit_text_weight", "edit_picture_weight", "edit_whole",
    )  # fmt: skip
    presets = {
        "as-published": Preset(
            sentence="StyleGAN2's networks at 256 px and idinvert's way of training the encoder, for a GPU.",
            resolution=256,
            training={"ema_half_life": 12_500.0},  # as stylegan2's
        ),
        "cpu": Preset(
            sentence="Narrow networks at 64 px, sized for all phases within an hour of two CPU cores.",
            resolution=64,
            training={"ema_half_life": 4000.0},
            method={
                **SMALL,
                "epochs": 8.0,
                "perceptual": None,
                "picture_adversary_weight": 0.0,
                "inversion_learning_rate": 2.5e-3,
                "inversion_cooled": True,
                "inversion_epochs": 4.0,
                "encoder_width": 256,
                "word_embedding": 64,
                "text_scaled": True,
                "pair_weight": 1.0,
                "text_learning_rate": 2e-3,
                "text_cooled": True,
                "text_epochs": 24.0,
                "edit_steps": 50,
                "edit_rate": 0.05,
            },
        ),
    }
    settings: CIGANSettings

    def __init__(self, settings: CIGANSettings, conditions: Conditions, encoder: TextEncoder | None = None) -> None:
        super().__init__(settings, conditions, NAME)
        self.inverter = PictureEncoder(self.widths, settings.style_width)
        self.adversaries = torch.nn.ModuleDict()
        if settings.picture_adversary_weight:
            self.adversaries["pictures"] = Discriminator(self.widths, group=settings.deviation_group)
        if settings.code_adversary_weight:
            self.adversaries["codes"] = CodeDiscriminator(settings.style_width)
        self.text = TextToCode(conditions.sentence_width, settings.style_width, encoder, deep=not settings.own_encoder)

    @classmethod
    def own_encoder(cls, settings: CIGANSettings, captions: Iterable[str]) -> TextEncoder | None:
        if not settings.own_encoder:
            return None
        sizes = SummarySettings(word_embedding=settings.word_embedding, width=settings.encoder_width, layers=1, packed=True)
        return SummaryLSTM(WordTokenizer.build(captions, maximum_words=settings.maximum_words), sizes)

    def players(self) -> dict[str, Player]:
        settings, players = self.settings, super().players()
        if settings.perceptual is None:  # editing looks through it
            players["discriminator"] = replace(players["discriminator"], kept=True)
        inversion = Adam(learning_rate=settings.inversion_learning_rate, betas=(settings.beta1, settings.beta2))
        for name, key in ((PICTURES, "pictures"), (CODES, "codes")):
            if key in self.adversaries:
                players[name] = Player(module=self.adversaries[key], optimizer=inversion)
        first = Adam(learning_rate=settings.inversion_learning_rate, betas=(0.9, 0.99))  # idinvert's
        players[INVERSION] = Player(
            module=self.inverter, optimizer=first, averaged=True, learning_rate_factor=cosine if settings.inversion_cooled else None
        )
        second = Adam(learning_rate=settings.text_learning_rate, betas=(0.9, 0.999))
        players[TEXT] = Player(
            module=self.text, optimizer=second, averaged=True, learning_rate_factor=cosine if settings.text_cooled else None
        )
        return players

    def phases(self) -> list[Phase]:
        settings, side = self.settings, self.conditions.resolution
        others = tuple(name for name in self.players() if name not in ("discriminator", "generator", TEXT))
        gan = Phase(
            name=GAN,
            resolution=side,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            players=("discriminator", "generator"),
            share=1.0 - settings.inversion_share - settings.text_share,
            paints=False,
            captions=0,
            encoded=False,
            fewest=min(2, settings.deviation_group),
        )
        inversion = replace(
            gan,
            name=INVERSION,
            batch_size=settings.inversion_batch_size,
            epochs=settings.inversion_epochs,
            players=others,
            share=settings.inversion_share,
        )
        text = Phase(
            name=TEXT,
            resolution=side,
            batch_size=settings.text_batch_size,
            epochs=settings.text_epochs,
            players=(TEXT,),
            share=settings.text_share,
            encoded=self.text.encoder is None,
            fewest=2,
        )
        return [gan, inversion, text]

    def load_guides(self, phase: Phase) -> None:
        if phase.name != GAN:
            self._eyes()

    def begin(self, phase: Phase) -> None:
        super().begin(phase)
        self.generator.requires_grad_(phase.name == GAN)
        self.discriminator.requires_grad_(phase.name == GAN)

    def adopt(self, phase: Phase, state: Mapping[str, Tensor]) -> None:
        """The first phase may come without a discriminator, where the perceptual network is another: it is not needed after it."""
        lacks = phase.name == GAN and not any(name.startswith("discriminator.") for name in state)
        if lacks and self.settings.perceptual is not None:
            phase = replace(phase, players=("generator",))
        super().adopt(phase, state)

    def couples_rows(self) -> str | None:
        return f"{super().couples_rows()}, and captions are contrasted with all pictures of a batch"

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        if progress.phase == GAN:
            yield from self.game(batch, progress.step)
        elif progress.phase == INVERSION:
            yield from self._inversion_updates(batch, progress.step)
        else:
            yield self._text_update(batch)

    def _inversion_updates(self, batch: Batch, step: int) -> Iterator[Update]:
        settings, generator, count = self.settings, self.generator, len(batch)
        with torch.no_grad():
            own = generator.mapping(self._latent(batch, "inversion", count))  # codes w of the generator's own, [B, W]
            maps = drawn_maps(generator.synthesis.sides, 2 * count, own)
            made = generator.synthesis(generator.repeated(own), [each[count:] for each in maps])
        codes = self.encode(torch.cat([batch.pictures, made]) if settings.code_weight else batch.pictures)
        found, again = codes[:count], codes[count:]  # E(x) and E(G(w))
        rebuilt = generator.synthesis(generator.repeated(found), [each[:count] for each in maps])  # G(E(x))
        weighed = step % settings.penalty_every == 0
        for name, key, real, fake in ((PICTURES, "pictures", batch.pictures, rebuilt), (CODES, "codes", own, found)):
            if key in self.adversaries:
                yield self._adversary_update(name, self.adversaries[key], real, fake.detach(), weighed)
        apart = F.mse_loss(rebuilt, batch.pictures)
        loss, metrics = settings.pixel_weight * apart, {"pixel": apart.detach()}

        def add(name: str, weight: float, term: Tensor) -> None:
            nonlocal loss
            loss, metrics[name] = loss + weight * term, term.detach()

        if settings.perceptual_weight:
            add("perceptual", settings.perceptual_weight, self.unlike(rebuilt, batch.pictures).mean())
        if settings.code_weight:
            add("code", settings.code_weight, F.mse_loss(again, own))
        if "pictures" in self.adversaries:
            add("picture_fooling", settings.picture_adversary_weight, generator_loss(self.adversaries["pictures"](rebuilt)))
        if "codes" in self.adversaries:
            add("code_fooling", settings.code_adversary_weight, generator_loss(self.adversaries["codes"](found)))
        yield Update(INVERSION, loss, metrics)

    def _adversary_update(self, name: str, judge: torch.nn.Module, real: Tensor, fake: Tensor, weighed: bool) -> Update:
        """The logistic loss of an adversary, with R1 where it is weighed."""
        settings, kept, refused = self.settings, judge(real), judge(fake)
        loss, metrics = discriminator_loss(kept, refused), {"real": kept.detach().mean(), "fake": refused.detach().mean()}
        if settings.gradient_penalty and weighed:
            penalty = r1(judge, real)
            loss = loss + settings.gradient_penalty * settings.penalty_every * penalty
            metrics["penalty"] = penalty.detach()
        return Update(name, loss, metrics)

    def _text_update(self, batch: Batch) -> Update:
        settings, mean = self.settings, self.generator.mapping.mean
        with torch.no_grad():
            codes = self.encode(batch.pictures) - mean
        encoder = self.text.encoder
        read: Reading = self.text(batch.text.sentence if encoder is None else encoder([own[0] for own in batch.captions]).sentence)
        unit = codes.square().sum(1).mean() if settings.text_scaled else codes.new_ones(())
        contrast, nearest = code_contrast(read.codes, codes, settings.contrast_temperature * unit)
        pair = square_distance(read.codes, codes).mean() / unit
        spoken = square_distance(self.text.spoken(codes, read.gates), read.codes.detach()).mean() / unit
        loss = settings.contrast_weight * contrast + settings.pair_weight * pair + spoken
        metrics = {"contrast": contrast, "pair": pair, "spoken": spoken, "own_is_nearest": nearest, "gates": read.gates.mean()}
        return Update(TEXT, loss, {name: value.detach() for name, value in metrics.items()})

    def preview(self, batch: Batch) -> Painting:
        """The first phase's pictures next to what the second makes of real ones: reconstructions, once there are some."""
        noise, trains = self.noise(batch, "preview"), next(self.generator.parameters()).requires_grad
        return self.paint_codes(self.generator.mapping(noise.z) if trains else self.encode(batch.pictures), noise)

    def paint(self, text: TextFeatures, noise: StyleNoise) -> Painting:
        return self.paint_styles(self.find_styles(text, noise), noise)

    def find_styles(self, text: TextFeatures, noise: StyleNoise) -> Tensor:
        """The style of every place: the caption's code, and of the noise's code what the caption leaves open. [B, places, W]."""
        read: Reading = self.text(text.sentence)
        mean, repeated = self.generator.mapping.mean, self.generator.repeated
        drawn = self.generator.mapping(noise.z) - mean
        rest = drawn - self.text.spoken(drawn, read.gates)
        styles = self.truncated(repeated(mean + rest)) + repeated(read.codes)
        steps = self.settings.paint_steps
        if not steps:
            return styles
        if torch.compiler.is_exporting():
            raise SettingsError("painting in steps cannot be exported: set method.paint-steps to 0")
        wanted = styles.mean(1)
        moved = optimized(wanted, lambda codes: self._misread(codes, wanted, noise), steps, self.settings.edit_rate)
        return styles + repeated(moved - wanted)

    def _misread(self, codes: Tensor, wanted: Tensor, noise: StyleNoise) -> Tensor:
        """How far codes, and what the encoder finds in their pictures, are from the codes that are wanted: [B]."""
        return square_distance(codes, wanted) + square_distance(self.encode(self.paint_codes(codes, noise).images), wanted)

    def encode(self, pictures: Tensor) -> Tensor:
        """The codes in W that the encoder finds for pictures [B, 3, R, R] in [-1, 1]: [B, W]."""
        return torch.add(self.inverter(pictures), self.generator.mapping.mean)

    def invert(self, pictures: Tensor, *, tell: Tell | None = None) -> Tensor:
        """The codes in W of pictures [B, 3, R, R] in [-1, 1]: [B, W]. `invert_steps` moves them from what the encoder finds, as idinvert
        does, to where its terms are least; every picture by itself, with the same maps of noise."""
        settings, codes = self.settings, self.encode(pictures)
        noise = self.draw_noise(0, np.zeros(len(codes), np.int64), "invert").to(codes.device)

        def loss(moved: Tensor) -> Tensor:
            images = self.paint_codes(moved, noise).images
            apart = settings.pixel_weight * (images - pictures).square().flatten(1).mean(1)
            if settings.perceptual_weight:
                apart = apart + settings.perceptual_weight * self.unlike(images, pictures)
            return apart + settings.code_weight * (self.encode(images) - moved).square().mean(1)

        return optimized(codes, loss, settings.invert_steps, settings.edit_rate, tell)

    def paint_codes(self, codes: Tensor, noise: StyleNoise) -> Painting:
        """Pictures of codes [B, W], with the noise's maps."""
        return self.paint_styles(self.generator.repeated(codes), noise)

    def edit(
        self,
        codes: Tensor,
        text: TextFeatures,
        noise: StyleNoise,
        *,
        pictures: Tensor,
        before: TextFeatures | None = None,
        tell: Tell | None = None,
    ) -> Tensor:
        """Codes [B, W] of pictures [B, 3, R, R], changed as the text says. before: what the pictures show now, if known."""
        settings, wanted = self.settings, self.wanted(codes, text, before)
        if not settings.edit_steps:
            return wanted

        def loss(moved: Tensor) -> Tensor:
            seen = self.unlike(self.paint_codes(moved, noise).images, pictures)
            return settings.edit_text_weight * square_distance(moved, wanted) + settings.edit_picture_weight * seen

        return optimized(codes, loss, settings.edit_steps, settings.edit_rate, tell)

    def wanted(self, start: Tensor, text: TextFeatures, before: TextFeatures | None = None) -> Tensor:
        """What a text asks for in place of codes [B, W]: [B, W]."""
        read, mean = self.text(text.sentence), self.generator.mapping.mean
        aim: Tensor = mean + read.codes if before is None else start + read.codes - self.text(before.sentence).codes
        if before is not None or self.settings.edit_whole:
            return aim
        return aim + (start - mean) - self.text.spoken(start - mean, read.gates)

    def unlike(self, pictures: Tensor, real: Tensor) -> Tensor:
        """How far pictures are from real ones as the perceptual network sees them: [B], 0 where they are alike."""
        eyes = self._eyes()
        if eyes is not None:
            return eyes.rows(pictures, real)
        with torch.no_grad():
            wanted = maps_seen(self.discriminator, real)
        return unlike(maps_seen(self.discriminator, pictures), wanted)

    def _eyes(self) -> PerceptualLoss | None:
        """The network of others that the perceptual terms look through; None for the discriminator."""
        if self.settings.perceptual is None:
            return None
        if EYES not in self.guides:
            self.guide(EYES, PerceptualLoss(self.settings.perceptual, self.settings.perceptual_layer))
        eyes = self.guides[EYES]
        assert isinstance(eyes, PerceptualLoss)
        return eyes

    def kept(self) -> dict[str, Tensor]:
        return {name: value for name, value in super().kept().items() if not name.startswith("text.encoder.")}

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        edit = 'limner explore edit RUN --picture FILE "..." --out edit.png'
        return (*super().next_steps(settings), ("edit", edit))


def r1(judge: torch.nn.Module, real: Tensor) -> Tensor:
    """R1 of an adversary at pictures [B, 3, R, R] or codes [B, W]."""
    if real.ndim == 4:
        return zero_centred_penalty(judge, real)
    shaped = real[:, :, None, None]
    return zero_centred_penalty(lambda codes: judge(codes[:, :, 0, 0]), shaped)
