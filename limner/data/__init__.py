"""Captioned pictures: the garden, folders and shards, the prepared cache."""

from limner.data.garden import Garden
from limner.data.garden.bouquets import Bouquets
from limner.data.garden.stories import Stories

__all__ = ["Bouquets", "Stories", "Garden"]
