"""The char-CNN-RNN: sizes, characters, and the traps of its recurrent networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from limner.core.errors import CheckpointError, SettingsError
from limner.core.recipes import from_preset, laid_over
from limner.data.catalog import open_data
from limner.text.char_cnn_rnn import ALPHABET, LENGTH, READERS, VARIANTS, CharCnnRnn, CharCnnRnnSettings, GatedReader, ReluReader
from limner.text.encoding import encode_all
from limner.text.registry import encoder_config, encoder_from_config
from limner.text.saving import load_encoder, save_encoder
from limner.text.tokenizers import CharacterTokenizer
from limner.training.text import choose_encoder

CAPTIONS = ["a red-orange bird", "x", "the petals are WHITE; the centre is yellow-green (very wavy)", "a bird " * 60]
DEMO = CharacterTokenizer(ALPHABET, LENGTH, unknown=None, lower_case=False)


def small(recurrent: str, tokenizer: CharacterTokenizer | None = None) -> CharCnnRnn:
    torch.manual_seed(0)
    settings = CharCnnRnnSettings(convolutions=(12, 10, 8), recurrent=recurrent, third_pool=recurrent == "relu", sentence_width=6)
    encoder = CharCnnRnn(settings, tokenizer).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(6)  # the published start is so small that captions hardly differ
    return encoder


@pytest.mark.parametrize(
    ("variant", "parameters", "steps"),
    [("birds/cvpr", 1_814_144, 8), ("flowers/cvpr", 1_814_144, 8), ("flowers/icml", 2_994_560, 8), ("birds/icml", 4_045_184, 18)],
)
def test_the_published_networks_have_the_published_sizes(variant: str, parameters: int, steps: int) -> None:
    encoder = CharCnnRnn(VARIANTS[variant])
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    assert encoder.stretches(encoder.tokenizer(["a bird"]).ids).shape == (1, encoder.settings.convolutions[2], steps)
    assert encoder.settings.steps(LENGTH) == steps and encoder.sentence_width == 1024
    highest = max(parameter.abs().max().item() for parameter in encoder.parameters())
    assert 0.0799 < highest <= 0.08


def test_the_hyphen_has_its_later_place_and_padding_is_no_character() -> None:
    assert len(ALPHABET) == 70 and len(set(ALPHABET)) == 69
    encoder = small("relu")
    assert encoder.tokenizer(["a-b é"]).ids[0, :6].tolist() == [1, 60, 2, 70, 70, 0]
    before = encoder(["a-b"]).sentence
    with torch.no_grad():
        encoder.convolutions[0].weight[:, ALPHABET.index("-")] += 1.0  # the earlier place, which no text reaches
    assert torch.equal(encoder(["a-b"]).sentence, before)
    with torch.no_grad():
        encoder.convolutions[0].weight[:, ALPHABET.rindex("-")] += 1.0
    assert not torch.allclose(encoder(["a-b"]).sentence, before)
    assert not torch.allclose(encoder(["a "]).sentence, encoder(["a"]).sentence)


def test_case_and_strange_characters_read_as_the_tokenizer_says() -> None:
    port, demo = small("relu"), small("relu", DEMO)
    assert torch.equal(port(["A Bird é"]).sentence, port(["a bird  "]).sentence)
    assert torch.equal(demo(["bird é"]).sentence, demo(["bird "]).sentence)
    assert not torch.allclose(demo(["A bird"]).sentence, demo(["a bird"]).sentence)
    caption = "A café 小鳥 小鳥, 🐦 -- ROT ½"
    assert port.unknown_words(caption) == ["小鳥", "小鳥,", "🐦", "½"] and set(port.unknown_words(caption)) < set(port.words(caption))
    assert demo.unknown_words(caption) == ["A", "小鳥", "小鳥,", "🐦", "ROT", "½"]
    assert port.was_cut("a" * 202) and not port.was_cut("a" * 201)


@pytest.mark.parametrize("recurrent", sorted(READERS))
def test_a_caption_does_not_depend_on_its_neighbours(recurrent: str) -> None:
    encoder = small(recurrent)
    together = encoder(CAPTIONS)
    assert together.sentence.shape == (4, 6) and together.words is None
    assert torch.cdist(together.sentence, together.sentence)[0, 1:].min() > 1e-3
    for row, caption in enumerate(CAPTIONS):
        assert torch.allclose(encoder([caption]).sentence[0], together.sentence[row], rtol=0, atol=1e-5)
    assert torch.allclose(encode_all(encoder, CAPTIONS, chunk=2).sentence, together.sentence, rtol=0, atol=1e-5)


def test_convolutions_are_cut_at_the_published_threshold() -> None:
    encoder = small("gru")
    ids = encoder.tokenizer(["a bird"]).ids
    with torch.no_grad():
        encoder.convolutions[2].weight.zero_()
        encoder.convolutions[2].bias.fill_(9e-7)  # a plain ReLU would let this pass
        assert (encoder.stretches(ids) == 0).all()
        encoder.convolutions[2].bias.fill_(2e-6)
        assert (encoder.stretches(ids) == 2e-6).all()


def test_the_relu_reader_hears_no_hidden_bias_at_first() -> None:
    torch.manual_seed(0)
    reader, stretches = ReluReader(5), torch.randn(3, 4, 5)
    state: Tensor = reader.input(stretches[:, 0]).relu()
    states = [state]
    for step in range(1, 4):
        state = (reader.input(stretches[:, step]) + reader.hidden(state)).relu()
        states.append(state)
    before = reader(stretches)
    assert torch.allclose(before, torch.stack(states, 1), atol=1e-6)
    with torch.no_grad():
        reader.hidden.bias += 1.0
    changed = reader(stretches)
    assert torch.equal(changed[:, 0], before[:, 0]) and not torch.allclose(changed[:, 1], before[:, 1])


def test_the_gated_reader_keeps_its_state_where_it_does_not_update() -> None:
    torch.manual_seed(0)
    reader, stretches = GatedReader(5), torch.randn(3, 4, 5)
    with torch.no_grad():
        reader.input_update.bias.fill_(-50.0)
    states = reader(stretches)
    assert torch.allclose(states, states[:, :1].expand_as(states), atol=1e-6)
    with torch.no_grad():
        reader.input_update.bias.fill_(50.0)
        reader.input_reset.bias.fill_(-50.0)
    forgetful = torch.tanh(reader.input(stretches) + reader.hidden.bias)  # reset before the projection: its bias stays
    assert torch.allclose(reader(stretches)[:, 1:], forgetful[:, 1:], atol=1e-6)


@pytest.mark.parametrize("tokenizer", [None, DEMO])
def test_a_saved_encoder_comes_back_equal_and_serves_a_run(tokenizer: CharacterTokenizer | None, tmp_path: Path) -> None:
    encoder = small("gru", tokenizer)
    save_encoder(encoder, tmp_path / "text")
    again = load_encoder(tmp_path / "text")
    assert isinstance(again, CharCnnRnn) and encoder_config(again) == encoder_config(encoder) and again.settings == encoder.settings
    assert torch.equal(again(CAPTIONS).sentence, encoder(CAPTIONS).sentence)
    recipe = from_preset("gan-cls", "cpu", "garden", 16)
    text = laid_over(recipe.text, {"encoder": str(tmp_path / "text")}, "text")
    garden = open_data("garden", "train", 16, length=4)
    chosen, is_new = choose_encoder(type(recipe)(**{**vars(recipe), "text": text}), garden)
    assert isinstance(chosen, CharCnnRnn) and not is_new


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(SettingsError, match="did you mean 'gru'"):
        CharCnnRnnSettings(recurrent="gruu")
    with pytest.raises(SettingsError, match="three widths"):
        CharCnnRnnSettings(convolutions=(1, 2))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="cannot read captions of 40 characters"):
        CharCnnRnn(tokenizer=CharacterTokenizer(ALPHABET, 40))
    with pytest.raises(CheckpointError, match="does not fit this version"):
        encoder_from_config({"kind": "char-cnn-rnn", "settings": {"convolutions": [1, 2, 3], "layers": 2}, "tokenizer": {}})
