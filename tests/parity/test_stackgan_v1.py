"""StackGAN against stored results of the authors' PyTorch program: its own checkpoints, read through the importer."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.core.text import TextFeatures
from limner.families.matching_aware import bce
from limner.interop.networks import load_networks
from limner.interop.stackgan import STAGE_1_PREFIX, import_stackgan, renamed_keys
from limner.methods.stackgan import StackGAN, StackGANNoise, discriminator_loss, fooling_loss
from limner.model import load
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "stackgan_v1"
EVALUATION, TRAINING, SUMS = 2e-5, 3e-4, 1e-6
"""Absolute tolerances for arrays of either mode, and the relative one of sums; losses agree to 1e-5 of their value, gradients to 1e-3."""


@pytest.fixture(scope="module")
def golden():
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    facts = json.loads((FOLDER / "golden.json").read_text())
    with np.load(FOLDER / facts["arrays_file"], allow_pickle=False) as arrays:
        return facts, {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def imported(facts, folder: Path, *kinds: str) -> StackGAN:
    """The files whose names begin like this, to a folder and back."""
    files = [FOLDER / name for name in facts["checkpoints"] if name.startswith(kinds)]
    import_stackgan(files, folder)
    method, _ = load_networks(folder)
    assert isinstance(method, StackGAN)
    return method


def methods(facts, folder: Path) -> dict[int, StackGAN]:
    """Stage-I as its own files have it, and Stage-II with the Stage-I within its generator's, whose statistics are others."""
    return {1: imported(facts, folder / "1", "stage1_"), 2: imported(facts, folder / "2", "stage2_")}


def pictures(arrays, stage: int, kind: str) -> Tensor:
    """Inputs of a stage's discriminator, the smaller ones being Stage-I's."""
    sides = sorted(int(found[1]) for key in arrays if (found := re.fullmatch(rf"{kind}(\d+)_u8", key)))
    return arrays[f"{kind}{sides[stage - 1]}_u8"].float() / 127.5 - 1.0


def painted(method: StackGAN, arrays):
    """Each picture and Gaussian of a method, by the set's names."""
    sentence = arrays["text_embedding"]
    rough, first = method.generator_1(arrays["z"], arrays["eps_stage1"], sentence)
    fine, second = method.generator_2(rough, arrays["eps_stage2"], sentence)
    return rough, fine, first, second


def views(name: str, image: Tensor, facts) -> dict[str, Tensor]:
    """A picture as the set stores it: whole or in part, and sums over all of it."""
    wide = image.double()
    statistics = [wide.mean((2, 3)), wide.std((2, 3), correction=0), wide.abs().sum((2, 3))]
    found = {name: image, f"{name}_stats": torch.stack(statistics, dim=-1)}
    for key, entry in facts["arrays"].items():
        if key.startswith(f"{name}_") and (cut := re.search(r"x\[:, :, (.*?), (.*?)\]", entry["note"])):
            rows, columns = (slice(*(int(part) if part else None for part in text.split(":"))) for text in cut.groups())
            found[key] = image[:, :, rows, columns]
    return found


@torch.no_grad()
def answers(methods: dict[int, StackGAN], facts, arrays, mode: str) -> dict[str, Tensor]:
    """Every array of one mode, computed here."""
    results: dict[str, Tensor] = {}
    for stage, method in methods.items():
        rough, fine, first, second = painted(method, arrays)
        named = {"stage1_img": rough} if stage == 1 else {"stage2_lr": rough, "stage2_img": fine}
        for name, image in named.items():
            results |= views(f"{mode}_{name}{image.shape[-1]}", image, facts)
        if mode == "eval":
            found = first if stage == 1 else second
            results |= {f"stage{stage}_mu": found.mean, f"stage{stage}_logvar": found.log_variance}
        judge = method.stage_discriminator(stage)
        verdicts = judge.verdicts(judge.look(pictures(arrays, stage, "real")), arrays["d_condition"])
        results |= {f"{mode}_D{stage}_{name}": value.sigmoid() for name, value in zip(("cond", "uncond"), verdicts, strict=False)}
    return results


def test_every_array(golden, tmp_path: Path, authors_upsampling: None, authors_order: None) -> None:
    facts, arrays = golden
    computed: dict[str, Tensor] = {}
    for mode in ("eval", "train"):
        loaded = methods(facts, tmp_path / mode)
        for method in loaded.values():
            method.train(mode == "train")
        computed |= answers(loaded, facts, arrays, mode)
    expected = [name for name, entry in facts["arrays"].items() if entry["role"] == "output"]
    assert expected and set(expected) <= set(computed), f"not computed: {sorted(set(expected) - set(computed))}"
    for name in expected:
        assert list(arrays[name].shape) == facts["arrays"][name]["shape"], name
        absolute = TRAINING if name.startswith("train") else EVALUATION
        relative = SUMS if name.endswith("_stats") else 0.0
        torch.testing.assert_close(
            computed[name], arrays[name], rtol=relative, atol=absolute, msg=lambda text, name=name: f"{name}: {text}"
        )


def losses(method: StackGAN, arrays, stage: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """A stage's losses under the set's names, and the two that its players minimise; everything in training mode."""
    method.train()
    judge = method.stage_discriminator(stage)
    condition = arrays["d_condition"]
    features = judge.look(pictures(arrays, stage, "real"))
    real = judge.verdicts(features, condition)
    fake = judge.verdicts(judge.look(pictures(arrays, stage, "fake")), condition)
    wrong = judge.verdicts(features[:-1], condition[1:])[0]
    discriminator = discriminator_loss(real, wrong, fake)

    def refused(verdicts: list[Tensor]) -> Tensor:
        return torch.stack([bce(logits, 0.0) for logits in verdicts]).mean()

    parts = [discriminator, fooling_loss(real) / len(real), refused([wrong]), refused(fake)]
    rough, fine, first, second = painted(method, arrays)
    found, image = (first, rough) if stage == 1 else (second, fine)
    assert found is not None
    fooling = fooling_loss(judge.verdicts(judge.look(image), found.mean.detach()))
    total = fooling + method.settings.divergence_weight * found.divergence()
    values = {
        f"stage{stage}_errD,real,wrong,fake": torch.stack(parts),
        f"stage{stage}_errG": fooling,
        f"stage{stage}_kl": found.divergence(),
        f"stage{stage}_total_kl{method.settings.divergence_weight:g}": total,
    }
    return values, discriminator, total


def test_every_loss_and_gradient(golden, tmp_path: Path) -> None:
    """Losses by the method's own functions; norms of each parameter's gradient, those under the authors' names that have one."""
    facts, arrays = golden
    loaded = methods(facts, tmp_path)
    compared = 0
    norms: dict[str, dict[str, float]] = {}
    for stage, method in loaded.items():
        method.begin(method.phases()[stage - 1])
        values, discriminator, generator = losses(method, arrays, stage)
        for name, value in values.items():
            assert value.detach().tolist() == pytest.approx(facts["loss_values"][name], rel=1e-5), name
            compared += 1
        for player, loss in (("D", discriminator), ("G", generator)):
            method.zero_grad()
            loss.backward(retain_graph=player == "D")
            norms[f"stage{stage}_net{player}"] = gradients(method, [*facts["grad_l2_norms"][f"stage{stage}_net{player}"]], stage, player)
    assert compared == len(facts["loss_values"]) > 0
    assert norms.keys() == facts["grad_l2_norms"].keys()
    for network, expected in facts["grad_l2_norms"].items():
        trained = {name: norm for name, norm in expected.items() if norm is not None}
        assert norms[network].keys() == trained.keys()
        ours, theirs = (torch.tensor([norms[network][name] for name in trained], dtype=torch.float64), torch.tensor([*trained.values()]))
        # Single parameters sit on kinks of ReLU at these widths: the set's README holds the median and the whole norm.
        loud = theirs > 1e-5
        assert loud.any()
        assert float(((ours - theirs).abs() / theirs)[loud].median()) < 1e-3, network
        assert float(ours.norm()) == pytest.approx(float(theirs.norm()), rel=1e-3), network


def gradients(method: StackGAN, names: list[str], stage: int, player: str) -> dict[str, float]:
    """Norms of the gradients of what a stage trains, by the authors' names; Stage-I within Stage-II must have none."""
    network = f"{'discriminator' if player == 'D' else 'generator'}-{stage}"
    if stage == 2:
        assert all(value.grad is None for value in method.generator_1.parameters())
    own = dict(method.players()[network].module.named_parameters())
    found = {}
    for name in names:
        if not name.startswith(STAGE_1_PREFIX):
            gradient = own.pop(*renamed_keys(network, [name])).grad
            assert gradient is not None
            found[name] = float(gradient.double().norm())
    assert not own  # every one of ours has its counterpart
    return found


def test_parameters(golden, tmp_path: Path) -> None:
    """Nothing of a file is left behind."""
    facts, _ = golden
    method = imported(facts, tmp_path / "all", "stage")
    counts = {
        "stage1_netG": [method.generator_1],
        "stage2_netG": [method.generator_1, method.generator_2],
        "stage1_netD": [method.discriminator_1],
        "stage2_netD": [method.discriminator_2],
    }
    assert counts.keys() == facts["params_this_config"].keys()
    for name, networks in counts.items():
        assert sum(value.numel() for network in networks for value in network.parameters()) == facts["params_this_config"][name]


def test_with_its_text_encoder_it_paints(golden, tmp_path: Path) -> None:
    """A generator alone makes a model: of Stage-I, its pictures; of Stage-II, the final ones, Stage-I's beside them."""
    facts, arrays = golden
    encoder = RecurrentEncoder(WordTokenizer.build(["a red flower"]), RecurrentSettings(sentence_width=arrays["text_embedding"].shape[1]))
    for stage in ("stage1", "stage2"):
        (file,) = (FOLDER / name for name in facts["checkpoints"] if name.startswith(f"{stage}_netG"))
        import_stackgan([file], tmp_path / stage, encoder.eval())
        model = load(tmp_path / stage)
        noise = StackGANNoise(arrays["z"], arrays["eps_stage1"], arrays["eps_stage2"])
        painting = model.method.paint(TextFeatures(arrays["text_embedding"]), noise)
        rough = painting.images if stage == "stage1" else painting.stages[0]
        name = "eval_stage1_img64" if stage == "stage1" else "eval_stage2_lr64"
        torch.testing.assert_close(rough, arrays[name], rtol=0, atol=EVALUATION)
        assert model.generate("a red flower", n=1, seed=1)[0].size == (painting.images.shape[-1],) * 2 == (model.resolution,) * 2
