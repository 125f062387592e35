"""What every method keeps to, whatever its paper: a method that is added has these tests by its name.

What is a paper's own (its losses, sizes and settings) is tested in the method's own file.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared.batches import CAPTIONS, CLASSES, LABELS, batch_of, make_text
from shared.pictures import Captioned
from shared.tiny_runs import same, state_of, tiny
from torch import Tensor, nn

import limner
from limner import methods
from limner.core.method import Method
from limner.core.recipes import from_preset
from limner.core.settings import TrainingSettings
from limner.core.text import TextFeatures
from limner.core.trainable import Phase, Progress
from limner.model import save_model
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.training.choices import prepare_networks
from limner.training.players import PlayerTraining, Statistics
from limner.training.run import train

RESOLUTION, WIDTH, SIZE, STEPS, FRAMES = 32, 8, 4, 2, 4
ROUNDING = 2.0**20 * 2.0**-53
"""How far two orders of computing in float64 may lie apart: a million roundings of numbers up to 1, one ten-thousandth of a rounding in
float32. What one picture of a batch does to another is larger by many orders."""
TURNS_AT_MOST = 12
"""Steps within which every player of a phase has had a turn."""


@pytest.fixture(scope="module", params=methods.built_in())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build(name: str, seed: int = 0) -> Method:
    settings = dataclasses.asdict(tiny(name, STEPS).method_settings)
    conditions = {"resolution": RESOLUTION, "sentence_width": WIDTH, "word_width": WIDTH, "class_count": CLASSES, "frames": FRAMES}
    conditions["labels"] = LABELS
    return limner.create(name, preset="cpu", seed=seed, **conditions, **settings)


@dataclasses.dataclass(frozen=True)
class Taken:
    """One turn of one player: what it changed."""

    phase: Phase
    player: str
    loss: Tensor
    skipped: bool
    changed: set[str]
    """Names of all weights that are not what they were: the method's, and those of its guides."""


@dataclasses.dataclass(frozen=True)
class Played:
    """A method after a few steps of each of its phases, taken as the trainer takes them."""

    name: str
    method: Method
    turns: list[Taken]
    untouched: dict[str, list[str]]
    """By phase, the trainable weights of its players that no turn has had a gradient for."""


@pytest.fixture(scope="module")
def played(name: str) -> Played:
    method = build(name)
    taken: list[Taken] = []
    untouched = {}
    for phase in method.phases():
        method.prepare(phase, Captioned(CAPTIONS))
        method.begin(phase)
        method.train()
        statistics, players = Statistics(method), method.players()
        turns = {player: PlayerTraining(players[player], statistics, ema_half_life=100.0) for player in phase.players or players}
        for step in range(TURNS_AT_MOST):
            if step >= STEPS and all(turn.updates for turn in turns.values()):
                break
            progress = Progress(phase=phase.name, step=step, steps=STEPS, images=step * phase.batch_size, epoch=0.0)
            torch.manual_seed(step)
            updates, before = method.training_step(batch_of(phase, WIDTH, WIDTH, seed=step), progress), copied(method)
            update = next(updates, None)
            assert not changed(method, before), f"{phase.name} changes weights before anyone has had a turn"
            while update is not None:
                current, skipped = update, turns[update.player].take(update.loss, progress, phase.batch_size)
                update = next(updates, None)  # what a step does to weights after a turn, such as clipping them, belongs to that turn
                taken.append(Taken(phase, current.player, current.loss.detach(), bool(skipped), changed(method, before)))
                before = copied(method)
        names = {id(value): key for key, value in weights(method).items()}
        untouched[phase.name] = [
            names[id(value)] for turn in turns.values() for value in turn.parameters if value not in turn.optimizer.state
        ]
    return Played(name, method.eval(), taken, untouched)


def weights(method: Method) -> dict[str, Tensor]:
    """All weights by name, and everything that its guides hold."""
    guides = {f"{name}: {key}": value for name, guide in method.guides.items() for key, value in guide.state_dict().items()}
    return {**dict(method.named_parameters()), **guides}


def copied(method: Method) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in weights(method).items()}


def changed(method: Method, before: dict[str, Tensor]) -> set[str]:
    return {key for key, value in weights(method).items() if not torch.equal(value, before[key])}


def doubled(value: Any) -> Any:
    """Text features or noise in float64."""
    changed = {
        field.name: part.double()
        for field in dataclasses.fields(value)
        if isinstance(part := getattr(value, field.name), Tensor) and part.is_floating_point()
    }
    return dataclasses.replace(value, **changed)


@torch.no_grad()
def paint(method: Method, rows: slice = slice(None), seed: int = 3) -> list[Tensor]:
    """Pictures of some captions in float64, on their way and final: each a batch of its own length, with the padding that it needs."""
    exact = copy.deepcopy(method).double().eval()
    text = doubled(asked()[rows])
    assert text.words is not None and text.mask is not None
    longest = int(text.mask.sum(1).max())
    text = dataclasses.replace(text, words=text.words[:, :longest], mask=text.mask[:, :longest])
    painting = exact.paint(text, doubled(exact.draw_noise(seed, np.arange(len(CAPTIONS))[rows])))
    return [*painting.stages, painting.images]


def asked() -> TextFeatures:
    """Captions of several lengths, to be painted."""
    return make_text(CAPTIONS, torch.Generator().manual_seed(9), width=WIDTH, words=WIDTH)


def assert_equal_pictures(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype == torch.float64
        torch.testing.assert_close(one, other, rtol=0.0, atol=ROUNDING)


def test_every_preset_builds(name: str) -> None:
    """As a recipe, whose phases fit together and end at the picture's size; on no device, for published widths are wide."""
    presets, fresh = methods.get(name).presets, build(name)
    assert {"as-published", "cpu"} <= presets.keys()
    for preset, values in presets.items():
        recipe = from_preset(name, preset, "garden")
        assert recipe.resolution == values.resolution and values.sentence.endswith(".")
        with torch.device("meta"):
            sizes = {"sentence_width": 256, "word_width": 256, "class_count": CLASSES, "frames": FRAMES, "labels": LABELS}
            method = limner.create(name, preset=preset, **sizes)
        for key, value in fresh.named_buffers(recurse=False):  # such as which of its phases it stands in: to be read, it must be real
            method.register_buffer(key, value)
        assert method.settings == recipe.method_settings
        phases, players = method.phases(), method.players()
        assert len({phase.name for phase in phases}) == len(phases) > 0, "phases are told apart by their names"
        assert phases[-1].resolution == method.resolution == recipe.resolution
        assert all((phase.epochs or phase.steps or phase.images) and phase.batch_size > 0 for phase in phases)
        playing = {player for phase in phases for player in phase.players or players}
        assert playing == set(players), "every player plays in some phase"
        assert any(player.averaged for player in players.values()), "somebody paints"


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_recomputed_maps_give_the_same_weights(name: str, penalty: float) -> None:
    """Weights, averages of batches and the like, after a few steps of each phase, to the last bit; first and second derivatives."""
    found = []
    for recompute in (False, True):
        method = build(name)
        if penalty and not hasattr(method.settings, "gradient_penalty"):
            pytest.skip(f"{name} has no penalty on gradients")
        if hasattr(method.settings, "gradient_penalty"):
            method.settings = dataclasses.replace(method.settings, gradient_penalty=penalty, penalty_every=1)
        for phase in method.phases():
            torch.manual_seed(0)
            method.prepare(phase, Captioned(CAPTIONS))
            method.begin(phase)
            method.train()
            prepare_networks(method, TrainingSettings(recompute=recompute))
            statistics, players = Statistics(method), method.players()
            turns = {player: PlayerTraining(players[player], statistics) for player in phase.players or players}
            for step in range(STEPS):
                torch.manual_seed(step)
                progress = Progress(phase=phase.name, step=step, steps=STEPS, images=step * phase.batch_size, epoch=0.0)
                for update in method.training_step(batch_of(phase, WIDTH, WIDTH, seed=step), progress):
                    turns[update.player].take(update.loss, progress, phase.batch_size)
        found.append(method.state_dict())
    assert found[0].keys() == found[1].keys()
    assert [key for key, value in found[0].items() if not torch.equal(value, found[1][key])] == []


def test_a_turn_changes_its_own_player_alone(played: Played) -> None:
    modules = {name: player.module for name, player in played.method.players().items()}
    names = {id(value): key for key, value in weights(played.method).items()}
    own = {name: {names[id(value)] for value in module.parameters()} for name, module in modules.items()}
    assert sum(map(len, own.values())) == len(set().union(*own.values())), "a weight belongs to one player"
    for turn in played.turns:
        assert turn.loss.ndim == 0 and turn.loss.isfinite() and not turn.skipped
        assert turn.changed and not turn.changed - own[turn.player], f"the turn of {turn.player} in {turn.phase.name}"
    for phase in played.method.phases():
        had = {turn.player for turn in played.turns if turn.phase.name == phase.name}
        assert had == set(phase.players or modules), f"who plays in {phase.name}"
    assert not any(played.untouched.values()), "weights that are trained and that no loss depends on"


def test_a_picture_is_the_same_alone_and_in_a_batch(played: Played) -> None:
    together = paint(played.method)
    side = together[-1].shape[-1]
    assert together[-1].shape == (len(CAPTIONS), 3, side, side) and side == RESOLUTION
    assert together[-1].abs().max() <= 1.0
    for row in range(len(CAPTIONS)):
        assert_equal_pictures(paint(played.method, slice(row, row + 1)), [picture[row : row + 1] for picture in together])
    pairs = [(a, b) for b in range(len(CAPTIONS)) for a in range(b)]
    assert all((together[-1][a] - together[-1][b]).abs().max() > 1e4 * ROUNDING for a, b in pairs), "no two are alike"
    other = paint(played.method, seed=4)
    assert all((a - b).abs().max() > 1e4 * ROUNDING for a, b in zip(together[-1], other[-1], strict=True)), "and the seed matters"


def test_what_is_saved_paints_the_same(played: Played, tmp_path: Path) -> None:
    """As a state dictionary, and as a model folder, with no weights but those that paint."""
    expected, state = paint(played.method), played.method.state_dict()
    again = build(played.name, seed=1)
    again.load_state_dict(copy.deepcopy(state))
    assert same(dict(again.state_dict()), dict(state))
    assert_equal_pictures(paint(again), expected)

    encoder = LSTMEncoder(Vocabulary(sorted({word for caption in CAPTIONS for word in caption.split()})), LSTMSettings(width=WIDTH))
    save_model(tmp_path / "model", played.name, played.method, encoder, {"data": "garden"}, "A card.")
    model = limner.load(tmp_path / "model")
    assert model.method.settings == played.method.settings and model.method.conditions == played.method.conditions
    assert same(model.method.kept(), played.method.kept())
    assert_equal_pictures(paint(model.method), expected)
    pictures = model.generate(CAPTIONS[0], n=2, seed=1)
    assert [picture.size for picture in pictures] == [(RESOLUTION, RESOLUTION)] * 2


def test_a_run_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Two steps of each phase in one go, and from what was kept after the first of each: weights, statistics, optimisers, averages."""
    phases, recipe = build(name).phases(), tiny(name, STEPS, keep_checkpoints=100)
    total = STEPS * len(phases)
    assert train(recipe, tmp_path / "straight").steps == total
    kept = sorted(int(checkpoint.name) for checkpoint in (tmp_path / "straight" / "checkpoints").iterdir())
    assert kept == list(range(1, total + 1))
    for number in range(len(phases)):
        run = tmp_path / f"halted-{number}"
        shutil.copytree(tmp_path / "straight", run)
        shutil.rmtree(run / "model")
        for step in kept[STEPS * number + 1 :]:
            shutil.rmtree(run / "checkpoints" / f"{step:08d}")
        assert train(recipe, run, resume=True).steps == total
        assert same(state_of(run), state_of(tmp_path / "straight"))
        models = [(folder / "model" / "model.safetensors").read_bytes() for folder in (run, tmp_path / "straight")]
        assert models[0] == models[1]


class Painter(nn.Module):
    """A method as a function of tensors."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method, self.noise = method, type(method.draw_noise(0, [0]))

    def forward(self, sentence: Tensor, words: Tensor, mask: Tensor, tokens: Tensor, *noise: Tensor) -> Tensor:
        return self.method.paint(TextFeatures(sentence, words, mask, tokens), self.noise(*noise)).images


def test_painting_can_be_exported(played: Played) -> None:
    """torch.export writes down the whole of painting, and what it wrote paints the same."""
    painter, text = Painter(copy.deepcopy(played.method).double().eval()), doubled(asked())
    noise = doubled(played.method.draw_noise(3, np.arange(len(text))))
    arguments = (text.sentence, text.words, text.mask, text.tokens, *(getattr(noise, field.name) for field in dataclasses.fields(noise)))
    with torch.no_grad():
        written = torch.export.export(painter, arguments, strict=False).module()
        torch.testing.assert_close(written(*arguments), painter(*arguments), rtol=0.0, atol=ROUNDING)


SCRIPT = Path(__file__).with_name("contract_processes.py")


def test_two_processes_keep_equal_weights(tmp_path: Path) -> None:
    """One pair of processes trains every method for two steps a phase, on pictures of its own each."""
    root = SCRIPT.parents[2]
    paths = os.pathsep.join([str(root), str(root / "tests")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    result = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    first, second = (json.loads((tmp_path / f"process-{rank}.json").read_text()) for rank in (0, 1))
    assert list(first) == list(second) == methods.built_in()
    assert [name for name in first if first[name]["weights"] != second[name]["weights"]] == []
    assert [name for name in first if first[name]["weights"] == first[name]["before"]] == []
    assert [name for name in first if set(first[name]["rows"]) & set(second[name]["rows"])] == []
