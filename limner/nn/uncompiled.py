"""Where compiled networks are to run as they are written."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import torch


def uncompiled() -> AbstractContextManager[object]:
    """Within the block no network runs compiled: for what is differentiated twice, which compiled graphs refuse, and for rare shapes."""
    if "torch._dynamo" not in sys.modules:  # nothing has been compiled, and asking would cost the import
        return nullcontext()
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
