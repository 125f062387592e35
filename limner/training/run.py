"""A training run: a recipe becomes a run folder."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from limner import methods
from limner.core.errors import CheckpointError, SettingsError
from limner.core.method import Conditions, Method, Phase
from limner.core.recipes import load_recipe, save_recipe
from limner.core.settings import Recipe
from limner.data.captions import CaptionFeatures
from limner.data.catalog import open_data
from limner.data.loader import Loader
from limner.matching.caption_matching import CaptionMatching, CaptionMatchingSettings
from limner.model import Model, save_model
from limner.training.card import model_card
from limner.training.checkpoints import Checkpoints
from limner.training.log import RunLog
from limner.training.players import Turn, painting
from limner.training.samples import SampleGrid
from limner.training.signals import StopRequest
from limner.training.text import choose_encoder
from limner.training.trainer import Position, Stage, Trainer

MAY_CHANGE = {
    "steps",
    "epochs",
    "minutes",
    "device",
    "devices",
    "nodes",
    "log_every",
    "sample_every",
    "checkpoint_every",
    "keep_checkpoints",
    "tensorboard",
}
"""Training settings that a resumed run may change: they decide when it stops and what it shows, not what a step does."""


@dataclass(frozen=True)
class RunResult:
    """What became of a run. signal: the signal that stopped it before its end, or None."""

    folder: Path
    steps: int
    signal: int | None = None

    @property
    def interrupted(self) -> bool:
        return self.signal is not None


def train(recipe: Recipe, out: Path | str, *, resume: bool = False) -> RunResult:
    """Train as the recipe says and write everything to the run folder `out`.

    With `resume`, go on from the folder's newest whole checkpoint, or begin where there is none. Raises LimnerError
    for what cannot work, before anything is written, and CheckpointError where the end could not be saved.
    """
    out = Path(out)
    if is_first_process(recipe):
        _check_folder(recipe, out, resume)
    fabric = _launch(recipe)
    log = RunLog(out, quiet=fabric.global_rank > 0, tensorboard=recipe.training.tensorboard)
    with StopRequest() as stop:
        try:
            return Run(recipe, out, fabric, log, stop).go(resume)
        finally:
            log.close()


class Run:
    """One process's part of a run."""

    def __init__(self, recipe: Recipe, out: Path, fabric: Fabric, log: RunLog, stop: StopRequest) -> None:
        self.recipe, self.out, self.fabric, self.log, self.stop = recipe, out, fabric, log, stop
        self.training = recipe.training
        self.position = Position()
        self.turns: dict[str, Turn] = {}
        self.grid: SampleGrid | None = None
        torch.manual_seed(self.training.seed)
        self.pictures = open_data(recipe.data, "train", recipe.resolution, recipe.data_settings)
        self.encoder, self.encoder_is_new = choose_encoder(recipe, self.pictures)
        self.stages = list(self._stages())
        self._check_stages()
        for module in self._modules().values():
            module.to(fabric.device)
        self.checkpoints = Checkpoints(out, self.training.keep_checkpoints)
        self.trainer = Trainer(self.training, fabric, log, stop, save=self.save, sample=self.sample)

    def _stages(self) -> Iterator[Stage]:
        """Every phase of the run: those that train the text encoder, where there is none, then the method's."""
        recipe, pictures = self.recipe, self.pictures
        conditions = Conditions(
            resolution=recipe.resolution,
            sentence_width=self.encoder.sentence_width,
            word_width=self.encoder.word_width,
            class_count=pictures.class_count,
        )
        if self.encoder_is_new:
            settings = CaptionMatchingSettings(sentence_width=recipe.text.width, steps=recipe.text.steps, batch_size=recipe.text.batch_size)
            matching = CaptionMatching(settings, conditions, self.encoder)
            for phase in matching.phases():
                yield self._stage("text", matching, phase)
        self.method = methods.get(recipe.method)(recipe.method_settings, conditions)
        phases = self.method.phases()
        for phase in phases:
            if self.training.batch_size:
                phase = dataclasses.replace(phase, batch_size=self.training.batch_size)
            yield self._stage("method", self.method, phase, last=phase.name == phases[-1].name)

    def _stage(self, name: str, method: Method, phase: Phase, last: bool = False) -> Stage:
        epochs = self.training.epochs if last and self.training.epochs is not None else phase.epochs
        steps = phase.steps if phase.steps is not None and not (last and self.training.epochs) else None
        if steps is None:
            assert epochs is not None, f"phase {phase.name} has no budget"
            steps = max(1, math.ceil(epochs * int((self.pictures.caption_counts > 0).sum()) / phase.batch_size))
        if self.training.steps is not None:
            steps = min(steps, self.training.steps)
        return Stage(name=name, method=method, phase=phase, steps=steps, minutes=self.training.minutes if last else None)

    def _check_stages(self) -> None:
        """Refuse what could not be trained, before anything is written."""
        for phase in (stage.phase for stage in self.stages):
            Loader(self.pictures, phase, seed=self.training.seed, processes=self.fabric.world_size)
            if phase.counterfactual and self.recipe.data_settings.counterfactuals < 1:
                raise SettingsError("the method asks for counterfactual captions: set data.counterfactuals to 1 or more")

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"encoder": self.encoder} | {stage.name: stage.method for stage in self.stages}

    def go(self, resume: bool) -> RunResult:
        """Train every stage from where the run stands."""
        if resume and self._restore():
            if self._is_done():
                self.log.say(f"{self.out} is finished after {self.position.total_step:,} steps: nothing to do")
                return RunResult(self.out, self.position.total_step)
            self.log.say(f"going on with {self.out} after step {self.position.total_step:,}")
        else:
            if resume:
                self.log.say(f"nothing to resume in {self.out}: starting from the beginning")
            self._begin()
        while self.position.stage < len(self.stages):
            if not self._train(self.stages[self.position.stage]):
                self._save_or_fail()
                return RunResult(self.out, self.position.total_step, self.stop.signal)
            if self.position.stage + 1 == len(self.stages):
                break
            self.position.next_stage()
            self.turns = {}
            self.save()
        self.position.finished = True
        self._save_or_fail()
        return RunResult(self.out, self.position.total_step)

    def _is_done(self) -> bool:
        """Whether the run had ended, and its budget is not larger now."""
        last = self.stages[-1]
        spent = self.position.step >= last.steps or (last.minutes is not None and self.position.seconds >= last.minutes * 60)
        return self.position.finished and spent

    def _begin(self) -> None:
        if self.fabric.global_rank == 0:
            self.out.mkdir(parents=True, exist_ok=True)
            save_recipe(self.recipe, self.out / "recipe.yaml")
            self.log.drop_after(-1)
        self.fabric.barrier()

    def _train(self, stage: Stage) -> bool:
        if not self.turns:
            self.turns = stage.players(self.training, self.fabric)
        if stage.name == "text" and self.position.step == 0:
            self.log.say(
                f"no text encoder for '{self.pictures.name}': training one first, by matching captions and pictures ({stage.steps:,} steps)"
            )
        self.grid = SampleGrid(self.recipe, self.pictures) if self._paints(stage) and self.fabric.global_rank == 0 else None
        return self.trainer.train(stage, self._loader(stage), self.turns, self.position)

    @staticmethod
    def _paints(stage: Stage) -> bool:
        return any(player.averaged for player in stage.method.players().values())

    def _loader(self, stage: Stage) -> Loader:
        features = None
        if stage.phase.encoded:
            count = self.recipe.data_settings.counterfactuals if stage.phase.counterfactual else 0
            features = CaptionFeatures(self.encoder, self.pictures, counterfactuals=count, device=self.fabric.device)
        return Loader(
            self.pictures,
            stage.phase,
            seed=self.training.seed,
            device=self.fabric.device,
            features=features,
            flip=self.recipe.data_settings.flip,
            rank=self.fabric.global_rank,
            processes=self.fabric.world_size,
        )

    def sample(self) -> None:
        """Paint the sample grid with the averaged weights."""
        if self.grid is not None:
            path = self.out / "samples" / f"{self.position.total_step:08d}.png"
            try:
                with self._painter() as model:
                    self.grid.paint(model, path)
            except OSError as error:
                path.unlink(missing_ok=True)
                self.log.say(f"warning: could not write {path} ({error}): training goes on, free some space")
        self.fabric.barrier()

    @contextmanager
    def _painter(self) -> Iterator[Model]:
        """The model as it would be shared now. Training goes on as if nothing had been."""
        requires_grad = [parameter for parameter in self.method.parameters() if parameter.requires_grad]
        with painting(self.turns):
            yield Model(self.method, self.encoder)
        for parameter in requires_grad:
            parameter.requires_grad_(True)
        self.method.train()

    def save(self) -> None:
        """Write a checkpoint and the model; a failure to write is told and never stops the training."""
        problem = self._save()
        if problem:
            self.log.say(f"warning: {problem}; training goes on")

    def _save_or_fail(self) -> None:
        """The last saving, which no later one could make up for."""
        problem = self._save()
        if problem:
            raise CheckpointError(f"{problem}, then go on from the last checkpoint in {self.out} with --resume")

    def _save(self) -> str | None:
        self._share_statistics()
        problem = self._save_here() if self.fabric.global_rank == 0 else None
        self.fabric.barrier()
        return problem

    def _save_here(self) -> str | None:
        """Save in this process; returns what went wrong and how to mend it, or None."""
        state = self._state()
        values = [value for module in state["modules"].values() for value in module.values() if value.is_floating_point()]
        if not all(bool(torch.isfinite(value).all()) for value in values):
            return f"weights are not finite after step {self.position.total_step:,}: the checkpoint before is kept; lower the learning rate"
        try:
            self.checkpoints.save(self.position.total_step, state)
            self._save_model()
        except (OSError, CheckpointError, RuntimeError) as error:  # torch and safetensors wrap the system's error in a RuntimeError
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            return f"could not save after step {self.position.total_step:,} ({reason}): free some space"
        return None

    def _share_statistics(self) -> None:
        """Make running statistics, which each process kept for its own rows, equal."""
        if self.fabric.world_size > 1:
            for module in self._modules().values():
                for value in module.buffers():
                    if value.is_floating_point():
                        value.copy_(self.fabric.all_reduce(value, reduce_op="mean"))
            for turn in self.turns.values():
                for value in turn.average:
                    value.copy_(self.fabric.all_reduce(value, reduce_op="mean"))

    def _save_model(self) -> None:
        stage = self.stages[self.position.stage]
        if not self._paints(stage) or not self.position.step:
            return
        about = {
            "data": self.pictures.name,
            "fingerprint": self.pictures.fingerprint,
            "preset": self.recipe.preset,
            "steps": self.position.step,
            "images": self.position.step * stage.phase.batch_size,
            "seconds": round(self.position.seconds),
            "seed": self.training.seed,
        }
        with painting(self.turns):
            save_model(
                self.out / "model", self.recipe.method, self.method, self.encoder, about, model_card(self.recipe, self.method, about)
            )

    def _state(self) -> dict[str, Any]:
        stage = self.stages[self.position.stage]
        modules = {name: module.state_dict() for name, module in self._modules().items() if name in ("encoder", stage.name)}
        return {
            "position": dataclasses.asdict(self.position),
            "fingerprint": self.pictures.fingerprint,
            "processes": self.fabric.world_size,
            "torch": str(torch.__version__),
            "modules": modules,
            "turns": {name: turn.state_dict() for name, turn in self.turns.items()},
        }

    def _restore(self) -> bool:
        state = self.checkpoints.load()
        if state is None:
            return False
        if state.get("fingerprint", self.pictures.fingerprint) != self.pictures.fingerprint:
            raise SettingsError(
                f"{self.recipe.data} is not what {self.out} was begun with (prepared anew?): bring that back, or choose another --out"
            )
        self.position = Position(**state["position"])
        stage = self.stages[self.position.stage]
        for name, module in self._modules().items():
            if name in state["modules"]:
                module.load_state_dict(state["modules"][name])
        if state["turns"]:
            self.turns = stage.players(self.training, self.fabric)
            for name, turn in self.turns.items():
                turn.load_state_dict(state["turns"][name])
        for what, then, now in (
            ("processes", state["processes"], self.fabric.world_size),
            ("PyTorch", state["torch"], str(torch.__version__)),
        ):
            if then != now:
                self.log.say(f"warning: the checkpoint was written with {what} {then}, now {now}: the run goes on, but not bit for bit")
        self.log.drop_after(self.position.total_step)
        return True


def is_first_process(recipe: Recipe) -> bool:
    """Whether this is the process that writes and speaks; known before the others are launched."""
    if recipe.training.devices * recipe.training.nodes == 1:
        return True
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
    return all(os.environ.get(rank, "0") == "0" for rank in ranks)


def _check_folder(recipe: Recipe, out: Path, resume: bool) -> None:
    """Refuse a folder that another run has, or a resumed run whose steps would not be the same."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir():
        raise CheckpointError(f"{out} is a file: give a folder for the run")
    if not resume:
        raise CheckpointError(f"{out} exists already: go on with it by --resume, or choose another --out")
    if not (out / "recipe.yaml").exists():
        raise CheckpointError(f"{out} holds something that is no run: choose another --out")
    before, now = _comparable(load_recipe(out / "recipe.yaml")), _comparable(recipe)
    changed = [name for name in now if before[name] != now[name]]
    if changed:
        name = changed[0]
        raise SettingsError(
            f"{out} was begun with {name} {before[name]}, not {now[name]}: resume it with its own settings, or choose another --out"
        )


def _comparable(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide what a step does, flat, by their names on the command line."""
    groups = {"method": recipe.method_settings, "training": recipe.training, "data": recipe.data_settings, "text": recipe.text}
    values = {"method": recipe.method, "data": recipe.data, "resolution": recipe.resolution}
    for group, settings in groups.items():
        for name, value in dataclasses.asdict(settings).items():
            if group != "training" or name not in MAY_CHANGE:
                values[f"{group}.{name.replace('_', '-')}"] = list(value) if isinstance(value, tuple) else value
    return values


def _launch(recipe: Recipe) -> Fabric:
    """Start the processes of the run and say which device each has."""
    settings = recipe.training
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise SettingsError("device is cuda, but PyTorch sees no GPU here: use --device cpu or auto")
    accelerator = "cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and settings.devices > torch.cuda.device_count():
        raise SettingsError(f"training.devices is {settings.devices}, but PyTorch sees {torch.cuda.device_count()} GPUs: lower it")
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)  # its notices of what it starts are for developers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(
            accelerator=accelerator,
            devices=settings.devices,
            precision=settings.precision,
            num_nodes=settings.nodes,
            strategy="ddp" if settings.devices * settings.nodes > 1 else "auto",
        )
        if settings.devices > 1 and accelerator == "cpu":
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // settings.devices))
        fabric.launch()
    return fabric
