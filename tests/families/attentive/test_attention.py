"""Word attention against plain loops over places."""

from __future__ import annotations

import pytest
import torch

from limner.families.attentive.attention import WordAttention


def by_loops(layer: WordAttention, hidden: torch.Tensor, words: torch.Tensor, mask: torch.Tensor, mixed: bool) -> torch.Tensor:
    count, _, height, width = hidden.shape
    context, projected = torch.zeros_like(hidden), layer.project(words)
    for b in range(count):
        for place in range(height * width):
            row, column = divmod(place, width)
            seen = mask[(b * height * width + place) % count if mixed else b]
            weights = (projected[b, seen] @ hidden[b, :, row, column]).softmax(0)
            context[b, :, row, column] = weights @ projected[b, seen]
    return context


@pytest.mark.parametrize("mixed", [False, True])
def test_context(mixed: bool) -> None:
    torch.manual_seed(0)
    layer = WordAttention(5, 4, mixed_padding=mixed)
    hidden, words = torch.randn(3, 4, 2, 5), torch.randn(3, 6, 5)
    mask = torch.arange(6) < torch.tensor([6, 1, 3])[:, None]
    context, attention = layer(hidden, words, mask)
    torch.testing.assert_close(context, by_loops(layer, hidden, words, mask, mixed))
    torch.testing.assert_close(attention.sum(1), torch.ones(3, 2, 5))
    assert bool((attention[2, 3:] > 0).any()) == mixed  # its own padding is seen only where masks are mixed


def test_padding_and_neighbours_change_nothing() -> None:
    torch.manual_seed(0)
    layer = WordAttention(5, 4)
    hidden, words, mask = torch.randn(2, 4, 4, 4), torch.randn(2, 6, 5), torch.arange(6) < torch.tensor([6, 3])[:, None]
    alone, seen = layer(hidden[1:], words[1:, :3], mask[1:, :3])
    context, attention = layer(hidden, words, mask)
    torch.testing.assert_close(context[1:], alone)
    torch.testing.assert_close(attention[1:, :3], seen)
