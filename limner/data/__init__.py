"""Captioned pictures: the garden, folders and shards, the prepared cache."""

from limner.data.garden import Garden

__all__ = ["Garden"]
