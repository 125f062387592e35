"""HDGAN against stored results of the authors' code: a checkpoint of theirs, and weights by a recipe, read through the importer."""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.core.noise import ConditionedNoise
from limner.core.text import TextFeatures
from limner.interop.hdgan import NAMES, import_hdgan, limner_name
from limner.interop.networks import load_networks
from limner.methods.hdgan import HDGAN, local_loss, pair_loss
from limner.model import load
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "hdgan"
EVALUATION, TRAINING = 2e-5, 3e-4
"""Absolute tolerances for arrays of either mode; statistics agree to 1e-6 of their value, losses to 1e-5, gradient norms to 1e-3."""


@pytest.fixture(autouse=True)
def authors_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps as the authors' code has them in memory: another layout rounds differently, and the set's tiny widths sit on kinks of ReLUs.

    That layouts differ in rounding alone is for tests/methods/test_hdgan.py.
    """
    monkeypatch.setattr("limner.methods.hdgan.for_convolutions", lambda maps: maps)


@pytest.fixture(scope="module")
def golden() -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    facts = json.loads((FOLDER / "golden.json").read_text())
    with np.load(FOLDER / facts["arrays_file"], allow_pickle=False) as arrays:
        return facts, {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="module")
def checkpoints(golden, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The stored generator, and the discriminator that its recipe makes, as a file."""
    facts, _ = golden
    path = tmp_path_factory.mktemp("hdgan") / "D_epoch0.pth"
    torch.save({key: by_recipe(key, shape) for key, shape in facts["D_state_dict"]["keys_and_shapes"]}, path)
    (generator,) = facts["checkpoints"]
    return [FOLDER / generator, path]


def by_recipe(key: str, shape: list[int]) -> Tensor:
    random = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key.endswith("running_var"):
        value = random.uniform(0.5, 1.5, shape)
    elif key.endswith("running_mean"):
        value = 0.1 * random.standard_normal(shape)
    elif len(shape) < 2:
        value = key.endswith("weight") + 0.1 * random.standard_normal(shape)
    else:
        value = random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


@pytest.fixture
def method(checkpoints: list[Path], tmp_path: Path) -> HDGAN:
    """Fresh for each test: batch statistics move in training mode."""
    import_hdgan(checkpoints, tmp_path / "networks")
    method, players = load_networks(tmp_path / "networks")
    assert isinstance(method, HDGAN) and players == ["generator", "discriminator"]
    return method


def real(arrays: dict[str, Tensor], kind: str, side: int) -> Tensor:
    return arrays[f"{kind}{side}_u8"].float() / 127.5 - 1


def read_off(pictures: Tensor, kind: str) -> Tensor:
    """The part of pictures that an array holds: every nth pixel, the middle, or means, deviations and sums of sizes."""
    if kind.startswith("_stride"):
        step = int(kind.removeprefix("_stride"))
        return pictures[:, :, ::step, ::step]
    if kind == "_crop":
        edge = (pictures.shape[-1] - 48) // 2
        return pictures[:, :, edge : edge + 48, edge : edge + 48]
    if kind == "_stats":
        flat = pictures.double().flatten(2)
        return torch.stack([flat.mean(2), flat.std(2, unbiased=False), flat.abs().sum(2)], dim=-1)
    return pictures


@torch.no_grad()
def answers(method: HDGAN, arrays: dict[str, Tensor], mode: str) -> dict[str, Tensor]:
    """What the golden set calls this mode's arrays, but for the picture's parts, computed here."""
    method.train(mode == "train")
    pictures, condition = method.generator(arrays["sent_embeddings"], arrays["z"], arrays["eps"])
    results = {f"{mode}_img{side}": value for side, value in zip(method.sides, pictures, strict=True)}
    results |= {"mean": condition.mean, "logsigma": condition.log_variance / 2}
    for side in method.sides:
        judge = method.discriminator_of(side)
        seen = judge.look(real(arrays, "real", side))
        results[f"{mode}_D{side}_pair"] = judge.match(seen, arrays["sent_embeddings"])[:, None]
        results[f"{mode}_D{side}_local"] = judge.local(seen.code)
    return results


def test_every_array(golden, method: HDGAN) -> None:
    facts, arrays = golden
    computed = answers(method, arrays, "eval") | answers(method, arrays, "train")
    expected = {name for name, entry in facts["arrays"].items() if entry["role"] == "output"}
    compared = 0
    for name in sorted(expected):
        whole, kind = re.fullmatch(r"(.*?_img\d+|.*?)(_stride\d+|_crop|_stats)?", name).groups("")
        ours = read_off(computed[whole], kind)
        assert list(ours.shape) == facts["arrays"][name]["shape"], name
        tolerance = TRAINING if name.startswith("train_") else EVALUATION
        bounds = {"rtol": 1e-6, "atol": tolerance} if kind == "_stats" else {"rtol": 0, "atol": tolerance}
        torch.testing.assert_close(ours, arrays[name], **bounds, msg=lambda text, name=name: f"{name}: {text}")
        compared += 1
    assert compared == len(expected) > 0


def total(gradients: dict[str, float]) -> float:
    return float(np.sqrt(sum(value**2 for value in gradients.values())))


def compare_gradients(network: torch.nn.Module, player: str, expected: dict[str, float]) -> None:
    """Each norm under its own name; the total, and the median of relative differences, agree, but single ones sit on kinks of ReLUs."""
    ours = {name: float(value.grad.norm()) for name, value in network.named_parameters()}
    theirs = {limner_name(name, NAMES[player]): value for name, value in expected.items()}
    assert ours.keys() == theirs.keys() and ours
    assert total(ours) == pytest.approx(total(theirs), rel=1e-3)
    differences = [abs(ours[name] / value - 1) for name, value in theirs.items() if value > 1e-5]
    assert np.median(differences) < 1e-3


def test_losses_and_gradients(golden, method: HDGAN) -> None:
    """The discriminators' losses on real, mismatched and generated pictures, then the generator's under the same discriminators."""
    facts, arrays = golden
    expected, sentence = facts["loss_values"], arrays["sent_embeddings"]
    fresh = {name: value.clone() for name, value in method.discriminator.state_dict().items()}
    method.train()
    fakes, condition = method.generator(sentence, arrays["z"], arrays["eps"])
    found: dict[str, Tensor] = {}
    for side, fake in zip(method.sides, fakes, strict=True):
        judge = method.discriminator_of(side)
        seen = [judge.look(pictures) for pictures in (real(arrays, "real", side), real(arrays, "wrong", side), fake.detach())]
        pairs, maps = [judge.match(one, sentence) for one in seen], [judge.local(one.code) for one in seen]
        found[f"D_pair_{side}"] = pair_loss(pairs[0], pairs[2], pairs[1], weight=method.settings.mismatch_weight)
        found[f"D_img_{side}"] = local_loss(maps[:2], maps[2])
    found["D_total"] = torch.stack(list(found.values())).sum()
    found["D_total"].backward()
    compare_gradients(method.discriminator, "discriminator", facts["grad_l2_norms"]["netD"])

    method.discriminator.load_state_dict(fresh)
    found["kl"] = condition.divergence()
    weight = facts["config"]["KL_COE"]
    assert method.settings.divergence_weight == weight
    update = method._generator_update(fakes, sentence, condition)
    found[f"G_total_kl{weight:g}"] = update.loss
    update.loss.backward()
    compare_gradients(method.generator, "generator", facts["grad_l2_norms"]["netG"])
    assert found.keys() == expected.keys() and found
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=1e-5), name


def test_the_step_s_own_loss(golden, method: HDGAN) -> None:
    """The discriminators' update in training is the sum that the golden set calls D_total."""
    facts, arrays = golden
    sentence, largest = arrays["sent_embeddings"], method.sides[-1]
    method.train()
    fakes, _ = method.generator(sentence, arrays["z"], arrays["eps"])
    batch = GoldenBatch(arrays, "real")
    update = method._discriminator_update(batch, sentence, [fake.detach() for fake in fakes])
    assert batch.image(largest).shape[-1] == largest
    assert update.loss.item() == pytest.approx(facts["loss_values"]["D_total"], rel=1e-5)


class GoldenBatch:
    """Pictures whose smaller sides are stored, not made."""

    def __init__(self, arrays: dict[str, Tensor], kind: str) -> None:
        self.arrays, self.kind = arrays, kind

    @property
    def mismatched(self) -> GoldenBatch:
        return GoldenBatch(self.arrays, "wrong")

    def __len__(self) -> int:
        return len(self.arrays["z"])

    def image(self, side: int) -> Tensor:
        return real(self.arrays, self.kind, side)


def test_sizes_and_names(golden, method: HDGAN) -> None:
    """Nothing of a file is left behind, and the settings are those that the files were made with."""
    facts, _ = golden
    config, settings = facts["config"], method.settings
    assert (method.conditions.sentence_width, settings.noise_width) == (config["sent_dim"], config["noise_dim"])
    assert (settings.condition_width, settings.text_width) == (config["emb_dim"], config["emb_dim"])
    assert (settings.generator_channels, settings.code_channels) == (8 * config["G.hid_dim"], 4 * config["D.hid_dim"])
    assert settings.residual_blocks == config["num_resblock"]
    counts = {"G": method.generator, "D": method.discriminator}
    assert {name: sum(value.numel() for value in network.parameters()) for name, network in counts.items()} == facts["params_this_config"]


def test_with_its_text_encoder_it_paints(golden, checkpoints: list[Path], tmp_path: Path) -> None:
    """A generator alone, with an encoder of its width, becomes a model folder; its pictures at all sides are the stored ones."""
    facts, arrays = golden
    encoder = RecurrentEncoder(WordTokenizer.build(["a red bird"]), RecurrentSettings(sentence_width=facts["config"]["sent_dim"]))
    import_hdgan(checkpoints[:1], tmp_path / "model", encoder.eval())
    model = load(tmp_path / "model")
    painting = model.method.paint(TextFeatures(arrays["sent_embeddings"]), ConditionedNoise(arrays["z"], arrays["eps"]))
    compared = 0
    for pictures in (*painting.stages, painting.images):
        for kind in ("", "_crop"):
            name = f"eval_img{pictures.shape[-1]}{kind}"
            if name in arrays:
                torch.testing.assert_close(read_off(pictures, kind), arrays[name], rtol=0, atol=EVALUATION)
                compared += 1
    assert compared == len(painting.stages) + 1
