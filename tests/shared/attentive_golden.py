"""Stored results of AttnGAN's family: the golden folders of its methods are laid out alike, and are compared alike.

How far apart stored and own numbers may be is for `shared.rounding`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.noise import ConditionedNoise
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Progress, Update
from limner.families.attentive.method import GUIDE, TreeMethod
from limner.interop.networks import load_networks
from limner.matching.losses.words import attend, sentence_loss, words_loss
from limner.matching.models.damsm import DAMSM, TRAINED, DAMSMSettings
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from shared.attentive_sets import Golden, views
from shared.recipe import recipe_weights
from shared.rounding import KINKS, SPREADS, Comparison, Disagreement, Results, results

PROBES = 3
"""Results from moved weights for what has few numbers, or kinks."""
BREAK = 1.001
"""By what a coefficient is multiplied to see that a comparison notices."""


def imported(golden: Golden, read: Callable[..., Any], folder: Path) -> Any:
    """All networks, from the authors' files to a folder and back. read: the importer of the method."""
    read(golden.files(r"netG.*|netD\d\.pth"), folder, mixed_padding=True)
    found, players = load_networks(folder)
    assert players == ["generator", *(f"discriminator-{side}" for side in golden.sides)]
    return found


def painted(method: TreeMethod, text: TextFeatures, noise: ConditionedNoise) -> dict[str, Tensor]:
    painting = method.paint(text, noise)
    pictures = {f"img{value.shape[-1]}": value for value in (*painting.stages, painting.images)}
    return pictures | {f"att{number}": value for number, value in enumerate(painting.extras.values(), start=1)}


def verdicts(golden: Golden, method: TreeMethod, mode: str) -> dict[str, Tensor]:
    """What every discriminator sees in the stored real pictures, and says of them."""
    found = {}
    for side, judge in zip(golden.sides, method.scale_discriminators(), strict=True):
        code = judge.look(golden[f"real{side}"])
        found[f"{mode}_D{side}_features"] = code
        found[f"{mode}_D{side}_cond"] = judge.match(code, golden.text.sentence).sigmoid()
        found[f"{mode}_D{side}_uncond"] = judge.realism(code).sigmoid()
    return found


@torch.no_grad()
def paintings(golden: Golden, method: Any, right: Any) -> dict[str, Tensor]:
    """Pictures and attention, in evaluation and in training, by their stored names.

    method: as the authors' code hides padding. right: the same, which hides it rightly. Leaves `method` in training.
    """
    everything = TextFeatures(golden.text.sentence, golden.text.words, torch.ones_like(golden.mask))
    found = {}
    for beginning, painter, text in (
        ("eval_batch", method.eval(), golden.text),
        ("eval_single", right, golden.text),  # a batch, and yet as if each were alone
        ("eval_nomask", right, everything),
        ("train_batch", method, golden.text),
    ):
        if golden.outputs(beginning):
            painter.train(beginning.startswith("train"))
            found |= views(golden, beginning, painted(painter, text, golden.noise))
    return found


@torch.no_grad()
def alone(golden: Golden, method: Any) -> dict[str, Tensor]:
    """What is stored of captions painted one by one, by networks that mix the padding of a batch: one caption has nobody's to mix in."""
    rows = [painted(method, golden.text[row : row + 1], golden.noise[row : row + 1]) for row in range(len(golden.text))]
    return views(golden, "eval_single", {name: torch.cat([row[name] for row in rows]) for name in rows[0]})


@torch.no_grad()
def answers(golden: Golden, method: Any) -> dict[str, Tensor]:
    """Gaussians and verdicts, in evaluation and in training, by their stored names: cheap, and of few numbers."""
    condition = method.generator.condition(golden.text.sentence)
    computed = {"eval_c_code": condition.sample(golden.noise.epsilon)}
    for mode in ("eval", "train"):
        computed |= {f"{mode}_mu": condition.mean, f"{mode}_logvar": condition.log_variance}
        computed |= verdicts(golden, method.train(mode == "train"), mode)
    return {name: value for name, value in computed.items() if name in golden.facts["arrays"]}


def compare(comparison: Comparison, golden: Golden, found: Results) -> set[str]:
    """Compare what was computed with what is stored by the same names, and say which these are."""
    for name, single in found.single.items():
        theirs, double, probes = golden[name], found.double[name], [probe[name] for probe in found.probes]
        if name.endswith("_stats"):
            comparison.figures(name, theirs, single, double)
        else:
            comparison.array(name, theirs, single, double, probes)
    return set(found.single)


def same_family_arrays(golden: Golden, method: Any, right: Any, *more: Results) -> None:
    """All that is stored of painting and judging, captions alone too; and an evaluation changes nothing. more: other stored arrays."""
    assert method.settings.mixed_padding and not right.settings.mixed_padding
    before = {name: value.clone() for name, value in method.state_dict().items()}
    with torch.no_grad():
        once, again = (verdicts(golden, method, "eval") for _ in range(2))
    assert once and all(torch.equal(value, again[name]) for name, value in once.items())
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())  # spectral norms do not move on
    comparison, compared = Comparison(), set[str]()
    pictures = results(paintings, golden, method, right)
    for found in (pictures, results(answers, golden, method, probes=PROBES), *more):
        compared |= compare(comparison, golden, found)
    assert compared == golden.outputs()
    single = alone(golden, method)
    assert single.keys() == golden.outputs("eval_single")
    compare(comparison, golden, Results(single, pictures.double))
    comparison.finish(len(compared) + len(single))


@torch.no_grad()
def matching_arrays(golden: Golden) -> dict[str, Tensor]:
    """What each word attends to in the stored regions, alone and among the words of a caption."""
    words, regions, mask, arrays = golden.text.words, golden["img_features"].flatten(2), golden.mask, golden.facts["arrays"]
    assert words is not None
    side, found = golden["img_features"].shape[2:], {}
    if "func_attention_ctx" in arrays:
        length = arrays["func_attention_ctx"]["shape"][-1]
        stated = re.search(r"gamma1=([\d.]*\d)", arrays["func_attention_ctx"]["note"])
        gamma = float(stated[1]) if stated else golden.gammas.attention
        seen, attention = attend(regions, words[:, :length], torch.ones(len(words), length, dtype=torch.bool), gamma)
        found |= {"func_attention_ctx": seen.transpose(1, 2), "func_attention_map": attention.unflatten(2, side)}
    attention = attend(regions, words, mask, golden.gammas.attention)[1].unflatten(2, side)
    found |= {f"damsm_att{row}": attention[row : row + 1, mask[row]] for row in range(len(words))}
    return {name: value for name, value in found.items() if name in arrays}


def matching_losses(golden: Golden) -> dict[str, Tensor]:
    """DAMSM's losses of the stored regions, by words and by sentences, with classes and without, by their stored names."""
    regions, text = golden["img_features"].flatten(2), golden.text
    assert text.words is not None and text.mask is not None
    found = {}
    for ending, classes in (("with_class_ids", golden["class_ids"]), ("no_class_ids", None)):
        found[f"words_loss_{ending}"] = torch.stack(words_loss(regions, text.words, text.mask, golden.gammas, classes))
        found[f"sent_loss_{ending}"] = torch.stack(sentence_loss(golden["cnn_code"], text.sentence, golden.gammas, classes))
    return found


def same_losses(golden: Golden, compute: Callable[..., dict[str, Tensor]], *modules: nn.Module, pattern: str) -> None:
    """`compute(golden, *modules)` gives losses by their stored names, all that are of this pattern, and they are the same."""
    found, comparison = results(compute, golden, *modules, probes=PROBES), Comparison()
    stored = {name for name in golden.losses if re.fullmatch(pattern, name)}
    for name in stored:
        theirs = torch.tensor(golden.losses[name], dtype=torch.float64)
        comparison.array(name, theirs, found.single[name], found.double[name], [probe[name] for probe in found.probes])
    comparison.finish(len(stored))


def same_matching_losses(golden: Golden) -> None:
    same_losses(golden, matching_losses, pattern=r"(words|sent)_loss_.*")


def notices(
    golden: Golden,
    method: Any,
    coefficient: str,
    losses: Callable[..., None] = same_matching_losses,
    turn: Callable[..., object] | None = None,
) -> None:
    """Fails unless a comparison does when one coefficient is BREAK times what it is.

    coefficient: a name of golden.json's `config` that `losses(golden)` or else `turn(golden, method)` depends on; "slope", of the
    discriminators' leaky ReLUs; or a pattern of names of weights, of which the first is broken.
    """
    if coefficient in golden.facts["config"]:
        golden = golden.with_config(**{coefficient: BREAK * golden.facts["config"][coefficient]})
        with pytest.raises(Disagreement):
            if turn is None:
                losses(golden)
            else:
                with torch.no_grad():
                    turn(golden, method)
        return
    if coefficient == "slope":
        for layer in method.discriminators.modules():
            if isinstance(layer, nn.LeakyReLU):
                layer.negative_slope *= BREAK
    else:
        weight = next(value for name, value in method.named_parameters() if re.match(coefficient, name) and value.ndim > 1)
        weight.data *= BREAK
    if coefficient.startswith("generator"):
        beginnings = [beginning for beginning in ("eval_batch", "eval_nomask", "train_batch") if golden.outputs(beginning)]
        if not beginnings:
            pytest.skip(f"the golden set at {golden.folder} has no pictures of a batch")
        found = results(paintings, golden.having(beginnings[0]), method, method)
    else:
        found = results(answers, golden, method, probes=1)
    assert found.single
    with pytest.raises(Disagreement):
        compare(Comparison(), golden, found)


Turn = Callable[[Golden, Any], Update]
"""A turn of one player of a method, with what a golden set has stored."""


def learned(turn: Turn, player: Callable[[Any], nn.Module]) -> Callable[[Golden, Any], dict[str, Any]]:
    """A function of golden set and method: the turn's loss, its metrics, and the loss's gradient by every weight of the player.

    Without gradients where autograd is off.
    """

    def compute(golden: Golden, method: Any) -> dict[str, Any]:
        update = turn(golden, method.train())
        names, parameters = zip(*player(method).named_parameters(), strict=True)
        gradients = torch.autograd.grad(update.loss, parameters) if update.loss.requires_grad else ()
        return {**update.metrics, "loss": update.loss.detach(), "gradients": dict(zip(names, gradients, strict=False))}

    return compute


def same_turn(golden: Golden, method: Any, turn: Turn, player: Callable[[Any], nn.Module], network: str, losses: dict[str, Any]) -> Results:
    """Losses and gradient norms of a turn, in every precision; losses alone where autograd is off.

    network: the authors' name of the player. losses: by stored name, what of a turn's results (`learned`) it is.
    """
    found, comparison = results(learned(turn, player), golden, method, probes=PROBES, roundings=KINKS * SPREADS), Comparison()
    for name, take in losses.items():
        double = take(found.double)
        probes = [double + (take(probe) - double) / KINKS for probe in found.probes]  # losses have no kinks that show
        comparison.array(name, golden.losses[name], take(found.single), double, probes)
    norms = golden.norms(network) if torch.is_grad_enabled() else {}
    if norms:
        names = authors_names(norms, golden.files(rf"{network}(_.*)?\.pth")[0], player(method))
        renamed = ({names[own]: value for own, value in each["gradients"].items()} for each in (found.single, found.double, *found.probes))
        single, double, *probes = renamed
        comparison.norms(norms, single, double, probes)
    comparison.finish(len(losses) + len(norms))
    return found


Prepare = Callable[[Golden, Any, int], Batch]
"""What puts stored things in place of what a method's losses need, and gives the stored batch of a side."""


def guided_batch(golden: Golden, method: Any, side: int) -> Batch:
    """For methods that need a matching model alone."""
    guided(golden, method)
    return golden.batch(side)


def same_discriminator_turns(golden: Golden, method: TreeMethod, prepare: Prepare = guided_batch) -> None:
    """Loss and gradient norms of each discriminator's turn, by the method's own function, on stored pictures."""
    stored = {name for name in golden.facts["grad_l2_norms"] if name.startswith("netD")}
    assert stored == {f"netD{number}" for number in range(len(golden.sides))} and stored
    for number, side in enumerate(golden.sides):

        def judge(method: Any, number: int = number) -> nn.Module:
            return list(method.scale_discriminators())[number]

        def turn(golden: Golden, method: Any, side: int = side, judge: Callable[[Any], nn.Module] = judge) -> Update:
            batch = prepare(golden, method, side)
            return method.discriminator_update(judge(method), batch, golden[f"fake{side}"])

        same_turn(golden, method, turn, judge, f"netD{number}", {f"discriminator_loss_{side}": lambda found: found["loss"]})


def same_generator_turn(golden: Golden, method: Any, prepare: Prepare = guided_batch, phase: str = "gan") -> Results:
    """Loss, divergence and gradient norms of the last turn of a whole training step, with the stored noise."""
    weight = golden.number(r"adds kl with weight ([\d.]*\d)", 1.0)
    method.settings = type(method.settings)(**{**vars(method.settings), "divergence_weight": weight})

    def turn(golden: Golden, method: Any) -> Update:
        batch = prepare(golden, method, max(golden.sides))
        method.noise = lambda batch, stream: golden.noise
        *_, update = method.training_step(batch, Progress(phase=phase, step=0, steps=1, images=0, epoch=0.0))
        assert update.player == "generator"
        return update

    losses = {
        "kl_loss": lambda found: found["divergence"],
        "generator_loss_total": lambda found: found["loss"],
        "generator_loss_without_kl": lambda found: found["loss"] - weight * found["divergence"],
    }
    return same_turn(golden, method, turn, lambda method: method.generator, "netG", losses)


class Constant(nn.Module):
    """A network that answers alike, whatever it is given."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *given: object) -> object:
        return self.answer


def guided(golden: Golden, method: Any, encoder: nn.Module | None = None, **settings: Any) -> Any:
    """The method beside a matching model that gives the stored regions. encoder: in place of one that gives the stored captions."""
    config = golden.facts["config"]
    gammas = {"gamma_attention": config["GAMMA1"], "gamma_words": config["GAMMA2"], "gamma_pairs": config["GAMMA3"]}
    own = DAMSMSettings(pictures=TRAINED, width=config["EMBEDDING_DIM"], picture_channels=1, **gammas)
    conditions = Conditions(resolution=8, sentence_width=own.width, word_width=own.width)
    guide = DAMSM(own, conditions, LSTMEncoder(Vocabulary(["bird"]), LSTMSettings(width=own.width)))
    guide.encoder = encoder or Constant(golden.text)  # type: ignore[assignment]
    guide.picture_side = Constant((golden["img_features"].flatten(2), golden["cnn_code"]))  # type: ignore[assignment]
    given = {"matching": "given", "matching_weight": config["LAMBDA"], **settings}
    method.settings = type(method.settings)(**{**vars(method.settings), **given})
    method.guide(GUIDE, guide)
    return method


def authors_names(stored: dict[str, float], file: Path, module: nn.Module) -> dict[str, str]:
    """By the name of every weight of ours, its name in the authors' file: of those with its values, the first that is not taken."""
    values, free, found = torch.load(file, weights_only=True), list(stored), {}
    for own, value in module.named_parameters():
        found[own] = next(name for name in free if torch.equal(values[name].flatten(), value.flatten()))
        free.remove(found[own])
    assert not free, f"{free} of {file.name} are no weights of ours"
    return found


def same_at_published_width(golden: Golden, folder: Path, read: Callable[[list[Path]], tuple[Any, Any]], uncalled: int = 0) -> None:
    """The whole generator of the birds model, its weights by the recipe, and the discriminators' sizes.

    read: the reader of the authors' files. uncalled: numbers among the authors' weights that their generator never calls.
    """
    whole = golden.whole()
    torch.save(recipe_weights(golden.facts | whole.facts, whole.facts["G_state_dict"]), folder / "netG.pth")
    method, _ = read([folder / "netG.pth"])

    @torch.no_grad()
    def compute(whole: Golden, method: Any) -> dict[str, Tensor]:
        condition = method.generator.condition(whole.text.sentence)
        return {"mu": condition.mean, "logvar": condition.log_variance} | views(whole, "", painted(method, whole.text, whole.noise))

    comparison = Comparison()
    assert compare(comparison, whole, results(compute, whole, method)) == whole.outputs()
    comparison.finish(len(whole.outputs()))
    assert sum(value.numel() for value in method.generator.parameters()) + uncalled == whole.facts["params"]["netG"]
    for number, (judge, count) in enumerate(zip(method.discriminators, whole.facts["params"]["netD"], strict=True)):
        assert sum(value.numel() for value in judge.parameters()) == count  # theirs that are trained
        theirs = sorted(shape for _, shape in whole.facts["D_keys_and_shapes"][f"netD{number}"])
        assert sorted(list(value.shape) for value in judge.state_dict().values()) == theirs
