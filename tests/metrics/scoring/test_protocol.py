"""Scores keep their protocol, and unlike protocols never stand in one ranking."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from limner.core.errors import CheckpointError, SettingsError
from limner.metrics.scoring.protocol import Part, Protocol, Score, comparable, ranked, read_scores, write_scores
from limner.metrics.scoring.table import table

PROTOCOL = Protocol(
    metric="fid", data="garden", split="test", fingerprint="abc", count=100, reference_count=100, captions="one drawn caption a picture",
    resolution=64, seed=0, implementation="a formula", features="garden", features_hash="123", resize="bilinear", settings={"splits": 10},
    version="1",
)  # fmt: skip
PARTS = {"colour": Part(value=0.5, chance=0.125, count=3)}
SCORE = Score(name="fid", value=3.5, protocol=PROTOCOL, higher_is_better=False, parts=PARTS, notes=("few",))


def _with(**changes):
    return dataclasses.replace(SCORE, protocol=dataclasses.replace(PROTOCOL, **changes))


@pytest.mark.parametrize("field", [item.name for item in dataclasses.fields(Protocol) if item.name != "version"])
def test_any_difference_is_a_reason_not_to_rank(field):
    value = getattr(PROTOCOL, field)
    other = _with(**{field: {"splits": 5} if field == "settings" else value + 1 if isinstance(value, int) else value + "x"})
    assert field in comparable(SCORE, other)
    with pytest.raises(SettingsError, match=field):
        ranked({"mine": SCORE, "theirs": other})


def test_equal_protocols_are_ranked_best_first():
    better = dataclasses.replace(_with(version="2"), value=1.0)
    assert [name for name, _ in ranked({"mine": SCORE, "theirs": better})] == ["theirs", "mine"]
    upward = {name: dataclasses.replace(score, higher_is_better=True) for name, score in {"mine": SCORE, "theirs": better}.items()}
    assert [name for name, _ in ranked(upward)] == ["mine", "theirs"]


def test_what_is_not_a_number_is_ranked_last():
    scores = {name: dataclasses.replace(SCORE, value=value) for name, value in {"five": 5.0, "none": float("nan"), "two": 2.0}.items()}
    assert [name for name, _ in ranked(scores)] == ["two", "five", "none"]
    upward = {name: dataclasses.replace(score, higher_is_better=True) for name, score in scores.items()}
    assert [name for name, _ in ranked(upward)] == ["five", "two", "none"]


def test_scores_are_kept_and_replaced_by_name_and_protocol(tmp_path):
    path = tmp_path / "run" / "scores.json"
    assert read_scores(path) == []
    write_scores(path, [SCORE, _with(seed=1)])
    assert read_scores(path) == [SCORE, _with(seed=1)]
    newer = dataclasses.replace(SCORE, value=2.0)
    write_scores(path, [newer])
    assert read_scores(path) == [_with(seed=1), newer]
    assert [item.name for item in path.parent.iterdir()] == ["scores.json"]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 1, "scores": [{"name": "fid"}]}', '{"format": 99, "scores": []}'])
def test_a_damaged_file_is_named_and_left_alone(tmp_path, text):
    path = tmp_path / "scores.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match="scores.json") as caught:
        write_scores(path, [SCORE])
    assert "\n" not in str(caught.value) and path.read_text() == text


def test_the_table_shows_parts_chance_notes_and_protocol():
    text = table([SCORE])
    assert "fid (down)" in text and "  colour" in text and "0.125" in text and "note: fid: few" in text
    assert "against 100 real ones; features garden 123 (bilinear); splits 10; seed 0; a formula" in text


def test_scores_of_earlier_versions_are_still_read():
    for name in ("garden-attention-scores.json", "garden-fast-scores.json", "flowers-scores.json"):
        scores = read_scores(Path(__file__).parents[3] / "docs" / name)
        assert scores and all(score.protocol.fingerprint and score.protocol.implementation for score in scores)
        assert table(scores)


def test_a_table_has_no_empty_column_and_says_once_what_protocols_share():
    kid = dataclasses.replace(_with(metric="kid", settings={}), name="kid", error=0.5, parts={}, notes=())
    fid = dataclasses.replace(SCORE, parts={}, notes=())
    lines = table([fid, kid]).splitlines()
    assert lines[0].split() == ["garden/test", "value", "+-"] and lines[2].split() == ["fid", "(down)", "3.500"]
    assert lines[4:] == [
        "protocol: 100 pictures of 64 px from one drawn caption a picture of garden/test (abc) against 100 real ones; seed 0; limner 1",
        "  fid: features garden 123 (bilinear); splits 10; a formula",
        "  kid: features garden 123 (bilinear); a formula",
    ]
    apart = table([fid, dataclasses.replace(kid, protocol=dataclasses.replace(kid.protocol, count=50))]).splitlines()
    assert [line.partition(" pictures")[0] for line in apart[4:]] == ["protocol: fid: 100", "protocol: kid: 50"]
    assert table([SCORE]).splitlines()[0].split() == ["garden/test", "value", "chance", "captions"]
