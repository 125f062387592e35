"""DALL-E: published sizes and courses, the cache and what it must not change, drawing, completing, codes of training pictures."""

from __future__ import annotations

import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared.batches import make_batch, turns_of_a_step
from shared.pictures import Captioned
from shared.tiny_runs import same, state_of, tiny
from torch import Tensor

from limner.core.errors import LimnerWarning, SettingsError
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Progress
from limner.families.codes.bank import CodeBank, planned_views
from limner.families.codes.dvae import divergence, logit_laplace, relaxed
from limner.families.codes.layout import AttentionKind, Line
from limner.families.codes.memory import refuse_what_does_not_fit
from limner.families.codes.sampling import Choice, Given, write_codes
from limner.families.codes.transformer import CodeTransformer
from limner.methods.dall_e import DALLE, SMALL, DALLESettings
from limner.training.run import train

NARROW = {"dvae_width": 8, "code_width": 8, "dvae_blocks": 1, "codes": 16, "width": 16, "depth": 4, "heads": 2, "head_width": 12}
NARROW |= {"dvae": "openai", "halvings": 3, "estimator": "straight-through", "positions": "rotary", "guidance": 1.0}
NARROW |= {"attention": ("full", "axial-row", "axial-column", "convolution")}
CONDITIONS = Conditions(resolution=32, sentence_width=0, word_width=0)


def build(**values: Any) -> DALLE:
    """At tiny widths, with weights far from their beginnings, so that every layer says something."""
    torch.manual_seed(0)
    method = DALLE(DALLESettings(**{**SMALL, **NARROW, "vocabulary": 300, "context_length": 5, **values}), CONDITIONS)
    for parameter in method.transformer.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.5)
    return method.eval()


def text_of(count: int = 3) -> TextFeatures:
    tokens = torch.tensor([[7, 9, 11, 0], [5, 0, 0, 0], [7, 9, 0, 0]])[:count]
    return TextFeatures(torch.zeros(count, 0), tokens=tokens)


def greedy(logits: Tensor, number: int) -> Tensor:
    return logits.argmax(1)


def test_published_sizes() -> None:
    """DALLE-pytorch's, as its own code counts them: two transformers and three dVAEs."""
    line = Line(256, 32)
    with torch.device("meta"):
        for values, expected in (
            ({"depth": 12, "heads": 16, "text_ids": 10_000}, 81_923_088),
            ({"depth": 2, "heads": 8, "text_ids": 49_408}, 67_708_416),
        ):
            settings = DALLESettings(
                width=512, depth=int(values["depth"]), heads=int(values["heads"]), attention=("full",), positions="rotary"
            )
            network = CodeTransformer(settings.shape(line, int(values["text_ids"]), 8192))
            assert sum(value.numel() for value in network.parameters()) == expected
        for (codes, width, blocks), expected in {(512, 64, 0): 1_085_507, (8192, 64, 1): 5_246_979, (8192, 256, 2): 16_672_259}.items():
            made = DALLESettings(
                dvae="discrete-vae", codes=codes, dvae_width=width, dvae_blocks=blocks, code_width=512, reconstruction="l2"
            )
            assert sum(value.numel() for value in made.dvae_network().parameters()) == expected


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.families.codes.memory.largest_memory", lambda: 16 << 30)
    settings = DALLESettings()
    with pytest.raises(SettingsError, match=r"16\.4 billion parameters, which with gradients, averages and moments take 306 GiB"):
        DALLE.own_encoder(settings, ["a red flower"])
    refuse_what_does_not_fit(build().transformer.shape, settings.dvae_network, copies=5)


KINDS: list[tuple[AttentionKind, ...]] = [("full",), ("axial-row",), ("axial-column",), ("convolution",)]
WAYS: list[dict[str, Any]] = [
    *({"attention": kinds} for kinds in KINDS),
    {"positions": "axial", "token_shift": False, "sandwich": True, "stable": True},
    {"reversible": True, "tied": True},
    {"shared_attention": (0, 1, 0, 1), "shared_feed_forward": (0, 0, 1, 1), "attention": ("full", "axial-row")},
]


@pytest.mark.parametrize("values", WAYS, ids=lambda values: "-".join(map(str, values)) + str(values.get("attention", ""))[:20])
def test_the_cache_changes_nothing(values: dict[str, Any]) -> None:
    """Step by step with the cache, and whole lines without it: the same logits at every place, and the same codes; so with guidance."""
    method = build(**values)
    network = method.transformer.double()
    ids = network.ids(text_of().tokens)
    codes = torch.randint(network.shape.codes, (3, network.line.codes), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        _, whole = network(ids, codes)
        first, cache = network.read(ids)
        cache = cache.spread(torch.arange(3), len(network.line), network.line.codes)
        steps = [first, *(network.write(codes[:, place : place + 1], cache) for place in range(network.line.codes - 1))]
    torch.testing.assert_close(torch.stack(steps, dim=1), whole, rtol=1e-9, atol=1e-9)
    rows = torch.tensor([0, 2, 0, 1])
    for guidance in (1.0, 2.5):
        written = [write_codes(network, ids, rows, greedy, guidance=guidance, cached=cached) for cached in (True, False)]
        assert torch.equal(*written) and torch.equal(written[0][0], written[0][2])


def test_codes_look_at_what_their_attention_shows() -> None:
    """A code's logits change with an earlier code where the attention of one layer shows that, and nowhere else; shifted tokens aside."""
    for kinds in KINDS:
        network = build(attention=kinds, depth=1, token_shift=False).transformer.double()
        line = network.line
        ids, seen = network.ids(text_of(1).tokens), line.seen(kinds[0])
        codes = torch.zeros(1, line.codes, dtype=torch.int64)
        with torch.no_grad():
            _, before = network(ids, codes)
            for changed in range(line.codes - 1):
                other = codes.clone()
                other[0, changed] = 3
                moved = (network(ids, other)[1] - before).abs().amax(2)[0] > 1e-12  # [W * W]: place p predicts code p, and stands at p - 1
                expected = torch.cat([torch.tensor([False]), seen[line.first_code : -1, line.first_code + changed]])
                assert torch.equal(moved, expected)


def test_drawing() -> None:
    """A code is drawn as often as its probability says; top-k and top-p leave out the others, and ties are no reason to draw more."""
    logits = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log().expand(4000, -1)
    numbers = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    counts = {
        name: torch.bincount(choice.drawn(logits, numbers), minlength=4).tolist()
        for name, choice in {
            "all": Choice(),
            "k": Choice(top_k=1),
            "p": Choice(top_p=0.6),
            "cold": Choice(temperature=0.0),
            "nearly so": Choice(temperature=1e-308),
            "warm": Choice(temperature=2.0),
        }.items()
    }
    assert counts["all"] == [2000, 800, 800, 400] and counts["k"] == counts["cold"] == counts["nearly so"] == [4000, 0, 0, 0]
    assert counts["p"] == pytest.approx([4000 * 5 / 7, 4000 * 2 / 7, 0, 0], abs=1)
    roots = [math.sqrt(share) for share in (0.5, 0.2, 0.2, 0.1)]
    assert counts["warm"] == pytest.approx([4000 * root / sum(roots) for root in roots], abs=1)


def test_candidates_of_one_caption_read_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And are the pictures that each would be alone."""
    method = build()
    tokens = torch.tensor([[7, 9], [7, 9], [5, 0], [7, 9]])
    text = TextFeatures(torch.zeros(4, 0), tokens=tokens, captions=("a b", "a b", "c", "a b"))
    read, rows = CodeTransformer.read, []
    monkeypatch.setattr(CodeTransformer, "read", lambda self, ids: rows.append(len(ids)) or read(self, ids))  # type: ignore[func-returns-value]
    together = method.paint(text, method.draw_noise(3, np.arange(4))).extras["codes"]
    assert rows == [2]
    for row in range(4):
        alone = method.paint(text[row : row + 1], method.draw_noise(3, [row])).extras["codes"]
        assert torch.equal(alone[0], together[row])
    assert not torch.equal(together[0], together[1])


def test_completing_keeps_codes_and_pixels() -> None:
    method = build(unconditional=0.1, guidance=1.5)
    pictures = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    noise = method.draw_noise(1, np.arange(3))
    free = method.paint(text_of(), noise).extras["codes"]
    for box in ((slice(0, 16), slice(None)), (slice(None), slice(0, 16)), (slice(9, 30), slice(8, 24))):
        keep = torch.zeros(3, 1, 32, 32, dtype=torch.bool)
        keep[:, :, box[0], box[1]] = True
        painting = method.complete(text_of(), noise, pictures, keep)
        whole = torch.nn.functional.avg_pool2d(keep.float(), 8)[:, 0] == 1.0
        assert whole.any() and torch.equal(painting.extras["codes"][whole], method.dvae.encode(pictures)[whole])
        assert torch.equal(painting.images[keep.expand(-1, 3, -1, -1)], pictures[keep.expand(-1, 3, -1, -1)])
        first = int(whole[0].flatten().long().argmax())
        assert torch.equal(painting.extras["codes"].flatten(1)[:, :first], free.flatten(1)[:, :first]), "what comes before is not changed"
    with pytest.warns(LimnerWarning, match="no place of the 4 x 4 codes is wholly kept"):
        keep = torch.zeros(3, 1, 32, 32, dtype=torch.bool)
        keep[:, :, :7] = True
        painting = method.complete(text_of(), noise, pictures, keep)
    assert torch.equal(painting.extras["codes"], free) and torch.equal(painting.images[:, :, :7], pictures[:, :, :7])


def test_courses() -> None:
    s = DALLESettings()
    assert [s.gumbel_temperature(step) for step in (0, 150_000, 10**6)] == pytest.approx([1.0, 1 / 16, 1 / 16])
    assert [s.divergence_at(step) for step in (0, 2_500, 5_000)] == pytest.approx([0.0, 3.3, 6.6])
    port = dataclasses.replace(s, dvae_course="port", gumbel_end=0.5)
    present, last = 1.0, []
    for step in range(3_000):  # as the port's script changes it
        last.append(present)
        if step % 100 == 0:
            present = max(present * math.exp(-1e-6 * step), 0.5)
    assert [port.gumbel_temperature(step) for step in range(3_000)] == pytest.approx(last)
    assert port.dvae_rate(Progress(phase="dvae", step=201, steps=1, images=0, epoch=0.0)) == pytest.approx(0.98**3)


def test_losses() -> None:
    """The logit-Laplace density integrates to 1; the divergence of even codes is 0, and of certain ones log V at each place."""
    x = torch.linspace(5e-7, 1 - 5e-7, 1_000_000, dtype=torch.float64)
    said = torch.tensor([0.3, -0.5], dtype=torch.float64)
    density = [float(torch.exp(-logit_laplace(said[None, :, None, None], pixel[None, None, None, None]))) for pixel in x[::1000]]
    assert sum(density) / len(density) == pytest.approx(1.0, abs=0.02)
    even, certain = torch.zeros(2, 4, 3, 3), torch.zeros(2, 4, 3, 3)
    certain[:, 1] = 100.0
    assert float(divergence(even)) == pytest.approx(0.0, abs=1e-5) and float(divergence(certain)) == pytest.approx(18 * math.log(4))
    noise = torch.rand(2, 4, 3, 3)
    hard = relaxed(certain, noise, 0.5, "straight-through")
    assert torch.equal(hard.argmax(1), torch.ones(2, 3, 3, dtype=torch.int64)) and float(hard.sum()) == pytest.approx(18.0)


def test_collapsed_codes_are_warned_of() -> None:
    method = build(codes=200)
    torch.nn.init.zeros_(method.dvae.encoder.output.weight)
    batch, progress = make_batch(32, 2), Progress(phase="dvae", step=500, steps=1000, images=0, epoch=0.0)
    with pytest.warns(LimnerWarning, match="the dVAE uses 1 of 200 codes"):
        (update,) = method.training_step(batch, progress)
    assert float(update.metrics["codes_in_use"]) == pytest.approx(1 / 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        turns_of_a_step(build(), batch, dataclasses.replace(progress, step=1))


class Wide(Captioned):
    """Coloured pictures with a margin, which may be mirrored."""

    def __init__(self, count: int) -> None:
        super().__init__([str(number) for number in range(count)], 32)
        self.stored_resolution = 40

    def read(self, indices: Any) -> Any:
        return np.stack([np.random.default_rng(int(index)).integers(0, 256, (40, 40, 3), dtype=np.uint8) for index in indices])


def test_codes_of_training_pictures_are_those_of_their_views() -> None:
    """Whatever is in a batch, in a run that goes on too: the bank has the codes of centre, crops and mirror images."""
    method, pictures = build(dvae="openai", dvae_width=8, views=3), Wide(70)
    bank = CodeBank.of(method.dvae, pictures, 32, 3)
    assert bank.codes.shape == (70, 3, 16) and bank.codes.dtype == torch.int16
    rows, indices = np.arange(70), np.array([3, 69, 12])
    plain = pictures.read(rows)[:, 4:36, 4:36]
    assert np.array_equal(planned_views(pictures, rows, 0).of_pictures(pictures.read(rows)), plain)
    views = planned_views(pictures, rows, 1)
    assert views.mirrored.all() and len(set(views.tops.tolist())) > 4
    drawn = bank.draw(indices, np.arange(3), seed=0)
    assert all((bank.codes[index] == row).all(1).any() for index, row in zip(indices, drawn, strict=True))
    pictures.may_flip, pictures.stored_resolution = False, 32
    assert CodeBank(bank.codes).used(16).sum() == bank.codes.numel()


def test_a_dvae_of_another_run_is_taken_over(tmp_path: Path) -> None:
    """Its codes are computed after that, and a run that goes on draws the same."""
    first = tiny("dall-e", 2)
    first = dataclasses.replace(first, method_settings=dataclasses.replace(first.method_settings, **NARROW))
    train(first, tmp_path / "first")
    second = dataclasses.replace(first, adopted={"dvae": str(tmp_path / "first")})
    train(second, tmp_path / "second")
    one, other = (state_of(tmp_path / name)["modules"]["method"] for name in ("first", "second"))
    assert all(torch.equal(one[key], other[key]) for key in one if key.startswith("dvae."))
    halted = dataclasses.replace(second, training=dataclasses.replace(second.training, steps=1))
    train(halted, tmp_path / "halted")
    train(second, tmp_path / "halted", resume=True)
    assert same(state_of(tmp_path / "halted"), state_of(tmp_path / "second"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 18}, "give a multiple of 4"),
        ({"shared_attention": (0, 1)}, "give one for each layer"),
        ({"shared_attention": (0, 0, 0, 0)}, "share one kind"),
        ({"guidance": 2.0, "unconditional": 0.0}, "set method.unconditional"),
        ({"guidance": math.inf}, "method.guidance is inf, but must be a finite number"),
        ({"guidance": 2e6}, "method.guidance is 2000000.0, but must be at most 1,000,000"),
        ({"temperature": math.inf}, "method.temperature is inf"),
        ({"halvings": 6}, "give a multiple of 64"),
        ({"vocabulary": 200}, "must hold 256 bytes"),
        ({"attention": ()}, "name at least one"),
    ],
)
def test_refusals(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings = build(**values).settings
        DALLE.own_encoder(settings, ["a"])
    with pytest.raises(SettingsError, match="reads byte pairs"):
        build().paint(TextFeatures(torch.zeros(1, 8)), build().draw_noise(0, [0]))


def test_given_codes_need_not_come_first() -> None:
    network = build().transformer
    given = torch.arange(network.line.codes).expand(2, -1) % network.shape.codes
    kept = torch.zeros(2, network.line.codes, dtype=torch.bool)
    kept[0, 5], kept[1, :3] = True, True
    codes = write_codes(network, network.ids(None, 2), torch.arange(2), greedy, given=Given(given, kept))
    assert torch.equal(codes[kept], given[kept])
