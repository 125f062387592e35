"""What the importer of StoryGAN's files refuses, in one line each, and what it takes; that it reads them right is for tests/parity."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from limner.cli.main import main
from limner.core.errors import LimnerError
from limner.core.trainable import Conditions
from limner.interop.networks import load_networks
from limner.interop.storygan import import_storygan
from limner.methods.storygan import StoryGAN, StoryGANSettings

NAMES = {
    "generator": {
        "context.sentences.": "recurrent.",
        "context.context.": "mocornn.",
        "context.state_map.": "fc.",
        "context.filter.": "filter_net.",
        "context.image.": "image_net.",
        "context.gist_map.": "downsamples.",
        "layers.3.": "img.",
        **{f"layers.{level}.": f"upsample{level + 1}." for level in range(3)},
    },
    "discriminator": {"picture.": "encode_img.", "category.": "cate_classify.", "head.picture.": "get_cond_logits.conv1."}
    | {"head.text.": "get_cond_logits.convc.", "head.logit.": "get_cond_logits.conv2.0."},
}


def authors(network: nn.Module, player: str) -> dict[str, torch.Tensor]:
    """A network's tensors under the authors' names."""
    names = NAMES[player.removeprefix("story-")]
    found = {}
    for key, value in network.state_dict().items():
        before = next(before for before in sorted(names, key=len, reverse=True) if key.startswith(before))
        found[names[before] + key.removeprefix(before)] = value
    return found


def save(folder: Path, frames: int = 3, width: int = 7) -> dict[str, Path]:
    """The three networks of one training as the authors save them, with the network that they never call."""
    folder.mkdir()
    settings = StoryGANSettings(augmentation="none", noise_width=5, generator_channels=2, discriminator_channels=2)
    method = StoryGAN(settings, Conditions(resolution=32, sentence_width=width, category_count=4, frames=frames))
    paths = {}
    for player, entry in method.players().items():
        state = authors(entry.module, player)
        if player == "generator":
            state |= {"ca_net.fc.weight": torch.zeros(2 * width, width), "ca_net.fc.bias": torch.zeros(2 * width)}
        paths[player] = folder / f"{player}.pth"
        torch.save(state, paths[player])
    return paths


def test_sizes_are_found_whatever_files_there_are(tmp_path: Path) -> None:
    files = save(tmp_path / "files")
    import_storygan([*files.values()], tmp_path / "all")
    method, players = load_networks(tmp_path / "all")
    assert method.conditions == Conditions(resolution=32, sentence_width=7, category_count=4, frames=3) and len(players) == 3
    assert (method.settings.generator_channels, method.settings.noise_width, method.settings.augmentation) == (2, 5, "none")
    import_storygan([files["generator"]], tmp_path / "alone", frames=5)
    alone, players = load_networks(tmp_path / "alone")
    assert players == ["generator"] and alone.conditions.frames == 5
    assert all(torch.equal(value, method.generator.state_dict()[key]) for key, value in alone.generator.state_dict().items())
    import_storygan([files["generator"]], tmp_path / "published")
    assert load_networks(tmp_path / "published")[0].conditions.frames == 4
    assert main(["import", "storygan", str(files["story-discriminator"]), "--out", str(tmp_path / "judge")]) == 0
    assert load_networks(tmp_path / "judge")[1] == ["story-discriminator"]


def test_what_is_refused(tmp_path: Path) -> None:
    files, others = save(tmp_path / "files"), save(tmp_path / "others", width=8)
    broken = tmp_path / "broken.pth"
    torch.save({key: value for key, value in torch.load(files["generator"]).items() if not key.startswith("mocornn.")}, broken)
    narrow = torch.load(files["generator"])
    narrow["img.0.weight"] = narrow["img.0.weight"][:, :1]
    torch.save(narrow, tmp_path / "narrow.pth")
    out = tmp_path / "out"
    cases = [
        (([], out), {}, "no file to import: give netG_epoch_N.pth"),
        (([broken], out), {}, "not a network of StoryGAN"),
        (([files["generator"], files["generator"]], out), {}, "a second generator: give at most one of each"),
        (([files["generator"], others["discriminator"]], out), {}, "the files are of different sizes (sentence width)"),
        (([files["story-discriminator"]], out), {"frames": 5}, "the files are of different sizes (frames)"),
        (([tmp_path / "narrow.pth"], out), {}, "the generator is not the authors' StoryGAN"),
        (([files["generator"]], out), {"frames": 1}, "--frames is 1: a story has at least 2 pictures"),
    ]
    for arguments, options, words in cases:
        with pytest.raises(LimnerError, match=re.escape(words)) as caught:
            import_storygan(*arguments, **options)
        assert "\n" not in str(caught.value) and not out.exists()
