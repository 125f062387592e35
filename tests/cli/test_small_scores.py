"""The score that a run on a small set of one's own advises at its end: what can be said with so few held-out pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.cli.evaluate.painting import EvaluateArguments, _metrics, _warn_of_features
from limner.cli.main import main
from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.data.prepare import prepare
from limner.matching.saving import load_matching
from limner.metrics.scoring.evaluate import ScoringRequest
from limner.metrics.scoring.share import Share
from limner.model import load


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on forty pictures of two colours, which its text encoder learns to tell apart."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "mine").mkdir()
    for number in range(40):
        colour, word = (((200, 30, 30), "red"), ((30, 30, 200), "blue"))[number % 2]
        noise = np.random.default_rng(number).integers(-20, 20, (32, 32, 3))
        Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(folder / "mine" / f"{number}.png")
        (folder / "mine" / f"{number}.txt").write_text(f"a {word} square of number {number}\n")
    prepare([folder / "mine"], folder / "set", resolution=32, validation=0.2, test=0.2)
    short = ["--text.steps", "20", "--text.batch-size", "8", "--steps", "2", "--training.batch-size", "4", "--resolution", "32"]
    assert main(["train", "gan-cls", "--data", str(folder / "set"), "--out", str(folder / "run"), "--device", "cpu", *short]) == 0
    return folder / "run"


def test_the_run_keeps_the_matching_model_of_its_text_encoder(run: Path) -> None:
    judge = load_matching(run / "matcher")
    captions = ["a red square", "a blue square"]
    assert torch.equal(judge.encoder(captions).sentence, load(run).encode(captions).sentence)
    pictures = torch.tensor([[0.5, -0.8, -0.8], [-0.8, -0.8, 0.5]])[:, :, None, None].expand(2, 3, 32, 32)
    assert judge.similarity(judge.embed_pictures(pictures), judge.embed_captions(captions)).argmax(1).tolist() == [0, 1]


def test_few_pictures_are_scored_by_what_they_can_say(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), "--count", "12"]) == 0
    told = capsys.readouterr().err
    assert "8 real pictures are too few for fid and is, so kid, memorisation, clip-score are taken; --metrics asks for others" in told
    assert f"the judge of captions is what the run trained first: {run / 'matcher'}" in told
    scores = {score["name"]: score for score in json.loads((run / "scores.json").read_text())["scores"]}
    assert {*scores} == {"kid", "memorisation", "clip-score"}
    assert scores["clip-score"]["protocol"]["features_hash"] == load_matching(run / "matcher").content_hash
    assert main(["evaluate", str(run), "--count", "12", "--metrics", "fid"]) == 0
    assert "fid" in {score["name"] for score in json.loads((run / "scores.json").read_text())["scores"]}


def test_without_its_matching_model_captions_are_left_out(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "matcher")
    assert main(["evaluate", str(tmp_path / "run"), "--count", "12", "--out", str(tmp_path / "scores.json")]) == 0
    assert "so kid, memorisation are taken" in capsys.readouterr().err


def test_one_process_of_several_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    pictures = GardenPictures(Garden("test", length=8, resolution=16))
    pictures.holds = None
    for rank, lines in ((0, 2), (1, 0)):
        share = Share(rank, 2)
        assert _metrics(EvaluateArguments(model="any"), [pictures], share) == ["kid", "memorisation"]
        _warn_of_features([pictures], ScoringRequest(metrics=["kid"], count=8, share=share))
        assert capsys.readouterr().err.count("limner: ") == lines
