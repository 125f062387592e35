"""Methods from outside the package: which files are taken, what is executed, and what is said where something is wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import limner
from limner import CheckpointError, SettingsError, methods
from limner.cli.main import main
from limner.core import registry
from limner.model import Model, save_model

METHOD = """
from limner.methods.gan_cls import GANCLS

class Mine(GANCLS):
    title = "Mine"
"""


@pytest.fixture(autouse=True)
def nothing_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setenv(registry.VARIABLE, "")
    monkeypatch.chdir(tmp_path)


def written(name: str, text: str = METHOD) -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_known_by_its_name_and_runs_when_asked_for() -> None:
    path = written("my_method.py", "open('executed', 'w').close()\n" + METHOD)
    assert methods.register_file(path) == "my-method"
    assert "my-method" in methods.names() and "my-method" not in methods.built_in()
    assert methods.source("my-method") == "my_method.py" and methods.source("gan-cls") is None
    assert not Path("executed").exists()
    made = methods.get("my-method")
    assert Path("executed").exists()
    assert made.title == "Mine" and methods.get("my-method") is made


def test_a_file_that_is_given_again_is_read_again() -> None:
    methods.register_file(written("my_method.py"))
    assert methods.get("my-method").title == "Mine"
    methods.register_file(written("my_method.py", METHOD.replace('"Mine"', '"Changed since"')))
    assert methods.get("my-method").title == "Changed since"


def test_files_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [written("one.py"), written("two.py")]
    monkeypatch.setenv(registry.VARIABLE, os.pathsep.join(map(str, files)))
    assert {"one", "two"} <= {*methods.names()}
    assert methods.get("two").title == "Mine"


def test_with_gives_a_file_to_any_verb(capsys: pytest.CaptureFixture[str]) -> None:
    written("my_method.py")
    written("other.py")
    assert main(["--with", "my_method.py", "--with", "other.py", "methods"]) == 0
    shown = capsys.readouterr().out
    assert "from outside Limner:\n" in shown and "  my_method.py\n" in shown and "  other.py\n" in shown
    assert os.environ[registry.VARIABLE] == os.pathsep.join(["my_method.py", "other.py"])  # for processes that it starts


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("my_method.py", "x = 1", "my_method.py holds no method: define one class that is derived from limner.Method"),
        ("my_method.py", METHOD + METHOD.replace("Mine", "Two"), r"my_method.py holds 2 methods \(Mine, Two\)"),
        ("my_method.py", METHOD + "    presets = {}", "Mine of my_method.py has no preset 'cpu'"),
        ("my_method.py", "import limner\nclass Mine(limner.Method):\n    title = ''", "has no Settings, paper, presets"),
    ],
)
def test_a_file_without_a_whole_method_is_refused(name: str, text: str, message: str) -> None:
    method = methods.register_file(written(name, text))
    with pytest.raises(SettingsError, match=message):
        methods.get(method)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gan_cls.py", "cannot be a method 'gan-cls': Limner has one of that name"),
        ("clip.py", "cannot be a method 'clip'"),
        ("method.txt", "there is no Python file method.txt"),
        ("missing.py", "there is no Python file missing.py"),
    ],
)
def test_a_file_that_cannot_be_one_is_refused_and_forgotten(name: str, message: str) -> None:
    if name != "missing.py":
        written(name)
    with pytest.raises(SettingsError, match=message):
        methods.register_file(name)
    assert methods.get("gan-cls").__module__ == "limner.methods.gan_cls"
    assert methods.names() == methods.built_in()


def test_a_mistake_in_the_file_keeps_its_traceback() -> None:
    methods.register_file(written("my_method.py", "1 / 0"))
    for _ in range(2):  # what failed half-way is not taken for whole
        with pytest.raises(ZeroDivisionError):
            methods.get("my-method")


def test_an_installed_package_names_its_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = tmp_path / "garden_methods-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: garden-methods\nVersion: 1.2\n", encoding="utf-8")
    points = "mine = garden_methods_module:Mine\nnot-one = garden_methods_module:GANCLS.title\ngan-cls = garden_methods_module:Mine\n"
    (metadata / "entry_points.txt").write_text(f"[limner.methods]\n{points}", encoding="utf-8")
    written("garden_methods_module.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "mine" in methods.names() and methods.source("mine") == "garden-methods 1.2"
    assert methods.get("mine").title == "Mine"
    assert methods.get("gan-cls").__module__ == "limner.methods.gan_cls"  # Limner's own names stay its own
    with pytest.raises(SettingsError, match="the entry point 'not-one' of garden-methods 1.2 is not a method"):
        methods.get("not-one")


def test_nothing_in_a_model_folder_is_executed(tiny_model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model(folder, "gan-cls", tiny_model.method, tiny_model.encoder, {"data": "test"}, "# A card")
    written(str(folder / "mine.py"), "open('executed', 'w').close()\n" + METHOD)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["name"] == "gan-cls" and "source" not in config
    for name, source in (("mine", "mine.py"), (str(folder / "mine.py"), "mine.py"), ("mine", "garden-methods 1.2"), ("../mine", None)):
        (folder / "config.json").write_text(json.dumps(config | {"name": name, "source": source}), encoding="utf-8")
        with pytest.raises(CheckpointError, match=f"install {source}" if source == "garden-methods 1.2" else "mine"):
            limner.load(folder)
    assert not Path("executed").exists()
