"""A discriminator that judges pictures with and without their captions, and tells captions apart: that of Limner GAN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from limner.families.pair_head import PairHead
from limner.families.projected import STAGES, StageCodes
from limner.families.recognition import Recognition
from limner.families.stacked import FIRST_SIDE, doublings, picture_code, residual_code
from limner.nn.fast.layout import for_convolutions


class CaptionDiscriminator(nn.Module):
    """One trunk to 4x4, heads for pairs, for pictures alone and for captions. No normalisation: each picture is judged by itself.

    channels: of the trunk's first map. residual: `residual_code` as the trunk, instead of strided convolutions alone. text_width: of the
    sentence in the heads. feature_channels: of each stage of a frozen network that is seen next to the trunk; 0 for none. unconditional,
    recognizes: whether there are heads for pictures alone and for captions. expects: whether the latter predicts answers from captions.
    """

    def __init__(
        self,
        resolution: int,
        sentence_width: int,
        *,
        channels: int,
        residual: bool,
        text_width: int,
        feature_channels: int,
        unconditional: bool,
        recognizes: bool,
        expects: bool,
    ) -> None:
        super().__init__()
        levels = doublings(resolution, "limner-gan", smallest=16)
        top = channels * 2 ** min(levels - 1, 2 if residual else 3)
        self.picture = residual_code(channels, resolution) if residual else picture_code(channels, resolution, normalize=False)
        self.codes = None
        if feature_channels:
            self.codes = StageCodes(feature_channels)
            top += STAGES * feature_channels
        self.pair = PairHead(top, sentence_width, text_width, normalize=False)
        self.unconditional = nn.Conv2d(top, 1, FIRST_SIDE) if unconditional else None
        recognition = Recognition(top * FIRST_SIDE**2, sentence_width, text_width, expects=expects)
        self.recognition = recognition if recognizes else None

    def look(self, pictures: Tensor, stages: Sequence[Tensor] = ()) -> Tensor:
        """[B, 3, R, R], and what a frozen network sees of them -> [B, C, 4, 4]: features that serve several captions."""
        code: Tensor = self.picture(for_convolutions(pictures))
        return code if self.codes is None else torch.cat([code, self.codes(stages)], dim=1)

    def match(self, features: Tensor, sentence: Tensor) -> Tensor:
        """[B, C, 4, 4] and [B, D] -> [B] logits."""
        return self.pair(features, sentence)

    def forward(self, pictures: Tensor, sentence: Tensor, stages: Sequence[Tensor] = ()) -> Tensor:
        """[B, 3, R, R] in [-1, 1] and [B, D] -> [B] logits."""
        return self.match(self.look(pictures, stages), sentence)

    def verdict(self, pictures: Tensor, sentence: Tensor, stages: Sequence[Tensor] = ()) -> Tensor:
        """The sum of all heads' logits, which the gradient penalty keeps smooth: [B]."""
        features = self.look(pictures, stages)
        logits = self.match(features, sentence)
        if self.unconditional is not None:
            logits = logits + self.unconditional(features).flatten()
        return logits if self.recognition is None else logits + self.recognition.each(features, sentence[:, None])[:, 0]
