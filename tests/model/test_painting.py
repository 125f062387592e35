"""The one door to paint: captions come through it, a method may take gradients behind it, and rows that belong together stay together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.core.errors import SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import Noise, VectorNoise, gaussian
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.explore.attend import attend
from limner.explore.interpolate import between_captions
from limner.features.network import to_bytes
from limner.model import Model
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

CAPTIONS = ["a red flower", "a blue flower at night", "a flower", "night"]


@dataclass(frozen=True)
class NoSettings:
    pass


class Optimising(Method):
    """Paints the picture whose mean is the number of letters of its caption in hundreds, found by gradient descent; its parameters are
    frozen in a model. It notes what it was asked, batch by batch."""

    Settings, title, paper, presets = NoSettings, "Optimising", "nobody's", {}

    def __init__(self) -> None:
        super().__init__(NoSettings(), Conditions(resolution=8, sentence_width=6))
        self.weight = nn.Parameter(torch.ones(()))
        self.asked: list[tuple[str, ...] | None] = []
        self.devices: list[str] = []

    def players(self) -> Any:
        return {}

    def phases(self) -> Any:
        return []

    def training_step(self, batch: Any, progress: Any) -> Iterator[Any]:
        yield from ()

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> VectorNoise:
        self.devices.append(str(torch.empty(0).device))
        return VectorNoise(gaussian((4,), seed, samples, stream))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        assert isinstance(noise, VectorNoise) and text.captions is not None and not torch.is_grad_enabled()
        self.asked.append(text.captions)
        wanted = torch.tensor([len(caption) / 100 for caption in text.captions])
        with torch.enable_grad():
            found = (noise.z.mean(1) + 0 * text.sentence.sum(1)).requires_grad_()
            for _ in range(40):
                loss = (self.weight * found - wanted).square().sum()
                (gradient,) = torch.autograd.grad(loss, found)
                found = (found - 0.3 * gradient).detach().requires_grad_()
        images = found.detach()[:, None, None, None].expand(-1, 3, 8, 8)
        words = torch.ones(len(text), max(len(caption.split()) for caption in text.captions), 2, 2)
        return Painting(images, (images[..., :4, :4],), {"attention-2": words, "found": found.detach()})


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    widths = RecurrentSettings(word_embedding=4, hidden=4, sentence_width=6)
    return Model(Optimising(), RecurrentEncoder(WordTokenizer.build(CAPTIONS), widths))


def method_of(model: Model) -> Optimising:
    assert isinstance(model.method, Optimising)
    return model.method


def test_a_method_may_take_gradients_and_read_the_captions(model: Model) -> None:
    expected = torch.tensor([len(caption) / 100 for caption in CAPTIONS])
    painting = model.painting(CAPTIONS, range(4), seed=3)
    assert torch.allclose(painting.images[:, 0, 0, 0], expected, atol=1e-5) and not painting.images.requires_grad
    level = to_bytes(expected)
    assert model.pictures(CAPTIONS, range(4))[:, 0, 0, 0].tolist() == level.tolist()
    assert [stage[:, 0, 0, 0].tolist() for stage in model.stages(CAPTIONS, range(4))] == [level.tolist()] * 2
    assert [np.asarray(picture)[0, 0, 0] for picture in model.generate(CAPTIONS)] == level.tolist()
    text = model.encode(CAPTIONS[:1])
    assert model.paint(text, model.noise(0, [0]))[0, 0, 0, 0] == level[0]
    with torch.inference_mode():  # whoever calls it so
        assert torch.equal(model.painting(CAPTIONS, range(4), seed=3).images, painting.images)
    assert model.method.weight.grad is None
    found = attend(model, CAPTIONS[1])
    assert found.picture[0, 0, 0] == level[1] and list(found.maps) == [2]


def test_captions_come_in_batches_and_go_together_again(model: Model) -> None:
    whole, cut = model.painting(CAPTIONS, range(4)), model.painting(CAPTIONS, range(4), batch_size=3)
    assert method_of(model).asked == [tuple(CAPTIONS), tuple(CAPTIONS[:3]), tuple(CAPTIONS[3:])]
    assert torch.allclose(cut.images, whole.images, atol=1e-6) and torch.allclose(cut.extras["found"], whole.extras["found"], atol=1e-6)
    assert len(cut.stages) == 1 and cut.stages[0].shape == (4, 3, 4, 4)
    assert torch.equal(cut.extras["attention-2"][:3], whole.extras["attention-2"][:3])
    assert cut.extras["attention-2"][3].sum((1, 2)).tolist() == [4, 0, 0, 0, 0]  # one word, and none where others have one


def test_rows_that_belong_together_are_never_cut_apart(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Optimising, "rows", 3)
    asked = method_of(model).asked
    for size, lengths in ((7, [6, 6]), (3, [3] * 4), (2, [3] * 4), (64, [12])):
        asked.clear()
        model.pictures(CAPTIONS * 3, range(12), batch_size=size)
        assert [len(captions) for captions in asked if captions] == lengths
    with pytest.raises(SettingsError, match="4 captions were given, and this model paints 3 pictures that belong together"):
        model.pictures(CAPTIONS, range(4))


def test_noise_is_drawn_on_the_models_device(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.noise(0, [0])
    assert method_of(model).devices == ["cpu"]
    method_of(model).devices.clear()
    monkeypatch.setattr(Model, "device", torch.device("meta"))  # another device that every machine has
    model.noise(0, np.arange(3))
    assert method_of(model).devices == ["meta"]


def test_what_cannot_be_painted_is_refused_before_anything_is(model: Model) -> None:
    for captions, message in (([], "no caption was given"), ([*CAPTIONS, " "], "a caption is empty")):
        with pytest.raises(SettingsError, match=message):
            model.painting(captions, range(len(captions)))
    assert not method_of(model).asked and model.pictures([], []).shape == (0, 8, 8, 3)


def test_a_blend_has_the_nearer_caption(model: Model) -> None:
    assert between_captions(model, CAPTIONS[0], CAPTIONS[3], steps=4).shape == (4, 8, 8, 3)
    assert method_of(model).asked == [(CAPTIONS[0], CAPTIONS[0], CAPTIONS[3], CAPTIONS[3])]


def test_pictures_are_what_they_were(tiny_model: Model) -> None:
    captions = ["a red flower", "the blue bird at night"]
    with torch.inference_mode():
        noise = tiny_model.method.draw_noise(5, [3, 4])
        images: Tensor = tiny_model.method.paint(tiny_model.encoder(captions), noise).images
    assert np.array_equal(tiny_model.pictures(captions, [3, 4], seed=5), to_bytes(images).permute(0, 2, 3, 1).numpy())
    assert torch.equal(tiny_model.painting(captions, [3, 4], seed=5).images, images)
