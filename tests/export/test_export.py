"""A small model as an ONNX file: the same pictures through the same door, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import limner
from limner.cli.main import main
from limner.core.errors import CheckpointError, LimnerWarning, SettingsError
from limner.core.noise import gaussian, uniform
from limner.core.trainable import Conditions
from limner.explore.interpolate import between_captions, between_noises
from limner.explore.story import tell
from limner.methods.storygan import StoryGAN, StoryGANSettings
from limner.model import Model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from limner.export import exported, extra, graphs, write  # noqa: E402
from limner.export.onnx_file import onnx_model, sealed  # noqa: E402

CAPTIONS = ["a red flower", "the blue bird at night in one tree", "petals"]
SEEDS = (0, 7, -3, 2**63 + 5)


@pytest.fixture(scope="module")
def made(tiny_model: Model) -> tuple[Any, Any]:
    return onnx_model(tiny_model)


@pytest.fixture(scope="module")
def path(made: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("export") / "tiny.onnx"
    file.write_bytes(sealed(*made))
    return file


def test_noise_drawn_from_tensors_is_that_drawn_from_numbers() -> None:
    samples = [0, 1, 5, 2**40 + 3]
    for seed in SEEDS:
        signed = torch.full((4,), (seed + 2**63) % 2**64 - 2**63)
        assert torch.equal(uniform((5,), signed, torch.tensor(samples), "x"), uniform((5,), seed, samples, "x"))
        torch.testing.assert_close(gaussian((5,), signed, torch.tensor(samples), "x"), gaussian((5,), seed, samples, "x"))


def test_a_file_is_a_model_like_any_other(tiny_model: Model, path: Path) -> None:
    model = limner.load(path)
    assert (model.resolution, model.reads_text, model.about) == (16, True, {"data": "garden"})
    for seed in (seed for seed in SEEDS if 0 <= seed < 2**63):  # what a model can be asked for
        one, other = (one.painting(CAPTIONS, [0, 3, 2**35], seed).images for one in (tiny_model, model))
        assert (one - other).abs().max() * write.LEVELS / 2 < write.ALLOWED / 100
    for caption in CAPTIONS:
        alone, together = model.pictures([caption], [4]), model.pictures([caption, *CAPTIONS], [4, 0, 0, 0])[:1]
        assert np.abs(alone.astype(int) - together).max() <= 1, "whatever the batch and its longest caption"
    with pytest.warns(LimnerWarning, match="never met 'flwer' \\(did you mean 'flower'"):
        assert len(model.generate("a flwer", n=2)) == 2
    with pytest.raises(SettingsError, match="knows none of the words"):
        model.generate("zebra")
    for walk in (
        lambda one: between_captions(one, *CAPTIONS[:2], steps=3),
        lambda one: between_noises(one, CAPTIONS[0], (1, 2), steps=3),
    ):
        assert np.abs(walk(model).astype(int) - walk(tiny_model)).max() <= 1
    with pytest.raises(SettingsError, match="exported file already"):
        write.export(model, "onnx", path.with_name("again.onnx"))


def test_the_command_line_paints_a_file(tiny_model: Model, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(path), CAPTIONS[0], "-n", "2", "--seed", "5", "--out", str(tmp_path)]) == 0
    assert len(list(tmp_path.iterdir())) == 2
    assert main(["generate", str(path), CAPTIONS[0], "--stages", "--out", str(tmp_path / "x")]) == 2
    assert "paints in one stage" in capsys.readouterr().err


def test_the_file_of_a_teller_of_stories_tells_none(tiny_model: Model, path: Path, tmp_path: Path) -> None:
    settings = StoryGANSettings(noise_width=6, generator_channels=2, discriminator_channels=2)
    conditions = Conditions(resolution=16, sentence_width=tiny_model.encoder.sentence_width, frames=2)
    told = Model(StoryGAN(settings, conditions), tiny_model.encoder)
    file = tmp_path / "story.onnx"
    file.write_bytes(sealed(*onnx_model(told)))
    model = limner.load(file)
    assert np.abs(model.pictures(CAPTIONS[:1], [0]).astype(int) - told.pictures(CAPTIONS[:1], [0])).max() <= 1
    for ask in (lambda: model.tell(CAPTIONS[:2]), lambda: tell(model, CAPTIONS[:2]), lambda: model.storyteller(2)):
        with pytest.raises(SettingsError, match="the file paints single sentences: tell stories with the model that it was made of"):
            ask()
    assert len(limner.load(path).tell(CAPTIONS[:2])[0]) == 2, "frame by frame, as the model that it was made of"


def test_a_file_that_does_not_say_whether_it_told_stories_loads(made: tuple[Any, Any], path: Path, tmp_path: Path) -> None:
    part = onnx.load_model_from_string(path.read_bytes())
    (item,) = (item for item in part.metadata_props if item.key == "limner")
    about = json.loads(item.value)
    assert about.pop("frames") is None
    item.value = json.dumps(about)
    old = tmp_path / "old.onnx"
    old.write_bytes(part.SerializeToString())
    assert len(limner.load(old).tell(CAPTIONS[:2])[0]) == 2


def test_weights_in_float16_take_half_the_bytes(tiny_model: Model, made: tuple[Any, Any]) -> None:
    """The file computes what one with rounded weights in float32 does; rounding itself changes pictures by more."""
    halved, rounded = onnx.ModelProto(), onnx.ModelProto()
    for model in (halved, rounded):
        model.CopyFrom(made[0])
    graphs.halved(halved)
    for weight in rounded.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= graphs.SMALLEST:
            weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16).astype(np.float32), weight.name))
    whole, half, same = (sealed(model, made[1]) for model in (made[0], halved, rounded))
    assert len(half) < 0.7 * len(whole)
    captions, samples = write.asked(tiny_model)
    one, other = (write.painter_of(tiny_model, content)(captions, 3, samples) for content in (half, same))
    assert (one - other).abs().max() < 1e-5
    largest, mean = write.compared(tiny_model, write.painter_of(tiny_model, half))
    assert write.compared(tiny_model, write.painter_of(tiny_model, whole))[0] < largest < 1
    assert 0 < mean < largest


def test_pictures_that_differ_are_not_written(tiny_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = write.asked(tiny_model)[0]
    assert len(asked) == write.CHECKED and len({len(caption.split()) for caption in asked}) > 5
    assert tiny_model.encoder.was_cut(asked[-1])

    def shifted(by: float) -> Any:
        return lambda captions, seed, samples: tiny_model.painting(captions, samples, seed, check=False).images + 2 * by / 255

    for by, fits in ((0.9, True), (1.1, False), (float("nan"), False)):
        out = tmp_path / f"{by}.pt2"
        monkeypatch.setattr("limner.export.program.program_file", lambda model, by=by: (b"content", shifted(by)))
        if fits:
            assert write.export(tiny_model, "pt2", out).difference == pytest.approx(by, abs=0.01) and out.read_bytes() == b"content"
            continue
        with pytest.raises(SettingsError, match="differ from PyTorch's"):
            write.export(tiny_model, "pt2", out)
        assert not out.exists()


def test_files_that_are_not_whole_or_not_limners_are_refused(path: Path, made: tuple[Any, Any], tmp_path: Path) -> None:
    content, file = path.read_bytes(), tmp_path / "x.onnx"
    foreign, changed, later = (onnx.ModelProto.FromString(content) for _ in range(3))
    del foreign.metadata_props[:]
    weights = max(changed.graph.initializer, key=lambda weight: len(weight.raw_data))
    weights.raw_data = weights.raw_data[:-1] + bytes([weights.raw_data[-1] ^ 1])
    later.metadata_props[0].value = later.metadata_props[0].value.replace('"version":1', '"version":2')
    cases = {
        "is not an ONNX file, or is cut short": content[:-100],
        "not an ONNX file": b"PK\x03\x04 a picture of something else",
        "not one that `limner export` wrote": foreign.SerializeToString(),
        "is damaged: its weights": changed.SerializeToString(),
        "has version 2 of the format": later.SerializeToString(),
    }
    for message, given in cases.items():
        file.write_bytes(given)
        with pytest.raises(CheckpointError, match=message):
            limner.load(file)
    with pytest.raises(CheckpointError, match="there is no file"):
        limner.load(tmp_path / "none.onnx")
    with pytest.raises(SettingsError, match="torch.export.load"):
        limner.load("x.pt2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "onnx", "--out", "there.onnx"], "exists already"),
        (["--to", "onxx", "--out", "x.onnx"], "--to cannot be 'onxx': choose onnx or page or pt2"),
        (["--to", "onnx", "--out", "x.html"], "its name ends in .onnx"),
        (["--to", "pt2", "--weights", "float16", "--out", "x.pt2"], "--weights float16 is for onnx and page"),
        (["--out", "x.onnx"], "missing: --to"),
    ],
)
def test_export_refuses_in_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").touch()
    assert main(["export", "garden", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["there.onnx"]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(extra.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(SettingsError, match=r"need onnxruntime, which is not installed: pip install 'limner\[export\]'"):
        exported.load(path)


@pytest.mark.sweep
def test_a_program_paints_without_limner(tiny_model: Model, tmp_path: Path) -> None:
    found = write.export(tiny_model, "pt2", tmp_path / "tiny.pt2")
    assert found.difference < 0.01 and found.opset is None
    stored = {"limner.json": ""}
    module = torch.export.load(tmp_path / "tiny.pt2", extra_files=stored).module()
    assert '"method":"GAN-CLS' in str(stored["limner.json"])
    ids, mask = tiny_model.encoder.tokenize([CAPTIONS[0]])
    ids = torch.nn.functional.pad(ids, (0, tiny_model.encoder.limit.number - ids.shape[1]))  # type: ignore[union-attr]
    images = module(ids, mask.sum(1), torch.tensor([3]), torch.tensor([9]))
    torch.testing.assert_close(images, tiny_model.painting([CAPTIONS[0]], [9], 3).images, atol=1e-4, rtol=0)
