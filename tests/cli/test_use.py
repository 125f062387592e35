"""`generate`, `explore` and `evaluate` around a model, and `doctor`."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from limner.cli import doctor, generate
from limner.cli.evaluate import painting
from limner.cli.explore import interpolate
from limner.cli.main import main
from limner.core.errors import LimnerWarning, SettingsError
from limner.core.files import sha256
from limner.model import Model


@pytest.fixture(autouse=True)
def shipped(tiny_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every verb finds the tiny model, whatever the name."""
    for verb in (generate, interpolate, painting):
        monkeypatch.setattr(verb, "open_model", lambda name, device: tiny_model)


def test_a_folder_gets_one_file_a_picture(tiny_model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more.txt").write_text("the blue bird\n\n  at night \n", encoding="utf-8")
    out = tmp_path / "a" / "b"
    assert (
        main(["generate", "any", "A red flower!", "--captions", str(tmp_path / "more.txt"), "-n", "2", "--seed", "5", "--out", str(out)])
        == 0
    )
    names = [
        f"{row:03}-{words}-{number:02}.png"
        for row, words in ((1, "a-red-flower"), (2, "the-blue-bird"), (3, "at-night"))
        for number in (1, 2)
    ]
    assert sorted(path.name for path in out.iterdir()) == names
    assert capsys.readouterr().out.split() == [str(out / name) for name in names]
    expected = tiny_model.generate("A red flower!", n=2, seed=5)[1]
    assert np.array_equal(np.asarray(Image.open(out / names[1])), np.asarray(expected))


def test_a_png_gets_one_grid_and_strange_words_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grid.png"
    assert main(["generate", "any", "a red dragon", "-n", "3", "--out", str(out)]) == 0
    assert "never met 'dragon'" in capsys.readouterr().err
    with Image.open(out) as grid:
        assert grid.width > 3 * 16


@pytest.mark.parametrize(
    ("verb", "name"), [(["generate", "any", "a red flower"], "a.png"), (["explore", "interpolate", "any", "--caption", "red"], "a.gif")]
)
def test_a_full_disk_costs_no_picture(
    verb: list[str], name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / name
    out.write_bytes(b"the picture of last week")
    monkeypatch.setattr("limner.core.files.sync", full)
    assert main([*verb, "--out", str(out)]) == 2
    told = "limner: no space left on the disk while writing {}: free some, or choose a folder on another disk\n"
    assert capsys.readouterr().err == told.format(out) and out.read_bytes() == b"the picture of last week"


def test_one_bad_caption_leaves_the_others(tiny_model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captions = ["a rde flower", "粉红色的花", "a red flower " + "and petals " * 30, "flwer", "", "the bird"]
    assert main(["generate", "any", *captions, "--out", str(tmp_path)]) == 2
    assert sorted(path.name[:4] for path in tmp_path.iterdir()) == ["001-", "003-", "006-"], "names keep the captions' numbers"
    told = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in told] == [
        " the model never met 'rde' (did you mean 'red'?) in 'a rde flower'",
        " caption 2 is left out",
        " the model never met 'and' and reads no further than 48 words in 'a red flower and petals and petals and petals and petals ...'",
        " caption 4 is left out",
        " caption 5 is left out",
    ]
    assert "did you mean 'flower'?" in told[3]
    expected = tiny_model.pictures(["the bird"], [0])[0]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "006-the-bird-01.png")), expected)


def test_where_no_caption_can_be_painted_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "any", "zebra", "花", "--out", str(tmp_path / "x.png")]) == 2
    assert "nothing was painted" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_python_warns_of_unknown_words(tiny_model: Model) -> None:
    with pytest.warns(LimnerWarning, match="never met 'flwer' \\(did you mean 'flower'\\?\\), 'tulip' in 'a flwer tulip'"):
        tiny_model.generate("a flwer tulip")
    with pytest.raises(SettingsError, match="did you mean 'petals'"):
        tiny_model.generate(["a flower", "petls"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "x"], "there is nothing to paint"),
        (["", "--out", "x"], "a caption is empty"),
        (["a " * 5000, "--out", "x"], "has 10,000 characters"),
        (["красный цветок", "--out", "x"], "knows none of the words"),
        (["a flower", "-n", "0", "--out", "x"], "n is 0"),
        (["a flower", "-n", "100000000000000", "--out", "x"], "-n is 100,000,000,000,000: give 1 to 100,000"),
        (["a flower", "--rerank", "x", "--of", "100000000000000", "--out", "x"], "--of is 100,000,000,000,000: give 1 to 100,000"),
        (["--captions", "none.txt", "--out", "x"], "there is no file none.txt"),
        (["a flower"], "missing: --out"),
    ],
)
def test_generate_refuses_in_one_line_and_writes_nothing(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "any", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_interpolate_writes_strips_and_animations(tmp_path: Path) -> None:
    strip, film = tmp_path / "walk.png", tmp_path / "walk.gif"
    assert main(["explore", "interpolate", "any", "--captions", "a red flower", "the blue bird", "--steps", "5", "--out", str(strip)]) == 0
    assert Image.open(strip).size == (5 * 16, 16)
    assert (
        main(["explore", "interpolate", "any", "--caption", "a red flower", "--seeds", "1", "2", "--steps", "4", "--out", str(film)]) == 0
    )
    with Image.open(film) as frames:
        assert frames.size == (16, 16) and frames.n_frames == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["interpolat"], "did you mean 'interpolate'"),
        (["interpolate", "any", "--out", "x.png"], "give --captions"),
        (["interpolate", "any", "--caption", "a flower", "--captions", "a flower", "a bird", "--out", "x.png"], "give --captions"),
        (["interpolate", "any", "--caption", "a flower", "--out", "x.bmp"], "ends in .png or .gif"),
        (["interpolate", "any", "--caption", "a flower", "--seed", "5", "--out", "x.png"], "give --seeds"),
        (["interpolate", "any", "--captions", "a flower", "a bird", "--seeds", "1", "2", "--out", "x.png"], "give --seed"),
        (["interpolate", "any", "--pictures", "a.png", "b.png", "--seeds", "0", "1", "--out", "x.png"], "give --seed"),
        (["interpolate", "any", "--caption", "a flower", "--steps", "1", "--out", "x.png"], "--steps is 1"),
        (
            ["interpolate", "any", "--caption", "a flower", "--steps", "9999999", "--out", "x.png"],
            "--steps is 9,999,999: give 2 to 100,000",
        ),
        (["stages", "any", "--over-training", "-n", "0", "--out", "x.png"], "-n is 0: give 1 to 100,000"),
        (["stages", "any", "--over-training", "-n", "-1", "--out", "x.gif"], "-n is -1: give 1 to 100,000"),
        (["edit", "any", "a", "b", "--count", "9999999", "--out", "x.png"], "--count is 9,999,999: give 1 to 100,000"),
        (["interpolate", "any", "--captions", "a flower", "", "--out", "x.png"], "a caption is empty"),
    ],
)
def test_explore_refuses_in_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explore", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_evaluate_prints_a_table_and_keeps_the_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    words = ["evaluate", str(tmp_path / "model"), "--metrics", "kid", "--count", "8", "--split", "test", "--seed", "3"]
    assert main(words) == 0
    assert "garden/test" in capsys.readouterr().out
    (score,) = json.loads((tmp_path / "model" / "scores.json").read_text())["scores"]
    assert score["name"] == "kid" and score["protocol"]["count"] == 8 and score["protocol"]["seed"] == 3
    assert main(["evaluate", "garden", "--metrics", "fidd", "--count", "8"]) == 2
    assert "there is no metric 'fidd': did you mean 'fid'" in capsys.readouterr().err


def test_doctor_tells_whole_weights_from_damaged_ones(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text(json.dumps({"weights_sha256": sha256(tmp_path / "model.safetensors")}))
    assert doctor.whole(tmp_path, "reinstall").state == "ok"
    (tmp_path / "model.safetensors").write_bytes(b"weight")
    damaged = doctor.whole(tmp_path, "reinstall")
    assert (damaged.state, damaged.fix) == ("wrong", "reinstall")
    (tmp_path / "config.json").unlink()
    assert doctor.whole(tmp_path, "reinstall").state == "wrong"


def test_doctor_says_whether_published_scores_can_be_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_FEATURES", str(tmp_path))
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (missing,) = doctor._published()
    assert missing.state == "note" and "'fid-inception'" in missing.what and "--features fid-inception" in missing.fix
    (tmp_path / "fid-inception.pth").touch()
    (found,) = doctor._published()
    assert found.state == "ok" and str(tmp_path / "fid-inception.pth") in found.what


def test_doctor_looks_for_all_that_the_package_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {
        "limner": [
            "torch>=2.4",
            "mpmath>=1.3",
            "fsspec[http]>=2024.2",
            'matplotlib>=3.8; extra == "plots"',
            'h5py>=3.10; extra == "keras"',
        ],
        "fsspec": ["aiohttp!=4.0.0a0; extra == 'http'", "adlfs; extra == 'abfs'"],
    }
    here = {"torch": "2.8", "fsspec": "2025.1", "h5py": "3.11"}

    def version(name: str) -> str:
        if name not in here:
            raise importlib.metadata.PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(doctor.importlib.metadata, "requires", asked.get)
    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    monkeypatch.setattr(doctor.importlib.metadata, "metadata", lambda name: SimpleNamespace(get_all=lambda key: ["plots", "keras"]))
    found = [(finding.state, finding.what) for finding in doctor._packages()]
    assert found == [
        ("ok", "torch 2.8, fsspec 2025.1"),
        ("wrong", "missing: mpmath, aiohttp"),
        ("note", "extra 'plots' is not installed"),
        ("ok", "extra 'keras'"),
    ]


def test_doctor_reads_what_this_limner_asks_for() -> None:
    assert {"torch", "mpmath", "fsspec", "aiohttp"} <= {*doctor.required("limner")}
    assert doctor.required("limner", "plots") == ["matplotlib"]


def test_doctor_counts_in_plain_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert "2 CPU cores, PyTorch uses 1 thread" in [finding.what for finding in doctor._devices()]


def test_doctors_exit_code_follows_what_it_found(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for state, code in (("ok", 0), ("note", 0), ("wrong", 1)):
        monkeypatch.setattr(doctor, "findings", lambda state=state: [doctor.Finding(state, "a thing", "mend it")])
        assert main(["doctor"]) == code
        assert "a thing -> mend it" in capsys.readouterr().out
