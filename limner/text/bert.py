"""Pretrained sentence encoders in BERT's layout (Devlin et al., NAACL 2019, arXiv:1810.04805), such as MiniLM (Wang et al., NeurIPS 2020).

A folder as Hugging Face's libraries write it holds `config.json`, `tokenizer.json` and `model.safetensors`; one of sentence-transformers
(Reimers and Gurevych, EMNLP 2019, arXiv:1908.10084) also says how tokens become a sentence: by their mean, or by the first one. Such an
encoder has read more than any set of captions holds, so that words that no training caption has mean something. It is never trained here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core.errors import CheckpointError, DataError, SettingsError
from limner.core.json_text import parse_json
from limner.core.text import TextFeatures
from limner.text.encoder import Limit, TextEncoder
from limner.text.tokenizers import Tokens
from limner.text.words import not_text

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class BertSettings:
    """Sizes of a `Bert`, and how its tokens become a sentence; the defaults are those of MiniLM with six layers."""

    vocabulary: int = 30_522
    """How many ids there are."""
    positions: int = 512
    """Tokens of a caption for which there is a position, its start and end included."""
    kinds: int = 2
    """Embeddings of a sentence's place in a pair; a caption is always the first."""
    width: int = 384
    """Width of the sentence and of each token."""
    layers: int = 6
    """Blocks of the transformer."""
    heads: int = 12
    """Heads of each attention."""
    inner: int = 1536
    """Width between the two layers of a block's perceptron."""
    epsilon: float = 1e-12
    """What layer normalisation adds to the variance."""
    maximum: int = 256
    """Tokens of a caption that are read, its start and end included."""
    pooling: Literal["mean", "first"] = "mean"
    """Whether the sentence is the mean of all tokens or the first one."""
    normalized: bool = False
    """Whether sentences are brought to length 1."""


class _Block(nn.Module):
    """BERT's block, which normalises after each sum: [B, T, width] -> [B, T, width]."""

    def __init__(self, settings: BertSettings) -> None:
        super().__init__()
        self.heads = settings.heads
        self.query, self.key, self.value, self.mixed = (nn.Linear(settings.width, settings.width) for _ in range(4))
        self.attention_norm = nn.LayerNorm(settings.width, settings.epsilon)
        self.wide, self.narrow = nn.Linear(settings.width, settings.inner), nn.Linear(settings.inner, settings.width)
        self.norm = nn.LayerNorm(settings.width, settings.epsilon)

    def forward(self, values: Tensor, seen: Tensor) -> Tensor:
        """seen: [B, 1, 1, T], True where there is a token."""
        batch, length, width = values.shape
        query, key, value = (
            layer(values).view(batch, length, self.heads, -1).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        values = self.attention_norm(values + self.mixed(attended.transpose(1, 2).reshape(batch, length, width)))
        normed: Tensor = self.norm(values + self.narrow(F.gelu(self.wide(values))))
        return normed


class Bert(TextEncoder):
    """sentence [B, width]; words [B, T, width], a feature for each token, those of a caption's start and end included.

    tokenizer: what `tokenizer.json` holds.
    """

    kind: ClassVar[str] = "bert"
    standardize: ClassVar[bool] = True

    def __init__(self, tokenizer: dict[str, Any], settings: BertSettings = BertSettings()) -> None:
        super().__init__()
        if settings.width % settings.heads:
            raise SettingsError(f"a width of {settings.width} cannot be split among {settings.heads} heads: choose a divisor")
        self.description, self.settings = tokenizer, settings
        self.sentence_width = settings.width
        self.word_width: int = settings.width
        self._tokenizer = _tokenizer(tokenizer)
        self._uncut = _tokenizer(tokenizer)
        self._tokenizer.enable_truncation(settings.maximum)
        self.embedding = nn.Embedding(settings.vocabulary, settings.width)
        self.positions = nn.Embedding(settings.positions, settings.width)
        self.kinds = nn.Embedding(settings.kinds, settings.width)
        self.norm = nn.LayerNorm(settings.width, settings.epsilon)
        self.blocks = nn.ModuleList(_Block(settings) for _ in range(settings.layers))

    def tokenize(self, captions: Sequence[str]) -> Tokens:
        for place, caption in enumerate(captions):
            if not caption.strip():
                raise DataError(f"caption number {place + 1} is empty: write at least one word")
            if wrong := not_text(caption):
                raise DataError(wrong)
        rows = [found.ids for found in self._tokenizer.encode_batch(list(captions))]
        longest = max(map(len, rows), default=0)
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], dtype=torch.int64).view(len(rows), longest)
        return Tokens(ids, torch.arange(longest)[None] < torch.tensor([len(row) for row in rows])[:, None])

    def read(self, ids: Tensor, mask: Tensor) -> TextFeatures:
        ids, mask = (value.to(self.embedding.weight.device) for value in (ids, mask))
        places = torch.arange(ids.shape[1], device=ids.device)
        values = self.norm(self.embedding(ids) + self.positions(places) + self.kinds.weight[0])
        for block in self.blocks:
            values = block(values, mask[:, None, None])
        words = values * mask[..., None]
        sentence = words[:, 0] if self.settings.pooling == "first" else words.sum(1) / mask.sum(1, keepdim=True)
        if self.settings.normalized:
            sentence = F.normalize(sentence, dim=1)
        return TextFeatures(sentence, words, mask, ids)

    def words(self, caption: str) -> list[str]:
        if wrong := not_text(caption):
            raise DataError(wrong)
        return list(self._uncut.encode(caption, add_special_tokens=False).tokens)

    def read_words(self, caption: str) -> list[str]:
        return list(self._tokenizer.encode(caption).tokens)

    def unknown_words(self, caption: str) -> list[str]:
        unknown = self.description.get("model", {}).get("unk_token")
        return [unknown] if unknown in self.words(caption) else []

    def was_cut(self, caption: str) -> bool:
        return len(self._uncut.encode(caption).ids) > self.settings.maximum

    @property
    def limit(self) -> Limit:
        return Limit(self.settings.maximum - 2, "word pieces")  # its start and end take two places

    def config(self) -> dict[str, Any]:
        return {"settings": dataclasses.asdict(self.settings), "tokenizer": self.description}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Bert:
        return cls(config["tokenizer"], BertSettings(**config["settings"]))


def is_pretrained(folder: Path) -> bool:
    """Whether a folder is one of Hugging Face's, whatever the model in it."""
    try:
        return "model_type" in parse_json((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def load_bert(folder: Path) -> Bert:
    """The encoder in a folder of Hugging Face's or of sentence-transformers, in evaluation mode.

    Raises CheckpointError for a file that is missing or damaged, and for a model of another layout.
    """
    config = _json(folder / CONFIG)
    if config["model_type"] != "bert":
        raise CheckpointError(
            f"{folder} holds a model of the type '{config['model_type']}': of pretrained sentence encoders BERT's are read"
        )
    if (activation := config.get("hidden_act", "gelu")) != "gelu":
        raise CheckpointError(f"{folder} wants the activation '{activation}', and BERT's own is gelu: give another encoder")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise CheckpointError(f"{folder} has relative positions, and BERT's own are absolute: give another encoder")
    try:
        settings = BertSettings(
            vocabulary=config["vocab_size"],
            positions=config["max_position_embeddings"],
            kinds=config.get("type_vocab_size", 2),
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            inner=config["intermediate_size"],
            epsilon=config.get("layer_norm_eps", 1e-12),
            maximum=_maximum(folder, config["max_position_embeddings"]),
            **_pooling(folder),
        )
    except KeyError as error:
        raise CheckpointError(f"{folder / CONFIG} does not say {error}: copy the folder again") from error
    encoder = Bert(_json(folder / TOKENIZER), settings)
    state = _renamed(_tensors(folder / WEIGHTS))
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise CheckpointError(
            f"the weights in {folder / WEIGHTS} are not those of its {CONFIG} ({reason}): copy the folder again"
        ) from error
    return encoder.eval().requires_grad_(False)


_NAMES = {
    "embeddings.word_embeddings": "embedding",
    "embeddings.position_embeddings": "positions",
    "embeddings.token_type_embeddings": "kinds",
    "embeddings.LayerNorm": "norm",
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "mixed",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "wide",
    "output.dense": "narrow",
    "output.LayerNorm": "norm",
}


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Hugging Face's names of BERT's tensors in ours; the head that predicts the next sentence is left out."""
    found = {}
    for name, value in state.items():
        name = name.removeprefix("bert.")
        if name.startswith(("pooler.", "cls.")) or name.endswith("position_ids"):
            continue
        block = ""
        if name.startswith("encoder.layer."):
            number, _, name = name.removeprefix("encoder.layer.").partition(".")
            block = f"blocks.{number}."
        part, _, leaf = name.rpartition(".")
        found[f"{block}{_NAMES.get(part, part)}.{leaf}"] = value.float()
    return found


def _pooling(folder: Path) -> dict[str, Any]:
    """How sentence-transformers' own files say that tokens become a sentence; the mean where there are none."""
    modules = folder / "modules.json"
    if not modules.is_file():
        return {}
    parts = _json(modules)
    said: dict[str, Any] = {"normalized": any(part["type"].endswith("Normalize") for part in parts)}
    for part in parts:
        if part["type"].endswith("Pooling"):
            asked = [name for name, wanted in _json(folder / part["path"] / CONFIG).items() if name.startswith("pooling_mode") and wanted]
            known = {("pooling_mode_mean_tokens",): "mean", ("pooling_mode_cls_token",): "first"}
            if tuple(asked) not in known:
                raise CheckpointError(
                    f"{folder} pools by {', '.join(asked) or 'nothing'}: encoders that take the mean or the first token are read"
                )
            said["pooling"] = known[tuple(asked)]
        elif part["type"].endswith("Dense"):
            raise CheckpointError(f"{folder} has a layer behind its pooling: encoders without one are read")
    return said


def _maximum(folder: Path, positions: int) -> int:
    path = folder / "sentence_bert_config.json"
    said = _json(path).get("max_seq_length") if path.is_file() else None
    return min(int(said or positions), positions)


def _json(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}: a pretrained encoder needs it; copy the folder again") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path} ({error}): copy the folder again") from error


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise CheckpointError(f"{path.parent} has no {WEIGHTS}: of pretrained encoders safetensors are read; save it in that format")
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path} ({error}): copy the folder again") from error


def _tokenizer(description: dict[str, Any]) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        fix = "pip install tokenizers, or the extra limner[tokens]"
        raise SettingsError(f"a pretrained sentence encoder needs the tokenizers library: {fix}") from error
    try:
        found = tokenizers.Tokenizer.from_str(json.dumps(description))
    except Exception as error:  # the library raises plain ones
        raise CheckpointError(f"the tokenizer cannot be read ({error}): give one that the tokenizers library wrote") from error
    found.no_padding()
    found.no_truncation()
    return found
