"""InferSent against stored results of its authors' code, as T2F keeps a copy of it: both versions, maximum and mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shared.golden_set import GoldenSet
from shared.keras_files import glove_file
from shared.rounding_more import Found, Realized, realized, scaled
from torch import Tensor

from limner.interop.infersent import Options, import_infersent
from limner.text.infersent import InferSent
from limner.text.saving import load_encoder

Given = tuple[dict[str, InferSent]]
PREFIX = "infersent_"


@pytest.fixture(scope="module")
def golden() -> GoldenSet:
    return GoldenSet("progan-t2f", "extra.json")


@pytest.fixture(scope="module")
def facts(golden: GoldenSet) -> dict[str, Any]:
    return golden.part("infersent")


@pytest.fixture(scope="module")
def vectors(golden: GoldenSet, facts: dict[str, Any]) -> Tensor:
    return golden.inputs["infersent_word_vectors"]


@pytest.fixture(scope="module")
def given(golden: GoldenSet, facts: dict[str, Any], vectors: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Each stored encoder from its files to a folder and back, reading padding as it was released."""
    return (encoders(golden, facts, vectors, tmp_path_factory.mktemp("released"), released=True),)


def encoders(golden: GoldenSet, facts: dict[str, Any], vectors: Tensor, folder: Path, *, released: bool) -> dict[str, InferSent]:
    file = glove_file(folder / "vectors.txt", facts["words"], vectors.numpy())
    (folder / "words.txt").write_text("\n".join(facts["words"]))
    found = {}
    for name, entry in facts["models"].items():
        version = int(name.removeprefix("v")[0])
        import_infersent(
            Options(
                file=golden.folder / entry["file"],
                vectors=file,
                vocabulary=folder / "words.txt",
                version=version,  # type: ignore[arg-type]
                pooling=entry["pool"],
                padding="in-the-maximum" if released and version == 1 else "left-out",
                cutting="spaces",
                out=folder / name,
            )
        )
        encoder = load_encoder(folder / name)
        assert isinstance(encoder, InferSent) and encoder.settings.hidden == facts["hidden"]
        assert {key.removeprefix("reader."): list(value.shape) for key, value in encoder.state_dict().items() if "reader" in key} == {
            key.removeprefix("enc_lstm."): shape for key, shape in entry["keys"].items()
        }
        found[name] = encoder
    return found


def computation(sentences: list[str]) -> Callable[..., Found]:
    @torch.no_grad()
    def compute(encoders: dict[str, InferSent]) -> Found:
        return Found({f"{PREFIX}{name}": encoder(sentences).sentence for name, encoder in encoders.items()})

    return compute


def stored(golden: GoldenSet) -> dict[str, Tensor]:
    return {name: value for name, value in golden.outputs.items() if name.startswith(PREFIX)}


@pytest.fixture(scope="module")
def everything(facts: dict[str, Any], given: Given) -> Realized:
    return realized(computation(facts["sentences"]), *given)


def test_every_array(golden: GoldenSet, everything: Realized) -> None:
    everything.same_arrays(stored(golden))


def _other_marks(given: Given) -> None:
    for encoder in given[0].values():
        encoder.settings = type(encoder.settings)(**{**vars(encoder.settings), "version": 3 - encoder.settings.version})


BREAKS: dict[str, Callable[[Given], Any]] = {
    "weights": lambda given: scaled(given[0]["v1_max"].reader.weight_ih_l0),
    "weights backward": lambda given: scaled(given[0]["v2_mean"].reader.weight_hh_l0_reverse),
    "word vectors": lambda given: scaled(given[0]["v2_max"].table.vectors),
    "marks of the other version": _other_marks,
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_coefficient_is_noticed(golden: GoldenSet, facts: dict[str, Any], given: Given, everything: Realized, name: str) -> None:
    everything.notices("arrays", stored(golden), BREAKS[name], computation(facts["sentences"]), *given)


def test_padding_matters_in_version_1_alone(
    golden: GoldenSet, facts: dict[str, Any], vectors: Tensor, everything: Realized, tmp_path: Path
) -> None:
    """By default a sentence has the same embedding in any batch: as the released version 2 in a batch, version 1 for the longest one."""
    found = computation(facts["sentences"])(encoders(golden, facts, vectors, tmp_path, released=False)).arrays
    one = stored(golden)
    same = {name: value for name, value in found.items() if name != f"{PREFIX}v1_max"}
    assert everything.holds_for(one, same) == len(facts["models"]) - 1
    default, released = found[f"{PREFIX}v1_max"], one[f"{PREFIX}v1_max"]
    lengths = [len(sentence.split()) for sentence in facts["sentences"]]
    longest = lengths.index(max(lengths))
    for row in range(len(lengths)):
        expected = default[row] if row == longest else default[row].clamp_min(0)
        torch.testing.assert_close(released[row], expected, rtol=0, atol=1e-5)
        assert row == longest or (default[row] < -1e-3).any(), "else the two forms are not told apart"


def test_parameters_of_the_whole_width(facts: dict[str, Any]) -> None:
    from limner.text.infersent import InferSentSettings
    from limner.text.word_vectors import WordVectors

    encoder = InferSent(WordVectors.empty({"words": ["a"], "width": 300}), InferSentSettings())
    assert sum(value.numel() for value in encoder.parameters()) == facts["full_parameters (word 300, hidden 2048, bidirectional)"]
