"""The settings of a dVAE, of a transformer that writes codes, and of sampling; the defaults are those of OpenAI's DALL-E."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from limner.core.errors import SettingsError
from limner.core.settings import above_zero, at_least
from limner.core.trainable import Progress
from limner.families import settings as shared
from limner.families.codes.discrete_vae import DiscreteVAE
from limner.families.codes.dvae import DVAE, Estimator, Reconstruction, cosine_course, port_course
from limner.families.codes.layout import AttentionKind, Line
from limner.families.codes.openai_dvae import OpenAIDVAE
from limner.families.codes.sampling import Choice
from limner.families.codes.transformer import Shape

PAPER: tuple[AttentionKind, ...] = (*("axial-row", "axial-column", "axial-row", "axial-row") * 15, "axial-row", "axial-column", "axial-row")
"""The attention of the paper's 64 layers but for the last (appendix B.1): columns in every fourth one from the second on, else rows."""


MOST = 1_000_000
"""The largest temperature and guidance: with far larger ones logits are no numbers."""


@dataclass(frozen=True, kw_only=True)
class DVAESettings(shared.Checked):
    """The dVAE's networks and how they are trained."""

    dvae: Literal["openai", "discrete-vae"] = "openai"
    """The dVAE's networks: OpenAI's, or DALLE-pytorch's smaller ones."""
    codes: int = 8192
    """Number of different codes."""
    halvings: int = 3
    """How often the side halves from the picture to its grid of codes."""
    dvae_width: int = 256
    """Channels of the dVAE's maps: at the full resolution, in OpenAI's, and everywhere in DALLE-pytorch's."""
    dvae_blocks: int = 2
    """Residual blocks at each side, in OpenAI's, and at the grid's, in DALLE-pytorch's."""
    code_width: int = 128
    """Width of the decoder's embedding of a code."""
    reconstruction: Reconstruction = "logit-laplace"
    """Reconstruction loss: the likelihood of the pixels' logits, as published, or DALLE-pytorch's squared or smooth error."""
    estimator: Estimator = "soft"
    """What the decoder sees in training: a soft choice of codes, as published, or one code with a gradient that passes straight through."""
    dvae_course: Literal["cosine", "port"] = "cosine"
    """How the dVAE's temperature and learning rate fall: along a half cosine, or in DALLE-pytorch's steps, each 100 training steps."""
    gumbel_start: float = 1.0
    """Initial temperature of the soft choice."""
    gumbel_end: float = 1 / 16
    """Temperature of the soft choice from `gumbel_steps` on, or the lowest of the port's course."""
    gumbel_steps: int = 150_000
    """Steps over which the temperature falls."""
    divergence_weight: float = 6.6
    """Weight of the divergence of the codes from the uniform distribution, against the error, both summed over a picture."""
    divergence_steps: int = 5_000
    """Steps over which that weight rises from 0."""
    divergence_sum: bool = False
    """Weigh that divergence as DALLE-pytorch does, where it is summed over the batch and the error is a mean over pixels."""
    dvae_learning_rate: float = 1e-4
    """Initial learning rate of the dVAE's AdamW."""
    dvae_final_rate: float = 1.25e-6
    """Learning rate from `dvae_rate_steps` on."""
    dvae_rate_steps: int = 1_200_000
    """Steps over which the learning rate falls."""
    dvae_weight_decay: float = 1e-4
    """Decoupled weight decay of the dVAE."""
    dvae_batch_size: int = 512
    """Pictures a step of the first phase, over all processes."""
    dvae_steps: int = 3_000_000
    """Steps of the first phase."""
    dvae_share: float = 0.3
    """The first phase's share of a budget in minutes."""

    def check(self) -> None:
        at_least(self, "method", 1, "halvings", "dvae_width", "code_width", "gumbel_steps", "dvae_rate_steps", "dvae_steps")
        at_least(self, "method", 2, "codes", "dvae_batch_size")
        at_least(self, "method", 0, "dvae_blocks", "divergence_weight", "divergence_steps", "dvae_weight_decay")
        above_zero(self, "method", "gumbel_start", "gumbel_end", "dvae_learning_rate", "dvae_final_rate")
        shared.part(self, "dvae_share")
        if self.dvae == "openai" and self.dvae_width % 4:
            raise SettingsError(f"method.dvae-width is {self.dvae_width}: OpenAI's dVAE has a quarter of it inside; give a multiple of 4")

    def dvae_network(self) -> DVAE:
        """The dVAE, with fresh weights."""
        if self.dvae == "openai":
            return OpenAIDVAE(self.codes, self.dvae_width, self.code_width, self.halvings, self.dvae_blocks, self.reconstruction)
        return DiscreteVAE(self.codes, self.dvae_width, self.code_width, self.halvings, self.dvae_blocks, self.reconstruction)

    def gumbel_temperature(self, step: int) -> float:
        """Temperature of the soft choice in a step."""
        if self.dvae_course == "port":
            return port_course(self.gumbel_start, self.gumbel_end, step)
        return cosine_course(self.gumbel_start, self.gumbel_end, step, self.gumbel_steps)

    def divergence_at(self, step: int) -> float:
        """Weight of the divergence in a step."""
        return cosine_course(0.0, self.divergence_weight, step, self.divergence_steps)

    def dvae_rate(self, progress: Progress) -> float:
        """What multiplies the dVAE's learning rate."""
        if self.dvae_course == "port":
            return float(0.98 ** ((progress.step - 1) // 100 + 1 if progress.step else 0))
        return cosine_course(1.0, self.dvae_final_rate / self.dvae_learning_rate, progress.step, self.dvae_rate_steps)


@dataclass(frozen=True, kw_only=True)
class TransformerSettings(shared.Checked):
    """The transformer's architecture."""

    width: int = 3968
    """Width of the transformer."""
    depth: int = 64
    """Layers of the transformer."""
    heads: int = 62
    """Heads of each attention."""
    head_width: int = 64
    """Numbers of a head."""
    attention: tuple[AttentionKind, ...] = (*PAPER, "convolution")
    """What codes attend to in addition to the text, layer by layer, repeated as needed: all earlier codes (`full`), those of their row or
    column, or those near them."""
    positions: Literal["axial", "rotary"] = "axial"
    """Positions: learned embeddings of text positions, rows and columns, or DALLE-pytorch's rotary angles."""
    token_shift: bool = False
    """Let each token take over some channels of its neighbours before each layer."""
    sandwich: bool = False
    """Normalise after each layer as well as before."""
    stable: bool = False
    """Pass a tenth of the gradient to the embeddings, and divide the output by its largest number, as DALLE-pytorch's `stable` does."""
    reversible: bool = False
    """A reversible transformer, which recomputes activations in the backward pass instead of storing them."""
    tied: bool = False
    """Share the embeddings' weights with the output's."""
    shared_attention: tuple[int, ...] = ()
    """A number for each layer: layers with equal numbers share one attention. None by default."""
    shared_feed_forward: tuple[int, ...] = ()
    """The same for the feed-forward networks."""
    dropout: float = 0.0
    """Dropout of each layer."""

    def check(self) -> None:
        at_least(self, "method", 1, "depth", "heads")
        at_least(self, "method", 6, "head_width")
        shared.below_one(self, "dropout")
        if self.width < 4 or self.width % 4:
            raise SettingsError(f"method.width is {self.width}: give a multiple of 4, of which token shift moves quarters")
        if not self.attention:
            raise SettingsError("method.attention is empty: name at least one of full, axial-row, axial-column, convolution")
        for name, numbers in (("shared-attention", self.shared_attention), ("shared-feed-forward", self.shared_feed_forward)):
            if numbers and len(numbers) != self.depth:
                raise SettingsError(f"method.{name} has {len(numbers)} numbers for {self.depth} layers: give one for each layer, or none")
        for number in set(self.shared_attention):
            kinds = {self.attention[layer % len(self.attention)] for layer in range(self.depth) if self.shared_attention[layer] == number}
            if len(kinds) > 1:
                raise SettingsError(f"method.shared-attention {number} would be {' and '.join(sorted(kinds))} at once: share one kind")

    def shape(self, line: Line, text_ids: int, codes: int) -> Shape:
        """The transformer's shape for a line of text and codes."""
        return Shape(
            line=line,
            text_ids=text_ids,
            codes=codes,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            head_width=self.head_width,
            attention=self.attention,
            rotary=self.positions == "rotary",
            shift=self.token_shift,
            sandwich=self.sandwich,
            stable=self.stable,
            reversible=self.reversible,
            tied=self.tied,
            shared_attention=self.shared_attention,
            shared_feed_forward=self.shared_feed_forward,
            dropout=self.dropout,
        )


@dataclass(frozen=True, kw_only=True)
class SamplingSettings(shared.Checked):
    """How codes are drawn. These can be changed after training."""

    temperature: float = 1.0
    """Sampling: logits of the codes are divided by it; 0 always takes the likeliest code."""
    top_k: int = 0
    """Sampling: only so many of the likeliest codes can be drawn; 0 for all."""
    top_p: float = 1.0
    """Sampling: only the likeliest codes that together have this probability can be drawn."""
    guidance: float = 1.0
    """Sampling: the logits are those without text plus this times the difference that the text makes; 1 is no guidance."""
    released_guidance: bool = False
    """Guide as DALLE-pytorch's released code does, which forgets the text after the first code."""

    def check(self) -> None:
        at_least(self, "method", 0, "temperature", "top_k", "guidance")
        for name in ("temperature", "guidance"):
            if getattr(self, name) > MOST:
                raise SettingsError(f"method.{name} is {getattr(self, name)}, but must be at most {MOST:,}")
        above_zero(self, "method", "top_p")
        shared.share(self, "top_p")

    @property
    def choice(self) -> Choice:
        """How one code is drawn."""
        return Choice(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)
