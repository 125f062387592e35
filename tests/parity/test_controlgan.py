"""ControlGAN's networks and losses against stored results of the authors' code: its own checkpoints, through the importer."""

from __future__ import annotations

import json
import math
import os
import re
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.batch import Batch
from limner.core.method import Conditions, Progress
from limner.core.text import TextFeatures
from limner.features.perceptual import PerceptualLoss
from limner.games.tree import GUIDE
from limner.interop.controlgan import import_controlgan, read_controlgan
from limner.interop.networks import load_networks
from limner.matching.damsm import DAMSM, TRAINED, DAMSMSettings
from limner.methods.controlgan import PERCEPTUAL, ControlGAN
from limner.nn.attentive import AttentiveNoise
from limner.nn.damsm import Gammas, attend, paired_word_scores, sentence_loss, words_loss
from limner.nn.matching_aware import bce
from limner.nn.word_discriminator import word_verdicts
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "controlgan"
EVALUATION, TRAINING, LOSS, SUM, NORM = 2e-5, 3e-4, 1e-5, 1e-6, 1e-3
"""Absolute tolerances of arrays in either mode, relative ones of losses, of sums and of gradient norms."""
UNCALLED = r"\d\.att\.conv_context[23]|h_net2\.channel_att\.conv_context3|h_net3\.channel_att\.conv_context2"
"""Weights of the authors' generator that it never calls."""


class Golden:
    def __init__(self, name: str = "golden.json") -> None:
        self.facts = json.loads((FOLDER / name).read_text())
        with np.load(FOLDER / self.facts["arrays_file"], allow_pickle=False) as arrays:
            self.arrays = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        self.text = TextFeatures(self["sent_emb"], self["word_embs"].transpose(1, 2), ~self["mask"])
        self.noise = AttentiveNoise(self["z"], self["eps"])

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    def files(self, pattern: str) -> list[Path]:
        found = sorted(FOLDER / name for name in self.facts["checkpoints"] if re.fullmatch(pattern, name))
        assert found
        return found

    def pictures(self, kind: str, side: int) -> Tensor:
        return self[f"{kind}{side}_u8"] / 127.5 - 1

    @property
    def sides(self) -> list[int]:
        return sorted(int(name[4:-3]) for name in self.arrays if re.fullmatch(r"real\d+_u8", name))

    def outputs(self) -> set[str]:
        return {name for name, facts in self.facts["arrays"].items() if facts["role"] == "output"}

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


@pytest.fixture(scope="module")
def golden() -> Golden:
    if not (FOLDER / "golden.json").exists():
        pytest.skip(f"no golden files at {FOLDER}: set LIMNER_GOLDEN to their folder")
    return Golden()


@pytest.fixture
def method(golden: Golden, tmp_path: Path) -> ControlGAN:
    """All networks, from the authors' files to a folder and back."""
    import_controlgan(golden.files(r"netG.*|netD\d\.pth"), tmp_path / "networks", mixed_padding=True)
    found, players = load_networks(tmp_path / "networks")
    assert isinstance(found, ControlGAN) and players == ["generator", *(f"discriminator-{side}" for side in golden.sides)]
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


def painted(method: ControlGAN, text: TextFeatures, noise: AttentiveNoise) -> dict[str, Tensor]:
    painting = method.paint(text, noise)
    pictures = {f"img{value.shape[-1]}": value for value in (*painting.stages, painting.images)}
    return pictures | {f"att{number}": value for number, value in enumerate(painting.extras.values(), start=1)}


def one_by_one(method: ControlGAN, golden: Golden) -> dict[str, Tensor]:
    rows = [painted(method, golden.text[row : row + 1], golden.noise[row : row + 1]) for row in range(len(golden.text))]
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def word_attention(golden: Golden) -> dict[str, Tensor]:
    """What words see of the stored regions, which the losses by words are made of."""
    regions, gamma = golden["img_features"].flatten(2), golden.facts["config"]["GAMMA1"]
    assert golden.text.words is not None and golden.text.mask is not None
    found = {}
    for row, length in enumerate(golden["cap_lens"].tolist()):
        words = golden.text.words[row : row + 1, :length]
        _, seen = attend(regions[row : row + 1], words, torch.ones(1, length, dtype=torch.bool), gamma)
        found[f"damsm_att{row}"] = seen.view(1, length, *golden["img_features"].shape[2:])
    words = golden.text.words[:, : golden["func_attention_ctx"].shape[2]]
    context, seen = attend(regions, words, torch.ones(words.shape[:2], dtype=torch.bool), gamma)
    found["func_attention_ctx"] = context.transpose(1, 2)
    found["func_attention_map"] = seen.view(*words.shape[:2], *golden["img_features"].shape[2:])
    return found


@torch.no_grad()
def test_every_array(golden: Golden, method: ControlGAN) -> None:
    right, _ = read_controlgan(golden.files(r"netG.*"))  # which hides padding rightly, from places and channels
    assert not right.settings.mixed_padding and not right.settings.padded_channels
    for layer in right.generator.channel:
        layer.sees_padding = True  # as the single captions, padded to one length, were painted
    condition = method.generator.condition(golden.text.sentence)
    computed = {"eval_mu": condition.mean, "eval_logvar": condition.log_variance, "eval_c_code": condition.sample(golden.noise.epsilon)}
    computed |= {"train_mu": condition.mean, "train_logvar": condition.log_variance}
    computed |= views(golden, "eval_batch", painted(method, golden.text, golden.noise))
    computed |= views(golden, "eval_single", painted(right, golden.text, golden.noise))  # a batch, and yet as if each were alone
    alone = views(golden, "eval_single", one_by_one(method, golden))  # one caption has nobody's padding to mix in
    assert golden.compare(alone) == sum(name.startswith("eval_single") for name in golden.outputs()) > 0
    everything = TextFeatures(golden.text.sentence, golden.text.words, torch.ones_like(golden["mask"]))
    computed |= views(golden, "eval_nomask", painted(right, everything, golden.noise))
    computed |= word_attention(golden)
    for side, judge in zip(golden.sides, method.discriminators, strict=True):
        code = judge.look(golden.pictures("real", side))
        computed[f"eval_D{side}_features"] = code
        computed |= {
            f"eval_D{side}_cond": judge.match(code, golden.text.sentence).sigmoid(),
            f"eval_D{side}_uncond": judge.judge(code).sigmoid(),
        }
    method.train()
    computed |= views(golden, "train_batch", painted(method, golden.text, golden.noise))
    for side, judge in zip(golden.sides, method.discriminators, strict=True):
        code = judge.look(golden.pictures("real", side))
        computed |= {
            f"train_D{side}_cond": judge.match(code, golden.text.sentence).sigmoid(),
            f"train_D{side}_uncond": judge.judge(code).sigmoid(),
        }
    assert golden.outputs() and golden.outputs() == set(computed)
    assert golden.compare(computed) == len(golden.outputs())


def make_batch(golden: Golden, side: int) -> Batch:
    numbers, words = np.arange(len(golden.text)), golden["wrong_words"].transpose(1, 2)
    wrong = TextFeatures(golden.text.sentence, words, torch.arange(words.shape[1]) < golden["wrong_caps_len"][:, None])

    def one(caption: str, text: TextFeatures) -> Batch:
        return Batch(
            pictures=golden.pictures("real", side),
            captions=[[caption]] * len(numbers),
            texts=(text,),
            indices=numbers,
            samples=numbers,
            seed=0,
            classes=golden["class_ids"],
        )

    batch = one("right", golden.text)
    batch.make_mismatched = lambda: one("wrong", wrong)
    return batch


class Constant(nn.Module):
    """A network that answers alike, whatever it is given."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *given: object) -> object:
        return self.answer


class Reader(nn.Module):
    """A text encoder that has read the batch's captions already."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.read = {"right": batch.text, "wrong": batch.mismatched.text}

    def forward(self, captions: list[str]) -> TextFeatures:
        return self.read[captions[0]]


class Pooled(nn.Module):
    """A network of one stage, which stands for the perceptual one in the stored losses."""

    def taps(self, pictures: Tensor, names: list[str]) -> dict[str, Tensor]:
        return {name: F.avg_pool2d(pictures, 4) for name in names}


def guided(method: ControlGAN, golden: Golden, batch: Batch) -> ControlGAN:
    """The method under the stored stand-ins of its matching model and its perceptual network, with the authors' inert word-level loss."""
    config = golden.facts["config"]
    gammas = {"gamma_attention": config["GAMMA1"], "gamma_words": config["GAMMA2"], "gamma_pairs": config["GAMMA3"]}
    settings = DAMSMSettings(pictures=TRAINED, width=config["EMBEDDING_DIM"], picture_channels=1, **gammas)
    widths = {"sentence_width": settings.width, "word_width": settings.width}
    encoder = LSTMEncoder(Vocabulary(["bird"]), LSTMSettings(width=settings.width))
    guide = DAMSM(settings, Conditions(resolution=8, **widths), encoder)
    guide.encoder, guide.picture_side = Reader(batch), Constant((golden["img_features"].flatten(2), golden["cnn_code"]))
    given = {"matching": "given", "matching_weight": config["LAMBDA"], "word_discriminator": "inert"}
    method.settings = type(method.settings)(**{**vars(method.settings), **given})
    method.guide(GUIDE, guide)
    perceptual = PerceptualLoss("garden", "layer2", plain=not method.settings.perceptual_share)
    perceptual.network = Pooled()  # type: ignore[assignment]
    method.guide(PERCEPTUAL, perceptual)
    return method.train()


def test_discriminators_learn_alike(golden: Golden, method: ControlGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""
    stored, compared = golden.facts["loss_values"], 0
    for number, (side, judge) in enumerate(zip(golden.sides, method.discriminators, strict=True)):
        batch, fake = make_batch(golden, side), golden.pictures("fake", side)
        update = guided(method, golden, batch).discriminator_update(judge, batch, fake)
        assert update.player == f"discriminator-{side}"
        assert update.loss.item() == pytest.approx(stored[f"discriminator_loss_{side}"], rel=LOSS)
        (file,) = golden.files(f"netD{number}.pth")
        compared += same_norms(golden.facts["grad_l2_norms"][f"netD{number}"], file, judge, update.loss)
    assert compared == sum(len(values) for name, values in golden.facts["grad_l2_norms"].items() if name.startswith("netD")) > 0


def test_losses_by_words_and_sentences(golden: Golden) -> None:
    stored, config, batch = golden.facts["loss_values"], golden.facts["config"], make_batch(golden, 64)
    gammas = Gammas(attention=config["GAMMA1"], words=config["GAMMA2"], pairs=config["GAMMA3"])
    regions, text = golden["img_features"].flatten(2), golden.text
    assert text.words is not None and text.mask is not None
    for name, classes in (("with_class_ids", golden["class_ids"]), ("no_class_ids", None)):
        by_words = words_loss(regions, text.words, text.mask, gammas, classes)
        assert [value.item() for value in by_words] == pytest.approx(stored[f"words_loss_{name}"], rel=LOSS)
        by_sentences = sentence_loss(golden["cnn_code"], text.sentence, gammas, classes)
        assert [value.item() for value in by_sentences] == pytest.approx(stored[f"sent_loss_{name}"], rel=LOSS)
    own, wrong = word_verdicts(partial(paired_word_scores, gammas=gammas), regions, batch)
    assert bce(own, 1.0).item() == pytest.approx(stored["word_level_correlation_matched"], rel=LOSS)
    assert bce(wrong, 0.0).item() == pytest.approx(stored["word_level_correlation_mismatched"], rel=LOSS)


def test_the_generator_learns_alike(golden: Golden, method: ControlGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last turn of a whole training step, with stored noise and a matching model that gives the stored regions."""
    stored = golden.facts["loss_values"]
    monkeypatch.setattr(method, "noise", lambda batch, stream: golden.noise)
    batch = make_batch(golden, max(golden.sides))
    batch.image = lambda side: golden.pictures("real", side)  # type: ignore[method-assign]
    progress = Progress(phase="gan", step=0, steps=1, images=0, epoch=0.0)
    *_, update = guided(method, golden, batch).training_step(batch, progress)
    assert update.player == "generator"
    divergence = float(update.metrics["divergence"])
    assert divergence == pytest.approx(stored["kl_loss"], rel=LOSS)
    assert update.loss.item() == pytest.approx(stored["generator_loss_total"], rel=LOSS)
    assert update.loss.item() - divergence == pytest.approx(stored["generator_loss_without_kl"], rel=LOSS)
    logged = dict(re.findall(r"(\w+): ([\d.]+)", stored["generator_loss_logs"]))
    assert float(update.metrics["perceptual"]) == pytest.approx(float(logged["perceptual_loss"]), abs=0.006)
    (file,) = golden.files(r"netG.*")
    norms = golden.facts["grad_l2_norms"]["netG"]
    uncalled = {name for name, norm in norms.items() if norm is None}
    assert uncalled and all("conv_context" in name for name in uncalled)
    assert same_norms({name: norm for name, norm in norms.items() if norm is not None}, file, method.generator, update.loss) > 0


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


@torch.no_grad()
def test_published_width(golden: Golden, tmp_path: Path, authors_order: None, authors_upsampling: None) -> None:
    """The whole generator of the birds model, its weights by the recipe, and the discriminators' sizes."""
    whole = Golden("published_width.json")
    shapes = whole.facts["G_state_dict"]["keys_and_shapes"]
    torch.save({key: by_recipe(key, shape) for key, shape in shapes}, tmp_path / "netG.pth")
    method, _ = read_controlgan([tmp_path / "netG.pth"], mixed_padding=True)  # of one caption, so that nothing is mixed
    condition = method.generator.condition(whole.text.sentence)
    computed = {"mu": condition.mean, "logvar": condition.log_variance} | views(whole, "", painted(method, whole.text, whole.noise))
    assert whole.outputs() == set(computed)
    assert whole.compare(computed) == len(whole.outputs()) > 0
    left = sum(math.prod(shape) for key, shape in shapes if re.search(UNCALLED, key))
    assert left > 0 and sum(value.numel() for value in method.generator.parameters()) + left == whole.facts["params"]["netG"]
    for number, (judge, count) in enumerate(zip(method.discriminators, whole.facts["params"]["netD"], strict=True)):
        assert sum(value.numel() for value in judge.parameters()) == count
        theirs = sorted(shape for _, shape in whole.facts["D_keys_and_shapes"][f"netD{number}"])
        assert sorted(list(value.shape) for value in judge.state_dict().values()) == theirs
