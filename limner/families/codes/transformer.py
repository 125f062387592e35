"""DALL-E's transformer: one line of text tokens and picture codes, each token predicted from those before it.

Ramesh et al., "Zero-Shot Text-to-Image Generation", ICML 2021, arXiv:2102.12092, section 2.2 and appendix B; OpenAI released neither this
network nor its code. What is here is DALLE-pytorch's (github.com/lucidrains/DALLE-pytorch, 1.6.6), number for number, with what the paper
says as some of its options. Its kinds of attention are one attention here under different masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from limner.families.codes.cache import Cache, LayerCache
from limner.families.codes.layout import AttentionKind, Line, Turn, codes_shifted, text_shifted, turn_of, turned

PASSED = 0.1
"""Share of the gradient that reaches the embeddings of a `stable` transformer (after Ding et al., CogView, NeurIPS 2021)."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a transformer is built of."""

    line: Line
    text_ids: int
    codes: int
    width: int = 512
    depth: int = 2
    heads: int = 8
    head_width: int = 64
    attention: tuple[AttentionKind, ...] = ("full",)
    """Of the layers in turn, from the beginning again when they are through."""
    rotary: bool = True
    shift: bool = True
    sandwich: bool = False
    stable: bool = False
    reversible: bool = False
    tied: bool = False
    shared_attention: tuple[int, ...] = ()
    shared_feed_forward: tuple[int, ...] = ()
    dropout: float = 0.0

    def kind(self, layer: int) -> AttentionKind:
        """The attention of a layer."""
        return self.attention[layer % len(self.attention)]


class CodeTransformer(nn.Module):
    """Text and codes in, logits of the next token out.

    Every text position has a padding token of its own, so that the network can tell how long a caption is: text ids 1..T - 1 are tokens,
    T + p is the padding of position p, and 0 is the start mark.
    """

    angles: Tensor | None

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape, self.line = shape, shape.line
        self.text_vocabulary = shape.text_ids + self.line.text
        width = shape.width
        if not shape.tied:
            self.text_embedding = nn.Embedding(self.text_vocabulary, width)
            self.code_embedding = nn.Embedding(shape.codes, width)
        if not shape.rotary:
            self.text_places = nn.Embedding(self.line.first_code, width)
            self.row_places = nn.Parameter(torch.randn(self.line.side, width))
            self.column_places = nn.Parameter(torch.randn(self.line.side, width))
        attended, fed = shape.shared_attention or range(shape.depth), shape.shared_feed_forward or range(shape.depth)
        self.attended, self.fed = [_place(attended, n) for n in range(shape.depth)], [_place(fed, n) for n in range(shape.depth)]
        self.attentions = nn.ModuleList(Attention(width, shape.heads, shape.head_width, shape.dropout) for _ in set(self.attended))
        self.feed_forwards = nn.ModuleList(FeedForward(width, shape.dropout) for _ in set(self.fed))
        self.before_attention = nn.ModuleList(Sublayer(width, layer, shape.sandwich) for layer in range(shape.depth))
        self.before_feed_forward = nn.ModuleList(Sublayer(width, layer, shape.sandwich) for layer in range(shape.depth))
        self.norm = nn.LayerNorm(width)
        self.to_logits = nn.Linear(width, self.text_vocabulary + shape.codes)
        for kind in set(shape.attention) - {"full"}:
            self.register_buffer(_mask_name(kind), self.line.seen(kind), persistent=False)
        self.register_buffer("angles", self.line.angles(shape.head_width) if shape.rotary else None, persistent=False)

    def ids(self, tokens: Tensor | None, count: int = 0) -> Tensor:
        """Text ids [B, L + 1], the start mark first, of tokens [B, T] in which 0 is nothing; longer text is cut. Without tokens, the ids of
        `count` rows of no text."""
        length, device = self.line.text, self.to_logits.weight.device
        if tokens is None:
            tokens = torch.zeros(count, length, dtype=torch.int64, device=device)
        tokens = F.pad(tokens[:, :length], (0, max(length - tokens.shape[1], 0)))
        padding = torch.arange(length, device=device) + self.shape.text_ids
        return F.pad(torch.where(tokens == 0, padding, tokens), (1, 0))

    def forward(self, ids: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Ids [B, L + 1] and codes [B, n] -> logits of the text tokens [B, L, text vocabulary] and of the codes [B, n + 1 or W * W, V]."""
        codes = codes[:, : self.line.codes - 1]  # after the last one comes nothing
        out = self._through(torch.cat([self._text(ids), self._codes(codes, 0)], dim=1))
        return self.text_logits(out[:, : self.line.text]), self.code_logits(out[:, self.line.text :])

    def losses(self, ids: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of the text tokens, padding included, and of the codes [B, W * W]: two scalars, in nats."""
        text, pictures = self(ids, codes)
        return F.cross_entropy(text.flatten(0, 1).float(), ids[:, 1:].flatten()), F.cross_entropy(
            pictures.flatten(0, 1).float(), codes.flatten()
        )

    def partial_text(self, ids: Tensor) -> Tensor:
        """Logits of the token after ids [B, n], n at most L: [B, text vocabulary]. As in the port, tokens are not shifted here."""
        return self.text_logits(self._through(self._text(ids))[:, -1])

    def read(self, ids: Tensor) -> tuple[Tensor, Cache]:
        """Read whole texts [B, L + 1]: logits of the first code [B, V], and what was computed, for `write`."""
        cache = Cache(self.shape.depth)
        out = self._through(self._text(ids), cache)
        return self.code_logits(out[:, -1]), cache

    def write(self, codes: Tensor, cache: Cache) -> Tensor:
        """Read the next codes [B, n]: logits of the one after them [B, V]. The cache then holds them, too."""
        first = cache.length - self.line.first_code
        return self.code_logits(self._through(self._codes(codes, first), cache)[:, -1])

    def text_logits(self, out: Tensor) -> Tensor:
        """[..., D] -> [..., text vocabulary]: text tokens follow text positions alone, and codes the others."""
        return self._logits(out, slice(None, self.text_vocabulary))

    def code_logits(self, out: Tensor) -> Tensor:
        """[..., D] -> [..., V]."""
        return self._logits(out, slice(self.text_vocabulary, None))

    def _logits(self, out: Tensor, rows: slice) -> Tensor:
        return F.linear(self.norm(out), self.to_logits.weight[rows], self.to_logits.bias[rows])

    def _text(self, ids: Tensor) -> Tensor:
        tied = self.shape.tied
        x = F.embedding(ids, self.to_logits.weight[: self.text_vocabulary]) if tied else self.text_embedding(ids)
        return self._entered(x if self.shape.rotary else x + self.text_places.weight[: ids.shape[1]])

    def _codes(self, codes: Tensor, first: int) -> Tensor:
        """Embeddings of the codes [B, n] from number `first` on."""
        x = F.embedding(codes, self.to_logits.weight[self.text_vocabulary :]) if self.shape.tied else self.code_embedding(codes)
        if not self.shape.rotary:
            places = (self.row_places[:, None] + self.column_places).flatten(0, 1)
            x = x + places[first : first + codes.shape[1]]
        return self._entered(x)

    def _entered(self, x: Tensor) -> Tensor:
        return PASSED * x + (1.0 - PASSED) * x.detach() if self.shape.stable else x

    def _through(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """All layers: embeddings [B, n, D] of the tokens after those in the cache -> [B, n, D]."""
        start = cache.length if cache is not None else 0
        turn = None if self.angles is None else turn_of(self.angles[start : start + x.shape[1]])
        one = other = x
        for layer in range(self.shape.depth):
            kept = None if cache is None else cache.layers[layer]
            attend, feed = self._attending(layer, start, turn, kept), self._feeding(layer, start, kept)
            if not self.shape.reversible:
                one = one + attend(one)
                one = one + feed(one)
            elif self.training and torch.is_grad_enabled():
                # What a half gives the other is computed again in the backward pass, which then needs no memory for what is inside.
                one = one + checkpoint(attend, other, use_reentrant=False)
                other = other + checkpoint(feed, one, use_reentrant=False)
            else:
                one = one + attend(other)
                other = other + feed(one)
        if cache is not None:
            cache.length += x.shape[1]
        out = (one + other) / 2.0 if self.shape.reversible else one
        return out / out.amax(-1, keepdim=True).detach() if self.shape.stable else out

    def _attending(self, layer: int, start: int, turn: Turn | None, kept: LayerCache | None) -> Callable[[Tensor], Tensor]:
        sublayer, attention, kind = self.before_attention[layer], self.attentions[self.attended[layer]], self.shape.kind(layer)
        assert isinstance(sublayer, Sublayer)

        def attend(x: Tensor) -> Tensor:
            end = start + x.shape[1]
            mask = None if kind == "full" else getattr(self, _mask_name(kind))[start:end, :end]
            if kind == "full" and start and x.shape[1] > 1:
                mask = torch.ones(x.shape[1], end, dtype=torch.bool, device=x.device).tril(start)
            attended: Tensor = sublayer.after(attention(self._shifted(sublayer.norm(x), start, kept, "attention"), mask, turn, kept))
            return attended

        return attend

    def _feeding(self, layer: int, start: int, kept: LayerCache | None) -> Callable[[Tensor], Tensor]:
        sublayer, feed_forward = self.before_feed_forward[layer], self.feed_forwards[self.fed[layer]]
        assert isinstance(sublayer, Sublayer)

        def feed(x: Tensor) -> Tensor:
            fed: Tensor = sublayer.after(feed_forward(self._shifted(sublayer.norm(x), start, kept, "feed-forward")))
            return fed

        return feed

    def _shifted(self, x: Tensor, start: int, kept: LayerCache | None, where: str) -> Tensor:
        """Tokens [B, n, D] from position `start` on, with channels of their neighbours where tokens are shifted."""
        text = max(self.line.first_code - start, 0)
        if not self.shape.shift or x.shape[1] < text:
            return x
        first, codes = max(start - self.line.first_code, 0), x[:, text:]
        half = codes[..., : 2 * (x.shape[-1] // 4)]
        seen = half if kept is None else kept.neighbours(where, half)
        moved = codes_shifted(codes, seen, first, self.line.side)
        return torch.cat([text_shifted(x[:, :text]), moved], dim=1) if text else moved


def _place(numbers: tuple[int, ...] | range, layer: int) -> int:
    """Which of the different numbers a layer has: layers of one number are one."""
    return list(dict.fromkeys(numbers)).index(numbers[layer])


def _mask_name(kind: AttentionKind) -> str:
    return f"seen_{kind.replace('-', '_')}"


class Sublayer(nn.Module):
    """What stands before and after an attention or a feed-forward network: normalisation, and a gain for each channel (LayerScale: Touvron
    et al., ICCV 2021), which starts the smaller the deeper the layer."""

    def __init__(self, width: int, layer: int, sandwich: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.norm_after = nn.LayerNorm(width) if sandwich else nn.Identity()
        self.scale = nn.Parameter(torch.full((width,), 0.1 if layer < 18 else 1e-5 if layer < 24 else 1e-6))

    def after(self, x: Tensor) -> Tensor:
        """[B, n, D] -> [B, n, D]."""
        gained: Tensor = self.norm_after(x) * self.scale
        return gained


class Attention(nn.Module):
    """Heads that look at what a mask lets them see. Rotary angles turn queries, keys and, as in the port, values."""

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * heads * head_width, bias=False)
        self.to_out = nn.Linear(heads * head_width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, turn: Turn | None, kept: LayerCache | None) -> Tensor:
        """x: [B, n, D]; mask: [n, all] bool, None for all before; turn: of [n, R]; kept: earlier tokens' keys and values."""
        qkv = self.to_qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [3, B, H, n, E]
        q, k, v = qkv if turn is None else turned(qkv, turn)
        if kept is not None:
            k, v = kept.extended(k, v)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None and q.shape[2] == k.shape[2] > 1)
        found: Tensor = self.dropout(self.to_out(out.transpose(1, 2).flatten(2)))
        return found


class FeedForward(nn.Module):
    """To four times the width, gated by a GELU (GEGLU: Shazeer, arXiv:2002.05202), and back."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.widen = nn.Linear(width, 8 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        values, gates = self.widen(x).chunk(2, dim=-1)
        out: Tensor = self.narrow(self.dropout(values * F.gelu(gates)))
        return out
