"""The style phase: after the method or added later, the same; the generator stands still with its averaged weights; exact resume."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from limner.cli.main import main
from limner.core import random
from limner.core.batch import Batch
from limner.core.errors import SettingsError
from limner.core.method import Method, Painting
from limner.core.noise import Noise, gaussian
from limner.core.recipes import load_recipe
from limner.core.settings import StyleSettings
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Progress
from limner.methods.gan_cls import GANCLS, GANCLSSettings
from limner.model import load
from limner.parts.style import StyleInversion
from limner.training.checkpoints import Checkpoints
from limner.training.trained import trained_method

BASE = """--data garden --preset cpu --resolution 16 --device cpu --method.generator-channels 4 --method.discriminator-channels 4
--method.batch-size 16 --data.garden-pictures 100 --training.checkpoint-every 10 --training.log-every 5 --training.keep-checkpoints 20
--training.epochs 3""".split()
STYLE = "--style.steps 30 --style.batch-size 8 --style.channels 4".split()
STEPS = 19  # 3 passes over 100 pictures, 16 a step


def run(out: Path, *more: str) -> None:
    assert main(["train", "gan-cls", "--out", str(out), *more]) == 0


def newest(out: Path) -> dict[str, Any]:
    state = Checkpoints(out).load()
    assert state is not None
    return state


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a if key not in ("seconds", "core_seconds"))
    return len(a) == len(b) and all(map(same, a, b)) if isinstance(a, list) else bool(a == b)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without style encoder."""
    out = tmp_path_factory.mktemp("plain") / "run"
    run(out, *BASE)
    return out


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Method and style encoder in one go."""
    out = tmp_path_factory.mktemp("straight") / "run"
    run(out, *BASE, *STYLE)
    return out


def test_the_phase_has_a_budget_of_its_own_and_a_log(straight: Path) -> None:
    lines = [json.loads(line) for line in (straight / "log.jsonl").read_text().splitlines()]
    steps = {phase: max(line["step"] for line in lines if line["phase"] == phase) for phase in ("gan", "style")}
    assert steps == {"gan": STEPS, "style": 30}  # the passes of --training.epochs are the GAN's
    assert all(np.isfinite(line["style/explained"]) for line in lines if line["phase"] == "style")
    assert newest(straight)["position"] | {"seconds": 0, "core_seconds": 0} == {
        "phase": 1,
        "step": 30,
        "total_step": STEPS + 30,
        "seconds": 0,
        "core_seconds": 0,
        "best": None,
        "best_step": 0,
        "since_best": 0,
        "evaluated": 0,
        "earlier": {},
        "finished": True,
    }


def test_added_to_a_finished_run_it_is_the_same_and_stays(plain: Path, straight: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(plain, out)
    before = load(out)
    assert before.style is None
    run(out, "--resume", *STYLE)
    assert same(newest(out), newest(straight))
    assert load_recipe(out / "recipe.yaml") == load_recipe(straight / "recipe.yaml")

    model = load(out)
    assert model.style is not None and model.about == before.about | {"style_steps": 30}
    captions = ["a red flower", "a blue flower at night"]
    assert np.array_equal(model.pictures(captions, [0, 1]), before.pictures(captions, [0, 1]))
    noise = model.noise(0, [0, 1])
    assert model.invert(model.paint(model.encode(captions), noise)).z.shape == noise.z.shape  # type: ignore[attr-defined]
    assert trained_method(out).look(torch.zeros(1, 3, 16, 16)).ndim == 2  # the discriminator is kept


def test_the_painter_is_the_averaged_one(plain: Path, straight: Path) -> None:
    method = newest(straight)["modules"]["method"]
    finished = newest(plain)
    generator = GANCLS(dataclasses.replace(load_recipe(plain / "recipe.yaml").method_settings), load(plain).method.conditions).generator
    tensors = [*generator.named_parameters(), *generator.named_buffers()]
    names = [name for name, value in tensors if value.is_floating_point()]
    averages = dict(zip(names, finished["players"]["generator"]["average"], strict=True))
    assert all(torch.equal(method[f"generator.{name}"], value) for name, value in averages.items())
    assert not all(torch.equal(finished["modules"]["method"][f"generator.{name}"], value) for name, value in averages.items())


@pytest.mark.parametrize("step", [STEPS, STEPS + 10])
def test_killed_within_the_phase_it_goes_on_bit_for_bit(step: int, straight: Path, tmp_path: Path) -> None:
    """What `kill -9` leaves: the checkpoints up to some step, and a model and a log that may be newer."""
    out = tmp_path / "run"
    shutil.copytree(straight, out)
    for folder in (out / "checkpoints").iterdir():
        if int(folder.name) > step:
            shutil.rmtree(folder)
    state = newest(out)
    assert state["position"]["phase"] == 1 and state["position"]["step"] in (0, 10)
    run(out, "--resume")
    assert same(newest(out), newest(straight))
    assert same(load(out).style.state_dict(), load(straight).style.state_dict())  # type: ignore[union-attr]


def test_a_run_that_has_one_keeps_it(straight: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(straight, "--resume")
    assert f"finished after {STEPS + 30} steps: nothing to do" in capsys.readouterr().err
    for steps in ("40", "0"):
        assert main(["train", "gan-cls", "--out", str(straight), "--resume", "--style.steps", steps]) == 2
        assert f"begun with style.steps 30, not {steps}" in capsys.readouterr().err


def test_steps_cap_this_phase_too(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(plain, out)
    run(out, "--resume", *STYLE, "--steps", "3")
    assert newest(out)["position"]["total_step"] == STEPS + 3


@dataclass(frozen=True)
class LinearNoise(Noise):
    z: Tensor
    more: Tensor


class Linear(Method):
    """A painter whose noises are all there is to see: each number is a patch of the picture, in a colour that the sentence dims."""

    Settings = StyleSettings
    title = paper = "linear"
    presets = {}

    def __init__(self, draw: Any = gaussian) -> None:
        super().__init__(StyleSettings(), Conditions(resolution=16, sentence_width=2))
        self.generator = nn.Linear(16, 3 * 256)
        nn.init.orthogonal_(self.generator.weight)
        self.draw = draw

    def players(self) -> Any:
        raise NotImplementedError

    phases = training_step = players  # type: ignore[assignment]

    def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> LinearNoise:
        return LinearNoise(self.draw((12,), seed, samples, stream), gaussian((4,), seed, samples, f"{stream} more"))

    def paint(self, text: TextFeatures, noise: Noise) -> Painting:
        assert isinstance(noise, LinearNoise)
        flat = self.generator(torch.cat((noise.z, noise.more), dim=1)) * 4 + text.sentence.mean(1, keepdim=True)
        return Painting(torch.tanh(flat).view(-1, 3, 16, 16))


def inversion_of(painter: Method, name: str, **settings: Any) -> StyleInversion:
    return StyleInversion(StyleSettings(**settings), painter.conditions, painter=painter, name=name)


def batch_of(step: int, size: int = 32) -> Batch:
    numbers = step * size + np.arange(size)
    text = TextFeatures(sentence=gaussian((2,), 0, numbers, "text") * 0.1)
    return Batch(torch.zeros(size, 3, 16, 16), [[""]] * size, (text,), numbers, numbers, seed=0)


def test_it_finds_the_noise_and_no_gradient_reaches_the_generator() -> None:
    torch.manual_seed(0)
    painter = Linear()
    before = {name: value.clone() for name, value in painter.state_dict().items()}
    inversion = inversion_of(painter, "linear", steps=120, channels=8)
    inversion.train()
    assert not painter.training and not any("generator" in name for name in inversion.state_dict())
    player = inversion.players()["style"]
    optimizer = torch.optim.Adam(player.module.parameters(), lr=2e-3)
    explained = []
    for step in range(120):
        (update,) = inversion.training_step(batch_of(step), Progress(phase="style", step=step, steps=120, images=0, epoch=0.0))
        optimizer.zero_grad()
        update.loss.backward()  # to every parameter that it depends on
        optimizer.step()
        explained.append(float(update.metrics["explained"]))
    assert abs(explained[0]) < 0.5 and explained[-1] > 0.7
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in painter.parameters())
    assert all(torch.equal(value, before[name]) for name, value in painter.state_dict().items())
    found = inversion.encoder(torch.zeros(2, 3, 16, 16))
    assert {name: value.shape for name, value in found.items()} == {"z": (2, 12), "more": (2, 4)}


def uniform(shape: tuple[int, ...], seed: int, samples: ArrayLike, stream: str) -> Tensor:
    return torch.from_numpy(random.uniform(seed, stream, np.asarray(samples)[:, None], np.arange(shape[0]))).float() * 12**0.5 - 3**0.5


def test_other_noise_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def integers(*arguments: Any) -> Tensor:
        return gaussian(*arguments).round().long()

    def maps(shape: tuple[int, ...], *arguments: Any) -> Tensor:
        return gaussian((*shape, 2, 2), *arguments)

    for draw in (uniform, integers, maps):  # a uniform draw of mean 0 and variance 1 is no Gaussian one
        with pytest.raises(
            SettingsError, match="linear paints from a noise 'z' that is not a vector of standard normal numbers, .*: leave style"
        ):
            inversion_of(Linear(draw), "linear")

    class Still(GANCLS):
        def draw_noise(self, seed: int, samples: ArrayLike, stream: str = "paint") -> Any:
            return Noise()

    still = Still(GANCLSSettings(generator_channels=4), Conditions(resolution=16, sentence_width=4))
    with pytest.raises(SettingsError, match="still uses no noise"):
        inversion_of(still, "still")
    words = ["train", "sje", "--data", "garden", "--out", str(tmp_path / "run"), "--style.steps", "5", "--device", "cpu"]
    assert main(words) == 2
    assert "sje paints nothing, so there is no style to find: leave style.steps out" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
