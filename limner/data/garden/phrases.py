"""The garden's words: for every attribute value, the phrases that captions use and the further ones that `parse` understands.

Files that describe more than one flower can build their sentences from the same phrases.
"""

from __future__ import annotations

from collections.abc import Mapping

Words = Mapping[str, tuple[str, ...]]

COLOURS: Words = {
    "red": ("red", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "lemon yellow"),
    "turquoise": ("turquoise", "teal"),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
    "white": ("white", "snowy"),
}
COUNTS: Words = {"3": ("three",), "4": ("four",), "5": ("five",), "6": ("six",), "8": ("eight",)}
SHAPES: Words = {
    "round": ("round", "rounded"),
    "pointed": ("pointed", "sharp"),
    "heart-shaped": ("heart-shaped", "notched"),
    "slender": ("slender", "narrow"),
}
CENTRES: Words = {
    "golden": ("golden", "gold"),
    "white": ("white", "pale"),
    "black": ("black", "inky"),
    "green": ("green", "mossy"),
    "crimson": ("crimson", "wine red"),
}
BACKGROUNDS: Words = {
    "sky": ("under a pale blue sky", "against the sky", "in front of a clear sky"),
    "meadow": ("in a green meadow", "in the meadow", "in the fresh grass"),
    "night": ("at night", "under the stars", "in the dark of night"),
    "sand": ("on the sand", "on warm sand", "above sandy ground"),
}
SIZES: Words = {"small": ("small", "little", "tiny"), "large": ("large", "big", "great")}
FLOWERS: tuple[str, ...] = ("flower", "flower", "bloom", "blossom")
MIDDLES: tuple[str, ...] = ("centre", "centre", "middle", "eye")

PHRASES: Mapping[str, Words] = {
    "colour": COLOURS,
    "count": COUNTS,
    "shape": SHAPES,
    "centre": CENTRES,
    "background": BACKGROUNDS,
    "size": SIZES,
}

# Words that people use and captions do not. Those of a centre count only next to a word for the centre.
MORE_COLOURS: Words = {
    "turquoise": ("aqua", "cyan"),
    "purple": ("lilac", "lavender", "mauve"),
    "pink": ("rose", "magenta"),
    "white": ("ivory",),
    "blue": ("cobalt",),
    "red": ("ruby",),
    "yellow": ("lemon",),
}
MORE_COUNTS: Words = {value: (value,) for value in COUNTS}
MORE_SHAPES: Words = {
    "round": ("circular",),
    "pointed": ("pointy", "spiky"),
    "heart-shaped": ("heart", "cleft"),
    "slender": ("thin", "skinny"),
}
MORE_CENTRES: Words = {
    "golden": ("yellow", "amber"),
    "white": ("ivory", "cream"),
    "black": ("dark",),
    "crimson": ("dark red", "red", "burgundy", "maroon"),
}
MORE_SIZES: Words = {"small": ("miniature", "petite"), "large": ("huge", "giant")}
