"""The contract between whatever is trained and the training loop.

A `Trainable` says who plays (`players`), in which phases (`phases`) and how one batch trains them (`training_step`). The step *yields*
updates; between two yields the trainer takes that player's gradient, averages it across processes, and steps its optimiser and its
running average. Methods, matching models, text encoders, style encoders and judges are all trained this way, by one loop.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.errors import CheckpointError
from limner.core.optimizers import Adam, Optimizer
from limner.core.settings import Preset
from limner.core.state import Stateful

if TYPE_CHECKING:
    from typing_extensions import Self

    from limner.core.method import Painting
    from limner.core.pictures import CaptionedPictures
    from limner.core.text import TextFeatures

NetworkType = TypeVar("NetworkType", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What networks are built for: the text they will read and the pictures they will make or see."""

    resolution: int
    """Side of the final pictures in pixels."""
    sentence_width: int
    """Width D of the sentence embedding."""
    word_width: int | None = None
    """Width of the word embeddings, or None where the encoder gives none."""
    class_count: int = 0
    """Number of classes of the training pictures, 0 where they have none."""
    category_count: int = 0
    """Number of categories of which a training picture may show several (`Batch.categories`), 0 where there are none."""
    frames: int = 0
    """Pictures of each training story, 0 where there are no stories."""
    labels: tuple[str, ...] = ()
    """Names of the things that the training pictures' layouts place, in the order of their labels; empty for what reads no layouts."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a phase stands when a step begins."""

    phase: str
    step: int
    """Steps done in this phase."""
    steps: int
    """Steps this phase will take."""
    images: int
    """Pictures seen in this phase, over all processes."""
    epoch: float
    """Passes over the training pictures done in this phase; of a small set, as `training.epoch_pictures` counts them."""
    seconds: float = 0.0
    """Training time spent in this phase, over all its runs: saved with a run, and alike in all its processes."""
    minutes: float | None = None
    """The phase's part of a budget in minutes, None where there is none."""
    core_seconds: float = 0.0
    """Processor time spent in this phase, likewise."""
    core_minutes: float | None = None
    """The phase's part of a budget in minutes of processor time, None where there is none."""

    @property
    def fraction(self) -> float:
        """How much of the phase's steps are done, 0 to 1."""
        return self.step / max(self.steps, 1)

    @property
    def spent(self) -> float:
        """How much of the phase's budget is spent, 0 to 1: of its steps or of its minutes, whichever is further."""
        by_time = time_spent((self.seconds, self.minutes), (self.core_seconds, self.core_minutes))
        return min(max(self.fraction, by_time), 1.0)


def time_spent(*clocks: tuple[float, float | None]) -> float:
    """The largest share that is spent of budgets in time: pairs of seconds spent and minutes given, None for no budget."""
    return max((seconds / max(minutes * 60, 1e-9) for seconds, minutes in clocks if minutes is not None), default=0.0)


@dataclass(frozen=True, kw_only=True)
class Player:
    """Networks that one optimiser steps."""

    module: nn.Module
    optimizer: Optimizer = Adam()
    averaged: bool = False
    """Keep a running average of its weights, which then does the painting."""
    learning_rate_factor: Callable[[Progress], float] | None = None
    """Multiplies the learning rate, as published schedules ask."""
    gradient_clip: float | None = None
    """Largest norm of the whole gradient."""
    kept: bool = False
    """Save it in model folders, next to what paints; for what a trained model is used for otherwise."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training with one budget, resolution and batch size."""

    name: str
    """Unique among the phases of one Trainable."""
    resolution: int
    batch_size: int
    epochs: float | None = None
    """Budget in passes over the training pictures; `steps` or `images` wins where one is given too."""
    steps: int | None = None
    images: int | None = None
    """Budget in pictures seen, over all processes, whatever the size of a batch: `batch_size` or the recipe's; `steps` wins over it."""
    players: tuple[str, ...] | None = None
    """Who is trained in this phase; None for all. Players of two phases in a row go on unchanged; a painter whose last phase is over keeps
    the running average of its weights."""
    share: float = 1.0
    """Its part of a budget in minutes, relative to the other phases' parts."""
    paints: bool = True
    """Whether pictures can be painted while it runs: sample grids are drawn, scores taken and models saved. A phase that trains a part
    which does not paint yet says False; it may show something by `preview`."""
    evaluations: int = 0
    """How often `validate` and `validate_batches` are asked over the phase, unless the recipe says otherwise."""
    patience: int = 0
    """Evaluations in a row without a better score that end the phase; what comes after it goes on with the best state. 0: it goes on to
    the end of its budget."""
    captions: int = 1
    """How many captions are drawn for each picture: `Batch.texts`. With 0, pictures without captions are trained on too."""
    counterfactuals: int = 0
    """How many different counterfactual captions batches carry for each picture; one at most where captions are not `encoded`."""
    encoded: bool = True
    """Whether batches carry text features; False where the phase trains the text encoder itself."""
    words: bool = False
    """Whether text features hold an embedding for each word, where the encoder gives them; they are encoded batch by batch."""
    layouts: bool = False
    """Whether batches must say what stands where in their pictures."""
    frames: int = 1
    """Pictures of one story: with more than one, batches hold whole stories, frames in order, and `batch_size` is a multiple of it."""
    fewest: int = 1
    """The fewest pictures that a process's part of a batch may hold, where a step compares pictures with each other."""
    group: int = 1
    """Pictures that a step compares at a time: a process's part of a batch is made of whole groups, or is smaller than one."""
    distinct_classes: bool = False
    """Whether a batch holds one picture of each of `batch_size` different classes, drawn anew for each step, where classes are known."""

    def __post_init__(self) -> None:
        if self.counterfactuals > 1 and not self.encoded:
            raise ValueError(f"phase {self.name} asks for {self.counterfactuals} counterfactual captions: without encoding there is one")


@dataclass(frozen=True)
class Kept:
    """What is written into a saved folder: see `limner.core.folder`."""

    kind: str
    config: dict[str, Any]
    """Plain JSON values."""
    parts: dict[str, dict[str, Tensor]]
    """Tensors by part and name."""
    name: str | None = None
    """The name of what the folder holds, where it is not the name of what was trained."""


@dataclass(frozen=True)
class Update:
    """One player's turn: the trainer minimises `loss` over that player's parameters."""

    player: str
    loss: Tensor
    """Scalar, on the training device."""
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    """Detached scalars worth a line in the log; read only when a line is written."""


class Trainable(Stateful, ABC):
    """What the loop trains: settings, networks, players, phases and step. It need not know anything of painting.

    Subclasses set `Settings` (a frozen keyword-only dataclass whose defaults are the published values), `title`, `paper` and `presets`
    (at least "as-published" and "cpu"), and are built as `Subclass(settings, conditions)`, or as `Subclass(settings, conditions, encoder)`
    where `own_encoder` gives one.
    """

    kind: ClassVar[str]
    """What its saved folder holds: a key of `limner.core.folder.KINDS`."""
    Settings: ClassVar[type]
    title: ClassVar[str]
    paper: ClassVar[str]
    presets: ClassVar[Mapping[str, Preset]]
    world: ClassVar[str] = "garden"
    """The built-in set that has what it learns from, which examples name."""

    def __init__(self, settings: Any, conditions: Conditions) -> None:
        super().__init__()
        self.settings = settings
        self.conditions = conditions
        self.guides: dict[str, nn.Module] = {}
        """Frozen networks of others that losses look through, by name: they move with this module, and are neither trained nor saved."""

    def guide(self, name: str, network: NetworkType) -> NetworkType:
        """Keep a frozen network under a name in `guides`; returns it. Best called by `load_guides`: painting needs no guide."""
        device = next((value.device for value in self.parameters()), None)
        self.guides[name] = network.eval().requires_grad_(False).to(device)
        return network

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for network in self.guides.values():
            network._apply(fn, recurse)
        return self

    @property
    def resolution(self) -> int:
        """Side in pixels of the pictures that it paints or sees now; what grows begins smaller than `conditions.resolution`."""
        return self.conditions.resolution

    @classmethod
    def reads_text(cls, settings: Any) -> bool:
        """Whether captions matter under these settings; else it is trained without a text encoder, on pictures with captions or not."""
        return True

    @classmethod
    def reads_layouts(cls, settings: Any) -> bool:
        """Whether it wants to know the names of what layouts place: `Conditions.labels`."""
        return False

    @classmethod
    def own_encoder(cls, settings: Any, captions: Iterable[str]) -> Any:
        """A `TextEncoder` of its own, with fresh weights and a vocabulary from the training captions; None where it takes the run's."""
        return None

    @abstractmethod
    def players(self) -> dict[str, Player]:
        """Who is trained, by name, over all phases."""

    @abstractmethod
    def phases(self) -> list[Phase]:
        """The published course of training, in order."""

    def sized(self, phase: Phase, batch_size: int) -> int:
        """The pictures a step that a phase takes where a recipe gives one number, `training.batch_size`, for all of them."""
        return batch_size

    def prepare(self, phase: Phase, pictures: CaptionedPictures) -> None:  # noqa: B027  # most have nothing to read beforehand
        """Read the training pictures once before a phase: a vocabulary, a table of features, a bank of codes.

        For the first phase it is called when the run is planned, with fresh weights, and for a later one when that begins, with the weights
        of the phase before; the networks are on their device. What it draws depends on the seed alone. After it, `players` is complete.
        """

    def read_names(self, encode: Callable[[Sequence[str]], TextFeatures]) -> None:  # noqa: B027  # most name nothing
        """Called before `begin` where a phase with layouts is trained: encode the names of labels, as captions are encoded.

        What comes of it belongs into buffers, which are saved. Calling it again must change nothing.
        """

    def load_guides(self, phase: Phase) -> None:  # noqa: B027  # most look through no network of others
        """Load the frozen networks that a phase's losses look through, where `guides` has them not yet (see `guide`).

        Called for every phase when a run is planned, so that what is missing is said before anything is trained, and by `begin`. It changes
        nothing but `guides`.
        """

    def begin(self, phase: Phase) -> None:
        """Called before a phase's first step and wherever a run goes on in it: freeze what stands still, note what paints from now on.

        The first phase's is called before anything is written, too. It loads the phase's guides: who overrides it calls this.

        What painting must know later, in another process, belongs into `register_state`. Calling it again must change nothing.
        """
        self.load_guides(phase)

    @abstractmethod
    def training_step(self, batch: Batch, progress: Progress) -> Iterator[Update]:
        """Train on one batch: yield an `Update` for each player whose turn it is. The step goes on after the optimiser has stepped."""

    def preview(self, batch: Batch) -> Painting | None:
        """What a phase that does not paint can show of a batch: reconstructions, boxes, attention. None where there is nothing to see."""
        return None

    def validate(self, pictures: CaptionedPictures) -> dict[str, float] | None:
        """Figures on pictures that it is not trained on; the state with the highest "score" is kept. None: the newest state is kept."""
        return None

    def validate_batches(self, batches: Sequence[Batch]) -> dict[str, float] | None:
        """The same of what learns from pairs: batches of held-out pictures, made as the phase asks for them, text features included. It
        is called in evaluation mode, without gradients, and with averaged weights; every random number comes from a batch's seed and
        samples. None: there is nothing to say."""
        return None

    def kept(self) -> dict[str, Tensor]:
        """The tensors that its saved folder holds, a text encoder of its own aside: those of players that are averaged or `kept`, and
        its own, under their names in this module."""
        kept = [player.module for player in self.players().values() if player.averaged or player.kept]
        chosen = {id(module) for part in kept for module in part.modules()}
        names = [name for name, module in self.named_modules() if id(module) in chosen]
        state = self.state_dict().items()
        return {key: value for key, value in state if "." not in key or any(key.startswith(f"{name}.") for name in names)}

    def description(self) -> dict[str, Any]:
        """What its saved folder says of it next to settings and conditions, as plain JSON values."""
        return {}

    def keeps(self) -> Kept:
        """All that its saved folder holds, a text encoder aside."""
        config = {"settings": dataclasses.asdict(self.settings), "conditions": dataclasses.asdict(self.conditions), **self.description()}
        kept = self.kept()
        return Kept(kind=self.kind, config=config, parts={self.kind: kept} if kept else {})

    def history(self, facts: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
        """What its saved folder says of its making. facts: of this training; before: what was said of what was trained before it."""
        return facts

    def summary(self) -> str:
        """What it does, in a sentence for its card."""
        return f"{self.title}."

    def usage(self) -> str:
        """Lines for its card that use it, in a Markdown code block: PATH stands for its folder and DATA for the training data."""
        return ""

    @classmethod
    def next_steps(cls, settings: Any) -> tuple[tuple[str, str], ...]:
        """What to do with a finished run: a word and a command line each, in which RUN and DATA stand for folders."""
        return (("score", "limner evaluate RUN"),)

    def couples_rows(self) -> str | None:
        """What ties the rows of a batch together, so that a step cannot train on a part of them at a time; None where nothing does.

        A method says None only where each row's loss depends on that row alone, whatever rows are next to it.
        """
        return f"a step of {self.title} is not known to treat each picture by itself"

    def adopt(self, phase: Phase, state: Mapping[str, Tensor]) -> None:
        """Take over a phase's players from another run or an import, in place of training them.

        state: tensors by their names in this module; more than are needed may be there. Raises CheckpointError, with the players' names,
        where some are missing or of another shape.
        """
        for player in self.phase_players(phase):
            module = self.players()[player].module
            name = next(name for name, candidate in self.named_modules() if candidate is module)
            part = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            if not part:
                raise CheckpointError(f"it holds no weights of the {player}, which phase '{phase.name}' trains")
            try:
                module.load_state_dict(part)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
                fix = "give the settings that it was trained with"
                raise CheckpointError(f"its {player} does not fit this recipe's ({reason}): {fix}") from error

    def phase_players(self, phase: Phase) -> tuple[str, ...]:
        """The names of the players that a phase trains."""
        return tuple(self.players()) if phase.players is None else phase.players
