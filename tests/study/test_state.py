"""Which of a run's scores a study takes: those of its metrics, under its protocol."""

from __future__ import annotations

import dataclasses

from limner.metrics.scoring.protocol import Protocol, Score
from limner.study.settings import Evaluation
from limner.study.state import _holds, asked_for

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
