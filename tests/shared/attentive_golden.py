"""Stored results of AttnGAN's family: the golden folders of its methods are laid out alike, and are compared alike."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.noise import ConditionedNoise
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Progress, Update
from limner.families.attentive.method import GUIDE, TreeMethod
from limner.interop.networks import load_networks
from limner.matching.losses.words import Gammas, attend, sentence_loss, words_loss
from limner.matching.models.damsm import DAMSM, TRAINED, DAMSMSettings
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary

ROOT = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden"))
EVALUATION, TRAINING, LOSS, SUM, NORM = 2e-5, 3e-4, 1e-5, 1e-6, 1e-3
"""Absolute tolerances of arrays in either mode, relative ones of losses, of sums and of gradient norms."""
MATCHING = ("damsm_att", "func_attention_")
"""Arrays of what words see of the stored regions."""


class Golden:
    """One system's stored arrays and facts. elsewhere: beginnings of the names of outputs that have tests of their own."""

    def __init__(self, system: str, elsewhere: tuple[str, ...] = (), name: str = "golden.json") -> None:
        self.folder, self.elsewhere = ROOT / system, elsewhere
        if not (self.folder / name).exists():
            pytest.skip(f"no golden files at {self.folder}: set LIMNER_GOLDEN to the folder that has them")
        self.facts = json.loads((self.folder / name).read_text())
        with np.load(self.folder / self.facts["arrays_file"], allow_pickle=False) as arrays:
            self.arrays = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        self.text = TextFeatures(self["sent_emb"], self["word_embs"].transpose(1, 2), ~self["mask"])
        self.noise = ConditionedNoise(self["z"], self["eps"])

    def whole(self) -> Golden:
        """The same system's results at its published width."""
        return Golden(self.folder.name, name="published_width.json")

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    @property
    def gammas(self) -> Gammas:
        config = self.facts["config"]
        return Gammas(attention=config["GAMMA1"], words=config["GAMMA2"], pairs=config["GAMMA3"])

    @property
    def losses(self) -> dict[str, Any]:
        return self.facts["loss_values"]

    def norms(self, network: str) -> dict[str, float]:
        """Norms of the loss's gradient by every weight of a network with one; power iterations and what is never called have none."""
        norms = {name: norm for name, norm in self.facts["grad_l2_norms"][network].items() if norm is not None}
        assert all(re.search(r"weight_[uv]$|\.conv_context[23]\.", name) for name in set(self.facts["grad_l2_norms"][network]) - set(norms))
        return norms

    def files(self, pattern: str) -> list[Path]:
        found = sorted(self.folder / name for name in self.facts["checkpoints"] if re.fullmatch(pattern, name))
        assert found
        return found

    def pictures(self, kind: str, side: int) -> Tensor:
        return self[f"{kind}{side}_u8"] / 127.5 - 1

    @property
    def sides(self) -> list[int]:
        return sorted(int(name[4:-3]) for name in self.arrays if re.fullmatch(r"real\d+_u8", name))

    def outputs(self) -> set[str]:
        return {name for name, facts in self.facts["arrays"].items() if facts["role"] == "output" and not name.startswith(self.elsewhere)}

    def compare(self, computed: dict[str, Tensor]) -> int:
        largest = 0.0
        for name, value in computed.items():
            expected = self[name]
            assert list(value.shape) == self.facts["arrays"][name]["shape"] == list(expected.shape), name
            difference = (value - expected).abs()
            if name.endswith("_stats"):
                # Means and deviations are numbers up to 1 that may be near 0; the sum of magnitudes is compared relative to itself.
                assert float(difference[..., :2].max()) <= (TRAINING if name.startswith("train") else EVALUATION), name
                if expected.shape[-1] == 3:
                    assert float((difference / expected)[..., 2].max()) <= (TRAINING if name.startswith("train") else SUM), name
            else:
                assert float(difference.max()) <= (TRAINING if name.startswith("train") else EVALUATION), name
                largest = max(largest, float(difference.max()))
        print(f"\n{len(computed)} arrays, largest difference {largest:.1e}")
        return len(computed)

    def batch(self, side: int) -> Batch:
        """The stored real pictures of one side with the stored captions."""
        numbers = np.arange(len(self.text))
        return Batch(
            pictures=self.pictures("real", side),
            captions=[["a caption"]] * len(numbers),
            texts=(self.text,),
            indices=numbers,
            samples=numbers,
            seed=0,
            classes=self["class_ids"],
        )


def imported(golden: Golden, read: Callable[..., Any], folder: Path) -> Any:
    """All networks, from the authors' files to a folder and back. read: the importer of the method."""
    read(golden.files(r"netG.*|netD\d\.pth"), folder, mixed_padding=True)
    found, players = load_networks(folder)
    assert players == ["generator", *(f"discriminator-{side}" for side in golden.sides)]
    return found


def views(golden: Golden, prefix: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is stored of pictures and attention maps by name ("img64", "att1"): whole, every n-th pixel, a crop, or figures."""
    found = {}
    for name in golden.facts["arrays"]:
        parts = re.fullmatch(rf"{prefix}_?((?:img|att)\d+)(?:_(stride(\d+)|crop|stats))?", name)
        if parts is None:
            continue
        value = values[parts[1]]
        if parts[3]:
            value = value[..., :: int(parts[3]), :: int(parts[3])]
        elif parts[2] == "crop":
            size = golden.facts["arrays"][name]["shape"][-1]
            start = (value.shape[-1] - size) // 2
            value = value[..., start : start + size, start : start + size]
        elif parts[2] == "stats":
            wide = value.double()
            figures = [wide.mean((2, 3)), wide.std((2, 3), unbiased=False), wide.abs().sum((2, 3))]
            value = torch.stack(figures[: golden.facts["arrays"][name]["shape"][-1]], dim=2)
        found[name] = value
    return found


def painted(method: TreeMethod, text: TextFeatures, noise: ConditionedNoise) -> dict[str, Tensor]:
    painting = method.paint(text, noise)
    pictures = {f"img{value.shape[-1]}": value for value in (*painting.stages, painting.images)}
    return pictures | {f"att{number}": value for number, value in enumerate(painting.extras.values(), start=1)}


def verdicts(golden: Golden, method: TreeMethod, mode: str) -> dict[str, Tensor]:
    """What every discriminator sees in the stored real pictures, and says of them."""
    found = {}
    for side, judge in zip(golden.sides, method.scale_discriminators(), strict=True):
        code = judge.look(golden.pictures("real", side))
        found[f"{mode}_D{side}_features"] = code
        found[f"{mode}_D{side}_cond"] = judge.match(code, golden.text.sentence).sigmoid()
        found[f"{mode}_D{side}_uncond"] = judge.realism(code).sigmoid()
    return found


def all_arrays(golden: Golden, method: Any, right: Any) -> dict[str, Tensor]:
    """Pictures, attention, Gaussians and verdicts, in evaluation and in training, by their stored names.

    method: as the authors' code hides padding. right: the same, which hides it rightly. Leaves `method` in training.
    """
    assert method.settings.mixed_padding and not right.settings.mixed_padding
    condition = method.generator.condition(golden.text.sentence)
    computed = {"eval_mu": condition.mean, "eval_logvar": condition.log_variance, "eval_c_code": condition.sample(golden.noise.epsilon)}
    computed |= {"train_mu": condition.mean, "train_logvar": condition.log_variance}
    computed |= views(golden, "eval_batch", painted(method, golden.text, golden.noise))
    computed |= views(golden, "eval_single", painted(right, golden.text, golden.noise))  # a batch, and yet as if each were alone
    rows = [painted(method, golden.text[row : row + 1], golden.noise[row : row + 1]) for row in range(len(golden.text))]
    alone = views(golden, "eval_single", {name: torch.cat([row[name] for row in rows]) for name in rows[0]})
    # One caption has nobody's padding to mix in.
    assert golden.compare(alone) == sum(name.startswith("eval_single") for name in golden.outputs()) > 0
    everything = TextFeatures(golden.text.sentence, golden.text.words, torch.ones_like(golden["mask"]))
    computed |= views(golden, "eval_nomask", painted(right, everything, golden.noise))
    computed |= verdicts(golden, method, "eval")
    again = verdicts(golden, method, "eval")  # nothing has moved on, as spectral normalisation might
    assert again and all(torch.equal(value, computed[name]) for name, value in again.items())
    method.train()
    computed |= views(golden, "train_batch", painted(method, golden.text, golden.noise))
    return computed | {name: value for name, value in verdicts(golden, method, "train").items() if not name.endswith("features")}


def same_arrays(golden: Golden, computed: dict[str, Tensor]) -> None:
    """All that is stored has been computed, and is the same."""
    assert golden.outputs() and golden.outputs() == set(computed)
    assert golden.compare(computed) == len(golden.outputs())


def matching_arrays(golden: Golden) -> dict[str, Tensor]:
    """What each word attends to in the stored regions, alone and among the words of a caption."""
    words, regions, mask = golden.text.words, golden["img_features"].flatten(2), golden.text.mask
    assert words is not None and mask is not None
    side, length = golden["img_features"].shape[2:], golden["func_attention_ctx"].shape[-1]
    seen, attention = attend(regions, words[:, :length], torch.ones(len(words), length, dtype=torch.bool), golden.gammas.attention)
    found = {"func_attention_ctx": seen.transpose(1, 2), "func_attention_map": attention.unflatten(2, side)}
    attention = attend(regions, words, mask, golden.gammas.attention)[1].unflatten(2, side)
    found |= {f"damsm_att{row}": attention[row : row + 1, mask[row]] for row in range(len(words))}
    assert set(found) == {name for name in golden.facts["arrays"] if name.startswith(MATCHING)}
    return found


def same_matching_losses(golden: Golden) -> None:
    """DAMSM's losses of the stored regions, by words and by sentences, with classes and without."""
    regions, text = golden["img_features"].flatten(2), golden.text
    assert text.words is not None and text.mask is not None
    for ending, classes in (("with_class_ids", golden["class_ids"]), ("no_class_ids", None)):
        by_words = words_loss(regions, text.words, text.mask, golden.gammas, classes)
        by_sentence = sentence_loss(golden["cnn_code"], text.sentence, golden.gammas, classes)
        assert [value.item() for value in by_words] == pytest.approx(golden.losses[f"words_loss_{ending}"], rel=LOSS)
        assert [value.item() for value in by_sentence] == pytest.approx(golden.losses[f"sent_loss_{ending}"], rel=LOSS)


def same_discriminator_turns(golden: Golden, turn: Callable[[int, nn.Module], Update], method: TreeMethod) -> None:
    """Loss and gradient norms of each discriminator's turn, which `turn(side, judge)` takes on stored pictures."""
    compared = 0
    for number, (side, judge) in enumerate(zip(golden.sides, method.scale_discriminators(), strict=True)):
        update = turn(side, judge)
        assert update.player == f"discriminator-{side}"
        assert update.loss.item() == pytest.approx(golden.losses[f"discriminator_loss_{side}"], rel=LOSS)
        (file,) = golden.files(f"netD{number}.pth")
        compared += same_norms(golden.norms(f"netD{number}"), file, judge, update.loss)
    assert compared == sum(len(golden.norms(name)) for name in golden.facts["grad_l2_norms"] if name.startswith("netD")) > 0


def same_generator_turn(golden: Golden, method: Any, batch: Batch, monkeypatch: pytest.MonkeyPatch, phase: str = "gan") -> Update:
    """Loss, divergence and gradient norms of the last turn of a whole training step, with the stored noise."""
    monkeypatch.setattr(method, "noise", lambda batch, stream: golden.noise)
    *_, update = method.train().training_step(batch, Progress(phase=phase, step=0, steps=1, images=0, epoch=0.0))
    assert update.player == "generator"
    divergence = float(update.metrics["divergence"])
    assert divergence == pytest.approx(golden.losses["kl_loss"], rel=LOSS)
    assert update.loss.item() == pytest.approx(golden.losses["generator_loss_total"], rel=LOSS)
    assert update.loss.item() - divergence == pytest.approx(golden.losses["generator_loss_without_kl"], rel=LOSS)
    (file,) = golden.files(r"netG.*")
    assert same_norms(golden.norms("netG"), file, method.generator, update.loss) > 0
    return update


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


def same_norms(stored: dict[str, float], file: Path, module: nn.Module, loss: Tensor) -> int:
    """Compare the norm of the loss's gradient by every parameter, which its values in the file tell apart."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    computed = {name: float(value.norm()) for name, value in zip(names, torch.autograd.grad(loss, parameters), strict=True)}
    values = torch.load(file, weights_only=True)
    theirs = {
        own: name for own, value in module.named_parameters() for name in stored if torch.equal(values[name].flatten(), value.flatten())
    }
    assert len(theirs) == len(set(theirs.values())) == len(stored) and min(stored.values()) > 1e-5
    assert {theirs[name]: norm for name, norm in computed.items()} == pytest.approx(stored, rel=NORM)
    return len(stored)


def by_recipe(key: str, shape: list[int]) -> Tensor:
    """A tensor as the stored recipe makes it from its name."""
    draw = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("running_var"):
        value = draw.uniform(0.5, 1.5, shape)
    elif len(shape) < 2:
        value = (1 if key.endswith("weight") else 0) + 0.1 * draw.standard_normal(shape)
    else:
        value = draw.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


def same_at_published_width(golden: Golden, folder: Path, read: Callable[[list[Path]], tuple[Any, Any]], uncalled: int = 0) -> None:
    """The whole generator of the birds model, its weights by the recipe, and the discriminators' sizes.

    read: the reader of the authors' files. uncalled: numbers among the authors' weights that their generator never calls.
    """
    whole = golden.whole()
    shapes = whole.facts["G_state_dict"]["keys_and_shapes"]
    torch.save({key: by_recipe(key, shape) for key, shape in shapes}, folder / "netG.pth")
    method, _ = read([folder / "netG.pth"])
    condition = method.generator.condition(whole.text.sentence)
    computed = {"mu": condition.mean, "logvar": condition.log_variance} | views(whole, "", painted(method, whole.text, whole.noise))
    same_arrays(whole, computed)
    assert sum(value.numel() for value in method.generator.parameters()) + uncalled == whole.facts["params"]["netG"]
    for number, (judge, count) in enumerate(zip(method.discriminators, whole.facts["params"]["netD"], strict=True)):
        assert sum(value.numel() for value in judge.parameters()) == count  # theirs that are trained
        theirs = sorted(shape for _, shape in whole.facts["D_keys_and_shapes"][f"netD{number}"])
        assert sorted(list(value.shape) for value in judge.state_dict().values()) == theirs
