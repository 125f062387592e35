"""Where a generator looked for each word: its attention, laid over the picture (the figure of AttnGAN: Xu et al., CVPR 2018)."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from limner.data.sheet import caption_grid
from limner.explore.lacking import lacking
from limner.features.network import to_bytes
from limner.model.requests import check_asked

if TYPE_CHECKING:
    from limner.model import Model

PREFIX = "attention-"
"""What the names of attention maps in `Painting.extras` begin with; the side of their stage's map follows."""
DIMMED = 0.25
"""Light that is left of the picture where a word did not look at all."""


@dataclass(frozen=True)
class Attended:
    """A picture [H, W, 3] uint8, the words that were read, and for each side of a stage where each looked: [T, H, W], 0 to 1.

    A place shares its attention out among the words, so that the maps of a stage add up to 1 there.
    """

    caption: str
    picture: NDArray[np.uint8]
    words: list[str]
    maps: dict[int, NDArray[np.float32]]

    def overlay(self, side: int, word: int) -> NDArray[np.uint8]:
        """The picture, dark where a word of this stage did not look and bright where it looked most: [H, W, 3]."""
        found = self.maps[side][word]
        light = DIMMED + (1 - DIMMED) * found / max(float(found.max()), 1e-8)
        return np.round(self.picture * light[..., None]).astype(np.uint8)

    def label(self, side: int, word: int) -> str:
        """The word, and its share of the attention of all places."""
        return f"{self.words[word]} {self.maps[side][word].mean():.0%}"


def attend(model: Model, caption: str, *, seed: int = 0) -> Attended:
    """Paint a caption and keep where the generator looked for each of its words.

    Raises SettingsError for a caption that the model cannot read, or a model without attention to words.
    """
    check_asked(model.encoder, [caption])
    painting = model.painting([caption], [0], seed, check=False)
    found = {int(name.removeprefix(PREFIX)): value for name, value in painting.extras.items() if name.startswith(PREFIX)}
    if not found:
        raise lacking(model, "this model does not attend to words: give one of a method that does, such as attngan or dm-gan")
    words = model.encoder.read_words(caption)
    picture = to_bytes(painting.images)[0]  # [3, H, W]
    maps = {
        side: F.interpolate(value[:1, : len(words)].float(), size=picture.shape[1:], mode="bilinear", align_corners=False)[0].cpu().numpy()
        for side, value in sorted(found.items())
    }
    return Attended(caption, picture.permute(1, 2, 0).cpu().numpy(), words, maps)


def attention_grid(attended: Attended, tile: int = 112) -> Image.Image:
    """A row for each stage: the picture, then the picture under each word's attention, with the word and its share below."""
    rows, labels, titles = [], [], []
    for side in attended.maps:
        numbers = range(len(attended.words))
        rows.append([attended.picture, *(attended.overlay(side, number) for number in numbers)])
        labels.append(["picture", *(attended.label(side, number) for number in numbers)])
        titles.append(f"attention on the {side} x {side} map")
    return caption_grid(rows, titles, labels=labels, tile=tile, heading=[attended.caption], apart=1)


def attention_page(pictures: Sequence[Attended]) -> str:
    """A self-contained HTML page: for each caption its picture and, stage by stage, a figure a word."""
    style = resources.files("limner.report").joinpath("page.css").read_text(encoding="utf-8")
    more = (
        ".words { display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); }"
        " .words img, .whole img { width: 100%; display: block; border-radius: 4px; } .whole { max-width: 260px; }"
    )
    sections = "".join(map(_section, pictures))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Attention - Limner</title><style>\n{style}{more}</style></head><body><main><header><h1>Where each word looked</h1>"
        "<p>A picture is bright where the generator looked when it read the word. The figure next to a word is its share of the attention "
        f"of all places.</p></header>{sections}</main></body></html>\n"
    )


def _section(attended: Attended) -> str:
    caption = html.escape(attended.caption)
    parts = [f'<section><h2>{caption}</h2><figure class="whole">{_image(attended.picture, caption)}</figure>']
    for side in attended.maps:
        figures = "".join(
            f"<figure>{_image(attended.overlay(side, number), f'where {html.escape(word)} looked')}"
            f"<figcaption>{html.escape(attended.label(side, number))}</figcaption></figure>"
            for number, word in enumerate(attended.words)
        )
        parts.append(f'<h3>on the {side} x {side} map</h3><div class="words">{figures}</div>')
    return "".join(parts) + "</section>"


def _image(picture: NDArray[np.uint8], description: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return f'<img alt="{description}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'
