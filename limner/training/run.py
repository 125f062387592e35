"""A training run: a recipe becomes a run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from limner.core.errors import CheckpointError, LimnerError, SettingsError, in_words
from limner.core.recipes import load_recipe, save_recipe
from limner.core.registry import keep_copy
from limner.core.settings import Recipe
from limner.data.captions import CaptionFeatures
from limner.data.catalog import BUILT_IN
from limner.data.loader import Loader
from limner.matching.model import MatchingModel
from limner.matching.saving import save_matching
from limner.model import save_model
from limner.training.card import matching_card, model_card
from limner.training.checkpoints import Checkpoints
from limner.training.choices import compile_networks, settled
from limner.training.folder import check_place, owner
from limner.training.inputs import with_places, write_inputs
from limner.training.launch import going_on, is_first_process, launch
from limner.training.log import RunLog
from limner.training.plan import check_stages, make_plan, training_pictures
from limner.training.players import Turn, painting
from limner.training.side_work import SideWork
from limner.training.signals import StopRequest
from limner.training.text import caption_remarks, read_as_before
from limner.training.trainer import Position, Stage, Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class RunResult:
    """What became of a run. signal: the signal that stopped it before its end, or None."""

    folder: Path
    steps: int
    signal: int | None = None

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped the run before its end."""
        return self.signal is not None


def train(recipe: Recipe, out: Path | str, *, resume: bool = False) -> RunResult:
    """Train as the recipe says and write everything to the run folder `out`.

    With `resume`, go on from the folder's newest whole checkpoint, or begin where there is none. Raises LimnerError
    for what cannot work, before anything is written, and CheckpointError where the end could not be saved.
    """
    out = Path(out)
    first = is_first_process(recipe)
    with owner(out) if first else nullcontext():
        if first:
            check_place(out, resume)
        recipe, moved = settled(recipe, out if resume else None), {}
        if resume and (out / "recipe.yaml").is_file():
            found = going_on(recipe, out)
            recipe, moved = found.recipe, found.moved
        if recipe.data not in BUILT_IN:
            training_pictures(recipe)  # whether they are there: before what takes long to load
        fabric = launch(recipe)
        log = RunLog(out, quiet=fabric.global_rank > 0, tensorboard=recipe.training.tensorboard)
        with StopRequest() as stop:
            try:
                return Run(recipe, out, fabric, log, stop, moved).go(resume)
            finally:
                log.close()


class Run:
    """One process's part of a run. moved: what a run that goes on reads from another place now, by the names of the settings."""

    def __init__(
        self, recipe: Recipe, out: Path, fabric: Fabric, log: RunLog, stop: StopRequest, moved: Mapping[str, str] | None = None
    ) -> None:
        self.recipe, self.out, self.fabric, self.log, self.stop = recipe, out, fabric, log, stop
        self.training = recipe.training
        self.position = Position()
        self.turns: dict[str, Turn] = {}
        self.made: dict[str, Any] | None = None
        self.moved = moved or {}
        self.remarks = [f"{name} moved: going on with {place}" for name, place in self.moved.items()]
        """What is to be said before training begins."""
        self._saved: Position | None = None
        torch.manual_seed(self.training.seed)
        self.pictures = training_pictures(recipe)
        plan = make_plan(recipe, self.pictures)
        self.encoder, self.method, self.stages, self.style = plan.encoder, plan.method, plan.stages, plan.style
        check_stages(self.stages, recipe, self.pictures, fabric.world_size)
        self.side_work = SideWork(self)
        for module in self._modules().values():
            module.to(fabric.device)
        self.checkpoints = Checkpoints(out, self.training.keep_checkpoints)
        self.trainer = Trainer(
            self.training,
            fabric,
            log,
            stop,
            save=self.save,
            sample=self.side_work.sample,
            evaluate=self.side_work.evaluate,
            stages=self.stages,
        )

    def _modules(self) -> dict[str, torch.nn.Module]:
        named: dict[str, torch.nn.Module] = {stage.name: stage.method for stage in self.stages}
        if not isinstance(self.method, MatchingModel):  # whose text encoder is part of it
            named["encoder"] = self.encoder
        return named

    def go(self, resume: bool) -> RunResult:
        """Train every stage from where the run stands."""
        if resume and self._restore():
            self.fabric.barrier()  # before the recipe changes that every process has read
            if self._is_done():
                self._keep_places()
                self.log.say(f"{self.out} is finished after {self.position.total_step:,} steps: nothing to do")
                return RunResult(self.out, self.position.total_step)
            self.log.say(f"going on with {self.out} after step {self.position.total_step:,}")
            self._keep_settings()
            self.position.finished = False
        else:
            if resume:
                self.log.say(f"nothing to resume in {self.out}: starting from the beginning")
            self._begin()
        for remark in [*self.remarks, *self.side_work.remarks]:
            self.log.say(remark)
        while self.position.stage < len(self.stages):
            if not self._train(self.stages[self.position.stage]):
                self._save_or_fail()
                return RunResult(self.out, self.position.total_step, self.stop.signal)
            if self.position.stage + 1 == len(self.stages):
                break
            self.save()  # the model as this phase leaves it: the next one has none before its first checkpoint
            self._next_stage()
            self.save()
        self.position.finished = True
        self._save_or_fail()
        return RunResult(self.out, self.position.total_step)

    def _is_done(self) -> bool:
        """Whether the run had ended, and its budget is not larger now, nor has it another phase to go through."""
        if self.position.stage + 1 < len(self.stages):
            return False
        last = self.stages[-1]
        spent = self.position.step >= last.steps or (last.minutes is not None and self.position.seconds >= last.minutes * 60)
        return self.position.finished and spent

    def _next_stage(self) -> None:
        ended = self.stages[self.position.stage]
        about = self._about(ended)
        self.position.next_stage()
        stage = self.stages[self.position.stage]
        if stage.name == "style":
            self.made = about
        # Who plays on goes on as it is; of the others stays what would be shared: their averaged weights.
        going_on = stage.players() if stage.method is ended.method else {}
        for name, turn in self.turns.items():
            if name not in going_on:
                turn.exchange()
        self.turns = {name: turn for name, turn in self.turns.items() if name in going_on}

    def _keep_settings(self) -> None:
        """What a resumed run is trained with from now on becomes its recipe, so that this says what was trained."""
        if self.fabric.global_rank == 0:
            save_recipe(self.recipe, self.out / "recipe.yaml")
            write_inputs(self.recipe, self.out)

    def _keep_places(self) -> None:
        """A finished run's recipe finds what has moved; else it says what was trained, whatever this command asks for."""
        if self.moved and self.fabric.global_rank == 0:
            stored = with_places(load_recipe(self.out / "recipe.yaml"), self.moved)
            save_recipe(stored, self.out / "recipe.yaml")
            write_inputs(stored, self.out)
            self.log.say(self.remarks[0])

    def _begin(self) -> None:
        if self.fabric.global_rank == 0:
            self.out.mkdir(parents=True, exist_ok=True)
            save_recipe(self.recipe, self.out / "recipe.yaml")
            write_inputs(self.recipe, self.out)
            keep_copy(self.recipe.method, self.out)
            self.log.drop_after(-1)
            for remark in caption_remarks(self.recipe, self.pictures, self.encoder):
                self.log.say(remark)
        self.fabric.barrier()

    def _train(self, stage: Stage) -> bool:
        stage.method.begin(stage.phase)
        if self.training.compile == "networks":
            compile_networks(stage.method)
        self.turns = stage.turns(self.training, self.fabric, before=self.turns)
        if isinstance(stage.method, MatchingModel):
            stage.method.prepare(self.pictures)
        if stage.name == "text" and self.position.step == 0:
            self.log.say(
                f"no text encoder for '{self.pictures.name}': training one first, by matching captions and pictures ({stage.steps:,} steps)"
            )
        if stage.name == "style" and self.position.step == 0:
            self.log.say(f"training a style encoder, which finds the noise that a picture was painted from ({stage.steps:,} steps)")
        return self.trainer.train(stage, self._loader(stage), self.turns, self.position)

    def _loader(self, stage: Stage) -> Loader:
        features = None
        if stage.phase.encoded:
            count = self.recipe.data_settings.counterfactuals if stage.phase.counterfactual else 0
            words = stage.phase.words and self.encoder.word_width is not None
            features = CaptionFeatures(self.encoder, self.pictures, words=words, counterfactuals=count, device=self.fabric.device)
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

    def write_matching(self, score: float | None) -> None:
        """Write the matching model as it is now, which an evaluation gave this score. Raises CheckpointError where that cannot be."""
        assert isinstance(self.method, MatchingModel)
        about = self._about(self.stages[self.position.stage]) | {"score": score}
        save_matching(self.out / "model", self.recipe.method, self.method, about, matching_card(self.recipe, self.method, about))

    def save(self) -> None:
        """Write a checkpoint and the model; a failure to write is told and never stops the training. What is saved already stays."""
        problem = self._save()
        if problem:
            self.log.say(f"warning: {problem}; the run goes on")

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
        """Save in this process; returns what went wrong and what to do, or None."""
        if self._saved == dataclasses.replace(self.position):
            return None
        state = self._state()
        values = [value for module in state["modules"].values() for value in module.values() if value.is_floating_point()]
        if not all(bool(torch.isfinite(value).all()) for value in values):
            return f"weights are not finite after step {self.position.total_step:,}: the checkpoint before is kept; lower the learning rate"
        problems: list[str] = []
        writes = [lambda: self.checkpoints.save(self.position.total_step, state), self._save_model]
        if self.position.finished:  # beside the checkpoint that says so lies the model of the end; the state of its step is saved already
            writes.reverse()
        for write in writes:
            try:
                write()
            except Exception as error:  # also that of a card: nothing that goes with a model may cost what was trained
                hint = "" if isinstance(error, LimnerError) else ": free some space"
                problems.append(f"could not save after step {self.position.total_step:,} ({in_words(error)}){hint}")
                if self.position.finished:
                    break
        if problems:
            return problems[0]
        self._saved = dataclasses.replace(self.position)
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
        if stage.name == "style":
            self._write_model(self._about(stage), style=bool(self.position.step))
            return
        if stage.method is not self.method or not self.position.step:
            return
        if isinstance(self.method, MatchingModel):
            if self.position.best is None:  # nothing chooses among its states: the newest is kept
                self.write_matching(None)
            return
        self._write_model(self._about(stage))

    def _write_model(self, about: dict[str, Any], style: bool = False) -> None:
        card = model_card(self.recipe, self.method, about)
        encoder = self.style.encoder if style and self.style else None
        with painting(self.turns):
            save_model(self.out / "model", self.recipe.method, self.method, self.encoder, about, card, style=encoder)

    def _about(self, stage: Stage) -> dict[str, Any]:
        """What is known of the model's making; in the style phase, what was known of the method's, and how long S has been trained."""
        if stage.name == "style" and self.made is not None:
            return self.made | ({"style_steps": self.position.step} if self.position.step else {})
        return {
            "data": self.pictures.name,
            "split": self.pictures.split,
            "fingerprint": self.pictures.fingerprint,
            "preset": self.recipe.preset,
            "steps": self.position.step,
            "images": self.position.step * stage.phase.batch_size,
            "seconds": round(self.position.seconds),
            "seed": self.training.seed,
        }

    def _state(self) -> dict[str, Any]:
        stage = self.stages[self.position.stage]
        kept = {"encoder", stage.name} | ({"method"} if stage.name == "style" else set())
        modules = {name: module.state_dict() for name, module in self._modules().items() if name in kept}
        return {
            "position": dataclasses.asdict(self.position),
            "fingerprint": self.pictures.fingerprint,
            "processes": self.fabric.world_size,
            "torch": str(torch.__version__),
            "modules": modules,
            "splitting": "characters",
            "turns": {name: turn.state_dict() for name, turn in self.turns.items()},
            "made": self.made,
        }

    def _restore(self) -> bool:
        state = self.checkpoints.load()
        if state is None:
            return False
        if state.get("fingerprint", self.pictures.fingerprint) != self.pictures.fingerprint:
            raise SettingsError(
                f"{self.recipe.data} is not what {self.out} was begun with (its fingerprint is {self.pictures.fingerprint}, and was "
                f"{state['fingerprint']}; prepared anew?): bring that back, give its place by --data DIR, or choose another --out"
            )
        self.position = Position(**state["position"])
        self.made = state.get("made")
        stage = self.stages[self.position.stage]
        self._check_text_steps(stage)
        if "splitting" not in state and (isinstance(self.method, MatchingModel) or self.stages[0].name == "text"):
            read_as_before(self.encoder, self.pictures)
        for name, module in self._modules().items():
            if name in state["modules"]:
                module.load_state_dict(state["modules"][name])
        stage.method.begin(stage.phase)
        turns = stage.turns(self.training, self.fabric)
        self.turns = {name: turns[name] for name in state["turns"]}
        for name, turn in self.turns.items():
            turn.load_state_dict(state["turns"][name])
        for what, then, now in (
            ("processes", state["processes"], self.fabric.world_size),
            ("PyTorch", state["torch"], str(torch.__version__)),
        ):
            if then != now:
                self.log.say(f"warning: the checkpoint was written with {what} {then}, now {now}: the run goes on, but not bit for bit")
        if self.fabric.global_rank == 0 and not keep_copy(self.recipe.method, self.out):
            self.log.say(f"warning: the method's file is not the one that {self.out} was begun with, of which the run keeps a copy")
        self.log.drop_after(self.position.total_step)
        return True

    def _check_text_steps(self, stage: Stage) -> None:
        """The text phase may be made longer or shorter while it lasts."""
        before, now = load_recipe(self.out / "recipe.yaml").text.steps, self.recipe.text.steps
        if before == now:
            return
        if stage.name != "text":
            raise SettingsError(
                f"{self.out} was begun with text.steps {before}, not {now}, and no text encoder is in training now: leave --text.steps out"
            )
        self.remarks.append(f"text.steps is {now:,} in place of {before:,}; the phase's learning rate follows it from here on")
