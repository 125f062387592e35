from __future__ import annotations

import pytest
import torch

from limner.core.errors import DataError, SettingsError
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.text.saving import load_encoder, save_encoder

CAPTIONS = ["a red bird with a long beak", "a bird", "the bird sings"]


@pytest.fixture
def encoder() -> LSTMEncoder:
    torch.manual_seed(0)
    return LSTMEncoder(Vocabulary.build(CAPTIONS, maximum_words=6), LSTMSettings(word_embedding=5, width=8)).eval()


def test_the_ids_are_those_of_the_given_words() -> None:
    vocabulary = Vocabulary(["zebra", "a", "bird"], maximum_words=3)
    ids, mask = vocabulary(["A bird, a zebra!", "the bird", "unheard of"])
    assert ids.tolist() == [[2, 3, 2], [3, 0, 0], [0, 0, 0]] and len(vocabulary) == 4
    assert mask.tolist() == [[True] * 3, [True, False, False], [True, False, False]]  # words it lacks are left out; nothing left reads as 0
    with pytest.raises(DataError, match="caption number 2"):
        vocabulary(["a bird", " , "])
    with pytest.raises(SettingsError, match="'a' twice"):
        Vocabulary(["a", "b", "a"])


def test_a_vocabulary_keeps_the_rule_that_it_was_saved_with() -> None:
    encoder = LSTMEncoder(Vocabulary.build(["一朵红花"]), LSTMSettings(word_embedding=5, width=8))
    again = LSTMEncoder.from_config(encoder.config())
    assert again.words("红花") == again.read_words("红花") == ["红", "花"]
    old = encoder.config()
    old["vocabulary"] = {"words": ["红花"], "maximum_words": 18}  # as it was saved when there was one rule
    assert LSTMEncoder.from_config(old).words("红花") == ["红花"] and LSTMEncoder.from_config(old).config() == old


@torch.no_grad()
def test_captions_are_read_alone_as_among_others(encoder: LSTMEncoder) -> None:
    together = encoder(CAPTIONS)
    assert together.words is not None and together.mask is not None
    assert together.words.shape == (3, 6, 8) and together.sentence.shape == (3, 8)
    for row, caption in enumerate(CAPTIONS):
        alone = encoder([caption])
        assert alone.words is not None
        length = alone.words.shape[1]
        torch.testing.assert_close(alone.words[0], together.words[row, :length])
        torch.testing.assert_close(alone.sentence[0], together.sentence[row])
        assert together.mask[row].sum() == length and (together.words[row, length:] == 0).all()
    last, first = together.words[0, 5, :4], together.words[0, 0, 4:]
    torch.testing.assert_close(together.sentence[0], torch.cat((last, first)))  # each direction's last state
    assert encoder.was_cut(CAPTIONS[0]) and not encoder.was_cut(CAPTIONS[1])
    assert encoder.unknown_words("a green bird, a green one") == ["green", "one"]


@torch.no_grad()
def test_dropout_is_for_training_alone(encoder: LSTMEncoder) -> None:
    assert torch.equal(encoder(CAPTIONS).sentence, encoder(CAPTIONS).sentence)
    encoder.train()
    assert not torch.equal(encoder(CAPTIONS).sentence, encoder(CAPTIONS).sentence)


@torch.no_grad()
def test_saved_and_read_back(encoder: LSTMEncoder, tmp_path) -> None:
    save_encoder(encoder, tmp_path / "encoder")
    again = load_encoder(tmp_path / "encoder")
    assert isinstance(again, LSTMEncoder) and again.vocabulary.words == encoder.vocabulary.words
    assert torch.equal(again(CAPTIONS).sentence, encoder(CAPTIONS).sentence)


def test_widths_must_halve() -> None:
    with pytest.raises(SettingsError, match="even width"):
        LSTMSettings(width=7)
