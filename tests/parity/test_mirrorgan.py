"""MirrorGAN's generator, discriminators, caption decoder and losses against stored results of the authors' code and its checkpoints."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from limner.core.batch import Batch
from limner.core.method import Progress
from limner.core.text import TextFeatures
from limner.interop.mirrorgan import import_mirrorgan, read_decoder, read_mirrorgan
from limner.interop.networks import load_networks
from limner.methods.mirrorgan import MirrorGAN
from limner.nn.attentive import AttentiveNoise
from limner.nn.captioner import Captioner, caption_loss
from limner.nn.damsm import Gammas, attend, sentence_loss, words_loss
from limner.nn.joint_losses import discriminator_update

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "mirrorgan"
EVALUATION, TRAINING, LOSS, SUM, NORM = 2e-5, 3e-4, 1e-5, 1e-6, 1e-3
"""Absolute tolerances of arrays in either mode, relative ones of losses, of sums and of gradient norms."""
APART = ("damsm_att", "func_attention_", "caption_rnn_")
"""Arrays that have tests of their own."""


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
        return {name for name, facts in self.facts["arrays"].items() if facts["role"] == "output" and not name.startswith(APART)}

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
def method(golden: Golden, tmp_path: Path) -> MirrorGAN:
    """All networks, from the authors' files to a folder and back."""
    import_mirrorgan(golden.files(r"netG.*|netD\d\.pth"), tmp_path / "networks", mixed_padding=True)
    found, players = load_networks(tmp_path / "networks")
    assert isinstance(found, MirrorGAN) and players == ["generator", *(f"discriminator-{side}" for side in golden.sides)]
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


def painted(method: MirrorGAN, text: TextFeatures, noise: AttentiveNoise) -> dict[str, Tensor]:
    painting = method.paint(text, noise)
    pictures = {f"img{value.shape[-1]}": value for value in (*painting.stages, painting.images)}
    return pictures | {f"att{number}": value for number, value in enumerate(painting.extras.values(), start=1)}


def one_by_one(method: MirrorGAN, golden: Golden) -> dict[str, Tensor]:
    rows = [painted(method, golden.text[row : row + 1], golden.noise[row : row + 1]) for row in range(len(golden.text))]
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


@torch.no_grad()
def test_every_array(golden: Golden, method: MirrorGAN) -> None:
    right, _ = read_mirrorgan(golden.files(r"netG.*"))  # which hides padding rightly
    assert method.settings.mixed_padding and not right.settings.mixed_padding
    condition = method.generator.condition(golden.text.sentence)
    computed = {"eval_mu": condition.mean, "eval_logvar": condition.log_variance, "eval_c_code": condition.sample(golden.noise.epsilon)}
    computed |= {"train_mu": condition.mean, "train_logvar": condition.log_variance}
    computed |= views(golden, "eval_batch", painted(method, golden.text, golden.noise))
    computed |= views(golden, "eval_single", painted(right, golden.text, golden.noise))  # a batch, and yet as if each were alone
    alone = views(golden, "eval_single", one_by_one(method, golden))  # one caption has nobody's padding to mix in
    assert golden.compare(alone) == sum(name.startswith("eval_single") for name in golden.outputs()) > 0
    everything = TextFeatures(golden.text.sentence, golden.text.words, torch.ones_like(golden["mask"]))
    computed |= views(golden, "eval_nomask", painted(right, everything, golden.noise))
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
    numbers = np.arange(len(golden.text))
    return Batch(
        pictures=golden.pictures("real", side),
        captions=[["a caption"]] * len(numbers),
        texts=(golden.text,),
        indices=numbers,
        samples=numbers,
        seed=0,
        classes=golden["class_ids"],
    )


def test_discriminators_learn_alike(golden: Golden, method: MirrorGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""
    compared = 0
    for number, (side, judge) in enumerate(zip(golden.sides, method.train().discriminators, strict=True)):
        batch, fake = make_batch(golden, side), golden.pictures("fake", side)
        update = discriminator_update(f"discriminator-{side}", judge, batch, fake, golden.text.sentence, mismatch=method.settings.mismatch)
        assert update.loss.item() == pytest.approx(golden.facts["loss_values"][f"discriminator_loss_{side}"], rel=LOSS)
        (file,) = golden.files(f"netD{number}.pth")
        compared += same_norms(golden.facts["grad_l2_norms"][f"netD{number}"], file, judge, update.loss)
    assert compared == sum(len(values) for name, values in golden.facts["grad_l2_norms"].items() if name.startswith("netD")) > 0


@torch.no_grad()
def test_the_decoder(golden: Golden) -> None:
    """What it thinks of each word of the stored captions, and what it says by itself."""
    (file,) = golden.files(r"rnn_decoder.*")
    decoder, features = read_decoder(file), golden["caption_cnn_features"]
    logits = decoder(features, golden["captions"])
    said = decoder.say(features, golden["caption_rnn_sample"].shape[1])
    packed = pack_padded_sequence(logits, golden["cap_lens"], batch_first=True).data
    computed = {"caption_rnn_logits": packed, "caption_rnn_sample": said}
    assert set(computed) == {name for name in golden.facts["arrays"] if name.startswith("caption_rnn_")}
    assert golden.compare(computed) == len(computed)
    loss = caption_loss(logits, golden["captions"], ~golden["mask"])
    assert loss.item() == pytest.approx(golden.facts["loss_values"]["caption_ce"], rel=LOSS)


@torch.no_grad()
def test_the_matching_term(golden: Golden) -> None:
    """DAMSM's arrays and losses, which the authors' code has and does not use."""
    config, words, mask = golden.facts["config"], golden["word_embs"].transpose(1, 2), ~golden["mask"]
    gammas = Gammas(attention=config["GAMMA1"], words=config["GAMMA2"], pairs=config["GAMMA3"])
    regions = golden["img_features"].flatten(2)
    side, length = golden["func_attention_map"].shape[-2:], golden["func_attention_ctx"].shape[-1]
    seen, attention = attend(regions, words[:, :length], torch.ones(len(words), length, dtype=torch.bool), gammas.attention)
    computed = {"func_attention_ctx": seen.transpose(1, 2), "func_attention_map": attention.unflatten(2, side)}
    attention = attend(regions, words, mask, gammas.attention)[1].unflatten(2, side)
    computed |= {f"damsm_att{row}": attention[row : row + 1, mask[row]] for row in range(len(words))}
    assert set(computed) == {name for name in golden.facts["arrays"] if name.startswith(("damsm_att", "func_attention_"))}
    assert golden.compare(computed) == len(computed)
    for ending, classes in (("with_class_ids", golden["class_ids"]), ("no_class_ids", None)):
        stored = {name: golden.facts["loss_values"][f"{name}_loss_{ending}"] for name in ("words", "sent")}
        by_words = words_loss(regions, words, mask, gammas, classes)
        by_sentence = sentence_loss(golden["cnn_code"], golden.text.sentence, gammas, classes)
        assert [value.item() for value in by_words] == pytest.approx(stored["words"], rel=LOSS)
        assert [value.item() for value in by_sentence] == pytest.approx(stored["sent"], rel=LOSS)


def test_the_generator_learns_alike(golden: Golden, method: MirrorGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last turn of a whole training step, with stored noise and a captioner whose picture side gives the stored features."""
    config, stored = golden.facts["config"], golden.facts["loss_values"]
    (file,) = golden.files(r"rnn_decoder.*")
    method.captioner = Captioner(golden["caption_cnn_features"].shape[1], 1, 1)
    method.captioner.decoder = read_decoder(file)
    monkeypatch.setattr(method.captioner, "see", lambda pictures: golden["caption_cnn_features"])
    monkeypatch.setattr(method, "_ids", lambda batch: (golden["captions"], ~golden["mask"]))
    method.settings = dataclasses.replace(method.settings, caption_weight=config["LAMBDA1"], caption_features=None)
    monkeypatch.setattr(method, "noise", lambda batch, stream: golden.noise)
    batch = make_batch(golden, max(golden.sides))
    *_, update = method.train().training_step(batch, Progress(phase="game", step=0, steps=1, images=0, epoch=0.0))
    assert update.player == "generator"
    divergence = float(update.metrics["divergence"])
    assert divergence == pytest.approx(stored["kl_loss"], rel=LOSS)
    assert update.loss.item() == pytest.approx(stored["generator_loss_total"], rel=LOSS)
    assert update.loss.item() - divergence == pytest.approx(stored["generator_loss_without_kl"], rel=LOSS)
    (file,) = golden.files(r"netG.*")
    assert same_norms(golden.facts["grad_l2_norms"]["netG"], file, method.generator, update.loss) > 0


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
def test_published_width(golden: Golden, tmp_path: Path) -> None:
    """The whole generator of the birds model, its weights by the recipe, and the discriminators' sizes."""
    whole = Golden("published_width.json")
    shapes = whole.facts["G_state_dict"]["keys_and_shapes"]
    torch.save({key: by_recipe(key, shape) for key, shape in shapes}, tmp_path / "netG.pth")
    method, _ = read_mirrorgan([tmp_path / "netG.pth"])
    condition = method.generator.condition(whole.text.sentence)
    computed = {"mu": condition.mean, "logvar": condition.log_variance} | views(whole, "", painted(method, whole.text, whole.noise))
    assert whole.outputs() == set(computed)
    assert whole.compare(computed) == len(whole.outputs()) > 0
    assert sum(value.numel() for value in method.generator.parameters()) == whole.facts["params"]["netG"]
    for number, (judge, count) in enumerate(zip(method.discriminators, whole.facts["params"]["netD"], strict=True)):
        assert sum(value.numel() for value in judge.parameters()) == count
        theirs = sorted(shape for _, shape in whole.facts["D_keys_and_shapes"][f"netD{number}"])
        assert sorted(list(value.shape) for value in judge.state_dict().values()) == theirs
