"""StoryGAN's story encoder and context encoder: sentences to the 4x4 map from which each frame is painted (arXiv:1812.02784, section 3).

The paper and the authors' code differ in the second layer of the context encoder, Text2Gist:

- the code (`ReleasedContext`) has two recurrent cells next to each other. One reads each sentence with noise, the other each sentence from
  the story's vector on. The sentence becomes an image of 15 x 15, the second cell's state a filter of 15 x 15, and what `filtered` makes of
  both becomes half of the first map; the first cell's state and the story's vector become the other half.
- the paper (`GistContext`) stacks them: i_t = GRU(s_t, noise_t, g_(t-1)), h_t = GRU(i_t, h_(t-1)) with h_0 the story, and the gist o_t =
  Filter(i_t) * h_t, a convolution of the state, seen as a line of numbers, with filters made of i_t. How many and how long these are, it
  does not say.

Both have PyTorch's GRU cells, whose reset gate follows the linear map of the state; the paper writes it before.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.families.stacked import FIRST_SIDE
from limner.families.stories.noise import GistNoise, StoryNoise

SIDE = 15
"""Side of the image of a sentence and of the filter of a context."""
GISTS, LENGTH = 16, 15
"""Filters that Text2Gist makes of a sentence in the paper's form, and how many numbers each spans: our choice."""


class ReleasedContext(nn.Module):
    """Text2Gist as the authors' code has it. width: D of sentences and story; noise_width: Z; channels: of the map, C."""

    def __init__(self, width: int, noise_width: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.sentences = nn.GRUCell(noise_width + width, width)
        self.context = nn.GRUCell(width, width)
        self.state_map = nn.Sequential(nn.Linear(2 * width, half * FIRST_SIDE**2, bias=False), nn.BatchNorm1d(half * FIRST_SIDE**2))
        self.filter = nn.Sequential(nn.Linear(width, SIDE**2, bias=False), nn.BatchNorm1d(SIDE**2))
        self.image = nn.Sequential(nn.Linear(width, SIDE**2, bias=False), nn.BatchNorm1d(SIDE**2))
        self.gist_map = nn.Sequential(
            nn.Conv2d(1, channels, 3, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, half, 4, 2, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.LeakyReLU(0.2),
        )

    def forward(self, sentences: Tensor, story: Tensor, noise: StoryNoise) -> Tensor:
        """sentences: [B, F, D], story: [B, D] -> [B F, C, 4, 4], the frames of a story one after another."""
        frames = sentences.shape[1]
        states = self.states(sentences, noise)
        told = torch.cat([states, story.repeat_interleave(frames, 0)], dim=1)  # [B F, 2 D]
        of_state = F.relu(self.state_map(told)).unflatten(1, (-1, FIRST_SIDE, FIRST_SIDE))
        gist = filtered(*self.image_and_filter(sentences, self.contexts(sentences, story)))
        return torch.cat([of_state, self.gist_map(gist)], dim=1)

    def states(self, sentences: Tensor, noise: StoryNoise) -> Tensor:
        """The states [B F, D] of the cell that reads each sentence with noise; the first sentence is what it begins with."""
        return unrolled(self.sentences, torch.cat([noise.z[:, : sentences.shape[1]], sentences], dim=2), sentences[:, 0])

    def contexts(self, sentences: Tensor, story: Tensor) -> Tensor:
        """The states [B F, D] of the cell that carries the story [B, D] from sentence to sentence."""
        return unrolled(self.context, sentences, story)

    def image_and_filter(self, sentences: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Of sentences [B, F, D] and contexts [B F, D]: [B F, 1, S, S] each."""
        return square(self.image(sentences.flatten(0, 1))), square(self.filter(contexts))


class GistContext(nn.Module):
    """Text2Gist as the paper has it. width: D of sentences and story; noise_width: Z; channels: of the map, C."""

    def __init__(self, width: int, noise_width: int, channels: int) -> None:
        super().__init__()
        self.sentences = nn.GRUCell(noise_width + width, width)
        self.context = nn.GRUCell(width, width)
        self.filters = nn.Linear(width, GISTS * LENGTH)
        size = channels * FIRST_SIDE**2
        self.gist_map = nn.Sequential(nn.Linear(GISTS * width, size, bias=False), nn.BatchNorm1d(size), nn.ReLU())

    def forward(self, sentences: Tensor, story: Tensor, noise: StoryNoise) -> Tensor:
        """sentences: [B, F, D], story: [B, D] -> [B F, C, 4, 4], the frames of a story one after another."""
        assert isinstance(noise, GistNoise)
        count, frames, width = sentences.shape
        read = unrolled(self.sentences, torch.cat([noise.z[:, :frames], sentences], dim=2), noise.start)  # i_t: [B F, D]
        contexts = unrolled(self.context, read.view(count, frames, width), story)  # h_t: [B F, D]
        filters = self.filters(read).view(-1, GISTS, LENGTH)
        lines = F.unfold(contexts[:, None, None], (1, LENGTH), padding=(0, LENGTH // 2))  # [B F, LENGTH, D]
        gist = filters @ lines  # o_t: [B F, GISTS, D]
        return self.gist_map(gist.flatten(1)).unflatten(1, (-1, FIRST_SIDE, FIRST_SIDE))


def unrolled(cell: nn.GRUCell, inputs: Tensor, state: Tensor) -> Tensor:
    """The states of a cell after each input: [B, F, N] and the first state [B, D] -> [B F, D]."""
    states = []
    for frame in inputs.unbind(1):
        state = cell(frame, state)
        states.append(state)
    return torch.stack(states, dim=1).flatten(0, 1)


def square(values: Tensor) -> Tensor:
    """[B, S S] -> [B, 1, S, S]."""
    return values.view(-1, 1, SIDE, SIDE)


def filtered(images: Tensor, filters: Tensor) -> Tensor:
    """What the authors' dynamic filter comes to: [B, 1, S, S] and [B, 1, S, S] -> [B, 1, S, S].

    Their layer cuts out the window around each place, S x S numbers with zeros outside of the image, and is meant to weight them by the
    filter. But the filter is laid over *places*, so that each place has the sum of its window times one number of the filter.
    """
    places = torch.arange(SIDE, device=images.device)
    near = ((places - places[:, None]).abs() <= SIDE // 2).to(images.dtype)  # [S, S]: which rows, or columns, a window covers
    return near @ images @ near * filters
