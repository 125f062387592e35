"""The one format of saved folders: every kind comes back as it was, and what cannot be read is refused in one line that says the fix."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shared.locks import owned_elsewhere

from limner.core import folder
from limner.core.errors import CheckpointError, LimnerError, SettingsError
from limner.core.folder import KINDS, MAKERS, Saved
from limner.core.trainable import Conditions
from limner.features.bouquet_judge import SceneJudge, load_scene_judge, save_scene_judge
from limner.features.garden_judge import AttributeJudge, load_judge, save_judge
from limner.interop.networks import load_networks, save_networks
from limner.matching.models.damsm import DAMSM, DAMSMSettings
from limner.matching.saving import load_matching, save_matching
from limner.methods.gan_cls import GANCLS, GANCLSSettings
from limner.model import Model, load, save_model
from limner.text.encoder import TextEncoder
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.text.saving import load_encoder, save_encoder

LOADERS: dict[str, Callable[[Path], object]] = {
    "method": load,
    "networks": load_networks,
    "matching": load_matching,
    "text": load_encoder,
    "judge": load_judge,
    "scene judge": load_scene_judge,
}
OTHER = {
    "method": "matching",
    "networks": "method",
    "matching": "text",
    "text": "judge",
    "judge": "scene judge",
    "scene judge": "networks",
}
"""For each kind, one that its loader does not take."""


@pytest.fixture(scope="module")
def made() -> Model:
    """A model that paints 16 px, untrained."""
    torch.manual_seed(0)
    settings = GANCLSSettings(noise_width=3, text_width=4, generator_channels=4, discriminator_channels=4)
    return Model(GANCLS(settings, Conditions(resolution=16, sentence_width=6)), encoder(), {"data": "test"})


def encoder() -> TextEncoder:
    return LSTMEncoder(Vocabulary(["a", "red", "bird"], 5), LSTMSettings(word_embedding=3, width=6)).eval()


def save(kind: str, out: Path, made: Model) -> object:
    """A folder of a kind, and what is in it."""
    if kind == "method":
        save_model(out, "gan-cls", made.method, made.encoder, {"data": "test"}, "# A card")
        return made
    if kind == "networks":
        save_networks(out, "gan-cls", made.method, ["discriminator"])
        return made.method
    if kind == "matching":
        settings = DAMSMSettings(pictures="trained", picture_channels=2, width=6, word_embedding=3, maximum_words=5)
        conditions = Conditions(resolution=32, sentence_width=6, word_width=6)
        model = DAMSM(settings, conditions, encoder()).eval()
        save_matching(out, "damsm", model, {"data": "test"}, "# A card")
        return model
    if kind == "text":
        save_encoder(made.encoder, out, "# A card")
        return made.encoder
    scenes = kind == "scene judge"
    attributes = {"colour": ("red", "blue"), "shape": ("round", "pointed")}
    judge = SceneJudge(attributes, "shape") if scenes else AttributeJudge(attributes)
    for value in judge.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half())  # as it is kept
    judge.freeze()
    save_scene_judge(judge, out, "# A card") if isinstance(judge, SceneJudge) else save_judge(judge, out, "# A card")
    return judge


@torch.inference_mode()
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_comes_back_as_it_was(kind: str, made: Model, tmp_path: Path) -> None:
    out, captions = tmp_path / "saved", ["a red bird", "a bird"]
    before = save(kind, out, made)
    after = LOADERS[kind](out)
    assert folder.kind_of(out) == kind
    assert sorted(path.name for path in out.iterdir()) == sorted({"config.json", "model.safetensors", "README.md"} - readme_less(kind))
    assert oct(os.stat(out / "model.safetensors").st_mode)[-3:] == "644"
    if isinstance(before, Model):
        assert isinstance(after, Model) and (after.pictures(captions, [0, 1], 3) == before.pictures(captions, [0, 1], 3)).all()
        assert after.about == {"data": "test"}
        assert torch.equal(load_encoder(out)(captions).sentence, before.encoder(captions).sentence)
    elif kind == "networks":
        method, players = after  # type: ignore[misc]
        expected = made.method.players()["discriminator"].module.state_dict()
        found = method.players()["discriminator"].module.state_dict()
        assert players == ["discriminator"] and all(torch.equal(found[name], value) for name, value in expected.items())
        assert all(name.startswith("method.discriminator.") for name in folder.read(out).tensors)
    else:
        assert isinstance(before, torch.nn.Module) and isinstance(after, type(before)) and not after.training
        expected, found = before.state_dict(), after.state_dict()
        assert expected.keys() == found.keys() and all(torch.equal(found[name], value) for name, value in expected.items())


def readme_less(kind: str) -> set[str]:
    return {"README.md"} if kind == "networks" else set()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_wrong_kind_is_refused_with_what_it_is_and_what_makes_the_right_one(kind: str, made: Model, tmp_path: Path) -> None:
    out = tmp_path / "saved"
    save(OTHER[kind], out, made)
    with pytest.raises(CheckpointError) as caught:
        LOADERS[kind](out)
    told = str(caught.value)
    assert told.startswith(f"{out} holds {KINDS[OTHER[kind]]}, not {KINDS[kind]}") and told.endswith(f": {MAKERS[kind]}")
    assert "\n" not in told


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(kind: str, value: float, made: Model, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "saved"
    save(kind, whole, made)
    saved = folder.read(whole)
    name = next(name for name, tensor in saved.tensors.items() if tensor.is_floating_point())
    tensors = {**saved.tensors, name: torch.full_like(saved.tensors[name], value)}
    parts = {part: {key.partition(".")[2]: own for key, own in tensors.items() if key.startswith(f"{part}.")} for part in parts_of(tensors)}
    unused = ("format", "version", "kind", "weights_sha256")
    folder.write(out, kind, {key: own for key, own in saved.config.items() if key not in unused}, parts)
    with pytest.raises(CheckpointError) as caught:
        LOADERS[kind](out)
    told = str(caught.value)
    assert told.startswith(f"'{name}' in {out / 'model.safetensors'} has values that are not finite") and "\n" not in told


def parts_of(tensors: dict[str, torch.Tensor]) -> set[str]:
    return {name.partition(".")[0] for name in tensors}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_damaged_is_refused_in_one_line(kind: str, made: Model, tmp_path: Path) -> None:
    out = tmp_path / "saved"
    save(kind, out, made)
    weights, description = out / "model.safetensors", out / "config.json"
    whole, config = weights.read_bytes(), json.loads(description.read_text(encoding="utf-8"))

    def refused(words: str, **changes: object) -> None:
        description.write_text(json.dumps(config | changes), encoding="utf-8")
        with pytest.raises(CheckpointError, match=words) as caught:
            LOADERS[kind](out)
        assert str(out) in str(caught.value) and "\n" not in str(caught.value)

    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused("is not the file its config.json speaks of .*: copy the folder again")
    weights.unlink()
    refused("cannot read .*model.safetensors .*: copy the folder again")
    weights.write_bytes(whole)
    refused("has version 99 of the format, this Limner reads version 2: use the Limner that wrote it", version=99)
    refused("does not describe .*: give a folder that", format="another")
    refused("does not describe .*: give a folder that", kind="picture")
    needed = {"judge": "attributes", "scene judge": "attributes", "text": "text"}.get(kind, "settings")
    refused("cannot read .* from .*: copy the folder again, or use the Limner that wrote it", **{needed: 3})
    if "text" in config:
        refused("cannot read a text encoder from .*there is no kind of text encoder 'later'.*: use the Limner", text={"kind": "later"})
    description.write_text("{")
    with pytest.raises(CheckpointError, match="cannot read .*config.json .*: copy the folder again"):
        LOADERS[kind](out)
    description.unlink()
    with pytest.raises(CheckpointError, match="has no config.json.*: give a run folder or a saved folder"):
        LOADERS[kind](out)


def test_weights_of_another_network_are_refused(made: Model, tmp_path: Path) -> None:
    """Their hash is right, so that only their names and shapes tell."""
    save("method", tmp_path / "whole", made)
    saved = folder.read(tmp_path / "whole")

    def refused(words: str, tensors: dict[str, torch.Tensor], kind: str = "method", **config: object) -> None:
        parts = {part: {name: value for name, value in tensors.items() if name.startswith(f"{part}.")} for part in ("method", "text")}
        plain = {part: {name.removeprefix(f"{part}."): value for name, value in held.items()} for part, held in parts.items()}
        kept = {name: value for name, value in saved.config.items() if name not in ("format", "version", "kind", "weights_sha256")}
        folder.write(tmp_path / "changed", kind, kept | config, plain)
        with pytest.raises(CheckpointError, match=words) as caught:
            LOADERS[kind](tmp_path / "changed")
        assert "\n" not in str(caught.value)

    first = next(name for name in saved.tensors if name.startswith("method.generator.") and name.endswith(".weight"))
    fewer = {name: value for name, value in saved.tensors.items() if name != first}
    refused("do not fit gan-cls", fewer)
    refused("do not fit gan-cls", saved.tensors | {"method.generator.more": torch.zeros(1)})
    refused("cannot read a model that paints captions", saved.tensors | {first: torch.zeros(7)})
    refused("do not fit gan-cls", fewer, kind="networks", players=["generator"])
    refused("cannot read networks alone", saved.tensors, kind="networks", players=["painter"])


def test_names(made: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="no shipped model or folder 'gardem': did you mean 'garden'"):
        load("gardem")
    for missing in (tmp_path / "not" / "there", Path("models/none")):
        with pytest.raises(CheckpointError, match=r"there is no folder .*: give a run folder, a model folder or a shipped name \(garden"):
            load(missing)
    assert set(folder.shipped("method")) == {"garden", "garden-attention", "garden-fast"} and folder.shipped("judge") == ["garden-judge"]
    assert folder.kind_of("garden") == "method" and folder.kind_of("gardem") is None and folder.kind_of(tmp_path) is None
    with folder.located("garden-fast", "method") as found:
        assert folder.describe(found, "method")["name"] == "gan-cls"
    save("text", tmp_path / "garden", made)  # what lies in the way of a shipped name is meant
    assert folder.kind_of("garden") == "text"
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("method: gan-cls\n")
    with pytest.raises(CheckpointError, match="has no model yet: .* go on with `limner train --resume`"):
        load(run)
    save("method", run / "model", made)
    assert load(run).resolution == 16


def test_a_folder_is_written_whole_or_not_at_all(made: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "saved"
    save("text", out, made)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(CheckpointError, match=f"cannot write a text encoder alone to {out} .No space left on device.: free some space"):
        save("text", out, made)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before and [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_nothing_in_a_folder_is_executed(made: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "saved"
    save("method", out, made)
    for name in ("mine.py", "gan_cls.py", "__init__.py"):
        (out / name).write_text("open('executed', 'w').close()\n", encoding="utf-8")
    assert load(out).resolution == 16
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    for name, source in (("mine", "mine.py"), (str(out / "mine.py"), "mine.py"), ("mine", "package 1.2"), ("../mine", None)):
        (out / "config.json").write_text(json.dumps(config | {"name": name, "source": source}), encoding="utf-8")
        with pytest.raises(LimnerError, match="install package 1.2" if source == "package 1.2" else "mine") as caught:
            load(out)
        assert isinstance(caught.value, CheckpointError)
    # A pickle in place of the weights is not read as one.
    (out / "model.safetensors").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    config["weights_sha256"] = folder.sha256(out / "model.safetensors")
    (out / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match="cannot read .*model.safetensors"):
        load(out)
    assert not Path("executed").exists()


def test_parts_do_not_mix() -> None:
    tensors = {"text.weight": torch.zeros(1), "text_2.weight": torch.ones(1), "method.text.weight": torch.ones(2)}
    saved = Saved(Path("saved"), "method", {"weights_sha256": "0123456789abcdef"}, tensors)
    assert list(saved.part("text")) == ["weight"] and list(saved.part("method")) == ["text.weight"]
    assert saved.content_hash == "0123456789ab"


def test_a_link_to_a_device_is_not_read_without_end(made: Model, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        save("method", tmp_path / name, made)
        (tmp_path / name / name).unlink()
        (tmp_path / name / name).symlink_to("/dev/zero")
        with pytest.raises(CheckpointError, match=f"{name} is not a plain file: copy the folder again"):
            load(tmp_path / name)


def test_a_damaged_card_harms_no_painting(made: Model, tmp_path: Path) -> None:
    save("method", tmp_path / "saved", made)
    (tmp_path / "saved" / "README.md").write_bytes(b"# A \xff card")
    assert load(tmp_path / "saved").card == "# A \ufffd card"


def test_a_folder_that_is_replaced_while_it_is_read_is_read_again(made: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training writes its model between the reading of the description and that of the weights."""
    out, honest, written = tmp_path / "saved", folder.sha256, list[Path]()
    save("text", out, made)

    def replacing(path: Path) -> str:
        if not written and path.parent == out:
            written.append(path)
            save("method", out, made)
        return honest(path)

    monkeypatch.setattr(folder, "sha256", replacing)
    assert folder.read(out, "text", "method").kind == "method" and written


def test_a_reader_leaves_what_a_training_is_writing(made: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two renames with which a model is replaced it waits; what a process that is gone has left, it puts right."""
    run, pauses = tmp_path / "run", []
    run.mkdir()
    (run / "recipe.yaml").write_text("method: gan-cls\n")
    save("method", run / "model", made)

    def replaced(seconds: float) -> None:
        pauses.append(seconds)
        if not (run / "model").exists():
            (run / ".model.new").rename(run / "model")

    with owned_elsewhere(run):
        (run / ".model.new").mkdir()
        assert load(run).resolution == 16
        assert (run / ".model.new").is_dir()
        (run / ".model.new").rmdir()
        (run / "model").rename(run / ".model.old")
        save("method", run / ".model.new", made)
        monkeypatch.setattr("time.sleep", replaced)
        assert load(run).resolution == 16 and pauses
        assert (run / ".model.old").is_dir()
    (run / "model").rename(run / ".model.new")
    assert load(run).resolution == 16
    assert sorted(path.name for path in run.iterdir()) == ["model", "recipe.yaml"]
