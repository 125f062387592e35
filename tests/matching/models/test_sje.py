"""DS-SJE: what a batch is, that it learns, how classes never met are told apart, and what is kept on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from shared.matching_models import fresh
from torch import Tensor

from limner.cli.main import main
from limner.core.errors import CheckpointError, DataError, SettingsError
from limner.core.folder import kind_of
from limner.core.pictures import CaptionedPictures
from limner.core.trainable import Progress
from limner.data.catalog import open_data
from limner.data.loader import Loader
from limner.features.network import FeatureNetwork
from limner.matching.models.sje import SJE, SJESettings
from limner.matching.saving import load_matching
from limner.matching.scores.zero_shot import figures, zero_shot
from limner.matching.towers import views
from limner.matching.towers.views import FileFeatures, NetworkFeatures
from limner.text.bag_of_words import BagOfWords
from limner.training.text import named_encoder


class Coloured(CaptionedPictures):
    """Six classes of one colour each, with a margin of 2 px; a caption names the colour, in one of two ways."""

    name, resolution, stored_resolution, class_count, may_flip, fingerprint = "coloured", 16, 20, 6, True, "1"
    names = ("red", "green", "blue", "yellow", "violet", "white")
    colours = np.array([(220, 30, 30), (30, 200, 30), (30, 30, 220), (220, 220, 30), (200, 30, 200), (240, 240, 240)])

    def __init__(self, split: str = "train", count: int = 36) -> None:
        self.split, self.class_ids = split, np.arange(count) % 6

    def __len__(self) -> int:
        return len(self.class_ids)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        rows = np.asarray(indices)
        shade = (rows % 7 * 2 - 6)[:, None]
        flat = np.clip(self.colours[self.class_ids[rows]] + shade, 0, 255).astype(np.uint8)
        return np.broadcast_to(flat[:, None, None], (len(rows), 20, 20, 3)).copy()

    def captions(self, index: int) -> list[str]:
        colour = self.names[self.class_ids[index]]
        return [f"this flower is {colour}", f"{colour} petals all around"]

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return np.full(len(self), 2)

    def key(self, index: int) -> str:
        return f"{self.split}-{index}"

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return self.captions((index + 1) % 6)[caption]


class Means(FeatureNetwork):
    """A frozen network that sees a picture's mean colour, and the colour of its upper left pixel."""

    name, width, logit_count, resize = "means", 6, None, "none"

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.looks = 0

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        self.looks += len(images)
        return torch.cat([images.mean((2, 3)), images[:, :, 0, 0]], dim=1), None


def trained(model: SJE, pictures: CaptionedPictures, steps: int) -> list[float]:
    torch.manual_seed(0)
    (phase,) = model.phases()
    loader = Loader(pictures, phase, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, betas=(0.0, 0.99))
    losses = []
    for step in range(steps):
        (update,) = model.training_step(loader.batch(step), Progress(phase="sje", step=step, steps=steps, images=0, epoch=0))
        optimizer.zero_grad()
        update.loss.backward()
        optimizer.step()
        losses.append(update.loss.item())
    return losses


def test_it_learns_which_caption_is_whose() -> None:
    torch.manual_seed(0)
    pictures = Coloured()
    settings = SJESettings(encoder="bag-of-words", width=16, picture_channels=8)
    model = fresh(SJE, settings, pictures, 16)
    before = zero_shot(model, pictures)
    losses = trained(model, pictures, 60)
    found = zero_shot(model, pictures, depths=(1, 5))
    assert model.phases()[0].batch_size == 6  # all there are
    assert np.mean(losses[-5:]) < 0.2 * losses[0]
    assert found["top_1"] > 0.95 > before["top_1"] and found["ap_5"] > 0.9 and found["chance"] == pytest.approx(1 / 6)
    assert model.validate(pictures)["score"] == pytest.approx((found["top_1"] + zero_shot(model, pictures)["ap_50"]) / 2)


@pytest.mark.parametrize("projected", [False, True])
def test_captions_are_embedded_into_fixed_features(projected: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.manual_seed(0)
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path))
    network = Means().freeze()
    monkeypatch.setattr(views, "load_feature_network", lambda spec, device="cpu": network)
    pictures = Coloured()
    model = fresh(SJE, SJESettings(encoder="bag-of-words", pictures="means", projected=projected, width=8, batch_size=6), pictures, 16)
    assert model.encoder.sentence_width == (8 if projected else 6)
    trained(model, pictures, 150)
    assert model.table is not None and model.table.shape == (36, 10, 6)
    assert model.table.norm(dim=-1).mean().item() * model.scale.item() == pytest.approx(6**0.5, rel=1e-5)
    assert zero_shot(model, pictures)["top_1"] > 0.8
    assert not any("fixed" in name or "unused" in name for name in model.kept())


def test_views_are_crops_and_mirrored_crops_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path))

    class Numbered(Coloured):
        def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
            rows, columns = np.meshgrid(np.arange(20), np.arange(20), indexing="ij")
            return np.repeat(np.stack([rows, columns, columns * 0], axis=-1)[None], len(indices), 0).astype(np.uint8)

    network = Means().freeze()
    found = NetworkFeatures(network).views(Numbered(count=3), 10)
    corners = ((found[0, :, 3:5] + 1) * 127.5).round().int().tolist()  # row and column of the pixel at the upper left
    assert corners == [[2, 2], [2, 17], [0, 0], [0, 15], [0, 4], [0, 19], [4, 0], [4, 15], [4, 4], [4, 19]]
    looks = network.looks
    assert NetworkFeatures(network).views(Numbered(count=3), 10).equal(found) and network.looks == looks
    (kept,) = tmp_path.rglob("*.npy")
    kept.write_bytes(kept.read_bytes()[:50])
    assert NetworkFeatures(network).views(Numbered(count=3), 10).equal(found) and network.looks > looks
    fixed = NetworkFeatures(network)
    assert fixed.of_stored(Numbered(count=3), np.array([2, 0, 2])).equal(found[[2, 0, 2], 0])
    looks = network.looks
    fixed.of_stored(Numbered(count=3), np.array([0, 2]))
    assert network.looks == looks

    Numbered.may_flip = False
    unmirrored = NetworkFeatures(network).views(Numbered(count=1), 2)
    Numbered.mirrorable = np.zeros(36, dtype=bool)
    assert unmirrored.shape == (1, 2, 6)


def test_features_from_a_file_go_by_key(tmp_path: Path) -> None:
    pictures, path = Coloured(), tmp_path / "features.npz"
    keys = np.array([pictures.key(index) for index in range(36)])[::-1]
    rows = np.arange(36, dtype=np.float32)[::-1]
    np.savez(path, keys=keys, features=np.stack([rows, rows + 100], axis=1))
    fixed = FileFeatures(path)
    assert fixed.views(pictures, 10)[:, 0, 0].tolist() == list(range(36))
    assert fixed.of_stored(pictures, np.array([5]))[0].tolist() == [5, 105]
    with pytest.raises(DataError, match=r"lacks features of 36 of 36 .* such as test-0"):
        fixed.views(Coloured("test"), 1)
    with pytest.raises(SettingsError, match="there is no file"):
        FileFeatures(tmp_path / "other.npz")
    np.savez(tmp_path / "wrong.npz", keys=keys, features=np.zeros((3, 2)))
    with pytest.raises(SettingsError, match=r"must be \[N\] and \[N, D\]"):
        FileFeatures(tmp_path / "wrong.npz")


def test_the_published_figures_by_hand() -> None:
    scores = np.array([[3.0, 1.0], [2.0, 5.0], [0.0, 4.0], [1.0, 2.0]])  # pictures 0 and 1 are of class 0
    found = figures(scores, np.array([0, 0, 1, 1]), depths=(1, 2, 4))
    assert found["top_1"] == pytest.approx((0.5 + 1.0) / 2) and found["top_1_pictures"] == pytest.approx(3 / 4)
    assert found["ap_1"] == pytest.approx((1 + 0) / 2)  # class 0 finds picture 0, class 1 finds picture 1
    assert found["ap_2"] == pytest.approx((1 + 0.5) / 2)
    assert found["ap_4"] == found["most_ap_4"] == 0.5
    assert found["chance"] == found["chance_ap"] == 0.5


def test_scores_that_are_no_numbers_give_no_figures() -> None:
    scores = np.array([[np.nan, 1.0], [2.0, 5.0], [0.0, 4.0], [1.0, 2.0]])
    found = figures(scores, np.array([0, 0, 1, 1]), depths=(1,))
    assert all(np.isnan(found[name]) for name in ("top_1", "top_1_pictures", "ap_1")) and found["chance"] == 0.5


def test_from_the_command_line_to_a_generator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "words"
    words = "train sje --data garden --data.garden-pictures 120 --resolution 16 --method.picture-channels 4 --method.width 12"
    more = "--method.encoder bag-of-words --training.batch-size 20 --steps 4 --device cpu --training.log-every 2"
    assert main([*words.split(), *more.split(), "--out", str(run)]) == 0
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 4, 4] and 0 <= log[-1]["evaluation/top_1"] <= 1
    assert kind_of(run) == kind_of(run / "model") == "matching" and kind_of(tmp_path) is None
    assert "limner train gan-cls" in (run / "report.html").read_text()

    capsys.readouterr()
    assert main(["evaluate", str(run), "--count", "60"]) == 2
    assert "--count 60 is less than a pool of 100: give --pool 60, or a larger --count" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--count", "60", "--pool", "20"]) == 0
    assert "zero-shot over " in capsys.readouterr().out
    assert json.loads((run / "matching-test.json").read_text())["retrieval"]["count"] == 60

    model, encoder = load_matching(run), named_encoder(str(run))
    assert isinstance(encoder, BagOfWords)
    captions = ["a red flower with round petals", "a blue flower"]
    assert encoder(captions).sentence.equal(model.embed_captions(captions))
    pictures = open_data("garden", "val", 16, length=5)
    assert model.embed_stored(pictures, np.arange(5)).shape == (5, 12)

    painted = f"train gan-cls --data garden --data.garden-pictures 64 --resolution 16 --steps 2 --text.encoder {run} --text.standardize"
    small = "--method.generator-channels 4 --method.discriminator-channels 4 --device cpu --evaluation.every 0.25 --evaluation.count 20"
    assert main([*painted.split(), *small.split(), "--out", str(tmp_path / "gan")]) == 0
    log = [json.loads(line) for line in (tmp_path / "gan/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if "evaluation/fid" in line] == [1, 2]
    assert "fid" in (tmp_path / "gan/evaluation.json").read_text() and "evaluation: fid" in (tmp_path / "gan/report.html").read_text()
    assert main(["generate", str(tmp_path / "gan"), "a red flower", "--out", str(tmp_path / "pictures")]) == 0

    (run / "model/model.safetensors").write_bytes(b"short")
    with pytest.raises(CheckpointError, match="is not the file"):
        load_matching(run)


@pytest.mark.parametrize(
    "words, message",
    [
        ("--training.batch-size 30 --steps 1", "a batch of 30 pictures of different classes cannot be drawn from the 22 classes"),
        ("--text.encoder garden", "sje has a text encoder of its own: leave text.encoder out"),
        ("--evaluation.split test", "evaluation.split is test, which would choose the model that is kept"),
        ("--data.trainval", "data.trainval: the garden's val split has the train split's classes"),
        ("--method.views 3", "method.views is 3"),
        ("--method.pictures features.npz", "there is no file features.npz"),
        ("--method.pictures squeezenett", "there is no feature network 'squeezenett'"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = f"train sje --data garden --data.garden-pictures 60 --resolution 16 --device cpu --training.batch-size 20 --out {tmp_path}/run"
    assert main([*base.split(), *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
