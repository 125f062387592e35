"""Run by test_clip.py in one or two processes: takes the gradient of CLIP's step on this process's rows, averaged as the trainer does.

From there `found` is called too, for the same in float64.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as distributed

from limner.core.batch import Batch
from limner.core.trainable import Conditions
from limner.matching.models.clip import CLIP, CLIPSettings, text_settings
from limner.text.byte_pairs import BytePairTokenizer
from limner.text.clip_text import ClipText

CAPTIONS = ["a red flower", "a blue flower", "five petals", "a white flower", "a blue flower", "six petals", "a flower", "pink"]
CHANGED = ["a blue flower", "a red flower", "six petals", "a pink flower", "a white flower", "five petals", "a petal", "blue"]
CLASSES = [0, 1, 2, 3, 1, 5, 6, 2]
KINDS = {"nothing": False, "captions": True, "classes": True}
"""What is left out of the wrong pairs, and whether there are counterfactual captions."""


def given(leave_out: str, rows: slice) -> tuple[CLIP, Batch]:
    """A fresh model and these rows of the batch."""
    generator = torch.Generator().manual_seed(3)
    pictures, classes = torch.rand(8, 3, 16, 16, generator=generator) * 2 - 1, torch.tensor(CLASSES)
    torch.manual_seed(1)
    tokenizer = BytePairTokenizer.train(CAPTIONS, context_length=12)
    sizes = {"width": 8, "picture_width": 16, "picture_layers": (1,), "picture_heads": 2, "patch": 8}
    sizes |= {"text_width": 16, "text_layers": 1, "text_heads": 2, "context_length": 12}
    settings = CLIPSettings(**sizes, leave_out=leave_out, counterfactual=KINDS[leave_out], batch_size=8)
    model = CLIP(settings, Conditions(resolution=16, sentence_width=8), ClipText(tokenizer, text_settings(settings, len(tokenizer))))
    indices = np.arange(8)[rows]
    batch = Batch(
        pictures=pictures[rows],
        captions=[[caption] for caption in CAPTIONS[rows]],
        texts=(),
        indices=indices,
        samples=indices,
        seed=0,
        classes=classes[rows],
        counterfactual_captions=[[caption] for caption in CHANGED[rows]],
    )
    return model, batch


def found(model: CLIP, batch: Batch) -> dict[str, torch.Tensor]:
    """The step's loss and metrics, and the loss's gradient by every weight."""
    (update,) = model.training_step(batch, None)  # type: ignore[arg-type]
    update.loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {"loss": update.loss.detach(), **gradients, **update.metrics}


def main(out: Path, rank: int, processes: int) -> None:
    if processes > 1:
        distributed.init_process_group("gloo", init_method=f"file://{out / 'store'}", rank=rank, world_size=processes)
    for leave_out in KINDS:
        values = found(*given(leave_out, slice(rank * 8 // processes, (rank + 1) * 8 // processes)))
        for value in values.values():
            if processes > 1:
                distributed.all_reduce(value)
                value /= processes
        if rank == 0:
            torch.save(values, out / f"{leave_out}-{processes}.pt")
    if processes > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
