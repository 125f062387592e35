"""The garden's bouquets: painted pictures of two to four flowers, with everything known that can be said of them."""

from limner.data.garden.bouquets.bouquets import BouquetItem, Bouquets, Flower
from limner.data.garden.bouquets.captions import Caption
from limner.data.garden.bouquets.parsing import parse_bouquet
from limner.data.garden.bouquets.scenes import Mention, Said, Shown, Verdict, agree
from limner.data.garden.bouquets.worlds import HELD_OUT_COMPANY, HELD_OUT_RELATIONS, MOST, RELATIONS, THEMES

__all__ = [
    "HELD_OUT_COMPANY",
    "HELD_OUT_RELATIONS",
    "MOST",
    "RELATIONS",
    "THEMES",
    "BouquetItem",
    "Bouquets",
    "Caption",
    "Flower",
    "Mention",
    "Said",
    "Shown",
    "Verdict",
    "agree",
    "parse_bouquet",
]
