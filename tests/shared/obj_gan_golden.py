"""What the stored results of Obj-GAN's released code are computed from, and the same computed here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limner.families.matching_aware import bce
from limner.families.objects import places
from limner.families.objects.boxes import PAD, BoxGenerator, box_loss, label_loss
from limner.families.objects.discriminators import (
    Mismatched,
    ObjectDiscriminator,
    Objects,
    PatchDiscriminator,
    ShapedDiscriminator,
    TermWeights,
    object_fooling,
    object_loss,
    orders,
    patch_fooling,
    patch_loss,
    permuted,
    shaped_fooling,
    shaped_loss,
)
from limner.families.objects.generator import ObjectAttention, ObjectGenerator, Scene, Words
from limner.families.objects.roi import roi_align
from limner.families.objects.shapes import shape_discriminator_loss
from limner.interop.obj_gan import NAMES, read_obj_gan
from limner.interop.trees import renamed
from limner.matching.losses.words import Gammas, sentence_loss, words_loss
from shared.golden_set import GoldenSet
from shared.rounding_more import Found

PARTS = {"image": ("image_G", "image_PAT_D_NET64", "image_SHP_D_NET64", "image_OBJ_SS_D_NET", "image_OBJ_LS_D_NET"), "shape": ("shape_G",)}


@dataclass
class Given:
    """What the computations are given: the set's networks and arrays, by part, and factors of coefficients, which are 1."""

    networks: dict[str, nn.Module]
    image: dict[str, Tensor]
    shape: dict[str, Tensor]
    box: dict[str, Tensor]
    extra: dict[str, Tensor]
    factors: dict[str, float] = field(default_factory=lambda: {"text": 1.0, "region": 1.0})


def arrays_of(golden: GoldenSet, part: str) -> dict[str, Tensor]:
    with np.load(golden.folder / f"{part}.npz", allow_pickle=False) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


# What is compared: by the names of the files, with their part before them.

NOT_TESTED = {"obj_rois512"}
INPUTS = {
    "image": {"z", "sent_emb", "word_embs", "glove_word_embs", "slabels_feat", "num_rois", "mask", "fm_rois", "rois64", "rois128", "ca_eps"}
    | {"hmap64", "hmap128", "hmap256", "bt_mask32", "bt_mask64", "bt_mask128", "btatt_weight", "d_img64", "d_sent", "obj_cond"}
    | {"roialign_feat", "roialign_rois"},
    "shape": {"z", "bbox_maps_fwd", "bbox_maps_bwd", "bbox_fmaps", "real_hmaps"},
    "box": {"labels", "x", "y", "w", "h", "enc_h", "enc_c"},
}


def stored_arrays(golden: GoldenSet, *, half: bool = False) -> dict[str, Tensor]:
    """All but inputs, what was overwritten, and what belongs to that. half: those that are stored in half precision, or the others."""
    found = {}
    for part, inputs in INPUTS.items():
        for name, value in arrays_of(golden, part).items():
            known = name in inputs | NOT_TESTED or name.startswith("OBJ_LS_D_NET_")
            if not known and (value.dtype == torch.float16) == half:
                found[f"{part}/{name}"] = value
    return found if half else found | {f"extra/{name}": value for name, value in golden.outputs.items()}


def stored_losses(golden: GoldenSet, facts: dict[str, Any]) -> dict[str, float]:
    found = {f"image/{name}": entry["loss"] for name, entry in golden.facts["losses"].items() if "loss" in entry}
    for name, values in golden.facts["losses"]["DAMSM part"].items():
        found |= {f"image/DAMSM {name} {number}": value for number, value in enumerate(values)}
    found |= {
        f"shape/{name}": entry["loss"] for name, entry in golden.facts["shape"].items() if isinstance(entry, dict) and "loss" in entry
    }
    for form in ("released (NLLLoss of PROBABILITIES: minus the weighted probability)", "with the logarithm (what the name says)"):
        found |= {f"box/{form} {name}": golden.facts["box"][form][name] for name in ("label", "box")}
    return found


def stored_gradients(golden: GoldenSet) -> dict[str, dict[str, float]]:
    sources = {f"image/{name}": entry for name, entry in golden.facts["losses"].items()}
    sources |= {f"{part}/{name}": entry for part in ("shape", "box") for name, entry in golden.facts[part].items()}
    return {
        name: {key: norm for key, norm in entry["grad_norms"].items() if key != "__total__"}
        for name, entry in sources.items()
        if isinstance(entry, dict) and "grad_norms" in entry
    }


# The computations.


def words_of(given: Given) -> Words:
    """The image generator's words; masks say where there is none in the files."""
    image = given.image
    return Words(image["word_embs"].transpose(1, 2), image["glove_word_embs"].transpose(1, 2), ~image["mask"].bool())


def painted(given: Given) -> dict[str, Tensor]:
    image, generator = given.image, given.networks["generator"]
    assert isinstance(generator, ObjectGenerator)
    condition = generator.condition(image["sent_emb"])
    things = int(image["num_rois"].max())
    labels = image["slabels_feat"][..., 0].transpose(1, 2)[:, :things]
    dtype = image["z"].dtype
    sides = [stage_side for stage_side in (64, 128, 256) if f"hmap{stage_side}" in image]
    scene = Scene(
        [image[f"hmap{side}"].to(dtype) for side in sides], [image[f"bt_mask{side // 2}"].to(dtype)[:, :things] for side in sides], labels
    )
    seen = generator(image["z"], condition.sample(image["ca_eps"]), words_of(given), scene)
    found = {"mu": condition.mean, "logvar": condition.log_variance} | {
        f"img{side}": picture for side, picture in zip(sides, seen.pictures, strict=True)
    }
    every = image["bt_mask32"].shape[1]
    for number in range(1, len(sides)):
        code = seen.codes[number]
        found[f"bt_c_code{number + 1}"] = torch.cat([code, code.new_zeros(len(code), every - things, code.shape[2])], 1)
    found["att1"] = seen.attention[0]
    found["att2_mean"] = seen.attention[1].mean((2, 3))
    found["bt_att1"] = places.spread(seen.object_attention[1], scene.masks[1])
    attention = given.networks["attention"]
    assert isinstance(attention, ObjectAttention)
    context, weights = attention(image["slabels_feat"][..., 0].transpose(1, 2), words_of(given))
    found |= {"btatt_out": context.transpose(1, 2)[..., None], "btatt_attn": weights.transpose(1, 2)[..., None]}
    rois = image["roialign_rois"]
    maps = image["roialign_feat"][rois[:, 0].round().long()]
    found["roialign_avg_out_5x5_scale1_16"] = roi_align(maps, rois[:, None, 1:] / 16.0 * given.factors["region"], 5)[:, 0]
    return found


def judged(given: Given) -> dict[str, Tensor]:
    """Features and scores of the image discriminators."""
    image, networks = given.image, given.networks
    patches, shaped = networks["patches"], networks["shaped"]
    assert isinstance(patches, PatchDiscriminator) and isinstance(shaped, ShapedDiscriminator)
    maps = image["hmap64"].to(image["z"].dtype)
    code, with_maps = patches(image["d_img64"]), shaped.code(image["d_img64"], shaped.maps(maps))

    def score(logits: Tensor) -> Tensor:
        return logits.sigmoid()[..., None, None]

    found = {
        "image/PAT64_feat": code,
        "image/PAT64_cond": score(patches.matching(code, image["d_sent"])),
        "image/PAT64_uncond": score(patches.reality(code)),
        "image/SHP64_feat": with_maps,
        "image/SHP64_uncond": score(shaped.reality(with_maps)),
    }
    for size, network in (("SS", networks["small"]), ("LS", networks["large"])):
        assert isinstance(network, ObjectDiscriminator)
        (codes,) = network(boxes_of(given), maps, image["d_img64"])
        flat = codes.flatten(0, 1)
        seen = {"roi_feat": codes, "cond": score(network.matching(flat, image["obj_cond"])), "uncond": score(network.reality(flat))}
        found |= {f"extra/OBJ_{size}_{name}_true": value for name, value in seen.items()}
        if size == "SS":
            found |= {f"image/OBJ_SS_D_NET_{name}": value for name, value in seen.items()}
    return found


def boxes_of(given: Given) -> Tensor:
    """The true boxes as shares of the sides of pictures of 512 px, to which object discriminators bring pictures."""
    network = given.networks["small"]
    assert isinstance(network, ObjectDiscriminator)
    return given.extra["obj_rois512_true"][..., :4] / network.side


def objects_of(given: Given, golden: GoldenSet) -> dict[str, Objects]:
    image, extra = given.image, given.extra
    classes = extra["obj_rois512_true"][..., 4].round().long()
    there = torch.arange(classes.shape[1]) < image["num_rois"][:, None]
    labels = torch.where(there, classes, -1)
    conditions = torch.cat([extra["class_emb"][classes], image["bt_c_code3"]], 2)
    side = boxes_side(given)
    threshold, least = golden.facts["setting"]["ROI_SIZE_THRS"] / side, 1.25 / side
    found = {
        size: Objects.of(boxes_of(given), labels, conditions, threshold, large=size == "large", least=least) for size in ("small", "large")
    }
    for size, objects in found.items():
        assert labels[objects.rows, objects.things].tolist() == golden.facts[f"selected_classes_{size}"]
    return found


def boxes_side(given: Given) -> int:
    network = given.networks["small"]
    assert isinstance(network, ObjectDiscriminator)
    return network.side


def weights_of(golden: GoldenSet, factor: float) -> TermWeights:
    lambdas = golden.facts["setting"]["lambdas"]
    return TermWeights(
        unconditional=lambdas["UNCOND_LAMBDA"],
        text=lambdas["TXT_LAMBDA"] * factor,
        shape=lambdas["SHP_LAMBDA"],
        objects=lambdas["OBJ_LAMBDA"],
    )


LEARNED: list[bool] = [False]
"""Whether gradients by weights are computed now."""


def gradients(loss: Tensor, network: nn.Module, kind: str) -> dict[str, Tensor]:
    """Of a loss by each weight that it depends on, under the authors' names; nothing where they are not asked for."""
    if not LEARNED[0]:
        return {}
    named = dict(network.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
    theirs = NAMED[kind]
    return {theirs[name]: value for name, value in zip(named, found, strict=True) if value is not None}


NAMED: dict[str, dict[str, str]] = {}
"""For each kind of network Limner's names of weights and the authors'; `read_names` fills it."""


def discriminators_losses(given: Given, golden: GoldenSet) -> Found:
    image, networks, weights = given.image, given.networks, weights_of(golden, given.factors["text"])
    real, fake, sentence, maps = image["d_img64"], image["img64"].clone(), image["d_sent"], image["hmap64"].to(image["z"].dtype)
    fake.requires_grad_(True)
    patches, shaped = networks["patches"], networks["shaped"]
    objects = objects_of(given, golden)
    classes = torch.where(torch.arange(image["rois64"].shape[1]) < image["num_rois"][:, None], image["rois64"][..., 4].round().long(), -1)
    order, rows = orders(classes, maps.shape[1], reversing(len(maps), maps.shape[1]))
    assert rows.tolist() == golden.facts["permuted_samples"]
    wrong = permuted(maps, order)
    found = Found({"extra/permuted_hmap64": wrong})
    assert isinstance(patches, PatchDiscriminator) and isinstance(shaped, ShapedDiscriminator)
    losses = {
        "patches": ("patD", patch_loss(patches, real, fake, sentence, Mismatched(sentence[1:]), weights)[0]),
        "shaped": ("shpD", shaped_loss(shaped, real, fake, maps, wrong, rows)),
    }
    for size in ("small", "large"):
        network = networks[size]
        assert isinstance(network, ObjectDiscriminator)
        losses[size] = f"objD_{size}", object_loss(network, objects[size], real, fake, maps, wrong, rows)
    for part, (name, loss) in losses.items():
        found.losses[f"image/{name}"] = loss
        found.gradients[f"image/{name}"] = gradients(loss, networks[part], part)
    total = patch_fooling(patches, fake, sentence, weights) + weights.shape * shaped_fooling(shaped, fake, maps)
    for size in ("small", "large"):
        network = networks[size]
        assert isinstance(network, ObjectDiscriminator)
        total = total + weights.objects * object_fooling(network, objects[size], fake, maps)
    (found.arrays["extra/G_grad_fake"],) = torch.autograd.grad(total, fake)  # the matching loss is of fixed features
    lambdas, lengths = golden.facts["setting"]["lambdas"], torch.tensor(golden.facts["cap_lens"])
    gammas = Gammas(attention=lambdas["GAMMA1"], words=lambdas["GAMMA2"], pairs=lambdas["GAMMA3"])
    words, mask = image["word_embs"].transpose(1, 2), torch.arange(image["word_embs"].shape[2]) < lengths[:, None]
    by_word = words_loss(given.extra["region_features"].flatten(2), words, mask, gammas)
    by_sentence = sentence_loss(given.extra["cnn_code"], sentence, gammas)
    for name, values in (("words", by_word), ("sent", by_sentence)):
        found.losses |= {f"image/DAMSM {name} {number}": value for number, value in enumerate(values)}
    found.losses["image/G"] = total + lambdas["DAMSM_LAMBDA"] * torch.stack([*by_word, *by_sentence]).sum()
    generator = networks["generator"]
    assert isinstance(generator, ObjectGenerator)
    found.losses["image/KL (mean over elements)"] = 2.0 * generator.condition(image["sent_emb"]).divergence() * 0.5
    return Found(**vars(found))


def reversing(rows: int, labels: int) -> Tensor:
    """Chances by which a picture's labels change places with each other in reverse."""
    return (1.0 - torch.arange(labels) / labels).expand(rows, -1)


def shapes(given: Given, dtype: torch.dtype) -> Found:
    shape, networks = given.shape, given.networks
    maps, real = shape["bbox_maps_fwd"].to(dtype), shape["real_hmaps"].to(dtype)[:, :, 0]
    assert torch.equal(shape["bbox_maps_bwd"], shape["bbox_maps_fwd"].flip(1))
    fake = networks["shapes"](shape["z"], maps, shape["bbox_fmaps"].to(dtype))
    one, whole = networks["instance"], networks["global"]
    flat, merged = (real.flatten(0, 1), fake.flatten(0, 1), maps.flatten(0, 1)), (real.amax(1), fake.amax(1), maps.amax(1))
    found = Found({"shape/fake_hmaps": fake[:, :, None]})
    for name, network, (true, drawn, boxes) in (("ins", one, flat), ("glb", whole, merged)):
        for kind, masks in (("real", true), ("fake", drawn)):
            found.arrays[f"shape/{name}_{kind}"] = network(masks, boxes).sigmoid()[:, None, None, None]
        loss = shape_discriminator_loss(network, true, drawn, boxes)
        part = "instance" if name == "ins" else "global"
        found.losses[f"shape/{name}_D"], found.gradients[f"shape/{name}_D"] = loss, gradients(loss, network, part)
        fooling = bce(network(drawn, boxes), 1.0)
        found.losses[f"shape/G {part}"], found.gradients[f"shape/G {part}"] = fooling, gradients(fooling, networks["shapes"], "shapes")
    return Found(**vars(found))


def boxes(given: Given, golden: GoldenSet) -> Found:
    box, generator = given.box, given.networks["boxes"]
    assert isinstance(generator, BoxGenerator)
    state = tuple(box[name].transpose(0, 1).flatten(1) for name in ("enc_h", "enc_c"))
    labels, codes = box["labels"].long(), torch.stack([box[name] for name in "xywh"], -1)
    codes = torch.cat([generator.first.to(codes.dtype).expand(1, 1, 4), codes[:, 1:]], 1)
    chances, centres, sizes, last = generator(state, None, None, labels, codes)

    def mixture(found: Any) -> Tensor:
        parts = (found.weights, *found.means.unbind(-1), *found.deviations.unbind(-1), found.correlations)
        return torch.stack(parts, 1).permute(2, 1, 0, 3)  # [T, 6, B, K]

    arrays = {
        "box/label_softmax": chances.transpose(0, 1),
        "box/xy_gmm": mixture(centres),
        "box/wh_gmm": mixture(sizes),
        "box/final_h": last[0][None],
        "box/final_c": last[1][None],
    }
    found = Found(arrays)
    following = labels[:, 1:]
    where = box_loss(centres, sizes, codes[:, 1:], following != PAD)
    weights = given.extra["box_class_weight"]
    for form, released in (
        ("released (NLLLoss of PROBABILITIES: minus the weighted probability)", True),
        ("with the logarithm (what the name says)", False),
    ):
        names = label_loss(chances, following, weights, of_probabilities=released)
        found.losses |= {f"box/{form} label": names, f"box/{form} box": where}
        found.gradients[f"box/{form}"] = gradients(names + where, generator, "boxes")
    found.arrays |= drawn(given, generator, state, mixture)
    return Found(**vars(found))


def drawn(given: Given, generator: BoxGenerator, state: Any, mixture: Callable[[Any], Tensor]) -> dict[str, Tensor]:
    """The sampling run, with the stored draws fed back."""
    state = tuple(value * given.extra["box_sample_enc_scale"] for value in state)
    values = given.extra["box_sample_drawn"].to(state[0].dtype)
    label, code = torch.tensor([1]), generator.first.to(state[0].dtype).expand(1, 4)
    seen: dict[str, list[Tensor]] = {"label_softmax": [], "labels": [], "xy_gmm": [], "wh_gmm": []}
    for place, size in values:
        state, _ = generator.step(label, code, state, None, None)
        chances = generator.probabilities(state[0])
        centres = generator.places(state[0], chances)
        sizes = generator.sizes(state[0], chances, place[None], code[:, :2])
        label, code = chances.argmax(1), torch.cat([place, size])[None]
        seen["label_softmax"].append(chances)
        seen["labels"].append(label)
        for name, found in (("xy_gmm", centres), ("wh_gmm", sizes)):
            seen[name].append(mixture(_stepwise(found))[0])
    return {
        "extra/box_sample_label_softmax": torch.stack(seen["label_softmax"]),
        "extra/box_sample_labels": torch.cat(seen["labels"]),
        **{f"extra/box_sample_{name}": torch.stack(seen[name]) for name in ("xy_gmm", "wh_gmm")},
    }


def _stepwise(found: Any) -> Any:
    """A mixture [B, K] as one of a single step, [B, 1, K]."""
    return type(found)(*(value[:, None] for value in vars(found).values()))


def computation(golden: GoldenSet) -> Callable[[Given], Found]:
    """Arrays and losses."""

    def compute(given: Given) -> Found:
        parts = trained(given, golden)
        with torch.no_grad():
            parts.append(Found({f"image/{name}": value for name, value in painted(given).items()}))
            parts.append(Found(judged(given)))
        return together(parts)

    return compute


def learning(golden: GoldenSet) -> Callable[[Given], Found]:
    """Gradients of the losses by weights."""

    def compute(given: Given) -> Found:
        LEARNED[0] = True
        try:
            return Found({}, {}, together(trained(given, golden)).gradients)
        finally:
            LEARNED[0] = False

    return compute


def trained(given: Given, golden: GoldenSet) -> list[Found]:
    """What the three trainings compute."""
    for network in given.networks.values():
        network.eval()
    return [discriminators_losses(given, golden), shapes(given, given.image["z"].dtype), boxes(given, golden)]


def together(parts: list[Found]) -> Found:
    whole = Found({})
    for part in parts:
        whole.arrays |= part.arrays
        whole.losses |= part.losses
        whole.gradients |= part.gradients
    return whole


def read_given(golden: GoldenSet, facts: dict[str, Any]) -> Given:
    """The set's networks, through the importer, and its arrays."""
    torch.manual_seed(0)
    folder = golden.folder
    image, players = read_obj_gan([folder / f"{name}.pth" for name in PARTS["image"]])
    (side,) = (int(name.removeprefix("patches-")) for name in players if name.startswith("patches-"))
    shape, _ = read_obj_gan([folder / f"{name}.pth" for name in ("shape_G", "shape_INS_D", "shape_GLB_D")])
    box, _ = read_obj_gan([folder / "box_decoder.pth"])
    arrays = {part: arrays_of(golden, part) for part in ("image", "shape", "box")}
    box.boxes.first.copy_(torch.tensor(facts["box"]["config"]["means(x,y,w,r)"]))
    networks: dict[str, nn.Module] = {
        "boxes": box.boxes,
        "shapes": shape.shapes,
        "instance": shape.shape_discriminators["single"],
        "global": shape.shape_discriminators["whole"],
        "generator": image.generator,
        "patches": image.discriminators[f"patches-{side}"],
        "shaped": image.discriminators[f"shapes-{side}"],
        "small": image.discriminators["small-objects"],
        "large": image.discriminators["large-objects"],
    }
    weight = arrays["image"]["btatt_weight"].flatten(1)
    attention = ObjectAttention(weight.shape[1], weight.shape[0], normalize=facts["image"]["config"]["BUATTN_NORM"], mixed_padding=True)
    attention.project.weight.data.copy_(weight)
    networks["attention"] = attention
    return Given(networks, arrays["image"], arrays["shape"], arrays["box"], {**golden.arrays})


def read_names(golden: GoldenSet) -> None:
    """Fill `NAMED`."""
    files = {
        "boxes": ("boxes", "box_decoder"),
        "shapes": ("shapes", "shape_G"),
        "instance": ("masks", "shape_INS_D"),
        "global": ("masks", "shape_GLB_D"),
        "patches": ("patches", "image_PAT_D_NET64"),
        "shaped": ("shaped", "image_SHP_D_NET64"),
        "small": ("small-objects", "image_OBJ_SS_D_NET"),
        "large": ("large-objects", "image_OBJ_LS_D_NET"),
    }
    for part, (kind, file) in files.items():
        path = golden.folder / f"{file}.pth"
        NAMED[part] = {renamed(key, NAMES[kind], path, "none"): key for key in torch.load(path, weights_only=True)}
