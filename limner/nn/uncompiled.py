"""Runs compiled networks in eager mode."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import torch


def uncompiled() -> AbstractContextManager[object]:
    """A context in which networks run in eager mode: for second derivatives, which compiled graphs refuse, and for rare shapes."""
    if "torch._dynamo" not in sys.modules:  # nothing has been compiled, and the import would take time
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
