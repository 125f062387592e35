"""How a process on a CPU keeps its memory from one step to the next."""

from __future__ import annotations

import ctypes
import sys

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
