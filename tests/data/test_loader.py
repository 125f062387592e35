"""Batches are a function of (seed, step): their order, captions, crops, flips, and how processes share them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from limner.core.errors import DataError, SettingsError
from limner.core.pictures import CaptionedPictures
from limner.core.settings import DataSettings
from limner.core.trainable import Phase
from limner.data.captions import CaptionFeatures
from limner.data.catalog import open_data
from limner.data.loader import Loader
from limner.data.reduced import at_resolution
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.tokenizers import WordTokenizer


class Numbered(CaptionedPictures):
    """Pictures of 12 px with a margin of 2; each says its number in its pixels (red) and its column (green)."""

    name, split, resolution, stored_resolution, class_count, may_flip, fingerprint = "numbered", "train", 10, 12, 4, True, "0"

    def __init__(self, count: int = 20, classes: int = 4) -> None:
        self.class_ids = np.arange(count) % classes
        self.counts = np.arange(count) % 3 + (np.arange(count) > 2)  # picture 0 has no caption

    def __len__(self) -> int:
        return len(self.counts)

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        pictures = np.zeros((len(indices), 12, 12, 3), np.uint8)
        pictures[..., 0] = np.asarray(indices)[:, None, None]
        pictures[..., 1] = np.arange(12)
        return pictures

    def captions(self, index: int) -> list[str]:
        return [f"picture {index} caption {number}" for number in range(self.counts[index])]

    @property
    def caption_counts(self) -> NDArray[np.int64]:
        return self.counts

    def key(self, index: int) -> str:
        return str(index)

    def counterfactual(self, index: int, caption: int, draw: int) -> str:
        return f"not picture {index} caption {caption} draw {draw}"


def phase(batch_size: int = 8, captions: int = 1, **values: object) -> Phase:
    return Phase(name="x", resolution=10, batch_size=batch_size, captions=captions, steps=1, **values)  # type: ignore[arg-type]


def numbers(batch) -> list[int]:  # type: ignore[no-untyped-def]
    return ((batch.pictures[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def test_every_captioned_picture_once_an_epoch() -> None:
    pictures = Numbered()
    captioned = set(np.flatnonzero(pictures.counts))
    loader = Loader(pictures, phase(batch_size=len(captioned)), seed=3)
    first, second = loader.batch(0), loader.batch(1)
    assert set(numbers(first)) == set(numbers(second)) == captioned
    assert numbers(first) != numbers(second)
    assert all(caption[0].startswith(f"picture {number} ") for number, caption in zip(numbers(first), first.captions, strict=True))
    assert first.pictures.shape == (len(captioned), 3, 10, 10)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    fresh, used = Loader(Numbered(), phase(), seed=3), Loader(Numbered(), phase(), seed=3)
    for step in range(5):
        used.batch(step)
    assert (fresh.batch(5).pictures == used.batch(5).pictures).all() and fresh.batch(5).captions == used.batch(5).captions
    assert numbers(Loader(Numbered(), phase(), seed=4).batch(5)) != numbers(fresh.batch(5))


def test_processes_share_the_global_batch() -> None:
    whole = Loader(Numbered(), phase(), seed=3).batch(2)
    parts = [Loader(Numbered(), phase(), seed=3, rank=rank, processes=2).batch(2) for rank in range(2)]
    assert numbers(whole) == [number for part in parts for number in numbers(part)]
    assert whole.samples.tolist() == [sample for part in parts for sample in part.samples.tolist()]
    assert numbers(whole.mismatched) == [number for part in parts for number in numbers(part.mismatched)]
    with pytest.raises(DataError, match="batch of 8 .* 3 processes"):
        Loader(Numbered(), phase(), seed=3, rank=0, processes=3)


def test_mismatched_pictures_are_of_other_classes() -> None:
    batch = Loader(Numbered(60), phase(batch_size=32), seed=0).batch(0)
    assert batch.classes is not None and batch.mismatched.classes is not None
    assert (batch.classes != batch.mismatched.classes).all()
    alone = Loader(Numbered(60, classes=1), phase(batch_size=32), seed=0).batch(0)
    assert all(a != b for a, b in zip(numbers(alone), numbers(alone.mismatched), strict=True))


def test_captions_of_a_picture_differ_while_there_are_enough() -> None:
    pictures = Numbered(60)
    batch = Loader(pictures, phase(batch_size=40, captions=2), seed=0).batch(0)
    for number, captions in zip(numbers(batch), batch.captions, strict=True):
        assert len(captions) == 2
        assert len(set(captions)) == min(2, pictures.counts[number])


def test_crops_and_flips_vary_and_flips_can_be_refused() -> None:
    pictures = Numbered(60)
    columns = (Loader(pictures, phase(batch_size=40), seed=0).batch(0).pictures[:, 1, 0] + 1) * 127.5
    rising = columns[:, 1] > columns[:, 0]
    assert 8 < rising.sum() < 32
    assert {int(row.min().round()) for row in columns} == {0, 1, 2}
    pictures.mirrorable = np.zeros(60, dtype=bool)
    columns = Loader(pictures, phase(batch_size=40), seed=0).batch(0).pictures[:, 1, 0]
    assert (columns[:, 1] > columns[:, 0]).all()


def test_features_are_those_of_the_captions_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Numbered()
    every = [caption for index in range(20) for caption in pictures.captions(index)]
    widths = RecurrentSettings(word_embedding=4, hidden=4, sentence_width=6)
    encoder = RecurrentEncoder(WordTokenizer.build([*every, "not draw"]), widths).eval()
    wanted = phase(captions=2, counterfactuals=1)

    def check() -> None:
        loader = Loader(pictures, wanted, seed=1, features=CaptionFeatures(encoder, pictures, counterfactuals=2))
        batch = loader.batch(1)
        for k in range(2):
            expected = encoder([captions[k] for captions in batch.captions]).sentence
            assert (batch.texts[k].sentence - expected).abs().max() < 1e-5
        changed = [[encoder([f"not {row[0]} draw {draw}"]).sentence for draw in range(2)] for row in batch.captions]
        assert batch.counterfactual is not None
        for row, options in zip(batch.counterfactual.sentence, changed, strict=True):
            assert min(float((row - option).detach().abs().max()) for option in options) < 1e-5

    check()
    monkeypatch.setattr("limner.data.captions.TABLE_BYTES", 0)  # too many to keep: encoded batch by batch
    check()


def test_several_counterfactual_captions_of_a_picture_are_different_ones() -> None:
    """As many as the phase asks for, none twice, and the first is the one that a phase of one would get."""
    pictures = Numbered()
    every = [caption for index in range(20) for caption in pictures.captions(index)]
    widths = RecurrentSettings(word_embedding=4, hidden=4, sentence_width=6)
    encoder = RecurrentEncoder(WordTokenizer.build([*every, "not draw"]), widths).eval()
    features = CaptionFeatures(encoder, pictures, counterfactuals=4)
    one, three = (Loader(pictures, phase(counterfactuals=count), seed=1, features=features).batch(2) for count in (1, 3))
    assert len(one.counterfactuals) == 1 and len(three.counterfactuals) == 3
    assert torch.equal(one.counterfactuals[0].sentence, three.counterfactuals[0].sentence)
    for row in range(len(three)):
        said = [text.captions[row] for text in three.counterfactuals]
        assert len(set(said)) == 3 and all(caption.startswith("not ") for caption in said)
    assert torch.equal(three.part(slice(1, 3)).counterfactuals[2].sentence, three.counterfactuals[2].sentence[1:3])


def test_garden_by_name_and_wrong_names() -> None:
    garden = open_data("garden", "train", 16, DataSettings(garden_pictures=12))
    assert len(garden) == 12 and garden.read(np.array([3, 5])).shape == (2, 16, 16, 3)
    assert garden.captions(3)[1] == garden.garden.caption(3, 1).text  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="no data set or folder 'gardn': did you mean 'garden'"):
        open_data("gardn", "train", 16)
    with pytest.raises(DataError, match="no folder here/there"):
        open_data("here/there", "train", 16)


def test_a_set_at_a_lower_resolution_shows_what_training_sees() -> None:
    numbered = Numbered()
    reduced = at_resolution(numbered, 5)
    assert at_resolution(numbered, 10) is numbered
    assert reduced.captions(3) == numbered.captions(3) and reduced.key(3) == "3"

    class Uncropped(Numbered):
        stored_resolution = 10

        def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
            return super().read(indices)[:, 1:11, 1:11]

    batch = Loader(Uncropped(), Phase(name="x", resolution=5, batch_size=4, steps=1), seed=0, flip=False).batch(0)
    seen = torch.from_numpy(reduced.read(batch.indices)).permute(0, 3, 1, 2)  # [4, 3, 5, 5]
    torch.testing.assert_close(seen.float(), (batch.pictures + 1) * 127.5, rtol=0, atol=0.5)


def test_a_batch_of_distinct_classes_holds_each_once() -> None:
    pictures = Numbered(40, 8)
    wanted = phase(batch_size=6, distinct_classes=True)
    loader = Loader(pictures, wanted, seed=3)
    seen: set[int] = set()
    for step in range(60):
        batch = loader.batch(step)
        assert batch.classes is not None and len(set(batch.classes.tolist())) == 6
        assert [int(index) % 8 for index in batch.indices] == batch.classes.tolist()
        seen.update(batch.indices.tolist())
    assert seen == set(np.flatnonzero(pictures.counts))
    again = Loader(pictures, wanted, seed=3).batch(59)
    assert (again.pictures == batch.pictures).all() and again.captions == batch.captions
    shares = [Loader(pictures, wanted, seed=3, rank=rank, processes=2).batch(59).indices for rank in range(2)]
    assert np.concatenate(shares).tolist() == batch.indices.tolist()
    with pytest.raises(DataError, match="a batch of 9 pictures of different classes cannot be drawn from the 8 classes"):
        Loader(pictures, phase(batch_size=9, distinct_classes=True), seed=3)
    pictures.class_ids = None  # type: ignore[assignment]
    assert len(Loader(pictures, phase(batch_size=9, distinct_classes=True), seed=3).batch(0)) == 9


def test_sentences_that_were_dear_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("limner.data.captions.SLOW_SECONDS", -1.0)
    pictures = Numbered()
    tokenizer = WordTokenizer.build(caption for index in range(len(pictures)) for caption in pictures.captions(index))
    torch.manual_seed(0)
    encoder = RecurrentEncoder(tokenizer, RecurrentSettings(word_embedding=4, hidden=4, sentence_width=6))
    table = CaptionFeatures(encoder, pictures).table
    (kept,) = (tmp_path / "cache").rglob("*.npy")
    assert table is not None and np.array_equal(np.load(kept), table.numpy())
    np.save(kept, np.load(kept) + 1)
    again = CaptionFeatures(encoder, pictures).table
    assert again is not None and again.equal(table + 1)
    kept.write_bytes(b"short")
    mended = CaptionFeatures(encoder, pictures).table
    assert mended is not None and mended.equal(table)
    with torch.no_grad():
        encoder.to_sentence.bias.add_(1)
    changed = CaptionFeatures(encoder, pictures).table
    assert changed is not None and not changed.equal(table) and len(list((tmp_path / "cache").rglob("*.npy"))) == 2


def test_unpaired_pictures_are_of_the_whole_split_and_have_no_captions() -> None:
    loader = Loader(Numbered(), phase(batch_size=10), seed=3)
    first, second = loader.batch(0).unpaired, loader.batch(1).unpaired
    assert sorted(numbers(first) + numbers(second)) == list(range(20))  # picture 0, which has no caption, among them
    assert first.captions == [[]] * 10 and first.texts == ()
    assert numbers(first) == numbers(Loader(Numbered(), phase(batch_size=10), seed=3).batch(0).unpaired) != sorted(numbers(first))


def test_without_captions_every_picture_is_trained_on() -> None:
    loader = Loader(Numbered(), phase(batch_size=20, captions=0), seed=3)
    assert sorted(numbers(loader.batch(0))) == list(range(20)) and loader.steps_per_epoch == 1.0
