"""Untrained models that have every panel of the studio between them, and a run, as folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

import limner
from limner.core.recipes import save_recipe
from limner.core.trainable import Conditions
from limner.data.pngwords import with_captions
from limner.data.sheet import caption_grid
from limner.methods.ci_gan import CIGAN, CIGANSettings
from limner.methods.dall_e import DALLE, SMALL, DALLESettings
from limner.methods.storygan import StoryGAN, StoryGANSettings
from limner.methods.stylegan2 import StyleGAN2, StyleGAN2Settings
from limner.model import save_model
from limner.parts.style import StyleEncoder
from limner.text.byte_pair_ids import BytePairIds
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.text.no_text import NoText
from limner.text.recurrent import RecurrentEncoder
from limner.text.tokenizers import WordTokenizer
from limner.training.samples import PICTURES
from shared.tiny_runs import tiny

WORDS = "a red blue flower with five petals at night".split()
CAPTIONS = ["a red flower", "a blue flower with five petals", "a flower at night"]
LABELS = ("red round", "blue round")
STORY = ["Rosa stands in a meadow", "she grows", "Iris comes"]


def write_models(folder: Path) -> list[Path]:
    """Models in stages with attention and a captioner, with a style encoder, with styles, one that writes codes, one that lays out, one
    that tells stories, and one that inverts and edits pictures."""
    torch.manual_seed(0)
    written = [folder / name for name in ("looking", "restyled", "styled", "writing", "placing", "telling", "inverting")]
    words = LSTMEncoder(Vocabulary(WORDS), LSTMSettings(width=8))
    small = {"condition_width": 4, "caption_channels": 2, "caption_width": 8, "caption_hidden": 8}
    widths = {"sentence_width": words.sentence_width, "word_width": words.word_width}
    looking = limner.create("mirrorgan", resolution=64, preset="cpu", **widths, **small)
    looking.captioner.learn(WORDS)  # type: ignore[operator, union-attr]
    save_model(written[0], "mirrorgan", looking, words, {"data": "garden"}, "")

    sentences = RecurrentEncoder(WordTokenizer.build([" ".join(WORDS)]))
    plain = limner.create("gan-cls", resolution=16, sentence_width=sentences.sentence_width, preset="cpu", generator_channels=4)
    save_model(written[1], "gan-cls", plain, sentences, {}, "", style=StyleEncoder({"z": 100}, 4, 16))

    sizes = {"noise_width": 6, "style_width": 8, "mapping_layers": 2, "channel_base": 128, "channel_limit": 12}
    save_model(
        written[2], "stylegan2", StyleGAN2(StyleGAN2Settings(**sizes), Conditions(resolution=16, sentence_width=0)), NoText(), {}, ""
    )

    pairs = BytePairIds.learn(["a red flower", "a blue flower"] * 2, 270, 6)
    values = {**SMALL, "dvae_width": 8, "code_width": 8, "width": 16, "depth": 2, "vocabulary": 270, "context_length": 6}
    save_model(
        written[3], "dall-e", DALLE(DALLESettings(**values), Conditions(resolution=32, sentence_width=0, word_width=0)), pairs, {}, ""
    )

    names = LSTMEncoder(Vocabulary([*WORDS, "round"]), LSTMSettings(width=8))
    widths = {"sentence_width": names.sentence_width, "word_width": names.word_width}
    placing = limner.create("obj-gan", resolution=32, preset="cpu", labels=LABELS, object_side=32, shape_side=16, **widths)
    with torch.no_grad():
        placing.read_names(names)  # type: ignore[operator]
    save_model(written[4], "obj-gan", placing, names, {}, "")

    told = RecurrentEncoder(WordTokenizer.build([*STORY, *CAPTIONS]))
    settings = StoryGANSettings(noise_width=6, generator_channels=2, discriminator_channels=2)
    story = StoryGAN(settings, Conditions(resolution=16, sentence_width=told.sentence_width, frames=len(STORY)))
    save_model(written[5], "storygan", story, told, {}, "")

    inverting = CIGANSettings(**sizes, perceptual=None, edit_steps=3)  # type: ignore[arg-type]
    conditions = Conditions(resolution=16, sentence_width=sentences.sentence_width)
    save_model(written[6], "ci-gan", CIGAN(inverting, conditions), sentences, {}, "")
    return written


def write_run(folder: Path, grids: int = 3) -> Path:
    """A run that has trained a while, and has not saved a model."""
    (folder / "samples").mkdir(parents=True)
    save_recipe(tiny("gan-cls", 100), folder / "recipe.yaml")
    with (folder / "log.jsonl").open("w") as log:
        for step in range(1, 11):
            line = {"phase": "gan", "act": "gan-cls", "step": step, "total_step": step, "images": 4 * step, "epoch": 0.1, "seconds": step}
            log.write(json.dumps(line | {"generator/loss": 1 / step, "discriminator/loss": step / 10, "images_per_second": 4.0}) + "\n")
    for number in range(1, grids + 1):
        add_samples(folder, number)
    return folder


def add_samples(folder: Path, number: int) -> None:
    """A sample grid of a run, of noise that depends on its number."""
    drawn = np.random.default_rng(number).integers(0, 256, (len(CAPTIONS), PICTURES, 16, 16, 3), dtype=np.uint8)
    page = caption_grid([list(row) for row in drawn], CAPTIONS)
    page.save(folder / "samples" / f"1-gan-{10 * number:08d}.png", pnginfo=with_captions(CAPTIONS))
