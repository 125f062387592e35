"""Starting from a trained model: `limner train METHOD --from MODEL --data MINE`.

A few hundred pictures are too few to learn to paint from, and enough to turn a painter to. Its generator, text encoder and, where it is
a run, its discriminators begin with the weights that they have; all that has another size here begins fresh, and is named.
"""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor, nn

from limner.core import folder
from limner.core.errors import CheckpointError, LimnerError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.core.recipes import trainable
from limner.core.settings import Recipe, training_fields
from limner.core.trainable import Trainable
from limner.text.encoder import TextEncoder
from limner.text.extending import extend, learn_new_words_alone, new_words
from limner.text.registry import encoder_config, encoder_from_config
from limner.text.saving import load_encoder, named_encoder
from limner.training.checkpoints import Checkpoints
from limner.training.text import every_caption

TEXT_STEPS = 500
"""Steps in which a text encoder learns new words, unless the recipe says otherwise."""


def starting_recipe(recipe: Recipe, model: str) -> Recipe:
    """The recipe with the settings that a model was made with, so that its networks fit. How to train remains as the recipe has it: for how
    long, at which rates, and with changed pictures and validation where its preset is for small sets. Raises SettingsError where it is
    another method's, CheckpointError where there is none."""
    with folder.located(model, "method") as found:
        config = folder.describe(found, "method")
    if config["name"] != recipe.method:
        fix = f"limner train {config['name']} --from {shlex.quote(model)}"
        raise SettingsError(f"{model} is {_article(config['name'])}, not {_article(recipe.method)}: {fix}")
    try:
        settings: Any = msgspec.convert(config["settings"], trainable(recipe.method).Settings)
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{model} has settings that this Limner does not know ({error}): use the Limner that wrote it") from error
    kept = training_fields(type(settings))
    return dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(settings, **{name: getattr(recipe.method_settings, name) for name in kept}),
        resolution=int(config["conditions"]["resolution"]),
        text=dataclasses.replace(recipe.text, steps=TEXT_STEPS),
        start=dataclasses.replace(recipe.start, model=model),
    )


def starting_encoder(
    recipe: Recipe, pictures: CaptionedPictures, started: dict[str, Any] | None = None
) -> tuple[TextEncoder, list[str], dict[str, Any]]:
    """The text encoder of the model that a run starts from, which knows every word of the captions, the words that are new to it, and what
    makes the same encoder again, with other weights.

    started: the last of these, of a run that goes on: its checkpoint has the weights, and the model is not read.
    """
    start = recipe.start
    assert start.model is not None
    if started is not None:
        encoder, strange = encoder_from_config(started["encoder"]).eval(), list(started["new_words"])
    else:
        encoder, strange = _extended(recipe, pictures, start.model)
        started = {"encoder": encoder_config(encoder), "new_words": strange}
    if strange and start.words == "new":
        learn_new_words_alone(encoder, len(strange))
    return encoder, strange, started


def _extended(recipe: Recipe, pictures: CaptionedPictures, model: str) -> tuple[TextEncoder, list[str]]:
    """The text encoder of a model, with the words of the captions that were new to it, and these."""
    start, encoder = recipe.start, load_encoder(model)
    if recipe.text.maximum_words is not None:
        encoder.read_at_most(recipe.text.maximum_words)
    strange = new_words(encoder, every_caption(pictures)) if encoder.known_words() else []
    neighbours = named_encoder(start.neighbours, "start.neighbours") if start.neighbours else None
    try:
        extend(encoder, strange, neighbours, recipe.training.seed)
    except SettingsError as error:
        raise SettingsError(f"--from {model}: {error}: give --text.encoder") from None
    return encoder, strange


def learns_words(recipe: Recipe, strange: list[str]) -> bool:
    """Whether the text encoder of the model is trained before the method."""
    return recipe.start.words == "all" or (recipe.start.words == "new" and bool(strange))


def start(trained: Trainable, recipe: Recipe) -> str:
    """Give what is trained the weights of the model that its recipe starts from, as far as they fit; returns a line about what did.

    Raises SettingsError where less than half of what paints fits, or the model cannot be read.
    """
    model = recipe.start.model
    assert model is not None
    try:
        state = weights_of(model)
    except LimnerError as error:
        raise SettingsError(f"--from {model}: {error}") from error
    own = trained.state_dict()
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape and own[name].ndim}
    taken: dict[str, Tensor] = {}
    lines = []
    for player, made in trained.players().items():
        names = _names_of(trained, made.module)
        found = {name: fitting[name] for name in names if name in fitting}
        taken |= found
        if made.averaged and 2 * len(found) < len(names):
            fit = f"{len(found)} of {len(names)} tensors of the {player} of {model} have the sizes of this recipe's"
            raise SettingsError(f"{fit}: leave its settings and resolution as they are there")
        whole = "whole" if len(found) == len(names) else f"{len(found)} of {len(names)} tensors" if found else "fresh"
        lines.append(f"{player} {whole}")
    trained.load_state_dict(taken, strict=False)
    return f"starting from {model}: {', '.join(lines)}"


def weights_of(place: str) -> dict[str, Tensor]:
    """The tensors of what a run or a model has trained, by their names in it.

    Of a run they are those of all players in its newest checkpoint, and of those that paint the averaged ones.
    """
    path = Path(place)
    state: dict[str, Tensor] = {}
    if (path / "recipe.yaml").is_file() and (checkpoint := Checkpoints(path).load()) is not None:
        state |= checkpoint["modules"].get("method", {})
    with folder.located(place, "method") as found:
        return state | folder.read(found, "method").part("method")


def freeze(trained: Trainable, count: int) -> None:
    """Let the first `count` convolutions of each network that does not paint stand still, in the order in which a picture meets them.

    Raises SettingsError where a network's first convolution does not look at pictures.
    """
    for name, player in trained.players().items():
        if player.averaged or not count:
            continue
        networks = [*player.module] if isinstance(player.module, nn.ModuleList) else [player.module]
        for network in networks:
            weights = [value for value in network.parameters() if value.ndim == 4]
            if not weights or weights[0].shape[1] != 3:
                raise SettingsError(f"start.freeze: the first layer of {trained.title}'s {name} does not look at pictures: leave it out")
            held = {id(value) for value in weights[:count]}
            for module in network.modules():
                if held & {id(value) for value in module.parameters(recurse=False)}:
                    for value in module.parameters(recurse=False):
                        value.requires_grad_(False)


def _names_of(trained: Trainable, module: nn.Module) -> list[str]:
    """The tensors of a part of what is trained, by their names in the whole."""
    own = {id(value) for value in module.state_dict(keep_vars=True).values()}
    return [name for name, value in trained.state_dict(keep_vars=True).items() if id(value) in own and value.ndim]


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
