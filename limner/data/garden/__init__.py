"""The garden: procedurally painted flowers with captions, whose every attribute is known."""

from limner.data.garden.attributes import ATTRIBUTES, CLASS_NAMES, SPLIT_CLASSES, SPLIT_LENGTHS, class_of, codes_of_class, decode, encode
from limner.data.garden.captions import Caption
from limner.data.garden.garden import Garden, GardenItem
from limner.data.garden.painting import paint
from limner.data.garden.parsing import parse
from limner.data.garden.scenes import Scene, Scenes

__all__ = [
    "ATTRIBUTES",
    "CLASS_NAMES",
    "SPLIT_CLASSES",
    "SPLIT_LENGTHS",
    "Caption",
    "Garden",
    "GardenItem",
    "Scene",
    "Scenes",
    "class_of",
    "codes_of_class",
    "decode",
    "encode",
    "paint",
    "parse",
]
