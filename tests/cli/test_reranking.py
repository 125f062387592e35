"""`limner generate --rerank`, as a process and within this one: files, strips, records, and refusals in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.cli.main import main
from limner.data.catalog import open_data
from limner.explore.rerank import Similarity, rerank
from limner.matching.models.sje import SJE, SJESettings
from limner.matching.saving import save_matching
from limner.metrics.scoring.matching import Placed
from limner.model import Model, save_model
from tests.shared.matching_models import fresh


@pytest.fixture(scope="module")
def folders(tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A model that paints, and a matching model of another resolution and with other words."""
    base = tmp_path_factory.mktemp("models")
    save_model(base / "painter", "gan-cls", tiny_model.method, tiny_model.encoder, tiny_model.about, "A card.")
    torch.manual_seed(0)
    judge = fresh(SJE, SJESettings(encoder="bag-of-words", width=16, picture_channels=4), open_data("garden", "train", 32, length=40), 32)
    save_matching(base / "judge", "sje", judge, {"data": "garden"}, "A card.")
    return str(base / "painter"), str(base / "judge")


def test_the_command_as_a_process(folders: tuple[str, str], tiny_model: Model, tmp_path: Path) -> None:
    painter, judge = folders
    words = ["a red flower", "five petals", "-n", "3", "--rerank", judge, "--of", "8", "--seed", "5", "--out", str(tmp_path / "best")]
    done = subprocess.run([sys.executable, "-m", "limner", "generate", painter, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "best" / "ranked.json").read_text())
    found = rerank(tiny_model, ["a red flower", "five petals"], Similarity(Placed.load(judge)), count=3, candidates=8, seed=5)
    assert (record["seed"], record["candidates"], record["judge"]) == (5, 8, "DS-SJE of judge")
    names = []
    for number, (each, row) in enumerate(zip(found, record["captions"], strict=True), 1):
        assert row["caption"] == each.caption
        np.testing.assert_allclose([picture["score"] for picture in row["pictures"]], each.scores, rtol=1e-3, atol=1e-4)
        for place, picture in enumerate(row["pictures"]):
            assert picture["file"] == f"{number:03}-{each.caption.replace(' ', '-')}-{place + 1:02}.png"
            shown = np.asarray(Image.open(tmp_path / "best" / picture["file"])).astype(int)
            again = tiny_model.pictures([each.caption], [picture["candidate"] - 1], 5)[0]
            assert np.abs(shown - again).max() <= 1
            assert f"{picture['score']:.4f}  no. {picture['candidate']} of 8" in done.stdout
            names.append(picture["file"])
        names.append(f"{number:03}-{each.caption.replace(' ', '-')}-ranked.png")
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == sorted([*names, "ranked.json"])


def test_one_page_and_what_the_judge_does_not_read(folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    painter, judge = folders
    out = tmp_path / "new" / "best.png"
    assert main(["generate", painter, "bird tree", "a red flower bird", "-n", "2", "--rerank", judge, "--of", "2", "--out", str(out)]) == 2
    told = capsys.readouterr()
    assert "caption 1 is left out: the judge knows none of the words in 'bird tree'" in told.err
    assert "limner: the judge never met 'bird'" in told.err and told.err.count("\n") == 2
    assert told.out.splitlines()[2:] == [str(out), str(out.with_name("best-ranked.json"))]
    (row,) = json.loads(out.with_name("best-ranked.json").read_text())["captions"]
    assert row["caption"] == "a red flower bird" and {picture["candidate"] for picture in row["pictures"]} == {1, 2}
    with Image.open(out) as page:
        assert page.width > 2 * 128 and page.height > 128


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--of", "8"], "give --rerank JUDGE too"),
        (["-n", "4", "--rerank", "JUDGE", "--of", "3"], "--of is 3 and -n is 4"),
        (["-n", "33", "--rerank", "JUDGE"], "--of is 32 and -n is 33"),
        (["--rerank", "JUDGE", "--of", "0"], "--of is 0"),
        (["--rerank", "JUDGE", "--stages"], "leave one of the two out"),
        (["--rerank", "garden"], "holds a model that paints captions, not a matching model"),
        (["--rerank", "PAINTER"], "holds a model that paints captions, not a matching model"),
        (["--rerank", "nowhere"], "there is no folder nowhere: give the run folder or model folder of a matching model"),
        (["--rerank", "no/where"], "there is no folder no/where: give the run folder"),
    ],
)
def test_what_cannot_be_ranked_is_refused_in_one_line(
    words: list[str],
    message: str,
    folders: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {"PAINTER": folders[0], "JUDGE": folders[1]}
    assert main(["generate", folders[0], "a red flower", *(known.get(word, word) for word in words), "--out", "x.png"]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_caption_of_words_that_the_judge_never_met_is_refused(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["generate", folders[0], "bird tree", "--rerank", folders[1], "--out", str(tmp_path / "x")]) == 2
    told = capsys.readouterr().err
    assert "the judge knows none of the words in 'bird tree'" in told and told.count("\n") == 1 and not list(tmp_path.iterdir())
