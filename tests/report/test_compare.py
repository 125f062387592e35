"""Comparisons: who is one entry, what may be ranked, and what the page holds."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from limner.core.errors import CheckpointError, DataError, SettingsError
from limner.core.recipes import from_preset, load_recipe, save_recipe
from limner.data.prepare import prepare
from limner.metrics.scoring.protocol import Part, Protocol, Score, write_scores
from limner.model import Model, save_model
from limner.report import plots
from limner.report.compare import write_comparison
from limner.report.cost import Held, cost
from limner.report.entries import read_contender, read_entries
from limner.report.intervals import critical, estimate, estimates
from limner.report.plots import AXES, course
from limner.report.standings import standings
from limner.report.tables import score_tables

PROTOCOL = Protocol(
    metric="fid",
    data="garden",
    split="test",
    fingerprint="f1",
    count=512,
    reference_count=512,
    captions="one",
    resolution=16,
    seed=0,
    implementation="limner",
)
Make = Callable[..., Path]


def score(value: float, metric: str = "fid", **protocol: Any) -> Score:
    return Score(
        name=metric, value=value, higher_is_better=metric != "fid", protocol=dataclasses.replace(PROTOCOL, metric=metric, **protocol)
    )


@pytest.fixture
def make(tmp_path: Path, tiny_model: Model) -> Make:
    """Writes a run folder: `make("a", seed=1, scores=[...], learning_rate=1e-3)`."""

    def run(name: str, *, seed: int = 0, scores: list[Score] | None = None, log: list[dict[str, Any]] | None = None, **method: Any) -> Path:
        folder = tmp_path / name
        recipe = from_preset("gan-cls", "cpu", "garden", 16)
        settings = dataclasses.replace(recipe.method_settings, generator_channels=4, **method)
        recipe = dataclasses.replace(recipe, method_settings=settings, training=dataclasses.replace(recipe.training, seed=seed))
        about = {"data": "garden", "fingerprint": "f0", "seed": seed, "steps": 10, "images": 320, "seconds": 12}
        folder.mkdir()
        save_recipe(recipe, folder / "recipe.yaml")
        save_model(folder / "model", "gan-cls", tiny_model.method, tiny_model.encoder, about, "card")
        if scores:
            write_scores(folder / "scores.json", scores)
        if log:
            (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
        return folder

    return run


def logged(phase: str, step: int, **figures: float) -> dict[str, Any]:
    return {"phase": phase, "step": step, "total_step": step, "images": 32 * step, "epoch": 0.1, "seconds": 60.0 * step, **figures}


def test_critical_values_are_those_of_the_tables() -> None:
    assert [critical(degrees) for degrees in (1, 2, 4, 9, 30)] == pytest.approx([12.7062, 4.3027, 2.7764, 2.2622, 2.0423], abs=1e-4)


def test_an_interval_needs_two_seeds_and_holds_the_mean() -> None:
    assert estimate([3.0]).margin is None
    found = estimate([1.0, 2.0, 4.0])  # deviation 1.5275, over the root of 3, times 4.3027
    assert (found.mean, found.margin, found.runs) == (pytest.approx(7 / 3), pytest.approx(3.7946, abs=1e-4), 3)
    assert (
        found.overlaps(estimate([9.0])) is None and found.overlaps(estimate([5.9, 6.1, 6.0])) and not found.overlaps(estimate([9.0, 9.1]))
    )


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(5.0, 2.0, (2000, 3))
    held = [abs(found.mean - 5.0) <= (found.margin or 0) for found in (estimate(row.tolist()) for row in draws)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_seeds_of_all_entries_tell_the_spread_together() -> None:
    alone, three, empty = estimates([[7.0], [1.0, 2.0, 4.0], []])
    assert alone is not None and three is not None and empty is None
    assert three.margin == pytest.approx(3.7946, abs=1e-4) and alone.margin == pytest.approx(3.7946 * 3**0.5, abs=1e-3)
    (first, second) = estimates([[1.0, 3.0], [10.0, 14.0]])  # squares 2 and 8 by two degrees of freedom: a deviation of the root of 5
    assert first and second and first.margin == second.margin == pytest.approx(4.3027 * (5 / 2) ** 0.5, abs=1e-3)
    (first, second) = estimates([[1.0, 3.0], [10.0, 14.0]], relative=True)
    assert first and second and first.margin and second.margin == pytest.approx(6 * first.margin)
    (both,) = estimates([[0.4, 0.6]], [[0.03, 0.05]])
    assert both and both.margin == pytest.approx(((12.7062 * 0.1) ** 2 + (1.9623 * 0.04) ** 2) ** 0.5, abs=1e-4)
    assert [one and one.margin for one in estimates([[1.0], [2.0]])] == [None, None]
    broken, whole = estimates([[1.0, float("nan")], [1.0, 2.0]])
    assert broken and np.isnan(broken.mean) and broken.margin is None and whole and whole.margin == pytest.approx(12.7062 * 0.5, abs=1e-3)


def test_pooled_intervals_hold_the_truth_as_often_as_they_say_and_are_far_narrower() -> None:
    random = np.random.default_rng(0)
    held, widths, alone = [], [], []
    for _ in range(400):
        truths = random.uniform(0, 10, 6)
        rows = [random.normal(truth, 2.0, 2).tolist() for truth in truths]
        found = [one for one in estimates(rows) if one]
        held += [abs(one.mean - truth) <= (one.margin or 0) for one, truth in zip(found, truths, strict=True)]
        widths += [one.margin or 0 for one in found]
        alone += [estimate(row).margin or 0 for row in rows]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015) and np.mean(widths) < np.mean(alone) / 3


def test_runs_that_differ_in_their_seed_alone_are_one_entry(make: Make) -> None:
    runs = [make("b", seed=1), make("other", captions=4), make("a", seed=0)]
    entries = read_entries(runs)
    assert [entry.name for entry in entries] == [
        "a, b (gan-cls, generator-channels 4)",
        "other (gan-cls, captions 4, generator-channels 4)",
    ]
    assert [run.path.name for run in entries[0].runs] == ["a", "b"]


def test_pictures_are_told_apart_by_their_fingerprint_and_not_by_their_path(make: Make) -> None:
    first, again, other = make("first"), make("again", seed=1), make("other", seed=2)
    for run, data, fingerprint in ((first, "p/en", "f0"), (again, "./p/en", "f0"), (other, "p/en", "f1")):
        recipe = load_recipe(run / "recipe.yaml")
        save_recipe(dataclasses.replace(recipe, data=data), run / "recipe.yaml")
        config = json.loads((run / "model" / "config.json").read_text())
        config["about"] |= {"data": data, "fingerprint": fingerprint}
        (run / "model" / "config.json").write_text(json.dumps(config))
    entries = read_entries([first, again, other])
    assert [[run.path.name for run in entry.runs] for entry in entries] == [["first", "again"], ["other"]]
    assert [entry.name for entry in entries] == [
        "first, again (gan-cls, generator-channels 4, fingerprint f0)",
        "other (gan-cls, generator-channels 4, fingerprint f1)",
    ]


def test_an_entry_bears_the_names_that_its_folders_were_given(make: Make, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old, new = make("old/fast", captions=3), make("new/fast", captions=4)
    seeds = [make(f"seed{seed}", seed=seed) for seed in range(4)]
    entries = read_entries([old, new, *seeds, make("slow", captions=2) / "model"])
    assert [entry.name.partition(" (")[0] for entry in entries] == ["old/fast", "new/fast", "seed0 and 3 others", "slow/model"]
    assert all("gan-cls, " in entry.name for entry in entries)


def test_names_in_scripts_that_the_drawing_has_no_font_for_make_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = plots._svg(AXES[0], {"花 – वन": [[(0.0, 1.0), (1.0, 2.0)]], "b": [[(0.0, 1.0)]]}, ["花 – वन", "b"], "Two lines.")
    assert "花 – वन" in drawn


def test_what_a_text_encoder_took_is_no_part_of_what_the_method_took(make: Make) -> None:
    log = [logged("text", 100), logged("gan", 1, fid=9.0), logged("gan", 2, fid=8.0), logged("style", 50)]
    (entry, _) = read_entries([make("a", log=log), make("b", captions=4)])
    assert (entry.runs[0].seconds, entry.runs[0].images) == (120.0, 64.0)
    assert course(entry.runs[0].log, "fid", AXES[0]) == [(1.0, 9.0), (2.0, 8.0)]


def test_entries_that_somebody_names_are_taken_at_their_word(make: Make) -> None:
    one, two, three = make("a"), make("b", seed=1), make("c", captions=4)
    entries = read_entries([one, two, three], {one: "plain", two: "plain", three: "more captions"})
    assert [(entry.name, len(entry.runs)) for entry in entries] == [("plain", 2), ("more captions", 1)]


def test_unlike_protocols_never_share_a_column(make: Make) -> None:
    runs = [
        make("a", scores=[score(30.0), score(0.8, "faithfulness")]),
        make("b", seed=1, scores=[score(20.0), score(0.6, "faithfulness")]),
        make("c", captions=4, scores=[score(10.0, count=100)]),
        make("d", captions=3),
    ]
    whole, small = standings(read_entries(runs))
    assert [column.score.name for column in whole.columns] == ["fid", "faithfulness"]
    fid = whole.columns[0]
    assert fid.cells[0] is not None and fid.cells[0].mean == 25.0 and fid.cells[1:] == [None, None]
    assert fid.best is None, "an entry alone is no best"
    assert whole.elsewhere == {1: "count: 512 or 100", 2: ""}
    assert [cell is not None for cell in small.columns[0].cells] == [False, True, False]


def test_the_best_is_that_of_its_column_and_near_ones_are_told(make: Make) -> None:
    runs = [make(f"a{seed}", seed=seed, scores=[score(value)]) for seed, value in enumerate((30.0, 31.0, 32.0))]
    runs += [make(f"b{seed}", seed=seed, captions=4, scores=[score(value)]) for seed, value in enumerate((29.0, 30.0, 30.5))]
    runs += [make(f"c{seed}", seed=seed, captions=3, scores=[score(value)]) for seed, value in enumerate((60.0, 61.0, 62.0))]
    (table,) = standings(read_entries(runs))
    assert table.order == [1, 0, 2] and table.columns[0].best == 1
    assert [table.columns[0].as_good(place) for place in range(3)] == [True, False, False]


def test_a_figure_that_is_no_merit_has_no_best(make: Make) -> None:
    (table,) = standings(read_entries([make("a", scores=[score(3.0, "is")]), make("b", captions=4, scores=[score(9.0, "is")])]))
    assert table.columns[0].best is None


def test_a_course_goes_on_from_phase_to_phase(make: Make) -> None:
    log = [logged("one", 1), logged("one", 2, fid=9.0), logged("two", 1, fid=8.0)]
    (entry, _) = read_entries([make("a", log=log), make("b", captions=4)])
    assert course(entry.runs[0].log, "fid", AXES[0]) == [(2.0, 9.0), (3.0, 8.0)]
    assert course(entry.runs[0].log, "fid", AXES[1]) == [(0.064, 9.0), (0.096, 8.0)]
    assert (entry.runs[0].seconds, entry.runs[0].images) == (180.0, 96.0)


def test_memory_is_counted_while_tensors_are_there() -> None:
    kept = torch.zeros(1000)
    with Held() as held, torch.inference_mode():
        first = kept + 1
        del first
        second = kept + 2
        third = second.view(10, 100) * 2
    assert held.most == 8000 and held.now == 8000 and third.shape == (10, 100)


def test_what_paints_is_counted_apart(tiny_model: Model) -> None:
    found = cost(tiny_model, ["a red flower"])
    painter = sum(value.numel() for value in tiny_model.method.players()["generator"].module.parameters())
    assert found.painting == painter < found.all
    assert found.bytes[8] > found.bytes[1] > 4 * (found.painting + found.text) and min(found.seconds.values()) > 0


class Structure(HTMLParser):
    """What a page has that eyes do not see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [values for name, values in self.tags if name == tag]


def test_the_page_holds_everything_and_needs_nothing(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    parts = {"colour": Part(value=0.9321, chance=0.125)}
    good = dataclasses.replace(score(0.7, "faithfulness"), parts=parts, chance=0.25)
    log = [logged("gan", step, **{"diversity/noises": 0.1, "diversity/captions": 1.0}) for step in (1, 2, 3)]
    runs = [make("a<b>", scores=[good], log=log), make("b", seed=1, scores=[good]), make("c", captions=4)]
    page = write_comparison(runs, tmp_path / "out", count=2, resume_note="1 of 4 runs is to do").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "compare.png").stat().st_size > 1000
    shown = (
        "gan-cls, captions 4, generator-channels 4",
        "70.0 %",
        "93.2 %",
        "1 of 4 runs is to do",
        "no scores",
        "real picture",
        "minutes of training",
    )
    assert [text for text in shown if text not in page] == []
    assert f"limner evaluate {runs[2]} --metrics faithfulness --split test --count 512 --seed 0" in page
    assert f"limner compare {runs[0]} {runs[1]} {runs[2]} --seed 0 --out DIR --count 2" in html.unescape(page).replace("'", "")
    assert "--data" not in page
    page = write_comparison(runs, tmp_path / "out", count=2, data="garden").read_text(encoding="utf-8")
    assert f"limner compare {runs[0]} {runs[1]} {runs[2]} --seed 0 --out DIR --count 2 --data garden" in html.unescape(page).replace(
        "'", ""
    )
    assert good.protocol.line() in page and "<b>." not in page and "a<b>" not in page
    assert not re.search(r'(src|href)="(?!data:|#)|url\((?!#)|@import', page), "the page asks for something outside itself"
    found = Structure()
    found.feed(page)
    pictures = [values["alt"] or "" for values in found.all("img")]
    assert len(pictures) == 2 * 2 * 2 + 2 and len(set(pictures)) == len(pictures)
    assert all(values.get("scope") for values in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table"))
    assert all(values.get("aria-label") for values in found.all("svg")) and found.all("svg")
    regions = [values for values in found.all("div") if "scroll" in (values.get("class") or "")]
    assert regions and all(values["role"] == "region" and values["tabindex"] == "0" and values["aria-label"] for values in regions)
    names = [values["id"] for _, values in found.tags if values.get("id")]
    assert len(names) == len(set(names)), "two things of the page have one name"


def test_the_command_for_missing_scores_names_metrics_and_their_network(make: Make) -> None:
    names = ("kid", "precision", "recall", "psnr", "story-consistency")
    scores = [score(0.5, name, features=None if name == "psnr" else "fid-inception") for name in names]
    entries = read_entries([make("a", scores=scores), make("b", captions=4)])
    asked = "--metrics kid,prdc,psnr,story-faithfulness --features fid-inception --split test --count 512 --seed 0"
    assert f"{entries[1].runs[0].path} {asked}</pre>" in html.unescape(score_tables(entries))


def test_what_files_say_is_text(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    evil = r"<q>\1$x^$"
    log = [logged("gan", step, **{"diversity/noises": 0.1, "diversity/captions": 1.0}) for step in (1, 2)]
    runs = [make(evil, scores=[score(0.7, "$(rm -r .)<q>")], log=log), make("b", seed=1, log=log, captions=4)]
    described = runs[0] / "model" / "config.json"
    described.write_text(described.read_text().replace('"seed": 0', '"seed": "<q>0"'))
    page = write_comparison(runs, tmp_path / "out", captions=["a red flower"]).read_text(encoding="utf-8")
    assert "<q>" not in page and "<td>&lt;q&gt;0</td>" in page
    assert re.search(r'aria-label="[^"]*&lt;q&gt;\\1\$x\^\$[^"]* ends at', page)
    assert "--metrics '$(rm -r .)<q>' --split test" in html.unescape(page)


def test_without_a_plotting_library_the_rest_is_there(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "plotting", lambda: False)
    runs = [make("a", log=[logged("gan", 1, **{"diversity/noises": 0.1})]), make("c", captions=4)]
    page = write_comparison(runs, tmp_path / "out", captions=["a red flower"]).read_text(encoding="utf-8")
    assert "pip install &#x27;limner[plots]&#x27;" in page and "a red flower" in page and "<svg" not in page


def test_what_cannot_be_compared_is_refused(make: Make, tmp_path: Path) -> None:
    one, two = make("a"), make("b", captions=4)
    for runs, error, message in (
        ([one], SettingsError, "at least two"),
        ([one, one], SettingsError, "given twice"),
        ([one, tmp_path / "none"], CheckpointError, "there is no folder"),
        ([one, make("again")], SettingsError, "the same settings and seed 0"),
    ):
        with pytest.raises(error, match=message):
            write_comparison(runs, tmp_path / "out")
    with pytest.raises(SettingsError, match="knows none of the words"):
        write_comparison([one, two], tmp_path / "out", captions=["zzz"])
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        Image.new("RGB", (16, 16), (60 * number, 0, 0)).save(tmp_path / "pictures" / f"{number}.png")
    prepare([tmp_path / "pictures"], tmp_path / "bare", resolution=16, validation=0, test=0.5, uncaptioned=True)
    with pytest.raises(DataError, match="the test split of bare has no captions to paint: give captions of your own: --captions, or"):
        write_comparison([one, two], tmp_path / "out", data=str(tmp_path / "bare"))
    (one / "recipe.yaml").write_text((one / "recipe.yaml").read_text().replace("data: garden", f"data: {tmp_path}"))
    with pytest.raises(SettingsError, match="give captions of your own: --captions"):
        write_comparison([one, two], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "holds"), [("garden-text", "a text encoder alone"), ("garden-judge", "a judge of garden attributes")])
def test_what_does_not_paint_cannot_be_compared(name: str, holds: str) -> None:
    with pytest.raises(CheckpointError, match=f"holds {holds}, not a model that paints captions: `limner train METHOD`"):
        read_contender(Path(name))


def test_of_stories_first_sentences_are_painted() -> None:
    from types import SimpleNamespace

    from limner.data.garden.stories import Stories
    from limner.report.gallery import drawn_captions

    asked = drawn_captions([SimpleNamespace(resolution=16)], 3, seed=0, data="garden-stories")  # type: ignore[list-item]
    world = Stories("test", length=6)
    firsts = {caption for story in range(6) for caption in world.captions(4 * story)}
    assert len(asked.captions) == len(asked.real) == 3 and set(asked.captions) <= firsts
