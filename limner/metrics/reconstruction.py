"""Inversion: how near real pictures come back when a model paints them again from the codes that it finds for them.

PSNR and SSIM are those of `limner.metrics.pixels`. The perceptual distance is one of features: the mean squared distance between a picture
and its reconstruction, as a share of that between two different pictures. At 0 they look alike to the feature network, at 1 no more so than
any two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from limner.metrics.pixels import WINDOW, psnr, ssim
from limner.metrics.scoring.metric import Figure, Found, Metric, ScoringTask, SeenBatch


class Reconstruction(Metric):
    """PSNR, SSIM and distance of features between real pictures and their reconstructions, the means over pictures."""

    name: ClassVar[str] = "reconstruction"
    needs = frozenset({"truth", "inverter"})

    @classmethod
    def refusal(cls, task: ScoringTask) -> str | None:
        side = task.pictures.resolution
        return None if side >= WINDOW else f"{cls.name} has a window of {WINDOW} px and pictures have {side}: leave it out"

    def generated(self, batch: SeenBatch) -> Mapping[str, NDArray[np.generic]]:
        task, truth = self.task, batch.truth
        if truth is None or task.rebuild is None or task.network is None:
            return {}
        again = task.rebuild(truth, batch.numbers[: len(truth)])
        device = next(task.network.parameters()).device
        real, found = (task.network.look(images.to(device))[0].float().cpu() for images in (truth, again))
        return {
            "reconstruction psnr": psnr(again, truth).numpy(),
            "reconstruction ssim": ssim(again, truth).numpy(),
            "reconstruction apart": (found - real).double().square().sum(1).numpy(),
            "reconstruction features": real.numpy(),
        }

    def figures(self, found: Found) -> list[Figure]:
        rows = found.generated
        features = rows.tensor("reconstruction features").double()
        others = float((features - features.roll(1, 0)).square().sum(1).mean())
        shares = rows["reconstruction apart"] / max(others, 1e-12)
        figures = [
            ("psnr", rows["reconstruction psnr"], "dB of 255 over a picture's mean square error", True),
            ("ssim", rows["reconstruction ssim"], f"{WINDOW} x {WINDOW} Gaussian, RGB, where the window fits", True),
            ("distance", shares, "squared distance of features over that of neighbours in the order of the evaluation", False),
        ]
        return [
            Figure(
                name=f"reconstruction-{name}",
                value=float(values.mean()),
                error=float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 and np.isfinite(values).all() else None,
                higher_is_better=better,
                implementation=f"limner: {how}; real pictures against what is painted of their codes, mean over pictures",
                network="features" if name == "distance" else None,
                settings={"pictures": len(values)},
            )
            for name, values, how, better in figures
        ]
