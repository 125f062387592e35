"""`limner import KIND`: checkpoints of other projects become Limner's own folders. Each kind is a file here."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import UseAppendAction, arg

from limner.cli.outputs import check_folder
from limner.core.errors import CheckpointError, unknown_name

KINDS = {
    "char-cnn-rnn": "the text encoder of Reed et al. (CVPR 2016): a .pth file of the PyTorch port, for --text.encoder",
    "dcgan-cls": "generator and discriminator of the PyTorch port of GAN-CLS: gen_N.pth, disc_N.pth",
    "stackgan": "generators and discriminators of StackGAN-Pytorch, either stage: netG_epoch_N.pth, netD_epoch_last.pth",
    "hdgan": "generator and discriminator of HDGAN's authors: G_epochN.pth, D_epochN.pth",
    "attngan": "AttnGAN's generator, with its text encoder and discriminators: netG_epoch_N.pth, text_encoderN.pth, netD0.pth ...",
    "controlgan": "ControlGAN's generator, with its text encoder and discriminators: netG_epoch_N.pth, netD0.pth ...",
    "clip": "OpenAI's or open_clip's weights of CLIP: a matching model, which also classifies pictures",
    "dm-gan": "DM-GAN's generator, with its text encoder and discriminators: bird_DMGAN.pth, text_encoderN.pth, netD0.pth ...",
    "damsm": "AttnGAN's text encoder, alone or with its image encoder: text_encoderN.pth, image_encoderN.pth",
    "df-gan": "DF-GAN of its authors, painter and discriminator in one file: state_epoch_NNN.pth",
    "mirrorgan": "MirrorGAN's generator, with its text encoder and discriminators: netG.pth, text_encoder.pth, netD0.pth ...",
    "stackgan-v2": "generator and discriminators of StackGAN++: netG_N.pth, netD0.pth, netD1.pth, netD2.pth",
}
"""Each name is that of a module of this package, dashes being underscores there, with a `main(argv)`."""

HELP = f"""usage: limner import KIND FILE ... --out DIR [OPTIONS]

Turn a checkpoint of the authors' code, or of a port of it, into a folder that Limner reads. PyTorch's and safetensors' files
are taken; weights that lie in an entry of a file, such as netG, are found there.

{chr(10).join(f"  {name:<12}  {sentence}" for name, sentence in KINDS.items())}

  limner import KIND --help shows its options with examples.

examples:
  limner import char-cnn-rnn flowers.pth --out encoders/flowers
  limner import dcgan-cls gen_200.pth --encoder encoders/flowers --out models/flowers
  limner import clip ViT-B-32.pt --vocabulary bpe_simple_vocab_16e6.txt.gz --out models/clip"""


@dataclass(frozen=True, kw_only=True)
class ImportArguments:
    """What every kind takes."""

    out: Annotated[Path, arg(metavar="DIR")]
    """The folder to write; it must not exist yet."""
    within: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="KEY")] = ()
    """The entry of a file that holds the weights, such as netG_ema, where several fit; dots lead further in. May be given several times."""


def main(argv: Sequence[str]) -> int:
    """Run `limner import KIND ...` and return its exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    name, *rest = argv
    if name not in KINDS:
        raise unknown_name("kind of file to import", name, KINDS)
    code: int = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").main(rest)
    return code


def refuse_existing(out: Path) -> None:
    """Raise CheckpointError where the folder to write is there already: what it holds may be wanted; SettingsError if it cannot be made."""
    if out.exists():
        raise CheckpointError(f"--out {out} exists already: give another folder, or remove that one")
    check_folder(out)
