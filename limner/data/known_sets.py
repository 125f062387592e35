"""Data sets that `limner data get` knows: where they are, under which terms, and what their files must be.

Sizes and SHA-256 are those of the files that TensorFlow Datasets lists (github.com/tensorflow/datasets, url_checksums). Where none is
given, none is published: what comes first is noted, and later downloads are held to it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from limner.core.errors import DataError, unknown_name
from limner.core.owner import owned
from limner.data.fetching import Progress, Remote, fetch
from limner.data.unpacking import is_archive, unpack


@dataclass(frozen=True, kw_only=True)
class KnownSet:
    """A data set that others give out."""

    title: str
    home: str
    """The page of its authors."""
    terms: str
    """Under which terms it may be used, as its authors say."""
    files: tuple[Remote, ...]

    @property
    def size(self) -> int:
        """Bytes of the files whose size is known."""
        return sum(file.size or 0 for file in self.files)


_COCO_TERMS = (
    "annotations: CC BY 4.0, COCO Consortium; the pictures belong to users of Flickr and fall under Flickr's terms of use, and the "
    "annotations name the licence of each"
)
_FLICKR_TERMS = "the pictures belong to users of Flickr; the set is given out for non-commercial research and education, to who asks for it"
_KARPATHY = Remote(
    name="caption_datasets.zip",
    url="https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip",
    size=36_745_453,
    sha256="4cfd70132527b80933105e5829dc9034eaab9573482e2e680abbab6130244817",
)


def _coco(path: str, size: int, sha256: str) -> Remote:
    return Remote(name=path.rpartition("/")[2], url=f"http://images.cocodataset.org/{path}", size=size, sha256=sha256)


KNOWN: Mapping[str, KnownSet] = {
    "cub": KnownSet(
        title="Caltech-UCSD Birds-200-2011, with ten captions a picture by Reed et al. (CVPR 2016)",
        home="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        terms="the pictures belong to their photographers; the set is given out for non-commercial research and education",
        files=(
            Remote(
                name="CUB_200_2011.tgz",
                url="https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                size=1_150_585_339,
                sha256="0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
            ),
            Remote(name="cvpr2016_cub.tar.gz", url="https://github.com/reedscot/cvpr2016", by_hand=True),
        ),
    ),
    "flowers": KnownSet(
        title="Oxford 102 Flowers, with ten captions a picture by Reed et al. (CVPR 2016)",
        home="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
        terms="the pictures were gathered from the web and belong to their photographers; read the page of the set before you use them",
        files=(
            Remote(
                name="102flowers.tgz",
                url="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
                size=344_862_509,
                sha256="2d01ecc807db462958cfe3d92f57a8c252b4abd240eb955770201e45f783b246",
            ),
            Remote(name="cvpr2016_flowers.tar.gz", url="https://github.com/reedscot/cvpr2016", by_hand=True),
        ),
    ),
    "coco": KnownSet(
        title="COCO of 2014 with five captions a picture, as the methods of this field use it",
        home="https://cocodataset.org",
        terms=_COCO_TERMS,
        files=(
            _coco(
                "annotations/annotations_trainval2014.zip",
                252_872_794,
                "031296bbc80c45a1d1f76bf9a90ead27e94e99ec629208449507a4917a3bf009",
            ),
            _coco("zips/val2014.zip", 6_645_013_297, "fe9be816052049c34717e077d9e34aa60814a55679f804cd043e3cbee3b9fde0"),
            _coco("zips/train2014.zip", 13_510_573_713, "ede4087e640bddba550e090eae701092534b554b42b05ac33f0300b984b31775"),
        ),
    ),
    "coco-2017": KnownSet(
        title="COCO of 2017 with five captions a picture",
        home="https://cocodataset.org",
        terms=_COCO_TERMS,
        files=(
            _coco(
                "annotations/annotations_trainval2017.zip",
                252_907_541,
                "113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
            ),
            _coco("zips/val2017.zip", 815_585_330, "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"),
            _coco("zips/train2017.zip", 19_336_861_798, "69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929"),
        ),
    ),
    "flickr8k": KnownSet(
        title="Flickr8k with five captions a picture, in Karpathy's splits",
        home="https://forms.illinois.edu/sec/1713398",
        terms=_FLICKR_TERMS,
        files=(_KARPATHY, Remote(name="Flickr8k_Dataset.zip", url="https://forms.illinois.edu/sec/1713398", by_hand=True)),
    ),
    "flickr30k": KnownSet(
        title="Flickr30k with five captions a picture, in Karpathy's splits",
        home="https://shannon.cs.illinois.edu/DenotationGraph/",
        terms=_FLICKR_TERMS,
        files=(
            _KARPATHY,
            Remote(name="flickr30k-images.tar.gz", url="https://shannon.cs.illinois.edu/DenotationGraph/", by_hand=True),
        ),
    ),
    "celeba": KnownSet(
        title="CelebA: faces with 40 attributes each, of which captions are made",
        home="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        terms="for non-commercial research alone; the pictures are of persons, and may not be copied, published or distributed further",
        files=(
            Remote(
                name="img_align_celeba.zip",
                url="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
                size=1_443_490_838,
                sha256="46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
                by_hand=True,
            ),
            Remote(
                name="list_attr_celeba.txt",
                url="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
                size=26_721_026,
                sha256="f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
                by_hand=True,
            ),
            Remote(
                name="list_eval_partition.txt",
                url="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
                size=2_836_386,
                sha256="fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
                by_hand=True,
            ),
        ),
    ),
}
"""Known sets by name."""


def get(
    name: str,
    out: Path,
    *,
    mirror: str | None = None,
    unchecked: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Fetch, check and unpack a known set; returns the folder to prepare.

    Files lie in `out`/downloads, and each archive unpacked in a folder of its own in `out`/unpacked. What is there is not fetched again.
    tell: called with a line for each file that is done. Raises SettingsError for a name that is not known, and DataError for what cannot
    be had; files that a person has to fetch are named last, with where to put them, when all others are there.
    """
    if name not in KNOWN:
        raise unknown_name("known set", name, KNOWN)
    downloads, unpacked = out / "downloads", out / "unpacked"
    missing = []
    with owned(out / ".lock", f"{out} is being filled by"):
        for remote in KNOWN[name].files:
            target = unpacked / (_stem(remote.name) if is_archive(Path(remote.name)) else remote.name)
            if target.exists():
                continue
            if remote.by_hand and not mirror and not (downloads / remote.name).exists():
                missing.append(remote)
                continue
            # Of files behind a page only their own name tells what was noted of them.
            own = remote if not remote.by_hand else Remote(**{**vars(remote), "url": f"{remote.url}#{remote.name}"})
            path = fetch(own, downloads, mirror=mirror, unchecked=unchecked, progress=progress)
            target.parent.mkdir(parents=True, exist_ok=True)
            if is_archive(path):
                unpack(path, target, progress or (lambda done, total, text: None))
            else:
                shutil.copyfile(path, target)
            (tell or (lambda line: None))(f"{remote.name}: {path.stat().st_size:,} bytes, {_how(remote, unchecked)}, in {target}")
    if missing:
        places = "; ".join(f"{remote.name}, which {remote.url} leads to" for remote in missing)
        raise DataError(f"{name} is not complete: put into {downloads} by hand {places}; and run the command again")
    return unpacked


def _stem(name: str) -> str:
    for suffix in (".tar.gz", ".tgz", ".tar", ".zip"):
        name = name.removesuffix(suffix)
    return name


def _how(remote: Remote, unchecked: bool) -> str:
    if unchecked:
        return "not checked"
    return "SHA-256 as listed" if remote.sha256 else "no SHA-256 is published, so what came is noted"
