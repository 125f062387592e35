"""What a transformer has computed of the tokens so far, so that the next one costs one token's work: keys, values, and, where tokens are
shifted, channels that neighbours take over. Every kind of attention uses the same cache: its mask says which keys count."""

from __future__ import annotations

from torch import Tensor


class LayerCache:
    """One layer's: keys and values [B, H, room, E], of which the first `filled` hold; neighbours' channels [B, room, D / 2] by place."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.filled = 0
        self.shifted: dict[str, tuple[Tensor, int]] = {}

    def extended(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values [B, H, n, E] of the next tokens; returns those of all."""
        count, end = keys.shape[2], self.filled + keys.shape[2]
        if self.keys is None or self.values is None:
            self.keys, self.values = keys, values
        else:
            self.keys[:, :, self.filled : end] = keys
            self.values[:, :, self.filled : end] = values
        self.filled += count
        return self.keys[:, :, :end], self.values[:, :, :end]

    def neighbours(self, where: str, half: Tensor) -> Tensor:
        """Add half of the channels of the next codes [B, n, D / 2]; returns those of all codes."""
        held, filled = self.shifted.get(where, (half, 0))
        end = filled + half.shape[1]
        if where in self.shifted:
            held[:, filled:end] = half
        self.shifted[where] = held, end
        return held[:, :end]

    def spread(self, rows: Tensor, room: int, codes: int) -> LayerCache:
        """One with a row for each number in `rows`, and room for so many tokens, of which so many are codes."""
        new = LayerCache()
        assert self.keys is not None and self.values is not None
        new.keys, new.values = (_roomy(value[rows], room, 2) for value in (self.keys, self.values))
        new.filled = self.filled
        new.shifted = {where: (_roomy(held[rows], codes, 1), filled) for where, (held, filled) in self.shifted.items()}
        return new


class Cache:
    """All layers'. length: how many tokens it holds."""

    def __init__(self, depth: int) -> None:
        self.layers = [LayerCache() for _ in range(depth)]
        self.length = 0

    def spread(self, rows: Tensor, room: int, codes: int) -> Cache:
        """One with these of its rows, [B] int64, each as often as it stands there, and room for a whole line."""
        new = Cache(0)
        new.layers = [layer.spread(rows, room, codes) for layer in self.layers]
        new.length = self.length
        return new


def _roomy(value: Tensor, room: int, dimension: int) -> Tensor:
    """The values with room for more along one dimension."""
    sizes = list(value.shape)
    filled, sizes[dimension] = sizes[dimension], room
    new = value.new_zeros(sizes)
    new.narrow(dimension, 0, filled).copy_(value)
    return new
