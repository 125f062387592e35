"""StoryGAN against stored results of the authors' code: its own checkpoints, read through the importer, in either mode; gradients."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from shared.golden_set import GoldenSet
from shared.rounding_more import BROKEN, Found, Realized, kinks_explain, realized, scaled
from torch import Tensor

from limner.core.batch import Batch
from limner.core.text import TextFeatures
from limner.core.trainable import Update
from limner.families.conditioning import GaussianCondition
from limner.families.matching_aware import bce
from limner.families.stories.context import ReleasedContext, filtered
from limner.families.stories.noise import StoryNoise
from limner.interop.networks import load_networks
from limner.interop.storygan import import_storygan, renamed_keys
from limner.methods.storygan import StoryGAN, category_loss
from limner.model import load
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

INPUTS = ("motion", "content", "im_motion", "im_content", "st_real", "im_real", "story_noise", "image_noise", "labels")
FILES = {"generator": "netG", "discriminator": "netD_im", "story-discriminator": "netD_st"}
Given = tuple[StoryGAN, dict[str, Tensor]]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("storygan")


@pytest.fixture(scope="module")
def extra() -> GoldenSet:
    return GoldenSet("storygan", "extra.json")


@pytest.fixture(scope="module")
def given(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """The set's three files, to a folder and back, and what goes into the networks: pictures [B F, 3, S, S], noise [B, F, Z]."""
    folder = tmp_path_factory.mktemp("storygan") / "networks"
    import_storygan([golden.folder / f"{name}.pth" for name in FILES.values()], folder)
    method, players = load_networks(folder)
    assert isinstance(method, StoryGAN) and set(players) == set(FILES)
    inputs = {name: golden.arrays[name].float() for name in INPUTS if name in golden.arrays}
    inputs["st_real"] = by_frame(inputs["st_real"])
    for name in ("story_noise", "image_noise"):
        inputs[name] = inputs[name].transpose(0, 1).contiguous()
    return method, inputs


@pytest.fixture(scope="module")
def everything(given: Given) -> Realized:
    return realized(compute, *given)


@pytest.fixture(scope="module")
def sloped(given: Given) -> Realized:
    return realized(learning, *given)


def by_frame(stories: Tensor) -> Tensor:
    """[B, 3, F, S, S], as the authors have stories, -> [B F, 3, S, S]."""
    return stories.transpose(1, 2).flatten(0, 1)


def by_story(pictures: Tensor, frames: int) -> Tensor:
    """The reverse."""
    return pictures.unflatten(0, (-1, frames)).transpose(1, 2)


def batch_of(given: dict[str, Tensor]) -> Batch:
    """The single pictures, as a batch."""
    count = len(given["im_real"])
    text = TextFeatures(given["im_motion"])
    numbers = np.arange(count)
    return Batch(given["im_real"], [[]] * count, (text,), numbers, numbers, 0, categories=given["labels"])


def told(method: StoryGAN, given: dict[str, Tensor]) -> tuple[Tensor, Tensor, GaussianCondition | None, GaussianCondition | None]:
    """Single pictures and those of stories, with the Gaussian of their stories."""
    around = given["im_content"][:, None]  # of these stories, the mean is stored
    alone, of_single = method.generator(given["im_motion"][:, None], around, StoryNoise(given["image_noise"]))
    together, of_told = method.generator(given["motion"], given["content"], StoryNoise(given["story_noise"]))
    return alone, together, of_single, of_told


def updates(method: StoryGAN, given: dict[str, Tensor]) -> tuple[dict[str, Update], dict[str, Tensor]]:
    """Each player's turn by the step's own functions, all before anyone has moved, and the pictures that were judged."""
    batch, around = batch_of(given), given["im_content"][:, None]
    alone, together, of_single, of_told = told(method, given)
    divergences = method.divergence(of_single, given["im_motion"]), method.divergence(of_told, given["motion"].flatten(0, 1))
    turns = {
        "D_image": method._discriminator_update(batch, around, alone.detach(), 0.0),
        "D_story": method._story_update(given["st_real"], given["content"], together.detach(), 0.0),
        "G": method._generator_update(batch, around, alone, given["content"], together, divergences),
    }
    return turns, {"image": alone, "story": together, "KL_image": divergences[0], "KL_story": divergences[1]}


def parts(method: StoryGAN, given: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """All losses of one mode under the names of the stored ones; parts of the discriminators' by their networks."""
    turns, painted = updates(method, given)
    pairs = {
        "D_image": (
            method.discriminator,
            given["im_real"],
            painted["image"],
            method.picture_condition(given["im_motion"], given["motion"]),
        ),
        "D_story": (method.story_discriminator, given["st_real"], painted["story"], method.story_condition(given["content"])),
    }
    found: dict[str, dict[str, Tensor]] = {}
    for name, (network, real, fake, condition) in pairs.items():
        features = network.look(real)
        found[name] = {
            "total": turns[name].loss,
            "real": bce(network.match(features, condition), 1.0),
            "wrong": bce(network.match(features[:-1], condition[1:]), 0.0),
            "fake": bce(network.match(network.look(fake), condition), 0.0),
        }
    weight = method.settings.category_weight
    categories = method.discriminator.categories(method.discriminator.look(given["im_real"]))
    found["D_image"][f"category (weight {weight:.1f})"] = weight * category_loss(categories, given["labels"])
    fooled = turns["G"].metrics
    found["G"] = {
        "image (incl 0.4 category)": fooled["pictures"] + method.settings.generator_category_weight * fooled["category"],
        "story": fooled["stories"],
        "KL_image": painted["KL_image"],
        "KL_story": painted["KL_story"],
    }
    return found


@torch.no_grad()
def compute(method: StoryGAN, given: dict[str, Tensor]) -> Found:
    """Every array and every loss, by the names of either file; losses have their mode and player before their own names."""
    frames, context = method.frames, method.generator.context
    assert isinstance(context, ReleasedContext)
    found = Found({})
    method.eval()
    alone, together, *_ = told(method, given)
    states = context.contexts(given["motion"], given["content"].mean(1))
    images, filters = context.image_and_filter(given["motion"], states)
    picture, story = method.discriminator, method.story_discriminator
    image_condition, story_condition = given["im_motion"], method.story_condition(given["content"])
    found.arrays |= {
        "fake_image": alone,
        "fake_story": by_story(together, frames),
        "story_mu": story_condition,
        "image_mu": method.picture_condition(given["im_motion"], given["motion"]),
        "zmotion_check": states,  # the states of the context, in spite of the name
        "D_img_features": picture.look(alone),
        "D_story_features": story.look(together),
        "D_img_logit_fake": picture.match(picture.look(alone), image_condition).sigmoid(),
        "D_story_logit_fake": story.match(story.look(together), story_condition).sigmoid(),
        "D_img_categories": picture.categories(picture.look(alone)),
        "D_img_logit_real": picture.match(picture.look(given["im_real"]), image_condition).sigmoid(),
        "D_story_logit_real": story.match(story.look(given["st_real"]), story_condition).sigmoid(),
        "dfn_in_image": images,
        "dfn_in_filter": filters,
        "dfn_out": filtered(images, filters),
    }
    for mode in ("eval", "train"):
        method.train(mode == "train")
        losses = parts(method, given)
        found.losses |= {f"{mode}/{player}/{name}": value for player, own in losses.items() for name, value in own.items()}
    alone, together, *_ = told(method, given)
    frame = by_story(together, frames).transpose(1, 2).flatten(2)  # [B, F, 3 S S]
    found.arrays |= {
        "train_fake_image": alone,
        "train_fake_story_stats": torch.stack([frame.mean(2), frame.std(2)]).permute(1, 2, 0),
    }
    return Found(**vars(found))


def learning(method: StoryGAN, given: dict[str, Tensor]) -> Found:
    """The gradients of each player's loss in either mode, by the authors' names, and those at the painted pictures."""
    found = Found({})
    for mode in ("eval", "train"):
        method.train(mode == "train")
        turns, painted = updates(method, given)
        for turn, player in {"G": "generator", "D_image": "discriminator", "D_story": "story-discriminator"}.items():
            own = dict(method.players()[player].module.named_parameters())
            slopes = torch.autograd.grad(turns[turn].loss, own.values(), retain_graph=True)
            found.gradients[f"{mode}/{turn}"] = dict(zip(own, slopes, strict=True))
        pictures = [painted["image"], painted["story"]]
        slopes = torch.autograd.grad(turns["G"].loss, pictures)
        found.gradients[f"{mode}/fakes"] = dict(zip(("image", "story"), slopes, strict=True))
    return Found(**vars(found))


def stored_arrays(golden: GoldenSet, extra: GoldenSet) -> dict[str, Tensor]:
    """The outputs of both files, by name; figures of stories [2, B, F] as [B, F, 2]."""
    found = {name: value for name, value in golden.arrays.items() if name not in INPUTS} | dict(extra.arrays)
    if "train_fake_story_stats" in found:
        found["train_fake_story_stats"] = found["train_fake_story_stats"].permute(1, 2, 0)
    return found


def stored_losses(extra: GoldenSet) -> dict[str, float]:
    found = {}
    for mode, players in extra.part("losses").items():
        for player, own in players.items():
            found |= {f"{mode}/{player}/{name}": value for name, value in own.items() if isinstance(value, float) and "grad" not in name}
    return found


def stored_gradients(golden: GoldenSet, extra: GoldenSet) -> dict[str, dict[str, float]]:
    """Norms by Limner's names of parameters, player by player, and of the pictures' gradients."""
    found: dict[str, dict[str, float]] = {}
    for mode, players in extra.part("losses").items():
        for player, own in players.items():
            norms = {name: value for name, value in own["grad_norms"].items() if name != "__total__"}
            levels = sum(bool(re.fullmatch(r"upsample\d+\.1\.weight", name)) for name in norms)
            network = {"G": "generator", "D_image": "discriminator", "D_story": "story-discriminator"}[player]
            found[f"{mode}/{player}"] = dict(zip(renamed_keys(network, norms, levels), norms.values(), strict=True))
        found[f"{mode}/fakes"] = {part: players["G"][f"grad_norm_fake_{part}"] for part in ("image", "story")}
    return found


def test_every_array(golden: GoldenSet, extra: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(stored_arrays(golden, extra))


def test_every_loss(golden: GoldenSet, extra: GoldenSet, everything: Realized) -> None:
    everything.same_losses(stored_losses(extra))


def test_every_gradient(golden: GoldenSet, extra: GoldenSet, sloped: Realized) -> None:
    stored = stored_gradients(golden, extra)
    assert all(len(sloped.double.gradients[name]) == len(own) for name, own in stored.items())
    sloped.same_gradients(stored)


def test_kinks_explain_what_gradients_differ_by(extra: GoldenSet, given: Given) -> None:
    extra.part("losses")
    kinks_explain(learning, *given)


def changed(method: StoryGAN, field: str) -> None:
    """Break a weight of the losses."""
    method.settings = dataclasses.replace(method.settings, **{field: getattr(method.settings, field) * (1 + BROKEN)})


BREAKS: dict[str, tuple[str, Callable[[Given], Any]]] = {
    "cell of the context": ("arrays", lambda given: scaled(given[0].generator.context.context.weight_hh)),
    "cell of the sentences": ("arrays", lambda given: scaled(given[0].generator.context.sentences.weight_ih)),
    "image of a sentence": ("arrays", lambda given: scaled(given[0].generator.context.image[0].weight)),
    "normalisation's statistics": ("arrays", lambda given: scaled(given[0].generator.context.gist_map[1].running_var)),
    "text in the product": ("losses", lambda given: scaled(given[0].story_discriminator.head.text[0].weight)),
    "weight of real categories": ("losses", lambda given: changed(given[0], "category_weight")),
    "weight of painted categories": ("losses", lambda given: changed(given[0], "generator_category_weight")),
    "weight of stories, in gradients": ("gradients", lambda given: changed(given[0], "story_weight")),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(
    golden: GoldenSet, extra: GoldenSet, given: Given, everything: Realized, request: pytest.FixtureRequest, name: str
) -> None:
    kind, change = BREAKS[name]
    if kind == "gradients":
        request.getfixturevalue("sloped").notices(kind, stored_gradients(golden, extra), change, learning, *given)
        return
    stored = stored_arrays(golden, extra) if kind == "arrays" else stored_losses(extra)
    everything.notices(kind, stored, change, compute, *given)


def test_the_published_sizes(golden: GoldenSet) -> None:
    """The whole-width networks, but for the one that the authors' code never calls."""
    from limner.core.trainable import Conditions
    from limner.methods.storygan import StoryGANSettings

    counts = golden.part("full_param_counts_clevr_cfg")
    shapes = golden.part("full_G_keys")
    width, noise = shapes["mocornn.weight_hh"][1], shapes["recurrent.weight_ih"][1] - shapes["mocornn.weight_hh"][1]
    conditions = Conditions(resolution=64, sentence_width=width, category_count=15, frames=golden.config["VIDEO_LEN"])
    with torch.device("meta"):
        method = StoryGAN(StoryGANSettings(augmentation="none", noise_width=noise), conditions)
    sizes = {name: sum(value.numel() for value in player.module.parameters()) for name, player in method.players().items()}
    assert sizes["generator"] == counts["G"] - counts["G_unused_ca_net"]
    assert sizes["discriminator"] == counts["D_img"] and sizes["story-discriminator"] == counts["D_story"]


def test_with_its_text_encoder_it_tells(golden: GoldenSet, given: Given, tmp_path: Any) -> None:
    """A generator alone, with an encoder of its width, becomes a model folder that tells stories; the stored one comes out of it."""
    encoder = RecurrentEncoder(WordTokenizer.build(["a cube"]), RecurrentSettings(sentence_width=given[0].conditions.sentence_width))
    import_storygan([golden.folder / "netG.pth"], tmp_path / "model", encoder.eval(), frames=golden.config["VIDEO_LEN"])
    method = load(tmp_path / "model").method
    assert isinstance(method, StoryGAN)
    text = [TextFeatures(sentence) for sentence in given[1]["motion"].unbind(1)]
    images = method.tell(text, StoryNoise(given[1]["story_noise"])).images
    expected, _ = given[0].eval().generator(given[1]["motion"], given[1]["motion"], StoryNoise(given[1]["story_noise"]))
    assert torch.equal(images, expected)
