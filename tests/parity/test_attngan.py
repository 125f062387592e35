"""AttnGAN's generator, discriminators and losses against stored results of the authors' code: its own checkpoints, through the importer.

The arrays of its text encoder and of DAMSM's losses are for test_attngan_text.py.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from shared.attentive_golden import (
    EVALUATION,
    MATCHING,
    Golden,
    all_arrays,
    guided,
    imported,
    painted,
    same_arrays,
    same_at_published_width,
    same_discriminator_turns,
    same_generator_turn,
    views,
)

from limner.cli.main import main
from limner.core.text import TextFeatures
from limner.interop.attngan import import_attngan, read_attngan
from limner.methods.attngan import AttnGAN
from limner.model import load


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("attngan", elsewhere=("text_encoder_", *MATCHING))


@pytest.fixture
def method(golden: Golden, tmp_path: Path) -> AttnGAN:
    found = imported(golden, import_attngan, tmp_path / "networks")
    assert isinstance(found, AttnGAN)
    return found


@torch.no_grad()
def test_every_array(golden: Golden, method: AttnGAN) -> None:
    right, _ = read_attngan(golden.files(r"netG.*"))  # which hides padding rightly
    single, _ = read_attngan(golden.files(r"dcgan_netG.*"))
    assert single.settings.last_picture_only and single.settings.residual_blocks == 0
    computed = views(golden, "dcgan_single", painted(single, golden.text, golden.noise))
    same_arrays(golden, computed | all_arrays(golden, method, right))


def test_discriminators_learn_alike(golden: Golden, method: AttnGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""
    method.train()
    same_discriminator_turns(
        golden, lambda side, judge: method.discriminator_update(judge, golden.batch(side), golden.pictures("fake", side)), method
    )


def test_the_generator_learns_alike(golden: Golden, method: AttnGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last turn of a whole training step, with stored noise and a matching model that gives the stored regions."""
    same_generator_turn(golden, guided(golden, method), golden.batch(max(golden.sides)), monkeypatch)


@torch.no_grad()
def test_published_width(golden: Golden, tmp_path: Path) -> None:
    same_at_published_width(golden, tmp_path, read_attngan)


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
    read = model.encode(captions)
    assert read.words is not None
    torch.testing.assert_close(read.words.transpose(1, 2), golden["text_encoder_words"], rtol=0, atol=EVALUATION)
    method, _ = read_attngan([generator])
    expected = painted(
        method, TextFeatures(golden["text_encoder_sent"], golden["text_encoder_words"].transpose(1, 2), ~golden["mask"]), golden.noise
    )
    assert isinstance(model.method, AttnGAN)
    for name, value in painted(model.method, read, golden.noise).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=EVALUATION)
