"""A caption must hold a word: refused when a set is prepared, left out of sets that were prepared before that was checked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.core.errors import DataError
from limner.data import caption_checks, survey
from limner.data import prepare as preparing
from limner.data.caption_checks import CaptionTally, wordless_captions
from limner.data.prepare import prepare
from limner.data.prepared import open_prepared
from limner.text.words import has_word


def folder_of(root: Path, texts: list[str]) -> Path:
    root.mkdir(parents=True)
    for number, text in enumerate(texts):
        Image.new("RGB", (20, 20), (number * 5 % 250, 100, 200)).save(root / f"{number:03}.png")
        (root / f"{number:03}.txt").write_text(text, encoding="utf-8")
    return root


def listed(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("text", ["...", "!!!", "🌸", "❤️", "\ufe0f", "– „ “ …", "'"])
def test_a_picture_whose_captions_hold_no_word_is_a_reject_with_key_and_line(tmp_path: Path, text: str) -> None:
    source = folder_of(tmp_path / "in", [*["a red square"] * 20, f"\n{text}\n"])
    with pytest.raises(DataError, match=r"1 of 21 samples .*\(1 caption without a word\), such as '020' in in \(line 2: '") as caught:
        prepare([source], tmp_path / "out", resolution=16)
    assert text in str(caught.value) and not (tmp_path / "out").exists()
    report = prepare([source], tmp_path / "out", resolution=16, max_rejected=0.05)
    assert report.pictures == 20 and report.card.rejected == {"caption without a word": 1} and not report.wordless
    assert listed(tmp_path / "out") == [{"key": "020", "source": "in", "reason": "caption without a word", "where": f"line 2: '{text}'"}]


def test_a_caption_without_a_word_among_others_is_left_out_alone(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", [*["a red square"] * 20, "a bird\n\n!!!\n一朵花\n"])
    (source / "metadata.jsonl").write_text(json.dumps({"file_name": "000.png", "text": ["a square", "⭐"]}), encoding="utf-8")
    report = prepare([source], tmp_path / "out", resolution=16)
    assert report.pictures == 21 and report.card.captions == 22 and not report.card.rejected
    assert {(found.key, found.where) for found in report.wordless} == {("020", "line 3: '!!!'"), ("000", "metadata.jsonl, line 1: '⭐'")}
    left_out = [
        line["key"] for line in listed(tmp_path / "out") if line["reason"] == "caption without a word, left out; the picture has others"
    ]
    assert sorted(left_out) == ["000", "020"]
    every = open_prepared(tmp_path / "out", "all")
    assert {tuple(every.captions(index)) for index in range(21)} == {("a red square",), ("a bird", "一朵花"), ("a square",)}
    assert "花" in every.vocabulary or every.vocabulary


def test_a_set_prepared_before_the_check_opens_without_those_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*[f"a red square\nsquare {number}" for number in range(30)], "...\na bird\n!!!", "🌸", "花\n…"]
    source = folder_of(tmp_path / "in", texts)
    with monkeypatch.context() as patch:
        for module in (preparing, survey):
            patch.setattr(module, "with_words", lambda sample: (sample, []))
        assert prepare([source], tmp_path / "old", resolution=16).card.captions == 66
    seen: dict[str, list[str]] = {}
    for split in ("train", "val", "test"):
        part = open_prepared(tmp_path / "old", split)
        seen |= {part.key(index): part.captions(index) for index in range(len(part))}
        assert part.caption_counts.tolist() == [len(part.captions(index)) for index in range(len(part))]
        for index, text in part.wordless():
            assert text in ("...", "!!!", "🌸", "…") and part.key(index) in ("030", "031", "032")
    assert seen == {f"{number:03}": [line for line in text.split("\n") if has_word(line)] for number, text in enumerate(texts)}
    every = open_prepared(tmp_path / "old", "all")
    assert sorted(text for _, text in every.wordless()) == sorted(["...", "!!!", "🌸", "…"])
    assert all(has_word(every.counterfactual(index, 0, draw)) for index in range(33) if every.captions(index) for draw in range(8))


def test_the_check_of_stored_captions_finds_what_has_no_word() -> None:
    texts = ["a flower", "...", "", "花", "é", "❤️", "1", "…", "ดอก", "\ufffd", "x" * 3000, "“ё”", "꽃", "Ж", "!", ""]
    content = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in content])])
    found = wordless_captions(np.frombuffer(b"".join(content), np.uint8), offsets)
    assert found.tolist() == [number for number, text in enumerate(texts) if not has_word(text)] == [1, 2, 5, 7, 9, 14, 15]
    assert wordless_captions(np.zeros(0, np.uint8), np.zeros(1, np.int64)).tolist() == []


def test_long_captions_and_words_of_two_spellings_are_told() -> None:
    tally = CaptionTally()
    tally.add("short", ["a pokemon", "a Pokémon", "un pokémon", "été"], True)
    tally.add("long", [" ".join(["petal"] * 75), "红" * 49], True)
    tally.add("held out", [" ".join(["petal"] * 48), "a poke\u0301mon"], False)
    long, spellings = tally.remarks(8)
    assert long.startswith("long captions: 2 of 8 have more than 48 words (the longest: 75, of 'long')") and "--text.maximum-words" in long
    assert spellings.startswith("spellings: 'pokémon' (2) and 'pokemon' (1) are different words")
    assert not list(CaptionTally().remarks(0))


def test_a_byte_that_is_taken_for_a_letter_always_begins_one() -> None:
    for code in (*range(0x80), *range(0x400, 0x480), *range(0x5000, 0x9FFD), *range(0xB000, 0xD000)):
        if caption_checks._LETTERS[chr(code).encode()[0]]:
            assert has_word(chr(code)), hex(code)
