"""The box generator: a recurrent network that reads a caption and writes labels and boxes, one thing after the other.

Li et al., CVPR 2019, arXiv:1902.10740, section 3.1, after Hong et al., CVPR 2018: at each step the label is drawn first, then the centre
from a mixture of Gaussians that knows the label, then width and proportions from one that knows label and centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.layout import Layout
from limner.families.objects.places import one_hot

PAD, START, END, FIRST = 0, 1, 2, 3
"""Numbers of the words that are no labels; labels come after them."""
PLACE_WIDTH = 50
"""Numbers in the embedding of a centre, or of a size."""
_LEAST = 1e-5
SMALLEST = 0.02
"""Width and height of the smallest box that is written, as shares of the picture's side."""


@dataclass(frozen=True)
class Mixture:
    """Mixtures of K Gaussians of two numbers each.

    weights: [..., K], which sum to 1; means, deviations: [..., K, 2]; correlations: [..., K].
    """

    weights: Tensor
    means: Tensor
    deviations: Tensor
    correlations: Tensor

    @staticmethod
    def of(found: Tensor) -> Mixture:
        """From a layer's output [..., 6 K]."""
        weights, *means, first, second, correlations = found.chunk(6, dim=-1)
        return Mixture(weights.softmax(-1), torch.stack(means, -1), torch.stack([first, second], -1).exp(), correlations.tanh())

    def log_likelihood(self, points: Tensor) -> Tensor:
        """Of points [..., 2]: [...]. Densities have a floor of 1e-5 of the nearest Gaussian's, as in the authors' code."""
        apart = (points[..., None, :] - self.means) / self.deviations
        across = 1.0 - self.correlations.square()
        exponent = -(apart.square().sum(-1) - 2.0 * self.correlations * apart.prod(-1)) / (2.0 * across)
        largest = exponent.amax(-1, keepdim=True)
        norm = (2.0 * math.pi * self.deviations.prod(-1) * across.sqrt()).clamp_min(_LEAST)
        density = (self.weights * (exponent - largest).exp() / norm).sum(-1)
        return (density + _LEAST).log() + largest[..., 0]

    def draw(self, which: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Points [B, 2], from uniform numbers [B] that choose a Gaussian, and standard normal noise [B, 2].

        temperature: below 1, likely Gaussians become likelier (weights to the power of 1 / temperature), and variances that many times
        smaller.
        """
        weights = (self.weights.clamp_min(1e-12).log() / temperature).softmax(-1)
        chosen = chosen_by(weights, which)[:, None]
        means, deviations = (value.gather(1, chosen[..., None].expand(-1, -1, 2))[:, 0] for value in (self.means, self.deviations))
        correlation = self.correlations.gather(1, chosen)
        second = correlation * noise[:, :1] + (1.0 - correlation.square()).clamp_min(0.0).sqrt() * noise[:, 1:]
        return means + deviations * math.sqrt(temperature) * torch.cat([noise[:, :1], second], 1)


def chosen_by(weights: Tensor, which: Tensor) -> Tensor:
    """The place [B] in weights [B, K], which sum to 1, that uniform numbers [B] in [0, 1) fall into."""
    reached = which[:, None].to(weights.dtype) >= weights.cumsum(1)
    return reached.sum(1).clamp(max=weights.shape[1] - 1)


class Attention(nn.Module):
    """Attention of a recurrent state to the words (Bahdanau et al., ICLR 2015), which the paper has and the released models have not."""

    def __init__(self, hidden: int, word_width: int) -> None:
        super().__init__()
        self.join = nn.Linear(hidden + word_width, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, state: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """State [B, H], words [B, T, D], mask [B, T] -> what is read [B, D], and how much of each word [B, T]."""
        both = torch.cat([state[:, None].expand(-1, words.shape[1], -1), words], dim=2)
        weights = self.score(self.join(both).tanh())[..., 0].masked_fill(~mask, -torch.inf).softmax(1)
        return (weights[:, None] @ words)[:, 0], weights


class SecondLook(nn.Module):
    """What is said of a thing whose label is known: the first look, from which the label is drawn, does not know yet which thing it is.

    Without it centre and size are sums of what state and label say, so that 'left' and 'right' cannot depend on which flower is drawn.
    """

    def __init__(self, hidden: int, word_width: int) -> None:
        super().__init__()
        self.attention = Attention(hidden, word_width)
        self.join = nn.Linear(2 * hidden + word_width, hidden)

    def forward(self, state: Tensor, label: Tensor, words: Tensor, mask: Tensor) -> Tensor:
        """State [B, H], the label's vector [B, H], words [B, T, D], mask [B, T] -> [B, H]."""
        found, _ = self.attention(state + label, words, mask)
        return state + self.join(torch.cat([state, label, found], 1)).tanh()


@dataclass(frozen=True)
class Drawn:
    """What the box generator wrote: labels [B, N], -1 where there is nothing more; boxes [B, N, 4]; and how much each step looked at each
    word, [B, N, T], where it attends."""

    labels: Tensor
    boxes: Tensor
    attention: Tensor | None


class BoxGenerator(nn.Module):
    """Writes a layout, given a caption's sentence and words.

    labels: how many there are. word_width: of the words that it attends to; None without attention. second_look: attend to them again once
    a label is known. given_state: whether sentences hold
    the first state, hidden and cell, themselves, as the released encoder's do; else both are linear in the sentence. released: do as the
    released code does, in which the mixture of sizes sees the vertical place of the thing before where it should see the one just drawn,
    and mixtures see the labels' distribution when drawing, where they saw the label itself in training.
    """

    mean: Tensor
    deviation: Tensor
    first: Tensor
    label_weights: Tensor

    def __init__(
        self,
        labels: int,
        sentence_width: int,
        hidden: int,
        *,
        components: int = 5,
        word_width: int | None = None,
        second_look: bool = False,
        given_state: bool = False,
        released: bool = False,
    ) -> None:
        super().__init__()
        self.labels, self.hidden, self.released = labels, hidden, released
        known = labels + FIRST
        self.begin = None if given_state else nn.Linear(sentence_width, 2 * hidden)
        self.label = nn.Embedding(known, hidden)
        self.place, self.size, self.next_place = (nn.Linear(2, PLACE_WIDTH) for _ in range(3))
        self.attention = None if word_width is None else Attention(hidden, word_width)
        self.second = SecondLook(hidden, word_width) if second_look and word_width is not None else None
        self.reader = nn.LSTMCell(2 * PLACE_WIDTH + hidden + (word_width or 0), hidden)
        self.to_label = nn.Linear(hidden, known)
        self.to_place = nn.Linear(hidden + known, 6 * components)
        self.to_size = nn.Linear(hidden + known + PLACE_WIDTH, 6 * components)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("deviation", torch.ones(4))
        self.register_buffer("first", torch.zeros(4))
        self.register_buffer("label_weights", torch.ones(known))

    def coded(self, boxes: Tensor) -> Tensor:
        """Boxes [..., 4] -> centre, width and height as a share of the width, each shifted and scaled to mean 0 and deviation 1."""
        return (measured(boxes) - self.mean) / self.deviation

    def boxes(self, codes: Tensor) -> Tensor:
        """The reverse: boxes [..., 4] that lie in the picture and are not too small to be seen."""
        x, y, width, proportion = (codes * self.deviation + self.mean).unbind(-1)
        height = (width.clamp_min(SMALLEST) * proportion).clamp(SMALLEST, 1.0)
        width = width.clamp(SMALLEST, 1.0)
        left = (x - width / 2.0).clamp(0.0, 1.0 - SMALLEST)
        top = (y - height / 2.0).clamp(0.0, 1.0 - SMALLEST)
        right, bottom = (x + width / 2.0).clamp(max=1.0), (y + height / 2.0).clamp(max=1.0)
        right, bottom = torch.maximum(right, left + SMALLEST), torch.maximum(bottom, top + SMALLEST)
        return torch.stack([left, top, right - left, bottom - top], -1)

    def begun(self, sentence: Tensor) -> tuple[Tensor, Tensor]:
        """The first state, hidden and cell [B, H], for sentences [B, D]."""
        hidden, cell = (sentence if self.begin is None else self.begin(sentence)).split(self.hidden, dim=1)
        return hidden, cell

    def step(
        self, labels: Tensor, codes: Tensor, state: tuple[Tensor, Tensor], words: Tensor | None, mask: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        """Read the thing before, labels [B] and codes [B, 4]: the next state, and the attention [B, T]."""
        read, attention = [self.place(codes[:, :2]), self.size(codes[:, 2:]), self.label(labels)], None
        if self.attention is not None:
            assert words is not None and mask is not None
            context, attention = self.attention(state[0], words, mask)
            read.append(context)
        hidden, cell = self.reader(torch.cat(read, 1), state)
        return (hidden, cell), attention

    def informed(self, hidden: Tensor, labels: Tensor, words: Tensor | None, mask: Tensor | None) -> Tensor:
        """The state [B, H], or what it becomes by a second look at the words once the labels [B] are known."""
        if self.second is None:
            return hidden
        assert words is not None and mask is not None
        found: Tensor = self.second(hidden, self.label(labels), words, mask)
        return found

    def probabilities(self, hidden: Tensor) -> Tensor:
        """Of each label, [..., L + 3], none below 1e-5."""
        return self.to_label(hidden).softmax(-1).clamp(1e-5, 1.0)

    def places(self, hidden: Tensor, label: Tensor) -> Mixture:
        """Of the centre, given the label as a distribution [..., L + 3]."""
        return Mixture.of(self.to_place(torch.cat([hidden, label], -1)))

    def sizes(self, hidden: Tensor, label: Tensor, place: Tensor, before: Tensor) -> Mixture:
        """Of width and proportions, given label and centre [..., 2], and the centre of the thing before."""
        if self.released:
            place = torch.stack([place[..., 0], before[..., 1]], -1)
        return Mixture.of(self.to_size(torch.cat([hidden, label, self.next_place(place)], -1)))

    def forward(
        self, state: tuple[Tensor, Tensor], words: Tensor | None, mask: Tensor | None, labels: Tensor, codes: Tensor
    ) -> tuple[Tensor, Mixture, Mixture, tuple[Tensor, Tensor]]:
        """What it says of each next thing, given all before: labels [B, T + 1] that begin with `START`, and codes [B, T + 1, 4].

        Returns probabilities of labels [B, T, L + 3], mixtures of centres and of sizes [B, T, ...], and the last state.
        """
        hiddens, informed = [], []
        for place in range(labels.shape[1] - 1):
            state, _ = self.step(labels[:, place], codes[:, place], state, words, mask)
            hiddens.append(state[0])
            informed.append(self.informed(state[0], labels[:, place + 1], words, mask))
        hidden, known = torch.stack(hiddens, 1), torch.stack(informed, 1)
        following = one_hot(labels[:, 1:], self.labels + FIRST, hidden.dtype)
        sizes = self.sizes(known, following, codes[:, 1:, :2], codes[:, :-1, :2])
        return self.probabilities(hidden), self.places(known, following), sizes, state

    def draw(
        self,
        state: tuple[Tensor, Tensor],
        words: Tensor | None,
        mask: Tensor | None,
        uniform: Tensor,
        normal: Tensor,
        *,
        temperature: float,
        label_temperature: float,
    ) -> Drawn:
        """Write at most N things, one at least.

        uniform: [B, N, 3], which label and which Gaussian of each mixture; normal: [B, N, 4], where in them. label_temperature: 0 takes
        the likeliest label, as the released code does.
        """
        count = uniform.shape[0]
        label = torch.full((count,), START, device=uniform.device)
        code = self.first.expand(count, 4).to(normal.dtype)
        over = torch.zeros(count, dtype=torch.bool, device=uniform.device)
        labels, boxes, attended = [], [], []
        for number in range(uniform.shape[1]):
            state, attention = self.step(label, code, state, words, mask)
            chances = self.probabilities(state[0])
            label = self._next_label(chances, uniform[:, number, 0], label_temperature, first=number == 0)
            over = over | (label == END)
            told = chances if self.released else one_hot(label, self.labels + FIRST, code.dtype)
            known = self.informed(state[0], label, words, mask)
            place = self.places(known, told).draw(uniform[:, number, 1], normal[:, number, :2], temperature)
            size = self.sizes(known, told, place, code[:, :2]).draw(uniform[:, number, 2], normal[:, number, 2:], temperature)
            code = torch.cat([place, size], 1)
            labels.append(torch.where(over, -1, label - FIRST))
            boxes.append(torch.where(over[:, None], 0.0, self.boxes(code)))
            attended += [] if attention is None else [attention]
        return Drawn(torch.stack(labels, 1), torch.stack(boxes, 1), torch.stack(attended, 1) if attended else None)

    def _next_label(self, probabilities: Tensor, uniform: Tensor, temperature: float, *, first: bool) -> Tensor:
        known = torch.arange(probabilities.shape[1], device=probabilities.device)
        left = probabilities * (known >= (FIRST if first else END))  # neither nothing nor a second beginning, and one thing at least
        if not temperature:
            return left.argmax(1)
        weights = (left.log() / temperature).softmax(1)
        return chosen_by(weights, uniform)


def measured(boxes: Tensor) -> Tensor:
    """Boxes [..., 4] -> centre (2), width, and height as a share of the width."""
    return torch.cat([boxes[..., :2] + boxes[..., 2:] / 2.0, boxes[..., 2:3], boxes[..., 3:] / boxes[..., 2:3].clamp_min(1e-6)], -1)


def sequences(layout: Layout, codes: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """Layouts of N things, those that are none last, as sequences: labels [B, N + 2] from `START` to `END`, and codes [B, N + 2, 4]."""
    count, things = layout.labels.shape
    ends = F.one_hot(layout.counts, things + 1).bool()
    labels = F.pad(torch.where(layout.labels >= 0, layout.labels + FIRST, PAD), (0, 1)).masked_fill(ends, END)
    begin = labels.new_full((count, 1), START)
    kept = torch.where((layout.labels >= 0)[..., None], codes, 0.0)
    return torch.cat([begin, labels], 1), torch.cat([first.expand(count, 1, 4), F.pad(kept, (0, 0, 0, 1))], 1)


def label_loss(probabilities: Tensor, labels: Tensor, weights: Tensor, *, of_probabilities: bool = False) -> Tensor:
    """Weighted negative log-likelihood of labels [B, T], given probabilities [B, T, L + 3]: the sum over labels, by their number.

    of_probabilities: minus the weighted probabilities themselves, which the released code minimises.
    """
    own = probabilities.gather(2, labels[..., None])[..., 0]
    counted = labels != PAD
    terms = weights[labels] * (own if of_probabilities else own.log())
    return -(terms * counted).sum() / counted.sum().clamp_min(1)


def box_loss(places: Mixture, sizes: Mixture, codes: Tensor, counted: Tensor) -> Tensor:
    """Negative log-likelihood of codes [B, T, 4]: the mean over things that are `counted` [B, T]."""
    found = places.log_likelihood(codes[..., :2]) + sizes.log_likelihood(codes[..., 2:])
    return -torch.where(counted, found, 0.0).sum() / counted.sum().clamp_min(1)
