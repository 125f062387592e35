import json

import pytest
import torch

from limner.core.errors import DataError, SettingsError
from limner.text.summary_lstm import LetterTokenizer
from limner.text.tokenizers import CharacterTokenizer, WordTokenizer

CAPTIONS = ["a pink flower", "a blue flower with five petals", "five pink petals"]


def test_words_round_trip_with_padding_and_unknown_words() -> None:
    tokenizer = WordTokenizer.build(CAPTIONS)
    ids, mask = tokenizer(["Five GREEN petals", "a flower with pink petals"])
    assert ids.shape == mask.shape == (2, 5) and ids.dtype == torch.int64
    assert mask.sum(1).tolist() == [3, 5] and (ids[~mask] == 0).all() and ids[0, 1] == 1
    assert tokenizer.decode(ids) == ["five \ufffd petals", "a flower with pink petals"]
    assert tokenizer.unknown_words("a green, GREEN tree with petals") == ["green", "tree"]


def test_vocabulary_is_ordered_by_count_and_cut_at_the_minimum() -> None:
    assert WordTokenizer.build(CAPTIONS).vocabulary == ("a", "five", "flower", "petals", "pink", "blue", "with")
    assert WordTokenizer.build(CAPTIONS, minimum_count=2).vocabulary == ("a", "five", "flower", "petals", "pink")
    with pytest.raises(DataError, match="no word occurs 9 times"):
        WordTokenizer.build(CAPTIONS, minimum_count=9)
    for made in (WordTokenizer, LetterTokenizer):
        with pytest.raises(DataError, match="the captions hold no word that a vocabulary could be made of: give captions with words"):
            made.build([])


def test_long_captions_are_cut_and_say_so() -> None:
    tokenizer = WordTokenizer.build(CAPTIONS, maximum_words=4)
    assert tokenizer(["pink petals " * 5000]).ids.shape == (1, 4)
    assert tokenizer.was_cut("a blue flower with petals") and not tokenizer.was_cut("a blue flower with")


def test_synonyms_read_as_the_word_they_stand_for() -> None:
    tokenizer = WordTokenizer(["pink", "petals"], synonyms={"rosy": "pink"})
    assert tokenizer(["rosy petals"]).ids.tolist() == tokenizer(["pink petals"]).ids.tolist()
    assert tokenizer.unknown_words("rosy red petals") == ["red"]
    with pytest.raises(SettingsError, match="'lilac' stands for 'purple'"):
        WordTokenizer(["pink"], synonyms={"lilac": "purple"})


@pytest.mark.parametrize("caption", ["", "   ", "?!"])
def test_captions_without_words_are_refused(caption: str) -> None:
    with pytest.raises(DataError, match="caption number 2 is .*write at least one word"):
        WordTokenizer.build(CAPTIONS)(["a flower", caption])


def test_tokenizers_survive_json() -> None:
    words = WordTokenizer(["pink", "été"], 7, {"rosy": "pink"})
    characters = CharacterTokenizer("ab- c-", 9, unknown=None, lower_case=False)
    for tokenizer, text in ((words, "été rosy x"), (characters, "a-b cX")):
        again = type(tokenizer).from_config(json.loads(json.dumps(tokenizer.config())))
        assert again.config() == tokenizer.config()
        assert torch.equal(again([text]).ids, tokenizer([text]).ids)


def test_the_vocabulary_of_english_captions_is_what_it_always_was() -> None:
    captions = ["A heart-shaped flower, isn\u2019t it?", "the flower’s 5 petals – “pink” ones…", "a Café, naïve; a flower"]
    tokenizer = WordTokenizer.build(captions)
    assert tokenizer.vocabulary == (
        "a",
        "flower",
        "5",
        "café",
        "flower's",
        "heart",
        "isn't",
        "it",
        "naïve",
        "ones",
        "petals",
        "pink",
        "shaped",
        "the",
    )
    assert tokenizer(captions).ids.tolist() == [[2, 7, 14, 3, 8, 9], [15, 6, 4, 12, 13, 11], [2, 5, 10, 2, 3, 0]]
    old = WordTokenizer.from_config({"vocabulary": list(tokenizer.vocabulary), "maximum_words": 48, "synonyms": {}})
    assert torch.equal(old(captions).ids, tokenizer(captions).ids)


def test_a_tokenizer_keeps_the_rule_that_it_was_saved_with() -> None:
    old = WordTokenizer.from_config({"vocabulary": ["一朵红花", "\ufe0f"], "maximum_words": 48, "synonyms": {}})
    assert old(["一朵红花，❤️"]).ids.tolist() == [[2, 3]] and old.unknown_words("红花") == ["红花"]
    assert "splitting" not in old.config(), "what an older version saved is saved again as it was"
    new = WordTokenizer.build(["一朵红花"])
    again = WordTokenizer.from_config(json.loads(json.dumps(new.config())))
    assert again.vocabulary == ("一", "朵", "红", "花") and again(["红花花"]).ids.tolist() == [[4, 5, 5]]
    assert again.unknown_words("蓝花") == ["蓝"]


def test_characters_round_trip_cut_and_unknown() -> None:
    tokenizer = CharacterTokenizer("abcdefghijklmnopqrstuvwxyz -", 12)
    ids, mask = tokenizer(["A pink-ish", "a flower with petals"])
    assert ids.shape == mask.shape == (2, 12) and mask.sum(1).tolist() == [10, 12]
    assert tokenizer.decode(ids) == ["a pink-ish", "a flower wit"]
    assert tokenizer.was_cut("a flower with petals") and not tokenizer.was_cut("a pink-ish")
    assert tokenizer.decode(tokenizer(["no. 5!"]).ids) == ["no    "]
    assert tokenizer.unknown_characters("no. 5.") == [".", "5"]
    with pytest.raises(DataError, match="caption number 1 is empty"):
        tokenizer([" "])


def test_a_character_that_stands_twice_has_its_last_place_and_zero_may_stand_for_unknown_ones() -> None:
    tokenizer = CharacterTokenizer("-ab-", 5, unknown=None)
    ids, mask = tokenizer(["a-xb"])
    assert ids.tolist() == [[2, 4, 0, 3, 0]] and mask.tolist() == [[True] * 4 + [False]]
    assert tokenizer.decode(ids) == ["a-\ufffdb"]


def test_settings_that_cannot_work_are_refused() -> None:
    for make in (
        lambda: CharacterTokenizer("", 5),
        lambda: CharacterTokenizer("ab", 0),
        lambda: CharacterTokenizer("ab", 5),
        lambda: WordTokenizer(["a", "a"]),
        lambda: WordTokenizer(["a"], 0),
    ):
        with pytest.raises(SettingsError):
            make()
