"""Neighbours are the true ones, and what a model remembers shows in the figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.core import random
from limner.core.errors import DataError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.core.trainable import Conditions
from limner.explore.nearest import Scale, feature_space, look_at_pixels, look_with_method, nearest, remembered_or_made, strip
from limner.metrics.judge import to_tensor
from limner.parts.text import CaptionMatching, CaptionMatchingSettings


class Album(CaptionedPictures):
    """Pictures [N, S, S, 3] with one caption each, but for those of which it says otherwise."""

    name = "album"

    def __init__(self, pictures, split="train", *, may_flip=False, mirrorable=None, uncaptioned=(), classes=None, margin=0):
        self.pictures, self.split, self.may_flip = pictures, split, may_flip
        self.mirrorable = None if mirrorable is None else np.array(mirrorable)
        self.stored_resolution = pictures.shape[1]
        self.resolution = self.stored_resolution - 2 * margin
        self.class_ids = None if classes is None else np.array(classes)
        self.class_count, self.fingerprint = 0, "none"
        self._counts = np.ones(len(pictures), np.int64)
        self._counts[list(uncaptioned)] = 0

    def __len__(self):
        return len(self.pictures)

    def read(self, indices):
        return self.pictures[np.asarray(indices)]

    def captions(self, index):
        return [f"{self.split} {index}"] * int(self._counts[index])

    @property
    def caption_counts(self):
        return self._counts

    def key(self, index):
        return f"{self.split}-{index}"

    def counterfactual(self, index, caption, draw):
        raise NotImplementedError


def noise_pictures(count, stream, side=16):
    """Random pictures: uint8 [count, side, side, 3]."""
    return random.integers(256, 0, stream, np.arange(count * side * side * 3)).reshape(count, side, side, 3).astype(np.uint8)


def solid(*colours, side=16):
    """Pictures of one colour each."""
    return np.stack([np.full((side, side, 3), colour, np.uint8) for colour in colours])


class Painter:
    """Stands for a model: `paint(captions, numbers)` gives uint8 pictures."""

    reads_text = True

    def __init__(self, paint, resolution=16, unread=()):
        self.paint, self.resolution, self.unread = paint, resolution, unread

    def can_paint(self, caption):
        return caption not in self.unread

    def pictures(self, captions, samples, seed=0):
        return self.paint(list(captions), np.asarray(samples))


def look(pictures):
    return pictures.float().flatten(1) - 128


def test_neighbours_are_those_of_an_exhaustive_search_over_chunks():
    pictures, queries = noise_pictures(150, "album"), noise_pictures(5, "queries")
    found = nearest(look(to_tensor(queries)), Album(pictures, uncaptioned=[7]), look, 4)
    a, b = (look(to_tensor(part)).double().numpy() for part in (queries, pictures))
    distances = 1 - (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)
    distances[:, 7] = np.inf
    expected = np.argsort(distances, axis=1)[:, :4]
    assert np.array_equal(found.indices, expected)
    assert np.allclose(found.distances, np.take_along_axis(distances, expected, 1), atol=1e-5)
    assert not found.mirrored.any()


def test_a_picture_that_may_be_mirrored_is_found_in_either_orientation_and_listed_once():
    pictures = noise_pictures(6, "album")
    queries = look(to_tensor(pictures[[1, 2], :, ::-1]))
    album = Album(pictures, may_flip=True, mirrorable=[True, True, False, True, True, True])
    found = nearest(queries, album, look, 6)
    assert found.indices[0, 0] == 1 and found.mirrored[0, 0] and found.distances[0, 0] < 1e-5
    assert found.distances[1, 0] > 0.5 and not found.mirrored[1][found.indices[1] == 2].any()
    assert all(sorted(row) == list(range(6)) for row in found.indices.tolist())
    for unmirrored in (nearest(queries, album, look, 1, mirror=False), nearest(queries, Album(pictures), look, 1)):
        assert unmirrored.distances[0, 0] > 0.5 and not unmirrored.mirrored.any()


def test_a_query_can_leave_itself_out():
    pictures = noise_pictures(70, "album")
    found = nearest(look(to_tensor(pictures[[3, 66, 3]])), Album(pictures), look, 2, but=np.array([3, 66, -1]))
    assert found.distances[:2].min() > 0.5 and found.indices[2, 0] == 3 and found.distances[2, 0] < 1e-5


def test_what_is_remembered_shows_in_the_figures_and_what_is_new_does_not():
    training, held_out = Album(noise_pictures(80, "train")), Album(noise_pictures(60, "test"), "test")
    almost = np.clip(training.pictures.astype(int) + noise_pictures(80, "error") % 9, 0, 255).astype(np.uint8)
    remembering = remembered_or_made(Painter(lambda captions, numbers: almost[numbers % 80]), training, held_out, look, sample=50)
    assert [scale.share_nearer(remembering.generated) for scale in remembering.scales] == [1.0, 1.0]
    assert remembering.captions[0].startswith("test ") and len(remembering.captions) == 8
    fresh = noise_pictures(100, "fresh")
    inventing = remembered_or_made(Painter(lambda captions, numbers: fresh[numbers % 100]), training, held_out, look, sample=50)
    assert [len(scale.distances) for scale in inventing.scales] == [50, 50]
    assert all(scale.share_nearer(inventing.generated) <= 0.1 for scale in inventing.scales)
    assert "100.0 % are nearer" in remembering.figures()[1] and "nearer than 100 % of real test pictures" in remembering.note(0)
    assert not remembering.unseen_classes


def test_without_held_out_pictures_training_pictures_give_the_scale():
    training = Album(noise_pictures(10, "train"), classes=[0] * 10)
    painter = Painter(lambda captions, numbers: noise_pictures(len(captions), "fresh"))
    found = remembered_or_made(painter, training, None, look, sample=20)
    assert [scale.name for scale in found.scales] == ["train pictures to each other"] and found.captions[0].startswith("train ")
    apart = remembered_or_made(
        painter, training, Album(noise_pictures(4, "t"), "test", classes=[1] * 4), look, ["one"], pictures=2, sample=4
    )
    assert apart.unseen_classes and "go by the last figure" in apart.figures()[2] and apart.captions == ["one", "one"]
    picky = Painter(painter.paint, unread=[f"train {index}" for index in range(1, 10)])
    alone = remembered_or_made(picky, training, None, look, sample=20)
    assert alone.captions == ["train 0"] and len(alone.generated) == 2, "what it cannot read is not painted, and each caption is shown once"
    with pytest.raises(DataError, match="knows no word of the captions drawn"):
        remembered_or_made(Painter(painter.paint, unread=[f"train {index}" for index in range(10)]), training, None, look, sample=20)
    with pytest.raises(SettingsError, match="--sample is 0"):
        remembered_or_made(painter, training, None, look, sample=0)
    with pytest.raises(DataError, match="at least 2"):
        remembered_or_made(painter, Album(noise_pictures(1, "train")), None, look)


def test_a_scale_counts_in_hundredths():
    scale = Scale("pictures", np.arange(101, dtype=np.float32))
    assert scale.threshold == 1.0 and scale.share_nearer(np.array([0.5, 1.0, 7.0, 0.0], np.float32)) == 0.5
    assert scale.farther(49.5) == pytest.approx(51 / 101)


def test_the_strip_shows_the_picture_then_its_neighbours_nearest_first():
    colours = [(250, 0, 0), (200, 60, 0), (0, 0, 250), (150, 120, 0)]
    training = Album(np.pad(solid(*colours), ((0, 0), (2, 2), (2, 2), (0, 0))), margin=2)
    painter = Painter(lambda captions, numbers: solid(*[(240, 0, 10)] * len(captions)))
    found = remembered_or_made(painter, training, None, look_at_pixels, ["red"], count=3, sample=2)
    assert found.neighbours.indices.tolist() == [[0, 1, 3]]
    pixels = np.asarray(strip(found, "pixels"))
    places = []
    for colour in [(240, 0, 10), colours[0], colours[1], colours[3]]:
        rows, columns = np.nonzero((pixels == colour).all(2))
        assert len(rows) == 128 * 128
        places.append((columns.min(), columns.max(), rows.min()))
    assert all(right < left and top == other for (_, right, top), (left, _, other) in zip(places, places[1:]))


def test_the_discriminator_is_asked_place_by_place(tiny_model):
    method = tiny_model.method
    pictures = to_tensor(noise_pictures(3, "pictures"))
    features = look_with_method(method)(pictures)
    seen = method.discriminator.look(pictures.float() / 127.5 - 1)
    assert seen.shape[2:] == (4, 4) and torch.allclose(features, seen.flatten(1), atol=1e-5)


def test_feature_spaces_that_are_not_there_say_what_to_do(tiny_model):
    with pytest.raises(SettingsError, match="did you mean 'discriminator'"):
        feature_space("discriminater")
    with pytest.raises(SettingsError, match="only a run folder keeps its discriminator"):
        feature_space("discriminator")
    assert feature_space("pixels") is look_at_pixels and look_at_pixels(to_tensor(noise_pictures(2, "x", 32))).shape == (2, 768)

    conditions = Conditions(resolution=16, sentence_width=tiny_model.encoder.sentence_width)
    settings = CaptionMatchingSettings(sentence_width=tiny_model.encoder.sentence_width)
    with pytest.raises(SettingsError, match="has no discriminator that looks at pictures: give --features garden"):
        look_with_method(CaptionMatching(settings, conditions, tiny_model.encoder))
