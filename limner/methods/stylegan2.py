"""StyleGAN2: styles scale the weights of a generator's convolutions (Karras et al., CVPR 2020).

Tero Karras, Samuli Laine, Miika Aittala, Janne Hellsten, Jaakko Lehtinen and Timo Aila, "Analyzing and Improving the Image Quality of
StyleGAN", arXiv:1912.04958. A mapping network turns a latent z into a style w. Each convolution of the generator has its weights scaled by
a linear layer of the style and normalised again, and noise added, which decides what the style leaves open. A picture is the sum of
the outputs at all sides; the discriminator is residual. The networks and their training step are in `limner.families.style`.

It learns from pictures alone. Networks, losses and schedule follow rosinality's PyTorch code (rosinality/stylegan2-pytorch, commit
bef283a), which gives the same numbers as NVIDIA's (NVlabs/stylegan2-ada-pytorch, commit d72cc7d), to rounding. As in the paper there are
the logistic loss; R1 in each 16th step and path-length regularisation in each 4th, by steps of their own, with Adam's rate and decays
adjusted for them; and two latents a picture in 9 of 10 steps, mixed at a random layer.

Here the same generated pictures serve both players, and noise is drawn anew for each picture that is painted: the maps of noise that
checkpoints hold are not used.

Not in the paper: `augmentation` shows the discriminator changed pictures, for small sets (ADA, Karras et al., NeurIPS 2020, with fewer
kinds of changes). With `unconditional` off, sentences take the place of the class labels in stylegan2-ada-pytorch's conditional form:
they join the latent, and the discriminator's score is a projection on a mapping of the sentence; mismatched pairs are not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from limner.core.batch import Batch
from limner.core.method import Painting
from limner.core.settings import Preset, at_least
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Progress, Update
from limner.families import settings as shared
from limner.families.matching_aware import mean_sentence
from limner.families.style.method import StyleMethod
from limner.families.style.noise import StyleNoise
from limner.families.style.settings import SMALL, StyleSettings

NAME = "stylegan2"


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Settings(shared.CaptionSettings, StyleSettings):
    """Settings of StyleGAN2; the defaults are those of the paper's configuration F."""

    unconditional: bool = True
    """Learn from pictures alone and read no text, as published; without it, sentences are the condition."""
    discriminator_layers: int = 8
    """Layers of the discriminator's own mapping network, which reads sentences; not used if unconditional."""

    def check(self) -> None:
        at_least(self, "method", 1, "discriminator_layers")


class StyleGAN2(StyleMethod):
    """StyleGAN2, with sentences as its condition or without: players, step and painting are `StyleMethod`'s."""

    Settings = StyleGAN2Settings
    title = "StyleGAN2"
    paper = "Karras et al., Analyzing and Improving the Image Quality of StyleGAN, CVPR 2020, arXiv:1912.04958"
    sampling: tuple[str, ...] = ("truncation", "truncation_layers", "map_noise")
    presets = {
        "as-published": Preset(
            sentence="The paper's networks and settings at 256 px, without captions, for a GPU.",
            resolution=256,
            # Images: 10,000 as published. The running average also moves with the steps of path-length regularisation, one for each four.
            training={"ema_half_life": 12_500.0},
        ),
        "cpu": Preset(
            sentence="Narrow networks at 64 px from pictures alone, sized for two CPU cores.",
            resolution=64,
            method={**SMALL, "epochs": 40.0},
            training={"ema_half_life": 4000.0},
        ),
        "small-set": Preset(
            sentence="As cpu, with an augmentation that adapts, for sets of some hundred to a few thousand pictures.",
            resolution=64,
            method={**SMALL, "augmentation": ("translation", "cutout"), "augmentation_images": 100_000, "epochs": 200.0},
            training={"ema_half_life": 4000.0},
        ),
    }
    settings: StyleGAN2Settings

    def __init__(self, settings: StyleGAN2Settings, conditions: Conditions) -> None:
        read = 0 if settings.unconditional else conditions.sentence_width
        super().__init__(settings, conditions, NAME, condition_width=read, condition_layers=settings.discriminator_layers)

    @classmethod
    def reads_text(cls, settings: StyleGAN2Settings) -> bool:
        return not settings.unconditional

    def phases(self) -> list[Phase]:
        settings = self.settings
        return [
            Phase(
                name="gan",
                resolution=self.conditions.resolution,
                batch_size=settings.batch_size,
                epochs=settings.epochs,
                captions=0 if settings.unconditional else settings.captions,
                fewest=min(2, settings.deviation_group),
            )
        ]

    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        yield from self.game(batch, progress.step, None if self.settings.unconditional else mean_sentence(batch))

    def paint(self, text: TextFeatures, noise: StyleNoise) -> Painting:
        return self.paint_styles(self.find_styles(text, noise), noise)

    def find_styles(self, text: TextFeatures, noise: StyleNoise) -> Tensor:
        """The style of every place, truncated as the settings say: [B, places, W]."""
        style = self.generator.mapping(noise.z, None if self.settings.unconditional else text.sentence)
        return self.truncated(self.generator.repeated(style))
