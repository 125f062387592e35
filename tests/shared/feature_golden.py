"""Feature networks' golden set: its weights and pictures by formulas, its arrays and their tolerances."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image

from limner.features.imagenet import centre_crop
from shared.golden_set import GoldenSet

DEEP, OF_RESIZED = 2e-5, 1e-4
"""An array agrees where |difference| <= tolerance x (|value| + the array's standard deviation), as golden.json suggests. Layers add
up to 4,608 products, near 68 roundings, and up to 19 layers 4 times as many: 2e-5. Bilinear weights are differences of positions up to 323,
which alone are some 500 roundings off, as is all that is made of resized pictures: 1e-4. Resized inputs have scales of their own."""
RESIZED = {"tf1_resize": 1e-3, "resized_": 4e-5, "network_input": 4e-5}
"""By bilinear weights that are 323 UNIT off, times a step of 2 between neighbours; TensorFlow's on the scale of 255 have no such order."""
PIECE = 1 << 22


class FeatureGolden(GoldenSet):
    """The set, its formulas, and the largest difference of what was compared."""

    def __init__(self) -> None:
        super().__init__("feature-networks")
        assert set(self.arrays) == set(self.facts["arrays"])
        self.names = self.facts["inputs"]["order_of_rows_in_7_row_arrays"]
        self.weights: dict[tuple[str, tuple[int, ...]], torch.Tensor] = {}

    def generator(self, formula: str, **names: str) -> np.random.Generator:
        """The random numbers that a formula of golden.json begins with: seeded by the crc32 of what it makes of a name."""
        start = formula.index("crc32(") + len("crc32(")
        depth, end = 1, start
        while depth:
            depth += {"(": 1, ")": -1}.get(formula[end], 0)
            end += 1
        return np.random.Generator(np.random.PCG64(zlib.crc32(value_of(formula[start : end - 1], **names))))

    def weight(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """A tensor by the formula; equal names and shapes are equal in all networks."""
        if (name, shape) not in self.weights:
            self.weights[name, shape] = self._weight(name, shape)
        return self.weights[name, shape]

    def _weight(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        formula, last = self.facts["weights_formula"], name.rsplit(".", 1)[-1]
        kinds = [(kind, rule) for kind, rule in formula["rules_by_last_part_of_the_name"] if kind.split()[0] == last]
        (rule,) = [rule for kind, rule in kinds if len(kinds) == 1 or ("one dimension" in kind) == (len(shape) == 1)]
        if rule.startswith("int64 zero"):
            return torch.zeros(shape, dtype=torch.int64)
        generator, found = self.generator(formula["generator"], N=name), np.empty(math.prod(shape), np.float32)
        for start in range(0, found.size, PIECE):  # in pieces, for the double precision of a hundred million
            found[start : start + PIECE] = value_of(rule, S=shape, rng=Piece(generator, min(PIECE, found.size - start)))
        return torch.from_numpy(found.reshape(shape))

    @cache  # noqa: B019 - one set a run
    def picture(self, name: str) -> torch.Tensor:
        """[1, 3, H, W] uint8."""
        (entry,) = (entry for entry in self.facts["inputs"]["images"] if entry["name"] == name)
        height, width, block = entry["height"], entry["width"], entry["block"]
        generator = self.generator(self.facts["inputs"]["formula"], name=name)
        blocks = noise = np.zeros(0)
        if entry["kind"] != "noise":
            low = generator.integers(0, 256, (math.ceil(height / block), math.ceil(width / block), 3), dtype=np.uint8)
            blocks = low.repeat(block, 0).repeat(block, 1)[:height, :width]
        if entry["kind"] != "blocks":
            noise = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        mixed = {"blocks": lambda: blocks, "noise": lambda: noise}.get(entry["kind"], lambda: (3 * blocks.astype(np.uint16) + noise) // 4)()
        picture = np.ascontiguousarray(mixed.astype(np.uint8))
        assert hashlib.sha256(picture.tobytes()).hexdigest() == entry["sha256_hwc_uint8"], name
        return torch.from_numpy(picture).permute(2, 0, 1)[None]

    def crop(self, name: str, shorter: int, side: int, sha256: str) -> np.ndarray:
        """torchvision's preset of a picture, [side, side, 3] uint8."""
        picture = Image.fromarray(self.picture(name)[0].permute(1, 2, 0).numpy())
        cropped = np.asarray(centre_crop(picture, shorter, side))
        assert hashlib.sha256(cropped.tobytes()).hexdigest() == sha256
        return cropped

    def state(self, facts: dict) -> dict[str, torch.Tensor]:
        """Weights by the formula, each checked by its stored checksum."""
        table = json.loads((self.folder / facts["file"]).read_text())
        state = {}
        for name, shape, dtype, checksum, _ in table["entries"]:
            state[name] = self.weight(name, tuple(shape))
            assert str(state[name].dtype)[6:] == dtype
            assert zlib.crc32(state[name].numpy().data.cast("B") if shape else state[name].numpy().tobytes()) == int(checksum, 16), name
        assert len(state) == facts["entries"]
        return state

    def expected(self, prefix: str) -> set[str]:
        return {name for name in self.arrays if name.startswith(prefix)}

    def compare(self, prefix: str, computed: dict[str, torch.Tensor | np.ndarray], absent: tuple[str, ...] = ()) -> None:
        """Hold every array whose name begins so against what was computed."""
        names = {name for name in self.expected(prefix) if name not in absent}
        assert names and not names - set(computed), f"not computed: {sorted(names - set(computed))}"
        largest = 0.0
        for name in sorted(names):
            mine = np.asarray(computed[name].detach() if isinstance(computed[name], torch.Tensor) else computed[name])
            theirs = self.arrays[name].numpy()
            assert list(mine.shape) == self.facts["arrays"][name]["shape"] and mine.dtype == theirs.dtype, name
            if theirs.dtype == np.uint8:
                np.testing.assert_array_equal(mine, theirs, err_msg=name)
                continue
            relative, absolute = self.tolerance(name, self.arrays[name])
            np.testing.assert_allclose(mine, theirs, rtol=relative, atol=absolute, err_msg=name)
            largest = max(largest, float(np.abs(mine - theirs).max() / theirs.std()))
        print(f"\n{prefix}: {len(names)} arrays, largest difference {largest:.1e} of an array's standard deviation")

    def tolerance(self, name: str, theirs: torch.Tensor) -> tuple[float, float]:
        """The relative and the absolute one."""
        own_size = name.startswith(("vgg", "squeezenet.torchvision")) and "torch_fidelity" not in name and "preset" not in name
        relative = DEEP if own_size else OF_RESIZED
        scale = next((value for key, value in RESIZED.items() if key in name), None)
        return relative, relative * float(theirs.std(correction=0)) if scale is None else scale

    def same(self, name: str, mine: torch.Tensor, theirs: torch.Tensor) -> bool:
        """Whether a part of an array agrees."""
        relative, absolute = self.tolerance(name, theirs)
        return np.allclose(mine.numpy(), theirs.numpy(), rtol=relative, atol=absolute)


class Piece:
    """A generator that gives the next `count` numbers, whatever shape a formula asks for."""

    def __init__(self, generator: np.random.Generator, count: int) -> None:
        self.generator, self.count = generator, count

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.generator.standard_normal(self.count)

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        return self.generator.random(self.count)


def value_of(formula: str, **names: Any) -> Any:
    """What a formula of golden.json gives, which is written in Python."""
    return eval(formula, {"__builtins__": {}, "math": math}, names)
