"""Every method and every text encoder as an ONNX file: the same pictures, whatever the batch and the captions' lengths.

Two methods are exported in every run of the tests, all of them by `pytest -m sweep tests/export` (about four minutes of one core).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from shared.batches import CAPTIONS, CLASSES, LABELS
from shared.pictures import Captioned
from shared.tiny_runs import tiny
from torch import nn

import limner
from limner import methods
from limner.core.errors import SettingsError
from limner.core.method import Method
from limner.model import Model
from limner.text.bag_of_words import BagOfWords, BagOfWordsSettings
from limner.text.bert import Bert, BertSettings
from limner.text.byte_pair_ids import BytePairIds
from limner.text.char_cnn_rnn import CharCnnRnn, CharCnnRnnSettings
from limner.text.clip_text import ClipText, ClipTextSettings
from limner.text.encoder import TextEncoder
from limner.text.extending import core
from limner.text.glove import Glove
from limner.text.infersent import MARKS, InferSent, InferSentSettings
from limner.text.joined import JoinedEncoder
from limner.text.lstm import LSTMEncoder, LSTMSettings, Vocabulary
from limner.text.no_text import NoText
from limner.text.numbers import Numbers
from limner.text.recurrent import RecurrentEncoder, RecurrentSettings
from limner.text.registry import ENCODER_KINDS
from limner.text.standardized import Standardized
from limner.text.summary_lstm import SummaryLSTM, SummarySettings
from limner.text.tokenizers import CharacterTokenizer, WordTokenizer
from limner.text.word_vectors import WordVectors

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from limner.export import graphs, write  # noqa: E402
from limner.export.exported import session_of  # noqa: E402
from limner.export.functions import Encode, captions_for, traced  # noqa: E402
from limner.export.onnx_file import OPSET, feeds, graph_of, onnx_model, sealed  # noqa: E402
from limner.export.readers import OnnxReader, exchange  # noqa: E402

WIDTH, STEPS = 8, 2
ALWAYS = ("attngan", "stackgan")
"""What is exported in every run: attention to words, and two stages with an epsilon each."""
WORDS = sorted({word for caption in CAPTIONS for word in caption.split()})
NUMBERS = ["1 0 -0.5", "2.25 0 1", "0 1e-40 -3", "-0 0.1 1e30"]
"""Captions of models that read rows of numbers."""
REFUSED = {"dall-e": "writes codes one by one"}


def model_of(name: str) -> Model:
    """An untrained model at its smallest, prepared as a run does it."""
    settings = dataclasses.asdict(tiny(name, STEPS).method_settings)
    conditions = {"resolution": 32, "sentence_width": WIDTH, "word_width": WIDTH, "class_count": CLASSES, "frames": 4, "labels": LABELS}
    if name == "df-gan":
        settings["truncation"] = 0.0  # of the noise, which exported files cannot cut
    method: Method = limner.create(name, preset="cpu", **conditions, **settings)
    for phase in method.phases():
        method.prepare(phase, Captioned(CAPTIONS))
        method.begin(phase)
    _stir(method)
    torch.manual_seed(1)
    return Model(method, LSTMEncoder(Vocabulary(WORDS), LSTMSettings(width=WIDTH)))


def _stir(method: Method) -> None:
    """Statistics of batch normalisation that are not those of a fresh network, so that leaving them out would be seen."""
    generator = torch.Generator().manual_seed(2)
    for module in method.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.copy_(0.3 * torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.sweep) for name in methods.built_in()])
def test_a_method_paints_the_same_from_its_file(name: str) -> None:
    model = model_of(name)
    if name in REFUSED:
        with pytest.raises(SettingsError, match=REFUSED[name]):
            onnx_model(model)
        return
    made, about = onnx_model(model)
    session = session_of(sealed(made, about))
    difference, _ = write.compared(model, write.painter_of(model, sealed(made, about)))
    print(f"{name}: largest difference {difference:.5f} of 255 levels")
    assert difference <= 0.05
    captions = captions_for(model, 2)
    painting, outputs = model.painting(captions, [4, 5], 3), [value.name for value in session.get_outputs()]
    found = dict(zip(outputs, session.run(None, feeds(model, captions, 3, torch.tensor([4, 5]))), strict=True))
    for number, stage in enumerate(painting.stages, 1):
        np.testing.assert_allclose(found[f"stage-{number}"], stage, atol=4e-4)
    for extra, value in painting.extras.items():
        np.testing.assert_allclose(found[extra], value, atol=4e-4)


def _vectors(*more: str) -> WordVectors:
    words = [*WORDS, *more]
    return WordVectors(words, np.random.default_rng(0).standard_normal((len(words), 4), np.float32))


def _standardized() -> TextEncoder:
    return Standardized(BagOfWords(WordTokenizer(WORDS), BagOfWordsSettings(word_embedding=4, sentence_width=6))).fit(CAPTIONS)


def _clip() -> TextEncoder:
    encoder = ClipText(None, ClipTextSettings(vocabulary=20, context_length=9, width=8, layers=2, heads=2, sentence_width=6))
    encoder.__dict__["tokenize"] = WordTokenizer(WORDS, 9)  # ids of its own would need a vocabulary of byte pairs
    return encoder


def _bert() -> TextEncoder:
    tokenizers = pytest.importorskip("tokenizers")
    ids = {word: place for place, word in enumerate(["[UNK]", "[CLS]", "[SEP]", *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    marks = [("[CLS]", 1), ("[SEP]", 2)]
    made.post_processor = tokenizers.processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    sizes = BertSettings(vocabulary=len(ids), positions=50, width=6, layers=2, heads=2, inner=8, maximum=50)
    return Bert(json.loads(made.to_str()), sizes)


ENCODERS: dict[str, Callable[[], TextEncoder]] = {
    "bert": _bert,
    "recurrent": lambda: RecurrentEncoder(WordTokenizer(WORDS), RecurrentSettings(word_embedding=4, hidden=5, sentence_width=6)),
    "attngan": lambda: LSTMEncoder(Vocabulary(WORDS), LSTMSettings(width=WIDTH)),
    "bag-of-words": lambda: BagOfWords(WordTokenizer(WORDS), BagOfWordsSettings(word_embedding=4, sentence_width=6)),
    "standardized": _standardized,
    "char-cnn-rnn": lambda: CharCnnRnn(
        CharCnnRnnSettings(convolutions=(4, 4, 4), sentence_width=6), CharacterTokenizer("abcdefghijklmnopqrstuvwxyz ", 100)
    ),
    "char-cnn-gru": lambda: CharCnnRnn(
        CharCnnRnnSettings(convolutions=(4, 4, 4), recurrent="gru", third_pool=False, sentence_width=6),
        CharacterTokenizer("abcdefghijklmnopqrstuvwxyz ", 100),
    ),
    "clip": _clip,
    "summary-lstm": lambda: SummaryLSTM(WordTokenizer(WORDS, 8), SummarySettings(word_embedding=4, width=5, layers=2)),
    "summary-lstm packed": lambda: SummaryLSTM(WordTokenizer(WORDS, 8), SummarySettings(word_embedding=4, width=5, layers=2, packed=True)),
    "glove": lambda: Glove(_vectors()),
    "infersent": lambda: InferSent(_vectors(*MARKS[1]), InferSentSettings(hidden=5)),
    "numbers": lambda: Numbers(3),
    "numbers standardized": lambda: Standardized(Numbers(3)).fit(NUMBERS[:2]),
}
UNREAD = {NoText.kind: "reads nothing", BytePairIds.kind: "is read by dall-e alone", JoinedEncoder.kind: "gives cells"}
"""Kinds of text encoders that are not read by a graph, and why."""


def test_every_kind_of_text_encoder_is_exported_or_named_as_not() -> None:
    kinds = {core(ENCODERS[name]()).kind for name in ENCODERS} | {Standardized.kind}
    assert kinds | UNREAD.keys() == ENCODER_KINDS.keys()


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.sweep) for name in ENCODERS])
def test_a_text_encoder_reads_the_same_from_its_graph(name: str) -> None:
    torch.manual_seed(0)
    encoder = ENCODERS[name]().eval().requires_grad_(False)
    numbers = isinstance(core(encoder), Numbers)
    spoken = NUMBERS if numbers else CAPTIONS
    names = [part for part in ("sentence", "words", "mask", "tokens") if getattr(encoder(spoken), part) is not None]
    ids, mask = encoder.tokenize(spoken)
    fixed = numbers or ids.shape[1] == encoder.tokenize(["a " * 40]).ids.shape[1]
    function, rows = Encode(encoder, names), {0: torch.export.Dim.DYNAMIC}
    asked = (("a bird",), ("a red bird", "a small small blue bird", "bird")) if not numbers else ((NUMBERS[0],), tuple(NUMBERS[1:]))
    expected = {captions: encoder(list(captions)) for captions in asked}
    exchange(function, OnnxReader)
    program = traced(function, (ids, mask.sum(1)), (rows if fixed else {**rows, 1: torch.export.Dim.DYNAMIC}, rows), name)
    graph = graphs.named(graph_of(program), "encode", ("ids", "lengths")[: len(program.graph_signature.user_inputs)], names)
    session = session_of(graphs.joined([graph], names, OPSET).SerializeToString())
    taken = [value.name for value in session.get_inputs()]
    for captions, text in expected.items():
        ids, mask = encoder.tokenize(captions)
        given = {"ids": ids.numpy(), "lengths": mask.sum(1).numpy()}
        found = session.run(names, {key: given[key] for key in taken})
        for part, value in zip(names, found, strict=True):
            np.testing.assert_allclose(value, getattr(text, part), atol=1e-5, err_msg=part)


def test_a_model_of_number_captions_is_exported_and_the_page_says_what_to_do(tmp_path: Path) -> None:
    model = Model(limner.create("gan-cls", preset="cpu", resolution=16, sentence_width=3), Numbers(3))
    with pytest.raises(SettingsError, match=r"text encoder \(numbers\) does: use --to onnx"):
        write.export(model, "page", tmp_path / "page.html")
    write.export(model, "onnx", tmp_path / "model.onnx")
    write.export(model, "pt2", tmp_path / "model.pt2")
    painted = limner.load(tmp_path / "model.onnx")(NUMBERS[0], output="numpy").astype(int)
    assert np.abs(painted - model(NUMBERS[0], output="numpy")).max() <= 1


@pytest.mark.parametrize("target", ["onnx", "pt2", "page"])
def test_the_encoder_with_cells_is_refused_by_name(target: write.Target, tmp_path: Path) -> None:
    encoder = JoinedEncoder(LSTMEncoder(Vocabulary(WORDS), LSTMSettings(width=WIDTH)), _vectors())
    model = Model(limner.create("gan-cls", preset="cpu", resolution=16, sentence_width=encoder.sentence_width), encoder)
    with pytest.raises(SettingsError, match=r"with Obj-GAN's text encoder \(attngan-glove\): .* paint with `limner generate`"):
        write.export(model, target, tmp_path / "file")


def test_a_model_that_reads_no_text_takes_a_seed_alone() -> None:
    small = {"branches": 2, "noise_width": 6, "generator_channels": 4, "discriminator_channels": 2, "residual_blocks": 1}
    model = Model(limner.create("stackgan-v2", preset="cpu", resolution=16, sentence_width=0, unconditional=True, **small), NoText())
    made, about = onnx_model(model)
    session = session_of(sealed(made, about))
    assert [value.name for value in session.get_inputs()] == ["seed", "sample"]
    found = session.run(["images"], feeds(model, [""] * 2, 5, torch.tensor([0, 9])))[0]
    np.testing.assert_allclose(found, model.painting([""] * 2, [0, 9], 5).images, atol=4e-4)
