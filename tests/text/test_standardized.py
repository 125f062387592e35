from __future__ import annotations

import torch

from limner.text.bag_of_words import BagOfWords, BagOfWordsSettings
from limner.text.registry import encoder_config, encoder_from_config
from limner.text.standardized import Standardized
from limner.text.tokenizers import WordTokenizer

CAPTIONS = ["a red flower", "a blue flower", "two white birds", "a bird on a red tree", "blue", "flower tree flower"]


def test_sentences_have_mean_0_and_deviation_1_and_are_saved_so() -> None:
    torch.manual_seed(0)
    inner = BagOfWords(WordTokenizer.build(CAPTIONS), BagOfWordsSettings(word_embedding=8, sentence_width=5))
    encoder = Standardized(inner).fit(CAPTIONS)
    sentences = encoder(CAPTIONS).sentence
    assert torch.allclose(sentences.mean(0), torch.zeros(5), atol=1e-6)
    assert torch.allclose(sentences.std(0, unbiased=False), torch.ones(5), atol=1e-5)
    assert encoder.unknown_words("a purple flower") == ["purple"] and encoder.words("A red-blue") == ["a", "red", "blue"]
    again = encoder_from_config(encoder_config(encoder))
    again.load_state_dict(encoder.state_dict())
    assert again(CAPTIONS).sentence.equal(sentences)


def test_a_bag_has_no_order_and_counts_known_words_alone() -> None:
    torch.manual_seed(0)
    encoder = BagOfWords(WordTokenizer.build(CAPTIONS), BagOfWordsSettings(word_embedding=8, sentence_width=5))
    one, other, longer = encoder(["red flower a", "a red flower", "a red flower a red flower"]).sentence
    assert torch.allclose(one, other) and torch.allclose(one, longer)
