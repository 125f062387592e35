"""The card that goes with a model: what it is, how it was made, how to make it again."""

from __future__ import annotations

import shlex
from typing import Any

from limner import methods
from limner.core.method import Method
from limner.core.recipes import recipe_text
from limner.core.registry import how_to_give
from limner.core.settings import Recipe
from limner.matching.model import MatchingModel


def model_card(recipe: Recipe, method: Method, about: dict[str, Any]) -> str:
    """A README.md for a model folder."""
    style = ""
    if about.get("style_steps"):
        style = f"\n- Style encoder: {about['style_steps']:,} steps; `limner explore restyle` paints captions in a picture's style"
    source = methods.source(recipe.method)
    outside = f"; no part of Limner: {how_to_give(source)}" if source else ""
    reads = method.reads_text(method.settings)
    what, asked = ("pictures from captions", '"a caption like those it was trained on", ') if reads else ("pictures, without captions", "")
    return f"""# {method.title} on {about["data"]}, {method.resolution} px

Paints {method.resolution} x {method.resolution} {what}. Made with Limner.

- Method: {method.title} ({method.paper}){outside}
- Data: {about["data"]} (fingerprint {about["fingerprint"]}), {about["split"]} split
- Training: preset `{recipe.preset}`, {about["steps"]:,} steps, {about["images"]:,} pictures,
  {about["seconds"] / 60:.0f} minutes, seed {about["seed"]}{style}

```python
import limner
model = limner.load("PATH OF THIS FOLDER")
pictures = model.generate({asked}n=4, seed=7)
```

To train it again: `limner train recipe.yaml --out RUN`, with this `recipe.yaml`:

```yaml
{recipe_text(recipe)}```

Terms: those of the pictures and captions it was trained on.
"""


def matching_card(recipe: Recipe, model: MatchingModel, about: dict[str, Any]) -> str:
    """A README.md for the folder of a matching model."""
    looks = f"a frozen network ({model.looks_with})" if model.looks_with else "a network trained with it, from nothing"
    chosen = ""
    if about["score"] is not None:
        chosen = f"\n- Chosen as the best of the run on the {recipe.evaluation.split} split: score {about['score']:.4f}"
    return f"""# {model.title} on {about["data"]}

Says how well a caption fits a picture. Made with Limner.

- Model: {model.title} ({model.paper})
- Text encoder: {model.encoder.kind}, {model.encoder.sentence_width} numbers a sentence; pictures: {looks}
- Data: {about["data"]} (fingerprint {about["fingerprint"]}), {about["split"]} split
- Training: preset `{recipe.preset}`, {about["steps"]:,} steps, {about["images"]:,} pairs,
  {about["seconds"] / 60:.0f} minutes, seed {about["seed"]}{chosen}

```
limner train gan-cls --data {shlex.quote(recipe.data)} --text.encoder PATH_OF_THIS_FOLDER --out RUN
limner evaluate PATH_OF_THIS_FOLDER --data {shlex.quote(recipe.data)}
```

To train it again: `limner train recipe.yaml --out RUN`, with this `recipe.yaml`:

```yaml
{recipe_text(recipe)}```

Terms: those of the pictures and captions it was trained on.
"""
