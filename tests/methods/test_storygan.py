"""StoryGAN: its two forms, what its discriminators are shown, stories that no batch changes, resuming and two processes."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.batches import WIDTH, make_batch, turns_of_a_step

from limner.core.abilities import TellsStories, abilities_of
from limner.core.errors import DataError, SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions
from limner.families.stories.context import GistContext, filtered, unrolled
from limner.families.stories.noise import AugmentedStoryNoise, GistNoise, StoryNoise
from limner.methods.storygan import StoryGAN, StoryGANSettings

FRAMES, STORIES, CATEGORIES = 3, 4, 5
SMALL = StoryGANSettings(noise_width=6, generator_channels=2, discriminator_channels=2, batch_size=STORIES)
FORMS: dict[str, dict[str, Any]] = {
    "released": {"augmentation": "none"},
    "default": {},
    "paper": {"text2gist": "paper", "picture_condition": "story", "story_condition": "sentences", "augmentation": "glu"},
    "small": {
        "discriminator_normalization": False,
        "gradient_penalty": 1.0,
        "penalty_every": 1,
        "counterfactual": 0.5,
        "pictures_per_story": 2,
        "generator_steps": 1,
        "picture_condition": "story",
    },
    "gated": {"doublings": "gated", "unconditional_weight": 0.5},
}


def build(frames: int = FRAMES, categories: int = CATEGORIES, **values: Any) -> StoryGAN:
    torch.manual_seed(0)
    conditions = Conditions(resolution=32, sentence_width=WIDTH, category_count=categories, frames=frames)
    return StoryGAN(dataclasses.replace(SMALL, **values), conditions)


def batch(seed: int = 0) -> Any:
    return make_batch(32, STORIES * FRAMES, frames=FRAMES, categories=CATEGORIES, seed=seed)


@pytest.mark.parametrize("form", FORMS)
def test_the_order_of_play(form: str) -> None:
    """Both discriminators, then the generator twice, or once; every term of its loss is in the log."""
    method = build(**FORMS[form]).train()
    turns = turns_of_a_step(method, batch())
    assert [turn.player for turn in turns] == ["discriminator", "story-discriminator", *["generator"] * method.settings.generator_steps]
    assert {"real", "mismatched", "fake", "category"} <= turns[0].metrics.keys() and "category" not in turns[1].metrics
    alone = {"pictures_unconditional", "stories_unconditional"} if form == "gated" else set()
    assert turns[-1].metrics.keys() == {"pictures", "stories", "category", "divergence"} | alone
    losses = turns[-1].metrics
    expected = losses["pictures"] + 0.4 * losses["category"] + losses["stories"] + losses["divergence"]
    expected = expected + 0.5 * sum(losses[name] for name in alone)
    torch.testing.assert_close(turns[-1].loss, expected)
    assert ("penalty" in turns[0].metrics) == ("penalty" in turns[1].metrics) == (form == "small")


def test_without_augmentation_the_divergence_is_the_code_s_constant() -> None:
    method = build(augmentation="none")
    sentences = batch().text.sentence
    found = method.divergence(None, sentences)
    torch.testing.assert_close(found, -0.5 * (1 + sentences - sentences.square() - sentences.exp()).mean())
    assert not found.requires_grad
    assert build().generator.told(torch.zeros(2, FRAMES, WIDTH)) is not None


@torch.no_grad()
def test_wrong_pairs() -> None:
    """A changed sentence with the picture's own story, in which it stands in the place of its own; then each picture's neighbour."""
    method = build(**FORMS["small"])
    single = batch().draw("frames").part(slice(0, 8))
    assert single.story is not None and single.counterfactual is not None
    around = single.story.text.sentence.view(8, FRAMES, WIDTH)
    features = torch.arange(8.0)[:, None]
    own = method.picture_condition(single.text.sentence, around)
    found, condition = method._wrong_pairs(single, around, features, own)
    assert found[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6] and torch.equal(condition[4:], own[5:])
    told = around.clone()
    told[torch.arange(8), torch.from_numpy(single.story.places)] = single.counterfactual.sentence
    torch.testing.assert_close(condition[:4], torch.cat([single.counterfactual.sentence, told.mean(1)], dim=1)[:4])


def test_the_filter_of_the_code() -> None:
    """Its own computation: every window cut out, its places weighted by the same number, and summed."""
    generator = torch.Generator().manual_seed(0)
    images, filters = torch.randn(2, 2, 1, 15, 15, generator=generator, dtype=torch.float64)
    windows = F.conv2d(images, torch.eye(225, dtype=torch.float64).view(225, 1, 15, 15), padding=7)
    torch.testing.assert_close(filtered(images, filters), (windows * filters).sum(1, keepdim=True))


@torch.no_grad()
def test_the_gist_of_the_paper() -> None:
    """o_t = Filter(i_t) * h_t, each filter along the state by itself."""
    torch.manual_seed(0)
    context = GistContext(WIDTH, 4, 8).double().eval()
    sentences, story = torch.randn(2, FRAMES, WIDTH).double(), torch.randn(2, WIDTH).double()
    noise = GistNoise(torch.randn(2, FRAMES, 4).double(), story, torch.randn(2, WIDTH).double())
    read = unrolled(context.sentences, torch.cat([noise.z, sentences], 2), noise.start)
    states = unrolled(context.context, read.view(2, FRAMES, WIDTH), story)
    gists = [
        F.conv1d(state[None, None], filters.view(-1, 1, 15), padding=7)
        for state, filters in zip(states, context.filters(read), strict=True)
    ]
    expected = context.gist_map(torch.cat(gists).flatten(1)).view(2 * FRAMES, 8, 4, 4)
    torch.testing.assert_close(context(sentences, story, noise), expected)


def stories(count: int) -> list[TextFeatures]:
    generator = torch.Generator().manual_seed(1)
    return [TextFeatures(torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)) for _ in range(FRAMES)]


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_a_story_is_the_same_whatever_the_batch(form: str) -> None:
    method = build(**FORMS[form], generator_channels=4).double().eval()
    assert isinstance(method, TellsStories) and "tells stories" in abilities_of(StoryGAN) and method.frames == FRAMES
    for name, value in method.state_dict().items():  # fresh ones paint nearly nothing
        if name.endswith("running_mean"):
            value += torch.linspace(-0.1, 0.1, len(value))
        elif value.ndim > 1:
            value *= 4
    text = stories(4)
    noise = doubled(method.draw_noise(3, np.arange(4)))
    together = method.tell(text, noise).images
    assert together.shape == (4 * FRAMES, 3, 32, 32) and float(together.flatten(1).std(1).min()) > 1e-3
    for row in range(4):
        alone = method.tell([frame[row : row + 1] for frame in text], doubled(method.draw_noise(3, [row]))).images
        torch.testing.assert_close(alone, together[row * FRAMES : (row + 1) * FRAMES], rtol=0.0, atol=1e-10)
    changed = [*text[:-1], TextFeatures(text[-1].sentence + 1)]
    assert not torch.allclose(method.tell(changed, noise).images[:FRAMES], together[:FRAMES]), "a sentence matters to the whole story"


def doubled(noise: StoryNoise) -> StoryNoise:
    return type(noise)(**{field.name: getattr(noise, field.name).double() for field in dataclasses.fields(noise)})


def test_noise_is_what_the_form_needs() -> None:
    kinds = {form: type(build(**values).draw_noise(0, [0, 1])) for form, values in FORMS.items()}
    assert kinds == {
        "released": StoryNoise,
        "default": AugmentedStoryNoise,
        "paper": GistNoise,
        "small": AugmentedStoryNoise,
        "gated": AugmentedStoryNoise,
    }
    assert build().draw_noise(0, [4, 5]).z.shape == (2, FRAMES, 6)


def test_a_single_picture_is_a_story_of_one_sentence() -> None:
    method = build().eval()
    text, noise = stories(2)[0].sentence.float(), method.draw_noise(0, [0, 1])
    with torch.no_grad():
        expected, _ = method.generator(text[:, None], text[:, None], noise)
        assert torch.equal(method.paint(TextFeatures(text), noise).images, expected)


def test_without_categories_there_is_no_head() -> None:
    """Nor is the generator's loss that of a head which never learns."""
    for method in (build(categories=0), build(category_weight=0.0)):
        assert method.discriminator.category is None
        assert all("category" not in turn.metrics for turn in turns_of_a_step(copy.deepcopy(method).train(), batch()))


def test_refusals() -> None:
    with pytest.raises(DataError, match="storygan learns from stories, and the training pictures have none: train it on garden-stories"):
        build(frames=0)
    with pytest.raises(SettingsError, match="method.pictures-per-story is 4: stories have 3 pictures"):
        build(pictures_per_story=4)
    with pytest.raises(
        SettingsError, match="the paper's Text2Gist begins with a vector that is drawn: give --method.augmentation relu or glu"
    ):
        build(text2gist="paper", augmentation="none")
    with pytest.raises(SettingsError, match="method.gradient-penalty wants each picture judged by itself"):
        build(gradient_penalty=1.0)


def test_phases_hold_whole_stories() -> None:
    (phase,) = build().phases()
    assert (phase.frames, phase.batch_size, phase.fewest) == (FRAMES, STORIES * FRAMES, 2 * FRAMES)
