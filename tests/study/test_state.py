"""Which of a run's scores a study takes: those of its metrics, under its protocol. And how far a run has come by its log."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from limner.metrics.scoring.protocol import Protocol, Score
from limner.report.phases import passed
from limner.study.plan import Planned, plan
from limner.study.results import Result, _tables, means
from limner.study.settings import Budget, Evaluation, Study, StudyEntry
from limner.study.state import Course, _holds, asked_for, course

EVALUATION = Evaluation(metrics=("prdc", "ap", "psnr"), split="test", count=50, features="vgg16=file", matching="runs/words")
NETWORKS = {
    **dict.fromkeys(("precision", "recall", "density", "coverage"), "vgg16"),
    **dict.fromkeys(("ap", "top-1"), "DAMSM of words"),
    "psnr": None,
}


def score(name: str, features: str | None, **changes: object) -> Score:
    protocol = Protocol(
        metric=name,
        data="garden",
        split="test",
        fingerprint="f",
        count=50,
        reference_count=50,
        captions="c",
        resolution=16,
        seed=0,
        implementation="i",
        features=features,
    )
    return Score(name=name, value=1.0, protocol=dataclasses.replace(protocol, **changes), higher_is_better=True)  # type: ignore[arg-type]


def test_all_scores_of_a_metric_are_asked_for() -> None:
    scores = [score(name, features) for name, features in NETWORKS.items()]
    assert asked_for([*scores, score("fid", "vgg16")], EVALUATION) == scores
    assert _holds(scores, EVALUATION) and not _holds([one for one in scores if one.name != "precision"], EVALUATION)


def test_scores_of_another_protocol_are_not() -> None:
    others = [
        score("recall", "garden"),
        score("coverage", "vgg16", split="train"),
        score("density", "vgg16", seed=1),
        score("top-1", "DAMSM of others"),
        score("ap", "DAMSM of words", count=51),
    ]
    assert asked_for(others, EVALUATION) == []
    assert asked_for(others[:1], dataclasses.replace(EVALUATION, features=None)) == others[:1]
    assert asked_for(others[3:4], dataclasses.replace(EVALUATION, matching=None)) == others[3:4]
    diversity = [score("diversity", "garden"), score("faithfulness", "garden")]  # which the judge decides, whatever --features says
    assert asked_for(diversity, dataclasses.replace(EVALUATION, metrics=("faithfulness",))) == diversity


def test_a_name_with_a_bar_stays_in_its_cell(tmp_path: Path) -> None:
    study = Study(
        entries=(StudyEntry(method="gan-cls", name="a|b"), StudyEntry(method="gan-cls")), budget=Budget(images=8), data=("garden",)
    )
    results = [Result(run, Course(tmp_path), [score("fid", None)], spent=True) for run in plan(study, tmp_path)]
    assert [line.replace(r"\|", "").count("|") for line in _tables(study, results, means(results)).splitlines()] == [7, 7, 7, 7]
    assert r"| a\|b |" in _tables(study, results, means(results))


@pytest.mark.parametrize("act", ["act", "stage"])
def test_a_methods_own_phase_counts_whatever_it_is_called(tmp_path: Path, act: str) -> None:
    """CI-GAN's last phase is called text, as that of a text encoder is, which has no part in the budget."""
    lines = [
        {"phase": phase, act: of, "step": step, "images": 4 * step, "seconds": 1.0 * step, "core_seconds": 2.0 * step}
        | {"images_per_second": 10.0 * step}
        for of, phase, step in [("text", "text", 7), ("method", "gan", 10), ("method", "inversion", 20), ("method", "text", 30)]
        + [("style", "style", 5)]
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    reached = course(tmp_path)
    assert (reached.images, reached.seconds, reached.core_seconds) == (240, 60.0, 120.0)
    assert reached.left(Budget(images=480)) == 60.0 and not reached.spent(Budget(images=480)) and reached.spent(Budget(images=240))
    assert (reached.phase, reached.step, reached.images_per_second) == ("style", 5, 50.0)
    steps = {name: line["step"] for name, line in reached.named().items()}
    assert steps == {"text/text": 7, "gan": 10, "inversion": 20, "method/text": 30, "style": 5}
    run = Planned("run", StudyEntry(method="ci-gan"), None, tmp_path, tmp_path)  # type: ignore[arg-type]
    assert Result(run, reached, [], spent=True).measures()["", "steps"] == 60
    told = [(phase.name, phase.steps) for phase in passed(lines)]
    assert told == [("text", 7), ("gan", 10), ("inversion", 20), ("text", 30), ("style", 5)]


def test_logs_from_before_acts_were_written_go_by_the_names_of_phases(tmp_path: Path) -> None:
    lines = [{"phase": name, "step": 2, "images": 8, "seconds": 1.0, "images_per_second": 8.0} for name in ("text", "gan", "style")]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert course(tmp_path).images == 8 and list(course(tmp_path).named()) == ["text", "gan", "style"]
