"""Golden folders of AttnGAN's family, which are laid out alike: what each has stored, and what golden.json says of it.

Sizes, names, lengths, weights of terms and what there is to compare are read from there.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.core.batch import Batch
from limner.core.noise import ConditionedNoise
from limner.core.text import TextFeatures
from limner.matching.losses.words import Gammas

ROOT = Path(os.environ.get("LIMNER_GOLDEN", Path(__file__).parents[2].parent / "shared" / "golden"))
MATCHING = ("damsm_att", "func_attention_")
"""Arrays of what words see of the stored regions."""


class Golden:
    """One system's stored arrays and facts. elsewhere: beginnings of the names of outputs that have tests of their own.

    Pictures are inputs in [-1, 1] too, by their names without the ending: "real64" for real64_u8.
    """

    def __init__(self, system: str, elsewhere: tuple[str, ...] = (), name: str = "golden.json") -> None:
        self.folder, self.elsewhere = ROOT / system, elsewhere
        if not (self.folder / "golden.json").exists():
            pytest.skip(f"no golden files at {self.folder}: set LIMNER_GOLDEN to the folder that has them")
        if not (self.folder / name).exists():
            pytest.skip(f"the golden set at {self.folder} has no {name}")
        self.facts = json.loads((self.folder / name).read_text())
        with np.load(self.folder / self.facts["arrays_file"], allow_pickle=False) as arrays:
            self.arrays = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        self.sides = sorted(int(found[1]) for found in (re.fullmatch(r"real(\d+)_u8", name) for name in self.arrays) if found)
        self.arrays |= {name[:-3]: value / 127.5 - 1 for name, value in self.arrays.items() if name.endswith("_u8")}

    def whole(self) -> Golden:
        """The same system's results at its published width."""
        return Golden(self.folder.name, name="published_width.json")

    def with_config(self, **changes: Any) -> Golden:
        """The same with other numbers in its configuration."""
        made = copy.copy(self)
        made.facts = self.facts | {"config": self.facts["config"] | changes}
        return made

    def having(self, beginning: str) -> Golden:
        """The same with no outputs but those whose names begin so."""
        made = copy.copy(self)
        kept = {name: facts for name, facts in self.facts["arrays"].items() if facts["role"] != "output" or name.startswith(beginning)}
        made.facts = self.facts | {"arrays": kept}
        return made

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Golden:
        """The same, with `function` of every input of floating numbers."""
        made = copy.copy(self)
        outputs = {name for name, facts in self.facts["arrays"].items() if facts["role"] == "output"}
        made.arrays = {
            name: function(value) if value.is_floating_point() and name not in outputs else value for name, value in self.arrays.items()
        }
        return made

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    @property
    def mask(self) -> Tensor:
        """[B, T], True where there is a word. Captions may be padded further than their words, which are as many as the longest has."""
        mask = ~self["mask"]
        width = self["word_embs"].shape[2]
        assert not mask[:, width:].any()
        return mask[:, :width]

    @property
    def text(self) -> TextFeatures:
        return TextFeatures(self["sent_emb"], self["word_embs"].transpose(1, 2), self.mask)

    @property
    def noise(self) -> ConditionedNoise:
        return ConditionedNoise(self["z"], self["eps"])

    @property
    def gammas(self) -> Gammas:
        config = self.facts["config"]
        return Gammas(attention=config["GAMMA1"], words=config["GAMMA2"], pairs=config["GAMMA3"])

    @property
    def losses(self) -> dict[str, Any]:
        return self.facts["loss_values"]

    def number(self, pattern: str, otherwise: float) -> float:
        """What the notes about losses say: the number in parentheses of `pattern`, where there is one."""
        found = re.search(pattern, self.facts.get("loss_notes", ""))
        return float(found[1]) if found else otherwise

    def logged(self, name: str) -> float | None:
        """A term as the authors' log states it."""
        found = re.search(rf"\b{name}: (-?[\d.]+)", self.losses.get("generator_loss_logs", ""))
        return float(found[1]) if found else None

    def norms(self, network: str) -> dict[str, float]:
        """Norms of the loss's gradient by every weight of a network with one; power iterations and what is never called have none."""
        norms = {name: norm for name, norm in self.facts["grad_l2_norms"][network].items() if norm is not None}
        assert all(re.search(r"weight_[uv]$|\.conv_context[23]\.", name) for name in set(self.facts["grad_l2_norms"][network]) - set(norms))
        return norms

    def files(self, pattern: str) -> list[Path]:
        """Checkpoints whose names are of this pattern."""
        found = sorted(self.folder / name for name in self.facts["checkpoints"] if re.fullmatch(pattern, name))
        if not found:
            pytest.skip(f"the golden set at {self.folder} has no {pattern}")
        return found

    def outputs(self, *beginnings: str) -> set[str]:
        """Names of the arrays to compare; beginnings: only of those that begin so."""
        found = {name for name, facts in self.facts["arrays"].items() if facts["role"] == "output"}
        return {name for name in found if (name.startswith(beginnings) if beginnings else not name.startswith(self.elsewhere))}

    def batch(self, side: int) -> Batch:
        """The stored real pictures of one side with the stored captions."""
        numbers = np.arange(len(self.text))
        return Batch(
            pictures=self[f"real{side}"],
            captions=[["a caption"]] * len(numbers),
            texts=(self.text,),
            indices=numbers,
            samples=numbers,
            seed=0,
            classes=self["class_ids"],
        )


def views(golden: Golden, prefix: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """What is stored of pictures and attention maps by name ("img64", "att1"): whole, every n-th pixel or a crop.

    Of pictures whose figures are stored, under "..._stats", the pictures themselves.
    """
    found = {}
    for name, facts in golden.facts["arrays"].items():
        parts = re.fullmatch(rf"{prefix}_?((?:img|att)\d+)(?:_(stride(\d+)|crop|stats))?", name)
        if parts is None:
            continue
        value = values[parts[1]]
        if parts[3]:
            value = value[..., :: int(parts[3]), :: int(parts[3])]
        elif parts[2] == "crop":
            height, width = facts["shape"][-2:]
            stated = re.search(r"x\[:, :, (\d+):\d+, (\d+):\d+\]", facts["note"])
            top, left = map(int, stated.groups()) if stated else ((value.shape[-2] - height) // 2, (value.shape[-1] - width) // 2)
            value = value[..., top : top + height, left : left + width]
        found[name] = value
    return found
