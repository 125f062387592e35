"""How much of a caption an encoder reads, and how that is changed."""

from __future__ import annotations

import pytest
import torch

from limner.core.errors import SettingsError
from limner.text.bag_of_words import BagOfWords, BagOfWordsSettings
from limner.text.byte_pairs import BytePairTokenizer
from limner.text.char_cnn_rnn import CharCnnRnn, CharCnnRnnSettings
from limner.text.clip_text import ClipText, ClipTextSettings
from limner.text.encoder import TextEncoder
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.text.no_text import NoText
from limner.text.recurrent import RecurrentEncoder
from limner.text.saving import load_encoder, save_encoder
from limner.text.standardized import Standardized
from limner.text.tokenizers import WordTokenizer

START = " ".join(f"word{number}" for number in range(59))
RED, BLUE = f"{START} red circle", f"{START} blue circle"


def encoders() -> dict[str, TextEncoder]:
    torch.manual_seed(0)
    tokenizer, vocabulary = WordTokenizer.build([RED, BLUE]), Vocabulary.build([RED, BLUE])
    return {
        "recurrent": RecurrentEncoder(tokenizer),
        "bag-of-words": BagOfWords(tokenizer, BagOfWordsSettings(word_embedding=8, sentence_width=8)),
        "attngan": LSTMEncoder(vocabulary, LSTMSettings(word_embedding=5, width=8)),
        "standardized": Standardized(LSTMEncoder(vocabulary, LSTMSettings(word_embedding=5, width=8))),
    }


@pytest.mark.parametrize(("kind", "words"), [("recurrent", 48), ("bag-of-words", 48), ("attngan", 18), ("standardized", 18)])
@torch.no_grad()
def test_captions_that_differ_in_word_60_are_told_apart_where_so_many_are_read(kind: str, words: int, tmp_path) -> None:
    encoder = encoders()[kind].eval()
    assert encoder.limit == (words, "words") and encoder.was_cut(RED)
    red, blue = encoder([RED, BLUE]).sentence
    assert torch.equal(red, blue)
    encoder.read_at_most(60)
    assert encoder.limit == (60, "words") and encoder.was_cut(RED) and len(encoder.read_words(RED)) in (60, 61)
    red, blue = encoder([RED, BLUE]).sentence
    assert (red - blue).abs().max() > 1e-4
    save_encoder(encoder, tmp_path / "encoder")
    again = load_encoder(tmp_path / "encoder")
    assert again.limit == (60, "words") and torch.equal(again([RED, BLUE]).sentence[0], red)


def test_encoders_that_read_smaller_things_say_what_they_read() -> None:
    tokenizer = BytePairTokenizer.train([RED], 20, 12)
    clip = ClipText(tokenizer, ClipTextSettings(vocabulary=len(tokenizer), context_length=12, width=8, layers=1, heads=2, sentence_width=8))
    char = CharCnnRnn(CharCnnRnnSettings(convolutions=(4, 4, 4), sentence_width=4))
    for encoder, message in ((clip, "10 byte pairs"), (char, "201 characters"), (NoText(), "reads no text"), (Standardized(char), "201")):
        with pytest.raises(SettingsError, match=f"text.maximum-words cannot be set: .*{message}.*leave it out"):
            encoder.read_at_most(60)
    assert clip.limit == (10, "byte pairs") and clip.was_cut("a " * 11) and NoText().limit is None


def test_the_words_that_an_encoder_knows() -> None:
    for encoder in encoders().values():
        assert set(encoder.known_words()) == {*RED.split(), *BLUE.split()}
    assert CharCnnRnn(CharCnnRnnSettings(convolutions=(4, 4, 4), sentence_width=4)).known_words() == ()
