"""The hosts of a run that several machines share: which way they reach each other, and what to say when one is lost."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from limner.core.errors import TrainingError

_FROM_THE_NETWORK = re.compile(r"gloo|nccl|c10d|TCPStore|connection (closed|reset)|socket|broken pipe|process group", re.IGNORECASE)
_GET_ADDRESS = 0x8915  # SIOCGIFADDR


def settle_on_a_network() -> None:
    """Let gloo, which connects processes without GPUs, use the network that leads to MASTER_ADDR.

    By itself it takes the one that this host's name stands for, which often is the host's own loopback: others then wait for it in vain.
    What GLOO_SOCKET_IFNAME says goes first.
    """
    address = os.environ.get("MASTER_ADDR")
    if address and "GLOO_SOCKET_IFNAME" not in os.environ and (name := network_towards(address)):
        os.environ["GLOO_SOCKET_IFNAME"] = name


def network_towards(address: str) -> str | None:
    """The name of the network interface through which this host reaches an address; None where the system does not tell (IPv6 alone)."""
    try:
        from fcntl import ioctl

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # sends nothing
            own = probe.getsockname()[0]
            for _, name in socket.if_nameindex():
                try:
                    found = ioctl(probe.fileno(), _GET_ADDRESS, struct.pack("256s", name.encode()[:15]))
                except OSError:  # it has no address
                    continue
                if socket.inet_ntoa(found[20:24]) == own:
                    return name
    except (ImportError, OSError):
        pass
    return None


@contextmanager
def telling_who_is_lost(processes: int, hosts: int) -> Iterator[None]:
    """Around what several processes do together: when one of them is lost, a line says so, and what to do, in each of the others.

    processes, hosts: how many there are of the run. Raises TrainingError.
    """
    try:
        yield
    except RuntimeError as error:
        if processes == 1 or not _FROM_THE_NETWORK.search(str(error)):
            raise
        where = f" on {hosts} hosts" if hosts > 1 else ""
        first = " ".join(re.sub(r"\[/[^\]]*\]", "", str(error)).split()).split(". ")[0][:160]
        raise TrainingError(
            f"another process of this run of {processes}{where} has ended or cannot be reached ({first}): see what it said itself; then go "
            "on from the newest checkpoint with --resume, on as many hosts or fewer (--training.nodes)"
        ) from error
