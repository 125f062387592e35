"""Checkpoints of Obj-GAN's released code (jamesli1618/Obj-GAN, the author's copy of microsoft/Obj-GAN): boxes, shapes and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tyro.conf import arg

from limner.core.errors import CheckpointError, SettingsError
from limner.interop import trees
from limner.interop.importer import Files, ImportOptions, NetworkImporter
from limner.interop.state_dicts import read_networks

if TYPE_CHECKING:
    from torch import Tensor

    from limner.core.trainable import Conditions
    from limner.methods.obj_gan import ObjGAN
    from limner.text.encoder import TextEncoder

TITLE = "Obj-GAN"
UNKNOWN = "not a network of Obj-GAN: give the released box, shape or image checkpoints"
HEADS: trees.Names = [
    (r"UNCOND_DNET\.outlogits\.0\.(.+)", r"reality.logits.\1"),
    (r"COND_DNET\.jointConv\.(\d)\.(.+)", r"matching.joint.\1.\2"),
    (r"COND_DNET\.outlogits\.0\.(.+)", r"matching.logits.\1"),
    (r"img_code\.(.+)", r"look.\1"),
    (r"shp_code\.(.+)", r"maps.\1"),
    (r"roi_code\.(.+)", r"region.\1"),
]
MASKS: trees.Names = [(r"downsample(\d)\.(.+)", r"layers.{\1-1}.\2"), (r"get_logits\.outlogits\.0\.(.+)", r"logits.\1")]
NAMES: dict[str, trees.Names] = {
    "generator": [
        (r"ca_net\.fc\.(.+)", r"augmentation.linear.\1"),
        (r"h_net1_sent\.fc\.(.+)", r"linear.\1"),
        (r"h_net1_sent\.upsample(\d)\.(.+)", r"grow.{\1-1}.\2"),
        (r"h_net(\d)_hmap\.conv3x3\.(.+)", r"stages.{\1-1}.maps.look.\2"),
        (r"h_net(\d)_hmap\.downsample1\.(.+)", r"stages.{\1-1}.maps.halve.\2"),
        (r"h_net(\d)_main\.bt_att\.conv_context\.weight", r"stages.{\1-1}.objects.project.weight"),
        (r"h_net(\d)_main\.att\.conv_context\.weight", r"stages.{\1-1}.words.project.weight"),
        (r"h_net(\d)_main\.residual\.(\d)\.block\.(.+)", r"stages.{\1-1}.residuals.\2.layers.\3"),
        (r"h_net(\d)_main\.upsample\.(.+)", r"stages.{\1-1}.upsampling.\2"),
        (r"img_net(\d)\.img\.(.+)", r"stages.{\1-1}.picture.\2"),
    ],
    "shapes": [
        (r"downsample1\.(.+)", r"first.\1"),
        (r"downsample2\.(.+)", r"second.\1"),
        (r"fwd_convlstm\.Gates\.(.+)", r"forwards.gates.\1"),
        (r"bwd_convlstm\.Gates\.(.+)", r"backwards.gates.\1"),
        (r"jointConv\.(.+)", r"joint.\1"),
        (r"residual\.(\d)\.block\.(.+)", r"residuals.\1.\2"),
        (r"upsample(\d)\.(.+)", r"up.{\1-1}.\2"),
        (r"img_net\.img\.0\.(.+)", r"last.\1"),
    ],
    "boxes": [
        (r"l_embedding\.(.+)", r"label.\1"),
        (r"xy_embedding\.(.+)", r"place.\1"),
        (r"wh_embedding\.(.+)", r"size.\1"),
        (r"next_xy_embedding\.(.+)", r"next_place.\1"),
        (r"rnn\.(\w+)_l0", r"reader.\1"),
        (r"l_out\.(.+)", r"to_label.\1"),
        (r"xy_out\.(.+)", r"to_place.\1"),
        (r"wh_out\.(.+)", r"to_size.\1"),
    ],
    "patches": HEADS,
    "shaped": HEADS,
    "small-objects": HEADS,
    "large-objects": HEADS,
    "masks": MASKS,
}
"""What the authors call the parts of each kind of network, and what Limner does."""
SPECIAL = 3
"""Words of the box generator that are no labels: padding, beginning, end. Some files have an unknown word after them."""


@dataclass(frozen=True, kw_only=True)
class Options(ImportOptions):
    """What `limner import obj-gan` takes."""

    needs: ClassVar[str] = "box, shape and image checkpoints with --text, --words, --glove, --labels and --means"
    files: Files
    """The released checkpoints: of the box decoder, of the shape generator and of the image generator; and any discriminators, those of one
    kind from coarse to fine, that of single masks before that of whole pictures."""
    text: Annotated[Path | None, arg(metavar="FILE")] = None
    """The text_encoder100.pth that they were trained with: makes a model. Without it the networks alone are kept."""
    words: Annotated[Path | None, arg(metavar="FILE")] = None
    """The vocabulary of that text encoder: its captions.pickle, or a text of one word a line, that of id 1 first."""
    glove: Annotated[Path | None, arg(metavar="FILE")] = None
    """The GloVe vectors of words and labels, such as glove.6B.50d.txt."""
    labels: Annotated[Path | None, arg(metavar="FILE")] = None
    """Names of the labels, one a line, in the order of the image generator's label maps."""
    box_labels: Annotated[Path | None, arg(metavar="FILE")] = None
    """The same names in the order of the box decoder's ids, where that is another one."""
    means: Annotated[Path | None, arg(metavar="FILE")] = None
    """The authors' mean_std_train2014.txt: mean and deviation of boxes, in four lines."""
    maximum_words: Annotated[int, arg(metavar="N")] = 12
    """Words of a caption that are read."""

    def text_encoder(self) -> TextEncoder | None:
        """The encoder in the files that were given, or None. Raises SettingsError where some of them are missing."""
        given = {"--text": self.text, "--words": self.words, "--glove": self.glove, "--labels": self.labels, "--means": self.means}
        missing = [name for name, value in given.items() if value is None]
        if self.text is None and len(missing) >= 3:
            return None
        if missing:
            raise SettingsError(f"a model that paints needs all of {', '.join(given)}: give {' and '.join(missing)} too")
        from limner.interop.damsm import read_text_encoder, read_words
        from limner.interop.needed_words import Needed, keep_words
        from limner.text.joined import JoinedEncoder

        assert self.text and self.words and self.glove and self.labels
        encoder = read_text_encoder(self.text, read_words(self.words), self.maximum_words, within=self.within)
        spoken = {word for label in read_lines(self.labels) for word in encoder.words(label)}
        needed = Needed(listed=[*encoder.known_words(), *sorted(spoken)])
        return JoinedEncoder(encoder, keep_words(self.glove, "auto", needed, cutting="words").table).eval()


def read_obj_gan(
    files: Sequence[Path],
    *,
    labels: Path | None = None,
    box_labels: Path | None = None,
    means: Path | None = None,
    within: Sequence[str] = (),
) -> tuple[ObjGAN, list[str]]:
    """The released files as a method in evaluation mode, and the players whose weights they held; another player's weights are 0.

    labels, box_labels, means: as the options have them. within: as `read_networks` takes it. Raises CheckpointError for other files, and
    for files of different models.
    """
    from limner.methods.obj_gan import ObjGAN

    kinds: dict[str, list[dict[str, Tensor]]] = {}
    for path in files:
        for kind, state in _read(path, within).items():
            kinds.setdefault(kind, []).append(state)
    settings, conditions = _sizes(kinds, None if labels is None else read_lines(labels))
    states = _by_player(kinds, settings["branches"], conditions.resolution)
    if "boxes" in states:
        states["boxes"] = _boxes(states["boxes"], conditions.labels, box_labels, means)
    from limner.methods.obj_gan import ObjGANSettings

    method = trees.built(lambda: ObjGAN(ObjGANSettings(**settings), conditions), states, TITLE)
    return method, list(states)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises CheckpointError where it cannot be read or says something twice."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): give a text file of one name a line") from None
    if len(set(lines)) != len(lines):
        raise CheckpointError(f"{path} has the same name twice: give each label once")
    return lines


def kind_of(tensors: Mapping[str, Tensor]) -> str | None:
    """Which kind of network these tensors are of."""
    if "l_embedding.weight" in tensors:
        return "boxes"
    if "fwd_convlstm.Gates.weight" in tensors:
        return "shapes"
    if "h_net1_sent.fc.0.weight" in tensors:
        return "generator"
    if "get_logits.outlogits.0.weight" in tensors:
        return "masks"
    if "roi_code.0.weight" in tensors:
        return "large-objects" if "img_code.8.weight" in tensors else "small-objects"
    if "img_code.0.weight" in tensors:
        return "shaped" if "shp_code.1.weight" in tensors else "patches"
    return None


def _read(path: Path, within: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """The networks that a file holds, by kind, under Limner's names."""
    from limner.interop.pickled_modules import is_pickled_module, read_pickled_module

    if is_pickled_module(path):  # the box decoder is saved whole
        plain = read_pickled_module(path)
        kind = kind_of(plain)
        if kind is None:
            raise CheckpointError(f"{path} is {UNKNOWN}")
        found = {kind: plain}
    else:
        found = read_networks(path, kind_of, UNKNOWN, within=within)
    named = {}
    for kind, tensors in found.items():
        state = {trees.renamed(key, NAMES[kind], path, UNKNOWN): value for key, value in tensors.items()}
        named[kind] = trees.without_kernels(state)
    return named


def _by_player(kinds: Mapping[str, list[dict[str, Tensor]]], branches: int, resolution: int) -> dict[str, dict[str, Tensor]]:
    sides = [resolution >> (branches - 1 - number) for number in range(branches)]
    names = {
        **{kind: [kind] for kind in ("boxes", "shapes", "generator", "small-objects", "large-objects")},
        "masks": ["shape-single", "shape-whole"],
        "patches": [f"patches-{side}" for side in sides],
        "shaped": [f"shapes-{side}" for side in sides],
    }
    states: dict[str, dict[str, Tensor]] = {}
    for kind, held in kinds.items():
        if len(held) > len(names[kind]):
            raise CheckpointError(
                f"{len(held)} files hold networks of the kind '{kind}', of which a model has {len(names[kind])}: give fewer"
            )
        states |= dict(zip(names[kind], held, strict=False))
    return states


def _sizes(kinds: Mapping[str, list[dict[str, Tensor]]], names: Sequence[str] | None) -> tuple[dict[str, Any], Conditions]:
    """Every width, from the shapes of the weights; what a missing network would say stays as published."""
    from limner.core.trainable import Conditions

    values: dict[str, Any] = {"released": True, "released_text": True, "branches": 1}
    found: dict[str, int] = {}  # how many labels each network knows
    sentence, words, resolution = 256, 256, 64
    try:
        for state in kinds.get("generator", []):
            condition = state["augmentation.linear.weight"].shape[0] // 4
            channels, inner = state["stages.0.objects.project.weight"].shape[0], state["stages.0.residuals.0.layers.5.weight"].shape[0]
            later = trees.count(state, r"stages\.\d") - 1
            resolution = 16 * 2 ** (trees.count(state, r"grow\.\d") + later)
            sentence, words = state["augmentation.linear.weight"].shape[1], state["stages.0.objects.project.weight"].shape[1]
            found["image"] = state["stages.0.maps.look.1.weight"].shape[1]
            values |= {
                "branches": later + 1,
                "condition_width": condition,
                "noise_width": state["linear.0.weight"].shape[1] - condition,
                "generator_channels": channels,
                "label_width": inner - 3 * channels,
                "first_residual_blocks": trees.count(state, r"stages\.0\.residuals\.\d"),
                "residual_blocks": trees.count(state, r"stages\.1\.residuals\.\d"),
            }
        for state in kinds.get("shapes", []):
            width = state["last.weight"].shape[1]
            found["shape"] = state["first.0.weight"].shape[1]
            values |= {"shape_width": width, "shape_residuals": trees.count(state, r"residuals\.\d")}
        for state in kinds.get("boxes", []):
            known, hidden = state["label.weight"].shape
            found["box"] = known - SPECIAL
            values["box_components"] = state["to_place.weight"].shape[0] // 6
            if "generator" not in kinds:
                sentence = words = hidden
        widths = {state["look.0.weight"].shape[0] for kind in ("patches", "shaped") for state in kinds.get(kind, [])}
        widths |= {state["look.0.weight"].shape[0] for kind in ("small-objects", "large-objects") for state in kinds.get(kind, [])}
    except (KeyError, IndexError) as error:
        raise trees.not_one("network", TITLE, f"it lacks {error}") from error
    if len(widths) > 1:
        raise CheckpointError("the discriminators are of different widths: give files of one training")
    if widths:
        values["discriminator_channels"] = widths.pop()
    count = _labels(found, names)
    labels = tuple(names) if names is not None else tuple(f"label {number}" for number in range(1, count + 1))
    return values, Conditions(
        resolution=resolution, sentence_width=2 * sentence, word_width=words + values.get("label_width", 50), labels=labels
    )


def _labels(found: Mapping[str, int], names: Sequence[str] | None) -> int:
    """How many labels there are. Raises CheckpointError where the networks, or the names, differ."""
    others = {what: count for what, count in found.items() if what != "box"}
    counts = set(others.values()) or {found.get("box", 80)} | ({len(names)} if names else set())
    count = len(names) if names is not None else max(counts)
    if len(counts) > 1 or count not in counts or ("box" in found and found["box"] - count not in (0, 1)):
        told = ", ".join(f"the {what} generator {number}" for what, number in found.items())
        listed = "" if names is None else f", and {len(names)} are named"
        raise CheckpointError(f"the networks know different numbers of labels ({told}{listed}): give files of one training")
    return count


def _boxes(state: dict[str, Tensor], labels: Sequence[str], box_labels: Path | None, means: Path | None) -> dict[str, Tensor]:
    """The box generator's tensors with its labels in the image generator's order, without an unknown word, and what its data measure."""
    import torch

    count, known = len(labels), state["label.weight"].shape[0]
    first = known - count  # the first id that is a label's
    order = list(range(count))
    if box_labels is not None:
        theirs = read_lines(box_labels)
        if sorted(theirs) != sorted(labels):
            odd = next(iter(sorted(set(theirs) ^ set(labels))))
            raise CheckpointError(
                f"{box_labels} does not name the labels that --labels has ('{odd}' is in one of the two): give the same names"
            )
        order = [theirs.index(label) for label in labels]
    kept = torch.tensor([*range(SPECIAL), *(first + place for place in order)])
    hidden = state["label.weight"].shape[1]
    moved = dict(state)
    for name in ("label.weight", "to_label.weight", "to_label.bias"):
        moved[name] = state[name][kept]
    for name in ("to_place.weight", "to_size.weight"):  # their columns are the state, the labels, and what comes after
        value = state[name]
        moved[name] = torch.cat([value[:, :hidden], value[:, hidden : hidden + known][:, kept], value[:, hidden + known :]], 1)
    mean, deviation, first_code = torch.zeros(4), torch.ones(4), torch.zeros(4)
    if means is not None:
        pixels = torch.tensor(_means(means))  # [4, 2]: of x, y and width in pixels of 256, and of height by width
        scale = torch.tensor([256.0, 256.0, 256.0, 1.0])
        mean, deviation, first_code = pixels[:, 0] / scale, pixels[:, 1] / scale, pixels[:, 0]  # the means themselves begin a layout
    weights = torch.ones(count + SPECIAL)
    return {**moved, "mean": mean, "deviation": deviation, "first": first_code, "label_weights": weights}


def _means(path: Path) -> list[list[float]]:
    try:
        rows = [[float(number) for number in line.split()] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): give the authors' mean_std_train2014.txt") from None
    if len(rows) != 4 or any(len(row) != 2 for row in rows) or any(row[1] <= 0 for row in rows):
        raise CheckpointError(
            f"{path} does not hold a mean and a deviation in each of four lines: give the authors' mean_std_train2014.txt"
        )
    return rows


IMPORTER = NetworkImporter(
    name="obj-gan",
    help="Obj-GAN's released box, shape and image checkpoints, with their text encoder: a model that lays out and paints",
    description="""Turn networks of Obj-GAN's released code into Limner's obj-gan.
With all three generators, their text encoder and vocabulary, GloVe vectors and the names of labels, this makes a model.""",
    examples=(
        "limner import obj-gan box.pth shape_gen.pth netG.pth --text text_encoder100.pth --words captions.pickle "
        "--glove glove.6B.50d.txt --labels labels.txt --means mean_std_train2014.txt --out models/coco",
        "limner import obj-gan netG.pth --out networks/coco",
    ),
    options=Options,
    read=read_obj_gan,
    source="github.com/jamesli1618/Obj-GAN",
)
import_obj_gan = IMPORTER.write
"""Turns the files into a folder, as `NetworkImporter.write` says."""
