"""`limner words`: what a model knows, and what a mistyped word may mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.cli.main import main
from limner.model import Model
from limner.text.no_text import NoText
from limner.text.saving import save_encoder


def test_words_are_listed_and_looked_up(tiny_model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_encoder(tiny_model.encoder, tmp_path / "text")
    assert main(["words", str(tmp_path / "text")]) == 0
    assert capsys.readouterr().out.split() == list(tiny_model.encoder.known_words())
    assert main(["words", str(tmp_path / "text"), "a rde flower", "zebra"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "a       known",
        "rde     not known: did you mean 'red'?",
        "flower  known",
        "zebra   not known",
    ]
    assert main(["words", str(tmp_path / "text"), "red"]) == 0
    capsys.readouterr()
    assert main(["words", str(tmp_path / "text"), "", "!"]) == 2
    assert "the captions contain no words" in capsys.readouterr().err


def test_what_has_no_words_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_encoder(NoText(), tmp_path / "none")
    assert main(["words", str(tmp_path / "none")]) == 2
    assert "reads no text" in capsys.readouterr().err
    assert main(["words", str(tmp_path / "nowhere")]) == 2
