"""A tree of pictures, a discriminator at every scale, and one generator: the game of AttnGAN and those after it (arXiv:1711.10485).

What MirrorGAN, DM-GAN, ControlGAN and SD-GAN have from AttnGAN stands here once: settings, players, schedule, and a matching model's term.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Conditions, Phase, Player, Update
from limner.core.settings import above_zero, at_least
from limner.games.adversarial import AdversarialGame, AdversarialSettings, added
from limner.matching.damsm import DAMSM
from limner.matching.guidance import load_guide, matching_terms
from limner.nn.initialization import he_initialization, orthogonal_initialization
from limner.nn.joint_losses import Mismatch
from limner.nn.trees import ScaleDiscriminator, discriminator_name, scales

GUIDE = "matching"
"""The matching model's name among a method's guides."""


@dataclass(frozen=True, kw_only=True)
class TreeSettings(AdversarialSettings):
    """What the methods of the family have in common; the defaults are those of AttnGAN's birds."""

    branches: int = 3
    """Scales that are painted, the last at the full resolution and each before it at half of the next."""
    generator_channels: int = 32
    """Channels of every branch's map."""
    discriminator_channels: int = 64
    """Channels of a discriminator's first map at 64 px and above; later ones double, down to 8 times as many at 4x4."""
    residual_blocks: int = 2
    """Residual blocks in each later branch."""
    matching: str | None = None
    """Run or model folder of a trained `damsm`, which judges by words and sentence if the final pictures fit their captions. Without one
    that term is left out."""
    matching_weight: float | None = None
    """Weight of that term; by default the 5 of AttnGAN's birds (its 50 for COCO) with a matching model, and 0 without."""
    mismatch: Mismatch = "shift"
    """What a mismatched pair is: a picture with the sentence of the batch's next one, as in AttnGAN's code; or what is exchanged for
    one of elsewhere, of another class where classes are known: the picture or the caption."""
    epochs: float = 600.0
    """Passes over the training pictures in the game."""
    batch_size: int = 20
    """Pictures a step of the game, over all processes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, "method", 1, "branches", "generator_channels", "discriminator_channels")
        at_least(self, "method", 0, "residual_blocks", "matching_weight")
        above_zero(self, "method", "epochs")
        if self.matching_weight and self.matching is None:
            raise SettingsError(
                f"method.matching-weight is {self.matching_weight} with no matching model: give --method.matching the run of a damsm"
            )

    @property
    def guidance(self) -> float:
        """`matching_weight`, resolved."""
        return (0.0 if self.matching is None else 5.0) if self.matching_weight is None else self.matching_weight


class TreeGame(AdversarialGame):
    """Players and schedule of the family. Methods build `generator` and `discriminators`, one for each side, and call `begin_weights`.

    name: of the method, for errors. words: whether its networks read words. without: the options with which they do not.

    Raises SettingsError where words are read that the text encoder does not give, and for branches that do not fit the resolution.
    """

    settings: TreeSettings
    generator: nn.Module
    discriminators: nn.ModuleList
    captions = 1
    """Captions of a picture that are painted in a step."""

    def __init__(self, settings: TreeSettings, conditions: Conditions, name: str, *, words: bool, without: str) -> None:
        super().__init__(settings, conditions)
        self.sides = scales(conditions.resolution, settings.branches, name)
        """Sides of the pictures that are painted, coarse to fine."""
        self.reads_words = words
        if words and conditions.word_width is None:
            raise SettingsError(
                f"{name} reads words, which this text encoder does not give: give --text.encoder a damsm run or another that does, "
                f"or {without}"
            )

    def begin_weights(self, *, normalized: bool) -> None:
        """First weights of both sides; normalized: whether discriminators have a normalisation, of batches or of weights."""
        self.generator.apply(orthogonal_initialization)
        self.discriminators.apply(orthogonal_initialization if normalized else he_initialization)

    def players(self) -> dict[str, Player]:
        players = {discriminator_name(side): self.player(judge) for side, judge in zip(self.sides, self.discriminators, strict=True)}
        return players | {"generator": self.player(self.generator, averaged=True)}

    def phases(self) -> list[Phase]:
        return [self.phase(epochs=self.settings.epochs, captions=self.captions, words=self.reads_words)]

    def begin(self, phase: Phase) -> None:
        if self.settings.matching is not None and self.settings.guidance and GUIDE not in self.guides:
            self.guide(GUIDE, load_guide(self.settings.matching))

    def judges(self) -> Iterator[ScaleDiscriminator]:
        """Each scale's discriminator, coarse to fine."""
        for judge in self.discriminators:
            assert isinstance(judge, ScaleDiscriminator)
            yield judge

    def matched(self, update: Update, batch: Batch, pictures: Tensor) -> Update:
        """The generator's turn with the matching model's verdict on its last pictures [B, 3, R, R], where there is such a model."""
        if GUIDE not in self.guides:
            return update
        terms, found = self.matching_terms(batch, pictures)
        more = {f"matching_{name}": value.detach() for name, value in terms.items()} | found
        return added(update, self.settings.guidance * torch.stack(list(terms.values())).sum(), more)

    def matching_terms(self, batch: Batch, pictures: Tensor, caption: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the matching model says of pictures [B, 3, R, R] and the caption of this place among each one's own."""
        guide = self.guides[GUIDE]
        assert isinstance(guide, DAMSM)
        return matching_terms(guide, pictures, [own[caption] for own in batch.captions], batch.classes)

    def look(self, pictures: Tensor) -> Tensor:
        """The last discriminator's 4x4 code, place by place: [B, 128 D]."""
        *_, judge = self.judges()
        return judge.look(pictures).flatten(1)
