"""`limner explore nearest` and `worst`, and the table of explorations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from limner.cli.explore import EXPLORATIONS, HELP, nearest, worst
from limner.cli.main import main
from limner.model import Model


@pytest.fixture(autouse=True)
def shipped(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every exploration finds the tiny model, whatever the name."""
    for module in (nearest, worst):
        monkeypatch.setattr(module, "open_model", lambda name, device: tiny_model)


def test_help_imports_no_exploration_and_every_one_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys\nfrom limner.cli.main import main\nassert main(['explore', '--help']) == 0\n"
        "loaded = [name for name in sys.modules if name.startswith('limner.cli.explore.') or name == 'torch']\nassert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, sentence in EXPLORATIONS.items():
        assert f"{name:<12} {sentence}" in HELP
        assert main(["explore", name, "--help"]) == 0
        assert f"limner explore {name} " in capsys.readouterr().out.partition("examples:")[2]


def test_nearest_writes_a_strip_and_prints_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "nearest.png"
    words = ["any", "a red flower", "the blue bird", "--split", "val", "--sample", "8", "--count", "3", "--features", "pixels"]
    assert main(["explore", "nearest", *words, "--pictures", "2", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert told.count("garden-val-0-") == 4 and "for 8 real test pictures" in told and "pixels at 16x16" in told
    with Image.open(out) as strip:
        assert strip.height > 4 * 128 and strip.width > 4 * 128


def test_worst_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "worst.png"
    assert main(["explore", "worst", "any", "--split", "val", "--captions", "12", "--count", "3", "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "The 3 of 12 captions of garden/val" in told and "asked" in told and len(told.splitlines()) == 7
    assert Image.open(out).width > 3 * 176


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nearst"], "did you mean 'nearest'"),
        (["nearest", "any", "--out", "x.jpg"], "ends in .png"),
        (["nearest", "any", "", "--out", "x.png"], "a caption is empty"),
        (["nearest", "any", "--features", "garten", "--out", "x.png"], "did you mean 'garden'"),
        (["nearest", "any", "--features", "discriminator", "--out", "x.png"], "only a run folder keeps its discriminator"),
        (["nearest", "any", "--split", "trian", "--out", "x.png"], "did you mean 'train'"),
        (["nearest", "any", "--data", "nowhere/set", "--out", "x.png"], "there is no folder nowhere/set"),
        (["worst", "any", "--out", "x"], "ends in .png"),
        (["worst", "any", "--count", "0", "--out", "x.png"], "--count is 0"),
        (["worst", "any", "--judge", "gardn", "--out", "x.png"], "did you mean 'garden'"),
        (["worst", "any", "--judge", "garden=none", "--out", "x.png"], "there is no shipped model or folder 'none'"),
        (["worst", "any", "--data", "prepared/mine", "--out", "x.png"], "need an image-text matching model"),
        (["worst", "any"], "missing: --out"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explore", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_model_of_a_set_that_is_not_here_asks_for_it(tiny_model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from limner.cli.explore.splits import Source
    from limner.core.errors import SettingsError
    from limner.data.catalog import open_data

    monkeypatch.setattr(tiny_model, "about", {"data": "mine"})
    with pytest.raises(SettingsError, match="trained on 'mine', which is not here: .*--data DIR"):
        Source("any", tiny_model, None)
    pictures = open_data("garden", "val", 16, length=4)
    for about, changed in (({"data": "garden", "fingerprint": "else"}, True), ({"data": "garden"}, False), ({"data": "mine"}, False)):
        monkeypatch.setattr(tiny_model, "about", about)
        assert Source("any", tiny_model, "garden").changed(pictures) is changed
