"""A contrastive loss with several captions of each picture, and with captions of which one attribute or word was changed.

With one caption of each picture, a short true caption is compared with few longer ones that are nearly true, and a model may learn to
prefer long captions. With several captions of each picture and a changed copy of each, every true caption must score higher than the
changed copies of its picture's other captions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.matching.losses.gathering import gathered
from limner.text.words import plain_words


def reads_same(captions: Sequence[str], others: Sequence[str]) -> Tensor:
    """[B, C] bool on the CPU: which of C captions read the same as which of B, by `plain_words`."""
    mine, theirs = (np.array([plain_words(caption) for caption in texts]) for texts in (captions, others))
    return torch.from_numpy(mine[:, None] == theirs)


def same_captions(captions: Sequence[Sequence[str]], own: int, device: torch.device, classes: Tensor | None = None) -> Tensor:
    """[b, K, B, K or 2K] bool: which captions of the batch are also correct for a picture, because they read the same as its own.

    captions: of each of this process's b pictures, its K = `own` captions and, where there are some, as many changed ones.
    classes: [b] class ids; where given, captions of pictures of the same class may, too.
    """
    hashes = _hashes([caption for each in captions for caption in each], device).view(len(captions), -1)
    same: Tensor = hashes[:, :own, None, None] == gathered(hashes)
    if classes is not None:
        same[..., :own] |= (classes[:, None] == gathered(classes))[:, None, :, None]
    return same


def caption_losses(
    to_texts: Tensor, to_pictures: Tensor, rows: slice, no_mistakes: Tensor | None = None
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Cross-entropies of each picture's captions among the batch's and of each caption's picture, and how often the right one scores
    highest.

    to_texts: [b, B, K or 2K], scores of this process's pictures with the captions of all, K true ones of each picture and then, where there
    are some, K changed ones; to_pictures: [b, K, B], scores of its true captions with all pictures; rows: the places of its pictures among
    the B. Each true caption is compared with all wrong ones, but not with the picture's other true ones. no_mistakes: as `same_captions`
    gives it.
    """
    of_each, count = to_pictures.shape[1:]
    own = torch.arange(count, device=to_texts.device)[rows]
    mine = F.one_hot(own, count).bool()  # [b, B]
    true = to_texts[mine][:, :of_each]  # [b, K]
    left_out = F.pad(mine[..., None].expand(-1, -1, of_each), (0, to_texts.shape[2] - of_each))
    if no_mistakes is not None:
        left_out = left_out | no_mistakes.any(1)
        to_pictures = to_pictures.masked_fill(no_mistakes[..., :of_each].any(3) & ~mine[:, None], -torch.inf)
    wrong = to_texts.masked_fill(left_out, -torch.inf).flatten(1)  # [b, B times K or 2K]
    candidates = torch.cat((true[..., None], wrong[:, None].expand(-1, of_each, -1)), dim=2).flatten(0, 1)  # the true one first
    partners = own.repeat_interleave(of_each)
    losses = F.cross_entropy(candidates, torch.zeros_like(partners)), F.cross_entropy(to_pictures.flatten(0, 1), partners)
    with torch.no_grad():
        found = {
            "picture_to_caption": (true > wrong.unflatten(1, (count, -1))[..., :of_each].amax((1, 2))[:, None]).float().mean(),
            "caption_to_picture": (to_pictures.argmax(2) == own[:, None]).float().mean(),
        }
        if to_texts.shape[2] > of_each:
            found["counterfactual"] = (true > to_texts[mine][:, of_each:].amax(1, keepdim=True)).float().mean()
    return *losses, found


def _hashes(captions: Sequence[str], device: torch.device) -> Tensor:
    """An int64 for each caption, the same in every process, and for captions that read the same."""
    texts = (plain_words(caption).encode(errors="surrogatepass") for caption in captions)
    digests = (hashlib.blake2b(text, digest_size=8).digest() for text in texts)
    return torch.tensor([int.from_bytes(digest, "little", signed=True) for digest in digests], dtype=torch.int64, device=device)
