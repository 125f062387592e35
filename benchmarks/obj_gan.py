"""Obj-GAN's step at 64 px compared with that of the authors' own code, whose checkout is given: `python benchmarks/obj_gan.py Obj-GAN`.

The checkout is of jamesli1618/Obj-GAN, commit 44b442f. Both have the networks of the first scale as published for COCO, the same captions
and layouts, losses and optimisers, and a running average; the object discriminators of both see pictures of 512 px, unless another side is
given. They get boxes as the released code computes them. DAMSM's loss is left out of both, because its network is the same. No data are
read.
The authors' RoIAlign needs CUDA, so Limner's stands in for it. Each code is measured in a process of its own, in turns, by processor time,
which a busy machine lengthens least; memory is the most that a process has held. `paint` is a picture of a given layout by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from next_to import compare, measured
from torch import Tensor, nn

from limner.core.layout import Layout
from limner.families.objects import places
from limner.families.objects.roi import roi_align

SIDE, LABELS, THINGS, WORDS = 64, 80, 10, 12
SENTENCE, VECTOR = 256, 50
"""Numbers in a sentence and in each of its words, and in a label's vector."""
WEIGHTS = {"patches": 13_304_450, "shapes": 6_239_821, "small": 5_545_934, "large": 12_625_358, "generator": 12_804_716}
"""How many weights each network has, in both codes."""
Steps = tuple[Callable[[], None], Callable[[], None]]


def scenes(rows: int) -> Layout:
    """Random layouts, the largest things first: of a picture's ten things five are small and five large, and each has its own label."""
    generator = torch.Generator().manual_seed(0)
    least, most = (torch.tensor(ends).repeat_interleave(THINGS // 2)[:, None] for ends in ((0.06, 0.5), (0.2, 0.9)))
    sizes = least + (most - least) * torch.rand(rows, THINGS, 2, generator=generator)
    corners = (1.0 - sizes) * torch.rand(rows, THINGS, 2, generator=generator)
    labels = torch.rand(rows, LABELS, generator=generator).argsort(1)[:, :THINGS]
    return places.by_size(Layout(torch.cat([corners, sizes], 2), labels, torch.ones(rows, THINGS, 32, 32)))


def check_sizes(*networks: nn.Module) -> None:
    """Fail where a network has more or fewer weights than the other code's."""
    found = [sum(value.numel() for value in network.parameters()) for network in networks]
    assert found == list(WEIGHTS.values()), found


def ours(rows: int, object_side: int) -> Steps:
    """A step of Limner's as its trainer takes it, with optimiser, running average and checks; and painting one picture."""
    import limner
    from limner.core.batch import Batch
    from limner.core.text import TextFeatures
    from limner.core.trainable import Progress
    from limner.methods.obj_gan import ObjGAN
    from limner.training.players import PlayerTraining, Statistics

    names, settings = [f"label {number}" for number in range(LABELS)], {"branches": 1, "released": True, "released_text": True}
    widths = {"sentence_width": 2 * SENTENCE, "word_width": SENTENCE + VECTOR, "object_side": object_side}
    method = limner.create("obj-gan", preset="as-published", resolution=SIDE, labels=names, **widths, **settings)
    assert isinstance(method, ObjGAN)
    method.label_words.normal_()
    phase = method.phases()[-1]
    players = {name: player for name, player in method.players().items() if name in (phase.players or ())}
    check_sizes(*(player.module for player in players.values()))
    statistics_ = Statistics(method)
    turns = {name: PlayerTraining(player, statistics_, ema_half_life=11_090.0) for name, player in players.items()}
    pictures, count, layout = torch.rand(rows, 3, SIDE, SIDE) * 2 - 1, np.arange(rows), scenes(rows)
    text = TextFeatures(
        torch.randn(rows, 2 * SENTENCE), torch.randn(rows, WORDS, SENTENCE + VECTOR), torch.ones(rows, WORDS, dtype=torch.bool)
    )
    progress = Progress(phase=phase.name, step=1, steps=100, images=0, epoch=0.0)
    batch = Batch(pictures, [["a"]] * rows, (text,), count, count, 0, layout=layout)

    def step() -> None:
        for update in method.train().training_step(batch, progress):
            turns[update.player].take(update.loss, progress, rows)

    @torch.no_grad()
    def paint() -> None:
        method.eval().paint_layout(text[:1], layout[:1], method.draw_noise(0, [0]))

    return step, paint


class Entries(dict[str, Any]):
    """In place of easydict's."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


class Regions(nn.Module):
    """In place of the authors' RoIAlign; it takes regions as they lie in memory: one after the other, as many of each picture."""

    def __init__(self, side: int, _: int, scale: float) -> None:
        super().__init__()
        self.side, self.scale = side, scale

    def forward(self, maps: Tensor, regions: Tensor) -> Tensor:
        return roi_align(maps, regions[:, 1:].view(len(maps), -1, 4) * self.scale, self.side).flatten(0, 1)


def stand_in(name: str, **contents: Any) -> None:
    """A module in place of one that is not installed, or that needs CUDA."""
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(contents)


def theirs(code: str, rows: int, object_side: int) -> Steps:
    """A step of the authors' `train`, from their networks and losses; and painting one picture."""
    stand_in("easydict", EasyDict=Entries)
    stand_in("torchvision", models=None)
    stand_in("scipy", linalg=None)
    stand_in("skimage")
    stand_in("skimage.transform")
    stand_in("models.roi_align.modules.roi_align", RoIAlignAvg=Regions)
    vars(np).update(float=float, int=int)  # under their old names
    folder = Path(code, "image_generation")
    sys.path.insert(0, str(folder))
    from miscc import losses  # type: ignore[import-not-found]
    from miscc.config import cfg  # type: ignore[import-not-found]
    from miscc.utils import copy_G_params, weights_init  # type: ignore[import-not-found]

    # Today a tensor's `data` has a size of its own.
    text = (folder / "model.py").read_text(encoding="utf-8").replace("vroi_data.data", "vroi_data")
    networks: dict[str, Any] = {"__name__": "model"}
    exec(compile(text, "model.py", "exec"), networks)
    cfg.CUDA, cfg.TREE.BRANCH_NUM = False, 1
    losses.words_loss = lambda *_, **__: (torch.zeros(()), torch.zeros(()), None, None)
    losses.sent_loss = lambda *_, **__: (torch.zeros(()), torch.zeros(()), None)
    generator, patches, shaped = networks["G_NET"](LABELS), networks["PAT_D_NET64"](), networks["SHP_D_NET64"](LABELS)
    small, large = networks["OBJ_SS_D_NET"](LABELS), networks["OBJ_LS_D_NET"](LABELS)
    players = {"patches": patches, "shapes": shaped, "small": small, "large": large, "generator": generator}
    check_sizes(*players.values())
    for network in players.values():
        network.apply(weights_init)
    optimizers = {name: torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for name, network in players.items()}
    average = copy_G_params(generator)
    codes: dict[str, Tensor] = {}
    # With one scale their generator keeps for itself what things find in the caption.
    generator.h_net1_main.bt_att.register_forward_hook(lambda *given: codes.update(found=given[2][0][..., 0].transpose(1, 2).detach()))
    for network in (small, large):  # these write into the boxes that they are given, which are not copies without CUDA
        network.register_forward_pre_hook(lambda _, given: (*given[:2], given[2].clone(), given[3], object_side))
    layout, pictures = scenes(rows), [torch.rand(rows, 3, SIDE, SIDE) * 2 - 1]
    boxes = torch.cat([layout.boxes * SIDE, layout.labels[..., None], torch.zeros(rows, THINGS, 1)], 2)
    halved = torch.cat([boxes[..., :4] / 2, boxes[..., 4:]], 2)
    maps = [places.label_maps(places.pasted(layout, SIDE), layout.labels, LABELS)]
    masks, things, labels = places.pasted(layout, SIDE // 2), torch.full((rows,), THINGS), torch.randn(LABELS, VECTOR)
    sentence, words, keys = torch.randn(rows, SENTENCE), torch.randn(rows, SENTENCE, WORDS), torch.randn(rows, VECTOR, WORDS)
    vectors, padding = labels[layout.labels].transpose(1, 2)[..., None], torch.zeros(rows, WORDS, dtype=torch.bool)

    def painted(count: int) -> Any:
        read = (value[:count] for value in (sentence, words, keys, vectors, padding))
        scene = (maps[0][:count],), (boxes[:count],), halved[:count], things[:count], (), masks[:count]
        return generator(torch.randn(count, cfg.GAN.Z_DIM), *read, *scene, THINGS)

    def turn(player: str, loss: Tensor) -> None:
        loss.backward()
        optimizers[player].step()

    def step() -> None:
        fake, _, _, _, mean, spread = painted(rows)
        patches.zero_grad()
        turn("patches", losses.patD_loss(patches, pictures[0], fake[0], sentence))
        shaped.zero_grad()
        turn("shapes", losses.shpD_loss(shaped, pictures[0], fake[0], maps[0], boxes, things))
        for name, network, seen in (("small", small, boxes), ("large", large, halved)):
            network.zero_grad()
            judged = pictures[0], fake[0], maps[0], labels, codes["found"], seen, things
            turn(name, losses.objD_loss(network, *judged, is_large_scale=name == "large"))
        generator.zero_grad()
        judges = [patches], [shaped], small, large, lambda _: (None, None)
        said = words, sentence, labels, codes["found"], None, None, None
        loss, _ = losses.G_loss(*judges, fake, maps, *said, boxes, halved, things)
        turn("generator", loss + losses.KL_loss(mean, spread))
        for kept, value in zip(average, generator.parameters(), strict=True):
            kept.mul_(0.999).add_(value.data, alpha=0.001)

    @torch.no_grad()
    def paint() -> None:
        generator.eval()
        painted(1)

    return step, paint


def measure(who: str, code: str, rows: int, object_side: int, steps: int, paint: bool) -> dict[str, float]:
    """Median milliseconds of processor time of a step, or of painting a picture, and the process's peak in MB."""
    torch.set_num_threads(1)
    step, painted = ours(rows, object_side) if who == "limner" else theirs(code, rows, object_side)
    return measured(painted, 10 * steps) if paint else measured(step, steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("code", help="a checkout of jamesli1618/Obj-GAN, commit 44b442f")
    parser.add_argument("--batch-size", type=int, default=2, help="pictures a step")
    parser.add_argument("--object-side", type=int, default=512, help="side of the pictures that the object discriminators see")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--paint", action="store_true", help="measure painting one picture, in place of a step")
    parser.add_argument("--who", choices=["limner", "authors"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.who:
        print(json.dumps(measure(given.who, given.code, given.batch_size, given.object_side, given.steps, given.paint)))
        return
    compare(__file__, ("limner", "authors"), given.turns)


if __name__ == "__main__":
    main()
