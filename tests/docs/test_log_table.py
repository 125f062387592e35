"""The table of log.jsonl in docs/training.md has every key that a run writes."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from shared.tiny_runs import tiny

from limner.training.run import train

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def keys_told() -> set[str]:
    """The keys of the table, with PLAYER and NAME where the log has names."""
    text = PAGE.read_text(encoding="utf-8")
    table = text[text.index("Each line of `log.jsonl`") :].partition("\n\n")[2].partition("\n\n")[0]
    return {key for line in table.splitlines()[2:] for key in re.findall(r"`([^`]+)`", line.split("|")[1])}


def test_every_key_of_a_log_is_in_the_table(tmp_path: Path) -> None:
    recipe = tiny("gan-cls", 4, 16, sample_every=2)
    evaluation = dataclasses.replace(recipe.evaluation, every=0.2, metrics="fid", count=4)
    train(dataclasses.replace(recipe, evaluation=evaluation), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    written, told = {key for line in lines for key in line}, keys_told()
    of_players: dict[str, set[str]] = {key.removesuffix("/gradient_norm"): set() for key in written if key.endswith("/gradient_norm")}
    for key in written:
        player, _, name = key.rpartition("/")
        if player in of_players:
            of_players[player].add(name)
        else:
            assert key in told or f"{player}/NAME" in told, key
    assert len(of_players) == 2 and "evaluation/fid" in written and "diversity/noises" in written
    common = set.intersection(*of_players.values())  # what the loop writes of each, and not the method
    assert common >= {"loss", "seconds"} and {f"PLAYER/{name}" for name in common} <= told
    assert {key for key in told if "/" not in key} <= written
