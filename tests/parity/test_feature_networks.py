"""Feature networks against stored results of pytorch-fid, torch-fidelity, torchvision, AttnGAN and the Caffe SqueezeNet.

All weights but SqueezeNet's real ones come from the formula in golden.json; pictures do too.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from shared.feature_golden import OF_RESIZED
from shared.feature_golden import FeatureGolden as Golden
from shared.golden_set import ROOT
from shared.rounding import ROUNDINGS, SPREADS, UNIT
from shared.rounding_more import Found, realized, scaled

from limner.features.imagenet import normalised
from limner.features.inception import FIDInception, TorchvisionInception
from limner.features.inception_blocks import NormalisedConvolution
from limner.features.network import to_float
from limner.features.pretrained import filled, load_pretrained
from limner.features.resize import tensorflow_resized
from limner.features.squeezenet import SqueezeNet, TorchvisionSqueezeNet
from limner.features.vgg import VGG

PRODUCTS = 512 * 9
"""Terms of VGG's longest sums, which round by about the square root of as many UNIT."""
DATA = Path(os.environ.get("LIMNER_FEATURES", ROOT.parent / "data"))


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden()


def cut(name: str, full: torch.Tensor) -> torch.Tensor:
    """The part of a map [C, H, W] that an array's name speaks of."""
    if found := re.search(r"channels_([0-9_]+?)(?=_stride|$)", name):
        full = full[[int(channel) for channel in found[1].split("_")]]
    if found := re.search(r"first(\d+)channels", name):
        full = full[: int(found[1])]
    if found := re.search(r"(first|last)(\d+)rows", name):
        full = full[:, : int(found[2])] if found[1] == "first" else full[:, -int(found[2]) :]
    if found := re.search(r"stride(\d+)$", name):
        full = full[:, :: int(found[1]), :: int(found[1])]
    if name.endswith("last_channel"):
        full = full[-1]
    return full[1] if name.endswith("green_full") else full


def means(x: torch.Tensor) -> torch.Tensor:
    return x.mean((2, 3))


def stage_arrays(maps: dict[str, torch.Tensor], stages: list[str], size: int) -> dict[str, torch.Tensor]:
    """Channel means and corners of every stage, as the set keeps them."""
    corners = []
    for name in stages:
        chosen = maps[name][0][[0, maps[name].shape[1] // 3, maps[name].shape[1] - 1]]
        corners.append(torch.stack([chosen[:, :size, :size], chosen[:, -size:, -size:]]))
    return {"channel_mean": torch.cat([means(maps[name])[0] for name in stages]), "corners": torch.stack(corners)}


def test_every_array_is_compared_below(golden: Golden) -> None:
    tested = ("fid_inception.", "tv_inception.", "vgg16.", "vgg19.", "squeezenet.torchvision_formula", "squeezenet.real")
    assert not {name for name in golden.arrays if not name.startswith(tested)}


@torch.no_grad()
def test_fid_inception(golden: Golden) -> None:
    facts = golden.facts["networks"]["fid_inception"]
    state = golden.state(facts["state_dict"])
    network = filled(FIDInception, state, "golden")
    assert list(network.state_dict()) == list(state)
    without = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert filled(lambda: FIDInception("pytorch-fid"), without, "golden").content_hash == network.content_hash
    computed: dict[str, torch.Tensor] = {}
    taps, start = facts["taps"], "fid_inception."
    outputs: dict[str, list[torch.Tensor]] = {name: [] for name in ("64", "192", "768", "2048", "logits_unbiased", "logits")}
    for name in golden.names:
        maps = network.taps(network.prepare(golden.picture(name)), network.tap_names())
        for width, tap in {"64": "maxpool1", "192": "maxpool2", "768": "Mixed_6e"}.items():
            outputs[width].append(means(maps[tap]))
        outputs["2048"].append(maps["pool"])
        outputs["logits"].append(maps["logits"])
        outputs["logits_unbiased"].append(maps["logits_unbiased"])
        if name in taps["images"]:
            arrays = stage_arrays(maps, taps["stages"], 6)
            computed |= {f"{start}taps.{name}.{key}": value for key, value in arrays.items()}
        if name == taps["images"][-1]:
            for array in golden.expected(f"{start}full."):
                computed[array] = cut(array, maps[array.split(".")[2]][0])
    computed |= {f"{start}torch_fidelity.{key}": torch.cat(rows) for key, rows in outputs.items()}
    unbiased = computed[f"{start}torch_fidelity.logits_unbiased"]
    computed[f"{start}torch_fidelity.logits_unbiased"] = unbiased[-len(golden.arrays[f"{start}torch_fidelity.logits_unbiased"]) :]
    scoring = network.to(memory_format=torch.channels_last)  # as `load_feature_network` gives it
    for found, tap in zip(scoring(golden.picture("mix64")), ("2048", "logits_unbiased")):
        expected = outputs[tap][golden.names.index("mix64")]
        torch.testing.assert_close(found, expected, rtol=OF_RESIZED, atol=OF_RESIZED * float(expected.std()))
    for array in golden.expected(f"{start}tf1_resize."):
        computed[array] = cut(array, tensorflow_resized(golden.picture(array.split(".")[2]).float(), 299)[0])

    other = filled(lambda: FIDInception("pytorch-fid"), state, "golden")
    blocks = {"block0": "maxpool1", "block1": "maxpool2", "block2": "Mixed_6e", "block3": "pool"}
    rows: dict[str, list[torch.Tensor]] = {block: [] for block in blocks}
    for name in ("noise64", "mix64", "mix299", "odd"):
        prepared = other.prepare(golden.picture(name))
        maps = other.taps(prepared, list(blocks.values()))
        for block, tap in blocks.items():
            rows[block].append(maps[tap] if tap == "pool" else means(maps[tap]))
        for array in golden.expected(f"{start}pytorch_fid.{name}."):
            part = array.split(".")[3]
            computed[array] = cut(array, (prepared[0] + 1) / 2 if part.startswith("resized") else maps[blocks[part.split("_")[0]]][0])
    computed |= {f"{start}pytorch_fid.{block}_channel_mean": torch.cat(row) for block, row in rows.items()}
    maps = other.taps(to_float(golden.picture("odd")), list(blocks.values()))
    for block, tap in blocks.items():
        computed[f"{start}pytorch_fid.odd_no_resize.{block}_channel_mean"] = (maps[tap] if tap == "pool" else means(maps[tap]))[0]
    golden.compare(start, computed)


@torch.no_grad()
def test_torchvision_inception(golden: Golden) -> None:
    facts = golden.facts["networks"]["tv_inception"]
    state = golden.state(facts["state_dict"])
    network = filled(TorchvisionInception, state, "golden")
    assert list(network.state_dict()) == [name for name in state if not name.startswith("AuxLogits.")]
    head = auxiliary_head(state)
    computed: dict[str, torch.Tensor] = {}
    taps, start = facts["taps"], "tv_inception."
    rows: dict[str, list[torch.Tensor]] = {name: [] for name in ("logits", "pool2048", "Mixed_6e_channel_mean", "aux_logits_eval_mode")}
    for name in golden.names:
        maps = network.taps(network.prepare(golden.picture(name)), network.tap_names())
        values = (maps["logits"], maps["pool"], means(maps["Mixed_6e"]), head(maps["Mixed_6e"]))
        for row, value in zip(rows.values(), values):
            row.append(value)
        if name in taps["images"]:
            computed |= {f"{start}taps.{name}.{key}": value for key, value in stage_arrays(maps, taps["stages"], 6).items()}
        if name == taps["images"][-1]:
            for array in golden.expected(f"{start}full."):
                computed[array] = cut(array, maps[array.split(".")[2]][0])
    computed |= {f"{start}{name}": torch.cat(row) for name, row in rows.items()}
    # What torchvision's transform_input makes of ImageNet-normalised pictures is what `prepare` makes of the pictures themselves.
    prepared = network.prepare(golden.picture("mix64"))
    computed[f"{start}transform_input.mix64.logits"] = network.taps(prepared, ["logits"])["logits"][0]
    array = f"{start}transform_input.mix64.network_input_stride13"
    computed[array] = cut(array, prepared[0])
    cropped = golden.crop("odd", 342, 299, facts["preset"]["sha256_of_cropped_uint8_hwc"])
    computed[f"{start}preset.odd.uint8_stride9"] = cropped[::9, ::9]
    computed[f"{start}preset.odd.logits_transform_input_true"] = network(torch.from_numpy(cropped.copy()).permute(2, 0, 1)[None])[1][0]

    for corners in ("false", "true"):
        encoder = filled(partial(TorchvisionInception, classifier=False, align_corners=corners == "true"), state, "golden")
        pooled, regions = [], []
        for name in ("mix64", "mix299", "odd"):
            prepared = encoder.prepare(golden.picture(name))
            maps = encoder.taps(prepared, ["Mixed_6e", "pool"])
            pooled.append(maps["pool"])
            regions.append(means(maps["Mixed_6e"]))
            for array in golden.expected(f"{start}attngan.align_corners_{corners}.{name}."):
                computed[array] = cut(array, prepared[0] if "resized" in array else maps["Mixed_6e"][0])
        computed[f"{start}attngan.align_corners_{corners}.pool2048"] = torch.cat(pooled)
        computed[f"{start}attngan.align_corners_{corners}.Mixed_6e_channel_mean"] = torch.cat(regions)
    golden.compare(start, computed)


def auxiliary_head(state: dict[str, torch.Tensor]):
    """The head over Mixed_6e that torchvision trains with, and that Limner's network leaves out."""
    part = {name.removeprefix("AuxLogits."): value for name, value in state.items() if name.startswith("AuxLogits.")}
    layers = []
    for name in ("conv0", "conv1"):
        convolution = part[f"{name}.conv.weight"]
        layer = NormalisedConvolution(convolution.shape[1], convolution.shape[0], tuple(convolution.shape[2:]))
        layer.load_state_dict({key.removeprefix(f"{name}."): value for key, value in part.items() if key.startswith(name)})
        layers.append(layer.eval())
    return lambda x: F.linear(means(layers[1](layers[0](F.avg_pool2d(x, 5, stride=3)))), part["fc.weight"], part["fc.bias"])


@pytest.mark.parametrize("depth", [16, 19])
def test_vgg(golden: Golden, depth: int) -> None:
    start = f"vgg{depth}."
    facts = golden.facts["networks"][start[:-1]]
    state = golden.state(facts["state_dict"])
    network = filled(lambda: VGG(depth), state, "golden")
    assert list(network.state_dict()) == list(state)
    assert dict(network.positions) == facts["index_in_features"]
    computed: dict[str, torch.Tensor] = {}
    taps = facts["taps"]["stages"]
    (deepest,) = {array.split(".")[1].removesuffix("_before_relu") for array in golden.expected(f"{start}conv")}
    pools = [name for name in facts["index_in_features"] if name.startswith("pool")]
    with torch.no_grad():
        for name in (array.removeprefix(f"{start}logits.") for array in golden.expected(f"{start}logits.")):
            maps = network.taps(network.scaled(golden.picture(name)), network.tap_names())
            computed[f"{start}logits.{name}"] = maps["logits"][0]
            computed |= {f"{start}taps.{name}.{key}": value for key, value in stage_arrays(maps, taps, 4).items()}
            computed[f"{start}pools.{name}.channel_mean"] = torch.cat([means(maps[pool])[0] for pool in pools])
            computed[f"{start}{deepest}_before_relu.{name}.channel_mean"] = means(maps[deepest])[0]
            for array in golden.expected(f"{start}full.{name}."):
                computed[array] = cut(array, maps[array.split(".")[3].split("_first")[0].removesuffix("_before_relu")][0])
        cropped = golden.crop("odd", 256, 224, facts["preset"]["sha256_of_cropped_uint8_hwc"])
        computed[facts["preset"]["network_input_array"]] = cropped[::9, ::9]
        features, logits = network(torch.from_numpy(cropped.copy()).permute(2, 0, 1)[None])
        assert features.shape == (1, network.width)
        computed[f"{start}preset.odd.logits"] = logits[0]
        if golden.expected(f"{start}torch_fidelity."):
            second = [network.taps(network.prepare(golden.picture(name)), ["fc2"])["fc2"] for name in ("mix64", "odd")]
            computed[f"{start}torch_fidelity.fc2"] = torch.cat(second)

    slopes(golden, network, start)
    golden.compare(start, computed, tuple(golden.expected(f"{start}grad_mse_")))


def slopes(golden: Golden, network: VGG, start: str) -> None:
    """Compare distances of two pictures at each tap, and their gradients by one picture: in float64 without the classifier, at 64 px."""
    facts = golden.facts["networks"][start[:-1]]
    (key,) = (key for key in facts if key.startswith("mse_between_"))
    pair = re.fullmatch(r"mse_between_(\w+)_and_(\w+)_at_each_tap", key)
    assert pair is not None
    distances, stored = facts[key], facts["gradients"]

    def compute(network: VGG, picture: torch.Tensor, other: torch.Tensor) -> Found:
        maps = [network.taps(prepared, list(distances)) for prepared in (picture.requires_grad_(), other)]
        losses = {tap: F.mse_loss(maps[0][tap], maps[1][tap].detach()) for tap in distances}
        gradients = {tap: torch.autograd.grad(losses[tap], picture, retain_graph=True)[0] for tap in stored}
        arrays = {}
        for name in golden.expected(f"{start}grad_mse_"):
            (tap,) = (tap for tap in stored if f"grad_mse_{tap}_wrt" in name)
            arrays[name] = cut(name, gradients[tap][0])
        return Found(arrays, losses, {tap: {"picture": gradient} for tap, gradient in gradients.items()})

    depth = int(start.removeprefix("vgg").removesuffix("."))
    features = filled(lambda: VGG(depth, classifier=False), network.state_dict(), "golden")
    given = [network.scaled(golden.picture(name)) for name in pair.groups()]
    everything = realized(compute, features, *given, roundings=PRODUCTS**0.5, batch_losses=False)
    everything.same_losses(distances)
    everything.same_losses({tap: entry["mse"] for tap, entry in stored.items()})
    everything.same_gradients({tap: {"picture": entry["grad_l2"]} for tap, entry in stored.items()})
    for tap, entry in stored.items():
        found = (everything.single, everything.double, *everything.probes)
        single, exact, *probes = (results.gradients[tap]["picture"].double() for results in found)
        # Thousands of numbers that cancel: their errors, kinks of ReLUs among them, add up as they do in a move, or at random.
        size, errors = float(exact.abs().sum()), [(2, probe - exact) for probe in probes] + [(SPREADS, single - exact)]
        tolerance = max(times * float(error.sum().abs() + error.norm()) for times, error in errors) + ROUNDINGS * UNIT * size
        print(f"\n{tap}: a sum {abs(entry['grad_sum'] - float(exact.sum())):.1e} off, of {tolerance:.1e}; magnitudes {size:.1e}")
        assert abs(entry["grad_sum"] - float(exact.sum())) <= tolerance, tap
    slope_arrays = golden.expected(f"{start}grad_mse_")
    if slope_arrays:
        everything.same_arrays({name: golden.arrays[name] for name in slope_arrays})


def squeezenet_arrays(network: SqueezeNet, prefix: str, prepared: dict[str, torch.Tensor], shown: str) -> dict[str, torch.Tensor]:
    """What the set keeps of a SqueezeNet: logits and means of fire9 of every picture, means of every fire of one."""
    fires = [name for name in network.tap_names() if name.startswith("fire")]
    found = {name: network.taps(value, [*fires, "logits"]) for name, value in prepared.items()}
    return {
        f"{prefix}.logits": torch.cat([maps["logits"] for maps in found.values()]),
        f"{prefix}.fire9_mean": torch.cat([means(maps["fire9"]) for maps in found.values()]),
        f"{prefix}.{shown}.fires_channel_mean": torch.cat([means(found[shown][name])[0] for name in fires]),
        f"{prefix}.{shown}.fire9_channels_0_511": found[shown]["fire9"][0][[0, -1]],
    }


@torch.no_grad()
def test_torchvision_squeezenet(golden: Golden) -> None:
    facts = golden.facts["networks"]["squeezenet"]["torchvision_formula"]
    network = filled(TorchvisionSqueezeNet, golden.state(facts["state_dict"]), "golden")
    prepared = {name: normalised(to_float(golden.picture(name))) for name in golden.names}
    prefix = "squeezenet.torchvision_formula"
    golden.compare(prefix, squeezenet_arrays(network, prefix, prepared, "odd"))


@torch.no_grad()
def test_squeezenet_with_its_real_weights(golden: Golden) -> None:
    facts = golden.facts["networks"]["squeezenet"]["real"]
    path = DATA / facts["weights"]
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != facts["sha256"]:
        pytest.skip(f"no {facts['weights']} in {DATA}: set LIMNER_FEATURES to a folder that holds it")
    network = load_pretrained(SqueezeNet, path)
    prefix, means_of_bgr = "squeezenet.real", torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    prepared = {name: golden.picture(name).float().flip(1) - means_of_bgr for name in facts["rows"]}
    computed = squeezenet_arrays(network, prefix, prepared, "sq227")
    zero, expected = network.taps(torch.zeros(1, 3, 227, 227), ["fire9", "logits"]), facts["zero_input_1x3x227x227"]
    pooled = means(zero["fire9"])[0]
    np.testing.assert_allclose(pooled[: len(expected["pool_first5"])], expected["pool_first5"], atol=2e-5)
    assert float(pooled.sum()) == pytest.approx(expected["pool_sum"], rel=1e-5)
    assert float(zero["logits"].max()) == pytest.approx(expected["max_logit"], rel=1e-5)
    assert int(zero["logits"].argmax()) == expected["argmax"]

    pictures, absent = facts["pictures"], f"{prefix}.pictures_logits"
    if (DATA / pictures["file"]).exists():
        rows, exact = [], True
        with tarfile.open(DATA / pictures["file"]) as archive:
            members = {Path(name).stem: name for name in archive.getnames() if name.endswith((".jpg", ".jpeg"))}
            for row in pictures["rows"]:
                file = archive.extractfile(members[row["key"]])
                assert file is not None
                decoded = Image.open(io.BytesIO(file.read())).convert("RGB")
                exact &= hashlib.sha256(decoded.tobytes()).hexdigest() == row["sha256_decoded_rgb"]
                squashed = torch.from_numpy(np.array(decoded.resize((227, 227), Image.Resampling.BILINEAR))).permute(2, 0, 1)[None]
                rows.append(network(squashed)[1])
                assert rows[-1][0].topk(5).indices.tolist() == row["top5"]
        computed[absent] = torch.cat(rows)
        if exact:  # by another JPEG decoder the logits are others, if not the five likeliest classes
            absent = ""
    golden.compare(prefix, computed, (absent,))


BREAKS: dict[str, Callable[[torch.nn.Module, dict[str, torch.Tensor]], None]] = {
    "first convolution": lambda network, given: scaled(network.conv1.weight),
    "a late convolution": lambda network, given: scaled(
        network.fire8.get_parameter(next(name for name, _ in network.fire8.named_parameters()))
    ),
    "the classifier's biases": lambda network, given: scaled(network.conv10.bias),
    "the input's scale": lambda network, given: [scaled(value) for value in given.values()],
}


@torch.no_grad()
@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: Golden, name: str) -> None:
    prefix, shown = "squeezenet.torchvision_formula", "noise64"
    facts = golden.facts["networks"]["squeezenet"]["torchvision_formula"]
    network = filled(TorchvisionSqueezeNet, golden.state(facts["state_dict"]), "golden")
    given = {shown: normalised(to_float(golden.picture(shown)))}
    row = golden.names.index(shown)
    for broken in (False, True):
        if broken:
            network.load_state_dict({key: value.clone() for key, value in network.state_dict().items()}, assign=True)
            BREAKS[name](network, given)
        found = squeezenet_arrays(network, prefix, given, shown)
        names = ("logits", "fire9_mean")
        same = [golden.same(f"{prefix}.{key}", found[f"{prefix}.{key}"][0], golden.arrays[f"{prefix}.{key}"][row]) for key in names]
        assert all(same) != broken
