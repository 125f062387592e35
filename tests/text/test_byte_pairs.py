import gzip
from pathlib import Path

import pytest

from limner.core.errors import DataError, SettingsError
from limner.text.byte_pairs import END, FEWEST, START, BytePairTokenizer, clean, split

CAPTIONS = ["low", "a low flower", "a lower flower", "the lowest flower, isn't it?", "flowers", "caf\u00e9 \u4f60\u597d"]


@pytest.fixture(scope="module")
def tokenizer() -> BytePairTokenizer:
    return BytePairTokenizer.train(CAPTIONS, context_length=16)


def test_frequent_words_become_one_piece_and_anything_can_be_spelled(tokenizer: BytePairTokenizer) -> None:
    assert tokenizer.tokens("Flower") == ["flower</w>"] and tokenizer.tokens("a low") == ["a</w>", "low</w>"]
    assert len(tokenizer.tokens("slower")) > 1
    captions = ["a slower flower", "caf\u00e9 \u4f60\u597d", "\U0001f600 7 of 7!", "isn 't it"]
    assert tokenizer.decode(tokenizer(captions).ids)[0] == captions[0]
    for caption in captions:
        ids = tokenizer([caption]).ids
        assert tokenizer.decode(ids)[0].replace(" ", "") == caption.replace(" ", "")
        assert int(ids.max()) < len(tokenizer)


def test_the_most_frequent_pair_is_learned_first() -> None:
    """By hand: "ab" stands four times, then "abc</w>" three times; of equally frequent ones the first by its characters."""
    tokenizer = BytePairTokenizer.train(["abc abc abc abd"])
    assert tokenizer.merges[:2] == (("a", "b"), ("ab", "c</w>")) and len(tokenizer.merges) == 2
    assert BytePairTokenizer.train(["abc abc abc abd"], merges=1).merges == (("a", "b"),)
    assert BytePairTokenizer.train(["xy xy zu zu"]).merges == (("x", "y</w>"), ("z", "u</w>"))


def test_ids_follow_the_published_order(tokenizer: BytePairTokenizer) -> None:
    assert tokenizer.encode("!") == [256] and tokenizer.encode("!!")[0] in (0, 256 + 256 + len(tokenizer.merges))
    ids, mask = tokenizer(["a", "a low flower"])
    start, end = len(tokenizer) - 2, len(tokenizer) - 1
    assert ids[0].tolist() == [start, tokenizer.encode("a")[0], end, 0, 0] and mask.sum(1).tolist() == [3, 5]
    assert tokenizer.vocabulary[start] == START and tokenizer.vocabulary[end] == END
    assert BytePairTokenizer([]).encode("a") == [256 + ord("a") - ord("!")]


def test_long_captions_keep_their_end_and_empty_ones_are_read(tokenizer: BytePairTokenizer) -> None:
    ids, mask = tokenizer(["low " * 40, ""])
    assert ids.shape == (2, 16) and int(ids[0, -1]) == len(tokenizer) - 1
    assert ids[1, :2].tolist() == [len(tokenizer) - 2, len(tokenizer) - 1] and int(mask[1].sum()) == 2
    assert tokenizer.was_cut("low " * 15) and not tokenizer.was_cut("low " * 14)


def test_captions_are_cleaned_and_split_as_published() -> None:
    assert clean("  A &amp;amp;  B\tc\n") == "a & b c"
    assert clean("\u201cq\u201d \u2018s\u2019") == "\"q\" 's'" and clean("\u00c3\u00a9") == "\u00e9" and clean("caf\u00e9") == "caf\u00e9"
    assert split("it's 12.5 caf\u00e9-au lait!?") == ["it", "'s", "1", "2", ".", "5", "caf\u00e9", "-", "au", "lait", "!?"]
    assert split(f"{START} x {END}") == [START, "x", END]


def test_a_tokenizer_comes_back_from_its_description_and_from_a_published_file(tokenizer: BytePairTokenizer, tmp_path: Path) -> None:
    assert BytePairTokenizer.from_config(tokenizer.config()).config() == tokenizer.config()
    lines = ["#version: 0.2", *(" ".join(pair) for pair in tokenizer.merges), "more than-wanted"]
    for name, content in (("pairs.txt", "\n".join(lines).encode()), ("pairs.txt.gz", gzip.compress("\n".join(lines).encode()))):
        (tmp_path / name).write_bytes(content)
        again = BytePairTokenizer.from_file(tmp_path / name, len(tokenizer), tokenizer.context_length)
        assert again.config() == tokenizer.config()
    with pytest.raises(DataError, match="gives .* ids, not 49,408"):
        BytePairTokenizer.from_file(tmp_path / "pairs.txt", 49_408)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"some lines of text")[:-9])
    with pytest.raises(DataError, match="cannot read the vocabulary file"):
        BytePairTokenizer.from_file(tmp_path / "cut.gz", FEWEST)
    (tmp_path / "prose.txt").write_text("a version\nh e\nthis is not a pair\n")
    with pytest.raises(DataError, match="is not a file of byte pairs .'this is not a pair' is none"):
        BytePairTokenizer.from_file(tmp_path / "prose.txt", FEWEST + 2)
    with pytest.raises(DataError, match="there is no vocabulary file"):
        BytePairTokenizer.from_file(tmp_path / "none.gz", FEWEST)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(DataError, match="hold no word"):
        BytePairTokenizer.train(["", "  "])
    with pytest.raises(SettingsError, match="context_length is 2"):
        BytePairTokenizer([], context_length=2)


def test_half_of_a_surrogate_pair_is_refused(tokenizer: BytePairTokenizer) -> None:
    with pytest.raises(DataError, match=r"the caption 'a .ud800 flower' is not UTF-8 text"):
        tokenizer(["a \ud800 flower"])
