"""The card that goes with a saved folder: what it is, how it was made, how to make it again."""

from __future__ import annotations

import shlex
from typing import Any

from limner.core import registry
from limner.core.recipes import recipe_text
from limner.core.settings import Recipe
from limner.core.trainable import Trainable


def card(recipe: Recipe, trained: Trainable, about: dict[str, Any]) -> str:
    """A README.md for the folder of what a recipe has trained."""
    source = registry.source(recipe.method)
    outside = f"; not part of Limner: {registry.how_to_give(source)}" if source else ""
    more = ""
    if about.get("style_steps"):
        more = f"\n- Style encoder: {about['style_steps']:,} steps; `limner explore restyle` paints captions in a picture's style"
    if about.get("started_from"):
        more += f"\n- Started from: {about['started_from']}"
    if about.get("score") is not None:
        more += f"\n- Chosen as the best of the run on the {recipe.evaluation.split} split: score {about['score']:.4f}"
    usage = trained.usage().replace("PATH", "PATH_OF_THIS_FOLDER").replace("DATA", shlex.quote(recipe.data))
    return f"""# {trained.title} on {about["data"]}, {trained.resolution} px

{trained.summary()} Made with Limner.

- Method: {trained.title} ({trained.paper}){outside}
- Data: {about["data"]} (fingerprint {about["fingerprint"]}), {about["split"]} split
- Training: preset `{recipe.preset}`, {about["steps"]:,} steps, {about["images"]:,} pictures,
  {about["seconds"] / 60:.0f} minutes, seed {about["seed"]}{more}

{usage}
To train it again: `limner train recipe.yaml --out RUN`, with this `recipe.yaml`:

```yaml
{recipe_text(recipe)}```

Terms: those of the pictures and captions it was trained on.
"""
