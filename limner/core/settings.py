"""The settings that every run has, whatever its method; a method adds a dataclass of its own.

Frozen, keyword-only dataclasses are the only configuration: the same objects in Python, in `recipe.yaml` and as flags of the command
line, where the sentence under each field is its help.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from limner.core.errors import SettingsError

Role = Literal["budget", "machine", "shown", "seed"]
"""What a setting decides where it does not decide what a step does: "budget", when training stops; "machine", where it runs; "shown",
what is written, scored or kept along the way; "seed", which of many equal runs it is."""


@dataclass(frozen=True)
class Place:
    """How a setting names a file or folder: see `place`."""

    named: bool
    words: frozenset[str]

    def split(self, text: str) -> tuple[str, str] | None:
        """What stands before the path, such as "vgg16=", and the path; None for a word that is none."""
        if not self.named:
            return None if text in self.words else ("", text)
        name, equals, path = text.partition("=")
        if equals and "/" not in name:
            return name + equals, path
        return ("", text) if text.endswith(".npz") else None


def role(name: Role, default: Any) -> Any:
    """A field of settings with a role: `steps: int | None = role("budget", None)`. A setting without one decides what a step does."""
    return field(default=default, metadata={"role": name})


def place(default: Any, *, role: Role | None = None, named: bool = False, words: Iterable[str] = ()) -> Any:
    """A field of settings that may name a file or folder, which a run that goes on finds wherever that lies then.

    named: as NAME=FILE or FILE.npz, while a NAME alone means something of its own. words: what does so in the others.
    """
    return field(default=default, metadata={"role": role, "place": Place(named, frozenset(words))})


def placed(settings: type | Any) -> Iterator[tuple[str, Place]]:
    """The fields of a dataclass of settings that may name a file or folder."""
    return ((item.name, item.metadata["place"]) for item in fields(settings) if "place" in item.metadata)


def roles(settings: type | Any) -> Iterator[tuple[str, Role | None]]:
    """Each field of a dataclass of settings with its role, None where it has none."""
    return ((item.name, item.metadata.get("role")) for item in fields(settings))


def at_least(settings: Any, group: str, bound: int, *names: str) -> None:
    """Raise SettingsError where one of these settings is a number below the bound, or not finite; `group` is their prefix on the command
    line."""
    for name in names:
        value = getattr(settings, name)
        _finite(value, group, name)
        if value is not None and not value >= bound:
            raise SettingsError(f"{group}.{name.replace('_', '-')} is {value}, but must be at least {bound}")


def above_zero(settings: Any, group: str, *names: str) -> None:
    """Raise SettingsError where one of these settings is a number that is not above zero, or not finite."""
    for name in names:
        value = getattr(settings, name)
        _finite(value, group, name)
        if value is not None and not value > 0:
            raise SettingsError(f"{group}.{name.replace('_', '-')} is {value}, but must be above 0")


def _finite(value: float | None, group: str, name: str) -> None:
    if value is not None and not math.isfinite(value):
        raise SettingsError(f"{group}.{name.replace('_', '-')} is {value}, but must be a finite number")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which pictures a run sees, and how."""

    flip: bool = True
    """Mirror half of the pictures in training, where the data set allows it (never where captions speak of left and right)."""
    garden_pictures: int = 20_000
    """How many training pictures the built-in garden paints (it has no end; more take longer to paint at the start)."""
    share: float = 1.0
    """The share of the training pictures that is used, for a learning curve; a smaller one lies within a larger one."""
    trainval: bool = False
    """Train on the val split too, as published models of the zero-shot sets do; what is evaluated on val then means little."""
    counterfactuals: int = 1
    """Counterfactual captions (one attribute or word changed) kept ready for each caption, from which a step draws; at least as
    many as the method wants for a picture, and none where it wants none."""

    def __post_init__(self) -> None:
        at_least(self, "data", 1, "garden_pictures")
        at_least(self, "data", 0, "counterfactuals")
        above_zero(self, "data", "share")
        if self.share > 1.0:
            raise SettingsError(f"data.share is {self.share:g}, but must be at most 1")


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """The text encoder of a run."""

    encoder: str | None = place(None)
    """A shipped name, run folder or model folder whose text encoder is used, or the folder of a pretrained sentence encoder in BERT's
    layout (safetensors, tokenizer.json); else the garden has its own, and other sets train one."""
    standardize: bool = False
    """Shift and scale the sentences of a trained `encoder` to mean 0 and deviation 1 over the training captions, which networks without
    normalisation want; the saved model does the same. Pretrained sentence encoders always are."""
    width: int = 128
    """Width of the sentence embedding of an encoder that is trained first."""
    maximum_words: int | None = None
    """Words of a caption that the text encoder reads, in place of its own number: 48 where the run trains it first, 18 in DAMSM as
    published. Not for encoders that read characters or byte pairs."""
    steps: int | None = None
    """Steps of training captions against pictures, where the run trains its encoder first. By default 3,000; fewer for small sets, whose
    val split also ends that phase early."""
    batch_size: int = 64
    """Pictures in a batch of that training: each caption must find its own picture among them."""

    def __post_init__(self) -> None:
        at_least(self, "text", 1, "width", "maximum_words", "steps")
        at_least(self, "text", 2, "batch_size")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How the one training loop runs."""

    steps: int | None = role("budget", None)
    """The most steps any one phase may take."""
    epochs: float | None = role("budget", None)
    """Passes over the training pictures in the last phase, in place of the method's own number."""
    minutes: float | None = role("budget", None)
    """The most minutes that the method's phases may take together, each its part; a resumed run goes on counting."""
    core_minutes: float | None = role("budget", None)
    """The same in processor time: minutes times the cores that were at work. What else runs on the machine then changes little. Not for
    GPUs."""
    images: int | None = role("budget", None)
    """The most training pictures that the method's phases may see together, each its part; a picture seen twice counts twice."""
    epoch_pictures: int = 2000
    """The fewest pictures that an epoch of a painting method counts, in its length and in its schedules: a smaller set of your own is
    passed over more often, so that it trains as long as one of this size. 0 counts what there is, as `epochs` above always does."""
    batch_size: int | None = None
    """Pictures a step, over all processes, in place of the method's own number."""
    micro_batch: int | None = None
    """Pictures that a process trains on at a time: gradients of several such parts add up to a step of the whole batch, which needs less
    memory and more time. Refused where a step ties the rows of a batch together, as batch normalisation does."""
    recompute: bool = role("machine", False)
    """Let networks keep few feature maps for the gradient and compute the others again: less memory, more time, the same weights. Not
    together with compiled networks."""
    seed: int = role("seed", 0)
    """Decides initial weights, order, crops, captions and noise: the same seed gives the same run on the same machine."""
    device: Literal["auto", "cpu", "cuda"] = role("machine", "auto")
    """Where to train: `auto` takes a GPU if there is one."""
    devices: int = role("machine", 1)
    """Processes on this machine, one a GPU (or sharing the CPU)."""
    nodes: int = role("machine", 1)
    """Machines, each with `devices` processes; start the same command on each, with the environment that torchrun or Slurm sets."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "32-true"
    """Number format of the networks' arithmetic; weights stay float32. `auto` takes bfloat16 where a GPU has it, when the run begins."""
    compile: Literal["auto", "networks", "nothing"] = "nothing"
    """Whether networks are compiled by `torch.compile` (on a CPU that needs a C++ compiler); `auto` does so on a GPU."""
    ema_half_life: float = 10_000.0
    """Images after which a weight counts half in the running average that paints; 0 turns the average off."""
    log_every: int = role("shown", 50)
    """Steps between two lines of `log.jsonl`."""
    sample_every: int | None = role("shown", None)
    """Steps between two grids in `samples/`; by default about ten in each phase, at least one in 500 steps, the first one early."""
    checkpoint_every: int = role("shown", 500)
    """Steps between two checkpoints."""
    keep_checkpoints: int = role("shown", 2)
    """How many of the newest checkpoints stay on disk."""
    tensorboard: bool = role("shown", False)
    """Also write TensorBoard event files (needs the `log` extra)."""
    wandb: str | None = role("shown", None)
    """Also send the log to this project of Weights & Biases (needs the `wandb` extra)."""
    trackio: str | None = role("shown", None)
    """Also write the log to this project of trackio, which keeps it on this machine (needs the `trackio` extra)."""

    def __post_init__(self) -> None:
        at_least(self, "training", 1, "steps", "images", "micro_batch", "devices", "nodes", "log_every", "sample_every", "checkpoint_every")
        at_least(self, "training", 1, "keep_checkpoints")
        at_least(self, "training", 2, "batch_size")
        at_least(self, "training", 0, "ema_half_life", "epoch_pictures")
        above_zero(self, "training", "epochs", "minutes", "core_minutes")
        if self.recompute and self.compile == "networks":
            raise SettingsError("training.recompute is not for compiled networks: give --training.compile nothing")


@dataclass(frozen=True, kw_only=True)
class StyleSettings:
    """The style encoder S, which learns after the method to find the noise that a picture was painted from."""

    steps: int = 0
    """Steps of training S after the method, whose generator then stands still; 0 for none. A run may be given S later, with --resume."""
    batch_size: int = 64
    """Pictures that the generator paints for S at each step."""
    channels: int = 32
    """Channels of S's first stage; the later ones have up to eight times as many."""
    learning_rate: float = 1e-3
    """Highest learning rate of Adam; it rises over the first steps and falls to nothing along a half cosine."""

    def __post_init__(self) -> None:
        at_least(self, "style", 0, "steps")
        at_least(self, "style", 1, "channels")
        at_least(self, "style", 2, "batch_size")
        above_zero(self, "style", "learning_rate")


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Scores of what is being trained, taken as it trains."""

    every: float | None = role("shown", None)
    """Passes over the training pictures between two evaluations; 0 for none. By default none for methods that paint; a matching model is
    evaluated twenty times, and the best is kept."""
    split: str = role("shown", "val")
    """The split that is evaluated on."""
    metrics: str = role("shown", "fid")
    """What is scored of a method that paints, with commas between, as `limner evaluate --metrics` takes it."""
    count: int = role("shown", 1000)
    """Pictures to paint for one evaluation."""
    features: str | None = place(None, role="shown", named=True)
    """The feature network that looks at them, as `limner evaluate --features` takes it; by default the garden's judge."""

    def __post_init__(self) -> None:
        at_least(self, "evaluation", 0, "every")
        at_least(self, "evaluation", 2, "count")


@dataclass(frozen=True, kw_only=True)
class StartSettings:
    """The trained model that a run starts from, in place of fresh weights: `--from MODEL`."""

    model: str | None = place(None)
    """A shipped name, run folder or model folder, of the same method: its networks, its text encoder and, where it is a run, its
    discriminators. What has another size here begins fresh."""
    words: Literal["new", "all", "none"] = "new"
    """Which words the text encoder learns first, by matching the new captions with their pictures: those that it does not know yet, so that
    all others keep their meaning; all of them, with the whole encoder; or none."""
    neighbours: str | None = place(None)
    """The folder of a pretrained sentence encoder, which says what known words a new word begins as; else words spelled alike say so."""
    freeze: int = 0
    """Convolutions of each discriminator, those nearest to the picture first, that stand still (FreezeD: Mo et al., 2020)."""

    def __post_init__(self) -> None:
        at_least(self, "start", 0, "freeze")
        if self.model is None and (self.freeze or self.neighbours is not None):
            name = "freeze" if self.freeze else "neighbours"
            raise SettingsError(f"start.{name} is for a run that starts from a trained model: give --from MODEL, or leave it out")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named set of values laid over the defaults: what `--preset` chooses."""

    sentence: str
    """What it is for, in one sentence."""
    resolution: int
    """Side of the pictures in pixels, unless the user says otherwise."""
    method: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    style: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)


def training_fields(settings: type) -> set[str]:
    """The fields of a method's settings that say how to train and not what the networks are: those of its classes with `of_training`."""
    return {name for part in settings.__mro__ if vars(part).get("of_training") for name in part.__annotations__}


FAST = {"precision": "auto", "compile": "auto"}
"""Training settings of presets that are to be as fast as the device allows."""
LEFT_OPEN = {f"training.{name}" for name in FAST}
"""Settings, by their names on the command line, whose `auto` leaves the choice to the device; a run's recipe says what it has chosen."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every setting of a run, resolved: what `recipe.yaml` holds."""

    method: str
    """Name of the method, as `limner methods` lists it."""
    data: str
    """A built-in name or the folder of a prepared data set."""
    preset: str
    """The preset that the values started from."""
    resolution: int
    """Side of the pictures in pixels."""
    method_settings: Any
    """The method's own dataclass."""
    training: TrainingSettings = TrainingSettings()
    data_settings: DataSettings = DataSettings()
    text: TextSettings = TextSettings()
    style: StyleSettings = StyleSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    start: StartSettings = StartSettings()
    adopted: dict[str, str] = field(default_factory=dict)
    """Phases that are not trained but come from elsewhere, each with a run, model or import folder: `--from PHASE=FOLDER`."""
