import json
from pathlib import Path

import pytest
import torch

from limner.core.errors import CheckpointError, LimnerError, SettingsError
from limner.text.encoding import encode_all
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.registry import encoder_config, encoder_from_config
from limner.text.saving import load_encoder, load_shipped_encoder, save_encoder
from limner.text.tokenizers import WordTokenizer

CAPTIONS = ["a pink flower", "five petals", "a blue flower with five round petals in a meadow", "petals", "a pink flower"]
SMALL = RecurrentSettings(word_embedding=12, hidden=10, sentence_width=16)


@pytest.fixture
def encoder() -> RecurrentEncoder:
    torch.manual_seed(0)
    return RecurrentEncoder(WordTokenizer.build(CAPTIONS, maximum_words=12), SMALL).eval()


def test_features_have_the_promised_shapes(encoder: RecurrentEncoder) -> None:
    features = encoder([*CAPTIONS, "entirely unheard of"])
    assert features.words is not None and features.mask is not None and features.tokens is not None
    assert features.sentence.shape == (6, encoder.sentence_width) and features.words.shape == (6, 10, encoder.word_width)
    assert torch.allclose(features.sentence.square().mean(1), torch.ones(6))
    assert (features.words[~features.mask] == 0).all() and torch.equal(features.mask, features.tokens != 0)


def test_a_caption_does_not_depend_on_its_neighbours(encoder: RecurrentEncoder) -> None:
    together = encoder(CAPTIONS)
    for row, caption in enumerate(CAPTIONS):
        alone = encoder([caption])
        assert alone.words is not None and together.words is not None
        assert torch.allclose(alone.sentence[0], together.sentence[row], rtol=0, atol=1e-6)
        assert torch.allclose(alone.words[0], together.words[row, : alone.words.shape[1]], rtol=0, atol=1e-6)


def test_word_order_is_heard(encoder: RecurrentEncoder) -> None:
    first, second = encoder(["pink petals a blue flower", "blue petals a pink flower"]).sentence
    assert (first - second).abs().max() > 1e-3


def test_encode_all_keeps_order_and_does_not_depend_on_chunks(encoder: RecurrentEncoder) -> None:
    captions = CAPTIONS * 3 + ["a flower", "a meadow with five blue petals in a flower"]
    encoder.train()
    features, direct = encode_all(encoder, captions, chunk=2), encoder(captions)
    assert encoder.training and not features.sentence.requires_grad
    assert torch.allclose(features.sentence, direct.sentence, atol=1e-6) and features.words is not None and direct.words is not None
    assert torch.allclose(features.words, direct.words, atol=1e-6)
    assert features.tokens is not None and torch.equal(features.tokens, direct.tokens)
    sentences = encode_all(encoder, captions, chunk=2, sentence_only=True)
    assert sentences.words is None and torch.equal(sentences.sentence, features.sentence)
    assert encode_all(encoder, []).sentence.shape == (0, 16)


def test_a_saved_encoder_comes_back_equal_and_replaces_the_old_one(encoder: RecurrentEncoder, tmp_path: Path) -> None:
    folder = tmp_path / "text"
    save_encoder(RecurrentEncoder(encoder.tokenizer, SMALL), folder)
    save_encoder(encoder, folder, card="# A card\n")
    again = load_encoder(folder)
    assert encoder_config(again) == encoder_config(encoder) and not again.training
    assert torch.equal(again(CAPTIONS).sentence, encoder(CAPTIONS).sentence)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def _cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def _flip_one_bit(folder: Path) -> None:
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)


def _change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_cut_weights, "cut short or changed"),
        (_flip_one_bit, "cut short or changed"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot read .*model.safetensors"),
        (lambda folder: (folder / "config.json").unlink(), "does not hold a text encoder"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot read"),
        (lambda folder: (folder / "config.json").write_text("[]"), "does not describe a text encoder"),
        (lambda folder: _change(folder, version=99), "version 99 of the format, this Limner reads version 2"),
        (lambda folder: _change(folder, text={"kind": "recurent"}), "did you mean 'recurrent'"),
        (lambda folder: _change(folder, text={"kind": "recurrent", "tokenizer": {"vocabulary": ["a"]}}), "does not fit this version"),
        (lambda folder: _change(folder, text={"kind": "recurrent", "tokenizer": {"vocabulary": ["a"]}, "settings": {}}), "cannot read"),
    ],
)
def test_a_damaged_folder_gets_one_line(encoder: RecurrentEncoder, tmp_path: Path, harm, message: str) -> None:  # type: ignore[no-untyped-def]
    save_encoder(encoder, tmp_path / "text")
    harm(tmp_path / "text")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder(tmp_path / "text")
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_gets_one_line(encoder: RecurrentEncoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write a text encoder alone to .*: free some space or choose another folder"):
        save_encoder(encoder, tmp_path / "file" / "text")


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'garden'"):
        load_shipped_encoder("gardn")
    with pytest.raises(LimnerError, match="did you mean 'recurrent'"):
        encoder_from_config({"kind": "recurrant"})
