"""How many processes torchrun has started, which must be as many as the settings say."""

from __future__ import annotations

import os

from limner.core.errors import SettingsError


def check_started(devices: int, nodes: int, of_devices: str, of_nodes: str | None = None) -> None:
    """Raise SettingsError where torchrun has started this process, and not with `devices` on each of `nodes` machines.

    of_devices, of_nodes: the options that say so; a command without the second is for one machine.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    here, everywhere = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    machines = max(everywhere // here, 1)
    if (devices, nodes) == (here, machines):
        return
    if of_nodes is None and machines > 1:
        raise SettingsError(f"torchrun has started {machines} machines, but this command is for one: leave --nnodes out")
    asked = f"{of_devices} is {devices}" + (f" and {of_nodes} is {nodes}" if of_nodes else "")
    fix = f"{of_devices} {here}" + (f" {of_nodes} {machines}" if of_nodes else "")
    where = "this machine" if machines == 1 else f"each of {machines} machines"
    raise SettingsError(f"torchrun has started {here} {'process' if here == 1 else 'processes'} on {where}, but {asked}: give {fix}")
