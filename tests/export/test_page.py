"""The page in a headless Chromium without a network: the same pictures, the same words."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shared.browser import PROGRAM, Browser

from limner.core.errors import SettingsError
from limner.explore.interpolate import between_captions
from limner.model import Model
from limner.text.char_cnn_rnn import CharCnnRnn, CharCnnRnnSettings
from limner.text.clip_text import ClipText, ClipTextSettings
from limner.text.glove import Glove
from limner.text.infersent import MARKS, InferSent, InferSentSettings
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.text.no_text import NoText
from limner.text.summary_lstm import LetterTokenizer, SummaryLSTM, SummarySettings
from limner.text.tokenizers import CharacterTokenizer
from limner.text.word_vectors import WordVectors

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from limner.export.onnx_file import onnx_model, sealed  # noqa: E402
from limner.export.page import page, reader_of, runtime_version  # noqa: E402

SAID = [
    "A Red flower, isn't it?",
    "five-petalled \u201cflowers\u201d \u2019n\u2019 trees",
    "\u4e00\u6735\u7ea2\u82b1 a flower",
    "po\u006b\u00e9mon poke\u0301mon \uff32\uff25\uff24 \u2764\ufe0f",
    "red " * 60,
    "bird",
]


def test_what_a_page_holds(tiny_model: Model) -> None:
    assert reader_of(NoText()) is None
    with pytest.raises(SettingsError, match="use --to onnx"):
        reader_of(ClipText(None, ClipTextSettings(vocabulary=20, context_length=9, width=8, layers=1, heads=2, sentence_width=6)))
    assert runtime_version().count(".") == 2


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")
def test_a_page_paints_what_the_model_paints(tiny_model: Model, tmp_path: Path) -> None:
    from limner.export import graphs

    words = ["red", "flower", "bird", "isn't", "\u82b1", "a"]
    vectors = WordVectors([*words, *MARKS[1]], np.zeros((8, 3), np.float32))
    encoders = {
        "recurrent": tiny_model.encoder,
        "vocabulary": LSTMEncoder(Vocabulary(words), LSTMSettings(width=4)),
        "letters": SummaryLSTM(LetterTokenizer(["red", "flower", ",", "'", "t"], 9), SummarySettings(word_embedding=2, width=3, layers=1)),
        "glove": Glove(vectors),
        "infersent": InferSent(vectors, InferSentSettings(hidden=2)),
        "characters": CharCnnRnn(
            CharCnnRnnSettings(convolutions=(2, 2, 2), sentence_width=3), CharacterTokenizer("abcdefghijklmnopqrstuvwxyz ", 100)
        ),
    }
    file = tmp_path / "tiny.html"
    file.write_bytes(page(graphs.parsed(sealed(*onnx_model(tiny_model))), tiny_model))
    assert file.stat().st_size < 25e6
    with Browser() as browser:
        browser.open(file, "#caption=a+red+flower&seed=7&count=3")
        state = browser.wait("/ ms\\.|failed|cannot/.test(document.getElementById('state').textContent) && "
                             "document.getElementById('state').textContent")  # fmt: skip
        assert state.startswith("3 pictures in")
        assert browser.run("performance.getEntriesByType('resource').length") == 0, "nothing is fetched"
        assert_alike(shown(browser), tiny_model.pictures(["a red flower"] * 3, [0, 1, 2], 7))
        assert_alike(painted(browser, "'the blue bird', -3n, [5, 2 ** 35]"), tiny_model.pictures(["the blue bird"] * 2, [5, 2**35], -3))
        walk = between_captions(tiny_model, "a red flower", "the blue bird", steps=3)
        assert_alike(painted(browser, "'a red flower', 0n, [0], 'the blue bird', 0.5"), walk[1:2])

        for name, encoder in encoders.items():
            reader = reader_of(encoder)
            assert reader is not None
            browser.run(f"Object.assign(limner.reader, {json.dumps({**reader.__dict__})})")
            for caption in SAID:
                ids, mask = encoder.tokenize([caption]) if encoder.words(caption) else (None, None)
                if ids is None or mask is None:
                    continue
                found = browser.run(f"limner.readParts({json.dumps(caption)}).map(([, id]) => id)")
                assert found == ids[0, : int(mask.sum())].tolist(), f"{name} reads {caption!r}"
                assert browser.run(f"limner.unknownWords({json.dumps(caption)})") == encoder.unknown_words(caption), f"{name}: {caption!r}"


def shown(browser: Browser) -> np.ndarray[Any, Any]:
    """The pictures on the page, as a browser decodes them."""
    found = browser.run(
        """Promise.all([...document.querySelectorAll('#pictures img')].map(async (image) => {
          await image.decode();
          const canvas = Object.assign(document.createElement('canvas'), {width: image.naturalWidth, height: image.naturalHeight});
          canvas.getContext('2d').drawImage(image, 0, 0);
          const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          return btoa(String.fromCharCode(...data.filter((_, place) => place % 4 < 3)));
        }))"""
    )
    return decoded(found)


def painted(browser: Browser, arguments: str) -> np.ndarray[Any, Any]:
    """What the page's own function paints."""
    return decoded(browser.run(f"limner.paint({arguments}).then((found) => found.images.map((one) => btoa(String.fromCharCode(...one))))"))


def decoded(found: list[str]) -> np.ndarray[Any, Any]:
    rows = [np.frombuffer(base64.b64decode(one), np.uint8) for one in found]
    side = round((rows[0].size / 3) ** 0.5)
    return np.stack([row.reshape(side, side, 3) for row in rows])


def assert_alike(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 2
