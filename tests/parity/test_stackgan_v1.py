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
from limner.interop.networks import load_networks
from limner.interop.stackgan import import_stackgan
from limner.methods.stackgan import StackGAN, StackGANNoise, discriminator_loss, fooling_loss

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "stackgan_v1"
EVALUATION, TRAINING, SUMS = 2e-5, 3e-4, 1e-6
"""Absolute tolerances for arrays of either mode, and the relative one of sums; losses agree to 1e-5 of their value, gradient norms to 1e-3."""
WHOLE_PICTURE = {"1": "stage1_img", "2": "stage2_img", "rough": "stage2_lr"}


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


def picture(arrays, name: str) -> Tensor:
    (key,) = (key for key in arrays if re.fullmatch(rf"{name}\d+_u8", key))
    return arrays[key].float() / 127.5 - 1.0


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
        judge = method.judge(stage)
        verdicts = judge.verdicts(judge.look(pictures(arrays, stage, "real")), arrays["d_condition"])
        results |= {f"{mode}_D{stage}_{name}": value.sigmoid() for name, value in zip(("cond", "uncond"), verdicts, strict=False)}
    return results


def test_every_array(golden, tmp_path: Path) -> None:
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
        if name.endswith("_stats"):
            # Of a sum over n values that are equal to float32 rounding, relative; a mean near 0 is held to the tolerance of its values.
            tolerances = {"rtol": SUMS if name.startswith("eval") else 1e-5, "atol": EVALUATION if name.startswith("eval") else TRAINING}
        else:
            tolerances = {"rtol": 0.0, "atol": TRAINING if name.startswith("train") else EVALUATION}
        torch.testing.assert_close(computed[name], arrays[name], **tolerances, msg=lambda text, name=name: f"{name}: {text}")


def losses(method: StackGAN, arrays, stage: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """A stage's losses under the set's names, and the two that its players minimise; everything in training mode."""
    method.train()
    judge = method.judge(stage)
    condition = arrays["d_condition"]
    features = judge.look(pictures(arrays, stage, "real"))
    real = judge.verdicts(features, condition)
    fake = judge.verdicts(judge.look(pictures(arrays, stage, "fake")), condition)
    wrong = judge.verdicts(features[:-1], condition[1:])[0]
    discriminator = discriminator_loss(real, wrong, fake)
    nothing = torch.zeros(())

    def targets(verdicts: list[Tensor], target: float) -> Tensor:
        """The mean error of verdicts alone, from the loss of the step."""
        logits = [value if target else -value for value in verdicts]
        return fooling_loss(logits) / len(logits)

    parts = [discriminator, targets(real, 1.0), targets([wrong], 0.0), targets(fake, 0.0)]
    del nothing
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
