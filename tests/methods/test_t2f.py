"""T2F: published sizes, phases, fading in, who learns from what, resume in the middle of a fade, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shared.batches import CAPTIONS, WIDTH, make_batch, make_conditions
from shared.pictures import Captioned
from shared.tiny_runs import same, state_of, tiny

import limner
from limner.core.errors import LimnerError, SettingsError
from limner.core.settings import Recipe
from limner.core.text import TextFeatures
from limner.core.trainable import Conditions, Phase, Progress, Update
from limner.data.loader import Loader
from limner.methods import get
from limner.methods.t2f import T2F, T2FSettings
from limner.text.summary_lstm import LetterTokenizer, SummaryLSTM, SummarySettings
from limner.training.plan import make_plan, training_pictures
from limner.training.players import PlayerTraining, Statistics
from limner.training.run import train

SMALL = T2FSettings(
    latent_width=8, condition_width=4, compressed_width=4, channels=8, batch_sizes=(4,), encoder_width=6, word_embedding=5, maximum_words=7
)


def build(resolution: int = 16, **values: Any) -> T2F:
    torch.manual_seed(0)
    return T2F(dataclasses.replace(SMALL, **values), make_conditions(resolution))


def progress(phase: str, step: int, steps: int = 10, size: int = 4) -> Progress:
    return Progress(phase=phase, step=step, steps=steps, images=step * size, epoch=0.0)


def count(module: Any) -> int:
    return sum(value.numel() for value in module.parameters())


def test_published_sizes() -> None:
    """Parameters of both configurations of the authors'; the LSTM has 128 more for each token."""
    presets = get("t2f").presets
    sizes = {
        "as-published": (512, 256, 23_044_309, 23_446_209, 262_656),
        "as-published-64": (4096, 64, 5_625_487, 5_834_401, 1_048_832),
    }
    for name, (width, resolution, painter, critic, augmentation) in sizes.items():
        settings = T2FSettings(**presets[name].method)
        with torch.device("meta"):
            method = T2F(settings, Conditions(resolution=resolution, sentence_width=width))
        assert presets[name].resolution == resolution
        assert (count(method.generator.network), count(method.discriminator)) == (painter, critic)
        assert count(method.generator.augmentation) == augmentation
    with torch.device("meta"):
        encoder = T2F.own_encoder(T2FSettings(), ["one, two"])
    assert isinstance(encoder, SummaryLSTM) and encoder.tokenizer.vocabulary == (",", "one", "two")
    assert count(encoder) == 5_517_312 + 128 * 5


def test_phases_by_the_full_size() -> None:
    """The last number is the full size's, whatever that is; --training.batch-size is the largest, and proportions stay."""
    published = [(phase.name, phase.batch_size, phase.epochs) for phase in build(256, **published_lengths()).phases()]
    assert published == [("4px", 16, 20.0), *((f"{4 << depth}px", 16, 40.0) for depth in range(1, 6)), ("256px", 14, 40.0)]
    method = build(16, epochs=(1.0, 2.0, 3.0, 4.0), batch_sizes=(8, 6), shares=(1.0, 3.0))
    assert [(phase.resolution, phase.batch_size, phase.epochs, phase.share) for phase in method.phases()] == [
        (4, 8, 2.0, 1.0),
        (8, 8, 3.0, 1.0),
        (16, 6, 4.0, 3.0),
    ]
    assert [method.sized(phase, 32) for phase in method.phases()] == [32, 32, 24]
    recipe = recipe_of(own_encoder=False, batch_sizes=(8, 6), training={"batch_size": 4, "minutes": 6.0})
    plan = make_plan(recipe, training_pictures(recipe))
    assert [planned.phase.batch_size for planned in plan.phases] == [4, 4, 3]
    assert [planned.minutes for planned in plan.phases] == [2.0, 2.0, 2.0]


def published_lengths() -> dict[str, Any]:
    published = T2FSettings()
    return {"channels": 512, "epochs": published.epochs, "batch_sizes": published.batch_sizes}


def recipe_of(training: dict[str, Any] | None = None, **values: Any) -> Recipe:
    """Small networks at 16 px in a short run with a checkpoint after every step."""
    recipe = tiny("t2f", 6, resolution=16, keep_checkpoints=100, **(training or {}))
    return dataclasses.replace(recipe, method_settings=dataclasses.replace(SMALL, **values))


def test_a_new_block_fades_in() -> None:
    method = build(fade=0.5)
    assert [method.fading(progress("8px", step)) for step in range(6)] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    assert method.fading(progress("4px", 0)) == 1.0
    by_images = build(fade_images=8)
    assert [by_images.fading(progress("8px", step)) for step in range(4)] == [0.0, 0.5, 1.0, 1.0]

    noise, sentence = method.draw_noise(1, [0, 1]), torch.randn(2, WIDTH)
    before, _ = method.generator(noise.z, noise.epsilon, sentence, 1, 1.0)
    after, _ = method.generator(noise.z, noise.epsilon, sentence, 2, 0.0)
    torch.testing.assert_close(after, before.repeat_interleave(2, 2).repeat_interleave(2, 3))
    half, _ = method.generator(noise.z, noise.epsilon, sentence, 2, 0.5)
    whole, _ = method.generator(noise.z, noise.epsilon, sentence, 2, 1.0)
    torch.testing.assert_close(half, 0.5 * (after + whole))
    scores = method.discriminator(after, sentence, 2, 0.0)
    torch.testing.assert_close(scores, method.discriminator(before, sentence, 1, 1.0))


def test_depth_and_alpha_are_painted_saved_and_begun_once() -> None:
    method = build()
    first, second, _ = method.phases()
    method.begin(first)
    assert (method.depth, method.alpha, method.resolution) == (0, 1.0, 4)
    trained = [name for name, value in method.named_parameters() if value.requires_grad]
    assert trained and not any("blocks" in name or "colours.1" in name for name in trained)
    method.begin(second)
    assert (method.depth, method.alpha, method.resolution) == (1, 0.0, 8)
    list(method.training_step(make_batch(8, 4), progress("8px", 2)))
    alpha = method.alpha
    assert 0 < alpha < 1
    other = build()
    other.load_state_dict(method.state_dict())
    other.begin(second)
    assert (other.depth, other.alpha) == (1, alpha)
    noise, text = method.draw_noise(0, [0]), TextFeatures(torch.randn(1, WIDTH))
    assert torch.equal(method.paint(text, noise).images, other.paint(text, noise).images)


@pytest.mark.parametrize("loss", ["wgan-gp", "hinge", "non-saturating"])
@pytest.mark.parametrize("mismatch", ["permutation", "caption"])
def test_both_turns(loss: Any, mismatch: Any) -> None:
    """Each has a finite loss whose gradient reaches its own player; the discriminator's reaches the LSTM in no way."""
    encoder = SummaryLSTM(LetterTokenizer.build(CAPTIONS, maximum_words=7), SummarySettings(width=WIDTH, word_embedding=5, layers=1))
    method = T2F(dataclasses.replace(SMALL, loss=loss, mismatch=mismatch, counterfactual=0.5), make_conditions(16), encoder)
    assert all(not phase.encoded and phase.counterfactuals for phase in method.phases())
    turns: list[Update] = []
    for update in method.training_step(make_batch(16, 4), progress("16px", 1)):
        reader = torch.autograd.grad(update.loss, [*encoder.parameters()], retain_graph=True, allow_unused=True)
        assert all((slope is None) == (update.player == "discriminator") for slope in reader)
        own = [value for name, value in method.players()[update.player].module.named_parameters() if "colours.0" not in name]
        slopes = torch.autograd.grad(update.loss, own)
        assert update.loss.isfinite() and all(slope.isfinite().all() for slope in slopes)
        turns.append(update)
    assert [update.player for update in turns] == ["discriminator", "generator"]
    assert not any(name.startswith("generator.encoder") for name in method.kept())


def test_the_divergence_does_not_teach_the_lstm() -> None:
    method = build()
    sentence = torch.randn(4, WIDTH, requires_grad=True)
    fake, condition = method.generator(*dataclasses.astuple(method.draw_noise(0, np.arange(4))), sentence, 2, 1.0)
    plain = method._generator_update(fake, sentence.detach(), condition)
    heavy = build(divergence_weight=100.0)._generator_update(fake, sentence.detach(), condition)
    slopes = [torch.autograd.grad(update.loss, sentence, retain_graph=True)[0] for update in (plain, heavy)]
    assert heavy.loss > plain.loss and torch.equal(*slopes)


@pytest.mark.parametrize("own", [True, False])
def test_a_run_that_is_cut_off_in_the_middle_of_a_fade_goes_on_bit_for_bit(own: bool, tmp_path: Path) -> None:
    """With WGAN-GP, minibatch deviation and the LSTM, at every step of the second and third depth."""
    recipe = recipe_of(own_encoder=own)
    assert train(recipe, tmp_path / "straight").steps == 18
    for step in (8, 14) if own else (8,):
        run = tmp_path / f"cut-{step}"
        shutil.copytree(tmp_path / "straight", run)
        shutil.rmtree(run / "model")
        for checkpoint in (run / "checkpoints").iterdir():
            if int(checkpoint.name) > step:
                shutil.rmtree(checkpoint)
        state = state_of(run)["modules"]["method"]
        assert int(state["depth"]) == step // 6 and 0 < float(state["alpha"]) < 1
        assert train(recipe, run, resume=True).steps == 18
        assert same(state_of(run), state_of(tmp_path / "straight"))
        models = [(folder / "model" / "model.safetensors").read_bytes() for folder in (run, tmp_path / "straight")]
        assert models[0] == models[1]
    assert len(list((tmp_path / "straight" / "samples").glob("*.png"))) >= 3
    model = limner.load(tmp_path / "straight")
    assert model.generate("a red flower")[0].size == (16, 16) and model.encoder.kind == ("summary-lstm" if own else "recurrent")


def test_a_run_paints_at_the_depth_it_has_reached(tmp_path: Path) -> None:
    recipe = recipe_of()
    train(recipe, tmp_path / "run")
    for checkpoint in sorted((tmp_path / "run" / "checkpoints").iterdir()):
        if int(checkpoint.name) > 8:
            shutil.rmtree(checkpoint)
    shorter = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, steps=9))
    method = make_plan(shorter, training_pictures(shorter)).asked_for.trained
    method.load_state_dict(state_of(tmp_path / "run")["modules"]["method"])
    assert isinstance(method, T2F) and method.resolution == 8
    assert method.paint(TextFeatures(torch.randn(2, 6)), method.draw_noise(0, [0, 1])).images.shape == (2, 3, 8, 8)


def test_features_of_a_picture_do_not_depend_on_the_others() -> None:
    """Minibatch deviation is in the last block alone, and batches are of any size."""
    method = build(deviation_group=4)
    pictures = make_batch(16, 6).pictures
    torch.testing.assert_close(method.look(pictures)[:3], method.look(pictures[:3]))


def test_a_frozen_encoder_takes_the_lstm_s_place() -> None:
    recipe = recipe_of()
    own = make_plan(recipe, training_pictures(recipe))
    assert own.trains_encoder and own.encoder.kind == "summary-lstm"
    given = dataclasses.replace(recipe, text=dataclasses.replace(recipe.text, encoder="garden"))
    plan = make_plan(given, training_pictures(given))
    assert not plan.trains_encoder and plan.encoder.kind != "summary-lstm" and plan.phases[0].phase.encoded


def test_a_sentence_is_the_output_after_padding_or_at_the_last_word() -> None:
    for packed in (False, True):
        torch.manual_seed(1)
        sizes = SummarySettings(width=6, word_embedding=5, layers=2, packed=packed)
        encoder = SummaryLSTM(LetterTokenizer.build(CAPTIONS, maximum_words=9), sizes).eval()
        assert encoder.words("A red-bird, 12") == ["a", "red", "-", "bird", ",", "1", "2"]
        together = encoder(CAPTIONS).sentence
        for row, caption in enumerate(CAPTIONS):
            torch.testing.assert_close(encoder([caption]).sentence[0], together[row])
        states, _ = encoder.reader(encoder.embedding(encoder.tokenizer(["a bird"]).ids))
        assert torch.allclose(states[0, -1], together[CAPTIONS.index("a bird")]) == packed
        again = SummaryLSTM.from_config(encoder.config())
        again.load_state_dict(encoder.state_dict())
        assert torch.equal(again(CAPTIONS).sentence, together)


def test_without_captions_it_is_progan() -> None:
    method = build(condition_width=0)
    assert not T2F.reads_text(method.settings) and T2F.own_encoder(method.settings, ["a"]) is None
    assert {phase.captions for phase in method.phases()} == {0}
    turns = list(method.training_step(make_batch(16, 4, captions=0), progress("16px", 0)))
    assert [update.player for update in turns] == ["discriminator", "generator"] and "mismatched" not in turns[0].metrics


def test_it_learns_which_colour_a_caption_asks_for() -> None:
    """Two sentences, pictures of one colour each: after some steps at 4 px and 8 px the colours follow."""
    values = {"loss": "non-saturating", "scaling": "he", "minibatch_deviation": False, "deviation": "log-variance"}
    values |= {"divergence_weight": 0.0, "gradient_penalty": 0.1, "learning_rate": 5e-3, "fade_images": 80, "channels": 16}
    method = build(8, **values)
    sentences = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(3))
    for phase in method.phases():
        method.begin(phase)
        statistics = Statistics(method)
        turns = {name: PlayerTraining(player, statistics) for name, player in method.players().items()}
        for step in range(60):
            torch.manual_seed(step)
            batch = make_batch(phase.resolution, 8, seed=step)
            asked = torch.arange(8) % 2
            batch.pictures = torch.where(asked[:, None, None, None] == 0, 0.7, -0.7).expand_as(batch.pictures).contiguous()
            batch.texts = (TextFeatures(sentences[asked]),)
            now = progress(phase.name, step, 60, 8)
            for update in method.training_step(batch, now):
                turns[update.player].take(update.loss, now, 8)
    noise = method.draw_noise(5, np.arange(20))
    means = [method.paint(TextFeatures(own.expand(20, -1)), noise).images.mean((1, 2, 3)) for own in sentences]
    assert (means[0] > means[1]).all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"batch_sizes": (4, 1)}, "batch-sizes is .* 2 or more"),
        ({"epochs": ()}, "epochs is .* above 0"),
        ({"epochs": (1.0, float("nan"))}, "epochs is .* above 0"),
        ({"shares": (float("inf"), 1.0)}, "shares is .* above 0"),
        ({"condition_width": 9}, "raise method.latent-width"),
        ({"counterfactual": 0.5, "mismatch_weight": 0.0}, "needs mismatched pairs"),
        ({"fade": 1.5}, "between 0 and 1"),
        ({"compressed_width": 0}, "choose 1 or more"),
        ({"encoder_layers": 0}, "choose 1 or more"),
    ],
)
def test_settings_that_do_not_work(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        build(**values)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_grown_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot paint at 48 px"):
        build(48)
    with pytest.raises(SettingsError, match="8 channels cannot be halved"):
        build(512)
    with pytest.raises(LimnerError, match="cannot paint at 24 px"):
        train(tiny("t2f", 1, resolution=24), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    phase: Phase = build().phases()[0]
    with pytest.raises(LimnerError, match="phase 4px: .* give --training.batch-size 8 or more"):
        Loader(Captioned(CAPTIONS), phase, seed=0, processes=4)
    for sizes, training in (((4, 6), {}), ((8, 4), {"batch_size": 10})):  # the last phase's batch is 6, and the first one's is 10
        with pytest.raises(LimnerError, match="phase .*: a step compares 4 pictures at a time, .*: choose a multiple of 4"):
            train(recipe_of(own_encoder=False, deviation_group=4, batch_sizes=sizes, training=training), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    recipe = recipe_of(own_encoder=False, deviation_group=4, batch_sizes=(6,), training={"batch_size": 8})  # takes the place of 6
    assert [planned.phase.batch_size for planned in make_plan(recipe, training_pictures(recipe)).phases] == [8, 8, 8]
    assert build(minibatch_deviation=False, mismatch="caption").couples_rows() is None
    assert "minibatch deviation" in str(build().couples_rows()) and "permute" in str(build(minibatch_deviation=False).couples_rows())
