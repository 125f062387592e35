"""The garden's stories: named flowers, a sentence and a picture a frame, with everything known that can be said of them."""

from limner.data.garden.stories.cast import CHARACTERS, HELD_OUT_CASTS, HELD_OUT_EVENTS, LOOKS, THEMES
from limner.data.garden.stories.plots import EVENTS, Event, Plot, State
from limner.data.garden.stories.sentences import exchange_names, exchanged_caption
from limner.data.garden.stories.stories import FRAMES, Shows, Stories, StoryItem

__all__ = [
    "CHARACTERS",
    "EVENTS",
    "FRAMES",
    "HELD_OUT_CASTS",
    "HELD_OUT_EVENTS",
    "LOOKS",
    "THEMES",
    "Event",
    "Plot",
    "Shows",
    "State",
    "Stories",
    "StoryItem",
    "exchange_names",
    "exchanged_caption",
]
