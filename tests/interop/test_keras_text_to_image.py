"""`limner import keras-text-to-image`: layers by name or shape in any order of the file, and files that are none of the code's."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limner.cli.main import main
from limner.core.errors import CheckpointError, LimnerError, SettingsError
from limner.core.trainable import Conditions
from limner.interop.keras_text_to_image import read_keras
from limner.methods.keras_text_to_image import KerasSettings, KerasTextToImage

pytest.importorskip("h5py", reason="the .h5 files are read by h5py: pip install -e '.[dev]'")
from shared.keras_files import glove_file, write_weights  # noqa: E402

SETTINGS = {"noise_width": 6, "hidden_width": 8, "inner_channels": 4, "outer_channels": 3}
SIDE, TEXT = 16, 5
CONFIG = {"img_width": SIDE, "img_height": SIDE, "img_channels": 3, "text_input_dim": TEXT, "random_input_dim": 6}


def build(version: str = "v1") -> KerasTextToImage:
    torch.manual_seed(0)
    method = KerasTextToImage(KerasSettings(version=version, **SETTINGS), Conditions(resolution=SIDE, sentence_width=TEXT))  # type: ignore[arg-type]
    for value in method.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.1, 1.0)
    return method.eval()


def rows_last(weight: Any, side: int) -> Any:
    """Rows of a map in Keras's order, by a loop over places."""
    channels = len(weight) // side**2
    order = [c * side**2 + h * side + w for h in range(side) for w in range(side) for c in range(channels)]
    return weight[order]


def dense(layer: Any) -> dict[str, Any]:
    return {"kernel": layer.weight.detach().numpy().T, "bias": layer.bias.detach().numpy()}


def conv(layer: Any) -> dict[str, Any]:
    return {"kernel": layer.weight.detach().permute(2, 3, 1, 0).numpy(), "bias": layer.bias.detach().numpy()}


def generator(method: KerasTextToImage, first: int = 1) -> dict[str, dict[str, Any]]:
    """The layers of a file by their names; first: the number of the first of each kind."""
    made = method.generator
    side = SIDE // 4
    names = [f"dense_{first + number}" for number in range(3 if made.noise is not None else 2)]
    joint = dense(made.joint)
    joint = {"kernel": rows_last(joint["kernel"].T, side).T, "bias": rows_last(joint["bias"], side)}
    norm = made.normalization
    arrays = {"gamma": norm.weight, "beta": norm.bias, "moving_mean": norm.running_mean, "moving_variance": norm.running_var}
    layers = {} if made.noise is None else {names[0]: dense(made.noise)}
    return {
        "input_1": {},
        **layers,
        names[-2]: dense(made.text),
        names[-1]: joint,
        f"batch_normalization_{first}": {name: rows_last(value.detach().numpy(), side) for name, value in arrays.items()},
        f"conv2d_{first}": conv(made.layers[3]),
        f"conv2d_{first + 1}": conv(made.layers[6]),
    }


def discriminator(method: KerasTextToImage) -> dict[str, dict[str, Any]]:
    made, side = method.discriminator, (SIDE // 2 - 4) // 2
    seen = dense(made.seen)
    return {
        "conv2d_3": conv(made.picture[0]),
        "conv2d_4": conv(made.picture[3]),
        "dense_5": {"kernel": rows_last(seen["kernel"], side), "bias": seen["bias"]},
        "dense_4": dense(made.text),
        "dense_6": dense(made.joint),
    }


def renamed(layers: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): arrays for name, arrays in layers.items()}


def holds(found: KerasTextToImage, expected: KerasTextToImage, *players: str) -> None:
    for player in players:
        for name, value in expected.players()[player].module.state_dict().items():
            assert torch.equal(found.players()[player].module.state_dict()[name], value), name


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
@pytest.mark.parametrize("form", ["bytes", "text", "whole model", "counted on", "backwards"])
def test_every_layer_finds_its_place(version: str, form: str, tmp_path: Path) -> None:
    method = build(version)
    layers = generator(method, 11 if form == "counted on" else 1), discriminator(method)
    if form == "backwards":
        layers = tuple(dict(reversed(own.items())) for own in layers)  # type: ignore[assignment]
    options = {"as_text": form == "text", "within": "model_weights" if form == "whole model" else None}
    files = [write_weights(tmp_path / f"{number}.h5", own, **options) for number, own in enumerate(layers)]
    found, players = read_keras(files)
    assert players == ["generator", "discriminator"] and found.conditions == method.conditions
    assert found.settings.version == version and found.settings.hidden_width == 8
    holds(found, method, *players)


OTHER = {"dense_1": "noise", "dense_2": "words", "dense_3": "joint"}


def test_other_names_are_told_apart_by_the_configuration(tmp_path: Path) -> None:
    method = build()
    file = write_weights(tmp_path / "g.h5", renamed(generator(method), OTHER))
    with pytest.raises(CheckpointError, match="'noise' \\(6 numbers\\) and 'words' \\(5 numbers\\) reads .*: give --config"):
        read_keras([file])
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    found, _ = read_keras([file], tmp_path / "config.json")
    holds(found, method, "generator")
    judge = write_weights(tmp_path / "d.h5", renamed(discriminator(method), {"dense_4": "words", "dense_5": "look", "dense_6": "answer"}))
    holds(read_keras([judge])[0], method, "discriminator")


def changed(layers: dict[str, Any], name: str, array: str, value: Any) -> dict[str, Any]:
    arrays = {**layers[name], array: value}
    return {**layers, name: {key: kept for key, kept in arrays.items() if kept is not None}}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no biases": (changed(generator(build()), "dense_2", "bias", None), "'dense_2' has no bias"),
    "a layer less": ({name: value for name, value in generator(build()).items() if name != "conv2d_2"}, "it has 1 convolutions .* has 2"),
    "layers too many": ({**generator(build()), "dense_9": dense(build().generator.text)}, "it has 4 linear layers"),
    "grey pictures": (
        changed(changed(generator(build()), "conv2d_2", "kernel", np.zeros((5, 5, 3, 1))), "conv2d_2", "bias", np.zeros(1)),
        "paints pictures of 1 channels: Limner's pictures have 3",
    ),
    "another kernel": (changed(generator(build()), "conv2d_1", "kernel", np.zeros((3, 3, 4, 3))), "its convolutions are"),
    "not finite": (changed(generator(build()), "dense_2", "bias", np.full(8, np.nan)), "values that are not finite"),
    "no square": (changed(discriminator(build()), "dense_5", "kernel", np.zeros((24, 8))), "not square"),
    "another width": (changed(generator(build()), "dense_2", "bias", np.zeros(7)), "the arrays of 'dense_2' do not fit each other"),
    "no scale": (changed(generator(build()), "batch_normalization_1", "gamma", None), "'batch_normalization_1' has no gamma"),
    "a short mean": (changed(generator(build()), "batch_normalization_1", "moving_mean", np.ones(3)), "do not fit each other"),
    "no channels": (
        changed(changed(generator(build()), "conv2d_1", "kernel", np.zeros((5, 5, 0, 3))), "conv2d_1", "bias", np.zeros(3)),
        "the arrays of 'conv2d_1' do not fit each other",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_none_of_the_code_s_files(name: str, tmp_path: Path) -> None:
    layers, message = BAD[name]
    with pytest.raises(CheckpointError, match=message):
        read_keras([write_weights(tmp_path / "file.h5", layers)])


def test_files_that_are_damaged_or_do_not_fit_each_other(tmp_path: Path) -> None:
    method = build()
    whole = write_weights(tmp_path / "g.h5", generator(method))
    (tmp_path / "cut.h5").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "text.h5").write_text("weights")
    (tmp_path / "config.npy").write_bytes(b"\x93NUMPY and a pickle")
    (tmp_path / "other.json").write_text(json.dumps({**CONFIG, "img_width": 32}))
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "endless.json").write_text('{"img_width": Infinity}')
    import h5py

    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["layers"] = np.zeros(3)
    with h5py.File(tmp_path / "groups.h5", "w") as file:  # a group where an array should be
        file.attrs["layer_names"] = [b"dense_1"]
        file.create_group("dense_1/kernel:0")
        file["dense_1"].attrs["weight_names"] = [b"kernel:0"]
    for name, message in (
        ("cut.h5", "cut short"),
        ("text.h5", "no HDF5 file"),
        ("none.h5", "there is no file"),
        ("other.h5", "no list of"),
        ("groups.h5", "damaged"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_keras([tmp_path / name])
    for name, message in (
        ("config.npy", "is a pickle, .* turn it into JSON"),
        ("other.json", "gives img_width 32, and the weights 16"),
        ("list.json", "is not a JSON object"),
        ("endless.json", "is not a JSON object"),
        ("none.json", "cannot read .*No such file"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_keras([whole], tmp_path / name)
    with pytest.raises(SettingsError, match="is a second generator"):
        read_keras([whole, whole])
    judge = discriminator(method)
    judge["dense_4"] = {"kernel": np.zeros((TEXT + 1, 8)), "bias": np.zeros(8)}
    with pytest.raises(LimnerError, match="has sentences of 6, and .* 5: give two files of one training"):
        read_keras([whole, write_weights(tmp_path / "d.h5", judge)])


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *given: Any, **named: Any) -> Any:
        if name == "h5py":
            raise ModuleNotFoundError("No module named 'h5py'")
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SettingsError, match=r"h5py, which is not installed: pip install 'limner\[keras\]'"):
        read_keras([tmp_path / "g.h5"])


def test_the_command_makes_a_model_that_paints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = glove_file(tmp_path / "vectors.txt", ["red", "bird"], np.random.default_rng(0).standard_normal((2, TEXT)))
    assert main(["import", "glove", str(vectors), "--first", "2", "--out", str(tmp_path / "glove")]) == 0
    file = write_weights(tmp_path / "g.h5", generator(build()))
    assert main(["import", "keras-text-to-image", str(file), "--out", str(tmp_path / "networks")]) == 0
    assert "a model that paints captions needs --encoder (limner import glove makes one)" in capsys.readouterr().out
    flags = ["--encoder", str(tmp_path / "glove"), "--out", str(tmp_path / "model")]
    assert main(["import", "keras-text-to-image", str(file), *flags]) == 0
    assert main(["generate", str(tmp_path / "model"), "a red bird", "-n", "3", "--out", str(tmp_path / "pictures")]) == 0
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 3
