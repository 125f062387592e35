"""How well a matching model recognises classes: by their names alone, or with a linear probe.

Zero-shot classification (Radford et al., ICML 2021, section 3.1): each class's name is put into prompts, such as "a photo of a {}."; the
mean of the prompts' embeddings represents the class (section 3.1.4), and a picture gets the class with the highest score. A linear probe
(section 3.2) is a logistic regression on pictures' embeddings, by L-BFGS with an L2 penalty that is chosen on pictures held out from its
training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from limner.core import random
from limner.core.errors import DataError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.matching.model import MatchingModel
from limner.matching.scores.zero_shot import figures

PHOTO = ("a photo of a {}.",)
"""The published default for photographs."""
STRENGTHS = tuple(10.0**exponent for exponent in range(-6, 2))
"""The L2 penalties that a probe's is chosen from."""


@torch.no_grad()
def label_embeddings(model: MatchingModel, labels: Sequence[str], templates: Sequence[str] = PHOTO, chunk: int = 256) -> Tensor:
    """One embedding [L, D] a label: the mean over templates, scaled to the length of the model's embeddings.

    Raises SettingsError for a template that has no place for the label.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise SettingsError(f"the template '{template}' must hold {{}} once, where the label goes")
    if not templates:
        raise SettingsError("no template: give at least one, such as 'a photo of a {}.'")
    prompts = [template.replace("{}", label) for label in labels for template in templates]
    embedded = torch.cat([model.embed_captions(prompts[start : start + chunk]) for start in range(0, len(prompts), chunk)])
    ensemble = embedded.view(len(labels), len(templates), -1)
    return F.normalize(ensemble.mean(1), dim=1) * ensemble.norm(dim=2).mean(1, keepdim=True)


@torch.no_grad()
def classify(model: MatchingModel, pictures: Tensor, labels: Sequence[str], templates: Sequence[str] = PHOTO) -> Tensor:
    """Probabilities [B, L] of labels for pictures [B, 3, R, R] in [-1, 1], at the temperature that the model has learned.

    A model without a temperature counts its scores as they are.
    """
    if len(labels) < 2:
        raise SettingsError(f"{len(labels)} label leaves nothing to choose: give at least two")
    scores = model.similarity(model.embed_pictures(pictures), label_embeddings(model, labels, templates))
    return (scores * getattr(model, "scale", 1.0)).softmax(1)


@torch.no_grad()
def zero_shot_by_name(
    model: MatchingModel, pictures: CaptionedPictures, names: Sequence[str], templates: Sequence[str] = PHOTO, chunk: int = 256
) -> dict[str, float]:
    """How well a split's classes are recognised by their names: the figures of `limner.matching.scores.zero_shot.figures`.

    names: of every class id; pictures choose among the classes that the split holds. Raises DataError where it has no classes.
    """
    present, own, shown = _embedded(model, pictures, chunk)
    scores = model.similarity(shown, label_embeddings(model, [names[identity] for identity in present.tolist()], templates))
    return figures(scores.cpu().double().numpy(), own)


@dataclass(frozen=True)
class LinearProbe:
    """Logistic regression: scores of classes are features [n, D] @ weight [D, C] + bias [C]."""

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """The most likely class of each row: [n, D] -> [n]."""
        return (features.to(self.weight) @ self.weight + self.bias).argmax(1)


def fit_probe(features: Tensor, classes: Tensor, strength: float, iterations: int = 1000) -> LinearProbe:
    """Minimise the mean cross-entropy plus strength / 2 times the squared weights (biases are free), in float64, from zero.

    features: [n, D]; classes: [n] int64 from 0 on. The optimum is unique; L-BFGS stops there or after `iterations`.
    """
    features, count = features.double(), int(classes.max()) + 1
    weight, bias = (torch.zeros(shape, dtype=torch.float64, device=features.device) for shape in ((features.shape[1], count), (count,)))
    parameters = [nn.Parameter(weight), nn.Parameter(bias)]
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=iterations, tolerance_grad=1e-7, tolerance_change=1e-12, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(features @ parameters[0] + parameters[1], classes) + strength / 2 * parameters[0].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return LinearProbe(*(parameter.detach() for parameter in parameters))


def linear_probe(model: MatchingModel, pictures: CaptionedPictures, *, seed: int = 0, chunk: int = 256) -> dict[str, float]:
    """Accuracy of a linear probe on a quarter of a split's pictures, fitted on the rest; a quarter of those chooses the penalty.

    Keys: "accuracy"; "chance", the share of the most frequent class; "strength"; "train", "test" (pictures); "classes". Embeddings are
    scaled so that their entries are about 1. Raises DataError where the split has no classes or too few pictures.
    """
    _, own, shown = _embedded(model, pictures, chunk)
    if len(own) < 16:
        raise DataError(f"the {pictures.split} split of {pictures.name} has {len(own)} pictures: a linear probe needs at least 16")
    features, classes = shown / shown.square().mean().sqrt(), torch.from_numpy(own).to(shown.device)
    order = torch.from_numpy(random.permutation(len(own), seed, "linear probe")).to(shown.device)
    test, rest = order[: len(order) // 4], order[len(order) // 4 :]
    held_out, fitted = rest[: len(rest) // 4], rest[len(rest) // 4 :]

    def share_right(probe: LinearProbe, rows: Tensor) -> float:
        return float((probe(features[rows]) == classes[rows]).double().mean())

    shares = [share_right(fit_probe(features[fitted], classes[fitted], strength), held_out) for strength in STRENGTHS]
    best = max(range(len(STRENGTHS)), key=lambda place: (shares[place], STRENGTHS[place]))  # of equals the simplest
    probe = fit_probe(features[rest], classes[rest], STRENGTHS[best])
    return {
        "accuracy": share_right(probe, test),
        "chance": float(torch.bincount(classes[test]).max() / len(test)),
        "strength": STRENGTHS[best],
        "train": float(len(rest)),
        "test": float(len(test)),
        "classes": float(len(torch.unique(classes))),
    }


@torch.no_grad()
def _embedded(model: MatchingModel, pictures: CaptionedPictures, chunk: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Tensor]:
    """The class ids that a split holds [C], each picture's place among them [N], and pictures' embeddings [N, D]."""
    if pictures.class_ids is None:
        raise DataError(f"'{pictures.name}' has no classes to tell apart: prepare a set whose samples name theirs")
    present, own = np.unique(pictures.class_ids, return_inverse=True)
    training = model.training
    model.eval()
    rows = np.arange(len(pictures))
    shown = torch.cat([model.embed_stored(pictures, rows[start : start + chunk]) for start in range(0, len(rows), chunk)])
    model.train(training)
    return present, own, shown
