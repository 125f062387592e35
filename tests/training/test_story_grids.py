"""Sample grids of a method that tells stories: whole stories from top to bottom, a telling of each in every column."""

from __future__ import annotations

import numpy as np
from shared.tiny_runs import tiny

import limner
from limner.data.catalog import open_data
from limner.model import Model
from limner.model.stories import told
from limner.text.saving import load_shipped_encoder
from limner.training.plan import training_pictures
from limner.training.samples import PICTURES, SampleGrid


def test_rows_are_frames_of_whole_stories() -> None:
    recipe, encoder = tiny("storygan", 1, resolution=16), load_shipped_encoder("garden")
    grid = SampleGrid(recipe, training_pictures(recipe), encoder, frames=4)
    held_out = open_data("garden-stories", "val", 16, recipe.data_settings, length=64)
    assert held_out.stories is not None
    known = [[held_out.captions(index) for index in story] for story in held_out.stories.tolist()]
    stories = [grid.captions[start : start + 4] for start in range(0, len(grid.captions), 4)]
    assert len(stories) == 2
    for story in stories:
        assert any(all(sentence in own for sentence, own in zip(story, frames, strict=True)) for frames in known)
    settings = {"generator_channels": 2, "discriminator_channels": 2}
    method = limner.create("storygan", preset="cpu", resolution=16, sentence_width=encoder.sentence_width, frames=4, **settings)
    model = Model(method, encoder)
    pictures = grid.paint(model)
    assert pictures.shape == (8, PICTURES, 16, 16, 3)
    for row, story in enumerate(stories):
        column = told(model, [story], [1], recipe.training.seed)[0].permute(0, 2, 3, 1).numpy()
        assert np.abs(column.astype(int) - pictures[4 * row : 4 * row + 4, 1]).max() <= 1
