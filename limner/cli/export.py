"""`limner export`: a trained model as one file that paints without Limner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from limner.cli.arguments import parse
from limner.cli.models import open_model
from limner.cli.outputs import check_file
from limner.core.errors import SettingsError

DESCRIPTION = """Write a trained model as one file that paints without Limner: captions and seed in, pictures out.

Its pictures are compared with PyTorch's first, and a file whose pictures differ is not written.

examples:
  limner export garden --to onnx --out garden.onnx
  limner export garden --to page --out garden.html
  limner export runs/mine --to onnx --weights float16 --out mine.onnx
  limner export runs/mine --to pt2 --out mine.pt2
  limner generate garden.onnx "a red flower" -n 4 --out pictures"""

ENDINGS = {"onnx": ".onnx", "pt2": ".pt2", "page": ".html"}


@dataclass(frozen=True, kw_only=True)
class ExportArguments:
    model: Annotated[Positional[str], arg(metavar="MODEL")]
    """A shipped name such as 'garden', a run folder or a model folder."""
    to: Literal["onnx", "pt2", "page"]
    """An ONNX file, a torch.export program, or a page that paints in a browser, without a network."""
    out: Annotated[Path, arg(metavar="FILE")]
    """The new file: its name ends in .onnx, .pt2 or .html."""
    weights: Literal["float32", "float16"] = "float32"
    """How weights are stored: float16 takes half the bytes, and pictures change a little, by how much is printed."""


def main(argv: Sequence[str]) -> int:
    arguments = parse(ExportArguments, argv, prog="limner export", description=DESCRIPTION)
    ending = ENDINGS[arguments.to]
    if arguments.out.suffix.lower() != ending:
        raise SettingsError(f"--out {arguments.out}: with --to {arguments.to} its name ends in {ending}")
    check_file(arguments.out)
    if arguments.model.lower().endswith((".onnx", ".pt2")):
        raise SettingsError(f"{arguments.model} is an exported file: give the run or model folder that it was made of")
    from limner.export import write

    write.check(arguments.to, arguments.out, arguments.weights)
    made = write.export(open_model(arguments.model, "cpu"), arguments.to, arguments.out, arguments.weights)
    print(f"{made.path}  {made.bytes / 1e6:.1f} MB" + (f", opset {made.opset}" if made.opset else ""))
    print(f"largest difference from PyTorch's pictures over {write.CHECKED} captions: {made.difference:.4f} of {write.LEVELS} levels")
    if made.loss is not None:
        print(f"what float16 weights change: {made.loss[1]:.3f} levels in the mean, {made.loss[0]:.1f} at most")
    return 0
