"""torchrun and the settings must agree on the number of processes."""

from __future__ import annotations

import pytest

from limner.core.errors import SettingsError
from limner.core.torchrun import check_started

FLAGS = ("--training.devices", "--training.nodes")


def started(monkeypatch: pytest.MonkeyPatch, here: int, everywhere: int) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": str(here), "WORLD_SIZE": str(everywhere)}.items():
        monkeypatch.setenv(name, value)


def test_without_torchrun_any_number_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "4")  # as Limner's own children have it
    check_started(2, 2, *FLAGS)


@pytest.mark.parametrize(("here", "everywhere", "devices", "nodes"), [(2, 2, 2, 1), (1, 1, 1, 1), (4, 8, 4, 2)])
def test_equal_numbers_pass(here: int, everywhere: int, devices: int, nodes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, here, everywhere)
    check_started(devices, nodes, *FLAGS)


@pytest.mark.parametrize(("here", "everywhere", "devices", "nodes"), [(2, 2, 1, 1), (2, 2, 3, 1), (2, 4, 4, 1), (2, 4, 2, 1)])
def test_other_numbers_are_refused_with_the_options_that_fit(
    here: int, everywhere: int, devices: int, nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(monkeypatch, here, everywhere)
    fix = f"give --training.devices {here} --training.nodes {everywhere // here}$"
    with pytest.raises(SettingsError, match=f"torchrun has started {here} processes .* --training.devices is {devices} .*: {fix}"):
        check_started(devices, nodes, *FLAGS)


def test_a_command_for_one_machine_names_one_option(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, 2, 2)
    with pytest.raises(SettingsError, match="but --devices is 1: give --devices 2$"):
        check_started(1, 1, "--devices")
    started(monkeypatch, 1, 2)
    with pytest.raises(SettingsError, match="2 machines, but this command is for one"):
        check_started(1, 1, "--devices")
