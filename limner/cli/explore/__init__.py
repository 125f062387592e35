"""`limner explore NAME`: what can be done with a trained model. Each exploration is a file here, imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from limner.core.errors import unknown_name

EXPLORATIONS = {
    "attend": "show where a generator with attention to words looked for each word",
    "classify": "say which of some labels fits a picture, or how well a matching model tells a set's classes apart",
    "complete": "keep a part of a picture and let the model paint the rest",
    "directions": "find in a model with styles what changes its pictures most, and move along it",
    "edit": "change a word of a caption at fixed noise, or a given picture by words: what changes, and where?",
    "interpolate": "walk between two captions at fixed noise, two noises at a fixed caption, or two real pictures",
    "invert": "find the codes of real pictures and paint them again",
    "layout": "show where a model puts things, move them, and let the picture follow",
    "mix": "coarse styles of some pictures with the fine ones of others",
    "nearest": "put generated pictures next to their nearest training pictures: remembered or made?",
    "redescribe": "paint captions and let a captioner say what the pictures show: do the sentences agree?",
    "restyle": "paint captions in the style of pictures",
    "stages": "show one picture at every scale, from rough to final, or over the course of a run's training",
    "story": "paint a picture for each sentence of a story, and the story with names exchanged",
    "vary": "draw one random input of a painting anew, all else standing still: what does it decide?",
    "worst": "show the captions whose pictures the judge likes least",
}
"""Each name is that of a module of this package with a `main(argv)`."""

HELP = f"""usage: limner explore NAME MODEL [OPTIONS]

Look at what a trained model has learned.

{chr(10).join(f"  {name:<12} {sentence}" for name, sentence in EXPLORATIONS.items())}

  limner explore NAME --help shows its options with examples.

examples:
  limner explore attend runs/attngan "a red flower with five petals" --out attend.png
  limner explore classify runs/clip flower.png --labels "a red flower" "a white flower"
  limner explore complete runs/dalle flower.png "a red flower" --keep top --out rest.png
  limner explore directions runs/stylegan2 --judge garden --out directions.png
  limner explore edit garden "a red flower with five petals" "a blue flower with five petals" --out edit.png
  limner explore interpolate garden --caption "a white flower" --seeds 1 2 --steps 16 --out walk.gif
  limner explore invert runs/cigan --picture flower.png --out invert.png
  limner explore layout runs/scenes "a red flower to the left of a blue one" --move 1=0,12 --out layout.png
  limner explore mix runs/stylegan2 --at 4 --out mix.png
  limner explore nearest runs/mine --out nearest.png
  limner explore redescribe runs/mirrorgan "a red flower" --out read.png
  limner explore restyle runs/mine bird.jpg --captions "a red flower" "a blue flower" --out restyle.png
  limner explore stages runs/msg "a red flower at night" --out stages.png
  limner explore story runs/storygan --file story.txt --swap "Rosa=Iris" --out story.png
  limner explore vary runs/stackgan --captions "a red bird" --redraw epsilon --out vary.png
  limner explore worst garden --out worst.png"""


def main(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(HELP)
        return 0
    name, *rest = argv
    if name not in EXPLORATIONS:
        raise unknown_name("exploration", name, EXPLORATIONS)
    code: int = importlib.import_module(f"{__name__}.{name}").main(rest)
    return code
