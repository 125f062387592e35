"""Fixed features of pictures: from a frozen network that sees several crops of each, or from a file."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core.errors import DataError, SettingsError
from limner.core.files import cache_folder, keep_array, reading_arrays
from limner.core.pictures import CaptionedPictures
from limner.data.loader import to_network
from limner.features.network import FeatureNetwork
from limner.features.registry import load_feature_network
from limner.matching.model import device_of

CROPS = 5
"""The middle, then the four corners; and each of them mirrored, where pictures may be mirrored."""


class FixedFeatures(ABC):
    """Features of pictures that training does not change. width: how many numbers; content_hash: changes with their source."""

    width: int
    content_hash: str

    @abstractmethod
    def views(self, pictures: CaptionedPictures, count: int) -> Tensor:
        """[N, V, width] float32 on the CPU, where V is `count`, or as many as there are; view 0 is the plain picture."""

    @abstractmethod
    def of(self, images: Tensor) -> Tensor:
        """[B, 3, R, R] float in [-1, 1] -> [B, width]."""

    @abstractmethod
    def of_stored(self, pictures: CaptionedPictures, indices: NDArray[np.int64]) -> Tensor:
        """View 0 of stored pictures: [n, width]."""


def fixed_features(spec: str, device: torch.device | str = "cpu") -> FixedFeatures:
    """The features that `spec` names: FILE.npz, or a feature network's NAME or NAME=FILE."""
    if spec.endswith(".npz"):
        return FileFeatures(Path(spec))
    return NetworkFeatures(load_feature_network(spec, device))


class NetworkFeatures(FixedFeatures):
    """A frozen network's features of crops; the published ones are of ten crops of each picture."""

    def __init__(self, network: FeatureNetwork) -> None:
        self.network, self.width, self.content_hash = network, network.width, network.content_hash
        self._seen: dict[tuple[str, str], tuple[Tensor, NDArray[np.bool_]]] = {}

    def views(self, pictures: CaptionedPictures, count: int, chunk: int = 64) -> Tensor:
        place = self._place(pictures, count)
        if place.exists():
            try:
                with reading_arrays():
                    return torch.from_numpy(np.load(place, allow_pickle=False))
            except (OSError, ValueError):
                place.unlink(missing_ok=True)  # damaged: made again below
        views = np.empty((len(pictures), count, self.width), np.float32)
        for start in range(0, len(pictures), chunk):
            rows = np.arange(start, min(start + chunk, len(pictures)))
            stored = pictures.read(rows)
            mirrorable = np.full(len(rows), pictures.may_flip) if pictures.mirrorable is None else pictures.mirrorable[rows]
            for view in range(count):
                shown = crop(stored, pictures.resolution, view // 2 if count > 1 else 0)
                if view % 2:
                    shown = np.where((mirrorable & pictures.may_flip)[:, None, None, None], shown[:, :, ::-1], shown)
                views[rows, view] = self.of(to_network(shown, pictures.resolution, device_of(self.network))).cpu().numpy()
        keep_array(place, views)
        return torch.from_numpy(views)

    @torch.no_grad()
    def of(self, images: Tensor) -> Tensor:
        return self.network.look(images)[0].float()

    def of_stored(self, pictures: CaptionedPictures, indices: NDArray[np.int64]) -> Tensor:
        """View 0, cached, because a validation asks for the same pictures again and again."""
        of_split = pictures.fingerprint, pictures.split
        if of_split not in self._seen:
            self._seen[of_split] = torch.empty(len(pictures), self.width), np.zeros(len(pictures), dtype=bool)
        features, known = self._seen[of_split]
        new = np.unique(indices[~known[indices]])
        for rows in np.array_split(new, -(-len(new) // 256)) if len(new) else ():
            shown = to_network(crop(pictures.read(rows), pictures.resolution, 0), pictures.resolution, device_of(self.network))
            features[torch.from_numpy(rows)] = self.of(shown).cpu()
            known[rows] = True
        return features[torch.from_numpy(indices)]

    def _place(self, pictures: CaptionedPictures, count: int) -> Path:
        facts = f"{pictures.fingerprint} {pictures.split} {pictures.resolution} {self.network.name} {self.content_hash} {count}"
        return cache_folder() / "views" / f"{hashlib.sha256(facts.encode()).hexdigest()[:16]}.npy"


class FileFeatures(FixedFeatures):
    """A .npz file with `keys` [N] (text: the pictures' names in the prepared set) and `features` [N, D] or, with views, [N, V, D]."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with reading_arrays(), np.load(path, allow_pickle=False) as content:
                keys, features = content["keys"], content["features"].astype(np.float32)
        except FileNotFoundError:
            raise SettingsError(f"there is no file {path}: give a .npz with arrays `keys` and `features`, or a feature network") from None
        except (OSError, ValueError) as error:
            raise SettingsError(f"cannot read features from {path} ({error}): it must hold arrays `keys` and `features`") from None
        if features.ndim == 2:
            features = features[:, None]
        if features.ndim != 3 or keys.shape != features.shape[:1]:
            raise SettingsError(f"{path} holds keys {keys.shape} and features {features.shape}: they must be [N] and [N, D] or [N, V, D]")
        self.features, self.width = torch.from_numpy(features), features.shape[2]
        self._places = {str(key): place for place, key in enumerate(keys)}
        self.content_hash = hashlib.sha256(features.tobytes()).hexdigest()[:12]

    def views(self, pictures: CaptionedPictures, count: int) -> Tensor:
        return self.features[self._rows(pictures, np.arange(len(pictures)))][:, :count]

    def of(self, images: Tensor) -> Tensor:
        raise SettingsError(f"the features in {self.path} are of stored pictures: new ones need a model with a feature network of its own")

    def of_stored(self, pictures: CaptionedPictures, indices: NDArray[np.int64]) -> Tensor:
        return self.features[self._rows(pictures, indices), 0]

    def _rows(self, pictures: CaptionedPictures, indices: NDArray[np.int64]) -> Tensor:
        keys = [pictures.key(int(index)) for index in indices]
        missing = [key for key in keys if key not in self._places]
        if missing:
            raise DataError(
                f"{self.path} lacks features of {len(missing)} of {len(keys)} pictures of '{pictures.name}', such as {missing[0]}: add them"
            )
        return torch.tensor([self._places[key] for key in keys])


def crop(stored: NDArray[np.uint8], side: int, number: int) -> NDArray[np.uint8]:
    """Crop 0 is the middle, 1 to 4 the corners: [n, S, S, 3] -> [n, side, side, 3]."""
    margin = stored.shape[1] - side
    top, left = ((margin // 2, margin // 2), (0, 0), (0, margin), (margin, 0), (margin, margin))[number]
    return stored[:, top : top + side, left : left + side]
