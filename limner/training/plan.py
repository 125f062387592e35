"""What a recipe asks for: a list of acts, each a trainable with its phases, each phase with its budget resolved."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from limner.core.abilities import Paints, abilities_of
from limner.core.errors import CheckpointError, DataError, SettingsError, unknown_name
from limner.core.method import Method
from limner.core.pictures import CaptionedPictures
from limner.core.recipes import trainable
from limner.core.settings import Recipe, TrainingSettings
from limner.core.trainable import Conditions, Phase, Player, Trainable
from limner.data.catalog import BUILT_IN, open_data
from limner.data.loader import Loader, pictures_seen
from limner.data.part import PartOfPictures
from limner.data.stories import told_alone
from limner.matching.model import MatchingModel
from limner.matching.saving import save_matcher
from limner.parts.style import StyleInversion
from limner.parts.text import CaptionMatching
from limner.text.encoder import TextEncoder
from limner.training.estimate import Budget
from limner.training.players import PlayerTraining, Statistics, mean_over_processes
from limner.training.starting import freeze, learns_words, starting_encoder
from limner.training.text import captions_to_learn, choose_encoder, no_encoder, own_settings, standardized, text_settings

if TYPE_CHECKING:
    from limner.training.processes import Processes

MATCHER = "matcher"
"""The folder in a run of the matching model with which it has trained its text encoder."""
FEWEST_STEPS = 50
"""The fewest steps between two evaluations, unless the recipe says otherwise."""
MOST_STEPS = 250
"""The most steps between two evaluations that may end a phase."""


@dataclass(frozen=True, kw_only=True)
class Act:
    """One of the things that a run trains, in order: the text encoder, what the recipe names, the style encoder.

    encoder: reads captions for its batches, and goes into its folder.
    """

    name: str
    """Names its state in checkpoints, its lines in the log and what its layers draw."""
    registered: str
    """The trainable's name, as `limner train` takes it: what its folder is called by."""
    trained: Trainable
    encoder: TextEncoder
    introduction: str = ""
    """Said when it begins; {steps} stands for its steps."""
    is_asked_for: bool = True
    """Whether the recipe's budget, batch size and evaluations are its own; those of the others come with them."""
    writes: bool = True
    """Whether its state is worth a folder by itself."""
    lasts: bool = True
    """Whether checkpoints of the acts after it hold it too."""
    judge: str = ""
    """The folder in the run in which it is kept once it is over, as a judge of what the run paints; empty for none."""

    def keep_judge(self, run: Path, about: dict[str, Any]) -> str | None:
        """Write that folder, if there is to be one; returns a warning where it could not be."""
        if not self.judge or not isinstance(self.trained, MatchingModel):
            return None
        try:
            save_matcher(run / self.judge, self.registered, self.trained, about)
        except CheckpointError as error:
            return f"warning: {error}; the run goes on without it"
        return None


@dataclass(frozen=True, kw_only=True)
class PlannedPhase:
    """One phase of an act, with its budget resolved."""

    act: Act
    phase: Phase
    steps: int
    minutes: float | None = None
    core_minutes: float | None = None
    evaluate_every: int = 0
    """Steps between two evaluations; 0 for none."""
    frozen: int = 0
    """Convolutions of each network that does not paint that stand still."""
    steps_per_epoch: float = 1.0
    """Steps that schedules in epochs call one: see `training.epoch_pictures`."""

    @property
    def trained(self) -> Trainable:
        """What is trained in it."""
        return self.act.trained

    @property
    def budget(self) -> Budget:
        """What ends it."""
        return Budget(steps=self.steps, batch_size=self.phase.batch_size, minutes=self.minutes, core_minutes=self.core_minutes)

    @property
    def ends_by_time(self) -> bool:
        """Whether it has a budget in minutes, of time or of processor time."""
        return self.minutes is not None or self.core_minutes is not None

    @property
    def paints(self) -> bool:
        """Whether pictures can be painted while it runs."""
        return self.phase.paints and isinstance(self.trained, Paints)

    @property
    def writes(self) -> bool:
        """Whether its state is worth a folder: a method that cannot paint yet is not."""
        return self.act.writes and (self.phase.paints or not isinstance(self.trained, Paints))

    def players(self) -> dict[str, Player]:
        """Who is trained in it."""
        players = self.trained.players()
        return {name: players[name] for name in self.trained.phase_players(self.phase)}

    def trainings(
        self, settings: TrainingSettings, fabric: Processes, before: Mapping[str, PlayerTraining] | None = None
    ) -> dict[str, PlayerTraining]:
        """Their trainings, ready on this device; those of `before` go on as they are."""
        freeze(self.trained, self.frozen)
        statistics = Statistics(self.trained)
        all_reduce = mean_over_processes(fabric)
        trainings = dict(before or {})
        for training in trainings.values():
            training.statistics = statistics
            training.grow()
        for name, player in self.players().items():
            if name not in trainings:
                trainings[name] = PlayerTraining(player, statistics, ema_half_life=settings.ema_half_life, all_reduce=all_reduce)
        return trainings

    def begin(self) -> None:
        """Tell what is trained in it that it begins, or goes on."""
        if self.phase.layouts:
            encoder = self.act.encoder
            learns = encoder.training
            with torch.no_grad():
                self.trained.read_names(encoder.eval())
            encoder.train(learns)
        self.trained.begin(self.phase)


@dataclass(frozen=True)
class Plan:
    """A run's acts and their phases in order. encoder: reads captions for what the recipe names; started: what there is to
    know of one that comes from the model that the run starts from, its weights aside."""

    acts: list[Act]
    phases: list[PlannedPhase]
    encoder: TextEncoder
    started: dict[str, Any] | None = None

    @property
    def asked_for(self) -> Act:
        """The act that the recipe names."""
        return next(act for act in self.acts if act.is_asked_for)

    @property
    def trains_encoder(self) -> bool:
        """Whether the text encoder learns in this run, and does not come from elsewhere."""
        players = [player.module for act in self.acts for player in act.trained.players().values()]
        return any(module is self.encoder for network in players for module in network.modules())

    def modules(self) -> dict[str, torch.nn.Module]:
        """Everything that checkpoints hold, by name. A text encoder that is part of what is trained is saved with it."""
        named: dict[str, torch.nn.Module] = {act.name: act.trained for act in self.acts}
        if all(module is not self.encoder for module in self.asked_for.trained.modules()):
            named["encoder"] = self.encoder
        return named


def make_plan(
    recipe: Recipe,
    pictures: CaptionedPictures,
    device: torch.device | str = "cpu",
    processes: int = 1,
    started: dict[str, Any] | None = None,
) -> Plan:
    """Build what a recipe asks for on a device, with fresh weights. Raises LimnerError for what cannot be trained, or not together.

    started: what `Plan.started` was when the run began that goes on now.
    """
    made = trainable(recipe.method)
    acts: list[Act] = []
    settings = own_settings(recipe)
    own = made.own_encoder(settings, captions_to_learn(pictures))
    if own is not None:
        if recipe.text.encoder is not None:
            raise SettingsError(f"{recipe.method} has a text encoder of its own: leave text.encoder out")
        if recipe.start.model is not None:
            raise SettingsError(f"{recipe.method} has a text encoder of its own, made for its captions: it cannot start --from a model")
        if recipe.text.maximum_words is not None:
            own.read_at_most(recipe.text.maximum_words)
        encoder: TextEncoder = own
    elif not made.reads_text(settings):
        encoder = no_encoder(recipe)
    else:
        strange: list[str] = []
        if recipe.start.model is not None and recipe.text.encoder is None:
            encoder, strange, started = starting_encoder(recipe, pictures, started)
            is_new = learns_words(recipe, strange)
        else:
            encoder, is_new = choose_encoder(recipe, pictures)
        if recipe.text.standardize or encoder.standardize:
            if is_new:
                raise SettingsError("text.standardize is for a trained encoder, and this run trains its own: give text.encoder")
            encoder = standardized(encoder, pictures)
        if is_new:
            acts.append(_text_act(recipe, pictures, encoder, strange))
    conditions = Conditions(
        resolution=recipe.resolution,
        sentence_width=encoder.sentence_width,
        word_width=encoder.word_width,
        class_count=pictures.class_count,
        category_count=len(pictures.category_names),
        frames=0 if pictures.stories is None else pictures.stories.shape[1],
        labels=pictures.label_names if made.reads_layouts(settings) else (),
    )
    trained = made(settings, conditions) if own is None else made(settings, conditions, own)  # type: ignore[call-arg]
    acts.append(Act(name="method", registered=recipe.method, trained=trained, encoder=encoder))
    phases: list[PlannedPhase] = []
    for act in acts:
        act.trained.to(device)
        phases += _prepared(act, recipe, pictures, processes)
    encoder.to(device)
    if recipe.style.steps:
        # The style encoder is made last, so that the weights before it start as they would without one.
        style = _style_act(recipe, trained, encoder)
        style.trained.to(device)
        acts.append(style)
        phases += _prepared(style, recipe, pictures, processes)
    plan = Plan(acts, phases, encoder, started)
    if not any(planned.act.is_asked_for for planned in phases):
        raise SettingsError("every phase comes from another run by --from: nothing is left to train; leave one out")
    return plan


def _text_act(recipe: Recipe, pictures: CaptionedPictures, encoder: TextEncoder, strange: list[str]) -> Act:
    settings = dataclasses.replace(text_settings(recipe, pictures), sentence_width=encoder.sentence_width)
    if recipe.start.model is not None:
        learner = f"the text encoder of {recipe.start.model} learns {len(strange):,} new words"
    else:
        learner = f"no text encoder for '{pictures.name}': training one"
    conditions = Conditions(
        resolution=recipe.resolution, sentence_width=encoder.sentence_width, word_width=encoder.word_width, class_count=pictures.class_count
    )
    return Act(
        name="text",
        registered="text",
        trained=CaptionMatching(settings, conditions, encoder),
        encoder=encoder,
        introduction=f"{learner} first, by matching captions and pictures ({{steps:,}} steps)",
        is_asked_for=False,
        writes=False,
        lasts=False,
        judge=MATCHER,
    )


def _style_act(recipe: Recipe, trained: Trainable, encoder: TextEncoder) -> Act:
    if not isinstance(trained, Method):
        raise SettingsError(f"{recipe.method} paints nothing, so there is no style to find: leave style.steps out")
    return Act(
        name="style",
        registered=recipe.method,
        trained=StyleInversion(recipe.style, trained.conditions, painter=trained, name=recipe.method),
        encoder=encoder,
        introduction="training a style encoder, which finds the noise that a picture was painted from ({steps:,} steps)",
        is_asked_for=False,
    )


def _prepared(act: Act, recipe: Recipe, pictures: CaptionedPictures, processes: int) -> Iterator[PlannedPhase]:
    """Look at whether an act's phases can be trained, let it read the data, and resolve the budgets of those that are trained here."""
    phases = act.trained.phases()
    adopted = recipe.adopted if act.is_asked_for else {}
    for name in adopted:
        if name not in {phase.name for phase in phases}:
            raise unknown_name(f"phase of {recipe.method}", name, [phase.name for phase in phases])
    first = next((phase for phase in phases if phase.name not in adopted), phases[0])
    with torch.random.fork_rng(devices=[]):  # what it looks through has weights of its own
        for phase in phases:
            if phase is not first and phase.name not in adopted:
                act.trained.load_guides(phase)  # says what is missing, for a phase that begins hours later too
        act.trained.guides.clear()  # which would take memory until then
        act.trained.begin(first)
    if act.is_asked_for:
        freeze(act.trained, recipe.start.freeze)
    for phase in phases:
        if not phase.distinct_classes:  # whose batches depend on what `prepare` finds
            sized = _sized(act, phase, recipe)
            Loader(pictures, sized, seed=recipe.training.seed, processes=1)  # says what the data lack, before anything takes long
    act.trained.prepare(first, pictures)
    own = [phase for phase in act.trained.phases() if phase.name not in adopted]  # `prepare` may have found how large a batch can be
    if own and not any(phase.paints for phase in own):  # the phase that paints comes from another run: nothing is missing by the last one
        own[-1] = dataclasses.replace(own[-1], paints=True)
    for planned in _budgeted(act, own, recipe, pictures):
        Loader(pictures, planned.phase, seed=recipe.training.seed, processes=processes)
        _check_normalised(planned, processes)
        if planned.phase.counterfactuals and recipe.data_settings.counterfactuals < 1:
            raise SettingsError("the method asks for counterfactual captions: set data.counterfactuals to 1 or more")
        yield planned


def _check_normalised(planned: PlannedPhase, processes: int) -> None:
    """Raise DataError where a process would have a single picture, and its networks normalise vectors over those that it has."""
    size = planned.phase.batch_size
    networks = [player.module for player in planned.trained.players().values()]
    if size < 2 * processes and any(isinstance(module, torch.nn.BatchNorm1d) for network in networks for module in network.modules()):
        raise DataError(
            f"phase {planned.phase.name}: {planned.trained.title} normalises over a process's pictures, and a batch of {size} gives each "
            f"of {processes} processes {size // processes}: raise --training.batch-size until that is {2 * processes} or more"
        )


def _sized(act: Act, phase: Phase, recipe: Recipe) -> Phase:
    """A phase of an act with the batches that the recipe gives it."""
    size = recipe.training.batch_size if act.is_asked_for else None
    return phase if size is None else dataclasses.replace(phase, batch_size=act.trained.sized(phase, size))


def _budgeted(act: Act, phases: list[Phase], recipe: Recipe, pictures: CaptionedPictures) -> Iterator[PlannedPhase]:
    training = recipe.training
    shares = sum(phase.share for phase in phases)
    own_set = recipe.data not in BUILT_IN and act.is_asked_for and isinstance(act.trained, Paints)
    for phase in phases:
        minutes = core_minutes = images = None
        if act.is_asked_for:
            phase = _sized(act, phase, recipe)
            wholes = (training.minutes, training.core_minutes, training.images)
            minutes, core_minutes, images = (None if whole is None else whole * phase.share / shares for whole in wholes)
        last = not act.is_asked_for or phase.name == phases[-1].name
        epochs = training.epochs if act.is_asked_for and last and training.epochs is not None else phase.epochs
        steps = phase.steps
        if steps is None and phase.images is not None:
            steps = max(1, phase.images // phase.batch_size)
        if act.is_asked_for and last and training.epochs:
            steps = None
        steps_per_epoch = counted = pictures_seen(pictures, phase) / phase.batch_size
        if own_set:
            counted = max(steps_per_epoch, training.epoch_pictures / phase.batch_size)
        if steps is None:
            assert epochs is not None, f"phase {phase.name} has no budget"
            steps = max(1, math.ceil(epochs * (steps_per_epoch if last and training.epochs else counted)))
        if training.steps is not None:
            steps = min(steps, training.steps)
        if images is not None:
            steps = min(steps, max(1, round(images / phase.batch_size)))
        every = recipe.evaluation.every if act.is_asked_for else None
        between = max(1, round(every * steps_per_epoch)) if every else 0
        if every is None and phase.evaluations:
            between = max(FEWEST_STEPS, steps // phase.evaluations)
            between = min(between, MOST_STEPS) if phase.patience else between
        yield PlannedPhase(
            act=act,
            phase=phase,
            steps=steps,
            minutes=minutes,
            core_minutes=core_minutes,
            evaluate_every=between,
            frozen=recipe.start.freeze if act.is_asked_for else 0,
            steps_per_epoch=counted,
        )


def training_pictures(recipe: Recipe) -> CaptionedPictures:
    """The split that a recipe trains on. What does not tell stories reads, of a story's frame, all sentences so far."""
    if recipe.data_settings.trainval and recipe.data in BUILT_IN:
        raise SettingsError("data.trainval: the garden's val split has the train split's classes: leave it out")
    split = "train+val" if recipe.data_settings.trainval else "train"
    pictures = open_data(recipe.data, split, recipe.resolution, recipe.data_settings)
    pictures.mirrored = recipe.data_settings.flip
    share = recipe.data_settings.share
    pictures = pictures if share == 1.0 else PartOfPictures(pictures, share)
    tells = "tells stories" in abilities_of(trainable(recipe.method))
    return pictures if tells else told_alone(pictures)


def adopted_phases(act: Act, names: Iterable[str]) -> list[Phase]:
    """The phases of an act by name."""
    return [phase for phase in act.trained.phases() if phase.name in set(names)]
