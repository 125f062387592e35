"""The kinds of text encoder, and how a JSON description becomes one."""

from __future__ import annotations

from typing import Any

from limner.core.errors import CheckpointError, unknown_name
from limner.text.bag_of_words import BagOfWords
from limner.text.bert import Bert
from limner.text.byte_pair_ids import BytePairIds
from limner.text.char_cnn_rnn import CharCnnRnn
from limner.text.clip_text import ClipText
from limner.text.encoder import TextEncoder
from limner.text.glove import Glove
from limner.text.infersent import InferSent
from limner.text.joined import JoinedEncoder
from limner.text.lstm import LSTMEncoder
from limner.text.no_text import NoText
from limner.text.numbers import Numbers
from limner.text.recurrent import RecurrentEncoder
from limner.text.standardized import Standardized
from limner.text.summary_lstm import SummaryLSTM

ENCODER_KINDS: dict[str, type[TextEncoder]] = {
    encoder.kind: encoder
    for encoder in (
        RecurrentEncoder,
        CharCnnRnn,
        BagOfWords,
        Standardized,
        ClipText,
        LSTMEncoder,
        JoinedEncoder,
        SummaryLSTM,
        Glove,
        InferSent,
        NoText,
        BytePairIds,
        Bert,
        Numbers,
    )
}
"""Every kind of encoder that can be saved and found again."""


def encoder_config(encoder: TextEncoder) -> dict[str, Any]:
    """Plain JSON values that describe an encoder, its kind and vocabulary included; its weights are saved apart."""
    return {"kind": encoder.kind, **encoder.config()}


def encoder_from_config(config: dict[str, Any]) -> TextEncoder:
    """Build the encoder that `encoder_config` described, with fresh weights. Raises SettingsError for a kind that does not exist."""
    values = dict(config)
    kind = values.pop("kind", None)
    if kind not in ENCODER_KINDS:
        raise unknown_name("kind of text encoder", str(kind), ENCODER_KINDS)
    try:
        return ENCODER_KINDS[kind].from_config(values)
    except (KeyError, TypeError) as error:
        what = f"the description of a {kind} text encoder does not fit this version ({error})"
        raise CheckpointError(f"{what}: save the encoder again") from error
