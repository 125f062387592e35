"""Writing codes one after another: which code comes next, given the logits of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.core.abilities import Tell
from limner.families.codes.transformer import CodeTransformer

Pick = Callable[[Tensor, int], Tensor]
"""Logits [B, V] and the number of the code, from 0 -> the code of each row, [B] int64."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How a code is drawn. temperature: logits are divided by it; 0 takes the likeliest. top_k: only the k likeliest can be drawn, 0 for
    all; top_p: only the likeliest that together have this probability."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def probabilities(self, logits: Tensor) -> Tensor:
        """[B, V] -> [B, V] float64, which sum to 1 but for rounding."""
        logits = logits.double()
        if self.temperature == 0:
            return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
        if 0 < self.top_k < logits.shape[1]:
            lowest = logits.topk(self.top_k, dim=1).values[:, -1:]
            logits = logits.masked_fill(logits < lowest, -torch.inf)
        found = ((logits - logits.amax(1, keepdim=True)) / self.temperature).softmax(1)  # which no temperature above 0 is too low for
        if self.top_p < 1.0:
            ordered, order = found.sort(dim=1, descending=True, stable=True)
            before = ordered.cumsum(1) - ordered  # what the likelier ones have already
            found = torch.zeros_like(found).scatter_(1, order, ordered.masked_fill(before >= self.top_p, 0.0))
        return found

    def drawn(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """The code at which the cumulated probabilities pass a uniform number: [B, V] and [B] in [0, 1) -> [B] int64."""
        reached = self.probabilities(logits).cumsum(1)
        return (reached <= uniform.double()[:, None] * reached[:, -1:]).sum(1).clamp_(max=logits.shape[1] - 1)


@dataclass(frozen=True)
class Given:
    """Codes that are given. codes: [B, W * W] int64; kept: [B, W * W] bool, True where the code stays; leading: codes at the beginning that
    are kept in all rows, which are read in one go."""

    codes: Tensor
    kept: Tensor
    leading: int = 0


@torch.no_grad()
def write_codes(
    transformer: CodeTransformer,
    ids: Tensor,
    rows: Tensor,
    pick: Pick,
    *,
    given: Given | None = None,
    guidance: float = 1.0,
    released: bool = False,
    cached: bool = True,
    tell: Tell | None = None,
) -> Tensor:
    """The codes of B pictures, one after another: [B, W * W] int64.

    ids: [U, L + 1] different texts, each read once; rows: [B] int64, which of them each picture shows. guidance: logits are those without
    text, moved this many times as far as the text moves them (Ho and Salimans, arXiv:2207.12598). released: as DALLE-pytorch has it, whose
    guidance erases the text after the first code. cached: False computes everything anew for each code; the codes are the same.
    """
    line = transformer.line
    guided = guidance != 1.0
    if guided:  # the pictures' rows, and then as many that were given no text
        ids = torch.cat([ids, transformer.ids(None, 1)])
        rows = torch.cat([rows, torch.full_like(rows, len(ids) - 1)])

    def next_one(found: Tensor, number: int) -> Tensor:
        if guided:
            found, free = found.chunk(2)
            found = free if released and number else free + guidance * (found - free)
        code = pick(found, number)
        return code if given is None else torch.where(given.kept[:, number], given.codes[:, number], code)

    reader = _Cached(transformer, ids, rows) if cached else _Anew(transformer, ids, rows)
    count = len(rows) // 2 if guided else len(rows)
    leading = given.leading if given is not None else 0
    codes = given.codes[:, :leading] if given is not None else torch.zeros(count, 0, dtype=torch.int64, device=ids.device)
    written, unread = [codes], codes
    for number in range(leading, line.codes):
        code = next_one(reader.after(torch.cat([unread, unread]) if guided else unread), number)
        unread = code[:, None]
        written.append(unread)
        if tell is not None:
            tell(number + 1, line.codes)
    return torch.cat(written, dim=1)


class _Cached:
    """Logits of the next code, from what was computed for the tokens before."""

    def __init__(self, transformer: CodeTransformer, ids: Tensor, rows: Tensor) -> None:
        line = transformer.line
        self.transformer = transformer
        logits, cache = transformer.read(ids)
        self.logits, self.cache = logits[rows], cache.spread(rows, len(line), line.codes)

    def after(self, codes: Tensor) -> Tensor:
        """Logits [B, V] of the code after these next ones, [B, n]; n may be 0 before the first one."""
        return self.transformer.write(codes, self.cache) if codes.shape[1] else self.logits


class _Anew:
    """The same, with the whole line computed for each code."""

    def __init__(self, transformer: CodeTransformer, ids: Tensor, rows: Tensor) -> None:
        self.transformer, self.ids = transformer, ids[rows]
        self.codes = torch.zeros(len(rows), 0, dtype=torch.int64, device=ids.device)

    def after(self, codes: Tensor) -> Tensor:
        self.codes = torch.cat([self.codes, codes], dim=1)
        return self.transformer(self.ids, self.codes)[1][:, -1]
