"""What several tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: test workers share the cores

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

# The same examples on every machine: a change is judged by what it does, not by the day's draw. `HYPOTHESIS_PROFILE=search` draws new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

if TYPE_CHECKING:
    from limner.model import Model


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test computes stays in the user's cache, and nothing there decides a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMNER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_model() -> Model:
    """An untrained model that knows a dozen words and paints 16 px."""
    import torch

    import limner
    from limner.model import Model
    from limner.text.recurrent import RecurrentEncoder
    from limner.text.tokenizers import WordTokenizer

    torch.manual_seed(0)
    tokenizer = WordTokenizer.build(["a red flower with five petals", "the blue bird at night in one tree"])
    encoder = RecurrentEncoder(tokenizer)
    method = limner.create("gan-cls", resolution=16, sentence_width=encoder.sentence_width, preset="cpu", generator_channels=4)
    return Model(method, encoder, {"data": "garden"})
