"""Pretrained sentence encoders: a tiny made-up folder in BERT's layout, held against PyTorch's own transformer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from limner.core.errors import CheckpointError, DataError
from limner.text.bert import Bert
from limner.text.saving import load_encoder, save_encoder

tokenizers = pytest.importorskip("tokenizers")
WIDTH, INNER, HEADS, LAYERS, POSITIONS = 12, 20, 3, 2, 16
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "blue", "fox", "##es", "flower"]
CAPTIONS = ["a red fox", "blue foxes", "A RED flower a blue fox"]


def tokenizer() -> dict[str, Any]:
    """A WordPiece tokenizer as BERT's are, which puts marks around captions."""
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece({word: place for place, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    made.enable_padding(length=12)  # as some folders do, and this encoder does by itself
    described: dict[str, Any] = json.loads(made.to_str())
    return described


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder, as sentence-transformers writes it."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.5

    state = {
        "embeddings.word_embeddings.weight": drawn(len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": drawn(POSITIONS, WIDTH),
        "embeddings.token_type_embeddings.weight": drawn(2, WIDTH),
        "embeddings.LayerNorm.weight": drawn(WIDTH),
        "embeddings.LayerNorm.bias": drawn(WIDTH),
        "pooler.dense.weight": drawn(WIDTH, WIDTH),
        "pooler.dense.bias": drawn(WIDTH),
    }
    sizes = {
        "attention.self.query": (WIDTH, WIDTH),
        "attention.self.key": (WIDTH, WIDTH),
        "attention.self.value": (WIDTH, WIDTH),
        "attention.output.dense": (WIDTH, WIDTH),
        "intermediate.dense": (INNER, WIDTH),
        "output.dense": (WIDTH, INNER),
        "attention.output.LayerNorm": (WIDTH,),
        "output.LayerNorm": (WIDTH,),
    }
    for layer in range(LAYERS):
        for name, size in sizes.items():
            state[f"encoder.layer.{layer}.{name}.weight"] = drawn(*size)
            state[f"encoder.layer.{layer}.{name}.bias"] = drawn(size[0])
    folder = tmp_path / "tiny"
    (folder / "1_Pooling").mkdir(parents=True)
    save_file(state, folder / "model.safetensors")
    config = {
        "model_type": "bert",
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": POSITIONS,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
    }
    modules = [
        {"type": f"sentence_transformers.models.{name}", "path": path} for name, path in (("Transformer", ""), ("Pooling", "1_Pooling"))
    ]
    files = {
        "config.json": config,
        "tokenizer.json": tokenizer(),
        "modules.json": [*modules, {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}],
        "1_Pooling/config.json": {"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": 8},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def expected(folder: Path, ids: list[int]) -> tuple[Tensor, Tensor]:
    """Sentence and token features of one caption by PyTorch's own layers, in float64."""
    from safetensors.torch import load_file

    state = {name: value.double() for name, value in load_file(folder / "model.safetensors").items()}
    norm = nn.LayerNorm(WIDTH, 1e-6).double()
    norm.load_state_dict({key: state[f"embeddings.LayerNorm.{key}"] for key in ("weight", "bias")})
    values = state["embeddings.word_embeddings.weight"][ids] + state["embeddings.position_embeddings.weight"][: len(ids)]
    values = norm(values + state["embeddings.token_type_embeddings.weight"][0])[None]
    for number in range(LAYERS):
        own = {name.removeprefix(f"encoder.layer.{number}."): value for name, value in state.items()}
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, 0.0, "gelu", 1e-6, batch_first=True, norm_first=False).double()
        parts = {"in_proj": [f"attention.self.{name}" for name in ("query", "key", "value")]}
        renamed = {
            "self_attn.out_proj": "attention.output.dense",
            "linear1": "intermediate.dense",
            "linear2": "output.dense",
            "norm1": "attention.output.LayerNorm",
            "norm2": "output.LayerNorm",
        }
        given = {f"{new}.{leaf}": own[f"{old}.{leaf}"] for new, old in renamed.items() for leaf in ("weight", "bias")}
        given |= {
            f"self_attn.in_proj_{leaf}": torch.cat([own[f"{part}.{leaf}"] for part in parts["in_proj"]]) for leaf in ("weight", "bias")
        }
        layer.load_state_dict(given)
        values = layer(values)
    mean = values[0].mean(0)
    return mean / mean.norm(), values[0]


def test_it_reads_as_bert_does(place: Path) -> None:
    encoder = load_encoder(place)
    assert isinstance(encoder, Bert) and not encoder.training and not any(value.requires_grad for value in encoder.parameters())
    features = encoder.double()(CAPTIONS)
    assert features.words is not None and features.mask is not None
    for row, caption in enumerate(CAPTIONS):
        pieces = ["[CLS]", *encoder.words(caption), "[SEP]"]
        sentence, words = expected(place, [VOCABULARY.index(piece) for piece in pieces])
        assert encoder.read_words(caption) == pieces and int(features.mask[row].sum()) == len(pieces)
        assert torch.allclose(features.sentence[row], sentence, rtol=0, atol=1e-12)
        assert torch.allclose(features.words[row, : len(pieces)], words, rtol=0, atol=1e-12)
        assert not features.words[row, len(pieces) :].any()
    assert encoder.words("blue foxes") == ["blue", "fox", "##es"]
    assert encoder.unknown_words("a dog") == ["[UNK]"] and not encoder.unknown_words("a fox")


def test_half_of_a_surrogate_pair_is_refused(place: Path) -> None:
    encoder = load_encoder(place)
    for read in (lambda: encoder(["a \ud800 fox"]), lambda: encoder.words("a \ud800 fox")):
        with pytest.raises(DataError, match="is not UTF-8 text"):
            read()


def test_captions_are_cut_where_the_folder_says(place: Path) -> None:
    encoder = load_encoder(place)
    long = " ".join(["red"] * 9)
    assert str(encoder.limit) == "6 word pieces" and encoder.was_cut(long) and not encoder.was_cut("red " * 6)
    assert len(encoder.read_words(long)) == 8 == encoder([long]).words.shape[1]


def test_the_first_token_can_be_the_sentence(place: Path) -> None:
    (place / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    (place / "modules.json").write_text(json.dumps([{"type": "models.Pooling", "path": "1_Pooling"}]))
    features = load_encoder(place)(CAPTIONS)
    assert torch.equal(features.sentence, features.words[:, 0])


def test_it_is_saved_whole(place: Path, tmp_path: Path) -> None:
    encoder = load_encoder(place)
    save_encoder(encoder, tmp_path / "saved")
    again = load_encoder(tmp_path / "saved")
    assert torch.equal(encoder(CAPTIONS).sentence, again(CAPTIONS).sentence)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", {"model_type": "mpnet"}, "a model of the type 'mpnet'"),
        ("config.json", {"hidden_act": "relu"}, "wants the activation 'relu'"),
        ("config.json", {"hidden_size": 24}, "are not those of its config.json"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pools by pooling_mode_mean_tokens, pooling_mode_max_tokens"),
        ("tokenizer.json", None, "has no tokenizer.json"),
        ("model.safetensors", None, "has no model.safetensors"),
    ],
)
def test_what_cannot_be_read_is_said(file: str, change: dict[str, Any] | None, message: str, place: Path) -> None:
    if change is None:
        (place / file).unlink()
    else:
        (place / file).write_text(json.dumps(json.loads((place / file).read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        load_encoder(place)
