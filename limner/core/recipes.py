"""Recipes: every setting of a run, from a preset or from a YAML file, checked down to the last key."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core import registry
from limner.core.errors import SettingsError, unknown_name
from limner.core.files import write_whole
from limner.core.folders_0_1 import renamed
from limner.core.registry import how_to_give, kept_copy
from limner.core.settings import (
    DataSettings,
    EvaluationSettings,
    Preset,
    Recipe,
    Role,
    StartSettings,
    StyleSettings,
    TextSettings,
    TrainingSettings,
    roles,
)

if TYPE_CHECKING:
    import yaml

    from limner.core.trainable import Trainable

GROUPS = {
    "method_settings": "method",
    "training": "training",
    "data_settings": "data",
    "text": "text",
    "style": "style",
    "evaluation": "evaluation",
    "start": "start",
}
"""The groups of settings in a recipe, and what they are called on the command line and in presets."""


def trainable_names() -> list[str]:
    """The names of all that can be trained."""
    return registry.names()


def trainable(name: str) -> type[Trainable]:
    """The class of anything that can be trained, by name. Raises SettingsError, with the nearest name, where there is none."""
    return registry.get(name)


def chosen_preset(method: str, name: str) -> Preset:
    """A method's preset, by name. Raises SettingsError where there is none."""
    presets = trainable(method).presets
    if name not in presets:
        raise unknown_name(f"preset of {method}", name, presets)
    return presets[name]


def from_preset(method: str, preset: str, data: str, resolution: int | None = None) -> Recipe:
    """The recipe that a preset gives: its values over the defaults of every group."""
    return _recipe_of(method, preset, chosen_preset(method, preset), data, resolution)


def _recipe_of(method: str, preset: str, chosen: Preset, data: str, resolution: int | None) -> Recipe:
    return Recipe(
        method=method,
        data=data,
        preset=preset,
        resolution=resolution or chosen.resolution,
        method_settings=laid_over(trainable(method).Settings(), chosen.method, "method"),
        training=laid_over(TrainingSettings(), chosen.training, "training"),
        data_settings=laid_over(DataSettings(), chosen.data, "data"),
        text=laid_over(TextSettings(), chosen.text, "text"),
        style=laid_over(StyleSettings(), chosen.style, "style"),
        evaluation=laid_over(EvaluationSettings(), chosen.evaluation, "evaluation"),
        start=laid_over(StartSettings(), chosen.start, "start"),
    )


def laid_over(settings: Any, values: Any, where: str) -> Any:
    """A copy of a settings dataclass with some values replaced: names known, types right.

    where: what the values belong to, for the error. Raises SettingsError in one line for a wrong name or value.
    """
    import msgspec

    if not isinstance(values, dict):
        raise SettingsError(f"{where} must hold settings by name, not {values!r}")
    known = [field.name for field in dataclasses.fields(settings)]
    for name in values:
        if name not in known:
            raise unknown_name(f"setting of {where}", str(name), known)
    merged = {name: getattr(settings, name) for name in known} | renamed(values)
    try:
        return msgspec.convert(merged, type(settings))
    except msgspec.ValidationError as error:
        raise SettingsError(f"{where}: {readable(str(error))}") from None


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with some settings replaced, by their names on the command line: "training.minutes", "method.noise-width".

    Raises SettingsError, with the nearest, for a name that does not exist, and for a value of the wrong type.
    """
    groups: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        group, _, setting = name.replace("-", "_").partition(".")
        if group not in GROUPS.values() or not setting:
            raise unknown_name(f"group of settings (in '{name}') called", group, GROUPS.values())
        groups.setdefault(group, {})[setting] = value
    laid = {field: laid_over(getattr(recipe, field), groups[group], group) for field, group in GROUPS.items() if group in groups}
    return dataclasses.replace(recipe, **laid)


def flat_settings(recipe: Recipe) -> dict[str, Any]:
    """Every setting of a recipe but the name of its preset, by its name on the command line: "training.log-every"."""
    values = {"method": recipe.method, "data": recipe.data, "resolution": recipe.resolution}
    for field, group in GROUPS.items():
        for name, value in dataclasses.asdict(getattr(recipe, field)).items():
            values[f"{group}.{name.replace('_', '-')}"] = plain(value)
    return values | {f"from.{phase}": place for phase, place in recipe.adopted.items()}


def settings_with(*wanted: Role) -> set[str]:
    """The settings of every run that have one of these roles, by their names on the command line: "training.log-every"."""
    shared = ((group, item.default) for item in dataclasses.fields(Recipe) if (group := GROUPS.get(item.name)))
    groups = ((group, type(default)) for group, default in shared if dataclasses.is_dataclass(default))
    return {f"{group}.{name.replace('_', '-')}" for group, made in groups for name, role in roles(made) if role in wanted}


def recipe_text(recipe: Recipe) -> str:
    """Every setting of a recipe as YAML."""
    import yaml

    text: str = yaml.safe_dump(plain(dataclasses.asdict(recipe)), sort_keys=False, allow_unicode=True)
    return text


def save_recipe(recipe: Recipe, path: Path | str) -> None:
    """Write every setting of a recipe as YAML, for `limner train` to read."""
    path = Path(path)
    source = registry.source(recipe.method)
    command = f"limner --with {source}" if source and source.endswith(".py") else "limner"
    write_whole(path, f"# Every setting of this run. To train it again: {command} train {path.name} --out RUN\n{recipe_text(recipe)}")


def load_recipe(path: Path | str, over: Recipe | None = None) -> Recipe:
    """Read a recipe. `method` and `data` must be there; what else is left out comes from the preset ("as-published" by default), or from
    `over`, a recipe of the same method. A setting that a recipe of `save_recipe` lacks did not exist when it was written: it takes its
    default, which changes nothing, and not what today's preset says.

    Raises SettingsError, in one line, for a file that cannot be read, a wrong key (with the nearest) or a value of the wrong type.
    """
    path = Path(path)
    values = read_mapping(path, "recipe", "method: gan-cls")
    known = [field.name for field in dataclasses.fields(Recipe)]
    for name in values:
        if name not in known:
            raise unknown_name(f"entry in {path} called", str(name), known)
    for name in ("method", "data"):
        if not isinstance(values.get(name), str):
            raise SettingsError(f"{path} does not say which {name} to use: add a line '{name}: NAME'")
    if values["method"] not in trainable_names() and (copy := kept_copy(values["method"], path.parent)):
        raise SettingsError(f"the method '{values['method']}' of {path} is not part of Limner: {how_to_give(str(copy))}")
    whole = _holds_every_setting(values)
    base = over or _base(values["method"], str(values.get("preset", "as-published")), values["data"], whole)
    resolution = values.get("resolution", base.resolution)
    if not isinstance(resolution, int) or isinstance(resolution, bool):
        raise SettingsError(f"resolution in {path} is {resolution!r}: give the side of the pictures in pixels, such as 64")
    adopted = values.get("adopted", base.adopted) or {}
    if not isinstance(adopted, dict) or not all(isinstance(text, str) for pair in adopted.items() for text in pair):
        raise SettingsError(f"adopted in {path} must hold lines like 'PHASE: FOLDER'")
    if whole and "epoch_pictures" not in values["training"]:
        values["training"] = values["training"] | {"epoch_pictures": 0}  # from the time when an epoch counted what there is
    groups = {name: laid_over(getattr(base, name), values[name] or {}, f"{name} in {path}") for name in GROUPS if name in values}
    return dataclasses.replace(base, data=values["data"], resolution=resolution, adopted=adopted, **groups)


def _holds_every_setting(values: Mapping[Any, Any]) -> bool:
    """Whether a recipe was written by `save_recipe`, of this version or an earlier one: it has the settings that all of them write."""
    training, method = values.get("training"), values.get("method_settings")
    return isinstance(method, dict) and isinstance(training, dict) and {"steps", "keep_checkpoints"} <= training.keys()


def _base(method: str, preset: str, data: str, whole: bool) -> Recipe:
    """What a recipe lies over: its preset, or the defaults where it once held every setting."""
    chosen = chosen_preset(method, preset)
    return _recipe_of(method, preset, Preset(sentence=chosen.sentence, resolution=chosen.resolution) if whole else chosen, data, None)


def read_mapping(path: Path, kind: str, example: str) -> dict[Any, Any]:
    """What a YAML file holds by name. Raises SettingsError, in one line, for a file that cannot be read or holds something else.

    kind: what the file is, and example: a line that such a file has, for the error.
    """
    import yaml

    if path.is_char_device():  # which may have no end
        raise SettingsError(f"{path} is not a plain file: give the path of a {kind}.yaml")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
    except FileNotFoundError:
        other = ", or the name of a method" if kind == "recipe" else ""
        raise SettingsError(f"there is no {kind} {path}: give the path of a {kind}.yaml{other}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the {kind} {path}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{place} is not YAML: {getattr(error, 'problem', None) or 'it cannot be read'}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} is not a {kind}: it must hold lines like '{example}'")
    return values


def _loader() -> type[yaml.SafeLoader]:
    """PyYAML follows YAML 1.1, where 1e-4 is text; everyone means the number."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            """The mapping; a key that stands in it twice is an error, for PyYAML would drop the first value."""
            seen: set[Any] = set()
            for key, _ in node.value:
                name = self.construct_object(key) if isinstance(key, yaml.ScalarNode) else id(key)
                if name in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"it says '{name}' twice: remove one", key.start_mark)
                seen.add(name)
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))
    return Loader


def plain(value: Any) -> Any:
    """Tuples as lists, all the way down: YAML has no tuples."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def readable(message: str) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.steps`" with the setting's name first."""
    text, _, place = message.replace("`", "").partition(" - at $.")
    return f"{place} is wrong: {text[:1].lower()}{text[1:]}" if place else text
