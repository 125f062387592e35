"""The judge of bouquets in training: it learns where flowers are, repeats itself, and reads bouquets alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.core.errors import SettingsError
from limner.core.recipes import from_preset
from limner.core.settings import Recipe
from limner.data.garden import ATTRIBUTES
from limner.data.garden.bouquets import Bouquets
from limner.features.bouquet_judge import GRID, SceneJudge, load_scene_judge, pair_patches, patches
from limner.metrics.judge import to_tensor
from limner.parts.bouquet_judge import Truth, where_loss
from limner.training.run import train


def recipe(data: str = "garden-bouquets", **settings: int) -> Recipe:
    made = from_preset("bouquet-judge", "cpu", data)
    return dataclasses.replace(
        made,
        method_settings=dataclasses.replace(made.method_settings, **settings),
        training=dataclasses.replace(made.training, device="cpu", log_every=100, checkpoint_every=100),
        data_settings=dataclasses.replace(made.data_settings, garden_pictures=8),
    )


def test_training_repeats_itself_and_can_be_loaded(tmp_path: Path) -> None:
    for name in ("first", "second"):
        torch.manual_seed(len(name))  # whatever was drawn before
        train(recipe(steps=2, batch_size=8, pictures=16), tmp_path / name)
    judge = load_scene_judge(tmp_path / "first")
    assert judge.content_hash == load_scene_judge(tmp_path / "second").content_hash
    assert (tmp_path / "first" / "model" / "model.safetensors").stat().st_size < 4 << 20
    reading = judge.read(to_tensor(Bouquets("val", resolution=40).pictures([0, 1, 2])))
    assert reading.places.shape == (3, 6, 2) and reading.front.shape == (3, 6, 6) and reading.counts.max() <= 6
    assert set(reading.codes) == set(ATTRIBUTES)


def test_a_map_that_knows_gives_the_truth_back() -> None:
    bouquets = Bouquets("all", seed=8, length=20)
    truth = Truth.of(bouquets)
    found = torch.full((20, 8, GRID, GRID), 0.0)
    found[:, 0] = -12.0
    for row, place in truth.there.nonzero().tolist():
        x, y = (truth.places[row, place] * GRID).tolist()
        values = [12.0, x % 1, y % 1, float(truth.radii[row, place]), *truth.reach[row, place].tolist()]
        found[row, :, int(y), int(x)] = torch.tensor(values)
    assert where_loss(found, truth) < 1e-3
    judge = SceneJudge(ATTRIBUTES).eval()
    judge.seen = lambda pictures: (found, torch.zeros(20, 64), torch.zeros(20, 4))  # type: ignore[method-assign]
    reading = judge.read(to_tensor(bouquets.pictures(np.arange(20))))
    assert reading.counts.tolist() == truth.there.sum(1).tolist()
    for row, count in enumerate(reading.counts.tolist()):
        far = torch.cdist(reading.places[row, :count], truth.places[row, :count])
        assert far.min(0).values.max() < 1e-5
        own = far.argmin(1)
        boxes = torch.from_numpy(bouquets.boxes([row])[0, own.numpy()]).float()
        assert torch.allclose(reading.boxes[row, :count], boxes, atol=1e-5)
        assert torch.allclose(reading.radii[row, :count], truth.radii[row, own], atol=1e-6)
        touching = reading.front[row] | reading.front[row].T
        assert not (reading.front[row] & reading.front[row].T).any()  # of two, one is in front
        hidden = truth.hides[row, :count, :count]
        assert touching[:count, :count][(hidden | hidden.T)[own][:, own]].all()
    worse = found.clone()
    worse[:, 1] += 0.3
    assert where_loss(worse, truth) > where_loss(found, truth) + 0.1


def test_patches_are_cut_where_they_are_asked_for() -> None:
    y, x = torch.meshgrid((torch.arange(64) + 0.5) / 64, (torch.arange(64) + 0.5) / 64, indexing="ij")
    picture = torch.stack([x, y, torch.zeros_like(x)])[None]  # its colours are its coordinates
    rows = torch.zeros(1, dtype=torch.long)
    cut = patches(picture, rows, torch.tensor([[0.4, 0.6]]), torch.tensor([0.2]))[0]
    middles = 0.2 * ((torch.arange(32) + 0.5) / 16 - 1)
    assert torch.allclose(cut[0], (0.4 + middles).expand(32, 32), atol=1e-4)
    assert torch.allclose(cut[1], (0.6 + middles)[:, None].expand(32, 32), atol=1e-4)
    first, second = torch.tensor([[0.5, 0.7]]), torch.tensor([[0.5, 0.3]])  # one above the other
    turned = pair_patches(picture, rows, first, second)[0]
    # Along the patch's middle row the first lies a third from the middle to the left, the second as far to the right.
    row = turned[:, 11:13].mean(1)
    at = [(11.5 - 12 / 1.5, 0.7), (11.5 + 12 / 1.5, 0.3)]
    for place, y in at:
        low = int(np.floor(place))
        value = row[:, low] + (place - low) * (row[:, low + 1] - row[:, low])
        assert torch.allclose(value[:2], torch.tensor([0.5, y]), atol=2e-3)


def test_what_it_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="give --data garden-bouquets"):
        train(recipe("garden", steps=1, batch_size=8, pictures=16), tmp_path / "run")
    with pytest.raises(SettingsError, match="reads pictures of 64 px"):
        train(dataclasses.replace(recipe(steps=1), resolution=32), tmp_path / "run")
    assert not (tmp_path / "run").exists()
