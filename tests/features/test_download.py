"""Where weights come from: the file given, a folder, the cache, a download that is whole or not at all. No network is used."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch

from limner.core.errors import SettingsError
from limner.core.files import cache_folder
from limner.features import registry
from limner.features.pretrained import Published
from limner.features.registry import load_feature_network
from limner.features.squeezenet import TorchvisionSqueezeNet

FILE = "squeezenet1_0-test.pth"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights at a file:// address that `tv-squeezenet` takes for its published one; cache and folders are empty."""
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("LIMNER_FEATURES", raising=False)
    state = {}
    for name, value in TorchvisionSqueezeNet().state_dict().items():
        layer, rest = name.split(".", 1)
        position = {own: place for place, own in TORCHVISION_PLACES.items()}[layer]
        state[f"{position}.{rest.replace('squeeze1x1', 'squeeze')}"] = value
    source = tmp_path / "server" / FILE
    source.parent.mkdir()
    torch.save(state, source)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    monkeypatch.setattr(TorchvisionSqueezeNet, "published", Published(file=FILE, url=source.as_uri(), sha256=digest[:8]))
    return source


TORCHVISION_PLACES = {
    "features.0": "conv1",
    **{f"features.{place}": f"fire{number}" for place, number in zip((3, 4, 5, 7, 8, 9, 10, 12), range(2, 10))},
    "classifier.1": "conv10",
}


def refuse_to_open(*args: object, **kwargs: object) -> None:
    raise urllib.error.URLError("Name or service not known")


def test_downloaded_once_and_found_after(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    first = load_feature_network("tv-squeezenet")
    assert published.as_uri() in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "cache" / "features").iterdir()] == [FILE]
    monkeypatch.setattr(urllib.request, "urlopen", refuse_to_open)
    assert load_feature_network("tv-squeezenet").content_hash == first.content_hash
    assert capsys.readouterr().err == ""


def test_no_network_and_no_file_is_one_line(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", refuse_to_open)
    with pytest.raises(SettingsError) as error:
        load_feature_network("tv-squeezenet")
    message = str(error.value)
    for part in (
        FILE,
        published.as_uri(),
        str(tmp_path / "cache" / "features"),
        "Name or service not known",
        "tv-squeezenet=FILE",
        "--features garden",
    ):
        assert part in message
    assert "\n" not in message and not list((tmp_path / "cache" / "features").iterdir())
    with pytest.raises(SettingsError, match="published compressed.*squeezenet-v1.0-imagenet.safetensors"):
        load_feature_network("squeezenet")


def test_a_damaged_or_broken_download_leaves_nothing(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache" / "features"
    whole = published.read_bytes()
    for damaged in (whole[:-1], whole[:1000] + b"\0" + whole[1001:], b""):
        published.write_bytes(damaged)
        with pytest.raises(SettingsError, match="what came is damaged: its SHA-256 begins"):
            load_feature_network("tv-squeezenet")
        assert not list(folder.iterdir())
    published.unlink()
    with pytest.raises(SettingsError, match="No such file"):
        load_feature_network("tv-squeezenet")

    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(urllib.request, "urlopen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_feature_network("tv-squeezenet")
    assert not list(folder.iterdir())


def test_the_file_given_comes_first_then_folder_cache_and_torch_hub(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", refuse_to_open)
    monkeypatch.setenv("LIMNER_FEATURES", str(tmp_path / "folder"))
    places = [tmp_path / "torch" / "hub" / "checkpoints", tmp_path / "cache" / "features", tmp_path / "folder", tmp_path / "given"]
    hashes = []
    for number, place in enumerate(places):
        place.mkdir(parents=True)
        state = torch.load(published, weights_only=True)
        torch.save(state | {"classifier.1.bias": torch.full((1000,), float(number))}, place / FILE)
        given = f"={place / FILE}" if place.name == "given" else ""
        hashes.append(load_feature_network(f"tv-squeezenet{given}").content_hash)
    assert len(set(hashes)) == len(places)


def test_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("LIMNER_CACHE")
    assert cache_folder() == tmp_path / "shared" / "limner"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "limner"


@pytest.mark.parametrize("name", [name for name, entry in registry.FEATURE_NETWORKS.items() if entry.build])
def test_a_published_file_is_found_under_its_own_name(name: str) -> None:
    entry = registry.FEATURE_NETWORKS[name]
    assert entry.build is not None
    with torch.device("meta"):
        network = entry.build()
    assert network.name == name
    assert any(Path(network.published.file).match(pattern) for pattern in entry.patterns)
    others = {
        other
        for other, each in registry.FEATURE_NETWORKS.items()
        for pattern in each.patterns
        if Path(network.published.file).match(pattern)
    }
    assert others == ({name} if not name.startswith("fid") else {"fid-inception", "fid-inception-pytorch"})
