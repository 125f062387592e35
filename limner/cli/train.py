"""`limner train`: a method, captioned pictures, and every setting as a typed flag."""

from __future__ import annotations

import dataclasses
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

import tyro
from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from limner import methods
from limner.cli.arguments import dashed, parse
from limner.cli.datasets import NAME_OR_FOLDER, Data
from limner.cli.outputs import check_folder
from limner.core import registry
from limner.core.errors import SettingsError, in_words, unknown_name
from limner.core.recipes import GROUPS, chosen_preset, from_preset, load_recipe, read_mapping, trainable, trainable_names
from limner.core.settings import DataSettings, EvaluationSettings, Recipe, StartSettings, StyleSettings, TextSettings, TrainingSettings
from limner.data.catalog import check_name
from limner.training.folder import check_place, is_first, owner
from limner.training.started import started_with

Settings = TypeVar("Settings")
DRY_RUN = "--dry-run"

EXAMPLE = """example:
  limner train limner-gan --data garden --out runs/first
  limner train limner-gan --data prepared/mine --out runs/mine --resolution 64 --method.repeated 0 --training.checkpoint-every 200
  limner train limner-gan --data prepared/mine --out runs/mine --resume
  limner train gan-cls --out runs/mine --resume --style.steps 3000
  limner train sje --data prepared/mine --out runs/words
  limner train my_method.py --data garden --out runs/mine"""

METHOD_EXAMPLE = """examples:
  limner train {name} --data {world} --out runs/first
  limner train {name} --data prepared/mine --out runs/mine --resolution 64 --training.minutes 60 --training.checkpoint-every 200
  limner train {name} --data prepared/mine --out runs/mine --resume"""
STYLE_EXAMPLE = """
  limner train {name} --data prepared/mine --out runs/mine --resume --style.steps 3000"""

GENERAL_HELP = f"""usage: limner train METHOD --data NAME|DIR --out RUN [OPTIONS]

Train a method, or a matching model, on captioned pictures. METHOD is a name from `limner methods`, the path of a recipe.yaml, or
a Python file with a method of your own, which is executed (docs/add-a-method.md).
Its options differ: `limner train METHOD --help` lists them all, with their sentences and defaults.

  --data NAME|DIR         {NAME_OR_FOLDER}
  --out RUN               folder for the run
  --preset NAME           cpu, as-published and, where a method has them, others such as small-set, photographs or fast
  --steps N               the most steps any one phase may take
  --training.minutes M    the most minutes that the method may train; --training.epochs and --training.images bound it likewise
  --resolution R          side of the pictures in pixels
  --seed S                the same seed gives the same run
  --device cpu|cuda|auto  where to train
  --resume                go on with the run in RUN
  --from MODEL            start from a trained model of this method: fine-tune it on --data (docs/fine-tuning.md)
  --from PHASE=FOLDER     take a phase from another run or an import in place of training it
  --memory SIZE           such as 6GB: choose the settings with which a step of training fits into this
  --dry-run               show recipe, players, phases, time and memory, and write nothing

"""


@dataclass(frozen=True, kw_only=True)
class TrainArguments(Generic[Settings]):
    """What `limner train METHOD` takes."""

    name: Annotated[Positional[str], arg(metavar="METHOD")]
    """A method's name, the path of a recipe.yaml, or a Python file with a method of your own."""
    data: Data
    out: Annotated[Path, arg(metavar="RUN")]
    """Folder for the run: it must not exist yet, unless with --resume."""
    preset: Annotated[str, arg(metavar="NAME")]
    """The set of values that the defaults below come from. For pictures of your own, by default `small-set` or `photographs`, where
    the method has them; otherwise `as-published` where there is a GPU, and `cpu` where there is none."""
    resolution: Annotated[int, arg(metavar="R")]
    """Side of the pictures in pixels."""
    steps: Annotated[int | None, arg(metavar="N")] = None
    """The most steps any one phase may take: short for --training.steps."""
    seed: Annotated[int | None, arg(metavar="S")] = None
    """The same seed gives the same run on the same machine: short for --training.seed."""
    device: Annotated[Literal["auto", "cpu", "cuda"] | None, arg(metavar="{auto,cpu,cuda}")] = None
    """Where to train: short for --training.device."""
    resume: Annotated[bool, FlagCreatePairsOff] = False
    """Go on with the run in RUN, under the settings that it has, where this command gives no others."""
    adopted: Annotated[UseAppendAction[tuple[str, ...]], arg(name="from", metavar="MODEL|PHASE=FOLDER")] = ()
    """Start from a trained model of this method, whose settings become the defaults: short for --start.model. Or PHASE=FOLDER: do not train
    this phase, but take what it trains from another run, a model folder or an import. May be given several times."""
    memory: Annotated[str | None, arg(metavar="SIZE")] = None
    """The most memory that training may take, such as 6GB: of the GPU, else of the process. What it takes is tried before, with
    --training.recompute and ever smaller --training.micro-batch where it is too much."""
    dry_run: Annotated[bool, FlagCreatePairsOff] = False
    """Show the whole recipe, who is trained, and what two real steps of each phase say of time and memory. Writes nothing."""
    method_settings: Annotated[Settings, arg(name="method")]
    training: TrainingSettings
    data_settings: Annotated[DataSettings, arg(name="data")]
    text: TextSettings
    style: StyleSettings
    evaluation: EvaluationSettings
    start: StartSettings


def main(argv: Sequence[str]) -> int:
    argv = dashed(argv)  # much is read off it before it is parsed
    name = _method_word(argv)
    if name is None:
        if {"-h", "--help"}.intersection(argv):
            print(GENERAL_HELP + EXAMPLE)
            return 0
        raise SettingsError(f"limner train needs a METHOD: {', '.join(trainable_names())}, or a recipe.yaml; see limner train --help")
    with early_refusals(name, argv):
        default, why = starting_point(name, argv)
        recipe, out, resume = read_arguments(name, default, argv)
        if (memory := _value_of("--memory", argv)) is not None:
            recipe = fit(recipe, memory, resume)
        if DRY_RUN in argv:
            return show_plan(recipe)
        return train_and_report(recipe, out, resume, why)


def fit(recipe: Recipe, memory: str, resume: bool) -> Recipe:
    """The recipe with what makes it fit into so much memory, after saying what was tried. Raises LimnerError."""
    from limner.training.fitting import fitted

    if resume:
        raise SettingsError("--memory is for a new run: one that goes on keeps its parts of a batch, but may take --training.recompute")
    for found in fitted(recipe, memory):
        if not isinstance(found, str):
            return found
        print(found, flush=True)
    raise AssertionError("the last that is found is a recipe")


def show_plan(recipe: Recipe) -> int:
    """Print what a recipe would do; of several processes, the first one does. Returns the exit code."""
    from limner.training.dry_run import dry_run
    from limner.training.launch import is_first_process

    first = is_first_process(recipe)
    for line in dry_run(recipe):
        if first:
            print(line, flush=True)
    return 0


@contextmanager
def early_refusals(name: str, argv: Sequence[str]) -> Iterator[None]:
    """Refuse what can be refused before PyTorch is loaded, which takes seconds; within the block, the run's folder is this process's.

    What is found here is looked at again, with the whole recipe, where it is used. Raises LimnerError.
    """
    out, data, resume = _value_of("--out", argv), _value_of("--data", argv), "--resume" in argv
    if not _is_file(name) and name not in trainable_names():
        raise unknown_name("method", name, trainable_names())
    if _is_recipe(name):
        read_mapping(Path(name), "recipe", "method: gan-cls")
    # Of several processes, the others find the first one's folder.
    if {"-h", "--help", DRY_RUN}.intersection(argv) or not out or not is_first():
        yield
        return
    check_folder(Path(out))
    check_place(Path(out), resume)
    if data:
        check_name(data)
    with owner(Path(out)):
        check_place(Path(out), resume)  # now that nobody else can make it
        yield


def starting_point(name: str, argv: Sequence[str]) -> tuple[Recipe, str]:
    """The recipe whose values are the defaults, and where it comes from: the run to go on with, a recipe file or a preset.

    data is left empty where only the command line can say it.
    """
    method, out, preset = name, _value_of("--out", argv), _value_of("--preset", argv)
    given: Recipe | None = None
    if _is_recipe(name):
        given = load_recipe(name)
        method = given.method
    elif name.endswith(".py"):
        method = methods.register_file(name)
    elif method not in trainable_names():
        raise unknown_name("method", method, trainable_names())
    if "--resume" in argv and out and (stored := started_with(Path(out), method, preset)):
        if given:  # what the file says counts as what options say
            if read_mapping(Path(name), "recipe", "method: gan-cls").get("preset", stored.preset) != stored.preset:
                raise SettingsError(f"{out} was started with preset '{stored.preset}', not '{given.preset}': change it in {name}")
            return load_recipe(name, over=stored), f"settings of {out}, and of {name}"
        return stored, f"settings of {out}"
    if given:
        if preset and preset != given.preset:
            raise SettingsError(f"{name} starts from preset '{given.preset}': leave --preset out, or change it in the file")
        return given, f"settings of {name}"
    if preset:
        why = f"preset '{preset}'"
    else:
        from limner.training.presets import suitable_preset

        device = _value_of("--device", argv) or _value_of("--training.device", argv)
        preset, why = suitable_preset(method, _value_of("--data", argv), device)
        why = f"preset '{preset}', because {why}"
    base = from_preset(method, preset, "")
    if model := next((text for text in _values_of("--from", argv) if not _is_phase(text)), _value_of("--start.model", argv)):
        from limner.training.starting import starting_recipe

        return starting_recipe(base, model), f"networks of {model}, else {why}"
    return base, why


def read_arguments(name: str, default: Recipe, argv: Sequence[str]) -> tuple[Recipe, Path, bool]:
    """The recipe that the command line asks for, the run's folder, and whether to go on with it."""
    groups: dict[str, Any] = {group: getattr(default, group) for group in GROUPS}
    shape = cast(Any, TrainArguments)[type(default.method_settings)]  # the method's own settings become flags
    arguments = parse(
        shape,
        argv,
        prog=f"limner train {name}",
        description=f"{_introduction(default)}\n\n{examples(name, default.method)}",
        default=shape(
            name=name,
            data=default.data or tyro.MISSING,
            out=Path("RUN") if DRY_RUN in argv else tyro.MISSING,
            preset=default.preset,
            resolution=default.resolution,
            adopted=tuple(f"{phase}={place}" for phase, place in default.adopted.items()),
            **groups,
        ),
    )
    models = [text for text in arguments.adopted if not _is_phase(text)]
    if len({*models}) > 1:
        raise SettingsError(f"--from {models[0]} and --from {models[1]}: a run starts from one model")
    start = dataclasses.replace(arguments.start, model=models[0]) if models else arguments.start
    short = {key: getattr(arguments, key) for key in ("steps", "seed", "device") if getattr(arguments, key) is not None}
    recipe = Recipe(
        method=default.method,
        data=arguments.data,
        preset=default.preset,
        resolution=arguments.resolution,
        method_settings=arguments.method_settings,
        training=dataclasses.replace(arguments.training, **short),
        data_settings=arguments.data_settings,
        text=arguments.text,
        style=arguments.style,
        evaluation=arguments.evaluation,
        start=start,
        adopted=dict(read_adopted(text) for text in arguments.adopted if _is_phase(text)),
    )
    return recipe, arguments.out, arguments.resume


def _is_phase(text: str) -> bool:
    """Whether --from names a phase, and not a model to start from."""
    return "=" in text and not Path(text).exists()


def read_adopted(text: str) -> tuple[str, str]:
    """PHASE=FOLDER. Raises SettingsError for anything else."""
    phase, equals, place = text.partition("=")
    if not phase or not equals or not place:
        fix = "`limner train METHOD --data ... --dry-run` names the phases"
        raise SettingsError(f"--from {text} is not PHASE=FOLDER, such as captioner=runs/first: {fix}")
    return phase, place


def examples(name: str, method: str) -> str:
    """What `--help` of a method shows; name: as the user wrote it, such as the path of a file."""
    from limner.core.abilities import abilities_of

    made = trainable(method)
    return (METHOD_EXAMPLE + (STYLE_EXAMPLE if "paints" in abilities_of(made) else "")).format(name=name, world=made.world)


def train_and_report(recipe: Recipe, out: Path, resume: bool, why: str) -> int:
    """Train, write the report page, and say what to do next. Returns the exit code."""
    from limner.training.launch import is_first_process
    from limner.training.run import train

    command = "limner" + (f" --with {shlex.quote(str(file))}" if (file := registry.given_file(recipe.method)) else "")
    first = is_first_process(recipe)  # with several processes, each runs this whole command
    if first:
        print(f"{recipe.method} on {recipe.data} at {recipe.resolution} px, seed {recipe.training.seed}, {why}", flush=True)
    result = train(recipe, out, resume=resume)
    if not first:
        return 0
    if result.interrupted:
        saved = "stopped and saved; go on with" if result.steps else "stopped before a step was taken; go on with"
        again = f"train {recipe.method} --data {shlex.quote(recipe.data)} --out {shlex.quote(str(out))} --resume"
        print(f"limner: {saved}: {command} {again}", file=sys.stderr)
        return 128 + (result.signal or signal.SIGINT)
    page = report(out)
    print(f"model   {out / 'model'}\n{page}", end="")
    places = {"limner": command, "OTHER_RUN": "OTHER", "RUN": shlex.quote(str(out)), "DATA": shlex.quote(recipe.data)}
    for word, line in trainable(recipe.method).next_steps(recipe.method_settings):
        print(f"{word:<7} {re.sub(r'^limner|OTHER_RUN|RUN|DATA', lambda found: places[found[0]], line)}")
    return 0


def report(out: Path) -> str:
    """Write the run's page, and return the line that names it. The model is there already: where no page can be, that is a warning."""
    from limner.report.page import write_report

    try:
        return f"report  {write_report(out)}\n"
    except Exception as error:
        fix = f"limner report {shlex.quote(str(out))} tries again"
        print(f"limner: the run is trained and saved, but its page could not be written ({in_words(error)}): {fix}", file=sys.stderr)
        return ""


def _method_word(argv: Sequence[str]) -> str | None:
    """METHOD, which may stand behind options: the first word, or the first that can only be one."""
    if argv and not argv[0].startswith("-"):
        return argv[0]
    return next((word for word in argv if word in trainable_names() or (_is_file(word) and not word.startswith("-"))), None)


def _is_recipe(word: str) -> bool:
    return word.endswith((".yaml", ".yml"))


def _is_file(word: str) -> bool:
    return _is_recipe(word) or word.endswith(".py")


def _value_of(flag: str, argv: Sequence[str]) -> str | None:
    """An option's value, the last where it is given twice, looked up before the whole command line can be read: it decides the defaults of
    the others."""
    return next(reversed([*_values_of(flag, argv)]), None)


def _values_of(flag: str, argv: Sequence[str]) -> Iterator[str]:
    for position, word in enumerate(argv):
        if word == flag and position + 1 < len(argv):
            yield argv[position + 1]
        elif word.startswith(f"{flag}="):
            yield word.partition("=")[2]


def _introduction(recipe: Recipe) -> str:
    made = trainable(recipe.method)
    purpose = chosen_preset(recipe.method, recipe.preset).sentence
    return f"{made.title}: {made.paper}.\nDefaults are those of preset '{recipe.preset}': {purpose}"
