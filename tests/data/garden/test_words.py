import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.data.garden.attributes import ATTRIBUTES
from limner.data.garden.captions import Caption
from limner.data.garden.garden import Garden
from limner.data.garden.words import garden_tokenizer
from limner.text.encoding import encode_all
from limner.text.saving import load_shipped_encoder


def test_the_vocabulary_holds_every_word_of_the_garden() -> None:
    tokenizer = garden_tokenizer()
    captions = Garden("all", seed=5, length=4000).captions(np.arange(4000))
    assert not [word for caption in captions for word in tokenizer.unknown_words(caption.text)]
    assert not any(tokenizer.was_cut(caption.text) for caption in captions)
    said = "a huge lilac flower with 5 pointy petals and a golden center"
    meant = "a large purple flower with five pointed petals and a golden centre"
    assert tokenizer([said]).ids.tolist() == tokenizer([meant]).ids.tolist()


def test_the_shipped_encoder_tells_every_attribute_of_held_out_captions() -> None:
    """Linear readers, fitted to embeddings of training captions, name what captions of held-out classes say, changed ones included."""
    encoder = load_shipped_encoder("garden")
    held_out = Garden("test")
    train = Garden("train").captions(np.arange(3000))
    test = held_out.captions(np.arange(300)) + [held_out.counterfactual(index, 0) for index in range(300)]
    features, unseen = (encode_all(encoder, [caption.text for caption in part], sentence_only=True).sentence for part in (train, test))
    for name in ATTRIBUTES:
        rows, labels = _named(train, name)
        reader = _fit(features[rows], labels, len(ATTRIBUTES[name]))
        rows, labels = _named(test, name)
        right = (_with_one(unseen[rows]) @ reader).argmax(1) == labels
        assert right.float().mean() > 0.98, name


def _named(captions: list[Caption], name: str) -> tuple[list[int], Tensor]:
    rows = [row for row, caption in enumerate(captions) if name in caption.named]
    return rows, torch.tensor([ATTRIBUTES[name].index(captions[row].named[name]) for row in rows])


def _with_one(features: Tensor) -> Tensor:
    return F.pad(features, (0, 1), value=1.0)


def _fit(features: Tensor, labels: Tensor, count: int) -> Tensor:
    weights = torch.zeros(features.shape[1] + 1, count, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(_with_one(features) @ weights, labels) + 1e-4 * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()
