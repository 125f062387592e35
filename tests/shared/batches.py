"""Batches, conditions and steps for the tests of methods: one maker for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from limner.core.batch import Batch, StoryText
from limner.core.layout import Layout
from limner.core.method import Method
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Progress, Update

WIDTH, WORD_WIDTH, LONGEST, CLASSES = 12, 5, 4, 5
"""Widths of sentences and words, words of the longest caption, and classes, where a test names none of its own."""
LABELS, THINGS = ("a red bird", "a blue bird", "a bird"), 3
"""Names of what layouts place, and how many things each picture has at the most."""
CAPTIONS = ["a red bird", "a blue bird", "a bird", "a small bird"]
PROGRESS = Progress(phase="gan", step=0, steps=10, images=0, epoch=0.0)


def make_conditions(resolution: int = 16, **values: Any) -> Conditions:
    """What a method that reads sentences alone is built for. values: other conditions, laid over these."""
    return Conditions(**{"resolution": resolution, "sentence_width": WIDTH, **values})


def make_text(
    captions: list[str], generator: torch.Generator, *, width: int = WIDTH, words: int | None = None, longest: int = LONGEST
) -> TextFeatures:
    """Random features of captions, with as many words as each has, padded to `longest`, where `words` gives a word's width;
    tokens are the words' lengths."""
    sentence = torch.randn(len(captions), width, generator=generator)
    if words is None:
        return TextFeatures(sentence)
    mask = torch.arange(longest) < torch.tensor([[len(caption.split())] for caption in captions])
    tokens = torch.tensor([[1 + len(word) for word in (caption.split() + [""] * longest)[:longest]] for caption in captions]) * mask
    return TextFeatures(sentence, torch.randn(len(captions), longest, words, generator=generator) * mask[..., None], mask, tokens)


def make_batch(
    resolution: int = 16,
    size: int = 6,
    *,
    width: int = WIDTH,
    words: int | None = None,
    captions: int = 1,
    counterfactuals: int = 1,
    classes: int = 0,
    frames: int = 1,
    categories: int = 0,
    seed: int = 0,
) -> Batch:
    """Random pictures with captions, and what a step may ask for with them: mismatched and unpaired pictures, counterfactual captions.

    width, words: of a sentence and of a word, None for no words; captions: how many each picture has, the second shorter than the first,
    0 for none; counterfactuals: how many go with each picture; classes: how many there are, 0 for none; a mismatched picture's class is the
    next one; frames: pictures of a story, of which single ones may be drawn; categories: of which a picture may show several, 0 for none.
    """
    generator = torch.Generator().manual_seed(seed)
    said = [[CAPTIONS[row % len(CAPTIONS)], CAPTIONS[row % len(CAPTIONS)].split()[-2]][:captions] for row in range(size)]

    def one(shift: int) -> Batch:
        pictures = torch.rand(size, 3, resolution, resolution, generator=generator) * 2 - 1
        texts = [
            make_text([own[number] for own in said], generator, width=width, words=words, longest=LONGEST - number)
            for number in range(captions)
        ]
        return Batch(
            pictures=pictures,
            captions=said,
            texts=tuple(texts),
            indices=np.arange(size),
            samples=np.arange(size),
            seed=seed,
            classes=(torch.arange(size) + shift) % classes if classes else None,
            counterfactuals=tuple(
                make_text([own[0] for own in said], generator, width=width, words=words) for _ in range(counterfactuals if captions else 0)
            ),
            counterfactual_captions=[list(own) for own in said] if captions else None,
            categories=(torch.rand(size, categories, generator=generator) < 0.5).float() if categories else None,
            layout=make_layout(size, torch.Generator().manual_seed(seed + shift)),
        )

    batch, mismatched, unpaired = (one(shift) for shift in (0, 1, 2))
    others = {"mismatched": mismatched, "unpaired": unpaired} if captions else {"unpaired": unpaired}
    if frames > 1:
        batch.frames, others["frames"] = frames, one(3)
        around = make_text([own[0] for own in said for _ in range(frames)], generator, width=width, words=words)
        places = np.arange(size) % frames
        around.sentence[torch.arange(size) * frames + torch.from_numpy(places)] = others["frames"].text.sentence
        others["frames"].story = StoryText(around, places)
    batch.draw_batch = others.__getitem__
    return batch


def batch_of(phase: Phase, width: int, words: int, seed: int = 0) -> Batch:
    """What a step of a phase asks for, with sentences and words of these widths."""
    batch = make_batch(
        phase.resolution,
        phase.batch_size,
        width=width,
        words=words,
        captions=max(phase.captions, 1),
        classes=CLASSES,
        frames=phase.frames,
        seed=seed,
    )
    if not phase.encoded:
        batch.texts, batch.counterfactuals = (), ()
    return batch


def make_layout(size: int, generator: torch.Generator, shape_side: int = 8) -> Layout:
    """Things with random shapes: in every row a small one and a large one, and in every other row a third."""
    boxes = torch.tensor([[0.05, 0.1, 0.2, 0.15], [0.3, 0.2, 0.6, 0.7], [0.5, 0.0, 0.3, 0.4]]).expand(size, -1, -1)
    labels = torch.arange(THINGS).expand(size, -1).clone()
    labels[::2, 2] = -1
    boxes = torch.where((labels >= 0)[..., None], boxes + 0.01 * torch.rand(boxes.shape, generator=generator), 0.0)
    shapes = torch.rand(size, THINGS, shape_side, shape_side, generator=generator) * (labels >= 0)[..., None, None]
    return Layout(boxes, labels, shapes)


def turns_of_a_step(method: Method, batch: Batch, progress: Progress = PROGRESS, rate: float = 0.01) -> list[Update]:
    """A step, each of whose turns has a finite loss and finite gradients, and moves its own player and nobody else.

    rate: how far each gradient moves its weight.
    """
    players, turns = method.players(), []
    for update in method.training_step(batch, progress):
        own = [value for value in players[update.player].module.parameters() if value.requires_grad]
        gradients = torch.autograd.grad(update.loss, own)
        assert update.loss.isfinite() and all(gradient.isfinite().all() for gradient in gradients)
        others = [value for name, player in players.items() if name != update.player for value in player.module.parameters()]
        before = [value.clone() for value in others]
        with torch.no_grad():
            for value, gradient in zip(own, gradients, strict=True):
                value -= rate * gradient
        assert all(map(torch.equal, before, others))
        turns.append(update)
    return turns
