"""Feature networks against stored results of pytorch-fid, torch-fidelity, torchvision, AttnGAN and the Caffe SqueezeNet.

All weights but SqueezeNet's real ones come from the formula in golden.json; pictures do too.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import tarfile
import zlib
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from limner.features.imagenet import centre_crop, normalised
from limner.features.inception import FIDInception, TorchvisionInception
from limner.features.inception_blocks import NormalisedConvolution
from limner.features.network import to_float
from limner.features.pretrained import filled, load_pretrained
from limner.features.resize import tensorflow_resized
from limner.features.squeezenet import SqueezeNet, TorchvisionSqueezeNet
from limner.features.vgg import VGG

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "feature-networks"
DATA = Path(os.environ.get("LIMNER_FEATURES", FOLDER.parents[1] / "data"))
RELATIVE, OF_DEVIATION = 1e-4, 1e-4
"""An array agrees where |difference| <= 1e-4 |value| + 1e-4 x the array's standard deviation; resized inputs by their own scales."""
RESIZED = {"tf1_resize": 1e-3, "resized_": 1e-5, "network_input": 1e-5}


class Golden:
    """The set, its formulas, and the largest difference of what was compared."""

    def __init__(self) -> None:
        self.facts = json.loads((FOLDER / "golden.json").read_text())
        with np.load(FOLDER / self.facts["arrays_file"], allow_pickle=False) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        assert set(self.arrays) == set(self.facts["arrays"])
        self.names = self.facts["inputs"]["order_of_rows_in_7_row_arrays"]

    @cache  # noqa: B019 - one set a run
    def picture(self, name: str) -> torch.Tensor:
        """[1, 3, H, W] uint8."""
        (entry,) = (entry for entry in self.facts["inputs"]["images"] if entry["name"] == name)
        height, width, block = entry["height"], entry["width"], entry["block"]
        generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"image:{name}".encode())))
        blocks = noise = np.zeros(0)
        if entry["kind"] != "noise":
            low = generator.integers(0, 256, (math.ceil(height / block), math.ceil(width / block), 3), dtype=np.uint8)
            blocks = low.repeat(block, 0).repeat(block, 1)[:height, :width]
        if entry["kind"] != "blocks":
            noise = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        mixed = {"blocks": lambda: blocks, "noise": lambda: noise}.get(entry["kind"], lambda: (3 * blocks.astype(np.uint16) + noise) // 4)()
        picture = np.ascontiguousarray(mixed.astype(np.uint8))
        assert hashlib.sha256(picture.tobytes()).hexdigest() == entry["sha256_hwc_uint8"], name
        return torch.from_numpy(picture).permute(2, 0, 1)[None]

    def crop(self, name: str, shorter: int, side: int, sha256: str) -> np.ndarray:
        """torchvision's preset of a picture, [side, side, 3] uint8."""
        picture = Image.fromarray(self.picture(name)[0].permute(1, 2, 0).numpy())
        cropped = np.asarray(centre_crop(picture, shorter, side))
        assert hashlib.sha256(cropped.tobytes()).hexdigest() == sha256
        return cropped

    def state(self, facts: dict) -> dict[str, torch.Tensor]:
        """Weights by the formula, each checked by its stored checksum."""
        table = json.loads((FOLDER / facts["file"]).read_text())
        state = {}
        for name, shape, dtype, checksum, _ in table["entries"]:
            state[name] = weight(name, tuple(shape))
            assert str(state[name].dtype)[6:] == dtype
            assert zlib.crc32(state[name].numpy().data.cast("B") if shape else state[name].numpy().tobytes()) == int(checksum, 16), name
        assert len(state) == facts["entries"]
        return state

    def expected(self, prefix: str) -> set[str]:
        return {name for name in self.arrays if name.startswith(prefix)}

    def compare(self, prefix: str, computed: dict[str, torch.Tensor | np.ndarray], absent: tuple[str, ...] = ()) -> None:
        """Hold every array whose name begins so against what was computed."""
        names = {name for name in self.expected(prefix) if name not in absent}
        assert names and not names - set(computed), f"not computed: {sorted(names - set(computed))}"
        largest = 0.0
        for name in sorted(names):
            mine = np.asarray(computed[name].detach() if isinstance(computed[name], torch.Tensor) else computed[name])
            theirs = self.arrays[name]
            assert list(mine.shape) == self.facts["arrays"][name]["shape"] and mine.dtype == theirs.dtype, name
            if theirs.dtype == np.uint8:
                np.testing.assert_array_equal(mine, theirs, err_msg=name)
                continue
            scale = next((value for key, value in RESIZED.items() if key in name), None)
            absolute = OF_DEVIATION * float(theirs.std()) if scale is None else scale
            np.testing.assert_allclose(mine, theirs, rtol=RELATIVE, atol=absolute, err_msg=name)
            largest = max(largest, float(np.abs(mine - theirs).max() / theirs.std()))
        print(f"\n{prefix}: {len(names)} arrays, largest difference {largest:.1e} of an array's standard deviation")


@cache
def weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor by the formula; equal names and shapes are equal in all networks."""
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if last == "running_var":
        return torch.from_numpy((0.5 + generator.random(shape)).astype(np.float32))
    filled = np.empty(math.prod(shape), np.float32)
    for start in range(0, filled.size, 1 << 22):  # in pieces, for the double precision of a hundred million
        drawn = generator.standard_normal(min(1 << 22, filled.size - start))
        if last == "weight" and len(shape) > 1:
            drawn *= math.sqrt(2.0 / math.prod(shape[1:]))
        else:
            drawn *= 0.1
        filled[start : start + len(drawn)] = 1.0 + drawn if last == "weight" and len(shape) == 1 else drawn
    return torch.from_numpy(filled.reshape(shape))


@pytest.fixture(scope="module")
def golden():
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    yield Golden()
    weight.cache_clear()


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
        torch.testing.assert_close(found, expected, rtol=RELATIVE, atol=OF_DEVIATION * float(expected.std()))
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
    reference: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for name in ("noise64", "mix64", "mix299", "odd"):
            maps = network.taps(network.scaled(golden.picture(name)), network.tap_names())
            computed[f"{start}logits.{name}"] = maps["logits"][0]
            if name == "noise64":
                reference = maps
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

    distances = facts["mse_between_mix64_and_noise64_at_each_tap"]
    picture = network.scaled(golden.picture("mix64")).requires_grad_()
    maps = network.taps(picture, list(distances))
    for tap, expected in distances.items():
        assert F.mse_loss(maps[tap], reference[tap]).item() == pytest.approx(expected, rel=1e-5), tap
    for tap, expected in facts["gradients"].items():
        loss = F.mse_loss(maps[tap], reference[tap])
        (gradient,) = torch.autograd.grad(loss, picture, retain_graph=True)
        assert loss.item() == pytest.approx(expected["mse"], rel=1e-5)
        assert gradient.norm().item() == pytest.approx(expected["grad_l2"], rel=1e-4)
        assert gradient.double().sum().item() == pytest.approx(expected["grad_sum"], rel=1e-4)
        array = f"{start}grad_mse_{tap}_wrt_normalised_mix64_stride4"
        computed[array] = cut(array, gradient[0])
    golden.compare(start, computed)


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
