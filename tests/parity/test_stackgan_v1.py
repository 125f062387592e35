"""StackGAN against stored results of the authors' PyTorch program: its own checkpoints, read through the importer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shared.golden_set import GoldenSet
from shared.rounding_more import Found, Realized, kinks_explain, realized, scaled
from torch import Tensor

from limner.core.text import TextFeatures
from limner.families.matching_aware import bce
from limner.interop.networks import load_networks
from limner.interop.stackgan import STAGE_1_PREFIX, import_stackgan, renamed_keys
from limner.methods.stackgan import StackGAN, StackGANNoise, discriminator_loss, fooling_loss
from limner.model import load
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer

Methods = dict[int, StackGAN]


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("stackgan_v1")


def imported(golden: GoldenSet, folder: Path, *kinds: str) -> StackGAN:
    """The files whose names begin like this, to a folder and back, with the set's weight of the divergence."""
    import_stackgan([golden.folder / name for name in golden.facts["checkpoints"] if name.startswith(kinds)], folder)
    method, _ = load_networks(folder)
    assert isinstance(method, StackGAN)
    method.settings = dataclasses.replace(method.settings, divergence_weight=golden.config["KL"])
    return method


@pytest.fixture(scope="module")
def methods(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> Methods:
    """Stage-I as its own files have it, and Stage-II with the Stage-I within its generator's, whose statistics are others."""
    folder = tmp_path_factory.mktemp("stackgan")
    stages = sorted({int(name[5]) for name in golden.facts["checkpoints"]})
    return {stage: imported(golden, folder / str(stage), f"stage{stage}_") for stage in stages}


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, methods: Methods) -> Realized:
    return realized(computation(golden), methods, golden.inputs)


def pictures(golden: GoldenSet, given: dict[str, Tensor], stage: int, kind: str) -> Tensor:
    """Inputs of a stage's discriminator, the smaller ones being Stage-I's."""
    return given[f"{kind}{golden.sides(kind)[stage - 1]}"]


def painted(method: StackGAN, given: dict[str, Tensor]) -> tuple[Any, ...]:
    """Each picture and Gaussian of a method."""
    sentence = given["text_embedding"]
    rough, first = method.generator_1(given["z"], given["eps_stage1"], sentence)
    fine, second = method.generator_2(rough, given["eps_stage2"], sentence)
    return rough, fine, first, second


@torch.no_grad()
def answers(golden: GoldenSet, methods: Methods, given: dict[str, Tensor], mode: str) -> dict[str, Tensor]:
    """Every array of one mode, computed here."""
    results: dict[str, Tensor] = {}
    for stage, method in methods.items():
        method.train(mode == "train")
        rough, fine, first, second = painted(method, given)
        named = {"stage1_img": rough} if stage == 1 else {"stage2_lr": rough, "stage2_img": fine}
        for name, image in named.items():
            results |= golden.views(f"{mode}_{name}{image.shape[-1]}", image)
        if mode == "eval":
            found = first if stage == 1 else second
            results |= {f"stage{stage}_mu": found.mean, f"stage{stage}_logvar": found.log_variance}
        judge = method.stage_discriminator(stage)
        verdicts = judge.verdicts(judge.look(pictures(golden, given, stage, "real")), given["d_condition"])
        results |= {f"{mode}_D{stage}_{name}": value.sigmoid() for name, value in zip(("cond", "uncond"), verdicts, strict=False)}
    return results


def losses(golden: GoldenSet, method: StackGAN, given: dict[str, Tensor], stage: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """A stage's losses under the set's names, and the two that its players minimise; everything in training mode."""
    method.train()
    judge = method.stage_discriminator(stage)
    condition = given["d_condition"]
    features = judge.look(pictures(golden, given, stage, "real"))
    real = judge.verdicts(features, condition)
    fake = judge.verdicts(judge.look(pictures(golden, given, stage, "fake")), condition)
    wrong = judge.verdicts(features[:-1], condition[1:])[0]
    discriminator = discriminator_loss(real, wrong, fake)

    def refused(verdicts: list[Tensor]) -> Tensor:
        return torch.stack([bce(logits, 0.0) for logits in verdicts]).mean()

    parts = [discriminator, fooling_loss(real) / len(real), refused([wrong]), refused(fake)]
    rough, fine, first, second = painted(method, given)
    found, image = (first, rough) if stage == 1 else (second, fine)
    fooling = fooling_loss(judge.verdicts(judge.look(image), found.mean.detach()))
    total = fooling + method.settings.divergence_weight * found.divergence()
    values = {
        f"stage{stage}_errD,real,wrong,fake": torch.stack(parts),
        f"stage{stage}_errG": fooling,
        f"stage{stage}_kl": found.divergence(),
        f"stage{stage}_total_kl{golden.config['KL']:g}": total,
    }
    return values, discriminator, total


def gradients(golden: GoldenSet, method: StackGAN, loss: Tensor, stage: int, player: str) -> dict[str, dict[str, Tensor]]:
    """The gradients of what a stage trains, by the set's name of the network and the authors' names; Stage-I within Stage-II has none."""
    network = f"stage{stage}_net{player}"
    if network not in golden.facts.get("grad_l2_norms", {}):
        return {}
    own = dict(method.players()[f"{'discriminator' if player == 'D' else 'generator'}-{stage}"].module.named_parameters())
    names = [name for name in golden.facts["grad_l2_norms"][network] if not name.startswith(STAGE_1_PREFIX)]
    renamed = renamed_keys(f"{'discriminator' if player == 'D' else 'generator'}-{stage}", names)
    assert set(renamed) == set(own)  # every one of ours has its counterpart
    return {network: dict(zip(names, torch.autograd.grad(loss, [own[name] for name in renamed], retain_graph=True), strict=True))}


def computation(golden: GoldenSet, *, arrays: bool = True, learning: bool = True) -> Callable[[Methods, dict[str, Tensor]], Found]:
    def compute(methods: Methods, given: dict[str, Tensor]) -> Found:
        found = Found({})
        if arrays:
            found.arrays |= answers(golden, methods, given, "eval") | answers(golden, methods, given, "train")
        for stage, method in methods.items() if learning else ():
            method.begin(method.phases()[stage - 1])
            values, discriminator, generator = losses(golden, method, given, stage)
            assert stage == 1 or not any(value.requires_grad for value in method.generator_1.parameters())
            for player, loss in (("D", discriminator), ("G", generator)):
                found.gradients |= gradients(golden, method, loss, stage, player)
            found.losses |= values
        return Found(**vars(found))

    return compute


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(golden.outputs)


def test_every_loss(golden: GoldenSet, everything: Realized) -> None:
    """By the method's own functions."""
    everything.same_losses(golden.stored("losses"))


def test_every_gradient(golden: GoldenSet, everything: Realized) -> None:
    """Norms of each parameter's gradient, those under the authors' names that have one."""
    everything.same_gradients(golden.stored("gradients"))


def test_kinks_explain_what_gradients_differ_by(golden: GoldenSet, methods: Methods, everything: Realized) -> None:
    """At these widths rounding moves single gradients by up to a percent. With every ReLU held on its side it does not."""
    golden.stored("gradients")
    kinks_explain(computation(golden, arrays=False), methods, golden.inputs)


BROKEN = {
    "stage-1 generator's start": ("arrays", lambda given: scaled(given[0][1].generator_1.start[0].weight)),
    "stage-2 generator's residual block": ("arrays", lambda given: scaled(given[0][2].generator_2.residual[0].layers[0].weight)),
    "stage-2 generator's normalisation": ("arrays", lambda given: scaled(given[0][2].generator_2.joint[1].running_var)),
    "stage-2 discriminator's head": ("arrays", lambda given: scaled(given[0][2].discriminator_2.alone.logits.weight)),
    "noise of stage 2": ("arrays", lambda given: scaled(given[1]["eps_stage2"])),
    "weight of the divergence": ("losses", lambda given: scaled_weight(given[0][1])),
    "stage-1 discriminator's head, its losses": ("losses", lambda given: scaled(given[0][1].discriminator_1.matching.logits.weight)),
    "stage-1 discriminator's head, its gradients": ("gradients", lambda given: scaled(given[0][1].discriminator_1.matching.logits.weight)),
    "stage-2 discriminator's condition": ("gradients", lambda given: scaled(given[1]["d_condition"])),
}


def scaled_weight(method: StackGAN) -> None:
    method.settings = dataclasses.replace(method.settings, divergence_weight=method.settings.divergence_weight * 1.001)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, methods: Methods, everything: Realized, name: str) -> None:
    kind, change = BROKEN[name]
    compute = computation(golden, arrays=kind == "arrays", learning=kind != "arrays")
    everything.notices(kind, golden.stored(kind), change, compute, methods, golden.inputs)


def test_parameters(golden: GoldenSet, tmp_path: Path) -> None:
    """Nothing of a file is left behind."""
    method = imported(golden, tmp_path / "all", "stage")
    counts = {
        "stage1_netG": [method.generator_1],
        "stage2_netG": [method.generator_1, method.generator_2],
        "stage1_netD": [method.discriminator_1],
        "stage2_netD": [method.discriminator_2],
    }
    stored = golden.part("params_this_config")
    for name, count in stored.items():
        assert sum(value.numel() for network in counts[name] for value in network.parameters()) == count


def test_with_its_text_encoder_it_paints(golden: GoldenSet, everything: Realized, tmp_path: Path) -> None:
    """A generator alone makes a model: of Stage-I, its pictures; of Stage-II, the final ones, Stage-I's beside them."""
    given = golden.inputs
    sentence = given["text_embedding"]
    encoder = RecurrentEncoder(WordTokenizer.build(["a red flower"]), RecurrentSettings(sentence_width=sentence.shape[1]))
    for file in (name for name in golden.facts["checkpoints"] if "_netG" in name):
        import_stackgan([golden.folder / file], tmp_path / file, encoder.eval())
        model = load(tmp_path / file)
        painting = model.method.paint(TextFeatures(sentence), StackGANNoise(given["z"], given["eps_stage1"], given["eps_stage2"]))
        names = ["stage1_img"] if file.startswith("stage1") else ["stage2_lr", "stage2_img"]
        for name, image in zip(names, [*painting.stages, painting.images], strict=True):
            everything.holds_for(golden.outputs, golden.views(f"eval_{name}{image.shape[-1]}", image))
        assert model.generate("a red flower", n=1, seed=1)[0].size == (painting.images.shape[-1],) * 2 == (model.resolution,) * 2
