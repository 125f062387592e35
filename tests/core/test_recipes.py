"""Recipes: what is written comes back, and what is wrong is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from limner.core.errors import SettingsError
from limner.core.recipes import from_preset, laid_over, load_recipe, save_recipe
from limner.methods.gan_cls import GANCLSSettings


@pytest.mark.parametrize("preset", ["cpu", "as-published"])
def test_a_saved_recipe_comes_back_whole(tmp_path: Path, preset: str) -> None:
    recipe = from_preset("gan-cls", preset, "prepared/my birds: 1", resolution=32)
    recipe = dataclasses.replace(
        recipe,
        method_settings=dataclasses.replace(recipe.method_settings, learning_rate=1e-5, residual=not recipe.method_settings.residual),
        training=dataclasses.replace(recipe.training, steps=7, minutes=0.5, seed=11),
        text=dataclasses.replace(recipe.text, encoder="Wörter"),
    )
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_a_short_recipe_lies_over_its_preset(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text("method: gan-cls\ndata: garden\npreset: cpu\nmethod_settings:\n  learning_rate: 1e-4\ntraining: {steps: 3}\n")
    preset, recipe = from_preset("gan-cls", "cpu", "garden"), load_recipe(path)
    assert recipe.method_settings == dataclasses.replace(preset.method_settings, learning_rate=1e-4)
    assert recipe.training == dataclasses.replace(preset.training, steps=3)
    assert (recipe.resolution, recipe.data_settings, recipe.text) == (preset.resolution, preset.data_settings, preset.text)


def test_a_saved_recipe_from_before_a_setting_trains_as_it_did(tmp_path: Path) -> None:
    path, preset = tmp_path / "recipe.yaml", from_preset("limner-gan", "cpu", "garden")
    assert preset.method_settings.doublings != type(preset.method_settings)().doublings  # the preset changes it
    save_recipe(preset, path)
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "doublings:" not in line or "last" in line))
    found = load_recipe(path)
    assert found.method_settings == dataclasses.replace(preset.method_settings, doublings=type(preset.method_settings)().doublings)
    assert dataclasses.replace(found, method_settings=preset.method_settings) == preset


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: gan-cls\n", "does not say which data to use"),
        ("data: garden\n", "does not say which method to use"),
        ("method: gan-cls\ndata: garden\ntrainin: {}\n", "'trainin': did you mean 'training'"),
        ("method: gan-cls\ndata: garden\ntraining: {step: 3}\n", "setting of training in .*did you mean 'steps'"),
        ("method: gan-cls\ndata: garden\ntraining: {steps: many}\n", "steps is wrong: expected int"),
        ("method: gan-cls\ndata: garden\nmethod_settings: {mismatch: word}\n", "mismatch is wrong"),
        ("method: gan-cls\ndata: garden\nmethod_settings: [1]\n", "must hold settings by name"),
        ("method: gan-cls\ndata: garden\nmethod_settings: {counterfactual: 2}\n", "between 0 and 1"),
        ("method: gan-cls\ndata: garden\nresolution: big\n", "resolution in .* is 'big'"),
        ("method: dcgan\ndata: garden\n", "there is no method 'dcgan'"),
        ("method: gan-cls\ndata: garden\npreset: slow\n", "there is no preset of gan-cls 'slow'"),
        ("- gan-cls\n", "is not a recipe"),
        ("method: 'gan\n", "line .* is not YAML"),
        ("method: gan-cls\nresolution: 32\ntext: {}\nresolution: 64\n", "line 4 is not YAML: it says 'resolution' twice: remove one"),
        ("method: gan-cls\ntraining: {images: 8, images: 9}\n", "line 2 is not YAML: it says 'images' twice: remove one"),
    ],
)
def test_a_wrong_recipe_gets_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "endless.yaml").symlink_to("/dev/zero")
    with pytest.raises(SettingsError, match="endless.yaml is not a plain file: give the path of a recipe.yaml"):
        load_recipe(tmp_path / "endless.yaml")
    with pytest.raises(SettingsError, match="there is no recipe .*missing.yaml"):
        load_recipe(tmp_path / "missing.yaml")


def test_values_are_converted_only_where_nothing_is_lost() -> None:
    assert laid_over(GANCLSSettings(), {"learning_rate": 1}, "method").learning_rate == 1.0
    for values in ({"noise_width": 1.5}, {"noise_width": "3"}, {"residual": 1}):
        with pytest.raises(SettingsError, match="is wrong"):
            laid_over(GANCLSSettings(), values, "method")
