"""What `import limner` offers next to models and methods: data, training, scores, sharing. Each is loaded when it is first asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import SettingsError
from limner.core.pictures import CaptionedPictures
from limner.core.settings import Recipe

if TYPE_CHECKING:
    from limner.metrics.scoring.protocol import Score
    from limner.metrics.scoring.sources import Stored
    from limner.model import Model
    from limner.training.result import RunResult

SIDE = 64
"""Pixels at which a built-in set is painted where nobody says otherwise."""


def open_data(name: str | Path, split: str = "train", resolution: int | None = None, length: int | None = None) -> CaptionedPictures:
    """Open one split of a data set: a built-in one by name, or the folder of a prepared one.

    It has a length, can be indexed and iterated, and a `torch.utils.data.DataLoader` takes it: see `CaptionedPictures.__getitem__`.
    resolution: of a built-in set 64 by default, of a prepared one its own. length: how many pictures a built-in set paints.
    Raises DataError, saying what to do, for a folder that is not prepared, and SettingsError for a name that does not exist, or a number
    that is none.
    """
    from limner.core.asked import whole_number
    from limner.data import catalog
    from limner.data.prepared import open_prepared
    from limner.data.reduced import at_resolution

    resolution, length = (
        None if value is None else whole_number(what, value, 1) for what, value in (("resolution", resolution), ("length", length))
    )
    if str(name) in catalog.BUILT_IN:
        return catalog.open_data(str(name), split, SIDE if resolution is None else resolution, length=length)
    catalog.check_name(str(name))
    if length is not None:
        raise SettingsError(
            f"length={length} is for built-in sets ({', '.join(catalog.BUILT_IN)}); {name} has the pictures that it has: leave it out"
        )
    pictures = open_prepared(Path(name), split, resolution)
    return pictures if resolution is None else at_resolution(pictures, resolution)


def train(
    method: str | Path | Recipe,
    data: str | Path | None = None,
    out: str | Path | None = None,
    *,
    preset: str | None = None,
    resolution: int | None = None,
    start: str | Path | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> RunResult:
    """Train as `limner train METHOD --data DATA --out OUT` does; returns the run, whose `load()` is the model.

    Args:
        method: A method's or matching model's name, the path of a recipe.yaml, or a whole recipe.
        data: A built-in name or the folder of a prepared set; a recipe says it by itself.
        out: The run's folder, which must not exist yet unless with `resume`.
        preset: By default that of `limner train`: for a set of your own "small-set" or "photographs", where the method has them;
            otherwise "as-published" where there is a GPU, else "cpu".
        resolution: Side of the pictures in pixels, by default the preset's.
        start: A trained model of this method to start from: its networks' settings are the defaults then.
        resume: Go on with the run in `out`, which must be one of this method and, where it is given, of this preset.
        settings: Further settings by their names on the command line, such as {"training.minutes": 5, "method.noise-width": 50}.

    Raises LimnerError for what cannot work, before anything is written.
    """
    from limner.core.asked import place, whole_number
    from limner.core.recipes import from_preset, load_recipe, with_settings
    from limner.training.presets import suitable_preset
    from limner.training.run import train as run
    from limner.training.started import started_with

    if out is None:
        raise SettingsError("a run needs a folder: give out")
    out = Path(place("out", out, "the folder of the run"))
    if not isinstance(settings, Mapping | None):
        raise SettingsError(f"settings is {settings!r}: give a dict of names and values, such as {{'training.minutes': 5}}")
    resolution = None if resolution is None else whole_number("resolution", resolution, 1)
    method = str(method) if isinstance(method, Path) else method
    if not isinstance(method, str | Recipe):
        raise SettingsError(f"method is {method!r}: give a name, the path of a recipe.yaml, or a recipe")
    if isinstance(method, Recipe) or method.endswith((".yaml", ".yml")):
        recipe = method if isinstance(method, Recipe) else load_recipe(method)
        if preset and preset != recipe.preset:
            raise SettingsError(f"the recipe starts from preset '{recipe.preset}', not '{preset}': leave preset out, or change the recipe")
    elif resume and (stored := started_with(Path(out), method, preset)) is not None:
        recipe = stored
    else:
        if data is None:
            raise SettingsError("a run needs pictures: give data, a built-in name or the folder of a prepared set")
        recipe = from_preset(
            method, preset or suitable_preset(method, str(data), (settings or {}).get("training.device"))[0], str(data), resolution
        )
    if start is not None and recipe.start.model != str(start):
        from limner.training.starting import starting_recipe

        recipe = starting_recipe(recipe, str(start))
    recipe = dataclasses.replace(recipe, data=str(data or recipe.data), resolution=recipe.resolution if resolution is None else resolution)
    return run(with_settings(recipe, settings or {}), out, resume=resume)


def evaluate(
    model: Model | str | Path,
    data: CaptionedPictures | str | Path | None = None,
    metrics: str | Iterable[str] = ("fid", "kid"),
    *,
    split: str | None = None,
    count: int | None = None,
    seed: int = 0,
    features: str | None = None,
    matching: str | Path | None = None,
    device: str = "cpu",
) -> list[Score]:
    """Score a model, or a folder of pictures, against the real pictures of a split, as `limner evaluate` does.

    Args:
        model: A model, its name or folder; or a folder of pictures, whoever made them.
        data: The reference: a built-in name, a prepared set, or a folder of plain pictures; by default what the model was trained on.
        metrics: Names as `limner evaluate --help` lists them, or one text with commas between.
        split: Of a built-in or prepared set, or several with commas between; by default test, or val where a set has no test.
        count: Pictures to paint, 2 at least and 2,000 by default; of a folder all.
        seed: Of the captions' order and of the noise.
        features: The network that looks at pictures, as `--features` takes it; by default the garden's judge.
        matching: The folder of a matching model, for r-precision, vs, clip-score and ap; by default the one with which a run has trained
            its text encoder.
        device: Where everything is computed, such as "cuda".

    Raises SettingsError for metrics that cannot be taken, DataError for pictures that cannot be read or compared.
    """
    from limner.core.asked import one_seed, place, usable_device, whole_number
    from limner.core.files import cache_folder
    from limner.data.reduced import at_resolution
    from limner.features.registry import load_feature_network
    from limner.metrics.scoring.evaluate import ScoringRequest
    from limner.metrics.scoring.evaluate import evaluate as score
    from limner.metrics.scoring.matching import Placed
    from limner.model import Model
    from limner.training.scored import COUNT, score_model
    from limner.training.trained import seen_in_training, trained_on

    device, seed = str(usable_device(device)), one_seed(seed)
    count = None if count is None else whole_number("count", count, 2)
    names = _metric_names(metrics)
    home = None if isinstance(model, Model) else place("model", model, "a model, its name or folder, or a folder of pictures")
    pictures = None if home is None else _stored(Path(home), count, seed)
    if pictures is None:
        opened = model if isinstance(model, Model) else _load(model, device)
        data = data if data is not None else trained_on("the model" if home is None else str(home), opened.about)
    elif data is None:
        raise SettingsError(f"{model} holds pictures, and a score needs others to hold them against: give data")
    assert data is not None
    side = pictures.side if pictures is not None else opened.resolution
    if isinstance(data, CaptionedPictures):
        splits, source = [at_resolution(data, side)], None
    else:
        source = str(place("data", data, "a built-in name, the folder of a set, or a set that limner.open_data opened"))
        splits = _reference(source, split, side)
    request = ScoringRequest(
        metrics=names,
        count=pictures.count if pictures is not None else COUNT if count is None else count,
        seed=seed,
        network=load_feature_network(features, device) if features else None,
        matching=None if matching is None else Placed.load(str(place("matching", matching, "the folder of a matching model")), device),
        device=device,
        cache=cache_folder(),
    )
    if pictures is None:
        return score_model(opened, splits, request, place=None if home is None else str(home), data=source)
    training = seen_in_training(None, source, side) if source is not None and {"all", "memorisation"} & {*names} else None
    return score(pictures, splits, dataclasses.replace(request, training=training))


def fid(first: str | Path, second: str | Path, features: str = "fid-inception", device: str = "cpu") -> Score:
    """FID between the pictures of two folders, square ones of one size; whichever is `second` is the reference.

    features: the network that looks, as `limner evaluate --features` takes it. Raises as `evaluate` does.
    """
    from limner.core.asked import place

    of, against = (Path(place(name, value, "a folder of pictures")) for name, value in (("first", first), ("second", second)))
    (found,) = evaluate(of, _pictures_of(against), ["fid"], features=features, device=device)
    return found


def push(model: Model | str | Path, repository: str, *, licence: str, private: bool = False, token: str | None = None) -> str:
    """Put a model on the Hugging Face Hub as OWNER/NAME, with a card that names data, licence and memorisation; returns its address.

    licence: of the model, as the Hub names them, such as "cc-by-4.0": what the pictures that it has learned from allow. Needs the extra
    `limner[hub]`. Raises SettingsError without it, or where the Hub refuses.
    """
    from limner.interop.hub import push as upload

    return upload(model, repository, licence=licence, private=private, token=token)


def _load(name: str | Path, device: str) -> Model:
    import limner

    return limner.load(name, device)


def _stored(place: str | Path, count: int | None, seed: int) -> Stored | None:
    """The pictures of a folder; None for what is a model."""
    from limner.core import folder
    from limner.metrics.scoring.sources import Stored

    path = Path(place)
    if not path.is_dir() or (path / "recipe.yaml").exists() or folder.kind_of(path) is not None:
        return None
    return Stored(path, count, seed)


def _metric_names(metrics: str | Iterable[str]) -> list[str]:
    """The names in a text with commas between, or in a list."""
    named = metrics.split(",") if isinstance(metrics, str) else list(metrics) if isinstance(metrics, Iterable) else [metrics]
    if not all(isinstance(name, str) for name in named):
        raise SettingsError(f"metrics is {metrics!r}: give names, such as 'fid,kid' or ['fid', 'kid']")
    return [name.strip().lower() for name in named if name.strip()]


def _reference(data: str, split: str | None, side: int) -> list[CaptionedPictures]:
    """Splits of a set, or the pictures of a folder that is not prepared."""
    from limner.data.catalog import BUILT_IN
    from limner.data.reduced import at_resolution
    from limner.training.scored import reference

    path = Path(data)
    if path.is_dir() and not (path / "dataset.json").is_file():
        return [at_resolution(_pictures_of(path), side)]
    return reference(data, "test" if split is None and data in BUILT_IN else split, side)


def _pictures_of(path: Path) -> CaptionedPictures:
    from limner.metrics.scoring.sources import FolderPictures

    return FolderPictures(path)
