"""`limner import infersent`: weights and word vectors that fit, and those that do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from shared.keras_files import glove_file
from torch import Tensor, nn

from limner.cli.main import main
from limner.text.infersent import InferSent
from limner.text.saving import load_encoder

WORDS = ["<s>", "</s>", "red", "bird"]


def weights(folder: Path, prefix: str = "enc_lstm.", width: int = 3, **changes: Tensor | None) -> Path:
    torch.manual_seed(0)
    state = {f"{prefix}{name}": value for name, value in nn.LSTM(width, 4, bidirectional=True).state_dict().items()}
    for name, value in changes.items():
        state.pop(f"{prefix}{name}")
        if value is not None:
            state[f"{prefix}{name}"] = value
    torch.save(state, folder / "infersent.pkl")
    return folder / "infersent.pkl"


def run(folder: Path, file: Path, *flags: str) -> int:
    vectors = glove_file(folder / "vectors.txt", WORDS, np.random.default_rng(0).standard_normal((4, 3), np.float32))
    (folder / "words.txt").write_text("red\nbird\ngreen\n")
    common = ["--vectors", str(vectors), "--vocabulary", str(folder / "words.txt"), "--out", str(folder / "encoder")]
    return main(["import", "infersent", str(file), *common, *flags])


@pytest.mark.parametrize("prefix", ["enc_lstm.", "module.encoder.enc_lstm."])
def test_weights_and_vectors_become_an_encoder(prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, weights(tmp_path, prefix), "--version", "1", "--padding", "in-the-maximum", "--pooling", "mean") == 0
    out = capsys.readouterr().out
    assert "InferSent, version 1, 8 numbers a sentence" in out and "1 of 3 words have no vector: 'green'" in out
    encoder = load_encoder(tmp_path / "encoder")
    assert isinstance(encoder, InferSent) and encoder.settings.padding == "in the maximum" and encoder.settings.pooling == "mean"
    assert encoder(["a red bird"]).sentence.shape == (1, 8) and "CC BY-NC" in (tmp_path / "encoder" / "README.md").read_text()


def test_marks_that_the_vectors_lack_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, weights(tmp_path), "--version", "2") == 0
    assert "no vector for the mark '<p>', which is read as zeros" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "flags", "message"),
    [
        ({"width": 5}, ["--version", "1"], "reads vectors of 5 numbers, and these have 3"),
        ({"weight_hh_l0_reverse": None}, ["--version", "1"], "'enc_lstm.weight_hh_l0_reverse' is missing"),
        ({"bias_hh_l0": torch.zeros(3)}, ["--version", "1"], "is not an InferSent encoder (size mismatch for bias_hh_l0"),
        ({"weight_hh_l0": torch.zeros(())}, ["--version", "1"], "'enc_lstm.weight_hh_l0' is not a matrix"),
        ({"prefix": "lstm."}, ["--version", "1"], "is not an InferSent encoder"),
        ({}, [], "--version"),
    ],
)
def test_what_does_not_fit(
    options: dict[str, object], flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, weights(tmp_path, **options), *flags) == 2  # type: ignore[arg-type]
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "encoder").exists()
