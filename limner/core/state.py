"""State that is not a statistic: how deep a growing network is, a fade-in's alpha, an augmentation's probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class Stateful(nn.Module):
    """A module with plain numbers that are saved with its weights.

    They are attributes like any other, so reading one touches no tensor, and painting that depends on one can be exported. They are never
    averaged, rolled back or shared between processes, as batch statistics are.
    """

    def register_state(self, name: str, value: bool | int | float) -> None:
        """Keep `self.NAME`, which begins as `value` and keeps its type, in the state dict."""
        self.__dict__.setdefault("_registered_state", []).append(name)
        setattr(self, name, value)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self.__dict__.get("_registered_state", []):
            value = getattr(self, name)
            destination[prefix + name] = torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        # (local_metadata, strict, missing_keys, unexpected_keys, error_messages)
        names = self.__dict__.get("_registered_state", [])
        _, strict, missing, unexpected, _ = arguments
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        for name in names:
            key = prefix + name
            if key in unexpected:
                unexpected.remove(key)
            if key in state_dict:
                setattr(self, name, type(getattr(self, name))(state_dict[key].item()))
            elif strict:
                missing.append(key)
