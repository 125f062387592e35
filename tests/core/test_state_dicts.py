"""The reader of other people's weight files: where it finds tensors, what it takes off names, what it refuses."""

from __future__ import annotations

import argparse
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from limner.core.errors import CheckpointError
from limner.core.state_dicts import read_networks, read_state_dict

PLAIN = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}
OTHER = {"conv.weight": torch.zeros(1, 1, 3, 3), "conv.bias": torch.zeros(1)}
OPTIMIZER = {"state": {0: {"step": torch.tensor(5.0), "exp_avg": torch.zeros(2, 3)}}, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]}


def fits(tensors: Any) -> bool:
    return {"fc.weight", "fc.bias"} <= tensors.keys()


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def named(state: dict[str, Tensor], beginning: str) -> dict[str, Tensor]:
    return {beginning + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (PLAIN, ""),
        (named(PLAIN, "module."), ""),
        (named(PLAIN, "module.module."), ""),
        (named(PLAIN, "_orig_mod."), ""),
        (named(PLAIN, "module._orig_mod.module."), ""),
        ({"fc._orig_mod.weight": PLAIN["fc.weight"], "fc._orig_mod.bias": PLAIN["fc.bias"]}, ""),
        ({"n_averaged": torch.tensor(3), **named(PLAIN, "module.")}, ""),
        ({**PLAIN, "epoch": 3, "optimizer": OPTIMIZER}, ""),
        ({"netG": PLAIN}, "netG"),
        ({"state_dict": named(PLAIN, "module."), "optimizer": OPTIMIZER, "epoch": 3}, "state_dict"),
        ({"model": {"generator": {"state_dict": PLAIN}, "discriminator": {"state_dict": OTHER}}}, "model.generator.state_dict"),
        ({"state_dict": {**named(PLAIN, "netG."), **named(OTHER, "netD.")}}, "state_dict.netG"),
        ({"ema": named(PLAIN, "ema_model.module."), "step": torch.tensor(9)}, "ema.ema_model"),
        ({"params": PLAIN, "args": argparse.Namespace(lr=0.1)}, "params"),
        ([OTHER, PLAIN], "1"),
    ],
)
def test_weights_are_found_where_they_lie(content: object, place: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "limner"):
        found = read_state_dict(saved(content, tmp_path / "file.pth"), fits)
    assert found.keys() == PLAIN.keys() and all(torch.equal(found[name], PLAIN[name]) for name in PLAIN)
    assert caplog.messages == ([f"weights taken from '{place}' in {tmp_path / 'file.pth'}"] if place else [])


def test_safetensors_whatever_the_name(tmp_path: Path) -> None:
    for name in ("weights.safetensors", "weights.pth", "weights"):
        save_file(named(PLAIN, "module.netG."), tmp_path / name)
        assert torch.equal(read_state_dict(tmp_path / name, fits)["fc.weight"], PLAIN["fc.weight"])
    layers = [f"{number}.weight" for number in range(12)]
    save_file({name: torch.zeros(1) for name in layers}, tmp_path / "layers.safetensors")
    assert list(read_state_dict(tmp_path / "layers.safetensors")) == layers


def test_among_several_the_user_chooses(tmp_path: Path) -> None:
    averaged = {name: value + 1 for name, value in PLAIN.items()}
    path = saved({"model": {"netG": PLAIN, "netG_ema": averaged}, "netD": OTHER}, tmp_path / "both.pth")
    with pytest.raises(CheckpointError, match="holds weights under 'model.netG' and 'model.netG_ema': choose one by --within KEY"):
        read_state_dict(path, fits)
    assert torch.equal(read_state_dict(path, fits, within="model.netG_ema")["fc.bias"], averaged["fc.bias"])
    assert torch.equal(read_state_dict(path, fits, within=["elsewhere", "model.netG"])["fc.bias"], PLAIN["fc.bias"])
    for wrong in ("netG", "model.net", "netD"):
        with pytest.raises(CheckpointError, match=f"has no fitting weights under '{wrong}', but under 'model.netG' and 'model.netG_ema'"):
            read_state_dict(path, fits, within=wrong)
    assert read_state_dict(saved(PLAIN, tmp_path / "plain.pth"), fits, within="ema").keys() == PLAIN.keys()  # there is no choice to make


def test_networks_of_several_players(tmp_path: Path) -> None:
    def which(tensors: Any) -> str | None:
        return "painter" if fits(tensors) else "judge" if "conv.weight" in tensors else None

    path = saved({"netG": PLAIN, "netD": OTHER, "optimizerG": OPTIMIZER}, tmp_path / "all.pth")
    assert {name: set(state) for name, state in read_networks(path, which, "no").items()} == {"painter": set(PLAIN), "judge": set(OTHER)}
    assert set(read_networks(path, which, "no", within="netD")) == {"judge"}
    path = saved({"netG": PLAIN, "avg": PLAIN, "netD": OTHER}, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match="holds weights of the painter under 'netG' and 'avg'"):
        read_networks(path, which, "no")
    path = saved({"a": {"x": torch.zeros(1)}, "b": {"y": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"is no network \(its tensors lie under 'a', under 'b'\)"):
        read_networks(path, which, "no network")
    with pytest.raises(CheckpointError, match=r"holds no such weights \(its tensors lie under 'a', under 'b'\)"):
        read_state_dict(path, fits)


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b'\x10\x00\x00\x00\x00\x00\x00\x00{"damaged":', "cut short"),
        (b"", "cut short"),
        ({"netG": {"fc.weight": torch.full((2,), torch.nan), "fc.bias": torch.zeros(2)}}, "'fc.weight' in .* not finite"),
        ({"netG": {**PLAIN, "fc.weight": torch.eye(2).to_sparse()}}, r"'fc.weight' in .* is a sparse tensor: save it as a plain one"),
        ({"netG": PLAIN, "hook": Harm()}, r"holds more than tensors \(it asks for "),
        ({"epoch": 3, "lists": [1, 2]}, "'epoch' in it is not a tensor, and nothing else is"),
    ],
)
def test_what_is_refused_in_one_line(content: Any, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_state_dict(path, fits)
    assert "\n" not in str(caught.value) and capsys.readouterr().out == ""


def test_nothing_of_an_old_pickle_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"state_dict": Harm()}))
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        read_state_dict(tmp_path / "old.pth", fits)
    assert capsys.readouterr().out == ""
