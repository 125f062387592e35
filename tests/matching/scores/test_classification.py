"""Classification by names and by a linear probe, on models whose answers are known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from limner.cli.explore import classify as verb
from limner.cli.main import main
from limner.core.errors import CheckpointError, DataError, SettingsError
from limner.data.catalog import GardenPictures
from limner.data.garden import CLASS_NAMES, Garden
from limner.matching.saving import load_matching
from limner.matching.scores.classification import STRENGTHS, classify, fit_probe, label_embeddings, linear_probe, zero_shot_by_name

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PICTURES = GardenPictures(Garden("test", length=96, resolution=16))


class Letters(nn.Module):
    """Captions by how often each letter stands in them; a garden picture by the letters of its class's name, with some noise."""

    resolution = 16
    about: dict[str, object] = {}

    def __init__(self, noise: float = 0.0) -> None:
        super().__init__()
        self.noise, self.parameter = noise, nn.Parameter(torch.zeros(1))

    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        return F.normalize(torch.tensor([[float(caption.count(letter)) for letter in LETTERS] for caption in captions]), dim=1)

    def embed_stored(self, pictures: GardenPictures, indices: NDArray[np.int64]) -> Tensor:
        plain = self.embed_captions([CLASS_NAMES[identity] for identity in pictures.class_ids[indices]])  # type: ignore[index]
        noise = torch.randn(plain.shape, generator=torch.Generator().manual_seed(0))
        return F.normalize(plain + self.noise * noise, dim=1)

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """A picture's mean brightness decides: dark ones are "night", light ones "day"."""
        names = ["day" if picture.mean() > 0 else "night" for picture in pictures]
        return self.embed_captions(names)

    def similarity(self, pictures: Tensor, captions: Tensor) -> Tensor:
        return pictures @ captions.T


def test_labels_stand_for_the_mean_of_their_prompts() -> None:
    model = Letters()
    templates = ["a {}.", "the {} there"]
    made = label_embeddings(model, ["rose", "lily"], templates)  # type: ignore[arg-type]
    for row, label in zip(made, ["rose", "lily"], strict=True):
        prompts = model.embed_captions([template.replace("{}", label) for template in templates])
        assert torch.allclose(row, F.normalize(prompts.mean(0), dim=0), atol=1e-6)
    for templates in (["no place"], ["{} {}"], []):
        with pytest.raises(SettingsError, match="template"):
            label_embeddings(model, ["rose"], templates)  # type: ignore[arg-type]


def test_probabilities_are_those_of_the_learned_temperature() -> None:
    model = Letters()
    model.scale = torch.tensor(4.0)
    cosine = float((model.embed_captions(["day"]) * model.embed_captions(["night"])).sum())
    found = classify(model, torch.ones(1, 3, 4, 4), ["night", "day"], ["{}"])  # type: ignore[arg-type]
    expected = 1 / (1 + math.exp(4 * (cosine - 1)))
    assert found[0].tolist() == pytest.approx([1 - expected, expected], rel=1e-5)
    with pytest.raises(SettingsError, match="nothing to choose"):
        classify(model, torch.ones(1, 3, 4, 4), ["day"])  # type: ignore[arg-type]


def test_classes_are_told_by_their_names() -> None:
    found = zero_shot_by_name(Letters(), PICTURES, CLASS_NAMES, ["{}"])  # type: ignore[arg-type]
    assert found["top_1"] == 1.0 and found["classes"] == 4 and found["pictures"] == 96
    assert zero_shot_by_name(Letters(), PICTURES, CLASS_NAMES[::-1], ["{}"])["top_1"] < 0.6  # type: ignore[arg-type]


def test_a_probe_is_the_optimum_of_its_penalised_loss() -> None:
    generator = torch.Generator().manual_seed(1)
    features, classes = torch.randn(80, 5, generator=generator), torch.randint(3, (80,), generator=generator)
    probe = fit_probe(features, classes, strength=0.1)
    weight, bias = probe.weight.clone().requires_grad_(), probe.bias.clone().requires_grad_()
    loss = F.cross_entropy(features.double() @ weight + bias, classes) + 0.05 * weight.square().sum()
    assert all(float(gradient.abs().max()) < 1e-5 for gradient in torch.autograd.grad(loss, [weight, bias]))
    assert fit_probe(features, classes, strength=10.0).weight.norm() < probe.weight.norm()


def test_a_probe_finds_what_is_there_and_nothing_where_nothing_is() -> None:
    good = linear_probe(Letters(noise=0.1), PICTURES)  # type: ignore[arg-type]
    assert good["accuracy"] > 0.9 and (good["train"], good["test"], good["classes"]) == (72, 24, 4) and good["strength"] in STRENGTHS
    bad = linear_probe(Letters(noise=1000.0), PICTURES)  # type: ignore[arg-type]
    assert bad["accuracy"] < 0.7
    with pytest.raises(DataError, match="at least 16"):
        linear_probe(Letters(), GardenPictures(Garden("test", length=8, resolution=16)))  # type: ignore[arg-type]


def test_the_verb_prints_labels_and_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("limner.matching.saving.load_matching", lambda name, device: Letters(noise=0.1))
    monkeypatch.setattr("limner.data.catalog.open_data", lambda *_: PICTURES)
    Image.new("RGB", (20, 30), "black").save(tmp_path / "dark.png")
    assert main(["explore", "classify", "any", str(tmp_path / "dark.png"), "--labels", "day", "night", "--templates", "{}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("dark.png") and lines[1].endswith("night") and lines[2].endswith("day")
    assert main(["explore", "classify", "any", "--data", "garden", "--probe"]) == 0
    told = capsys.readouterr().out
    assert "96 pictures of 4 classes" in told and "linear probe" in told and 'templates: "{}"' in told
    out = tmp_path / "new" / "shares.json"
    given = ["explore", "classify", "any", str(tmp_path / "dark.png"), "--labels", "day", "night", "--out", str(out)]
    assert main(given) == 0 and capsys.readouterr().out.endswith(f"\n{out}\n")
    (found,) = json.loads(out.read_text())["pictures"]
    assert (
        found["picture"].endswith("dark.png")
        and [*found["labels"]] == ["night", "day"]
        and sum(found["labels"].values()) == pytest.approx(1.0)
    )
    assert main(["explore", "classify", "any", "--data", "garden", "--probe", "--out", str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["by_name"]["pictures"] == 96 and record["linear_probe"]["classes"] == 4 and record["templates"] == ["{}"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["any"], "give PICTURE files with --labels, or a set with --data"),
        (["any", "a.png", "--data", "garden"], "one of the two"),
        (["any", "a.png", "--labels", "cat"], "give at least two"),
        (["any", "a.png", "--labels", "cat", "dog"], "there is no picture a.png"),
        (["any", "a.png", "--labels", "cat", "dog", "--out", "a.csv"], "give a file name that ends in .json"),
    ],
)
def test_mistakes_are_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("limner.matching.saving.load_matching", lambda name, device: Letters())
    assert main(["explore", "classify", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_what_is_no_matching_model_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "painter").mkdir()
    (tmp_path / "painter" / "config.json").write_text('{"format": "limner-model"}')
    for name, words in (
        ("garden", "garden holds a model that paints captions, not a matching model: `limner train sje`"),
        ("garden-text", "garden-text holds a text encoder alone, not a matching model: `limner train sje`"),
        (tmp_path / "painter", "painter holds a model that paints captions, not a matching model: `limner train sje`"),
        (tmp_path / "empty", r"empty does not hold a matching model \(it has no config.json\): give a run folder or a saved folder"),
        (tmp_path / "none", "there is no folder .*none"),
    ):
        with pytest.raises(CheckpointError, match=words):
            load_matching(name)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(DataError, match="notes.png \\(not a picture\\)"):
        verb.read_picture(tmp_path / "notes.png", 16)
