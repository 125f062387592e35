"""How importers read weights: one reader, in `limner.core.state_dicts`, for every kind of file."""

from limner.core.state_dicts import read_networks, read_state_dict

__all__ = ["read_networks", "read_state_dict"]
