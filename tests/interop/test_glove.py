"""Files of word vectors: every form, what is kept of them, and what files that are no such get."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from shared.keras_files import glove_file
from shared.pictures import Captioned, prepared

from limner.cli.main import main
from limner.core.errors import DataError, SettingsError
from limner.core.recipes import from_preset
from limner.interop.word_vectors import read_word_vectors
from limner.text.glove import Glove
from limner.text.saving import load_encoder
from limner.training.text import caption_remarks, choose_encoder

WORDS = ["the", "red", "bird", "Crest", "wing", "café"]
VECTORS = np.arange(18, dtype=np.float32).reshape(6, 3) / 7


def text(words: Sequence[str] = WORDS, header: str = "", end: str = "\n") -> bytes:
    rows = [f"{word} {' '.join(map(repr, map(float, row)))}{end}" for word, row in zip(words, VECTORS, strict=False)]
    return (header + "".join(rows)).encode()


def binary(words: Sequence[str] = WORDS, newline: bytes = b"\n", count: int | None = None) -> bytes:
    rows = [word.encode() + b" " + row.astype("<f4").tobytes() + newline for word, row in zip(words, VECTORS, strict=False)]
    return f"{count or len(rows)} 3\n".encode() + b"".join(rows)


FORMS = {
    "glove": text(),
    "glove, without an end of line": text().rstrip(b"\n"),
    "glove with Windows lines": text(end="\r\n"),
    "word2vec": text(header="6 3\n"),
    "fasttext": text(header="6 3\n", end=" \n"),
    "word2vec-binary": binary(),
    "word2vec-binary, as gensim writes it": binary(newline=b""),
    "gzip": gzip.compress(text()),
    "gzip, binary": gzip.compress(binary()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_vectors(form: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(FORMS[form])
    found = read_word_vectors(path, ["café", "bird", "crest", "missing"], any_case=True)
    assert found.width == 3 and found.lines == 6 and found.vectors.keys() == {"café", "bird", "crest"}
    for name, row in (("café", 5), ("bird", 2), ("crest", 3)):
        assert found.vectors[name].tolist() == VECTORS[row].tolist()
    assert found.recased == {"crest": "Crest"}
    assert read_word_vectors(path, ["crest"]).vectors == {}


def test_the_word_itself_goes_before_another_case_and_the_first_before_a_second(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(text(["Red", "red", "red", "RED", "Bird"]))
    found = read_word_vectors(path, ["red"], any_case=True)
    assert found.vectors["red"].tolist() == VECTORS[1].tolist() and not found.recased
    first = read_word_vectors(path, ["bird"], any_case=True, first=2)
    assert first.first == ["red"] and first.vectors["red"].tolist() == VECTORS[1].tolist() and "bird" in first.vectors


def test_words_with_spaces_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_bytes(text(["the", ". . .", "at name@domain.com", "bird"]))
    found = read_word_vectors(path, ["bird", "at"])
    assert found.vectors.keys() == {"bird"} and (found.lines, found.spaced, found.spaced_at) == (4, 2, "line 2, '. . .'")


def test_a_long_file_takes_little_memory_and_shows_progress(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "vectors"
    path.write_bytes(b"".join(b"word%d 0.25 0.5 0.75\n" % number for number in range(100_000)))
    seen: list[tuple[int, int, str]] = []
    tracemalloc.start()
    found = read_word_vectors(path, ["word99999"], progress=lambda *step: seen.append(step))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.lines == 100_000 and found.vectors["word99999"].tolist() == [0.25, 0.5, 0.75]
    assert len(seen) == 5 and seen[-1][1] == path.stat().st_size and peak < 5 << 20


cut = text(header="6 3\n")
BAD: dict[str, tuple[bytes, str, str]] = {
    "nothing": (b"", "auto", "is empty: download"),
    "cut within a line": (text()[:-30], "auto", "line 6: the file ends after . of 3 numbers: it is cut short"),
    "fewer than the header says": (
        b"".join(cut.splitlines(True)[:-2]),
        "auto",
        "line 5: the file ends after 4 words, .* gives 6: it is cut",
    ),
    "more than the header says": (text(header="5 3\n"), "auto", "line 7: the header gives 5 words, and here is one more"),
    "binary, cut": (binary()[:-5], "auto", "word 6: the file ends after 5 words, and its header gives 6: it is cut short"),
    "binary, with more": (binary(count=4), "auto", "bytes follow the 4 words"),
    "gzip, cut": (gzip.compress(text())[:-20], "auto", "is cut short or damaged"),
    "narrower": (text() + b"leaf 1.0 2.0\ntree 1.0 2.0 3.0\n", "auto", "line 7: 2 numbers, where the lines before have 3"),
    "wider": (text() + b"leaf 1.0 2.0 3.0 4.0\n", "auto", "line 7: 4 numbers, where the lines before have 3"),
    "header in GloVe": (text(header="6 3\n"), "glove", "line 1: '6 3' is a header, .*: give --format word2vec"),
    "header in the middle": (text() + b"6 3\n" + text(), "auto", "line 7: '6 3' is a header, and no line of a word: two files"),
    "no header": (text(), "word2vec", "line 1: there is no header"),
    "Latin-1": (text()[:-1] + "\nna\u00efve 1 2 3\n".encode("latin-1"), "auto", "line 7: byte 0xef is not UTF-8: .*iconv"),
    "UTF-16": (text().decode().encode("utf-16"), "auto", "line 1: the file is in UTF-16"),
    "zip": (b"PK\x03\x04 and so on", "auto", "is a zip archive: unpack it"),
    "pickle": (b"\x80\x04\x95", "auto", "is a pickle, such as gensim's"),
    "captions": (b"a red bird\nanother\n", "auto", "line 1: 'a red bird' is not a word with its numbers"),
    "tabs": (text().replace(b" ", b"\t"), "auto", "line 1: its fields are separated by tabs"),
    "tabs after a header": (text().replace(b" ", b"\t").join([b"6 3\n", b""]), "auto", "line 2: its fields are separated by tabs"),
    "two spaces": (text().replace(b" ", b"  "), "auto", "line 1: its fields are separated by several spaces"),
    "carriage returns": (text(end="\r"), "auto", "line 1: its lines end in carriage returns"),
    "not a number": (text().replace(b"bird 0", b"bird x"), "auto", "line 3: 'x.857.*' is not a number"),
    "not finite": (text() + b"leaf nan 2.0 3.0\n", "auto", "line 7: a number is not finite"),
    "an empty line": (text() + b"\n" + text(), "auto", "line 7: it is empty"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_with_a_file_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    content, form, message = BAD[name]
    path = tmp_path / "vectors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}.*{message}") as caught:
        read_word_vectors(path, ["bird", "leaf"], form)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_word_vectors(tmp_path / "none", ["a"])
    with pytest.raises(DataError, match="is a folder"):
        read_word_vectors(tmp_path, ["a"])


CAPTIONS = [("train", "a red bird\nThe crest, red"), ("val", "zorblax"), ("test", "a wing of the bird, zorblax")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("glove") / "data", CAPTIONS)


def imported(folder: Path, *flags: str) -> tuple[int, Glove | None]:
    file = glove_file(folder / "vectors.txt", WORDS, VECTORS)
    code = main(["import", "glove", str(file), "--out", str(folder / "encoder"), *flags])
    encoder = load_encoder(folder / "encoder") if code == 0 else None
    assert encoder is None or isinstance(encoder, Glove)
    return code, encoder


def test_the_command_keeps_the_captions_words_and_says_what_is_missing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, encoder = imported(tmp_path, "--data", str(data), "--pooling", "mean")
    out = capsys.readouterr().out
    assert code == 0 and encoder is not None
    assert set(encoder.known_words()) == {"the", "red", "bird", "crest", "wing"} and encoder.settings.pooling == "mean"
    assert encoder(["a red bird"]).sentence[0].tolist() == ((VECTORS[1] + VECTORS[2]) / 2).tolist()
    assert "5 of the 6 words of vectors.txt (GloVe text, 3 numbers a word) are kept" in out
    assert "1 words are in the file with capitals alone, whose vectors are taken ('Crest' for 'crest')" in out
    assert "3 of 8 words have no vector (38.5% of all words spoken): 'a', 'zorblax', 'of'" in out
    assert "warning: 1 of 4 captions hold no word with a vector" in out and "'zorblax' of '" in out
    card = (tmp_path / "encoder" / "README.md").read_text()
    assert "a, zorblax, of" in card and "mean of the vectors" in card


def test_a_list_the_first_words_and_a_cut_by_frequency(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.txt").write_text("Caf\u00e9\nnowhere\n", encoding="utf-8")
    flags = ["--data", str(data), "--minimum-count", "2", "--vocabulary", str(tmp_path / "words.txt"), "--first", "1"]
    code, encoder = imported(tmp_path, *flags)
    out = capsys.readouterr().out
    assert code == 0 and encoder is not None
    assert set(encoder.known_words()) == {"red", "bird", "the", "caf\u00e9"}
    assert "3 words of the captions occur too seldom (--minimum-count) and are left out" in out and "'nowhere'" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no word is needed: give --data DIR, --vocabulary FILE or --first N"),
        (["--first", "-1"], "--first is -1, but must be at least 0"),
        (["--first", "1", "--minimum-count", "2"], "--minimum-count counts words of captions"),
        (["--data", "nowhere/data"], "there is no folder nowhere/data"),
        (["--vocabulary", "nowhere.txt"], "there is no file nowhere.txt"),
        (["--first", "3", "--format", "word2vec"], "line 1: there is no header"),
    ],
)
def test_flags_that_cannot_work(flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = imported(tmp_path, *flags)
    error = capsys.readouterr().err
    assert code == 2 and message in error and error.count("\n") == 1 and not (tmp_path / "encoder").exists()


def test_training_says_at_its_start_which_captions_say_nothing(tmp_path: Path) -> None:
    code, _ = imported(tmp_path, "--first", "5")
    assert code == 0
    recipe = from_preset("keras-text-to-image", "cpu", "garden", 16)
    recipe = dataclasses.replace(recipe, text=dataclasses.replace(recipe.text, encoder=str(tmp_path / "encoder")))
    pictures = Captioned(["a red bird", "zorblax", "something else"])
    encoder, fresh = choose_encoder(recipe, pictures)
    (line,) = caption_remarks(recipe, pictures, encoder)
    assert not fresh and line.startswith("warning: 2 of 3 training captions hold no word") and "'zorblax' of '1'" in line
    with pytest.raises(SettingsError, match="knows no word of any caption of 'captioned'"):
        choose_encoder(recipe, Captioned(["zorblax", "something else"]))
