"""AttnGAN's generator, discriminators and losses against stored results of the authors' code: its own checkpoints, through the importer.

The arrays of its text encoder and of DAMSM's losses are for test_attngan_text.py.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limner.cli.main import main
from limner.core.batch import Batch
from limner.core.method import Conditions, Progress
from limner.core.text import TextFeatures
from limner.games.tree import GUIDE
from limner.interop.attngan import import_attngan, read_attngan
from limner.interop.networks import load_networks
from limner.matching.damsm import DAMSM, TRAINED, DAMSMSettings
from limner.methods.attngan import AttnGAN
from limner.model import load
from limner.nn.attentive import AttentiveNoise
from limner.nn.joint_losses import discriminator_update
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary

FOLDER = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden")) / "attngan"
EVALUATION, TRAINING, LOSS, SUM, NORM = 2e-5, 3e-4, 1e-5, 1e-6, 1e-3
"""Absolute tolerances of arrays in either mode, relative ones of losses, of sums and of gradient norms."""
ELSEWHERE = ("text_encoder_", "damsm_att", "func_attention_")


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
        return {name for name, facts in self.facts["arrays"].items() if facts["role"] == "output" and not name.startswith(ELSEWHERE)}

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
def method(golden: Golden, tmp_path: Path) -> AttnGAN:
    """All networks, from the authors' files to a folder and back."""
    import_attngan(golden.files(r"netG.*|netD\d\.pth"), tmp_path / "networks", mixed_padding=True)
    found, players = load_networks(tmp_path / "networks")
    assert isinstance(found, AttnGAN) and players == ["generator", *(f"discriminator-{side}" for side in golden.sides)]
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


def painted(method: AttnGAN, text: TextFeatures, noise: AttentiveNoise) -> dict[str, Tensor]:
    painting = method.paint(text, noise)
    pictures = {f"img{value.shape[-1]}": value for value in (*painting.stages, painting.images)}
    return pictures | {f"att{number}": value for number, value in enumerate(painting.extras.values(), start=1)}


def one_by_one(method: AttnGAN, golden: Golden) -> dict[str, Tensor]:
    rows = [painted(method, golden.text[row : row + 1], golden.noise[row : row + 1]) for row in range(len(golden.text))]
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


@torch.no_grad()
def test_every_array(golden: Golden, method: AttnGAN) -> None:
    right, _ = read_attngan(golden.files(r"netG.*"))  # which hides padding rightly
    single, _ = read_attngan(golden.files(r"dcgan_netG.*"))
    assert not right.settings.mixed_padding and single.settings.last_picture_only and single.settings.residual_blocks == 0
    condition = method.generator.condition(golden.text.sentence)
    computed = {"eval_mu": condition.mean, "eval_logvar": condition.log_variance, "eval_c_code": condition.sample(golden.noise.epsilon)}
    computed |= {"train_mu": condition.mean, "train_logvar": condition.log_variance}
    computed |= views(golden, "eval_batch", painted(method, golden.text, golden.noise))
    computed |= views(golden, "eval_single", painted(right, golden.text, golden.noise))  # a batch, and yet as if each were alone
    alone = views(golden, "eval_single", one_by_one(method, golden))  # one caption has nobody's padding to mix in
    assert golden.compare(alone) == sum(name.startswith("eval_single") for name in golden.outputs()) > 0
    everything = TextFeatures(golden.text.sentence, golden.text.words, torch.ones_like(golden["mask"]))
    computed |= views(golden, "eval_nomask", painted(right, everything, golden.noise))
    computed |= views(golden, "dcgan_single", painted(single, golden.text, golden.noise))
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


def test_discriminators_learn_alike(golden: Golden, method: AttnGAN) -> None:
    """Each discriminator's turn, by the method's own function, on stored pictures in place of generated ones: loss and gradient norms."""
    compared = 0
    for number, (side, judge) in enumerate(zip(golden.sides, method.train().discriminators, strict=True)):
        batch, fake = make_batch(golden, side), golden.pictures("fake", side)
        update = discriminator_update(f"discriminator-{side}", judge, batch, fake, golden.text.sentence, mismatch=method.settings.mismatch)
        assert update.loss.item() == pytest.approx(golden.facts["loss_values"][f"discriminator_loss_{side}"], rel=LOSS)
        (file,) = golden.files(f"netD{number}.pth")
        compared += same_norms(golden.facts["grad_l2_norms"][f"netD{number}"], file, judge, update.loss)
    assert compared == sum(len(values) for name, values in golden.facts["grad_l2_norms"].items() if name.startswith("netD")) > 0


class Constant(nn.Module):
    """A network that answers alike, whatever it is given."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, *given: object) -> object:
        return self.answer


def test_the_generator_learns_alike(golden: Golden, method: AttnGAN, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last turn of a whole training step, with stored noise and a matching model that gives the stored regions."""
    config, stored = golden.facts["config"], golden.facts["loss_values"]
    gammas = {"gamma_attention": config["GAMMA1"], "gamma_words": config["GAMMA2"], "gamma_pairs": config["GAMMA3"]}
    settings = DAMSMSettings(pictures=TRAINED, width=config["EMBEDDING_DIM"], picture_channels=1, **gammas)
    widths = {"sentence_width": settings.width, "word_width": settings.width}
    encoder = LSTMEncoder(Vocabulary(["bird"]), LSTMSettings(width=settings.width))
    guide = DAMSM(settings, Conditions(resolution=8, **widths), encoder)
    guide.encoder, guide.picture_side = Constant(golden.text), Constant((golden["img_features"].flatten(2), golden["cnn_code"]))
    method.settings = type(method.settings)(**{**vars(method.settings), "matching": "given", "matching_weight": config["LAMBDA"]})
    method.guide(GUIDE, guide)
    monkeypatch.setattr(method, "noise", lambda batch, stream: golden.noise)
    batch = make_batch(golden, max(golden.sides))
    *_, update = method.train().training_step(batch, Progress(phase="gan", step=0, steps=1, images=0, epoch=0.0))
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
    method, _ = read_attngan([tmp_path / "netG.pth"])
    condition = method.generator.condition(whole.text.sentence)
    computed = {"mu": condition.mean, "logvar": condition.log_variance} | views(whole, "", painted(method, whole.text, whole.noise))
    assert whole.outputs() == set(computed)
    assert whole.compare(computed) == len(whole.outputs()) > 0
    assert sum(value.numel() for value in method.generator.parameters()) == whole.facts["params"]["netG"]
    for number, (judge, count) in enumerate(zip(method.discriminators, whole.facts["params"]["netD"], strict=True)):
        assert sum(value.numel() for value in judge.parameters()) == count
        theirs = sorted(shape for _, shape in whole.facts["D_keys_and_shapes"][f"netD{number}"])
        assert sorted(list(value.shape) for value in judge.state_dict().values()) == theirs


def test_the_authors_files_become_a_model_that_paints(golden: Golden, tmp_path: Path) -> None:
    """Generator, text encoder and words by the command line; then captions of those words, stage by stage, as the stored networks paint."""
    (generator,), (text,) = golden.files(r"netG.*"), golden.files(r"text_encoder.*")
    count = len(torch.load(text, weights_only=True)["encoder.weight"])
    words = {0: "<end>"} | {number: f"word{number}" for number in range(1, count)}
    content = [[], [], words, {word: number for number, word in words.items()}]
    (tmp_path / "captions.pickle").write_bytes(pickle.dumps(content, protocol=2))
    out, pictures = tmp_path / "model", tmp_path / "pictures"
    given = ["--text", str(text), "--words", str(tmp_path / "captions.pickle"), "--out", str(out)]
    assert main(["import", "attngan", str(generator), *given]) == 0
    captions = [" ".join(words[number] for number in row if number) for row in golden["captions"].tolist()]
    assert main(["generate", str(out), captions[0], "--out", str(pictures)]) == 0 and list(pictures.rglob("*.png"))
    model = load(out)
    read = model.encode(captions)
    assert read.words is not None
    torch.testing.assert_close(read.words.transpose(1, 2), golden["text_encoder_words"], rtol=0, atol=EVALUATION)
    method, _ = read_attngan([generator])
    expected = painted(
        method, TextFeatures(golden["text_encoder_sent"], golden["text_encoder_words"].transpose(1, 2), ~golden["mask"]), golden.noise
    )
    assert isinstance(model.method, AttnGAN)
    for name, value in painted(model.method, read, golden.noise).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=EVALUATION)
