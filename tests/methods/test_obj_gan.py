"""Obj-GAN: what layouts are drawn as, how boxes are written, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.batches import CAPTIONS, LABELS, PROGRESS, make_batch, make_layout, make_text, turns_of_a_step
from shared.pictures import Captioned
from torch import Tensor

import limner
from limner.core.errors import CheckpointError, DataError, LimnerWarning, SettingsError
from limner.core.layout import Layout
from limner.core.trainable import Phase
from limner.data.loader import Loader
from limner.families.objects import places
from limner.families.objects.boxes import END, FIRST, PAD, START, BoxGenerator, Mixture, box_loss, chosen_by, label_loss, sequences
from limner.families.objects.discriminators import orders, permuted, reading
from limner.families.objects.generator import looking
from limner.families.objects.roi import roi_align
from limner.families.objects.statistics import measure
from limner.methods.obj_gan import ObjGAN

WIDTH = 8


def build(**settings: Any) -> ObjGAN:
    values = {"things": 4, "object_side": 32, "shape_side": 16, **settings}
    made = limner.create("obj-gan", preset="cpu", resolution=32, sentence_width=WIDTH, word_width=WIDTH, labels=LABELS, **values)
    assert isinstance(made, ObjGAN)
    made.read_names(lambda captions: make_text(list(captions), torch.Generator().manual_seed(4), width=WIDTH, words=WIDTH))
    return made


class Placed(Captioned):
    """Grey pictures with layouts."""

    label_names = LABELS

    def layouts(self, indices: Any) -> Layout:
        whole = make_layout(len(self), torch.Generator().manual_seed(1))
        return whole[torch.as_tensor(np.asarray(indices))]


def test_a_shape_goes_where_its_box_is() -> None:
    """Drawn in the whole picture, and cut out again; later things hide earlier ones."""
    shape = torch.zeros(1, 2, 8, 8)
    shape[0, 0, :, :4] = shape[0, 1] = 1.0
    layout = Layout(torch.tensor([[[0.25, 0.5, 0.5, 0.25], [0.25, 0.5, 0.125, 0.125]]]), torch.tensor([[1, 0]]), shape)
    masks = places.pasted(layout, 32)
    assert masks[0, 0, 16:24, 8:15].min() == 1 and masks[0, 0].sum() == pytest.approx(8 * 8, abs=8)
    assert masks[0, 0, :16].sum() == masks[0, 0, :, 24:].sum() == 0
    assert (places.cut_out(masks, layout.boxes, 8)[0, 0] - shape[0, 0]).abs()[:, [0, 1, 6, 7]].max() < 0.01
    visible = places.seen(masks)
    assert visible[0, 0, 16:20, 8:12].max() == 0 and torch.equal(visible[:, 1], masks[:, 1])
    maps = places.label_maps(visible, layout.labels, 3)
    assert torch.equal(maps[0, 1], visible[0, 0]) and torch.equal(maps[0, 0], visible[0, 1]) and not maps[0, 2].any()
    boxes = places.box_masks(dataclasses.replace(layout, labels=torch.tensor([[1, -1]])), 32)
    assert boxes[0, 0].sum() == 16 * 8 and not boxes[0, 1].any()


def test_the_largest_things_stay() -> None:
    layout = make_layout(2, torch.Generator().manual_seed(0))
    fewer, more = places.sized(layout, 2), places.sized(layout, 5)
    assert fewer.labels.tolist() == [[0, 1], [1, 2]] and more.labels[0].tolist() == [0, 1, -1, -1, -1]
    assert places.by_size(layout).labels.tolist() == [[1, 0, -1], [1, 2, 0]]
    order, rows = orders(layout.labels, 3, torch.tensor([[0.1, 0.9, 0.5], [0.9, 0.1, 0.5]]))
    assert order.tolist() == [[0, 1, 2], [1, 2, 0]] and rows.tolist() == [1]
    maps = torch.arange(3.0).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    assert permuted(maps, order)[1, :, 0, 0].tolist() == [1.0, 2.0, 0.0]


def test_labels_without_a_map_need_not_be_read() -> None:
    """The same maps and gradients of weights as from all labels, where pictures have different numbers of them, or none."""
    look = looking(7, 3)
    maps = torch.zeros(3, 7, 8, 8)
    maps[0, [1, 4, 6]], maps[1, 2] = torch.rand(3, 8, 8), torch.rand(8, 8)

    def doubled(some: Tensor) -> Tensor:
        return F.interpolate(some, scale_factor=2.0, mode="bilinear", align_corners=True)

    weights = torch.randn(3, 3, 16, 16)
    found, expected = reading(look, maps, doubled), look(doubled(maps))
    assert torch.allclose(found, expected, atol=1e-5)
    one, other = (torch.autograd.grad((read * weights).sum(), look[1].weight)[0] for read in (found, expected))
    assert torch.allclose(one, other, atol=1e-5 * float(other.abs().max()))  # that of the bias is 0 but for rounding
    assert torch.equal(reading(look, torch.zeros(2, 7, 8, 8)), look(torch.zeros(2, 7, 8, 8)))


def test_regions_of_a_slope() -> None:
    """Of a map that rises evenly from left to right, a region's cells have the values at their places; nothing lies outside."""
    maps = torch.arange(16.0).expand(1, 1, 16, 16)
    regions = roi_align(maps, torch.tensor([[[2.0, 3.0, 11.0, 12.0], [-8.0, 0.0, -4.0, 3.0]]]), 5)
    assert torch.allclose(regions[0, 0, 0, 0], 2.0 + 10.0 * (torch.arange(5) + 0.5) / 5.0)  # a cell wider than its corners say
    assert not regions[0, 1].any()


def test_a_mixture_is_a_density() -> None:
    generator = torch.Generator().manual_seed(0)
    mixture = Mixture.of(torch.randn(2, 18, generator=generator, dtype=torch.float64))
    points = mixture.means[:, 0] + 0.3 * mixture.deviations[:, 0]
    for row in range(2):
        parts = []
        for k in range(3):
            deviation, rho = mixture.deviations[row, k], mixture.correlations[row, k]
            across = rho * deviation.prod()
            covariance = torch.stack([torch.stack([deviation[0] ** 2, across]), torch.stack([across, deviation[1] ** 2])])
            normal = torch.distributions.MultivariateNormal(mixture.means[row, k], covariance)
            parts.append(mixture.weights[row, k].log() + normal.log_prob(points[row]))
        expected, found = float(torch.stack(parts).logsumexp(0)), float(mixture.log_likelihood(points)[row])
        assert expected - 1e-9 <= found <= math.log(math.exp(expected) + 1e-5) + 1e-9, "but for the floor"
    many = Mixture(*(value[:1].expand(4000, *value.shape[1:]) for value in vars(mixture).values()))
    uniform = torch.rand(4000, generator=generator, dtype=torch.float64)
    drawn = many.draw(uniform, torch.randn(4000, 2, generator=generator, dtype=torch.float64), 1.0)
    mean = (mixture.weights[0, :, None] * mixture.means[0]).sum(0)
    assert (drawn.mean(0) - mean).abs().max() < 0.15
    shares = torch.bincount(chosen_by(many.weights, uniform), minlength=3) / 4000
    assert (shares - mixture.weights[0]).abs().max() < 0.05


def test_layouts_as_sequences_and_back() -> None:
    method, layout = build(), places.sized(make_layout(2, torch.Generator().manual_seed(0)), 4)
    measure(method.boxes, Placed(CAPTIONS), 4, 0.0)
    codes = method.boxes.coded(layout.boxes)
    there = layout.labels >= 0
    assert (method.boxes.boxes(codes) - layout.boxes)[there].abs().max() < 1e-5
    labels, sequence = sequences(layout, codes, method.boxes.first)
    assert labels.tolist() == [[START, FIRST, FIRST + 1, END, PAD, PAD], [START, FIRST, FIRST + 1, FIRST + 2, END, PAD]]
    assert sequence.shape == (2, 6, 4) and not sequence[0, 3:].any()
    every = Placed(CAPTIONS).layouts(np.arange(len(CAPTIONS)))
    measures = method.boxes.coded(every.boxes[every.labels >= 0])
    assert measures.mean(0).abs().max() < 1e-4 and (measures.std(0) - 1).abs().max() < 1e-3
    with pytest.warns(LimnerWarning, match="2 things of 2 pictures are left out: a picture has 2 at the most .*, the largest"):
        measure(method.boxes, Placed(CAPTIONS), 2, 1e5)
    assert float(method.boxes.label_weights[FIRST]) == pytest.approx(1e5 / 2**0.8)


@torch.no_grad()
def test_what_is_written_lies_in_the_picture() -> None:
    method = build().eval()
    text, noise = make_text(CAPTIONS, torch.Generator().manual_seed(9), width=WIDTH, words=WIDTH), method.draw_noise(0, range(4))
    layout = method.layout(text, noise)
    boxes, there = layout.boxes, layout.labels >= 0
    assert layout.counts.min() >= 1 and layout.labels.max() < len(LABELS)
    assert boxes[there].min() >= 0 and (boxes[..., :2] + boxes[..., 2:])[there].max() <= 1 + 1e-6 and boxes[..., 2:][there].min() > 0.01
    assert not boxes[~there].any()
    assert not ((layout.labels[:, :-1] < 0) & (layout.labels[:, 1:] >= 0)).any(), "nothing follows the end"
    painting = method.paint(text, noise)
    assert torch.equal(method.paint_layout(text, layout, noise).images, painting.images)
    moved = dataclasses.replace(layout, boxes=layout.boxes + torch.tensor([0.1, 0.0, 0.0, 0.0]) * there[..., None])
    assert not torch.equal(method.paint_layout(text, moved, noise).images, painting.images)
    assert painting.extras["object-attention"].sum(2).allclose(torch.ones(4, 4))


@pytest.mark.parametrize(
    "settings",
    [{"released": True}, {"label_product": True, "object_weight": 0.0}, {"order": "size", "branches": 1, "box_second_look": True}],
)
def test_a_step_of_each_setting(settings: dict[str, Any]) -> None:
    method = build(**settings)
    for phase in method.phases():
        method.begin(phase)
        batch = make_batch(32, 4, width=WIDTH, words=WIDTH, counterfactuals=1)
        progress = dataclasses.replace(PROGRESS, phase=phase.name)
        assert {turn.player for turn in turns_of_a_step(method, batch, progress, rate=1e-4)} == set(phase.players or ())


@pytest.mark.parametrize("second_look", [True, False])
def test_a_second_look_finds_what_is_said_of_a_thing(second_look: bool) -> None:
    """Of two things, each word says one's label and side. Which is written first is not said, so that a look before the label is drawn
    cannot know on which side that one is."""
    torch.manual_seed(0)
    boxes = BoxGenerator(4, 1, 16, components=1, word_width=5, second_look=second_look)
    optimizer, mask = torch.optim.Adam(boxes.parameters(), 1e-2), torch.ones(256, 2, dtype=torch.bool)
    for _ in range(400):
        kinds = torch.rand(256, 4).argsort(1)[:, :2]
        sides = torch.tensor([-1.0, 1.0])[torch.rand(256, 2).argsort(1)]
        words = torch.cat([F.one_hot(kinds, 4), sides[..., None]], 2)
        labels = F.pad(kinds + FIRST, (1, 0), value=START)
        codes = F.pad(torch.stack([sides, *[0.1 * torch.randn(256, 2) for _ in range(3)]], 2), (0, 0, 1, 0))
        probabilities, centres, sizes, _ = boxes(boxes.begun(torch.zeros(256, 1)), words, mask, labels, codes)
        where = box_loss(centres, sizes, codes[:, 1:], torch.ones(256, 2, dtype=torch.bool))
        optimizer.zero_grad()
        (label_loss(probabilities, labels[:, 1:], boxes.label_weights) + where).backward()
        optimizer.step()
    right = (centres.means[:, 0, 0, 0].sign() == sides[:, 0]).float().mean()
    assert right > 0.9 if second_look else right < 0.7


def test_no_things_are_no_reason_to_stop() -> None:
    method = build()
    for phase in method.phases():
        batch = make_batch(32, 4, width=WIDTH, words=WIDTH)
        assert batch.layout is not None
        batch.layout = Layout(torch.zeros_like(batch.layout.boxes), torch.full_like(batch.layout.labels, -1), batch.layout.shapes)
        turns_of_a_step(method, batch, dataclasses.replace(PROGRESS, phase=phase.name), rate=1e-4)


def test_what_is_refused() -> None:
    with pytest.raises(SettingsError, match="reads words"):
        limner.create("obj-gan", labels=LABELS)
    with pytest.raises(SettingsError, match="needs layouts: train it on garden-bouquets"):
        limner.create("obj-gan", word_width=8)
    for wrong, message in (
        ({"shape_side": 48}, "power of two from 16"),
        ({"boxes_share": 0.9, "shapes_share": 0.2}, "leave some to the pictures"),
        ({"object_side": 40}, "multiple of 16"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"box_attention": False, "box_second_look": True}, "turn both on, or neither"),
    ):
        with pytest.raises(SettingsError, match=message):
            build(**wrong)
    with pytest.raises(DataError, match="'captioned' has no layouts: give garden-bouquets or garden-stories, or prepare"):
        Loader(Captioned(CAPTIONS), Phase(name="boxes", resolution=16, batch_size=2, layouts=True), seed=0)
    method = build()
    state: dict[str, Tensor] = dict(method.state_dict())
    method.adopt(method.phases()[0], state)
    with pytest.raises(CheckpointError, match="its labels are not those of the data"):
        method.adopt(method.phases()[0], {**state, "label_code": state["label_code"] + 1})
