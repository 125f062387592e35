"""`limner import KIND`: checkpoints of other projects become Limner's own folders. Each kind is a file of `limner.interop`."""

from __future__ import annotations

from collections.abc import Sequence

from limner.cli.arguments import parse
from limner.cli.outputs import check_folder
from limner.cli.progress import progress_bar
from limner.core.errors import CheckpointError
from limner.interop import importer

HELP = """usage: limner import KIND FILE ... --out DIR [OPTIONS]

Turn a checkpoint of the authors' code, or of a port of it, into a folder that Limner reads. PyTorch's and safetensors' files
are taken, and of some projects Keras's or their own; weights that lie in an entry of a file, such as netG, are found there.

{kinds}

  limner import KIND --help shows its options with examples.

examples:
  limner import char-cnn-rnn flowers.pth --out encoders/flowers
  limner import dcgan-cls gen_200.pth --encoder encoders/flowers --out models/flowers
  limner import clip ViT-B-32.pt --vocabulary bpe_simple_vocab_16e6.txt.gz --out models/clip"""


def main(argv: Sequence[str]) -> int:
    """Run `limner import KIND ...` and return its exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        names = importer.names()
        width = max(12, *map(len, names))
        print(HELP.format(kinds="\n".join(f"  {name:<{width}}  {importer.get(name).help}" for name in names)))
        return 0
    kind = importer.get(argv[0])
    examples = "\n  ".join(("examples:", *kind.examples))
    options = parse(kind.options, argv[1:], prog=f"limner import {kind.name}", description=f"{kind.description}\n\n{examples}")
    if options.out.exists():  # what it holds may be wanted
        raise CheckpointError(f"--out {options.out} exists already: give another folder, or remove that one")
    check_folder(options.out)
    with progress_bar(kind.takes_long) as progress:
        lines = kind.run(options, progress)
    for line in lines:
        print(line)
    return 0
