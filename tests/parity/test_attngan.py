"""AttnGAN's generator, discriminators and losses against stored results of the authors' code: its own checkpoints, through the importer.

The arrays of its text encoder and of DAMSM's losses are for test_attngan_text.py.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from shared.attentive_golden import (
    imported,
    notices,
    painted,
    same_at_published_width,
    same_discriminator_turns,
    same_family_arrays,
    same_generator_turn,
)
from shared.attentive_sets import MATCHING, Golden, views
from shared.rounding import Comparison, results
from torch import Tensor

from limner.cli.main import main
from limner.interop.attngan import import_attngan, read_attngan
from limner.interop.damsm import read_text_encoder
from limner.methods.attngan import AttnGAN
from limner.model import load
from limner.text.encoder import TextEncoder


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("attngan", elsewhere=("text_encoder_", *MATCHING))


@pytest.fixture
def method(golden: Golden, tmp_path: Path) -> AttnGAN:
    found = imported(golden, import_attngan, tmp_path / "networks")
    assert isinstance(found, AttnGAN)
    return found


def test_every_array(golden: Golden, method: AttnGAN) -> None:
    right, _ = read_attngan(golden.files(r"netG.*"))  # which hides padding rightly
    more = [results(single_picture, golden, read_attngan(golden.files(r"dcgan_netG.*"))[0])] if golden.outputs("dcgan_single") else []
    same_family_arrays(golden, method, right, *more)


@torch.no_grad()
def single_picture(golden: Golden, method: AttnGAN) -> dict[str, Tensor]:
    """What AttnDCGAN paints."""
    assert method.settings.last_picture_only
    return views(golden, "dcgan_single", painted(method, golden.text, golden.noise))


def test_discriminators_learn_alike(golden: Golden, method: AttnGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""
    same_discriminator_turns(golden, method)


def test_the_generator_learns_alike(golden: Golden, method: AttnGAN) -> None:
    """The last turn of a whole training step, with stored noise and a matching model that gives the stored regions."""
    same_generator_turn(golden, method)


def test_published_width(golden: Golden, tmp_path: Path) -> None:
    same_at_published_width(golden, tmp_path, read_attngan)


WEIGHTS = ("generator.first", "generator.attention", "generator.later", "generator.pictures", "discriminators.0.matching", "slope")


@pytest.mark.parametrize("coefficient", [*WEIGHTS, "LAMBDA"])
def test_a_broken_coefficient_is_noticed(golden: Golden, method: AttnGAN, coefficient: str) -> None:
    notices(golden, method, coefficient, turn=same_generator_turn)


def test_the_authors_files_become_a_model_that_paints(golden: Golden, tmp_path: Path) -> None:
    """Generator, text encoder and words by the command line; then captions of those words, stage by stage, as the stored networks paint."""
    (generator,), (text,) = golden.files(r"netG.*"), golden.files(r"text_encoder.*")
    count = len(torch.load(text, weights_only=True)["encoder.weight"])
    words = {0: "<end>"} | {number: f"word{number}" for number in range(1, count)}
    content = [[], [], words, {word: number for number, word in words.items()}]
    (tmp_path / "captions.pickle").write_bytes(pickle.dumps(content, protocol=2))
    out, pictures = tmp_path / "model", tmp_path / "pictures"
    given = ["--text", str(text), "--words", str(tmp_path / "captions.pickle"), "--out", str(out)]
    assert main(["import", "attngan", str(generator), *given]) == 0
    captions = [" ".join(words[number] for number in row if number) for row in golden["captions"].tolist()]
    assert main(["generate", str(out), captions[0], "--out", str(pictures)]) == 0 and list(pictures.rglob("*.png"))
    model = load(out)
    assert isinstance(model.method, AttnGAN)
    text_encoder, method = read_text_encoder(text), read_attngan([generator])[0]

    @torch.no_grad()
    def compute(golden: Golden, encoder: TextEncoder, method: AttnGAN) -> dict[str, Tensor]:
        read = encoder.read(golden["captions"][:, :length], golden.mask[:, :length])
        return {"text_encoder_words": read.words.transpose(1, 2), **painted(method, read, golden.noise)}

    length = int(golden.mask.sum(1).max())
    found, comparison = results(compute, golden, text_encoder, method), Comparison()
    read = model.encode(captions)
    painting = {"text_encoder_words": read.words.transpose(1, 2), **painted(model.method, read, golden.noise)}
    for name, value in painting.items():
        comparison.array(name, value, found.single[name], found.double[name])
    comparison.array(
        "stored", golden["text_encoder_words"][..., :length], painting["text_encoder_words"], found.double["text_encoder_words"]
    )
    comparison.finish(len(painting) + 1)
