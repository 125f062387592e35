"""StoryGAN's painter and its two discriminators (arXiv:1812.02784): one looks at a picture and its sentence, one at a whole story."""

from __future__ import annotations

from torch import Tensor, nn

from limner.families.conditioning import ConditioningAugmentation, GaussianCondition
from limner.families.stacked import FIRST_SIDE, doublings, picture_code, to_picture, upsampling
from limner.families.stories.context import GistContext, ReleasedContext
from limner.families.stories.noise import AugmentedStoryNoise, StoryNoise
from limner.nn.fast.layers import Layers
from limner.nn.fast.layout import for_convolutions


class StoryGenerator(nn.Module):
    """Story encoder, context encoder and image generator.

    width: D of sentences; channels: those of the first map, of which half are left each time the side doubles. augmentation: activation of
    the network that makes a Gaussian of a story, None where the story's vector is the mean of its sentences. gist: Text2Gist as the paper
    has it. gated: doublings have gated linear units instead of ReLU.
    """

    def __init__(
        self,
        resolution: int,
        width: int,
        noise_width: int,
        channels: int,
        augmentation: ConditioningAugmentation | None,
        *,
        gist: bool,
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.augmentation = augmentation
        self.context = (GistContext if gist else ReleasedContext)(width, noise_width, channels)
        count = doublings(resolution, "storygan")
        widths = [max(channels >> level, 1) for level in range(count + 1)]
        doubled = [upsampling(wide, narrow, gated=gated) for wide, narrow in zip(widths, widths[1:], strict=False)]
        self.layers = nn.Sequential(*doubled, to_picture(widths[-1]))

    def told(self, sentences: Tensor) -> GaussianCondition | None:
        """The Gaussian of stories [B, F, D] from which their vectors are drawn; None without augmentation."""
        return None if self.augmentation is None else self.augmentation(sentences.mean(1))

    def forward(self, sentences: Tensor, stories: Tensor, noise: StoryNoise) -> tuple[Tensor, GaussianCondition | None]:
        """Pictures [B F, 3, R, R] of sentences [B, F, D], the frames of a story one after another, and the Gaussian of their stories.

        stories: [B, N, D], all sentences of the story that these are part of.
        """
        found = self.told(stories)
        if found is None:
            story = stories.mean(1)
        else:
            assert isinstance(noise, AugmentedStoryNoise)
            story = found.sample(noise.epsilon)
        return self.layers(for_convolutions(self.context(sentences, story, noise))), found


def story_code(resolution: int, channels: int, *, normalize: bool) -> tuple[Layers, int]:
    """What makes maps [B, C, 4, 4] of pictures [B, 3, R, R], and C: `channels` at 32 px and above, doubling down to 8 times as many."""
    levels = doublings(resolution, "storygan")
    return picture_code(channels << max(0, 4 - levels), resolution, normalize=normalize), 8 * channels


class ProductHead(nn.Module):
    """Does the map fit the condition? Both become maps of as many channels, whose *product* gives the logit.

    seen, width: channels of the map and numbers of the condition, which is repeated at each of the 4x4 places.
    """

    def __init__(self, seen: int, width: int, channels: int, *, normalize: bool) -> None:
        super().__init__()
        self.picture = self._projection(seen, channels, normalize)
        self.text = self._projection(width, channels, normalize)
        self.logit = nn.Conv2d(channels, 1, FIRST_SIDE)

    @staticmethod
    def _projection(narrow: int, wide: int, normalize: bool) -> nn.Sequential:
        normalization = [nn.BatchNorm2d(wide)] if normalize else []
        return nn.Sequential(nn.Conv2d(narrow, wide, 3, padding=1, bias=not normalize), *normalization, nn.LeakyReLU(0.2))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """[B, C, 4, 4] and [B, D] -> [B] logits."""
        tiled = condition[:, :, None, None].expand(-1, -1, FIRST_SIDE, FIRST_SIDE)
        return self.logit(self.picture(features) * self.text(tiled)).flatten()


class PictureDiscriminator(nn.Module):
    """Looks at single pictures: does one look real and fit its condition of `width` numbers, and which categories does it show?

    unconditional: with a head that judges pictures without a condition.
    """

    def __init__(
        self, resolution: int, channels: int, width: int, categories: int, *, normalize: bool, unconditional: bool = False
    ) -> None:
        super().__init__()
        self.picture, code = story_code(resolution, channels, normalize=normalize)
        self.head = ProductHead(code, width, code, normalize=normalize)
        # As released: padding on a map of the kernel's size, whose last row and column it then leaves out.
        self.category = nn.Conv2d(code, categories, FIRST_SIDE, FIRST_SIDE, 1, bias=False) if categories else None
        self.unconditional = nn.Conv2d(code, 1, FIRST_SIDE) if unconditional else None

    def look(self, pictures: Tensor) -> Tensor:
        """[B, 3, R, R] -> [B, C, 4, 4]: features that serve several conditions."""
        return self.picture(for_convolutions(pictures))

    def match(self, features: Tensor, condition: Tensor) -> Tensor:
        """[B, C, 4, 4] and [B, D] -> [B] logits."""
        return self.head(features, condition)

    def categories(self, features: Tensor) -> Tensor:
        """[B, C, 4, 4] -> [B, L] logits, one for each category; [B, 0] where there are none."""
        return features.new_zeros(len(features), 0) if self.category is None else self.category(features).flatten(1)


class StoryDiscriminator(nn.Module):
    """Looks at all pictures of a story at once, whose maps are joined channel by channel: do they tell the story?

    width: numbers of the condition. unconditional: with a head that judges stories without a condition.
    """

    def __init__(self, resolution: int, channels: int, width: int, frames: int, *, normalize: bool, unconditional: bool = False) -> None:
        super().__init__()
        self.frames = frames
        self.picture, code = story_code(resolution, channels, normalize=normalize)
        self.head = ProductHead(frames * code, width, code, normalize=normalize)
        self.unconditional = nn.Conv2d(frames * code, 1, FIRST_SIDE) if unconditional else None

    def look(self, pictures: Tensor) -> Tensor:
        """[S F, 3, R, R], the frames of a story one after another -> [S, F C, 4, 4]."""
        code = self.picture(for_convolutions(pictures)).contiguous()
        return code.view(len(code) // self.frames, -1, FIRST_SIDE, FIRST_SIDE)

    def match(self, features: Tensor, condition: Tensor) -> Tensor:
        """[S, F C, 4, 4] and [S, D] -> [S] logits."""
        return self.head(features, condition)


def of_stories(sentences: Tensor, frames: int) -> Tensor:
    """Sentences story by story: [S F, D] -> [S, F, D]."""
    return sentences.view(-1, frames, sentences.shape[-1])
