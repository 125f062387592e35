"""How a picture of any shape becomes the square that is stored: cut, padded or squashed; smoothly, or pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageColor

from limner.core.errors import DataError

Fit = Literal["crop", "pad", "squash"]


@dataclass(frozen=True)
class View:
    """Which part of a picture is kept, and where in the stored square it stands."""

    left: float
    """Of the part that is kept, in pixels of the upright picture."""
    top: float
    width: float
    height: float
    wide: int
    """Width of that part in the stored square, in its pixels."""
    high: int
    across: int
    """Pixels of the stored square to the left of it."""
    down: int
    """Pixels of the stored square above it."""
    side: int
    """Side of the stored square."""

    @property
    def enlarges(self) -> bool:
        """Whether the picture has fewer pixels than it is stored with."""
        return self.wide > self.width or self.high > self.height


@dataclass(frozen=True, kw_only=True)
class Framing:
    """What the user wants of pictures that are not square, see-through or made of large pixels."""

    fit: Fit = "crop"
    """"crop" keeps the central square; "pad" the whole picture, on the background; "squash" the whole picture, stretched to a square."""
    background: str = "white"
    """What shows through transparent pixels and around padded pictures: a name of CSS or #rrggbb."""
    pixel_art: bool = False
    """Take the nearest pixel in place of an average, and enlarge by whole factors alone, so that every pixel stays a square."""

    def __post_init__(self) -> None:
        try:
            ImageColor.getrgb(self.background)
        except ValueError:
            raise DataError(f"--background '{self.background}' is not a colour: give a name such as white or black, or #rrggbb") from None

    @property
    def colour(self) -> tuple[int, int, int]:
        """The background's red, green and blue."""
        red, green, blue = ImageColor.getrgb(self.background)[:3]
        return red, green, blue

    def view(self, size: tuple[int, int], side: int, resolution: int) -> View:
        """What is kept of a picture of this width and height, in a square of `side` of which training crops `resolution`.

        What must be seen whole, a padded picture or pixel art, stands within the central `resolution` pixels, since those around it are
        the margin that random crops cut.
        """
        width, height = size
        if self.fit == "crop":
            square = min(size)
            box = ((width - square) / 2, (height - square) / 2, float(square), float(square))
        else:
            box = (0.0, 0.0, float(width), float(height))
        inner = resolution if self.pixel_art or self.fit == "pad" else side
        wide = high = inner
        if self.fit == "pad":
            wide, high = (max(1, round(inner * length / max(size))) for length in size)
        if self.pixel_art:
            wide, high = self._whole(wide, box[2]), self._whole(high, box[3])
            if self.fit == "pad" and wide > box[2]:  # one factor for both, or the picture would be stretched
                factor = int(inner // max(size))
                wide, high = width * factor, height * factor
        return View(*box, wide=wide, high=high, across=(side - wide) // 2, down=(side - high) // 2, side=side)

    @staticmethod
    def _whole(stored: int, pixels: float) -> int:
        return int(stored // pixels * pixels) if stored >= pixels else stored

    def framed(self, picture: Image.Image, view: View) -> Image.Image:
        """The stored square of an upright RGB picture. view: of this picture's size."""
        filter = Image.Resampling.NEAREST if self.pixel_art else Image.Resampling.LANCZOS
        box = (view.left, view.top, view.left + view.width, view.top + view.height)
        resized = picture.resize((view.wide, view.high), filter, box=box)
        if (view.wide, view.high) == (view.side, view.side):
            return resized
        square = Image.new("RGB", (view.side, view.side), self.colour)
        square.paste(resized, (view.across, view.down))
        return square
