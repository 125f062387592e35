"""HDGAN against stored results of the authors' code: a checkpoint of theirs, and weights by a recipe, read through the importer."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shared.golden_set import GoldenSet
from shared.rounding_more import BROKEN, Found, Realized, kinks_explain, realized, scaled
from torch import Tensor

from limner.core.batch import Batch
from limner.core.noise import ConditionedNoise
from limner.core.text import TextFeatures
from limner.interop.hdgan import NAMES, import_hdgan, limner_name
from limner.interop.networks import load_networks
from limner.methods.hdgan import HDGAN, local_loss, pair_loss
from limner.model import load
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("hdgan")


@pytest.fixture(scope="module")
def checkpoints(golden: GoldenSet, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The stored generator, and the discriminator that its recipe makes, as a file."""
    path = tmp_path_factory.mktemp("hdgan") / "D_epoch0.pth"
    torch.save(golden.by_recipe("D_state_dict"), path)
    (generator,) = golden.facts["checkpoints"]
    return [golden.folder / generator, path]


@pytest.fixture(scope="module")
def method(golden: GoldenSet, checkpoints: list[Path], tmp_path_factory: pytest.TempPathFactory) -> HDGAN:
    """With the set's weight of the divergence."""
    folder = tmp_path_factory.mktemp("hdgan") / "networks"
    import_hdgan(checkpoints, folder)
    method, players = load_networks(folder)
    assert isinstance(method, HDGAN) and players == ["generator", "discriminator"]
    method.settings = dataclasses.replace(method.settings, divergence_weight=golden.config["KL_COE"])
    return method


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, method: HDGAN) -> Realized:
    return realized(computation(golden), method, golden.inputs)


@torch.no_grad()
def answers(golden: GoldenSet, method: HDGAN, given: dict[str, Tensor], mode: str) -> dict[str, Tensor]:
    """What the golden set calls this mode's arrays."""
    method.train(mode == "train")
    pictures, condition = method.generator(given["sent_embeddings"], given["z"], given["eps"])
    results = {"mean": condition.mean, "logsigma": condition.log_variance / 2}
    for side, painted in zip(method.sides, pictures, strict=True):
        results |= golden.views(f"{mode}_img{side}", painted)
        judge = method.discriminator_of(side)
        seen = judge.look(given[f"real{side}"])
        results[f"{mode}_D{side}_pair"] = judge.match(seen, given["sent_embeddings"])[:, None]
        results[f"{mode}_D{side}_local"] = judge.local(seen.code)
    return results


def learning(golden: GoldenSet, method: HDGAN, given: dict[str, Tensor]) -> Found:
    """The discriminators' losses on real, mismatched and generated pictures, then the generator's under the same discriminators."""
    sentence, found = given["sent_embeddings"], Found({})
    method.train()
    fakes, condition = method.generator(sentence, given["z"], given["eps"])
    for side, fake in zip(method.sides, fakes, strict=True):
        judge = method.discriminator_of(side)
        seen = [judge.look(pictures) for pictures in (given[f"real{side}"], given[f"wrong{side}"], fake.detach())]
        pairs, maps = [judge.match(one, sentence) for one in seen], [judge.local(one.code) for one in seen]
        found.losses[f"D_pair_{side}"] = pair_loss(pairs[0], pairs[2], pairs[1], weight=method.settings.mismatch_weight)
        found.losses[f"D_img_{side}"] = local_loss(maps[:2], maps[2])
    found.losses["D_total"] = torch.stack(list(found.losses.values())).sum()
    update = method._generator_update(fakes, sentence, condition)
    weight = golden.config["KL_COE"]
    found.losses |= {"kl": condition.divergence(), f"G_total_kl{weight:g}": update.loss}
    for name, network, loss in (("netD", method.discriminator, found.losses["D_total"]), ("netG", method.generator, update.loss)):
        stored = golden.facts.get("grad_l2_norms", {}).get(name)
        if stored is not None:
            found.gradients[name] = gradients(network, loss, [*stored], "discriminator" if name == "netD" else "generator")
    return Found(**vars(found))


def gradients(network: torch.nn.Module, loss: Tensor, names: list[str], player: str) -> dict[str, Tensor]:
    own = dict(network.named_parameters())
    ours = [limner_name(name, NAMES[player]) for name in names]
    assert set(ours) == set(own)
    return dict(zip(names, torch.autograd.grad(loss, [own[name] for name in ours], retain_graph=True), strict=True))


def computation(golden: GoldenSet, *kinds: str) -> Callable[[HDGAN, dict[str, Tensor]], Found]:
    """kinds: of results, all where none is given."""

    def compute(method: HDGAN, given: dict[str, Tensor]) -> Found:
        arrays = {}
        if not kinds or "arrays" in kinds:
            arrays = answers(golden, method, given, "eval") | answers(golden, method, given, "train")
        found = learning(golden, method, given) if kinds != ("arrays",) else Found({})
        return Found(arrays, found.losses, found.gradients)

    return compute


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(golden.stored("arrays"))


def test_every_loss(golden: GoldenSet, everything: Realized) -> None:
    everything.same_losses(golden.stored("losses"))


def test_every_gradient(golden: GoldenSet, everything: Realized) -> None:
    everything.same_gradients(golden.stored("gradients"))


def test_kinks_explain_what_gradients_differ_by(golden: GoldenSet, method: HDGAN) -> None:
    """At these widths rounding moves the generator's gradients by up to a percent. With every ReLU held on its side it does not."""
    golden.stored("gradients")
    kinks_explain(computation(golden, "gradients"), method, golden.inputs)


def changed(method: HDGAN, name: str) -> None:
    method.settings = dataclasses.replace(method.settings, **{name: getattr(method.settings, name) * (1 + BROKEN)})


BREAKS: dict[str, tuple[str, Callable[[tuple[HDGAN, dict[str, Tensor]]], Any]]] = {
    "generator's projection": ("arrays", lambda given: scaled(given[0].generator.project[0].weight)),
    "last convolution": ("arrays", lambda given: scaled([*given[0].generator.pictures.values()][-1][1].weight)),
    "normalisation's statistics": ("arrays", lambda given: scaled(given[0].generator.project[1].running_var)),
    "discriminator's local head": ("arrays", lambda given: scaled(given[0].discriminator_of(given[0].sides[0]).local.weight)),
    "discriminator's text": ("losses", lambda given: scaled(given[0].discriminator_of(given[0].sides[-1]).text[0].weight)),
    "weight of the divergence": ("losses", lambda given: changed(given[0], "divergence_weight")),
    "weight of mismatched pairs": ("losses", lambda given: changed(given[0], "mismatch_weight")),
    "weight of mismatched pairs, in gradients": ("gradients", lambda given: changed(given[0], "mismatch_weight")),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, method: HDGAN, everything: Realized, name: str) -> None:
    kind, change = BREAKS[name]
    everything.notices(kind, golden.stored(kind), change, computation(golden, kind), method, golden.inputs)


def test_the_step_s_own_loss(golden: GoldenSet, method: HDGAN, everything: Realized) -> None:
    """The discriminators' update in training is the sum that the golden set calls D_total."""
    given, method = golden.inputs, copy.deepcopy(method)
    sentence = given["sent_embeddings"]
    fakes, _ = method.train().generator(sentence, given["z"], given["eps"])
    update = method._discriminator_update(GoldenBatch(given, "real"), sentence, [fake.detach() for fake in fakes])
    assert everything.holds_for(golden.stored("losses"), {"D_total": update.loss}, "losses") == 1


class GoldenBatch(Batch):
    """Pictures whose smaller sides are stored, not made."""

    def __init__(self, given: dict[str, Tensor], kind: str) -> None:
        self.given, self.kind = given, kind

    @property
    def mismatched(self) -> GoldenBatch:
        return GoldenBatch(self.given, "wrong")

    def __len__(self) -> int:
        return len(self.given["z"])

    def image(self, side: int) -> Tensor:
        return self.given[f"{self.kind}{side}"]


def test_sizes_and_names(golden: GoldenSet, method: HDGAN) -> None:
    """Nothing of a file is left behind, and the settings are those that the files were made with."""
    config, settings = golden.config, method.settings
    assert (method.conditions.sentence_width, settings.noise_width) == (config["sent_dim"], config["noise_dim"])
    assert (settings.condition_width, settings.text_width) == (config["emb_dim"], config["emb_dim"])
    assert (settings.generator_channels, settings.code_channels) == (8 * config["G.hid_dim"], 4 * config["D.hid_dim"])
    assert settings.residual_blocks == config["num_resblock"]
    counts = {"G": method.generator, "D": method.discriminator}
    for name, count in golden.part("params_this_config").items():
        assert sum(value.numel() for value in counts[name].parameters()) == count


def test_with_its_text_encoder_it_paints(golden: GoldenSet, checkpoints: list[Path], everything: Realized, tmp_path: Path) -> None:
    """A generator alone, with an encoder of its width, becomes a model folder; its pictures at all sides are the stored ones."""
    given = golden.inputs
    encoder = RecurrentEncoder(WordTokenizer.build(["a red bird"]), RecurrentSettings(sentence_width=golden.config["sent_dim"]))
    import_hdgan(checkpoints[:1], tmp_path / "model", encoder.eval())
    model = load(tmp_path / "model")
    painting = model.method.paint(TextFeatures(given["sent_embeddings"]), ConditionedNoise(given["z"], given["eps"]))
    for pictures in (*painting.stages, painting.images):
        assert everything.holds_for(golden.outputs, golden.views(f"eval_img{pictures.shape[-1]}", pictures)) > 0
