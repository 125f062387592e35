"""A training run: a recipe becomes a run folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from limner.core import folder
from limner.core.errors import CheckpointError, LimnerError, SettingsError, in_words
from limner.core.recipes import flat_settings, load_recipe, save_recipe
from limner.core.registry import keep_copy
from limner.core.settings import Recipe
from limner.data.catalog import BUILT_IN
from limner.data.loader import Loader
from limner.training.accumulation import refuse_coupled_rows
from limner.training.adoption import adopt
from limner.training.batches import introductions, make_loader
from limner.training.begun import begun, check_encoder
from limner.training.best import Best
from limner.training.card import card
from limner.training.checkpoints import Checkpoints
from limner.training.choices import prepare_networks, settled
from limner.training.ended import is_done, nothing_to_do, stays_as_it_is
from limner.training.folder import check_place, owner
from limner.training.hosts import telling_who_is_lost
from limner.training.inputs import with_places, write_inputs
from limner.training.launch import going_on, is_first_process, launch
from limner.training.log import RunLog
from limner.training.outset import outset
from limner.training.plan import PlannedPhase, make_plan, training_pictures
from limner.training.players import PlayerTraining, mean_over_processes, painting
from limner.training.result import RunResult
from limner.training.side_work import SideWork
from limner.training.signals import Stopped, StopRequest
from limner.training.text import caption_remarks, read_as_before
from limner.training.trackers import trackers
from limner.training.trainer import Position, Trainer

if TYPE_CHECKING:
    from limner.training.processes import Processes


def train(recipe: Recipe, out: Path | str, *, resume: bool = False) -> RunResult:
    """Train as the recipe says and write everything to the run folder `out`.

    With `resume`, go on from the folder's newest whole checkpoint, or begin where there is none. Raises LimnerError
    for what cannot work, before anything is written, and CheckpointError where the end could not be saved.
    """
    out = Path(out)
    first, processes = is_first_process(recipe), recipe.training.devices * recipe.training.nodes
    with StopRequest(alone=processes == 1) as stop, owner(out) if first else nullcontext():
        if first:
            check_place(out, resume)
            Checkpoints(out).recover()  # before the other processes look for it
        recipe, moved = settled(recipe, out if resume else None), {}
        if resume and (out / "recipe.yaml").is_file():
            found = going_on(recipe, out)
            recipe, moved = found.recipe, found.moved
        if recipe.data not in BUILT_IN:
            training_pictures(recipe)  # whether they are there: before what takes long to load
        fabric = launch(recipe)
        log = RunLog(out, quiet=fabric.global_rank > 0, trackers=trackers(recipe.training, out, flat_settings(recipe)))
        try:
            with telling_who_is_lost(fabric.world_size, recipe.training.nodes):
                with stop.at_once():
                    run = Run(recipe, out, fabric, log, stop, moved, Checkpoints(out).load() if resume else None)
                return run.go(resume)
        except Stopped:  # before anything was written
            return RunResult(out, 0, stop.signal)
        finally:
            log.close()


class Run:
    """One process's part of a run.

    moved: what a run that goes on reads from another place now, by the names of the settings; state: the checkpoint that it goes on from.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        fabric: Processes,
        log: RunLog,
        stop: StopRequest,
        moved: Mapping[str, str] | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.recipe, self.out, self.fabric, self.log, self.stop = recipe, out, fabric, log, stop
        self.training = recipe.training
        self.position = Position()
        self.players: dict[str, PlayerTraining] = {}
        self.loader: Loader | None = None
        self.made: dict[str, Any] | None = None
        self.best = Best(self)
        self.moved = moved or {}
        self.remarks = [f"{name} moved: going on with {place}" for name, place in self.moved.items()]
        """What is to be said before training begins."""
        self._saved: Position | None = None
        self._stored = state
        torch.manual_seed(self.training.seed)
        self.pictures = training_pictures(recipe)
        self.plan = make_plan(recipe, self.pictures, fabric.device, fabric.world_size, (state or {}).get("started"))
        if self.training.micro_batch:
            refuse_coupled_rows(self.plan.asked_for.trained)
        self.side_work = SideWork(self)
        self.checkpoints = Checkpoints(out, self.training.keep_checkpoints)
        self.trainer = Trainer(
            self.training,
            fabric,
            log,
            stop,
            save=self.save,
            sample=self.side_work.sample,
            evaluate=self.side_work.evaluate,
            keep_newest=self.keep_newest,
            phases=self.plan.phases,
        )

    def keep_newest(self) -> Path | None:
        """Let the newest checkpoint stay, and say where it is: in the first process, which writes them."""
        return self.checkpoints.keep_newest() if self.fabric.global_rank == 0 else None

    @property
    def now(self) -> PlannedPhase:
        """The phase that the run is in."""
        return self.plan.phases[self.position.phase]

    def go(self, resume: bool) -> RunResult:
        """Train every phase from where the run stands."""
        if resume and self._restore():
            over = stays_as_it_is(self.position, self.plan.phases, load_recipe(self.out / "recipe.yaml"), self.recipe)
            self.fabric.barrier()  # before the recipe changes that every process has read
            if is_done(self.position, self.plan.phases):
                self._keep_places()
                why = nothing_to_do(self.position, self.now)
                self.log.say(f"{self.out} is finished after {self.position.total_step:,} steps: {why}")
                return RunResult(self.out, self.position.total_step)
            self.log.say(f"going on with {self.out} after step {self.position.total_step:,}")
            self.remarks += over
            self._keep_settings()
            self.position.finished = False
        else:
            if resume:
                self.log.say(f"nothing to resume in {self.out}: starting from the beginning")
            self._begin()
        for remark in [*self.remarks, *self.side_work.remarks]:
            self.log.say(remark)
        while True:
            try:
                ended = self._train(self.now)
            except Stopped:  # before a first step: what there is to save, the phase before has saved
                return RunResult(self.out, self.position.total_step, self.stop.signal)
            if not ended:
                self._save_or_fail()
                return RunResult(self.out, self.position.total_step, self.stop.signal)
            if self.position.phase + 1 == len(self.plan.phases):
                break
            self.save()  # the model as this phase leaves it: the next one has none before its first checkpoint
            self._next_phase()
            self.save()
        self.position.finished = True
        self._save_or_fail()
        return RunResult(self.out, self.position.total_step)

    def _next_phase(self) -> None:
        ended, judged = self.now, self.position.best is not None
        about, reached = self._about(ended), self._reached(ended, self.position.step)
        self.position.next_phase()
        if self.now.act is ended.act:
            self.position.earlier = reached
        if self.now.act is not ended.act and ended.act.lasts:
            self.made = about
        # Players of the next phase continue unchanged; the others are frozen at their averaged weights.
        going_on = self.now.players() if self.now.act is ended.act else {}
        for name, player in self.players.items():
            if name not in going_on:
                player.exchange()
        self.players = {name: player for name, player in self.players.items() if name in going_on}
        if self.now.act is not ended.act:
            self.best.hand_on(ended, judged=judged)
            if self.fabric.global_rank == 0 and (problem := ended.act.keep_judge(self.out, about)):
                self.log.say(problem)

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
        self.remarks += adopt(self.plan.asked_for, self.recipe)
        if self.fabric.global_rank == 0:
            self.out.mkdir(parents=True, exist_ok=True)
            save_recipe(self.recipe, self.out / "recipe.yaml")
            write_inputs(self.recipe, self.out)
            keep_copy(self.recipe.method, self.out)
            self.log.drop_after(-1)
            for remark in caption_remarks(self.recipe, self.pictures, self.plan.encoder):
                self.log.say(remark)
            with self.stop.at_once():
                self.remarks += outset(self)
        self.fabric.barrier()

    def _train(self, planned: PlannedPhase) -> bool:
        with self.stop.at_once():
            if planned.phase.name != self._first_of(planned):
                planned.trained.prepare(planned.phase, self.pictures)
            planned.begin()
            prepare_networks(planned.trained, self.training)
            self.players = planned.trainings(self.training, self.fabric, before=self.players)
            for remark in introductions(planned, self.recipe, self.pictures, self.position.step):
                self.log.say(remark)
            self.loader = make_loader(planned, self.recipe, self.pictures, self.fabric)
        return self.trainer.train(planned, self.loader, self.players, self.position)

    def _first_of(self, planned: PlannedPhase) -> str:
        """The phase of its act that the plan has prepared already."""
        return next(other.phase.name for other in self.plan.phases if other.act is planned.act)

    def write_folder(self) -> None:
        """Write the folder of what is trained now, or of a best state that is still to be written. Raises CheckpointError."""
        act, about = self.now.act, self._about(self.now)
        with painting(self.players), self.best.in_place():
            folder.save(self.out / "model", act.registered, act.trained, act.encoder, about, card(self.recipe, act.trained, about))

    def save(self) -> None:
        """Write a checkpoint and the model; a failure to write is said and never stops the training. What is saved already stays."""
        problem = self._save()
        if problem:
            self.log.say(f"warning: {problem}; the run goes on")

    def _save_or_fail(self) -> None:
        """The last saving, which no later one could make up for."""
        problem = self._save(last=True)
        if problem:
            raise CheckpointError(problem)

    def _save(self, *, last: bool = False) -> str | None:
        self._share_statistics()
        problem = self._save_here(last) if self.fabric.global_rank == 0 else None
        self.fabric.barrier()
        return problem

    def _save_here(self, last: bool) -> str | None:
        """Save in this process; returns what went wrong and what to do, or None."""
        if self._saved == dataclasses.replace(self.position):
            return None
        state = self._state()
        values = [value for module in state["modules"].values() for value in module.values() if value.is_floating_point()]
        if not all(bool(torch.isfinite(value).all()) for value in values):
            what = f"weights are not finite after step {self.position.total_step:,}, and the checkpoint before is kept"
            return f"{what}: begin anew with a lower --method.learning-rate"
        problems: list[str] = []
        writes = [lambda: self.checkpoints.save(self.position.total_step, state), self._save_model]
        if self.position.finished:  # next to the checkpoint that says so lies the model of the end; the state of its step is saved already
            writes.reverse()
        for write in writes:
            try:
                write()
            except Exception as error:  # also that of a card: nothing that goes with a model may cost what was trained
                hint = "" if isinstance(error, LimnerError) else ": free some space"
                hint += f", then go on from the last checkpoint in {self.out} with --resume" if last else ""
                problems.append(f"could not save after step {self.position.total_step:,} ({in_words(error)}){hint}")
                if self.position.finished:
                    break
        if problems:
            return problems[0]
        self._saved = dataclasses.replace(self.position)
        return None

    def _share_statistics(self) -> None:
        """Make running statistics, and the log's sums, which each process kept for its own rows, equal."""
        if self.fabric.world_size > 1:
            self.trainer.means.share(mean_over_processes(self.fabric))
            for module in self.plan.modules().values():
                for value in module.buffers():
                    if value.is_floating_point():
                        value.copy_(self.fabric.all_reduce(value, reduce_op="mean"))
            for player in self.players.values():
                for value in player.average:
                    value.copy_(self.fabric.all_reduce(value, reduce_op="mean"))

    def _save_model(self) -> None:
        """Write the folder, unless an evaluation chooses among the states, or there is nothing to use yet."""
        if self.best.unwritten:
            self.best.write()
        elif self.now.writes and self.position.step and self.position.best is None:
            self.write_folder()

    def _about(self, planned: PlannedPhase) -> dict[str, Any]:
        """What is known of the making of what is trained: of the best state, where validation chooses what is kept."""
        chosen = {} if self.position.best is None else {"score": self.position.best}
        return planned.trained.history(self._facts(planned), self.made) | chosen

    def _facts(self, planned: PlannedPhase) -> dict[str, Any]:
        step = self.position.step if self.position.best is None else self.position.best_step
        return {
            "data": self.pictures.name,
            "split": self.pictures.split,
            "fingerprint": self.pictures.fingerprint,
            "preset": self.recipe.preset,
            **{name: round(value) for name, value in self._reached(planned, step).items()},
            "seed": self.training.seed,
            **({"started_from": self.recipe.start.model} if self.recipe.start.model and planned.act.is_asked_for else {}),
        }

    def _reached(self, planned: PlannedPhase, step: int) -> dict[str, float]:
        """What the phases of an act have taken together, up to a step of this one."""
        position = self.position
        own = {"steps": step, "images": step * planned.phase.batch_size, "seconds": position.seconds, "core_seconds": position.core_seconds}
        return {name: value + position.earlier.get(name, 0) for name, value in own.items()}

    def _state(self) -> dict[str, Any]:
        acts = self.plan.acts
        kept = {"encoder", *(act.name for act in acts[: acts.index(self.now.act)] if act.lasts), self.now.act.name}
        modules = {name: module.state_dict() for name, module in self.plan.modules().items() if name in kept}
        return {
            "position": dataclasses.asdict(self.position),
            "fingerprint": self.pictures.fingerprint,
            "processes": self.fabric.world_size,
            "torch": str(torch.__version__),
            "modules": modules,
            "splitting": "characters",
            "players": {name: player.state_dict() for name, player in self.players.items()},
            "made": self.made,
            "means": self.trainer.means.state_dict(),
            **self.best.state_dict(),
            **begun(self.plan, self.recipe, modules),
        }

    def _restore(self) -> bool:
        state, self._stored = self._stored, None
        if state is None:
            return False
        if state.get("fingerprint", self.pictures.fingerprint) != self.pictures.fingerprint:
            raise SettingsError(
                f"{self.recipe.data} is not what {self.out} was begun with (its fingerprint is {self.pictures.fingerprint}, and was "
                f"{state['fingerprint']}; prepared anew?): bring that back, give its place by --data DIR, or choose another --out"
            )
        renamed = {"stage": "phase"}  # what version 0.1 called it
        self.position = Position(**{renamed.get(name, name): value for name, value in state["position"].items()})
        self.made = state.get("made")
        self.trainer.means.load_state_dict(state.get("means", {}), self.fabric.device)
        self.best.load_state_dict(state)
        planned = self.now
        self._check_text_steps()
        if "splitting" not in state and self.plan.trains_encoder:
            read_as_before(self.plan.encoder, self.pictures)
        check_encoder(self.plan, self.recipe, state, self.out)
        if "begun" in state:
            self.plan.asked_for.trained.load_state_dict(state["begun"])
        elif self.plan.asked_for.name not in state["modules"]:  # the text encoder was in training
            adopt(self.plan.asked_for, self.recipe)
        for name, module in self.plan.modules().items():
            if name in state["modules"]:
                module.load_state_dict(state["modules"][name])
        if planned.phase.name != self._first_of(planned):
            planned.trained.prepare(planned.phase, self.pictures)
        planned.begin()
        players, kept = planned.trainings(self.training, self.fabric), state.get("players", state.get("turns", {}))
        self.players = {name: players[name] for name in kept}
        for name, player in self.players.items():
            player.load_state_dict(kept[name])
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

    def _check_text_steps(self) -> None:
        """The text phase may be made longer or shorter while it lasts."""
        before, now = load_recipe(self.out / "recipe.yaml").text.steps, self.recipe.text.steps
        if before == now:
            return
        if self.now.act.is_asked_for or self.now.act.lasts:
            raise SettingsError(
                f"{self.out} was begun with text.steps {before}, not {now}, and no text encoder is in training now: leave --text.steps out"
            )
        steps = self.now.steps  # as many as the plan says, where the setting says nothing
        self.remarks.append(f"text.steps is {steps:,} in place of {before or 'none'}; the phase's learning rate follows it from here on")
