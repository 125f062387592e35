"""Captioned pictures: the garden, folders and shards, the prepared cache."""

from limner.data.garden import Garden
from limner.data.garden.bouquets import Bouquets

__all__ = ["Bouquets", "Garden"]
