"""Settings of painting that a model has not: the refusal says so of this model, and not of models like it."""

from __future__ import annotations

from typing import Any

import pytest

from limner.cli.sampling import SamplingArguments, set_sampling
from limner.core.errors import SettingsError
from limner.core.trainable import Conditions
from limner.explore.styles import styled
from limner.export.description import Description
from limner.export.exported import ExportedMethod
from limner.methods.stylegan import StyleGAN, StyleGANSettings
from limner.model import Model
from limner.text.no_text import NoText


def stylegan() -> Model:
    settings = StyleGANSettings(noise_width=6, mapping_layers=2, channels=(12, 8, 6), batch_sizes=(4,), images=(40, 80))
    return Model(StyleGAN(settings, Conditions(resolution=16, sentence_width=0)), NoText())


def exported() -> Model:
    about = Description("CI-GAN", 16, "float32", {}, [], {"z": "great circle"}, ["images"], None, 0, 20)
    return Model(ExportedMethod(about, {}), NoText())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"truncation_layers": 2}, "StyleGAN has no --truncation-layers: leave it out"),
        ({"map_noise": 0.5}, "StyleGAN has no --map-noise: leave it out"),
        ({"truncation": 0.5, "top_k": 3}, "StyleGAN has no --top-k: leave it out"),
    ],
)
def test_a_setting_that_a_method_of_the_kind_has_not(asked: dict[str, Any], message: str) -> None:
    model = stylegan()
    before = model.method.settings
    with pytest.raises(SettingsError, match=message):
        set_sampling(model, SamplingArguments(**asked))
    assert model.method.settings == before


def test_an_exported_file_has_none_of_them() -> None:
    model = exported()
    with pytest.raises(SettingsError, match="an exported file has no --truncation: leave it out"):
        set_sampling(model, SamplingArguments(truncation=0.5))
    with pytest.raises(SettingsError, match="an exported file paints captions and does nothing else: give the run"):
        styled(model)


def test_other_models_are_told_whose_setting_it_is(tiny_model: Model) -> None:
    for asked, message in (
        ({"truncation": 0.5}, "--truncation is for models with styles, such as stylegan2: leave it out"),
        ({"top_p": 0.5}, "--top-p is for models that draw codes, such as dall-e: leave it out"),
    ):
        with pytest.raises(SettingsError, match=message):
            set_sampling(tiny_model, SamplingArguments(**asked))
