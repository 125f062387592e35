import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.text.words import UNKNOWN_WORD, drop_words, has_word, nearest_words, plain_words, split_words, splitting_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A heart-shaped flower, isn't it?", ["a", "heart", "shaped", "flower", "isn't", "it"]),
        ("the 'five' petals' edge_line", ["the", "five", "petals", "edge", "line"]),
        ("Eine GROSSE Blüte, l\u2019été", ["eine", "grosse", "blüte", "l'été"]),
        ("it isn\u00b4t", ["it", "isn", "\u0301t"]),  # an accent in an apostrophe's place
        ("हिन्दी फूल", ["हिन्दी", "फूल"]),
        ("ｐｉｎｋ cafe\u0301", ["pink", "café"]),
        (" ... !! \n\t", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("一朵红花，黄色的心", ["一", "朵", "红", "花", "黄", "色", "的", "心"]),
        ("3朵iPhone的花", ["3", "朵", "iphone", "的", "花"]),
        ("ラーメン がぎ", ["ラ", "ー", "メ", "ン", "が", "ぎ"]),
        ("ดอกไม้ สี", ["ด", "อ", "ก", "ไ", "ม้", "สี"]),  # a consonant keeps its marks
        ("ខ្មែរ မြန်မာ", ["ខ្", "មែ", "រ", "မြ", "န်", "မာ"]),
        ("빨간 꽃 हिन्दी Ελλάδα", ["빨간", "꽃", "हिन्दी", "ελλάδα"]),  # scripts that write spaces
    ],
)
def test_scripts_without_spaces_are_cut_into_characters(text: str, words: list[str]) -> None:
    assert split_words(text) == words
    assert split_words(" ".join(words)) == words, "what was cut and joined, as word dropout does, is cut alike"


@pytest.mark.parametrize("text", ["...", "!!!", "\ufe0f", "❤️ 🌸", "„ “ – …", "'", "  \t", "\u0301 \u20e3", "♀ → ☀️", "\ufffd\ufffd"])
def test_signs_and_emoji_are_no_words(text: str) -> None:
    assert not has_word(text)
    assert split_words(text) == [UNKNOWN_WORD * 2] * (UNKNOWN_WORD in text)


@pytest.mark.parametrize("text", ["a", "7", "...é!", "1️⃣", "花", "ก", "Ⅳ", "न"])
def test_a_letter_or_digit_of_any_script_is_a_word(text: str) -> None:
    assert has_word(text)


@given(st.text(st.characters(max_codepoint=0x24F) | st.sampled_from("’“”–…αβγабвгд")))
def test_both_rules_cut_alphabets_alike(text: str) -> None:
    assert split_words(text) == [word for word in split_words(text, "spaces") if any(map(str.isalnum, word))]


def test_the_rule_of_old_tokenizers_stays_as_it_was() -> None:
    assert split_words("一朵红花，黄色的心 ดอกไม้", "spaces") == ["一朵红花", "黄色的心", "ดอกไม้"]
    assert split_words("a ❤️ heart", "spaces") == ["a", "\ufe0f", "heart"] and split_words("a ❤️ heart") == ["a", "heart"]
    assert splitting_of(["a", "红花"]) == "spaces" and splitting_of(["a", "red-ish", "红", "花", "été"]) == "characters"


@pytest.mark.parametrize(
    ("captions", "read"),
    [
        (["A red bird", "a  red bird.", " a red, bird\n"], "a red bird"),
        (["1 -0.50  2", "1.0 -.5 2.0"], "1 -0.5 2"),
        (["...", " ... "], "..."),
        (["a-b", "a b"], "a b"),
    ],
)
def test_captions_that_read_the_same_are_the_same_plain_words(captions: list[str], read: str) -> None:
    assert {plain_words(caption) for caption in captions} == {read}
    assert plain_words("1 0.5") != plain_words("1 -0.5")


def test_mistyped_words_find_those_that_are_known() -> None:
    known = ["pink", "yellow", "electric", "pokémon", "flower", "a"]
    for word, meant in (
        ("pnik", ["pink"]),
        ("yelow", ["yellow"]),
        ("elektric", ["electric"]),
        ("pokemon", ["pokémon"]),
        ("zebra", []),
        ("b", []),
    ):
        assert nearest_words(word, known) == meant


def test_dropped_words_depend_on_the_sample_alone() -> None:
    captions = [f"a pink flower with {number} round petals in the meadow" for number in range(200)]
    samples = np.arange(200) + 1000
    dropped = drop_words(captions, 0.25, 3, samples)
    assert dropped[60:80] == drop_words(captions[60:80], 0.25, 3, samples[60:80])
    assert dropped != drop_words(captions, 0.25, 4, samples)
    words = [split_words(caption) for caption in dropped]
    assert {len(row) for row in words} == {10}
    assert 0.2 < np.mean([word == UNKNOWN_WORD for row in words for word in row]) < 0.3
    assert drop_words(captions, 0.0, 3, samples) == captions
