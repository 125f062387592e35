"""What explorations say of exported files, which only paint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import limner
from limner.cli.explore.restyle import check_style
from limner.core.errors import SettingsError
from limner.explore.attend import attend
from limner.explore.complete import complete
from limner.explore.edit import edit_pictures
from limner.explore.invert import inverting
from limner.explore.lacking import lacking
from limner.explore.layout import lay_out
from limner.explore.redescribe import read
from limner.explore.stages import stages
from limner.explore.styles import styled
from limner.export.write import export
from limner.model import Model

CAPTION = "a red flower"
PICTURES = np.zeros((1, 16, 16, 3), np.uint8)


@pytest.fixture(scope="module")
def exported(tiny_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    pytest.importorskip("onnxruntime")
    path = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    export(tiny_model, "onnx", path)
    return limner.load(path)


def test_an_exported_file_is_not_told_to_be_of_another_method(exported: Model, tmp_path: Path) -> None:
    asked = (
        lambda: attend(exported, CAPTION),
        lambda: check_style("tiny.onnx", exported),
        lambda: complete(exported, [CAPTION], PICTURES, np.ones((1, 16, 16), bool), np.zeros(1, np.int64)),
        lambda: edit_pictures(exported, PICTURES, [("", CAPTION)]),
        lambda: inverting(exported),
        lambda: lay_out(exported, CAPTION),
        lambda: read(exported, PICTURES),
        lambda: stages(exported, [CAPTION]),
        lambda: styled(exported),
    )
    for what in asked:
        with pytest.raises(SettingsError, match="an exported file paints captions .*: give the run or model folder that it was made of"):
            what()


def test_another_model_is(tiny_model: Model) -> None:
    assert str(lacking(tiny_model, "this model does not")) == "this model does not"
