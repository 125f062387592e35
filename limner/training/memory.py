"""The memory of a process: how it is kept from one step to the next on a CPU, and how much it has been at most."""

from __future__ import annotations

import ctypes
import sys

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
LARGEST = 1 << 30
"""Bytes up to which a piece of memory is kept."""


def keep_memory() -> None:
    """Let the C library keep what is freed, where it is glibc; elsewhere nothing changes.

    A training step frees what the next one asks for again, in pieces of megabytes. By itself glibc gives such pieces back to the system
    every time, which must then clear every page anew: of AttnGAN's step at 256 px that was a fifth.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, LARGEST)
    mallopt(_TRIM_THRESHOLD, ctypes.c_int(2**31 - 1))


def most_memory(device: torch.device) -> int:
    """The most memory so far, in MiB: of the device's allocations on a GPU, else of the whole process; 0 where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device) >> 20)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most >> 20 if sys.platform == "darwin" else most >> 10)
