"""DALLE-pytorch's dVAE and transformer against stored results: files of its own form, read through the importer.

Its re-ranking CLIP, an own small network that Limner does not have, is left out (`clip_*`), as is sampling by its functions: codes are
drawn here by Limner's, from the stored noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shared.golden_set import GoldenSet
from shared.rounding_more import BROKEN, Found, Realized, realized, scaled
from torch import Tensor

from limner.core.batch import Batch
from limner.families.codes.dvae import divergence, relaxed
from limner.families.codes.layout import Line
from limner.families.codes.sampling import Choice, Given, write_codes
from limner.interop.dall_e import _transformer_name, port_dvae, read_dall_e
from limner.methods.dall_e import DALLE

MASKED = torch.finfo(torch.float32).min
Inputs = tuple[dict[str, DALLE], dict[str, Tensor], dict[str, float]]
LEFT_OUT = ("clip_",)


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("dalle-transformer")


@pytest.fixture(scope="module")
def given(golden: GoldenSet) -> Inputs:
    methods = {}
    for name, entry in golden.facts["vae"].items():
        method, players = read_dall_e([golden.folder / entry["file"]])
        hparams = entry["hparams"]
        estimator = "reinmax" if hparams.get("reinmax") else "straight-through" if hparams.get("straight_through") else "soft"
        changed = {
            "estimator": estimator,
            "reconstruction": "smooth-l1" if hparams["smooth_l1_loss"] else "l2",
            "divergence_weight": hparams["kl_div_loss_weight"],
            "divergence_steps": 0,
            "divergence_sum": True,
            "dvae_course": "port",
        }
        method.settings = dataclasses.replace(method.settings, **changed)
        method.dvae.reconstruction = method.settings.reconstruction
        methods[f"vae_{name}"] = method
        assert players == ["dvae"]
    for name, entry in golden.facts["dalle"].items():
        methods[name], players = read_dall_e([golden.folder / entry["file"]])
        assert players == ["dvae", "transformer"]
    return methods, golden.inputs, {"text": 1.0}


def temperatures(entry: dict[str, Any]) -> list[str]:
    return [key for key in entry if key.startswith(("t0", "t1"))]


def computation(golden: GoldenSet, learning: bool = True, only: str | None = None) -> Callable[..., Found]:
    """learning: with gradients. only: of one of the models."""

    def compute(methods: dict[str, DALLE], arrays: dict[str, Tensor], factors: dict[str, float]) -> Found:
        found = Found({})
        if "stable_softmax_in" in arrays and only is None:
            found.arrays["stable_softmax_out"] = arrays["stable_softmax_in"].softmax(-1)
        for name, method in methods.items():
            if only not in (None, name):
                continue
            if name.startswith("vae_"):
                of_dvae(golden, name, method, arrays, found, learning)
            else:
                of_transformer(golden, name, method, arrays, found, factors["text"], learning)
        return Found(**vars(found))

    return compute


def of_dvae(golden: GoldenSet, name: str, method: DALLE, arrays: dict[str, Tensor], found: Found, learning: bool) -> None:
    entry, dvae, settings = golden.facts["vae"][name.removeprefix("vae_")], method.dvae, method.settings
    pictures = arrays["image"] * 2.0 - 1.0
    logits, codes = dvae.logits(pictures), dvae.encode(pictures)
    outputs = {f"{name}_logits": logits, f"{name}_codes": codes.flatten(1), f"{name}_decode": dvae.decode(codes)}
    found.arrays |= {key: value for key, value in outputs.items() if key in golden.arrays}
    for key in temperatures(entry):
        temperature = float(key[1:])
        said = dvae.decode_weights(relaxed(logits, arrays[f"gumbel_{key}"], temperature, settings.estimator))
        error, apart = dvae.error(said, pictures), divergence(logits)
        loss = error + settings.divergence_at(1) * apart
        found.arrays[f"{name}_{key}_recon"] = said
        found.losses |= {f"{name} {key} {part}": value for part, value in zip(VAE_LOSSES, (loss, error, apart), strict=True)}
        if learning:
            own = dict(dvae.named_parameters())
            names = {theirs: next(iter(port_dvae({}, {theirs: logits})[1])) for theirs in entry[key]["grad_norms"] if theirs != "__total__"}
            slopes = torch.autograd.grad(loss, [own[ours] for ours in names.values()], retain_graph=True)
            found.gradients[f"{name} {key}"] = dict(zip(names, slopes, strict=True))


VAE_LOSSES = ("loss", "recon_loss", "kl_sum_over_batch_and_positions")


def of_transformer(
    golden: GoldenSet, name: str, method: DALLE, arrays: dict[str, Tensor], found: Found, factor: float, learning: bool
) -> None:
    entry, network, settings = golden.facts["dalle"][name], method.transformer, method.settings
    ids, codes = network.ids(arrays["text"]), method.dvae.encode(arrays["image"] * 2.0 - 1.0).flatten(1)
    text, pictures = network(ids, codes)
    part = golden.config["codes_given_in_logits_part"]
    found.arrays |= {
        f"{name}_logits of text": text,
        f"{name}_logits of codes": pictures,
        f"{name}_logits_part": network(ids, codes[:, :part])[1][:, -1],
        f"{name}_logits_text": network.read(ids)[0],
        **drawn(golden, name, method, arrays, ids, codes),
    }
    if f"{name}_pos_emb" in golden.arrays and network.angles is not None:
        found.arrays[f"{name}_pos_emb"] = network.angles[None]
    if f"{name}_logits_scale3" in golden.arrays:
        free_text, free = network(network.ids(None, len(ids)), codes)
        length = network.line.text
        found.arrays[f"{name}_logits_scale3 of text"] = (free_text + 3.0 * (text - free_text))[:, 0]
        found.arrays[f"{name}_logits_scale3 of codes"] = (free + 3.0 * (pictures - free))[:, [0, 5, network.line.codes - 1]]
        assert length == golden.config["dalle_common"]["text_seq_len"]
    text_loss, code_loss = network.losses(ids, codes)
    loss = (factor * text_loss + settings.picture_weight * code_loss) / (1.0 + settings.picture_weight)
    found.losses |= {f"{name} loss": loss, f"{name} loss_text": text_loss, f"{name} loss_image": code_loss}
    if learning:
        hparams = entry["hparams"]
        shared = [tuple(hparams.get(f"shared_{kind}_ids") or range(hparams["depth"])) for kind in ("attn", "ff")]
        own = dict(network.named_parameters())
        names = {theirs: str(_transformer_name(theirs, *shared)) for theirs in entry["grad_norms"] if theirs != "__total__"}
        assert set(names.values()) == set(own), "every parameter of ours has a stored norm"
        slopes = torch.autograd.grad(loss, [own[ours] for ours in names.values()], retain_graph=True)
        found.gradients[name] = dict(zip(names, slopes, strict=True))


@torch.no_grad()
def drawn(golden: GoldenSet, name: str, method: DALLE, arrays: dict[str, Tensor], ids: Tensor, given: Tensor) -> dict[str, Tensor]:
    """Every set of codes that is stored of a model, written with the cache; greedy ones also without."""
    network, noise = method.transformer, arrays["sample_gumbel"]
    rows = torch.arange(len(ids))

    def greedy(logits: Tensor, number: int) -> Tensor:
        return logits.argmax(1)

    def sampled(threshold: float, temperature: float) -> Callable[[Tensor, int], Tensor]:
        choice = Choice(temperature=temperature, top_k=int((1 - threshold) * (network.text_vocabulary + network.shape.codes)))
        return lambda logits, number: (choice.probabilities(logits).log() + noise[number]).argmax(1)

    def primed(count: int) -> Given:
        return Given(given, (torch.arange(network.line.codes) < count).expand_as(given), count)

    def write(pick: Callable[[Tensor, int], Tensor], **values: Any) -> Tensor:
        return write_codes(network, ids, rows, pick, **values)

    asked: dict[str, Callable[[], Tensor]] = {
        f"{name}_greedy_codes": lambda: write(greedy),
        f"{name}_primed_codes": lambda: write(greedy, given=primed(int(0.4375 * network.line.codes))),
        f"{name}_primed10_codes": lambda: write(greedy, given=primed(10)),
        f"{name}_sample0.9_codes": lambda: write(sampled(0.9, 1.0)),
        f"{name}_sample0.8_codes": lambda: write(sampled(0.8, 0.5)),
        f"{name}_scale3_codes_intended": lambda: write(greedy, guidance=3.0),
        f"{name}_scale3_codes_as_released": lambda: write(greedy, guidance=3.0, released=True),
        f"{name}_gentext_empty": lambda: spoken(method, [0]),
        f"{name}_gentext_3_5": lambda: spoken(method, [3, 5]),
    }
    found = {key: make() for key, make in asked.items() if key in golden.arrays}
    if f"{name}_greedy_images" in golden.arrays:
        grid = found[f"{name}_greedy_codes"].unflatten(1, (network.line.side, -1))
        found[f"{name}_greedy_images"] = method.dvae.decode(grid)
    return found


def spoken(method: DALLE, start: list[int]) -> Tensor:
    """The likeliest text after these ids, as the port's `generate_texts` writes it."""
    ids = torch.tensor([start])
    while ids.shape[1] < method.line.text:
        ids = torch.cat([ids, method.transformer.partial_text(ids).argmax(1, keepdim=True)], dim=1)
    return ids


@pytest.fixture(scope="module")
def everything(golden: GoldenSet, given: Inputs) -> Realized:
    return realized(computation(golden), *given, batch_losses=False)


def stored_arrays(golden: GoldenSet) -> dict[str, Tensor]:
    """By the names above: logits without what is masked, which is checked here."""
    found, text = {}, golden.config["dalle_common"]["text_seq_len"]
    for name, value in golden.arrays.items():
        role = golden.facts["arrays"][name]["role"]
        if role == "input" or name.startswith(LEFT_OUT) or name == "rotary_head64":
            continue
        words = golden.config["dalle_common"]["num_text_tokens"] + text
        if name.endswith("_logits") and not name.startswith("vae_"):
            assert (value[:, :text, words:] == MASKED).all() and (value[:, text:, :words] == MASKED).all()
            found[f"{name} of text"], found[f"{name} of codes"] = value[:, :text, :words], value[:, text:, words:]
        elif name.endswith("_logits_scale3"):
            found[f"{name} of text"], found[f"{name} of codes"] = value[:, 0, :words], value[:, 1:, words:]
        elif name.endswith(("_logits_part", "_logits_text")):
            assert (value[:, :words] == MASKED).all()
            found[name] = value[:, words:]
        else:
            found[name] = value
    return found


def stored_losses(golden: GoldenSet) -> dict[str, float]:
    found = {}
    for name, entry in golden.facts["vae"].items():
        found |= {f"vae_{name} {key} {part}": entry[key][part] for key in temperatures(entry) for part in VAE_LOSSES}
    for name, entry in golden.facts["dalle"].items():
        found |= {f"{name} {part}": entry[part] for part in ("loss", "loss_text", "loss_image")}
    return found


def stored_gradients(golden: GoldenSet) -> dict[str, dict[str, float]]:
    found = {f"vae_{name} {key}": entry[key]["grad_norms"] for name, entry in golden.facts["vae"].items() for key in temperatures(entry)}
    found |= {name: entry["grad_norms"] for name, entry in golden.facts["dalle"].items()}
    return {name: {key: value for key, value in norms.items() if key != "__total__"} for name, norms in found.items()}


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    stored = stored_arrays(golden)
    assert {name.split(" of ")[0] for name in stored} == {
        name
        for name, entry in golden.facts["arrays"].items()
        if entry["role"] != "input" and not name.startswith(LEFT_OUT) and name != "rotary_head64"
    }
    comparison = everything.same_arrays(stored)
    print(f"\n{comparison.count} arrays, the worst at {comparison.worst:.2f} of its tolerance ({comparison.where})")


def test_codes_without_the_cache(golden: GoldenSet, given: Inputs) -> None:
    for name in golden.facts["dalle"]:
        network = given[0][name].transformer.eval()
        ids = network.ids(golden.arrays["text"])
        codes = write_codes(network, ids, torch.arange(len(ids)), lambda logits, number: logits.argmax(1), cached=False)
        assert torch.equal(codes, golden.arrays[f"{name}_greedy_codes"])


def test_angles_of_wide_heads(golden: GoldenSet) -> None:
    """A third of 64 channels is 21, of which 10 pairs are turned."""
    if "rotary_head64" not in golden.arrays:
        pytest.skip("this set has no angles of wide heads")
    torch.testing.assert_close(Line(5, 4).angles(64)[None], golden.arrays["rotary_head64"], rtol=1e-6, atol=1e-6)


def test_every_loss(golden: GoldenSet, everything: Realized) -> None:
    everything.same_losses(stored_losses(golden))


def test_every_gradient(golden: GoldenSet, everything: Realized) -> None:
    everything.same_gradients(stored_gradients(golden))


BREAKS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "dVAE's codebook": ("arrays", "vae_base", lambda given: scaled(given[0]["vae_base"].dvae.codebook.weight)),
    "dVAE's residual block": ("losses", "vae_base", lambda given: scaled(given[0]["vae_base"].dvae.encoder[2].third.weight)),
    "attention": ("arrays", "mixed", lambda given: scaled(given[0]["mixed"].transformer.attentions[3].to_qkv.weight)),
    "angles": ("arrays", "full", lambda given: scaled(given[0]["full"].transformer.angles)),
    "places": ("arrays", "plain", lambda given: scaled(given[0]["plain"].transformer.column_places)),
    "a layer's gain": ("losses", "reversible", lambda given: scaled(given[0]["reversible"].transformer.before_feed_forward[1].scale)),
    "weight of the text": ("losses", "shared", lambda given: given[2].update(text=1 + BROKEN)),
    "weight of the text, in gradients": ("gradients", "stable", lambda given: given[2].update(text=1 + BROKEN)),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, given: Inputs, everything: Realized, name: str) -> None:
    kind, model, change = BREAKS[name]
    stored = {"arrays": stored_arrays, "losses": stored_losses, "gradients": stored_gradients}[kind](golden)
    own = {key: value for key, value in stored.items() if key == model or key.startswith((f"{model}_", f"{model} "))}

    def picked(found: Found) -> Found:
        chosen = {
            k: {n: v for n, v in getattr(found, k).items() if n in own} if k == kind else {} for k in ("arrays", "losses", "gradients")
        }
        return Found(**chosen)

    narrowed = Realized(
        picked(everything.single), picked(everything.double), [picked(probe) for probe in everything.probes], batch_losses=False
    )
    compute = computation(golden, kind == "gradients", model)
    narrowed.notices(kind, own, change, lambda *values: picked(compute(*values)), *given)


def test_a_step_of_training(golden: GoldenSet, given: Inputs) -> None:
    """Adam on the clipped gradient of the stored loss: where theirs moved a weight, ours moves it as far and to the same side."""
    for entry in golden.facts["dalle"].values():
        if "file_after_one_step" not in entry:
            continue
        method, _ = read_dall_e([golden.folder / entry["file"]])
        after, _ = read_dall_e([golden.folder / entry["file_after_one_step"]])
        ids = method.transformer.ids(golden.arrays["text"])
        codes = method.dvae.encode(golden.arrays["image"] * 2.0 - 1.0).flatten(1)
        text, pictures = method.transformer.losses(ids, codes)
        ((text + 7.0 * pictures) / 8.0).backward()
        values = list(method.transformer.parameters())
        torch.nn.utils.clip_grad_norm_(values, 0.5)
        torch.optim.Adam(values, lr=3e-4).step()
        moved = 0
        for value, theirs in zip(values, after.transformer.parameters(), strict=True):
            assert value.grad is not None
            clear = value.grad.abs() > 1e-5  # smaller ones are lost in rounding, and Adam's first step has the size of the sign alone
            torch.testing.assert_close(value.detach()[clear], theirs.detach()[clear], rtol=0.0, atol=3e-6)
            moved += int(clear.sum())
        assert moved > len(values)
        return
    pytest.skip("this set has no step of training")


def test_the_step_s_own_loss(golden: GoldenSet, given: Inputs) -> None:
    """The method's update of a batch gives the stored loss."""
    import numpy as np

    from limner.core.text import TextFeatures
    from limner.core.trainable import Progress

    for name in golden.facts["dalle"]:
        method, count = given[0][name], len(golden.arrays["text"])
        text = TextFeatures(torch.zeros(count, 0), tokens=golden.arrays["text"])
        numbers = np.arange(count)
        batch = Batch(golden.arrays["image"] * 2.0 - 1.0, [["a"]] * count, (text,), numbers, numbers, 0)
        (update,) = method.training_step(batch, Progress(phase="transformer", step=0, steps=1, images=0, epoch=0.0))
        assert update.loss.item() == pytest.approx(golden.facts["dalle"][name]["loss"], rel=1e-5)


def test_both_forms_of_the_axial_keys(golden: GoldenSet, tmp_path: Path) -> None:
    """`weights_0` of the port's package in version 0.2, `weights.0` of 0.3."""
    for entry in golden.facts["dalle"].values():
        if any(key.startswith("image_pos_emb.") for key in entry["keys"]):
            content = torch.load(golden.folder / entry["file"], weights_only=True)
            content["weights"] = {key.replace(".weights_", ".weights."): value for key, value in content["weights"].items()}
            torch.save(content, tmp_path / "dalle.pt")
            one, other = read_dall_e([tmp_path / "dalle.pt"])[0], read_dall_e([golden.folder / entry["file"]])[0]
            assert all(map(torch.equal, one.transformer.state_dict().values(), other.transformer.state_dict().values()))
            return
    pytest.skip("no model of this set has axial places")
