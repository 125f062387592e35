from pathlib import Path

import pytest
import torch

from limner.core.errors import SettingsError
from limner.text.byte_pairs import BytePairTokenizer
from limner.text.clip_text import ClipText, ClipTextSettings
from limner.text.saving import load_encoder, save_encoder

CAPTIONS = ["a pink flower", "five petals", "a blue flower with five round petals", ""]


@pytest.fixture
def encoder() -> ClipText:
    torch.manual_seed(0)
    tokenizer = BytePairTokenizer.train(CAPTIONS, context_length=24)
    settings = ClipTextSettings(vocabulary=len(tokenizer), context_length=24, width=16, layers=2, heads=2, sentence_width=12)
    return ClipText(tokenizer, settings).eval()


def test_features_have_the_promised_shapes(encoder: ClipText) -> None:
    features = encoder(CAPTIONS)
    assert features.words is not None and features.mask is not None and features.tokens is not None
    length = features.mask.shape[1]
    assert features.sentence.shape == (4, 12) and features.words.shape == (4, length, 16) and features.tokens.shape == (4, length)
    assert (features.words[~features.mask] == 0).all() and (features.tokens[~features.mask] == 0).all()
    assert features.mask.sum(1).tolist() == [len(encoder.words(caption)) + 2 for caption in CAPTIONS]
    assert encoder.words("a pink flower")[0] == "a" and encoder.unknown_words("entirely unheard of") == []


def test_a_caption_does_not_depend_on_its_neighbours_or_its_padding(encoder: ClipText) -> None:
    together = encoder(CAPTIONS)
    ids, _ = encoder._tokenizer(CAPTIONS)
    whole = encoder.read(torch.nn.functional.pad(ids, (0, 24 - ids.shape[1])))  # as the authors pad, and without a mask
    assert torch.allclose(whole.sentence, together.sentence, atol=1e-6)
    for row, caption in enumerate(CAPTIONS):
        alone = encoder([caption])
        assert alone.words is not None and together.words is not None
        assert torch.allclose(alone.sentence[0], together.sentence[row], atol=1e-6)
        assert torch.allclose(alone.words[0], together.words[row, : alone.words.shape[1]], atol=1e-6)


def test_reading_is_causal_and_hears_order(encoder: ClipText) -> None:
    first, second = encoder(["a pink flower", "a pink petals"]).words, encoder(["pink flower a"]).sentence
    assert first is not None and torch.allclose(first[0, :3], first[1, :3], atol=1e-6)
    assert not torch.allclose(encoder(["flower pink a"]).sentence, second, atol=1e-3)


def test_a_saved_encoder_comes_back_equal(encoder: ClipText, tmp_path: Path) -> None:
    save_encoder(encoder, tmp_path / "text")
    again = load_encoder(tmp_path / "text")
    assert torch.equal(again(CAPTIONS).sentence, encoder(CAPTIONS).sentence)


def test_without_a_vocabulary_ids_are_read_and_captions_refused(tmp_path: Path) -> None:
    bare = ClipText(None, ClipTextSettings(vocabulary=9, context_length=5, width=8, layers=1, heads=1, sentence_width=4))
    save_encoder(bare, tmp_path / "bare")
    again = load_encoder(tmp_path / "bare")
    assert isinstance(again, ClipText) and again.read(torch.tensor([[7, 1, 8, 0]])).sentence.shape == (1, 4)
    for ask in (again, again.words, again.was_cut):
        with pytest.raises(SettingsError, match="import it again with --vocabulary"):
            ask("a")


def test_what_does_not_fit_is_refused() -> None:
    tokenizer = BytePairTokenizer([], context_length=24)
    with pytest.raises(SettingsError, match="the tokenizer has 514 ids"):
        ClipText(tokenizer, ClipTextSettings(vocabulary=515, context_length=24))
    with pytest.raises(SettingsError, match="cannot be split among 3 heads"):
        ClipTextSettings(width=16, heads=3)
