from __future__ import annotations

import dataclasses
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from shared.matching_models import fresh
from shared.rounding import Comparison, Disagreement, results

from limner.cli.main import main
from limner.core.errors import SettingsError
from limner.core.optimizers import Adam
from limner.core.recipes import from_preset, laid_over
from limner.core.trainable import Conditions, Progress
from limner.data.catalog import GardenPictures
from limner.data.garden import Garden
from limner.data.loader import Loader
from limner.matching.models.clip import CLIP, CLIPSettings, contrastive_loss, text_settings
from limner.matching.saving import load_matching
from limner.matching.scores.distractors import distractor_retrieval
from limner.text.byte_pairs import BytePairTokenizer
from limner.text.clip_text import ClipText
from limner.training.players import PlayerTraining, Statistics
from limner.training.text import named_encoder

SCRIPT = Path(__file__).with_name("clip_processes.py")
SMALL = {"width": 16, "picture_width": 16, "picture_heads": 2, "text_width": 16, "text_layers": 1, "text_heads": 2, "batch_size": 16}

TOWERS: dict[str, dict[str, object]] = {
    "compact": {},
    "resnet": {"tower": "resnet", "picture_layers": [1, 1]},
    "vit": {"tower": "vit", "picture_layers": [1], "patch": 8},
}


def small(**changes: object) -> CLIPSettings:
    settings: CLIPSettings = laid_over(from_preset("clip", "cpu", "garden").method_settings, SMALL | changes, "method")
    return settings


@pytest.fixture(scope="module")
def pictures() -> GardenPictures:
    return GardenPictures(Garden("train", length=64, resolution=16))


def progress(step: int, steps: int = 60) -> Progress:
    return Progress(phase="clip", step=step, steps=steps, images=0, epoch=0.0)


@pytest.mark.parametrize("tower", TOWERS)
def test_it_learns_a_small_batch_by_heart(tower: str, pictures: GardenPictures) -> None:
    torch.manual_seed(0)
    model = fresh(CLIP, small(learning_rate=5e-3, warm_up_steps=5, colourless=0.0, **TOWERS[tower]), pictures, 16).train()
    batch = Loader(pictures, model.phases()[0], seed=0).batch(0)
    turn = PlayerTraining(model.players()["matching"], Statistics(model))
    losses = []
    for step in range(60):
        (update,) = model.training_step(batch, progress(step))
        assert turn.take(update.loss, progress(step), 16) == 0
        losses.append(update.loss.item())
    assert losses[-1] < 0.25 * losses[0]
    assert update.metrics["picture_to_caption"] > 0.7 and update.metrics["counterfactual"] > 0.7


def test_the_loss_is_that_of_figure_3_and_leaves_out_what_it_is_told() -> None:
    generator = torch.Generator().manual_seed(0)
    pictures, texts, changed = (F.normalize(torch.randn(5, 7, generator=generator), dim=1) for _ in range(3))
    scale = torch.tensor(9.0)
    logits, own = scale * pictures @ texts.T, torch.arange(5)
    plain, _ = contrastive_loss(pictures, texts[:, None], scale)
    assert plain.item() == pytest.approx(((F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2).item(), rel=1e-6)
    harder, _ = contrastive_loss(pictures, texts[:, None], scale, changed[:, None])
    assert harder > plain
    no_mistakes = torch.ones(5, 1, 5, 2, dtype=torch.bool)
    assert contrastive_loss(pictures, texts[:, None], scale, changed[:, None], no_mistakes)[0].item() == pytest.approx(0.0, abs=1e-6)


def test_two_processes_take_the_gradient_of_one(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[3])}
    running = [
        subprocess.Popen([sys.executable, str(SCRIPT), str(tmp_path), str(rank), "2"], env=environment, stderr=subprocess.PIPE)
        for rank in (0, 1)
    ]
    script = runpy.run_path(str(SCRIPT))
    for process in running:
        _, told = process.communicate()
        assert process.returncode == 0, told.decode()
    for leave_out in script["KINDS"]:
        one = results(script["found"], *script["given"](leave_out, slice(None)), probes=3)
        two = torch.load(tmp_path / f"{leave_out}-2.pt", weights_only=True)
        assert len(two) > 25 and two["log_scale"].abs() > 0 and two.keys() == one.single.keys()
        comparison = Comparison()
        for name, value in two.items():
            of_one = one.single[name], one.double[name], [probe[name] for probe in one.probes]
            comparison.tensor(name, value, *of_one)
            if value.any():  # a share of the pictures that were right may be 0
                with pytest.raises(Disagreement):
                    Comparison().tensor(name, 1.001 * value, *of_one)
        comparison.finish(len(two))


def test_weights_decay_apart_from_the_gradient_and_gains_not_at_all() -> None:
    matrix, gain = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    optimizer = Adam(learning_rate=0.1, weight_decay=0.2, epsilon=1e-6, decoupled=True).build([matrix, gain])
    matrix.grad, gain.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    assert torch.allclose(matrix, torch.full((2, 2), 0.98)) and torch.equal(gain.data, torch.ones(2))
    assert isinstance(Adam(decoupled=True).build([gain]), torch.optim.AdamW)
    plain = Adam().build([gain])
    assert isinstance(plain, torch.optim.Adam) and not isinstance(plain, torch.optim.AdamW)


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    with torch.device("meta"):
        settings = CLIPSettings(warm_up_steps=10)
        model = CLIP(settings, Conditions(resolution=224, sentence_width=512), ClipText(None, text_settings(settings, 49_408)))
    factors = [model._learning_rate_factor(progress(step, 100)) for step in range(101)]
    assert [factors[step] for step in (0, 9, 10, 55, 100)] == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.0])


def test_a_run_trains_resumes_loads_and_gives_its_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    words = ["train", "clip", "--data", "garden", "--out", str(run), "--preset", "cpu", "--device", "cpu", "--resolution", "16"]
    words += ["--data.garden-pictures", "64", "--evaluation.every", "0", "--training.log-every", "2"]
    words += [word for name, value in SMALL.items() for word in (f"--method.{name.replace('_', '-')}", str(value))]
    assert main([*words, "--steps", "2"]) == 0
    assert main([*words, "--steps", "4", "--resume"]) == 0
    model = load_matching(run)
    assert isinstance(model, CLIP) and model.about["steps"] == 4
    encoder = named_encoder(str(run))
    assert isinstance(encoder, ClipText) and torch.equal(encoder(["a red flower"]).sentence, model.encoder(["a red flower"]).sentence)
    found = distractor_retrieval(model, GardenPictures(Garden("test", length=200, resolution=16)), count=20)
    assert 0 <= found["right_first"] <= 1 and found["count"] == 20
    capsys.readouterr()
    assert main(["evaluate", str(run), "--count", "100", "--split", "val", "--device", "cpu"]) == 0
    assert "one true caption and 99 that contradict the picture (100 pictures)" in capsys.readouterr().out


def test_what_cannot_work_is_refused(pictures: GardenPictures) -> None:
    tokenizer = BytePairTokenizer([], context_length=77)
    encoder = ClipText(tokenizer, text_settings(small(), len(tokenizer)))
    for changes, resolution, message in (
        ({"tower": "vit", "picture_layers": [1], "patch": 5}, 16, "cannot be cut into patches of 5 px"),
        ({}, 20, "cannot be matched: choose a power of two"),
        (TOWERS["resnet"], 20, "do not suit 2 stages"),
        ({**TOWERS["resnet"], "picture_heads": 3}, 16, "cannot be split among 3 heads"),
        ({"width": 32}, 16, "make them equal"),
    ):
        with pytest.raises(SettingsError, match=message):
            CLIP(small(**changes), Conditions(resolution=resolution, sentence_width=16), encoder)
    with pytest.raises(SettingsError, match="one number of blocks"):
        dataclasses.replace(small(**TOWERS["resnet"]), tower="vit")
