"""T2F and pro_gan_pytorch 1.x, 2.x and 3.x against stored results: their checkpoints, read through the importer.

The exact scales of version 1, which its files lack, are stored and are set here. Discriminators of classes (2.x, 3.x) are put together here
of Limner's blocks: T2F has none, and the importer refuses them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared.golden_set import ROOT
from shared.rounding import KINKS, SPREADS
from shared.rounding_more import BROKEN, Found, Realized, realized, scaled
from torch import Tensor, nn

from limner.families.progressive.growing import Discriminator, faded
from limner.families.progressive.layers import SLOPE
from limner.families.progressive.losses import critic_loss, fooling_loss, wasserstein_penalty
from limner.interop.networks import load_networks
from limner.interop.t2f import _renamed, _version, import_t2f, read_encoder
from limner.methods.t2f import T2F
from limner.model import load
from limner.text.summary_lstm import SummaryLSTM

FOLDER = ROOT / "progan-t2f"
FADING = re.compile(r"d(\d+)_a([\d.]+)_(img|dis|cdis)")
FIRST = {"v1": 0, "v2": 0, "v3": 2}
"""The number that a version gives to the depth of 4 px."""
INPUTS = re.compile(r"z|cond|labels|d\d+_real|full_res_real|gp_eps|ca_in|ca_eps|enc_tokens")
LOSSES = {"critic with penalty", "matching_aware", "penalty_as_released", "penalty_per_image_norm", "gen"}
Given = tuple[nn.ModuleDict, dict[str, dict[str, Tensor]], dict[str, float]]


def facts(name: str = "golden.json") -> dict[str, Any]:
    if not (FOLDER / name).exists():
        pytest.skip(f"no progan-t2f/{name} in {ROOT}: set LIMNER_GOLDEN to the folder that has one")
    found: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return found


def versions() -> list[str]:
    return [version for version in FIRST if version in facts()]


def arrays_of(version: str) -> dict[str, Tensor]:
    with np.load(FOLDER / f"{version}.npz", allow_pickle=False) as stored:
        found = {name: torch.from_numpy(stored[name]) for name in stored.files}
    for name, entry in facts()[version]["arrays"].items():
        assert list(found[name].shape) == entry["shape"], name
    return found


class OfClasses(nn.Module):
    """The class-conditional discriminator of 2.x and 3.x: the score, after a LeakyReLU, and a product with the class's embedding."""

    def __init__(self, discriminator: Discriminator, embedding: Tensor) -> None:
        super().__init__()
        self.discriminator = discriminator
        norms = embedding.norm(dim=1, keepdim=True)
        self.embedding = nn.Parameter(torch.where(norms > 1, embedding / (norms + 1e-7), embedding))  # PyTorch's max_norm

    def forward(self, pictures: Tensor, labels: Tensor, depth: int, alpha: float) -> Tensor:
        last = self.discriminator.last
        y = F.leaky_relu(last.second(self.discriminator.look(pictures, depth, alpha)), SLOPE)
        return F.leaky_relu(last.score(y), SLOPE).flatten() + (y.flatten(1) * self.embedding[labels]).sum(1)


def state(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def imported(out: Path, files: list[Path], within: str = "") -> T2F:
    import_t2f(files, out, within=[within] if within else [])
    method = load(out).method if (out / "README.md").exists() else load_networks(out)[0]
    assert isinstance(method, T2F)
    return method


def of_classes(out: Path, path: Path) -> OfClasses:
    """A discriminator of classes: read as one without classes, and its embedding."""
    tensors, out = state(path), out.with_suffix(".pth")
    (key,) = (key for key in tensors if "label_embedder" in key)
    embedding = tensors.pop(key)
    torch.save(tensors, out)
    return OfClasses(imported(out.with_suffix(""), [out]).discriminator, embedding)


def files_of(version: str, network: str) -> list[Path]:
    if version == "v3":
        return [FOLDER / "v3_checkpoint.bin"]
    entries = facts()[version]["files"]
    names = ["gen", "condition_augmentor"] if network == "gen" else [network]
    return [FOLDER / entries[name]["file"] for name in names if name in entries]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Every network by version and the file's name for it, read through the importer; inputs; a factor of each of the loss's weights."""
    folder, networks = tmp_path_factory.mktemp("progan-t2f"), nn.ModuleDict()
    for version in versions():
        within = ("generator", "discriminator") if version == "v3" else ("", "")  # which of the one file's networks
        networks[f"{version}_gen"] = imported(folder / f"{version}_gen", files_of(version, "gen"), within[0])
        networks[f"{version}_dis"] = imported(folder / f"{version}_dis", files_of(version, "dis"), within[1]).discriminator
        if version == "v1":
            networks["v1_cdis"] = imported(folder / "v1_cdis", files_of("v1", "cdis")).discriminator
            exact_scales(networks)
            entry = facts()["v1"]["files"]["lstm_encoder"]
            words = folder / "words.txt"
            words.write_text("".join(f"w{number}\n" for number in range(entry["config"]["vocab"] - 2)))
            networks["v1_encoder"] = read_encoder([FOLDER / entry["file"]], words)
        else:
            networks[f"{version}_cdis"] = of_classes(folder / f"{version}_cdis", FOLDER / f"{version}_cdis.pth")
    inputs = {version: {name: value for name, value in arrays_of(version).items() if is_input(name)} for version in versions()}
    return networks, inputs, {"matching": 1.0, "drift": 1.0}


def exact_scales(networks: nn.ModuleDict) -> None:
    """Version 1's own scales; the expected ones lie about them."""
    scales = facts()["v1"]["runtime_scales_not_in_state_dict"]
    for network in ("gen", "cdis", "dis"):
        tensors = state(FOLDER / facts()["v1"]["files"][network]["file"])
        module = networks[f"v1_{network}"].generator if network == "gen" else networks[f"v1_{network}"]
        for ours, theirs in names_of(tensors).items():
            layer, _, kind = ours.rpartition(".")
            if kind == "weight":
                set_scale(module.get_submodule(layer), scales[network][re.sub(r"\.(conv|deconv|linear)\.weight$", "", theirs)])
    set_scale(networks["v1_gen"].generator.augmentation.linear, scales["condition_augmentor"]["transformer"])


def set_scale(layer: Any, scale: float) -> None:
    assert 0 < abs(layer.scale / scale - 1) < 0.35, "the expected scale is near to the exact one"
    layer.scale = scale


def names_of(tensors: Mapping[str, Any]) -> dict[str, str]:
    """The file's names of a network's parameters, by ours."""
    found: dict[str, Any] = _renamed({name: name for name in tensors}, _version(tensors))  # type: ignore[misc]
    return found


def is_input(name: str) -> bool:
    return INPUTS.fullmatch(name) is not None


def outputs() -> dict[str, Tensor]:
    return {f"{version} {name}": value for version in versions() for name, value in arrays_of(version).items() if not is_input(name)}


def painted(version: str, network: T2F, arrays: Mapping[str, Tensor], depth: int, alpha: float) -> Tensor:
    return network.generator.network(arrays["z"], depth, alpha)


def arrays_computed(networks: nn.ModuleDict, given: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    found = {}
    for version, arrays in given.items():
        for name in facts()[version]["arrays"]:
            if match := FADING.fullmatch(name):
                depth, alpha, what = int(match[1]) - FIRST[version], float(match[2]), match[3]
                if what == "img":
                    value = painted(version, networks[f"{version}_gen"], arrays, depth, alpha)
                else:
                    asked = arrays.get("labels", arrays.get("cond")) if what == "cdis" else None
                    value = networks[f"{version}_{what}"](arrays[f"d{match[1]}_real"], asked, depth, alpha)
                found[f"{version} {name}"] = value
            elif match := re.fullmatch(r"progressive_real_d(\d+)_a([\d.]+)", name):
                found[f"{version} {name}"] = progressive(arrays["full_res_real"], int(match[1]), float(match[2]))
    if "v1" in given:
        condition = networks["v1_gen"].generator.read(given["v1"]["ca_in"])
        sampled = condition.sample(given["v1"]["ca_eps"])
        tokens = given["v1"]["enc_tokens"]
        sentence = read(networks["v1_encoder"], tokens)
        found |= {"v1 ca_c": sampled, "v1 ca_mu": condition.mean, "v1 ca_sigma": condition.deviation, "v1 enc_out": sentence}
    return found


def progressive(pictures: Tensor, depth: int, alpha: float) -> Tensor:
    """Real pictures of a depth, reduced by their means from the full size."""
    return faded(F.avg_pool2d(pictures, pictures.shape[-1] // (4 << depth)), alpha)


def read(encoder: SummaryLSTM, tokens: Tensor) -> Tensor:
    encoder.tokenizer.maximum_words = tokens.shape[1]  # what captions are padded to
    return encoder.read(tokens, tokens > 0).sentence


class Setting:
    """What a stored loss is taken of: networks of version 1 at a depth and alpha, real and generated pictures."""

    def __init__(self, networks: nn.ModuleDict, arrays: Mapping[str, Tensor], which: str, depth: int, alpha: float, real: Tensor) -> None:
        self.conditional = which == "conditional"
        self.discriminator = networks["v1_cdis" if self.conditional else "v1_dis"]
        self.generator = networks["v1_gen"].generator.network
        self.arrays, self.depth, self.alpha, self.real = arrays, depth, alpha, real
        self.sentence = arrays["cond"] if self.conditional else None

    def scores(self, pictures: Tensor, sentence: Tensor | None = None) -> Tensor:
        found: Tensor = self.discriminator(pictures, self.sentence if sentence is None else sentence, self.depth, self.alpha)
        return found

    def fake(self) -> Tensor:
        found: Tensor = self.generator(self.arrays["z"], self.depth, self.alpha)
        return found

    def penalty(self, norm: str) -> Tensor:
        with torch.enable_grad():
            return 10.0 * wasserstein_penalty(self.scores, self.real, self.fake(), self.arrays["gp_eps"], norm)  # type: ignore[arg-type]

    def critic(self, factors: Mapping[str, float]) -> Tensor:
        return critic_loss("wgan-gp", self.scores(self.real), self.scores(self.fake().detach()), None, 1.0, 1e-3 * factors["drift"])

    def matching(self, permutation: list[int], factors: Mapping[str, float]) -> Tensor:
        """What a mismatched pair adds to the loss of the critic."""
        real, fake = self.scores(self.real), self.scores(self.fake().detach())
        assert self.sentence is not None
        wrong = self.scores(self.real, self.sentence[permutation])
        weight = factors["matching"]
        return critic_loss("wgan-gp", real, fake, wrong, weight, 0.0) - critic_loss("wgan-gp", real, fake, None, weight, 0.0)

    def fooling(self) -> Tensor:
        return fooling_loss("wgan-gp", self.scores(self.fake()))


def settings_of(networks: nn.ModuleDict, arrays: Mapping[str, Tensor]) -> dict[str, Setting]:
    """The setting of golden.json, in which real pictures fade, and that of extra.json, each with either discriminator."""
    (name,) = (name for name in facts()["v1"]["arrays"] if name.startswith("progressive_real"))
    match = re.fullmatch(r"progressive_real_d(\d+)_a([\d.]+)", name)
    assert match
    depth, alpha = int(match[1]), float(match[2])
    found = {}
    for which in ("conditional", "unconditional"):
        real = progressive(arrays["full_res_real"], depth, alpha)
        found[f"golden {which}"] = Setting(networks, arrays, which, depth, alpha, real)
        other = facts("extra.json")["setting"]
        found[f"extra {which}"] = Setting(networks, arrays, which, other["depth"], other["alpha"], arrays[f"d{other['depth']}_real"])
    return found


def stored_losses() -> dict[str, float]:
    """Every loss of version 1 that T2F has, by setting; the least-squares losses of its package are not among them."""
    found = {}
    for which in ("conditional", "unconditional"):
        for name, value in facts()["v1"]["losses"][which].items():
            kind = name.split("(")[0] if "(" in name else name
            found[f"golden {which} {'matching' if kind.startswith('matching') else kind}"] = value
        again = next(value for key, value in facts("extra.json").items() if key.startswith("penalty_at"))[which]
        found |= {f"golden {which} {name}": again[name] for name in ("as released", "per image", "critic as released")}
        found |= {f"extra {which} {name}": value for name, value in facts("extra.json")["losses"][which].items() if name in LOSSES}
    (divergence,) = (value for name, value in facts()["v1"]["losses"].items() if name.startswith("condition_augmentation_KL"))
    extra = facts("extra.json")["losses"]
    return {**found, "divergence": divergence, "divergence again": extra["ca_kl"]["loss"], "encoder": encoder_entry(extra)["loss"]}


def encoder_entry(extra: Mapping[str, Any]) -> Any:
    return next(value for name, value in extra.items() if name.startswith("encoder"))


def losses_computed(networks: nn.ModuleDict, arrays: Mapping[str, Tensor], factors: Mapping[str, float]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    permutation = facts("extra.json")["setting"]["permutation"]
    for name, setting in settings_of(networks, arrays).items():
        paper, released, critic = setting.penalty("picture"), setting.penalty("pixel"), setting.critic(factors)
        values = {"gen": setting.fooling(), "matching": None, "matching_aware": None}
        values |= {"wgan_gp_critic": critic + paper, "gp_term": paper, "per image": paper, "penalty_per_image_norm": paper}
        values |= {"as released": released, "penalty_as_released": released}
        values |= {"critic as released": critic + released, "critic with penalty": critic + released}
        if setting.conditional:
            values["matching"] = values["matching_aware"] = setting.matching(permutation, factors)
        found |= {f"{name} {kind}": value for kind, value in values.items() if value is not None}
    divergence = networks["v1_gen"].generator.read(arrays["ca_in"]).divergence()
    squares = read(networks["v1_encoder"], arrays["enc_tokens"]).square().sum()
    return {**found, "divergence": divergence, "divergence again": divergence, "encoder": squares}


def stored_gradients() -> dict[str, dict[str, float]]:
    extra = facts("extra.json")["losses"]
    found = {}
    for which in ("conditional", "unconditional"):
        found |= {f"{which} D": extra[which]["grad_norms_D"], f"{which} G": extra[which]["grad_norms_G"]}
    found |= {"augmentor": extra["ca_kl"]["grad_norms"], "encoder": encoder_entry(extra)["grad_norms"]}
    return {name: {key: value for key, value in norms.items() if key != "__total__"} for name, norms in found.items()}


def gradients_computed(networks: nn.ModuleDict, arrays: Mapping[str, Tensor], factors: Mapping[str, float]) -> Found:
    """By the stored names, for the losses of extra.json."""
    found: dict[str, dict[str, Tensor]] = {}
    stored, entries = stored_gradients(), facts()["v1"]["files"]

    def gradients(name: str, loss: Tensor, module: nn.Module, keys: Mapping[str, str]) -> None:
        own = dict(module.named_parameters())
        wanted = {theirs: own[ours] for ours, theirs in keys.items() if theirs in stored[name]}
        found[name] = dict(zip(wanted, torch.autograd.grad(loss, [*wanted.values()]), strict=True))

    with torch.enable_grad():
        for name, setting in settings_of(networks, arrays).items():
            if not name.startswith("extra"):
                continue
            which, network = name.removeprefix("extra "), "cdis" if setting.conditional else "dis"
            loss = setting.critic(factors) + setting.penalty("pixel")
            if setting.conditional:
                loss = loss + setting.matching(facts("extra.json")["setting"]["permutation"], factors)
            gradients(f"{which} D", loss, setting.discriminator, names_of(entries[network]["keys"]))
            keys = {ours.removeprefix("network."): theirs for ours, theirs in names_of(entries["gen"]["keys"]).items()}
            gradients(f"{which} G", setting.fooling(), setting.generator, keys)
        augmentation = networks["v1_gen"].generator.augmentation
        keys = {"linear.weight": "transformer.linear.weight", "linear.bias": "transformer.bias"}
        gradients("augmentor", augmentation(arrays["ca_in"]).divergence(), augmentation, keys)
        encoder = networks["v1_encoder"].train()
        keys = {name.replace("embedding.", "network.0.").replace("reader.", "network.1."): name for name in encoder.state_dict()}
        squares = read(encoder, arrays["enc_tokens"]).square().sum()
        gradients("encoder", squares, encoder, {ours: theirs for theirs, ours in keys.items()})
    return Found({}, {}, found)


@torch.no_grad()
def compute(networks: nn.ModuleDict, arrays: dict[str, dict[str, Tensor]], factors: dict[str, float]) -> Found:
    found = arrays_computed(networks, arrays)
    return Found(found, losses_computed(networks, arrays["v1"], factors) if "v1" in arrays else {})


def compute_gradients(networks: nn.ModuleDict, arrays: dict[str, dict[str, Tensor]], factors: dict[str, float]) -> Found:
    return gradients_computed(networks, arrays["v1"], factors)


@pytest.fixture(scope="module")
def everything(given: Given) -> Realized:
    return realized(compute, *given, batch_losses=False)


@pytest.fixture(scope="module")
def slopes(given: Given) -> Realized:
    return realized(compute_gradients, *given, roundings=KINKS * SPREADS, batch_losses=False)


def test_every_array(everything: Realized) -> None:
    everything.same_arrays(outputs())


def test_every_loss(everything: Realized) -> None:
    everything.same_losses(stored_losses())


def test_every_gradient(slopes: Realized) -> None:
    slopes.same_gradients(stored_gradients())


BREAKS: dict[str, tuple[str, Callable[[Given], Any]]] = {
    "scale of a layer": ("arrays", lambda given: broken_scale(given[0]["v1_gen"].generator.network.blocks[0].second)),
    "first block of 2.x": ("arrays", lambda given: scaled(given[0]["v2_gen"].generator.network.first.transposed.weight)),
    "colours of 3.x": ("arrays", lambda given: scaled(given[0]["v3_dis"].colours[1].weight)),
    "compression": ("arrays", lambda given: scaled(given[0]["v1_cdis"].last.compression.weight)),
    "deviation": ("arrays", lambda given: scaled(given[0]["v1_gen"].generator.augmentation.linear.weight)),
    "LSTM": ("arrays", lambda given: scaled(given[0]["v1_encoder"].reader.weight_hh_l1)),
    "mismatched pairs": ("losses", lambda given: given[2].update(matching=1 + BROKEN)),
    "score": ("losses", lambda given: scaled(given[0]["v1_dis"].last.score.weight)),
}


def broken_scale(layer: Any) -> None:
    layer.scale *= 1 + BROKEN


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(given: Given, everything: Realized, name: str) -> None:
    kind, change = BREAKS[name]
    everything.notices(kind, outputs() if kind == "arrays" else stored_losses(), change, compute, *given)
