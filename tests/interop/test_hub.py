"""Models on the Hugging Face Hub, which is a folder here."""

from __future__ import annotations

import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limner
from limner.core.errors import CheckpointError, SettingsError
from limner.metrics.scoring.protocol import Protocol, Score, write_scores
from limner.model import Model


class FakeHub(types.ModuleType):
    """huggingface_hub, as far as it is called, with its repositories in a folder."""

    def __init__(self, place: Path) -> None:
        super().__init__("huggingface_hub")
        self.place, self.calls = place, list[dict[str, Any]]()

    def HfApi(self, token: str | None = None) -> FakeHub:  # noqa: N802
        self.calls.append({"token": token})
        return self

    def create_repo(self, repository: str, **given: Any) -> None:
        if repository.startswith("stranger/"):
            raise RuntimeError("403 Forbidden\nyou are not stranger")
        self.calls.append(given)

    def upload_folder(self, *, folder_path: str, repo_id: str, commit_message: str) -> None:
        assert commit_message
        shutil.copytree(folder_path, self.place / repo_id)

    def snapshot_download(self, name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.calls.append({"revision": revision, "patterns": allow_patterns})
        if not (self.place / name).exists():
            raise RuntimeError(f"404: there is no {name}")
        return str(self.place / name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    made = FakeHub(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", made)
    return made


def test_a_model_goes_up_with_its_card_and_comes_down(hub: FakeHub, tiny_model: Model) -> None:
    address = limner.push(tiny_model, "me/flowers", licence="cc-by-4.0", private=True, token="secret")
    assert address == "https://huggingface.co/me/flowers"
    assert hub.calls == [{"token": "secret"}, {"private": True, "exist_ok": True}]
    card = (hub.place / "me/flowers/README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: cc-by-4.0\nlibrary_name: limner\npipeline_tag: text-to-image\n")
    assert "- Data: garden" in card and "- Memorisation: not measured (`limner evaluate RUN --metrics memorisation`)" in card
    again = limner.load("hf://me/flowers@main")
    assert np.array_equal(again("a red flower", output="numpy"), tiny_model("a red flower", output="numpy"))
    assert hub.calls[-1] == {"revision": "main", "patterns": ["model.safetensors", "config.json", "README.md"]}
    limner.push(again, "me/again", licence="mit")
    twice = (hub.place / "me/again/README.md").read_text(encoding="utf-8")
    assert twice.count("license:") == twice.count("- Memorisation:") == 1 and "- Licence: mit" in twice


def test_a_folder_goes_up_with_what_was_measured_of_it(hub: FakeHub, tiny_model: Model, tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "kept")
    (tmp_path / "kept" / "notes.txt").write_text("private")
    protocol = Protocol(
        metric="memorisation",
        data="garden",
        split="test",
        fingerprint="0",
        count=200,
        reference_count=200,
        captions="one",
        resolution=16,
        seed=0,
        implementation="limner",
        features="garden",
    )
    write_scores(tmp_path / "kept" / "scores.json", [Score(name="memorisation", value=0.025, protocol=protocol, higher_is_better=False)])
    limner.push(tmp_path / "kept", "me/flowers", licence="mit")
    assert {path.name for path in (hub.place / "me/flowers").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    assert "- Memorisation: 2.5% of 200 pictures are nearer" in (hub.place / "me/flowers/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("repository", "licence", "message"),
    [
        ("flowers", "mit", "'flowers' names no repository: give OWNER/NAME"),
        ("me/flowers", " ", "a model is shared under a licence"),
        ("stranger/flowers", "mit", r"the Hub did not take stranger/flowers \(403 Forbidden\)"),
    ],
)
def test_what_cannot_go_up_is_refused(repository: str, licence: str, message: str, hub: FakeHub, tiny_model: Model) -> None:
    with pytest.raises(SettingsError, match=message):
        limner.push(tiny_model, repository, licence=licence)
    assert not hub.place.exists()


def test_what_cannot_come_down_is_said(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="the Hub did not give me/none"):
        limner.load("hf://me/none")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SettingsError, match=r"pip install huggingface_hub, or the extra limner\[hub\]"):
        limner.load("hf://me/none")
