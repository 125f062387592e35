"""The pass itself: what a score depends on, what it does not, and what is refused. What scores mean is tested in test_known.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from limner.core.errors import DataError, SettingsError
from limner.data.catalog import GardenPictures, open_data
from limner.data.garden import Garden
from limner.metrics.scoring import survey
from limner.metrics.scoring.evaluate import ScoringRequest, Stored, evaluate
from limner.metrics.scoring.known import Known
from limner.metrics.scoring.protocol import comparable
from limner.metrics.scoring.share import Share
from limner.metrics.scoring.table import table

COUNT, SIDE = 80, 32
METRICS = ("fid", "kid", "is", "prdc", "psnr", "ssim", "memorisation", "faithfulness")


@pytest.fixture(scope="module")
def pictures():
    return GardenPictures(Garden("test", length=COUNT, resolution=SIDE))


@pytest.fixture(scope="module")
def known():
    return Known("test", SIDE, GardenPictures(Garden("train", length=70, resolution=SIDE)))


def _scores(painter, pictures, metrics=METRICS, count=COUNT, **options):
    return {score.name: score for score in take(painter, [pictures], metrics, count, **options)}


def take(painter, splits, metrics, count, progress=None, say=None, **options):
    return evaluate(painter, splits, ScoringRequest(metrics=metrics, count=count, **options), progress=progress, say=say)


@pytest.fixture(scope="module")
def found(pictures, known):
    return _scores(known.perfect, pictures, training=known.training)


def test_every_score_carries_its_protocol(found, pictures):
    names = {"fid", "kid", "is", "precision", "recall", "density", "coverage", "psnr", "ssim", "memorisation", "faithfulness", "diversity"}
    names |= {"everything-right", "openness", "coherence"}
    assert set(found) == names
    for name, score in found.items():
        protocol = score.protocol
        assert (protocol.metric, protocol.data, protocol.split, protocol.fingerprint) == (name, "garden", "test", pictures.fingerprint)
        assert (protocol.count, protocol.reference_count, protocol.resolution) == (COUNT, COUNT, SIDE)
        assert (protocol.features_hash is None) == (name in ("psnr", "ssim")) and protocol.version != "unknown"
    text = table(list(found.values()))
    assert "garden/test" in text and [f"  {name}: " for name in names if text.count(f"\n  {name}: ") != 1] == []
    assert text.count(f"against {COUNT} real ones") == text.count("protocol: ") == 1, "what all share is said once"
    assert "note: fid: biased" in text


def test_scores_do_not_depend_on_the_batch_size(found, pictures, known):
    said = []
    again = _scores(
        known.perfect, pictures, training=known.training, batch_size=48, progress=lambda done, total, what: said.append((done, total))
    )
    assert said[-1][0] == said[-1][1] > 0
    for name, score in again.items():
        assert score.value == pytest.approx(found[name].value, rel=1e-4, abs=1e-6), name
        assert score.protocol == found[name].protocol


def test_two_shares_of_the_work_give_the_scores_of_one(found, pictures, known):
    """Each process keeps what it saw; put together in the other order, the scores are those of one process."""
    import threading

    barrier, given = threading.Barrier(2), [None, None]

    def gathering(rank):
        def gather(mine):
            barrier.wait()
            given[rank] = mine
            barrier.wait()
            return [given[0], given[1]]

        return gather

    results = [None, None]

    def work(rank):
        share = Share(rank, 2, gathering(rank))
        results[rank] = _scores(known.perfect, pictures, training=known.training, batch_size=16, share=share)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    alone = _scores(known.perfect, pictures, training=known.training, batch_size=16)
    for name, score in results[0].items():
        if name == "fid":  # sums are rounded in another order, and with so few pictures the roots of what should be 0 feel it
            assert score.value == pytest.approx(alone[name].value, rel=1e-6) and score.protocol == alone[name].protocol
        else:
            assert score == alone[name], name


def test_pixels_are_compared_for_the_first_pictures(pictures, known, monkeypatch):
    whole = _scores(known.perfect, pictures, ("ssim",), 20, batch_size=16)["ssim"]
    monkeypatch.setattr(survey, "COMPARED", 20)
    assert whole.protocol.settings == {"pictures": 20}
    found = _scores(known.perfect, pictures, ("ssim",), 40, batch_size=16)["ssim"]  # the limit falls into the second batch
    assert found.value == pytest.approx(whole.value) and found.protocol.settings == {"pictures": 20}


def test_the_reference_may_be_larger_or_smaller_than_the_count(pictures, known):
    for reference in (40, 10_000):
        scores = take(known.one_picture, [pictures], ["fid", "faithfulness"], 30, reference_count=reference)
        assert {score.protocol.reference_count for score in scores} == {min(reference, COUNT)}
        assert all(np.isfinite(score.value) for score in scores)


def test_real_pictures_are_looked_at_once(pictures, known, tmp_path, monkeypatch):
    metrics = ("fid", "kid", "faithfulness", "memorisation")
    first = _scores(known.one_picture, pictures, metrics, 24, training=known.training, cache=tmp_path)
    assert len(list((tmp_path / "references").iterdir())) == 2
    reads, read = [], survey.stored
    monkeypatch.setattr(survey, "stored", lambda *words: reads.append(words) or read(*words))
    assert _scores(known.one_picture, pictures, metrics, 24, training=known.training, cache=tmp_path) == first and not reads
    _scores(known.one_picture, pictures, metrics, 24, training=known.training, cache=tmp_path, seed=1)  # other pictures are drawn
    assert reads and len(list((tmp_path / "references").iterdir())) == 4
    for path in (tmp_path / "references").iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    assert _scores(known.one_picture, pictures, metrics, 24, training=known.training, cache=tmp_path) == first


def test_what_is_remembered_of_stories_is_not_taken_for_other_pictures_of_them(tmp_path):
    """A model is held against whole stories, a folder against any pictures: as many real ones of one seed, but not the same ones."""
    stories = open_data("garden-stories", "test", 16, length=60)
    there = tmp_path / "theirs"
    there.mkdir()
    for index in range(16):
        Image.fromarray(stories.read([index])[0]).save(there / f"{index:02}.png")

    def painter(captions, samples, seed):
        return torch.from_numpy(stories.read(samples % len(stories))).permute(0, 3, 1, 2)

    for first, second in ((painter, Stored(there)), (Stored(there), painter)):
        cache = tmp_path / type(first).__name__
        take(first, [stories], ["kid"], 16, cache=cache)
        assert take(second, [stories], ["kid"], 16, cache=cache) == take(second, [stories], ["kid"], 16)


def test_wrong_requests_say_what_is_wrong(pictures, known):
    with pytest.raises(SettingsError, match="did you mean 'faithfulness'"):
        take(known.perfect, [pictures], ["faithfullness"], COUNT)
    with pytest.raises(SettingsError, match="at least 2"):
        take(known.perfect, [pictures], ["fid"], 1)
    with pytest.raises(SettingsError, match="no metric is named: give some of fid, .*, or all"):
        take(known.perfect, [pictures], [], COUNT)
    for few in (0, 1):
        with pytest.raises(SettingsError, match=f"reference_count is {few}: a score needs at least 2 real pictures"):
            take(known.perfect, [pictures], ["kid"], COUNT, reference_count=few)
    with pytest.raises(SettingsError, match="paints 16 px and the reference is opened at 32"):
        take(lambda captions, samples, seed: torch.zeros(len(captions), 3, 16, 16, dtype=torch.uint8), [pictures], ["fid"], 4)
    for name in ("r-precision", "r-precision-as-published", "vs", "clip-score", "ap"):
        with pytest.raises(SettingsError, match=f"^{name} needs a matching model: give one"):
            take(known.perfect, [pictures], [name], COUNT)
    with pytest.raises(SettingsError, match="needs the pictures that the generator was trained on"):
        take(known.perfect, [pictures], ["memorisation"], COUNT)
    with pytest.raises(SettingsError, match="held-out real ones, and 'train' holds training pictures"):
        take(known.perfect, [known.training], ["memorisation"], 8, training=known.training)
    both = GardenPictures(Garden("train", length=8, resolution=SIDE))
    both.split = "train+val"
    with pytest.raises(SettingsError, match=r"held-out real ones, and 'train\+val' holds training pictures: take --split test"):
        take(known.perfect, [both], ["memorisation"], 8, training=known.training)
    known.training.split = "train+val"
    with pytest.raises(SettingsError, match="the model was trained on 'val' as well: take --split test"):
        take(known.perfect, [GardenPictures(Garden("val", length=8, resolution=SIDE))], ["memorisation"], 8, training=known.training)
    known.training.split = "train"
    with pytest.raises(SettingsError, match="class-accuracy takes captions that name colour and shape, and none of 8 does: raise --count"):
        take(known.perfect, [_telling(["a small flower at night"])], ["class-accuracy"], 8)
    network = _without_classes()
    with pytest.raises(SettingsError, match="needs a feature network with classes"):
        take(known.perfect, [pictures], ["is"], COUNT, network=network)


def test_metrics_that_nobody_named_are_left_out_where_they_cannot_be_taken(known, pictures):
    told = []
    scores = take(known.perfect, [pictures], ["kid", "memorisation"], 8, say=told.append, usual=True)
    assert [score.name for score in scores] == ["kid"]
    assert len(told) == 1 and "memorisation is left out on garden/test: memorisation needs the pictures" in told[0]
    with pytest.raises(SettingsError, match="memorisation is left out on garden/test"):
        take(known.perfect, [pictures], ["memorisation"], 8, usual=True)


def test_scores_of_other_sampling_are_not_comparable(known, pictures):
    plain, guided = (take(known.perfect, [pictures], ["psnr"], 8, sampling=sampling)[0] for sampling in ("", "guidance 2"))
    assert guided.protocol.captions == f"{plain.protocol.captions}, guidance 2"
    assert "captions" in (comparable(plain, guided) or "")


def _telling(captions):
    """A few garden pictures with other captions."""
    found = GardenPictures(Garden("test", length=8, resolution=SIDE))
    found.captions = lambda index: captions
    return found


def _without_classes():
    from limner.features.garden_judge import load_judge

    network = load_judge()
    network.logit_count = None
    return network


def test_other_pictures_than_the_gardens(known):
    folder = GardenPictures(Garden("test", length=20, resolution=SIDE))
    folder.name, folder.holds = "my-flowers", None
    with pytest.raises(SettingsError, match="cannot judge 'my-flowers'"):
        take(known.perfect, [folder], ["faithfulness"], COUNT)
    told = []
    scores = take(known.one_picture, [folder], ["all"], 20, say=told.append)
    assert {score.protocol.data for score in scores} == {"my-flowers"}
    assert {score.name for score in scores} >= {"fid", "kid", "precision", "psnr", "ms-ssim"}
    left_out = {line.split(" is left out")[0] for line in told}
    assert left_out >= {"faithfulness", "diversity", "class-accuracy", "memorisation", "r-precision", "ap"}
    assert all("\n" not in line for line in told)


def test_margins_that_training_crops_from_are_not_scored(pictures, known):
    wide = GardenPictures(Garden("test", length=COUNT, resolution=SIDE))
    inner = wide.read
    wide.stored_resolution = SIDE + 6
    wide.read = lambda indices: np.pad(inner(indices), ((0, 0), (3, 3), (3, 3), (0, 0)), constant_values=7)
    scores = [take(known.one_picture, [source], ["fid", "ssim"], 20) for source in (pictures, wide)]
    assert scores[0] == scores[1]


@pytest.fixture
def folder(tmp_path, pictures):
    """The real pictures of the split themselves, under their own names, with their captions beside them."""
    for index in range(30):
        path = tmp_path / "theirs" / f"{pictures.key(index)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures.read([index])[0]).save(path)
        path.with_suffix(".txt").write_text(pictures.captions(index)[0] + "\n")
    return tmp_path / "theirs"


def test_a_folder_of_pictures_is_scored_as_if_it_were_painted(folder, pictures):
    told = []
    scores = {score.name: score for score in take(Stored(folder), [pictures], ["all"], 30, say=told.append)}
    assert np.isinf(scores["psnr"].value) and scores["ssim"].value == pytest.approx(1.0)  # held against themselves, by name
    assert scores["faithfulness"].value > 0.97 and scores["class-accuracy"].value > 0.9
    assert scores["fid"].protocol.count == 30 and "folder of 30" in scores["fid"].protocol.captions
    assert "ms-ssim" not in scores and any(line.startswith("ms-ssim is left out") for line in told)
    for path in folder.rglob("*.txt"):
        path.unlink()
    with pytest.raises(SettingsError, match="needs a caption for each picture, and a folder of 30 without captions has none"):
        take(Stored(folder), [pictures], ["faithfulness"], 30)
    assert take(Stored(folder), [pictures], ["kid"], 30)[0].value == pytest.approx(scores["kid"].value)


def test_a_folder_that_cannot_be_scored_is_refused(folder, pictures, tmp_path):
    with pytest.raises(DataError, match="holds 30 pictures, not 31"):
        Stored(folder, 31)
    first = next(folder.rglob("*.png"))
    with Image.open(first) as picture:
        picture.resize((24, 24)).save(first)
    with pytest.raises(DataError, match="a score needs pictures of one size"):
        Stored(folder)
    for path in folder.rglob("*.png"):
        Image.new("RGB", (24, 24)).save(path)
    with pytest.raises(DataError, match="holds pictures of 24 px, below the reference's 32: give --resolution 24"):
        take(Stored(folder), [pictures], ["kid"], 30)
    for path in folder.rglob("*.png"):
        Image.new("RGB", (40, 48)).save(path)
    with pytest.raises(DataError, match="not square"):
        Stored(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds 0 picture"):
        Stored(tmp_path / "empty")


def test_scores_under_unlike_networks_are_not_compared(found, pictures, known):
    (other,) = take(known.perfect, [pictures], ["kid"], COUNT, seed=1)
    reason = comparable(found["kid"], other)
    assert reason is not None and "seed" in reason
